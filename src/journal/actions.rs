//! Compact binary form of a step's [`Action`]s: for the digest that replay compares, and for
//! `why`, which reads them back.
//!
//! An approved write cannot be made again from bytes (only the guard makes one); it comes back as
//! a [`WriteNote`], which nothing can send.

mod evidence;

use trimloop_core::drift::{Drift, DriftCheck};
use trimloop_core::event::{Event, OrderRefusal, What};
use trimloop_core::guard::{Cut, FailedChecks, Reason};
use trimloop_core::ledger::Fate;
use trimloop_core::mode::{Rung, TripReason};
use trimloop_core::plan::{
    CharacteristicId, FeatureId, InterlockId, LoopId, ModelId, PlcId, SetpointId, SignatureId,
};
use trimloop_core::record::{
    ContributionRow, DecisionRow, FeatureRow, LabelRow, LedgerRow, Outcome, PartRow, Record,
    ScoreRow,
};
use trimloop_core::scan::{Action, Proposal};
use trimloop_core::tag::{Doubt, Fault, Quality, TagId};
use trimloop_core::time::{Mono, Now, Process, Span, Utc};
use trimloop_core::unit::Ticks;

use super::codec::{
    Get, MODES, Malformed, index_of, put_f64, put_i64, put_u8, put_varint, put_zigzag,
};

/// What is remembered of an approved write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WriteNote {
    /// Write number.
    pub seq: u64,
    /// PLC it went to.
    pub plc: PlcId,
    /// PLC session.
    pub epoch: u64,
    /// Which setpoint.
    pub setpoint: SetpointId,
    /// Its tag.
    pub tag: TagId,
    /// Where the register stood.
    pub from: Ticks,
    /// Where it goes.
    pub to: Ticks,
    /// The number for the wire [setpoint unit].
    pub value: f64,
    /// Link time of its making.
    pub issued: Mono,
    /// Age at which it dies.
    pub ttl: Span,
}

/// An action as read back from the journal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Note {
    /// [`Action::Write`].
    Write(WriteNote),
    /// [`Action::Heartbeat`].
    Heartbeat(PlcId, u32),
    /// [`Action::Ask`].
    Ask(Proposal),
    /// [`Action::Record`].
    Record(Record),
    /// [`Action::Event`].
    Event(Event),
}

/// FNV-1a over an encoding: equal for equal actions on every machine, cheap, not a signature
/// (the journal's hash chain is).
pub fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Appends the actions of one step to `out`.
pub fn encode_actions(actions: &[Action], out: &mut Vec<u8>) {
    put_varint(out, actions.len() as u64);
    for action in actions {
        match action {
            Action::Write(write) => {
                put_u8(out, 0);
                put_varint(out, write.seq());
                put_u16(out, write.plc().0);
                put_varint(out, write.epoch());
                put_u16(out, write.setpoint().0);
                put_u16(out, write.tag().0);
                put_zigzag(out, write.from().count());
                put_zigzag(out, write.to().count());
                put_f64(out, write.value());
                put_i64(out, write.issued().as_nanos());
                put_zigzag(out, write.ttl().as_nanos());
            }
            Action::Heartbeat(plc, beat) => {
                put_u8(out, 1);
                put_u16(out, plc.0);
                put_varint(out, u64::from(*beat));
            }
            Action::Ask(proposal) => {
                put_u8(out, 2);
                put_varint(out, proposal.id);
                put_u16(out, proposal.loop_id.0);
                put_zigzag(out, proposal.from.count());
                put_zigzag(out, proposal.to.count());
                put_i64(out, proposal.expires.as_nanos());
            }
            Action::Record(record) => {
                put_u8(out, 3);
                put_record(out, record);
            }
            Action::Event(event) => {
                put_u8(out, 4);
                put_event(out, event);
            }
        }
    }
}

