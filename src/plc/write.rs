//! Carries out approved writes. The only code that takes an [`ApprovedWrite`] apart.
//!
//! - Taken by value, sent at most once. Too old, of another epoch, or without a link: dropped
//!   and answered `NotSent`. There is no queue across a disconnect.
//! - Only the value goes onto the wire, in the register's own type, without loss; servers refuse
//!   statuses and stamps with it.
//! - Good is not done: the register is read at once, and the result goes in as a sample. No
//!   clear answer is `Unknown`: perhaps written, perhaps later.
//! - Writes do not wait for one another.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use opcua::types::{
    AttributeId, DataValue, Error, NodeId, NumericRange, StatusCode, TimestampsToReturn, Variant,
    WriteValue,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};
use trimloop_core::guard::ApprovedWrite;
use trimloop_core::scan::{Ack, AckResult};
use trimloop_core::unit::{Grid, Ticks};

use super::handshake;
use super::mutant::{Mutant, broken};
use super::resolve::value_of;
use super::session::{Live, Register};
use super::{Scalar, Shared, WRITES_MAX, count, decode, expired, stopped};
use crate::intake::lock;

/// A write without an answer for so long is Unknown. Below the default `confirm` of 3 s.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Pauses between attempts to read the register back: a PLC may take a write in its next cycle.
const READ_BACK_AFTER: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];
/// Pause before a register is asked again that has not answered at all since it was written.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Largest whole number up to which every `f64` names just one.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

pub(super) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<ApprovedWrite>) {
    let mut stop = shared.stop.clone();
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            write = queue.recv(), if open.len() < WRITES_MAX => match write {
                Some(write) => open.push(one(Arc::clone(&shared), write)),
                None => break,
            },
            Some(()) = open.next(), if !open.is_empty() => {}
        }
    }
    queue.close();
    while let Ok(write) = queue.try_recv() {
        answer(&shared, write.seq(), AckResult::NotSent);
    }
}

fn answer(shared: &Shared, write: u64, result: AckResult) {
    let counters = &shared.counters;
    count(
        match result {
            AckResult::Good => &counters.writes_good,
            AckResult::Refused(_) => &counters.writes_refused,
            AckResult::NotSent => &counters.writes_not_sent,
            AckResult::Unknown => &counters.writes_unknown,
        },
        1,
    );
    if result == AckResult::NotSent && broken(Mutant::FateForgotten) {
        return;
    }
    shared.intake.ack(Ack { write, result, at: shared.clock.mono() });
}

async fn one(shared: Arc<Shared>, write: ApprovedWrite) {
    let (seq, tag, to) = (write.seq(), write.tag(), write.to());
    let (result, sent) = send(&shared, write).await;
    answer(&shared, seq, result);
    if let (Some(live), AckResult::Good | AckResult::Unknown) = (sent, result)
        && !broken(Mutant::NoReadBack)
        && let Some(register) = live.setpoints.get(&tag)
    {
        read_back(&shared, &live, register, to).await;
    }
}

/// Sends a write; what became of it, and by which session it went.
async fn send(shared: &Shared, write: ApprovedWrite) -> (AckResult, Option<Arc<Live>>) {
    let not_sent = (AckResult::NotSent, None);
    let seq = write.seq();
    let live = lock(&shared.gate).clone();
    let Some(live) =
        live.filter(|live| live.epoch == write.epoch() || broken(Mutant::EpochUnchecked))
    else {
        warn!(seq, "A write was dropped: its PLC session is over.");
        return not_sent;
    };
    let Some(register) = live.setpoints.get(&write.tag()) else {
        error!(seq, "A write was dropped: its tag is not a writable setpoint of the PLC config.");
        return not_sent;
    };
    let Some(value) = encode(register.grid, write.to(), register.scalar) else {
        error!(
            seq,
            value = write.value(),
            register = register.scalar.name(),
            "A write was dropped: the register cannot hold the value without loss."
        );
        return not_sent;
    };
    if register.guarded {
        let left = || {
            let left = write.issued() + write.ttl() - shared.clock.mono();
            u32::try_from(left.as_millis()).ok().filter(|left| *left > 0)
        };
        let result = handshake::request(shared, &live, write.tag(), write.value(), left).await;
        return (result, Some(live).filter(|_| result != AckResult::NotSent));
    }
    let still_good = || {
        let old = expired(shared.clock.mono(), write.issued(), write.ttl());
        !old || broken(Mutant::TtlUnchecked)
    };
    live.feed.written(register.tag, write.issued());
    let mut sent =
        transmit(shared, &live, vec![(register.id.clone(), value)], ANSWER_MAX, still_good).await;
    if broken(Mutant::BlindRetry)
        && matches!(sent, Some(Err(_)))
        && let Some(again) = encode(register.grid, write.to(), register.scalar)
    {
        let id = register.id.clone();
        sent = transmit(shared, &live, vec![(id, again)], ANSWER_MAX, still_good).await;
    }
    match sent {
        None => {
            live.feed.not_written(register.tag);
            warn!(seq, "A write was dropped: it was too old to be sent, or the link had gone.");
            not_sent
        }
        Some(answer) => {
            let answer = answer.and_then(single);
            tell_clamped(shared, register, answer.as_ref().ok().copied());
            let result = judge(answer);
            if let AckResult::Refused(status) = result {
                live.feed.not_written(register.tag);
                let status = StatusCode::from(status);
                error!(seq, %status, "The PLC refused a write.");
            } else if result == AckResult::Unknown {
                warn!(
                    seq,
                    "A write got no clear answer; its register is read before anything else."
                );
            }
            (result, Some(live))
        }
    }
}

