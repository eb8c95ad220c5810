//! The PLC with its OPC UA server: registers, sessions, subscriptions, and how they misbehave.

use std::collections::BTreeMap;
use std::time::Duration;

use opcua::types::{
    AttributeId, BrowsePathResult, DataChangeNotification, DataTypeId, DataValue, DateTime,
    ExtensionObject, Identifier as Id, MonitoredItemCreateRequest, MonitoredItemCreateResult,
    MonitoredItemNotification, NodeId, NotificationMessage, ReadValueId, StatusChangeNotification,
    StatusCode, VariableId, Variant, WriteValue,
};

use super::faults::Fault;
use super::kit::{ECHO, ENABLE, INPUT, Kit, OTHER_URI, PART, SETPOINTS, URI};
use super::world::{Event, Look, Ms, Reply, Request, UTC, World, note};
use crate::plc::Scalar;
use crate::plc::changes::over_the_wire;
use crate::plc::wire::{Ask, Terms};

/// Life of a session that nobody uses [ms], as the client asks for it.
const SESSION_LIFE: Ms = 30_000;
/// 1601-01-01 to 1970-01-01 in ticks of 100 ns.
const TICKS_TO_UNIX: i64 = 116_444_736_000_000_000;

pub(super) struct Session {
    line: Option<usize>,
    heard: Ms,
}

struct Item {
    handle: u32,
    node: usize,
    /// Value and status as last published.
    told: Option<(Variant, StatusCode)>,
}

struct Sub {
    session: u32,
    publishing: Ms,
    keep_alive: u64,
    silent: u64,
    unheard: Ms,
    items: Vec<Item>,
    ended: bool,
}

pub(super) struct Server {
    pub(super) up: bool,
    /// Counts restarts.
    pub(super) boot: u32,
    swapped: bool,
    /// A setpoint that has another type than configured.
    retyped: Option<usize>,
    pub(super) sessions: BTreeMap<u32, Session>,
    subs: BTreeMap<u32, Sub>,
    next: u32,
    pub(super) enable: bool,
    pub(super) part: i64,
    echo: i64,
    beat: i64,
    input: f64,
    /// `[setpoints]`
    pub(super) registers: Vec<f64>,
    baselines: Vec<f64>,
    /// What is published while values are frozen.
    frozen: Vec<f64>,
    clock_offset_ms: i64,
    tells_all: bool,
}

impl Server {
    pub(super) fn new(kit: &Kit) -> Self {
        let baselines: Vec<f64> =
            kit.plan.setpoints.iter().map(|of| of.grid.value(of.baseline)).collect();
        Self {
            up: true,
            boot: 0,
            swapped: false,
            retyped: None,
            sessions: BTreeMap::new(),
            subs: BTreeMap::new(),
            next: 1,
            enable: true,
            part: 1,
            echo: 0,
            beat: 0,
            input: 50.0,
            registers: baselines.clone(),
            frozen: baselines.clone(),
            baselines,
            clock_offset_ms: 0,
            tells_all: false,
        }
    }

    /// Sets the clock right. From then on all values are told again and again with new stamps: a
    /// steady one that was told under the wrong clock stays in doubt until then.
    pub(super) const fn set_clock(&mut self) {
        self.clock_offset_ms = 0;
        self.tells_all = true;
    }

    pub(super) fn session(&mut self, now: Ms) -> u32 {
        self.next += 1;
        self.sessions.insert(self.next, Session { line: None, heard: now });
        self.next
    }

    pub(super) fn attach(&mut self, session: u32, line: usize, now: Ms) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.line = Some(line);
            session.heard = now;
        }
    }

    pub(super) fn detach(&mut self, session: u32, line: usize) {
        if let Some(session) = self.sessions.get_mut(&session)
            && session.line == Some(line)
        {
            session.line = None;
        }
    }

    pub(super) fn heard(&mut self, session: u32, now: Ms) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.heard = now;
        }
    }

    fn expire(&mut self, now: Ms) {
        self.sessions.retain(|_, s| s.line.is_some() || now - s.heard < SESSION_LIFE);
        let sessions = &self.sessions;
        self.subs.retain(|_, sub| sessions.contains_key(&sub.session));
    }

    fn scalar(&self, kit: &Kit, node: usize) -> Scalar {
        if self.retyped.is_some_and(|at| at + SETPOINTS == node) {
            return Scalar::Int16;
        }
        kit.scalars[node]
    }

    fn value(&self, kit: &Kit, node: usize) -> Variant {
        let number = match node {
            PART => self.part as f64,
            ENABLE => f64::from(u8::from(self.enable)),
            ECHO => self.echo as f64,
            INPUT => self.input,
            _ => kit.setpoint(node).map_or(self.beat as f64, |at| self.registers[at]),
        };
        variant(self.scalar(kit, node), number)
    }

    fn namespaces(&self) -> Vec<String> {
        let (first, second) = if self.swapped { (OTHER_URI, URI) } else { (URI, OTHER_URI) };
        ["http://opcfoundation.org/UA/", "urn:sim:server", first, second].map(str::to_owned).into()
    }

    /// The node, and whether it is one of ours rather than the neighbour's.
    fn find(&self, kit: &Kit, id: &NodeId) -> Option<(usize, bool)> {
        let Id::String(text) = &id.identifier else { return None };
        let node: usize = text.as_ref().strip_prefix('n')?.parse().ok()?;
        let ours = if self.swapped { 3 } else { 2 };
        let known = node < kit.scalars.len() && matches!(id.namespace, 2 | 3);
        known.then_some((node, id.namespace == ours))
    }
}