/// Reads the actions of one step; every byte must belong to them.
///
/// # Errors
/// [`Malformed`] when the bytes are something else.
pub fn decode_actions(bytes: &[u8]) -> Result<Vec<Note>, Malformed> {
    let mut get = Get::new(bytes);
    let count = get.count(2)?;
    let mut notes = Vec::with_capacity(count);
    for _ in 0..count {
        notes.push(match get.u8()? {
            0 => Note::Write(WriteNote {
                seq: get.varint()?,
                plc: PlcId(get.u16()?),
                epoch: get.varint()?,
                setpoint: SetpointId(get.u16()?),
                tag: TagId(get.u16()?),
                from: get.ticks()?,
                to: get.ticks()?,
                value: get.f64()?,
                issued: Mono::from_nanos(get.i64()?),
                ttl: Span::from_nanos(get.zigzag()?),
            }),
            1 => Note::Heartbeat(PlcId(get.u16()?), get.u32()?),
            2 => Note::Ask(Proposal {
                id: get.varint()?,
                loop_id: LoopId(get.u16()?),
                from: get.ticks()?,
                to: get.ticks()?,
                expires: Mono::from_nanos(get.i64()?),
            }),
            3 => Note::Record(get_record(&mut get)?),
            4 => Note::Event(get_event(&mut get)?),
            _ => return Err(Malformed("action")),
        });
    }
    get.end()?;
    Ok(notes)
}

const RUNGS: [Rung; 4] = [Rung::Full, Rung::FeedbackOnly, Rung::Return, Rung::Released];
const CUTS: [Cut; 7] =
    [Cut::Nothing, Cut::Absolute, Cut::Trim, Cut::Authority, Cut::Plc, Cut::Step, Cut::Rate];
const TRIPS: [TripReason; 8] = [
    TripReason::Clock,
    TripReason::Interlock,
    TripReason::EmptyRange,
    TripReason::NotTaken,
    TripReason::Mismatch,
    TripReason::NoEffect,
    TripReason::Oscillation,
    TripReason::Operator,
];
const REFUSALS: [OrderRefusal; 8] = [
    OrderRefusal::Unknown,
    OrderRefusal::Tripped,
    OrderRefusal::AboveRecipe,
    OrderRefusal::Superseded,
    OrderRefusal::Expired,
    OrderRefusal::SetpointMoved,
    OrderRefusal::Held,
    OrderRefusal::NotLatched,
];
const QUALITIES: [Quality; 11] = [
    Quality::Good,
    Quality::Uncertain,
    Quality::Suspect(Doubt::Rate),
    Quality::Suspect(Doubt::Spike),
    Quality::Suspect(Doubt::Frozen),
    Quality::Suspect(Doubt::Skew),
    Quality::Bad(Fault::Server),
    Quality::Bad(Fault::Range),
    Quality::Bad(Fault::NotANumber),
    Quality::Stale,
    Quality::Missing,
];

fn put_u16(out: &mut Vec<u8>, x: u16) {
    put_varint(out, u64::from(x));
}

fn put_flag(out: &mut Vec<u8>, x: bool) {
    put_u8(out, u8::from(x));
}

fn put_option<T>(out: &mut Vec<u8>, x: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    put_flag(out, x.is_some());
    if let Some(x) = x {
        put(out, x);
    }
}

fn get_option<'a, T>(
    get: &mut Get<'a>,
    read: impl FnOnce(&mut Get<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    if get.flag()? { Ok(Some(read(get)?)) } else { Ok(None) }
}

fn put_ticks(out: &mut Vec<u8>, ticks: Ticks) {
    put_zigzag(out, ticks.count());
}

fn put_when(out: &mut Vec<u8>, at: Mono) {
    put_i64(out, at.as_nanos());
}

fn get_when(get: &mut Get<'_>) -> Result<Mono, Malformed> {
    Ok(Mono::from_nanos(get.i64()?))
}

