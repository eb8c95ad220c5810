//! Writing through the handshake blocks of a PLC: `docs/src/reference/handshake.md`.
//!
//! - Ownership is asked for at each connect, before the link opens: heartbeat, request, grant. The
//!   grant belongs to one epoch of the link; when it is lost, the gate closes and all begins anew.
//! - A request is two calls: the values, then `Seq`. Both pass the gate; a gate that closed in
//!   between leaves values without a request, which move nothing.
//! - Reads and writes keep to the server's limits. A look at the owner that takes several reads is
//!   taken twice and must be the same both times; values go before the number that asks.
//! - The answer is the block's: taken, refused, or none in time, which is `Unknown`.
//! - Ownership is given back at the goodbye.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opcua::types::{
    AttributeId, DataValue, NodeId, NumericRange, StatusCode, TimestampsToReturn, Variant,
    WriteValue,
};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};
use trimloop_core::scan::AckResult;
use trimloop_core::tag::TagId;

use super::resolve::{Resolution, value_of};
use super::session::Live;
use super::wire::Wire;
use super::write::{ANSWER_MAX, beat, judge, single, transmit};
use super::{LinkConfig, Purpose, Scalar, Shared};
use crate::clock::span_of;
use crate::intake::lock;

/// Deadline of a grant: some cycles of a slow PLC.
const GRANT_MAX: Duration = Duration::from_secs(3);
/// Pause between two looks at what a block made of our words.
const LOOK: Duration = Duration::from_millis(10);
/// Time for the block's answer beyond the time to live.
const GRACE: Duration = Duration::from_millis(500);
/// Looks at a changing block before it counts as unreadable.
const TOGETHER_MAX: usize = 4;
/// Deadline of giving ownership back.
const RELEASE_MAX: Duration = Duration::from_millis(500);

/// Members that are used: name, type, whether we write it.
const MEMBERS: [(&str, Scalar, bool); 20] = [
    ("A_NodeId", Scalar::UInt32, true),
    ("A_Request", Scalar::UInt32, true),
    ("B_NodeId", Scalar::UInt32, true),
    ("B_Request", Scalar::UInt32, true),
    ("OwnerAlive", Scalar::Boolean, false),
    ("EpochNow", Scalar::UInt32, false),
    ("OwnerSlot", Scalar::UInt16, false),
    ("Granted", Scalar::UInt32, false),
    ("VExt", Scalar::Double, true),
    ("TtlMs", Scalar::UInt32, true),
    ("Epoch", Scalar::UInt32, true),
    ("ModelId", Scalar::UInt32, true),
    ("Stamp", Scalar::UInt32, true),
    ("Seq", Scalar::UInt32, true),
    ("AckSeq", Scalar::UInt32, false),
    ("AckCode", Scalar::UInt16, false),
    ("LastSeq", Scalar::UInt32, false),
    ("ClockMs", Scalar::UInt32, false),
    ("TtlMaxMs", Scalar::UInt32, false),
    ("Test", Scalar::Boolean, false),
];

/// Type of a member, and whether we write it; `None` for one that is not used.
#[must_use]
pub fn member(name: &str) -> Option<(Scalar, bool)> {
    MEMBERS
        .into_iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, scalar, written)| (scalar, written))
}

type Members = BTreeMap<&'static str, NodeId>;

/// The blocks as they were found.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    owner: Members,
    guards: BTreeMap<TagId, Members>,
    heartbeat: Option<(NodeId, Scalar)>,
    /// Names of what we write in our slot, and the slot's number.
    node_id: &'static str,
    request: &'static str,
    slot: u32,
    /// Most values in one read and in one write.
    read_max: usize,
    write_max: usize,
}

/// What the owner block granted us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    request: u32,
    epoch: u32,
}

/// Blocks with a grant: what one epoch of the link writes by.
#[derive(Clone, Debug)]
pub(super) struct Owned {
    pub(super) blocks: Blocks,
    pub(super) grant: Grant,
}

/// How ownership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Standing {
    alive: bool,
    epoch: u32,
    slot: u32,
    granted: u32,
}

/// A number or a contact of at most 32 bits.
fn whole(data: &DataValue) -> Option<u32> {
    if data.status.is_some_and(|status| !status.is_good()) {
        return None;
    }
    match data.value.as_ref()? {
        Variant::Boolean(b) => Some(u32::from(*b)),
        Variant::UInt16(n) => Some(u32::from(*n)),
        Variant::UInt32(n) => Some(*n),
        _ => None,
    }
}