fn variant(scalar: Scalar, number: f64) -> Variant {
    match scalar {
        Scalar::Boolean => Variant::Boolean(number > 0.5),
        Scalar::Int16 => Variant::Int16(number as i16),
        Scalar::Int32 => Variant::Int32(number as i32),
        Scalar::Int64 => Variant::Int64(number as i64),
        Scalar::Float => Variant::Float(number as f32),
        _ => Variant::Double(number),
    }
}

fn type_of(scalar: Scalar) -> NodeId {
    match scalar {
        Scalar::Boolean => DataTypeId::Boolean,
        Scalar::Int16 => DataTypeId::Int16,
        Scalar::Int32 => DataTypeId::Int32,
        Scalar::Int64 => DataTypeId::Int64,
        Scalar::Float => DataTypeId::Float,
        _ => DataTypeId::Double,
    }
    .into()
}

fn number(value: &Variant) -> Option<(Scalar, f64)> {
    Some(match value {
        Variant::Boolean(b) => (Scalar::Boolean, f64::from(u8::from(*b))),
        Variant::Int16(i) => (Scalar::Int16, f64::from(*i)),
        Variant::Int32(i) => (Scalar::Int32, f64::from(*i)),
        Variant::Int64(i) => (Scalar::Int64, *i as f64),
        Variant::Float(x) => (Scalar::Float, f64::from(*x)),
        Variant::Double(x) => (Scalar::Double, *x),
        _ => return None,
    })
}

impl World {
    fn stamp(&mut self) -> DateTime {
        let late = self.rng.range(0, 3000) as i64;
        let late = if self.strikes(Fault::LateStamps, 500) { late } else { 0 };
        let ms = self.now() as i64 + self.server.clock_offset_ms - late;
        DateTime::from((UTC.as_nanos() + ms * 1_000_000) / 100 + TICKS_TO_UNIX)
    }

    /// The setpoint whose value is asked for, as its owner means it.
    pub(super) fn register_of(&self, node: &ReadValueId) -> Option<usize> {
        let (node_at, _) = self.server.find(&self.kit, &node.node_id)?;
        let value = node.attribute_id == AttributeId::Value as u32;
        self.kit.setpoint(node_at).filter(|_| value)
    }

    /// Node and number of a write of one value, and whether it is one of our nodes.
    pub(super) fn read_write(&self, values: &[WriteValue]) -> Option<(usize, f64)> {
        let [write] = values else { return None };
        let (node, _) = self.server.find(&self.kit, &write.node_id)?;
        let bare = write.value.status.is_none()
            && write.value.source_timestamp.is_none()
            && write.value.server_timestamp.is_none()
            && write.attribute_id == AttributeId::Value as u32;
        let (_, number) = number(write.value.value.as_ref()?)?;
        bare.then_some((node, number))
    }

    pub(super) fn restart(&mut self, fault: Fault) {
        self.server.up = false;
        self.server.boot += 1;
        self.server.sessions.clear();
        self.server.subs.clear();
        self.server.swapped ^= fault == Fault::RestartRenumbered;
        self.server.retyped = (fault == Fault::RestartRetyped).then_some(0);
        if fault == Fault::RestartBaseline {
            let baselines = self.server.baselines.clone();
            self.server.registers.clone_from(&baselines);
            self.server.frozen = baselines;
        }
        note!(self, "server restarts", self.server.boot);
        for line in 0..self.lines.len() {
            self.cut(line, 0, 100);
        }
    }