fn put_record(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Part(row) => {
            put_u8(out, 0);
            put_zigzag(out, row.part);
            put_varint(out, row.number);
            put_i64(out, row.began.as_nanos());
            put_i64(out, row.ended.as_nanos());
            put_u8(out, u8::from(row.warm_up) | u8::from(row.mixed) << 1 | u8::from(row.gap) << 2);
        }
        Record::Feature(row) => {
            put_u8(out, 1);
            put_zigzag(out, row.part);
            put_u16(out, row.feature.0);
            put_option(out, row.value, put_f64);
            put_f64(out, row.coverage);
        }
        Record::Score(row) => {
            put_u8(out, 2);
            put_zigzag(out, row.part);
            put_u16(out, row.model.0);
            put_option(out, row.value, put_f64);
            put_f64(out, row.low);
            put_f64(out, row.high);
            put_flag(out, row.in_domain);
            put_flag(out, row.alarm);
        }
        Record::Contribution(row) => {
            put_u8(out, 3);
            put_zigzag(out, row.part);
            put_u16(out, row.model.0);
            put_u16(out, row.feature.0);
            put_u8(out, row.rank);
            put_f64(out, row.share);
            put_f64(out, row.z);
        }
        Record::Label(row) => {
            put_u8(out, 4);
            put_zigzag(out, row.part);
            put_u16(out, row.characteristic.0);
            put_f64(out, row.value);
            put_flag(out, row.used);
        }
        Record::Decision(row) => {
            put_u8(out, 5);
            put_decision(out, row);
        }
        Record::Ledger(row) => {
            put_u8(out, 6);
            put_ledger(out, row);
        }
        Record::Check(row) => {
            put_u8(out, 7);
            evidence::put_check(out, row);
        }
        Record::Input(row) => {
            put_u8(out, 8);
            evidence::put_input(out, row);
        }
        Record::Wish(row) => {
            put_u8(out, 9);
            evidence::put_wish(out, row);
        }
        Record::Forecast(row) => {
            put_u8(out, 10);
            evidence::put_forecast(out, row);
        }
    }
}

fn get_record(get: &mut Get<'_>) -> Result<Record, Malformed> {
    Ok(match get.u8()? {
        0 => {
            let part = get.zigzag()?;
            let number = get.varint()?;
            let began = Process::from_nanos(get.i64()?);
            let ended = Process::from_nanos(get.i64()?);
            let flags = get.u8()?;
            if flags > 7 {
                return Err(Malformed("part flags"));
            }
            let [warm_up, mixed, gap] = [1, 2, 4].map(|bit| flags & bit != 0);
            Record::Part(PartRow { part, number, began, ended, warm_up, mixed, gap })
        }
        1 => Record::Feature(FeatureRow {
            part: get.zigzag()?,
            feature: FeatureId(get.u16()?),
            value: get_option(get, Get::f64)?,
            coverage: get.f64()?,
        }),
        2 => Record::Score(ScoreRow {
            part: get.zigzag()?,
            model: ModelId(get.u16()?),
            value: get_option(get, Get::f64)?,
            low: get.f64()?,
            high: get.f64()?,
            in_domain: get.flag()?,
            alarm: get.flag()?,
        }),
        3 => Record::Contribution(ContributionRow {
            part: get.zigzag()?,
            model: ModelId(get.u16()?),
            feature: FeatureId(get.u16()?),
            rank: get.u8()?,
            share: get.f64()?,
            z: get.f64()?,
        }),
        4 => Record::Label(LabelRow {
            part: get.zigzag()?,
            characteristic: CharacteristicId(get.u16()?),
            value: get.f64()?,
            used: get.flag()?,
        }),
        5 => Record::Decision(get_decision(get)?),
        6 => Record::Ledger(get_ledger(get)?),
        7 => Record::Check(evidence::get_check(get)?),
        8 => Record::Input(evidence::get_input(get)?),
        9 => Record::Wish(evidence::get_wish(get)?),
        10 => Record::Forecast(evidence::get_forecast(get)?),
        _ => return Err(Malformed("record")),
    })
}