/// Tells when a PLC begins to take less than it was asked for (`Good_Clamped`). The register, not
/// the answer, says how much it took.
fn tell_clamped(shared: &Shared, register: &Register, answer: Option<StatusCode>) {
    let Some(answer) = answer.filter(|answer| answer.is_good()) else { return };
    // Without the info bits.
    let clamped = answer.bits() & 0xFFFF_0000 == StatusCode::GoodClamped.bits();
    let before = register.clamped.swap(clamped, Ordering::Relaxed);
    if !clamped || before {
        return;
    }
    let config = &shared.config;
    let of_tag = |node: &&super::NodeConfig| node.tag == Some(register.tag);
    let name = config.nodes.iter().find(of_tag).map_or("?", |node| node.name.as_str());
    warn!(plc = %config.name, register = name, "The PLC took less than was asked for (Good_Clamped).");
    let sentence = format!(
        "PLC {} takes less than it is asked for at {name} (Good_Clamped): its limits are narrower \
         than the recipe's. The value that stands there is adopted. Give trimloop the PLC's limits \
         (`plc_low`, `plc_high`), or narrow the recipe's.",
        config.name
    );
    shared.notices.tell("write_clamped", name, sentence);
}

/// Writes values in one call, if the gate is still open for this session and `still_good` holds when it
/// goes to the transport. `None`: nothing was sent.
///
/// The request is handed over under the gate's lock. The session owner closes the gate before it
/// connects again, so no write can slip into a later connection.
pub(super) async fn transmit(
    shared: &Shared,
    live: &Arc<Live>,
    values: Vec<(NodeId, Variant)>,
    within: Duration,
    still_good: impl Fn() -> bool,
) -> Option<Result<Vec<StatusCode>, Error>> {
    let write = |(node_id, value)| WriteValue {
        node_id,
        attribute_id: AttributeId::Value as u32,
        index_range: NumericRange::None,
        value: DataValue { value: Some(value), ..DataValue::default() },
    };
    let request: Vec<WriteValue> = values.into_iter().map(write).collect();
    let mut call = pin!(live.wire.write(&request));
    let mut handed_over = false;
    let gated = poll_fn(|context| {
        if handed_over {
            return call.as_mut().poll(context).map(Some);
        }
        let gate = lock(&shared.gate);
        let open = gate.as_ref().is_some_and(|open| Arc::ptr_eq(open, live));
        if !open || !still_good() {
            return Poll::Ready(None);
        }
        handed_over = true;
        call.as_mut().poll(context).map(Some)
    });
    match timeout(within, gated).await {
        Ok(None) => None,
        Ok(Some(Ok(statuses))) if statuses.len() == request.len() => Some(Ok(statuses)),
        Ok(Some(Ok(_))) => {
            Some(Err(Error::new(StatusCode::BadUnknownResponse, "not one status for one write")))
        }
        Ok(Some(Err(error))) => Some(Err(error)),
        Err(_) => Some(Err(Error::new(StatusCode::BadTimeout, "no answer in time"))),
    }
}

/// The status of a call with one value.
pub(super) fn single(statuses: Vec<StatusCode>) -> Result<StatusCode, Error> {
    let missing = || Error::new(StatusCode::BadUnknownResponse, "no status for a write");
    statuses.first().copied().ok_or_else(missing)
}

/// What an answer says about the register.
pub(super) fn judge(answer: Result<StatusCode, Error>) -> AckResult {
    let status = match answer {
        Ok(status) if status.is_good() => return AckResult::Good,
        Ok(status) => status,
        // The transport was already gone: the request never left.
        Err(error) if error.status() == StatusCode::BadNotConnected => return AckResult::NotSent,
        Err(error) => error.status(),
    };
    if status.is_uncertain() || status.is_good() || ambiguous(status) {
        AckResult::Unknown
    } else {
        AckResult::Refused(status.bits())
    }
}