/// Reads in order, in calls of at most `most`.
async fn read(wire: &dyn Wire, most: usize, ids: &[&NodeId]) -> Option<Vec<u32>> {
    let nodes: Vec<_> = ids.iter().map(|id| value_of(id)).collect();
    let mut all = Vec::with_capacity(nodes.len());
    for part in nodes.chunks(most.max(1)) {
        let read = wire.read(part, TimestampsToReturn::Neither);
        let values = timeout(ANSWER_MAX, read).await.ok()?.ok()?;
        if values.len() != part.len() {
            return None;
        }
        for value in &values {
            all.push(whole(value)?);
        }
    }
    Some(all)
}

/// Reads what belongs together: where that takes several calls, until two in a row agree.
async fn read_together(wire: &dyn Wire, most: usize, ids: &[&NodeId]) -> Option<Vec<u32>> {
    let mut seen = read(wire, most, ids).await?;
    if ids.len() <= most {
        return Some(seen);
    }
    for _again in 0..TOGETHER_MAX {
        let now = read(wire, most, ids).await?;
        if now == seen {
            return Some(now);
        }
        seen = now;
    }
    None
}

/// Writes in order, in calls of at most `most`; the first status that is not Good.
async fn write(wire: &dyn Wire, most: usize, writes: &[WriteValue]) -> Result<(), String> {
    for part in writes.chunks(most.max(1)) {
        match timeout(ANSWER_MAX, wire.write(part)).await {
            Ok(Ok(statuses)) => {
                if let Some(bad) = statuses.iter().find(|status| !status.is_good()) {
                    return Err(format!("the owner block does not take our request ({bad})"));
                }
            }
            Ok(Err(error)) => {
                return Err(format!("our request was not answered ({})", error.status()));
            }
            Err(_) => return Err("our request was not answered".to_owned()),
        }
    }
    Ok(())
}

fn write_of((id, value): (NodeId, Variant)) -> WriteValue {
    WriteValue {
        node_id: id,
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
        value: DataValue { value: Some(value), ..DataValue::default() },
    }
}

impl Blocks {
    /// The blocks of a resolution; `None` where the PLC config names none.
    pub(super) fn of(config: &LinkConfig, resolution: &Resolution) -> Option<Self> {
        let mut owner = Members::new();
        let mut guards: BTreeMap<TagId, Members> = BTreeMap::new();
        let mut heartbeat = None;
        for found in &resolution.found {
            match config.nodes.get(found.node)?.purpose {
                Purpose::Member { guard: None, member } => {
                    owner.insert(member, found.id.clone());
                }
                Purpose::Member { guard: Some(tag), member } => {
                    guards.entry(tag).or_default().insert(member, found.id.clone());
                }
                Purpose::Heartbeat => heartbeat = Some((found.id.clone(), found.scalar)),
                _ => {}
            }
        }
        let (node_id, request, slot) = if owner.contains_key("A_Request") {
            ("A_NodeId", "A_Request", 1)
        } else if owner.contains_key("B_Request") {
            ("B_NodeId", "B_Request", 2)
        } else {
            return None;
        };
        let (read_max, write_max) = (resolution.read_max, resolution.write_max);
        Some(Self { owner, guards, heartbeat, node_id, request, slot, read_max, write_max })
    }

    async fn standing(&self, wire: &dyn Wire) -> Option<Standing> {
        let names = ["OwnerAlive", "EpochNow", "OwnerSlot", "Granted"];
        let ids: Option<Vec<&NodeId>> = names.iter().map(|name| self.owner.get(name)).collect();
        match read_together(wire, self.read_max, &ids?).await?.as_slice() {
            [alive, epoch, slot, granted] => {
                Some(Standing { alive: *alive != 0, epoch: *epoch, slot: *slot, granted: *granted })
            }
            _ => None,
        }
    }

    /// Whether a grant could be had now.
    pub(super) async fn free(&self, wire: &dyn Wire) -> bool {
        let standing = self.standing(wire).await;
        standing.is_some_and(|standing| !standing.alive || standing.slot == self.slot)
    }