fn put_decision(out: &mut Vec<u8>, row: &DecisionRow) {
    put_varint(out, row.number);
    put_zigzag(out, row.part);
    put_u16(out, row.loop_id.0);
    put_option(out, row.desired, put_f64);
    put_option(out, row.limited, put_ticks);
    put_option(out, row.read_back, put_ticks);
    match row.outcome {
        Outcome::Write(seq) => put_numbered(out, 0, seq),
        Outcome::Return(seq) => put_numbered(out, 1, seq),
        Outcome::WouldWrite => put_u8(out, 2),
        Outcome::Asked(id) => put_numbered(out, 3, id),
        Outcome::Hold(reason) => {
            put_u8(out, 4);
            put_u8(out, index_of(&Reason::ALL, reason));
        }
        Outcome::Trip(reason) => {
            put_u8(out, 5);
            put_u8(out, index_of(&TRIPS, reason));
        }
    }
    put_varint(out, u64::from(row.failed.bits()));
    put_u8(out, index_of(&CUTS, row.cut));
    put_u8(out, index_of(&MODES, row.mode));
    put_u8(out, index_of(&RUNGS, row.rung));
}

fn put_numbered(out: &mut Vec<u8>, kind: u8, number: u64) {
    put_u8(out, kind);
    put_varint(out, number);
}

fn get_decision(get: &mut Get<'_>) -> Result<DecisionRow, Malformed> {
    Ok(DecisionRow {
        number: get.varint()?,
        part: get.zigzag()?,
        loop_id: LoopId(get.u16()?),
        desired: get_option(get, Get::f64)?,
        limited: get_option(get, Get::ticks)?,
        read_back: get_option(get, Get::ticks)?,
        outcome: match get.u8()? {
            0 => Outcome::Write(get.varint()?),
            1 => Outcome::Return(get.varint()?),
            2 => Outcome::WouldWrite,
            3 => Outcome::Asked(get.varint()?),
            4 => Outcome::Hold(get.one_of(&Reason::ALL)?),
            5 => Outcome::Trip(get.one_of(&TRIPS)?),
            _ => return Err(Malformed("outcome")),
        },
        failed: FailedChecks::from_bits(get.u32()?),
        cut: get.one_of(&CUTS)?,
        mode: get.one_of(&MODES)?,
        rung: get.one_of(&RUNGS)?,
    })
}

fn put_ledger(out: &mut Vec<u8>, row: &LedgerRow) {
    put_varint(out, row.write);
    put_u16(out, row.setpoint.0);
    put_f64(out, row.desired);
    put_ticks(out, row.limited);
    put_ticks(out, row.sent);
    put_when(out, row.issued);
    put_option(out, row.acknowledged, put_when);
    put_option(out, row.read_back, put_ticks);
    put_option(out, row.confirmed, put_when);
    match row.fate {
        Fate::Sent => put_u8(out, 0),
        Fate::Acknowledged => put_u8(out, 1),
        Fate::Unknown => put_u8(out, 2),
        Fate::Confirmed => put_u8(out, 3),
        Fate::Proven => put_u8(out, 4),
        Fate::Unproven => put_u8(out, 5),
        Fate::Refused(status) => put_numbered(out, 6, u64::from(status)),
        Fate::NotSent => put_u8(out, 7),
        Fate::NotTaken => put_u8(out, 8),
        Fate::Mismatch => put_u8(out, 9),
    }
}

fn get_ledger(get: &mut Get<'_>) -> Result<LedgerRow, Malformed> {
    Ok(LedgerRow {
        write: get.varint()?,
        setpoint: SetpointId(get.u16()?),
        desired: get.f64()?,
        limited: get.ticks()?,
        sent: get.ticks()?,
        issued: get_when(get)?,
        acknowledged: get_option(get, get_when)?,
        read_back: get_option(get, Get::ticks)?,
        confirmed: get_option(get, get_when)?,
        fate: match get.u8()? {
            0 => Fate::Sent,
            1 => Fate::Acknowledged,
            2 => Fate::Unknown,
            3 => Fate::Confirmed,
            4 => Fate::Proven,
            5 => Fate::Unproven,
            6 => Fate::Refused(get.u32()?),
            7 => Fate::NotSent,
            8 => Fate::NotTaken,
            9 => Fate::Mismatch,
            _ => return Err(Malformed("fate")),
        },
    })
}