    pub(super) fn jump_clock(&mut self) {
        let by = self.rng.range(0, 200_000) as i64 - 100_000;
        let by = if self.rng.chance(300) { by / 50 } else { by };
        self.server.clock_offset_ms += by;
    }

    /// A person sets a register to any tick, now and then outside the limits.
    pub(super) fn turn_setpoint(&mut self) {
        for at in 0..self.server.registers.len() {
            let limits = &self.kit.plan.setpoints[at];
            let (grid, base) = (limits.grid, limits.baseline.count());
            let by = self.rng.range(0, 66) as i64 - 33;
            if self.rng.chance(700) {
                let to = trimloop_core::unit::Ticks::new(base + by);
                self.server.registers[at] = grid.value(to);
                note!(self, "operator turns", at, self.server.registers[at]);
            }
        }
    }

    pub(super) fn make_part(&mut self) {
        self.server.part += 1;
        self.server.input = match self.rng.range(0, 9) {
            0..4 => 70.0 + self.rng.range(0, 9) as f64,
            4..8 => 30.0 - self.rng.range(0, 9) as f64,
            _ => 50.0 + self.rng.range(0, 3) as f64,
        };
        if !self.active(Fault::Frozen) {
            self.server.frozen.clone_from(&self.server.registers);
        }
        if self.server.tells_all {
            let items = self.server.subs.values_mut().flat_map(|sub| &mut sub.items);
            items.for_each(|item| item.told = None);
        }
        let now = self.now();
        self.server.expire(now);
        self.after(250, Event::Part);
    }

    pub(super) fn end_subscriptions(&mut self) {
        for sub in self.server.subs.values_mut() {
            sub.ended = true;
        }
    }

    /// One publishing interval of a subscription.
    pub(super) fn publish(&mut self, id: u32) {
        let Some(sub) = self.server.subs.get(&id) else { return };
        let (publishing, session) = (sub.publishing, sub.session);
        self.after(publishing, Event::Publishes(id));
        let line = self.server.sessions.get(&session).and_then(|session| session.line);
        let heard = line.is_some_and(|line| self.asking(line));
        let stall = self.active(Fault::Stall) || !self.server.up;
        let now = self.now();
        let Some(line) = line.filter(|_| heard) else {
            // Nobody asks: the subscription runs out.
            let Some(sub) = self.server.subs.get_mut(&id) else { return };
            sub.unheard += publishing;
            if sub.unheard > 10_000 {
                self.server.subs.remove(&id);
            }
            return;
        };
        if stall {
            return;
        }
        self.server.heard(session, now);
        let (items, looks, ended) = self.changes(id);
        let Some(sub) = self.server.subs.get_mut(&id) else { return };
        sub.unheard = 0;
        sub.silent += 1;
        if items.is_empty() && !ended && sub.silent < sub.keep_alive {
            return;
        }
        sub.silent = 0;
        let notification_data = if ended {
            self.server.subs.remove(&id);
            let change = StatusChangeNotification {
                status: StatusCode::BadTimeout,
                diagnostic_info: opcua::types::DiagnosticInfo::default(),
            };
            vec![ExtensionObject::from_message(change)]
        } else {
            let change =
                DataChangeNotification { monitored_items: Some(items), diagnostic_infos: None };
            vec![ExtensionObject::from_message(over_the_wire(&change))]
        };
        let message = NotificationMessage {
            sequence_number: 1,
            publish_time: DateTime::null(),
            notification_data: Some(notification_data),
        };
        let slow = self.rng.range(50, 1500);
        let slow = if self.strikes(Fault::SlowPublish, 400) { slow } else { 0 };
        if let Some(at) = self.down(line) {
            // The lag does not pile up beyond what a socket's buffers hold.
            let slow = if at > now + 3000 { 0 } else { slow };
            self.lines[line].down_free += slow;
            let tells = Event::Tells { line, sub: id, message, looks };
            self.schedule(at + slow, tells);
        }
    }