    /// Asks for ownership and waits for the grant, beating meanwhile: the link, and with it the
    /// heartbeat of the cell, opens only afterwards.
    ///
    /// # Errors
    /// Why there is no grant, for the engineer at the machine.
    pub(super) async fn acquire(&self, shared: &Shared, wire: &dyn Wire) -> Result<Grant, String> {
        let unreadable = || "the owner block cannot be read".to_owned();
        let before = self.standing(wire).await.ok_or_else(unreadable)?;
        if before.alive && before.slot != self.slot {
            return Err("another controller owns the cell; it must release it first".to_owned());
        }
        let (beat_id, scalar) =
            self.heartbeat.as_ref().ok_or("there is no heartbeat to ask with")?;
        let start = shared.clock.mono();
        // A number not used before, also not by an earlier life of ours.
        let millis = shared.clock.utc().as_nanos() / 1_000_000;
        let request = u32::try_from(millis & 0x7FFF_FFFF).unwrap_or(0) + 1;
        let mut count = request;
        let mut asked = false;
        while shared.clock.mono() - start < span_of(GRANT_MAX) {
            count = count.wrapping_add(1);
            let life = beat(count, *scalar).ok_or("the heartbeat's register cannot count")?;
            let mut values = vec![(beat_id.clone(), life)];
            if !asked {
                for (name, value) in [(self.node_id, node_number(shared)), (self.request, request)]
                {
                    let id = self.owner.get(name).ok_or_else(unreadable)?;
                    values.push((id.clone(), Variant::UInt32(value)));
                }
            }
            let writes: Vec<_> = values.into_iter().map(write_of).collect();
            write(wire, self.write_max, &writes).await?;
            asked = true;
            sleep(LOOK).await;
            let now = self.standing(wire).await.ok_or_else(unreadable)?;
            if now.alive && now.slot == self.slot && now.granted == request {
                info!(plc = %shared.config.name, epoch = now.epoch, "The PLC granted us the cell.");
                return Ok(Grant { request, epoch: now.epoch });
            }
        }
        Err("the owner block did not grant the cell within 3 s; is it called, and does DtMs count?"
            .to_owned())
    }
}