fn put_event(out: &mut Vec<u8>, event: &Event) {
    put_i64(out, event.at.mono.as_nanos());
    put_i64(out, event.at.utc.as_nanos());
    put_i64(out, event.process.as_nanos());
    put_zigzag(out, event.part);
    let id = |out: &mut Vec<u8>, kind: u8, id: u16| {
        put_u8(out, kind);
        put_u16(out, id);
    };
    match event.what {
        What::LinkUp(plc, epoch) => {
            id(out, 0, plc.0);
            put_varint(out, epoch);
        }
        What::LinkDown(plc) => id(out, 1, plc.0),
        What::HeartbeatLost(plc) => id(out, 2, plc.0),
        What::HeartbeatBack(plc) => id(out, 3, plc.0),
        What::TagQuality(tag, quality) => {
            id(out, 4, tag.0);
            put_u8(out, index_of(&QUALITIES, quality));
        }
        What::StepAccepted(tag) => id(out, 5, tag.0),
        What::ClockSkew(tag) => id(out, 6, tag.0),
        What::ProcessClockJump(plc) => id(out, 7, plc.0),
        What::MonotonicBackwards => put_u8(out, 8),
        What::Signature(s, on) => {
            id(out, 9, s.0);
            put_flag(out, on);
        }
        What::Domain(m, inside) => {
            id(out, 10, m.0);
            put_flag(out, inside);
        }
        What::Alarm(m, on) => {
            id(out, 11, m.0);
            put_flag(out, on);
        }
        What::Interlock(i, closed) => {
            id(out, 12, i.0);
            put_flag(out, closed);
        }
        What::Binding(b, holds) => {
            id(out, 13, b);
            put_flag(out, holds);
        }
        What::ModeInForce(l, mode) => {
            id(out, 14, l.0);
            put_u8(out, index_of(&MODES, mode));
        }
        What::OrderDone(order) => put_numbered(out, 15, order),
        What::OrderRefused(order, why) => {
            put_numbered(out, 16, order);
            put_u8(out, index_of(&REFUSALS, why));
        }
        What::Rung(l, rung) => {
            id(out, 17, l.0);
            put_u8(out, index_of(&RUNGS, rung));
        }
        What::ExternalChange(s, ticks) => {
            id(out, 18, s.0);
            put_ticks(out, ticks);
        }
        What::Tripped(l, reason) => {
            id(out, 19, l.0);
            put_u8(out, index_of(&TRIPS, reason));
        }
        What::Latched(l, reason) => {
            id(out, 20, l.0);
            put_u8(out, index_of(&TRIPS, reason));
        }
        What::Reset(l) => id(out, 21, l.0),
        What::EffectMissing(l) => id(out, 22, l.0),
        What::Oscillating(l) => id(out, 23, l.0),
        What::Saturated(l) => id(out, 24, l.0),
        What::AuthorityUsed(l, percent) => {
            id(out, 25, l.0);
            put_u8(out, percent);
        }
        What::WriteRefused(s, status) => {
            id(out, 26, s.0);
            put_varint(out, u64::from(status));
        }
        What::WriteUnknown(s) => id(out, 27, s.0),
        What::LabelUnmatched(c, part) => {
            id(out, 28, c.0);
            put_zigzag(out, part);
        }
        What::LabelRefused(c, part) => {
            id(out, 29, c.0);
            put_zigzag(out, part);
        }
        What::Overrun(count) => put_numbered(out, 30, u64::from(count)),
        What::Drift(m, drift) => {
            id(out, 31, m.0);
            put_u8(out, index_of(&DriftCheck::ALL, drift.check));
            put_option(out, drift.feature, |out, feature| put_u16(out, feature.0));
            put_f64(out, drift.value);
            put_f64(out, drift.limit);
        }
        What::DriftOver(m, check) => {
            id(out, 32, m.0);
            put_u8(out, index_of(&DriftCheck::ALL, check));
        }
        What::Demoted(l, model) => {
            id(out, 33, l.0);
            put_u16(out, model.0);
        }
        What::LimitNear(m, time) => {
            id(out, 34, m.0);
            put_f64(out, time);
        }
        What::LimitFar(m) => id(out, 35, m.0),
    }
}