    /// What has changed since a subscription was last told.
    fn changes(&mut self, id: u32) -> (Vec<MonitoredItemNotification>, Vec<Look>, bool) {
        let Some(mut sub) = self.server.subs.remove(&id) else { return Default::default() };
        let (mut items, mut looks) = (Vec::new(), Vec::new());
        let now = self.now();
        for item in &mut sub.items {
            let mut value = self.server.value(&self.kit, item.node);
            let setpoint = self.kit.setpoint(item.node);
            if let (Some(at), true) = (setpoint, self.active(Fault::Frozen)) {
                let scalar = self.server.scalar(&self.kit, item.node);
                value = variant(scalar, self.server.frozen[at]);
            }
            let mut status = StatusCode::Good;
            if self.strikes(Fault::BadStatus, 150) {
                status = StatusCode::BadSensorFailure;
            } else if self.strikes(Fault::Uncertain, 150) {
                status = StatusCode::UncertainLastUsableValue;
            }
            if item.told.as_ref().is_some_and(|told| *told == (value.clone(), status)) {
                continue;
            }
            item.told = Some((value.clone(), status));
            let stamp = self.stamp();
            let value = DataValue {
                value: Some(value),
                status: (status != StatusCode::Good).then_some(status),
                source_timestamp: Some(stamp),
                server_timestamp: Some(stamp),
                ..DataValue::default()
            };
            items.push(MonitoredItemNotification { client_handle: item.handle, value });
            if let Some(setpoint) = setpoint {
                looks.push(Look { setpoint, taken: now });
            }
        }
        let ended = sub.ended;
        self.server.subs.insert(id, sub);
        (items, looks, ended)
    }

    /// Does what a call asks.
    pub(super) fn carry_out(
        &mut self,
        line: usize,
        session: Option<u32>,
        request: Request,
        wrote: Option<usize>,
    ) -> (Result<Reply, StatusCode>, Vec<Look>) {
        let mut looks = Vec::new();
        let known = session.filter(|id| self.server.sessions.contains_key(id));
        let Some(session) = known else { return (Err(StatusCode::BadSessionIdInvalid), looks) };
        if self.active(Fault::TooMuch) && request.items() > 2 {
            self.oracle.tally.halved += 1;
            let statuses = [
                StatusCode::BadTooManyOperations,
                StatusCode::BadEncodingLimitsExceeded,
                StatusCode::BadRequestTooLarge,
                StatusCode::BadResponseTooLarge,
            ];
            return (Err(statuses[line % statuses.len()]), looks);
        }
        let reply = match request {
            Request::Read(nodes) => {
                let taken = self.now();
                let setpoints = nodes.iter().filter_map(|node| self.register_of(node));
                looks.extend(setpoints.map(|setpoint| Look { setpoint, taken }));
                let level = self.level(line);
                Reply::Values(nodes.iter().map(|node| self.read(node, level)).collect())
            }
            Request::Write(values) => {
                let mut statuses = Vec::with_capacity(values.len());
                for value in &values {
                    match self.write(value, wrote) {
                        Some(status) => statuses.push(status),
                        // The whole call times out on the server.
                        None => return (Err(StatusCode::BadTimeout), looks),
                    }
                }
                Reply::Statuses(statuses)
            }
            Request::Translate(count) => Reply::Paths(vec![
                BrowsePathResult {
                    status_code: StatusCode::BadNoMatch,
                    targets: None,
                };
                count
            ]),
            Request::Subscribe(ask) => self.subscribe(session, ask),
            Request::Monitor(sub, items) => Reply::Items(self.monitor(sub, &items)),
            Request::Unsubscribe(subs) => {
                for sub in subs {
                    self.server.subs.remove(&sub);
                }
                Reply::Done
            }
            Request::Close => {
                self.server.sessions.remove(&session);
                self.server.subs.retain(|_, sub| sub.session != session);
                note!(self, "session closed", session, line);
                Reply::Done
            }
        };
        (Ok(reply), looks)
    }

    fn subscribe(&mut self, session: u32, ask: Ask) -> Reply {
        self.server.next += 1;
        let id = self.server.next;
        let publishing = ask.publishing.max(Duration::from_millis(20));
        let ms = Ms::try_from(publishing.as_millis()).unwrap();
        let sub = Sub {
            session,
            publishing: ms,
            keep_alive: u64::from(ask.keep_alive),
            silent: u64::from(ask.keep_alive),
            unheard: 0,
            items: Vec::new(),
            ended: false,
        };
        self.server.subs.insert(id, sub);
        self.after(ms, Event::Publishes(id));
        Reply::Terms(Terms {
            id,
            publishing,
            keep_alive: publishing.saturating_mul(ask.keep_alive),
        })
    }