/// Answers after which the value may be in the register all the same, perhaps later.
fn ambiguous(status: StatusCode) -> bool {
    if broken(Mutant::AmbiguousRefused) {
        return false;
    }
    matches!(
        // Without the info bits.
        StatusCode::from(status.bits() & 0xFFFF_0000),
        StatusCode::BadTimeout
            | StatusCode::BadRequestTimeout
            | StatusCode::BadUnexpectedError
            | StatusCode::BadInternalError
            | StatusCode::BadCommunicationError
            | StatusCode::BadConnectionClosed
            | StatusCode::BadSecureChannelClosed
            | StatusCode::BadNoCommunication
            | StatusCode::BadWaitingForResponse
            | StatusCode::BadOperationAbandoned
            | StatusCode::BadRequestInterrupted
            | StatusCode::BadDeviceFailure
            | StatusCode::BadShutdown
            | StatusCode::BadServerHalted
            | StatusCode::BadUnknownResponse
            | StatusCode::BadDecodingError
            | StatusCode::BadDisconnect
            | StatusCode::BadEndOfStream
    )
}

/// Reads the register until it holds what was written, or the attempts are used up and one of them
/// was answered; the last result goes in. The subscription tells the truth meanwhile.
async fn read_back(shared: &Shared, live: &Live, register: &Register, to: Ticks) {
    let request = [value_of(&register.id)];
    let mut last = None;
    let mut pauses = READ_BACK_AFTER.into_iter();
    loop {
        let pause = match pauses.next() {
            Some(pause) => pause,
            None if last.is_none() => READ_AGAIN_AFTER,
            None => break,
        };
        if !pause.is_zero() {
            sleep(pause).await;
        }
        if lock(&shared.gate).as_ref().is_none_or(|open| open.epoch != live.epoch) {
            return;
        }
        let asked = shared.clock.mono();
        let read = live.wire.read(&request, TimestampsToReturn::Both);
        // An attempt without an answer takes the one before it back: it may be seconds old.
        last = match timeout(ANSWER_MAX, read).await {
            Ok(Ok(values)) => values.into_iter().next().map(|data| (data, asked)),
            _ => None,
        };
        if last.as_ref().is_some_and(|(data, _)| holds(data, register, to)) {
            break;
        }
    }
    if let Some((data, asked)) = last {
        live.feed.read_back(register.tag, &data, asked);
    }
}

fn holds(data: &DataValue, register: &Register, to: Ticks) -> bool {
    let sample = decode::decode(register.tag, data, trimloop_core::time::Mono::default()).sample;
    sample.value.is_some_and(|value| register.grid.nearest(value.as_f64()) == Some(to))
}

/// A setpoint in the register's type; `None` when it would not come back as the same tick.
pub(super) fn encode(grid: Grid, to: Ticks, scalar: Scalar) -> Option<Variant> {
    let value = grid.value(to);
    match scalar {
        Scalar::Double => Some(Variant::Double(value)),
        Scalar::Float => {
            let real = value as f32;
            let back = f64::from(real);
            let same = grid.nearest(back) == Some(to) && grid.holds(back);
            same.then_some(Variant::Float(real))
        }
        Scalar::Boolean | Scalar::DateTime => None,
        _ => integer(whole(value)?, scalar),
    }
}

/// The whole number that a float is; `None` for a fraction or beyond 2^53.
fn whole(value: f64) -> Option<i64> {
    let exact = (value - value.trunc()).abs() <= 0.0 && value.abs() <= EXACT_MAX;
    exact.then_some(value as i64)
}

/// A whole number in an integer type; `None` when it does not fit.
fn integer(value: i64, scalar: Scalar) -> Option<Variant> {
    Some(match scalar {
        Scalar::SByte => Variant::SByte(i8::try_from(value).ok()?),
        Scalar::Byte => Variant::Byte(u8::try_from(value).ok()?),
        Scalar::Int16 => Variant::Int16(i16::try_from(value).ok()?),
        Scalar::UInt16 => Variant::UInt16(u16::try_from(value).ok()?),
        Scalar::Int32 => Variant::Int32(i32::try_from(value).ok()?),
        Scalar::UInt32 => Variant::UInt32(u32::try_from(value).ok()?),
        Scalar::Int64 => Variant::Int64(value),
        Scalar::UInt64 => Variant::UInt64(u64::try_from(value).ok()?),
        Scalar::Boolean | Scalar::Float | Scalar::Double | Scalar::DateTime => return None,
    })
}

