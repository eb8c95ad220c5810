//! The session, the blocks and their members, life signs, requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use opcua::client::Session;
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseResultMask, DataValue, NodeClass,
    NodeId, NumericRange, ObjectId, ReferenceTypeId, StatusCode, TimestampsToReturn, VariableId,
    Variant, WriteValue,
};
use tokio::time::{sleep, timeout};
use trimloop_core::time::Span;

use super::{ConformError, Identified};
use crate::clock::{Clock, span_of};
use crate::plc::resolve::value_of;

/// Pause between two looks at the PLC.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// Time for the PLC's answer to a request, beyond what the rules allow: its cycle, the network.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long something must not happen to count as not happening.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// Deadline of one call.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Objects looked at when blocks are searched, and how deep.
const OBJECTS_MAX: usize = 5000;
const DEPTH_MAX: usize = 8;
/// Members by which a guard and an owner are known.
const GUARD_MARKS: [&str; 5] = ["VExt", "Seq", "Stamp", "AckCode", "TestForce"];
const OWNER_MARKS: [&str; 4] = ["A_Request", "B_Request", "EpochNow", "Granted"];
/// Half a round of `ClockMs`, and the whole.
pub(super) const CLOCK_WRAP: u32 = 2_000_000_000;

/// Life signs: bits of what is beaten, and how.
pub(super) const BEAT_A: u8 = 1;
pub(super) const BEAT_B: u8 = 2;
/// The same number again and again.
pub(super) const BEAT_SAME: u8 = 4;

/// One block and its members.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) name: String,
    members: BTreeMap<String, NodeId>,
}

impl Block {
    pub(super) fn id(&self, member: &str) -> Result<&NodeId, ConformError> {
        self.members.get(member).ok_or_else(|| {
            ConformError::Blocks(format!(
                "{} has no member {member}; the specification is docs/src/reference/handshake.md",
                self.name
            ))
        })
    }
}

/// What a guard tells, in one read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) ack_seq: u32,
    pub(super) ack_code: u32,
    pub(super) last_seq: u32,
    pub(super) clock: u32,
    pub(super) v_out: f64,
    pub(super) v_base: f64,
    pub(super) v_min: f64,
    pub(super) v_max: f64,
    pub(super) max_step: f64,
    pub(super) v_int: f64,
    pub(super) ramp_rate: f64,
    pub(super) trip: u32,
    pub(super) ttl_max: u32,
    pub(super) model: u32,
    pub(super) pending: bool,
    pub(super) active: bool,
    pub(super) returning: bool,
    pub(super) hold: bool,
}

const GUARD_READS: [&str; 18] = [
    "AckSeq",
    "AckCode",
    "LastSeq",
    "ClockMs",
    "VOut",
    "VBase",
    "VMin",
    "VMax",
    "MaxStep",
    "VInt",
    "RampRate",
    "TripReason",
    "TtlMaxMs",
    "ModelInForce",
    "Pending",
    "Active",
    "Returning",
    "HoldOnLoss",
];

/// What the owner block tells, in one read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ownership {
    pub(super) alive: bool,
    pub(super) epoch: u32,
    pub(super) slot: u32,
    pub(super) node: u32,
    pub(super) granted: u32,
    pub(super) end: u32,
    pub(super) timeout_ms: u32,
    pub(super) requests: [u32; 2],
}

const OWNER_READS: [&str; 9] = [
    "OwnerAlive",
    "EpochNow",
    "OwnerSlot",
    "OwnerNode",
    "Granted",
    "EndReason",
    "HbTimeoutMs",
    "A_Request",
    "B_Request",
];

/// A request; what is not said is right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) value: f64,
    pub(super) ttl_ms: u32,
    /// Added to the owner's epoch.
    pub(super) epoch_off: u32,
    /// Added to the next sequence number.
    pub(super) seq_off: u32,
    /// Age of the stamp \[ms]; negative for the future.
    pub(super) age_ms: i64,
    pub(super) model: u32,
}

impl Ask {
    pub(super) fn new(value: f64) -> Self {
        Self { value, ttl_ms: 5000, epoch_off: 0, seq_off: 0, age_ms: 0, model: 1 }
    }
}