/// Our number for people, from the name in the session list (FNV-1a).
fn node_number(shared: &Shared) -> u32 {
    let name = shared.config.client_name.bytes();
    name.fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Owned {
    /// Whether the cell is still ours; what cannot be read is left to the link's own watchdogs.
    pub(super) async fn holds(&self, wire: &dyn Wire) -> bool {
        self.blocks.standing(wire).await.is_none_or(|now| self.is(now))
    }

    fn is(&self, now: Standing) -> bool {
        now.alive
            && now.slot == self.blocks.slot
            && now.granted == self.grant.request
            && now.epoch == self.grant.epoch
    }

    /// Gives ownership back: the PLC returns to its baseline at once, not after a time-out.
    pub(super) async fn release(&self, wire: &dyn Wire) {
        let Some(id) = self.blocks.owner.get(self.blocks.request) else { return };
        let release = [write_of((id.clone(), Variant::UInt32(0)))];
        let answer = timeout(RELEASE_MAX, wire.write(&release)).await;
        if !matches!(answer, Ok(Ok(_))) {
            warn!("The PLC did not take back the cell; it does when our heartbeat is missing.");
        }
    }
}

/// One request to a guard; what became of it.
///
/// `left_ms` gives the time to live that is left; `None` when it is over.
pub(super) async fn request(
    shared: &Shared,
    live: &Arc<Live>,
    tag: TagId,
    value: f64,
    left_ms: impl Fn() -> Option<u32>,
) -> AckResult {
    let Some(owned) = &live.owned else { return AckResult::NotSent };
    let Some(guard) = owned.blocks.guards.get(&tag) else { return AckResult::NotSent };
    let id = |name: &str| guard.get(name).cloned();
    let plc = &shared.config.name;
    let Some((clock, ttl_max, last_seq)) = ready(live, owned, guard).await else {
        warn!(%plc, "A write was dropped: the guard does not answer, is in test mode, or the cell is no longer ours.");
        return AckResult::NotSent;
    };
    let Some(left) = left_ms() else { return AckResult::NotSent };
    let values = [
        (id("VExt"), Variant::Double(value)),
        (id("TtlMs"), Variant::UInt32(left.clamp(1, ttl_max.max(1)))),
        (id("Epoch"), Variant::UInt32(owned.grant.epoch)),
        // The core does not say yet which model asks.
        (id("ModelId"), Variant::UInt32(0)),
        (id("Stamp"), Variant::UInt32(clock)),
    ];
    let Some(values) = all_known(values) else { return AckResult::NotSent };
    let still_good = || left_ms().is_some();
    // Values alone move nothing, so several calls are as good as one, and nothing is in doubt here.
    for part in values.chunks(live.write_max.max(1)) {
        let sent = transmit(shared, live, part.to_vec(), ANSWER_MAX, still_good).await;
        let Some(Ok(statuses)) = sent else { return AckResult::NotSent };
        if let Some(bad) = statuses.iter().find(|status| !status.is_good()) {
            error!(%plc, status = %bad, "The guard's mailbox does not take our values.");
            return AckResult::Refused(bad.bits());
        }
    }
    let seq = last_seq.wrapping_add(1);
    let Some(call) = all_known([(id("Seq"), Variant::UInt32(seq))]) else {
        return AckResult::NotSent;
    };
    let sent = match transmit(shared, live, call, ANSWER_MAX, still_good).await {
        None => return AckResult::NotSent,
        Some(answer) => judge(answer.and_then(single)),
    };
    match sent {
        // The answer of the server is missing, that of the block may be had all the same.
        AckResult::Good | AckResult::Unknown => answered(shared, live, guard, seq, left).await,
        refused => refused,
    }
}

fn all_known<const N: usize>(
    values: [(Option<NodeId>, Variant); N],
) -> Option<Vec<(NodeId, Variant)>> {
    values.into_iter().map(|(id, value)| Some((id?, value))).collect()
}

/// `ClockMs`, `TtlMaxMs` and `LastSeq`, when the guard may be asked.
async fn ready(live: &Live, owned: &Owned, guard: &Members) -> Option<(u32, u32, u32)> {
    let of_guard = ["ClockMs", "TtlMaxMs", "LastSeq", "Test"];
    let of_owner = ["OwnerAlive", "EpochNow", "OwnerSlot", "Granted"];
    let ids = of_guard.iter().map(|name| guard.get(name));
    let ids: Option<Vec<&NodeId>> =
        ids.chain(of_owner.iter().map(|name| owned.blocks.owner.get(name))).collect();
    // In several calls if need be: an older clock only shortens the life of the request, and the guard
    // itself refuses the epoch of another owner.
    match read(live.wire.as_ref(), owned.blocks.read_max, &ids?).await?.as_slice() {
        [clock, ttl_max, last_seq, test, alive, epoch, slot, granted] => {
            let now =
                Standing { alive: *alive != 0, epoch: *epoch, slot: *slot, granted: *granted };
            (*test == 0 && owned.is(now)).then_some((*clock, *ttl_max, *last_seq))
        }
        _ => None,
    }
}

/// Waits for the block's answer to `seq`.
async fn answered(
    shared: &Shared,
    live: &Arc<Live>,
    guard: &Members,
    seq: u32,
    ttl_ms: u32,
) -> AckResult {
    let (Some(ack_seq), Some(ack_code)) = (guard.get("AckSeq"), guard.get("AckCode")) else {
        return AckResult::Unknown;
    };
    let read_max = live.owned.as_ref().map_or(1, |owned| owned.blocks.read_max);
    let end = shared.clock.mono() + span_of(Duration::from_millis(ttl_ms.into()) + GRACE);
    loop {
        let open = lock(&shared.gate).as_ref().is_some_and(|open| Arc::ptr_eq(open, live));
        if !open {
            return AckResult::Unknown;
        }
        // The two belong together when the number is the same before and after.
        let ids = [ack_seq, ack_code, ack_seq];
        if let Some(answer) = read(live.wire.as_ref(), read_max, &ids).await
            && let [before, code, after] = answer.as_slice()
            && *before == seq
            && *after == seq
        {
            return told(shared, *code);
        }
        if shared.clock.mono() > end {
            return AckResult::Unknown;
        }
        sleep(LOOK).await;
    }
}

/// What an `AckCode` is for the core.
fn told(shared: &Shared, code: u32) -> AckResult {
    let plc = &shared.config.name;
    let (what, status) = match code {
        1 => return AckResult::Good,
        2..=4 => {
            warn!(%plc, code, "The guard took less than was asked: its limits or its step are narrower than the recipe's.");
            return AckResult::Good;
        }
        10 => ("the sequence number was not ahead", StatusCode::BadSequenceNumberInvalid),
        11 => ("the request was too old", StatusCode::BadInvalidTimestamp),
        12 => ("the time to live is not one it takes", StatusCode::BadInvalidArgument),
        13 => ("the epoch is not the owner's", StatusCode::BadInvalidState),
        14 => ("the value is not finite", StatusCode::BadOutOfRange),
        15 => ("it is not enabled", StatusCode::BadUserAccessDenied),
        16 => ("it is in local", StatusCode::BadUserAccessDenied),
        17 => ("there is no living owner", StatusCode::BadInvalidState),
        18 => ("its settings do not fit", StatusCode::BadConfigurationError),
        19 => ("its baseline or test mode changed", StatusCode::BadInvalidState),
        _ => ("it gives a code we do not know", StatusCode::BadUnexpectedError),
    };
    error!(%plc, code, what, "The guard refused a write.");
    AckResult::Refused(status.bits())
}