/// Our life sign in the heartbeat register's type: counters narrower than 32 bits wrap at their
/// positive range, a contact toggles.
pub(super) fn beat(count: u32, scalar: Scalar) -> Option<Variant> {
    let count = i64::from(count);
    match scalar {
        Scalar::Boolean => Some(Variant::Boolean(count & 1 == 1)),
        Scalar::SByte => integer(count & 0x7F, scalar),
        Scalar::Byte => integer(count & 0xFF, scalar),
        Scalar::Int16 => integer(count & 0x7FFF, scalar),
        Scalar::UInt16 => integer(count & 0xFFFF, scalar),
        Scalar::Int32 => integer(count & 0x7FFF_FFFF, scalar),
        Scalar::UInt32 | Scalar::Int64 | Scalar::UInt64 => integer(count, scalar),
        // Whole numbers up to 2^24 are exact in 32 bits.
        Scalar::Float => Some(Variant::Float((count & 0xFF_FFFF) as f32)),
        Scalar::Double => Some(Variant::Double(count as f64)),
        Scalar::DateTime => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setpoint reaches the wire in the register's own type, or not at all.
    #[test]
    fn conversion_is_lossless_or_refused() {
        let half = Grid::new(5, 1).unwrap();
        let tenth = Grid::new(1, 1).unwrap();
        let ten = Grid::new(10, 0).unwrap();
        let micro = Grid::new(1, 6).unwrap();
        let rows = [
            (half, 721, Scalar::Double, Some(Variant::Double(360.5))),
            (half, 721, Scalar::Float, Some(Variant::Float(360.5))),
            (tenth, 3, Scalar::Float, Some(Variant::Float(0.3))),
            (half, 721, Scalar::Int32, None),
            (half, 720, Scalar::Int32, Some(Variant::Int32(360))),
            (ten, -12, Scalar::SByte, Some(Variant::SByte(-120))),
            (ten, -13, Scalar::SByte, None),
            (ten, -1, Scalar::UInt64, None),
            (ten, 25, Scalar::Byte, Some(Variant::Byte(250))),
            (ten, 26, Scalar::Byte, None),
            (ten, 7000, Scalar::UInt16, None),
            (ten, 7000, Scalar::UInt32, Some(Variant::UInt32(70_000))),
            // 16,777,216.000001 is one tick beside its neighbour, an f32 cannot tell.
            (micro, 16_777_216_000_001, Scalar::Float, None),
            (micro, 0, Scalar::Boolean, None),
            (ten, 1, Scalar::DateTime, None),
        ];
        for (grid, count, scalar, expect) in rows {
            assert_eq!(encode(grid, Ticks::new(count), scalar), expect, "{count} {scalar:?}");
        }
    }

    /// Good is Good, refusals keep their code, and what may have been written is Unknown.
    #[test]
    fn answers_are_judged() {
        let error = |status| Err(Error::new(status, "test"));
        for (given, expect) in [
            (Ok(StatusCode::Good), AckResult::Good),
            (Ok(StatusCode::GoodClamped), AckResult::Good),
            (Ok(StatusCode::BadTypeMismatch), AckResult::Refused(0x8074_0000)),
            (Ok(StatusCode::BadUserAccessDenied), AckResult::Refused(0x801F_0000)),
            (Ok(StatusCode::BadOutOfRange), AckResult::Refused(0x803C_0000)),
            (Ok(StatusCode::BadTimeout), AckResult::Unknown),
            (Ok(StatusCode::UncertainLastUsableValue), AckResult::Unknown),
            (error(StatusCode::BadTimeout), AckResult::Unknown),
            (error(StatusCode::BadConnectionClosed), AckResult::Unknown),
            (error(StatusCode::BadSessionIdInvalid), AckResult::Refused(0x8025_0000)),
            (error(StatusCode::BadNotConnected), AckResult::NotSent),
        ] {
            let shown = format!("{given:?}");
            assert_eq!(judge(given), expect, "{shown}");
        }
    }

    /// Life signs fit every register that can count, and change with each beat.
    #[test]
    fn beats_wrap() {
        for scalar in Scalar::ALL {
            if scalar == Scalar::DateTime {
                assert_eq!(beat(1, scalar), None);
                continue;
            }
            for count in [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, u32::MAX - 1] {
                assert_ne!(beat(count, scalar).unwrap(), beat(count + 1, scalar).unwrap());
            }
        }
        assert_eq!(beat(0x8000, Scalar::Int16), Some(Variant::Int16(0)));
        assert_eq!(beat(u32::MAX, Scalar::UInt32), Some(Variant::UInt32(u32::MAX)));
    }
}