/// One PLC under test.
pub(super) struct Bench<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) clock: Clock,
    pub(super) owner: Block,
    /// All guards of the cell.
    pub(super) guards: Vec<Block>,
    pub(super) beating: AtomicU8,
    beat: AtomicU32,
}

fn link(status: &impl std::fmt::Display, what: &str) -> ConformError {
    ConformError::Link(format!("{what}: {status}"))
}

impl<'a> Bench<'a> {
    /// Finds the blocks by their members.
    pub(super) async fn find(
        session: &'a Arc<Session>,
        clock: Clock,
    ) -> Result<Self, ConformError> {
        let (mut owners, mut guards) = (Vec::new(), Vec::new());
        let mut level = vec![(NodeId::from(ObjectId::ObjectsFolder), String::new())];
        let mut looked = 0;
        for _ in 0..DEPTH_MAX {
            let mut below = Vec::new();
            for (id, path) in level {
                looked += 1;
                if looked > OBJECTS_MAX {
                    return Err(ConformError::Blocks(format!(
                        "no end after {OBJECTS_MAX} objects; publish fewer to this user"
                    )));
                }
                let children = children(session, id).await?;
                let has = |marks: &[&str]| {
                    marks.iter().all(|mark| children.iter().any(|(name, ..)| name == mark))
                };
                let is_guard = has(&GUARD_MARKS);
                if is_guard || has(&OWNER_MARKS) {
                    let members = children.into_iter().map(|(name, id, _)| (name, id)).collect();
                    let list = if is_guard { &mut guards } else { &mut owners };
                    list.push(Block { name: path, members });
                    continue;
                }
                let joined = |name: &str| {
                    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
                };
                let inner = children.into_iter().filter(|(.., inner)| *inner);
                below.extend(inner.map(|(name, id, _)| (id, joined(&name))));
            }
            level = below;
        }
        let [owner] = owners.as_slice() else {
            let found: Vec<&str> = owners.iter().map(|b| b.name.as_str()).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return Err(ConformError::Blocks(format!("one TL_Owner is wanted, found {found}")));
        };
        if guards.is_empty() {
            return Err(ConformError::Blocks("no TL_Guard was found".to_owned()));
        }
        guards.sort_by(|a: &Block, b: &Block| a.name.cmp(&b.name));
        let owner = owner.clone();
        let (beating, beat) = (AtomicU8::new(0), AtomicU32::new(1));
        Ok(Self { session, clock, owner, guards, beating, beat })
    }

    pub(super) async fn identity(&self) -> Result<Identified, ConformError> {
        let wanted = [
            VariableId::Server_ServerArray,
            VariableId::Server_ServerStatus_BuildInfo_ProductName,
            VariableId::Server_ServerStatus_BuildInfo_ManufacturerName,
            VariableId::Server_ServerStatus_BuildInfo_SoftwareVersion,
        ]
        .map(NodeId::from);
        let values = self.values(&wanted).await?;
        let text = |at: usize| {
            let value = match values.get(at) {
                Some(Variant::Array(array)) => array.values.first(),
                value => value,
            };
            match value {
                Some(Variant::String(text)) if !text.is_empty() => text.to_string(),
                _ => "(not stated)".to_owned(),
            }
        };
        Ok(Identified { uri: text(0), product: text(1), manufacturer: text(2), version: text(3) })
    }

    async fn values(&self, ids: &[NodeId]) -> Result<Vec<Variant>, ConformError> {
        let nodes: Vec<_> = ids.iter().map(value_of).collect();
        let read = self.session.read(&nodes, TimestampsToReturn::Neither, 0.0);
        match timeout(CALL_MAX, read).await {
            Ok(Ok(values)) => {
                Ok(values.into_iter().map(|data| data.value.unwrap_or_default()).collect())
            }
            Ok(Err(error)) => Err(link(&error.status(), "a read failed")),
            Err(_) => Err(ConformError::Link("a read was not answered within 3 s".to_owned())),
        }
    }