fn get_event(get: &mut Get<'_>) -> Result<Event, Malformed> {
    let mono = Mono::from_nanos(get.i64()?);
    let at = Now { mono, utc: Utc::from_nanos(get.i64()?) };
    let process = Process::from_nanos(get.i64()?);
    let part = get.zigzag()?;
    let what = match get.u8()? {
        0 => What::LinkUp(PlcId(get.u16()?), get.varint()?),
        1 => What::LinkDown(PlcId(get.u16()?)),
        2 => What::HeartbeatLost(PlcId(get.u16()?)),
        3 => What::HeartbeatBack(PlcId(get.u16()?)),
        4 => What::TagQuality(TagId(get.u16()?), get.one_of(&QUALITIES)?),
        5 => What::StepAccepted(TagId(get.u16()?)),
        6 => What::ClockSkew(TagId(get.u16()?)),
        7 => What::ProcessClockJump(PlcId(get.u16()?)),
        8 => What::MonotonicBackwards,
        9 => What::Signature(SignatureId(get.u16()?), get.flag()?),
        10 => What::Domain(ModelId(get.u16()?), get.flag()?),
        11 => What::Alarm(ModelId(get.u16()?), get.flag()?),
        12 => What::Interlock(InterlockId(get.u16()?), get.flag()?),
        13 => What::Binding(get.u16()?, get.flag()?),
        14 => What::ModeInForce(LoopId(get.u16()?), get.one_of(&MODES)?),
        15 => What::OrderDone(get.varint()?),
        16 => What::OrderRefused(get.varint()?, get.one_of(&REFUSALS)?),
        17 => What::Rung(LoopId(get.u16()?), get.one_of(&RUNGS)?),
        18 => What::ExternalChange(SetpointId(get.u16()?), get.ticks()?),
        19 => What::Tripped(LoopId(get.u16()?), get.one_of(&TRIPS)?),
        20 => What::Latched(LoopId(get.u16()?), get.one_of(&TRIPS)?),
        21 => What::Reset(LoopId(get.u16()?)),
        22 => What::EffectMissing(LoopId(get.u16()?)),
        23 => What::Oscillating(LoopId(get.u16()?)),
        24 => What::Saturated(LoopId(get.u16()?)),
        25 => What::AuthorityUsed(LoopId(get.u16()?), get.u8()?),
        26 => What::WriteRefused(SetpointId(get.u16()?), get.u32()?),
        27 => What::WriteUnknown(SetpointId(get.u16()?)),
        28 => What::LabelUnmatched(CharacteristicId(get.u16()?), get.zigzag()?),
        29 => What::LabelRefused(CharacteristicId(get.u16()?), get.zigzag()?),
        30 => What::Overrun(get.u32()?),
        31 => {
            let model = ModelId(get.u16()?);
            let check = get.one_of(&DriftCheck::ALL)?;
            let feature = get_option(get, |get| Ok(FeatureId(get.u16()?)))?;
            let (value, limit) = (get.f64()?, get.f64()?);
            What::Drift(model, Drift { check, feature, value, limit })
        }
        32 => What::DriftOver(ModelId(get.u16()?), get.one_of(&DriftCheck::ALL)?),
        33 => What::Demoted(LoopId(get.u16()?), ModelId(get.u16()?)),
        34 => What::LimitNear(ModelId(get.u16()?), get.f64()?),
        35 => What::LimitFar(ModelId(get.u16()?)),
        _ => return Err(Malformed("event")),
    };
    Ok(Event { at, process, part, what })
}

#[cfg(test)]
#[path = "actions_tests.rs"]
pub(super) mod tests;