    fn monitor(
        &mut self,
        sub: u32,
        items: &[MonitoredItemCreateRequest],
    ) -> Vec<MonitoredItemCreateResult> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let found = self.server.find(&self.kit, &item.item_to_monitor.node_id);
            let sub = self.server.subs.get_mut(&sub);
            let status_code = match (found, sub) {
                (Some((node, true)), Some(sub)) => {
                    let handle = item.requested_parameters.client_handle;
                    sub.items.push(Item { handle, node, told: None });
                    StatusCode::Good
                }
                (_, None) => StatusCode::BadSubscriptionIdInvalid,
                _ => StatusCode::BadNodeIdUnknown,
            };
            results.push(MonitoredItemCreateResult { status_code, ..Default::default() });
        }
        results
    }

    fn read(&mut self, node: &ReadValueId, level: u8) -> DataValue {
        let of = |value| DataValue { value: Some(value), ..DataValue::default() };
        if node.node_id == VariableId::Server_NamespaceArray {
            return of(Variant::from(self.server.namespaces()));
        }
        if node.node_id == VariableId::Server_ServiceLevel {
            return of(Variant::Byte(level));
        }
        let Some((at, _)) = self.server.find(&self.kit, &node.node_id) else {
            return DataValue {
                status: Some(StatusCode::BadNodeIdUnknown),
                ..DataValue::default()
            };
        };
        let scalar = self.server.scalar(&self.kit, at);
        let which = AttributeId::from_u32(node.attribute_id).unwrap();
        match which {
            AttributeId::DataType => of(Variant::from(type_of(scalar))),
            AttributeId::ValueRank => of(Variant::Int32(-1)),
            AttributeId::AccessLevel | AttributeId::UserAccessLevel => of(Variant::Byte(3)),
            _ => {
                let stamp = self.stamp();
                DataValue {
                    source_timestamp: Some(stamp),
                    server_timestamp: Some(stamp),
                    ..of(self.server.value(&self.kit, at))
                }
            }
        }
    }

    /// Takes one written value; `None`: the call ends without a result.
    fn write(&mut self, write: &WriteValue, wrote: Option<usize>) -> Option<StatusCode> {
        let Some((node, ours)) = self.server.find(&self.kit, &write.node_id) else {
            return Some(StatusCode::BadNodeIdUnknown);
        };
        if !ours {
            self.oracle.fail("a write reached a register of the neighbour".to_owned());
        }
        let Some((scalar, value)) = write.value.value.as_ref().and_then(number) else {
            return Some(StatusCode::BadTypeMismatch);
        };
        if scalar != self.server.scalar(&self.kit, node) {
            self.oracle.fail(format!("a write of another type: {scalar:?} to node {node}"));
            return Some(StatusCode::BadTypeMismatch);
        }
        if node == self.kit.beat() {
            self.server.beat = value as i64;
            if !self.active(Fault::EchoStops) {
                self.server.echo = self.server.beat;
            }
            return Some(StatusCode::Good);
        }
        let Some(setpoint) = self.kit.setpoint(node) else {
            self.oracle.fail(format!("a write to node {node}, which is only read"));
            return Some(StatusCode::BadNotWritable);
        };
        let wrote = wrote?;
        let late = self.rng.range(100, 4000);
        if self.strikes(Fault::Refused, 400) {
            note!(self, "refused", setpoint);
            return Some(self.rng.pick(&[
                StatusCode::BadOutOfRange,
                StatusCode::BadUserAccessDenied,
                StatusCode::BadNotWritable,
            ]));
        }
        if self.strikes(Fault::Ignored, 400) {
            note!(self, "ignored", setpoint);
            return Some(StatusCode::Good);
        }
        if self.strikes(Fault::AppliedLate, 400) {
            note!(self, "will be applied late", setpoint, late);
            self.after(late, Event::Applies { wrote, setpoint, value });
            return self.rng.pick(&[Some(StatusCode::Good), Some(StatusCode::BadTimeout), None]);
        }
        if self.strikes(Fault::Clamped, 400) {
            let grid = self.kit.plan.setpoints[setpoint].grid;
            let at = grid.nearest(self.server.registers[setpoint]).unwrap();
            let to = grid.nearest(value).unwrap();
            let half = trimloop_core::unit::Ticks::new(i64::midpoint(at.count(), to.count()));
            self.apply(wrote, setpoint, grid.value(half));
            return Some(StatusCode::GoodClamped);
        }
        self.apply(wrote, setpoint, value);
        if self.strikes(Fault::Ambiguous, 400) {
            return Some(self.rng.pick(&[
                StatusCode::BadInternalError,
                StatusCode::UncertainLastUsableValue,
                StatusCode::BadDeviceFailure,
                StatusCode::BadTimeout,
            ]));
        }
        Some(StatusCode::Good)
    }

    pub(super) fn apply(&mut self, wrote: usize, setpoint: usize, value: f64) {
        note!(self, "applied", setpoint, value);
        self.server.registers[setpoint] = value;
        self.oracle.applied(wrote);
    }
}