    async fn read(&self, block: &Block, members: &[&str]) -> Result<Vec<Variant>, ConformError> {
        let ids: Result<Vec<_>, _> = members.iter().map(|m| block.id(m).cloned()).collect();
        let values = self.values(&ids?).await?;
        for (member, value) in members.iter().zip(&values) {
            if number(value).is_none() {
                let why =
                    format!("{}.{member} is {value:?}, not a number or a contact", block.name);
                return Err(ConformError::Blocks(why));
            }
        }
        Ok(values)
    }

    pub(super) async fn seen(&self, guard: &Block) -> Result<Seen, ConformError> {
        let values = self.read(guard, &GUARD_READS).await?;
        let mut all = values.iter().map(|value| number(value).unwrap_or(f64::NAN));
        let mut next = || all.next().unwrap_or(f64::NAN);
        Ok(Seen {
            ack_seq: next() as u32,
            ack_code: next() as u32,
            last_seq: next() as u32,
            clock: next() as u32,
            v_out: next(),
            v_base: next(),
            v_min: next(),
            v_max: next(),
            max_step: next(),
            v_int: next(),
            ramp_rate: next(),
            trip: next() as u32,
            ttl_max: next() as u32,
            model: next() as u32,
            pending: next() > 0.5,
            active: next() > 0.5,
            returning: next() > 0.5,
            hold: next() > 0.5,
        })
    }

    pub(super) async fn ownership(&self) -> Result<Ownership, ConformError> {
        let values = self.read(&self.owner, &OWNER_READS).await?;
        let mut all = values.iter().map(|value| number(value).unwrap_or(f64::NAN));
        let mut next = || all.next().unwrap_or(f64::NAN) as u32;
        Ok(Ownership {
            alive: next() != 0,
            epoch: next(),
            slot: next(),
            node: next(),
            granted: next(),
            end: next(),
            timeout_ms: next(),
            requests: [next(), next()],
        })
    }

    /// Every guard of the cell must be in test mode: they share one owner.
    pub(super) async fn all_in_test(&self) -> Result<(), ConformError> {
        let ids: Result<Vec<_>, _> = self.guards.iter().map(|g| g.id("Test").cloned()).collect();
        let values = self.values(&ids?).await?;
        for (guard, value) in self.guards.iter().zip(&values) {
            if *value != Variant::Boolean(true) {
                return Err(ConformError::NotInTest(guard.name.clone()));
            }
        }
        Ok(())
    }

    /// Writes members in one call; each has the type of the specification.
    pub(super) async fn write(
        &self,
        block: &Block,
        values: &[(&str, Variant)],
    ) -> Result<Vec<StatusCode>, ConformError> {
        let mut writes = Vec::with_capacity(values.len());
        for (member, value) in values {
            writes.push(WriteValue {
                node_id: block.id(member)?.clone(),
                attribute_id: AttributeId::Value as u32,
                index_range: NumericRange::None,
                value: DataValue { value: Some(value.clone()), ..DataValue::default() },
            });
        }
        match timeout(CALL_MAX, self.session.write(&writes)).await {
            Ok(Ok(statuses)) => Ok(statuses),
            Ok(Err(error)) => Err(link(&error.status(), "a write failed")),
            Err(_) => Err(ConformError::Link("a write was not answered within 3 s".to_owned())),
        }
    }

    /// The same, and it must be taken by the server.
    pub(super) async fn put(
        &self,
        block: &Block,
        values: &[(&str, Variant)],
    ) -> Result<(), ConformError> {
        let statuses = self.write(block, values).await?;
        let bad = statuses.iter().zip(values).find(|(status, _)| !status.is_good());
        match bad {
            None => Ok(()),
            Some((status, (member, _))) => Err(ConformError::Blocks(format!(
                "{}.{member} cannot be written ({status}); mailbox members must be writable for \
                 this user",
                block.name
            ))),
        }
    }

    pub(super) async fn force(&self, guard: &Block, force: u16) -> Result<(), ConformError> {
        self.put(guard, &[("TestForce", Variant::UInt16(force))]).await
    }

    /// Sends a request, values first; what was seen before, and its sequence number.
    pub(super) async fn ask(&self, guard: &Block, ask: Ask) -> Result<(Seen, u32), ConformError> {
        self.all_in_test().await?;
        let before = self.seen(guard).await?;
        let epoch = self.ownership().await?.epoch.wrapping_add(ask.epoch_off);
        let stamp = i64::from(before.clock) - ask.age_ms;
        let stamp = stamp.rem_euclid(i64::from(CLOCK_WRAP)) as u32;
        let values = [
            ("VExt", Variant::Double(ask.value)),
            ("TtlMs", Variant::UInt32(ask.ttl_ms)),
            ("Epoch", Variant::UInt32(epoch)),
            ("ModelId", Variant::UInt32(ask.model)),
            ("Stamp", Variant::UInt32(stamp)),
        ];
        self.put(guard, &values).await?;
        let seq = before.last_seq.wrapping_add(1).wrapping_add(ask.seq_off);
        self.put(guard, &[("Seq", Variant::UInt32(seq))]).await?;
        Ok((before, seq))
    }

    /// Looks until `wanted` holds or `within` is over; the last look, and whether it held.
    pub(super) async fn until(
        &self,
        guard: &Block,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> Result<(Seen, bool), ConformError> {
        let end = self.clock.mono() + span_of(within);
        loop {
            let seen = self.seen(guard).await?;
            let held = wanted(&seen);
            if held || self.clock.mono() > end {
                return Ok((seen, held));
            }
            sleep(LOOK).await;
        }
    }

    /// The same of the owner block; how long it took.
    pub(super) async fn until_owner(
        &self,
        within: Duration,
        wanted: impl Fn(&Ownership) -> bool,
    ) -> Result<(Ownership, bool, Span), ConformError> {
        let start = self.clock.mono();
        loop {
            let seen = self.ownership().await?;
            let held = wanted(&seen);
            let passed = self.clock.mono() - start;
            if held || passed > span_of(within) {
                return Ok((seen, held, passed));
            }
            sleep(LOOK).await;
        }
    }

    /// Beats for the slots that [`Self::beating`] names, until dropped.
    pub(super) async fn beats(&self) -> ConformError {
        loop {
            let beating = self.beating.load(Ordering::Relaxed);
            if beating & BEAT_SAME == 0 {
                self.beat.fetch_add(1, Ordering::Relaxed);
            }
            let count = Variant::UInt32(self.beat.load(Ordering::Relaxed));
            let mut values = Vec::new();
            if beating & BEAT_A != 0 {
                values.push(("A_Heartbeat", count.clone()));
            }
            if beating & BEAT_B != 0 {
                values.push(("B_Heartbeat", count));
            }
            if !values.is_empty()
                && let Err(error) = self.put(&self.owner, &values).await
            {
                return error;
            }
            sleep(Duration::from_millis(40)).await;
        }
    }
}

/// A number or a contact as a float; exact for all that the blocks hold.
fn number(value: &Variant) -> Option<f64> {
    Some(match value {
        Variant::Boolean(b) => f64::from(u8::from(*b)),
        Variant::UInt16(n) => f64::from(*n),
        Variant::UInt32(n) => f64::from(*n),
        Variant::Double(x) => *x,
        _ => return None,
    })
}

/// Name, id, and whether it may have children of its own.
async fn children(
    session: &Session,
    of: NodeId,
) -> Result<Vec<(String, NodeId, bool)>, ConformError> {
    let asked = BrowseDescription {
        node_id: of,
        browse_direction: BrowseDirection::Forward,
        reference_type_id: ReferenceTypeId::HierarchicalReferences.into(),
        include_subtypes: true,
        node_class_mask: NodeClass::Object as u32 | NodeClass::Variable as u32,
        result_mask: BrowseResultMask::All as u32,
    };
    let mut found = Vec::new();
    let mut results = session
        .browse(&[asked], 0, None)
        .await
        .map_err(|error| link(&error.status(), "browsing failed"))?;
    while let Some(result) = results.pop() {
        for reference in result.references.unwrap_or_default() {
            let name = reference.browse_name.name.to_string();
            let id = reference.node_id.node_id;
            // The server's own objects hold no blocks.
            let inner = id.namespace != 0;
            found.push((name, id, inner));
        }
        if !result.continuation_point.is_null() {
            results = session
                .browse_next(false, &[result.continuation_point])
                .await
                .map_err(|error| link(&error.status(), "browsing failed"))?;
        }
    }
    Ok(found)
}
