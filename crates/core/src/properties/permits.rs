//! The guard alone: `permit` on drawn evidence, against the table of checks.
//!
//! The cell asks the guard only when most of the evidence is good already, so a check that hides
//! behind another one shows here. Evidence starts all good; up to three fields are then spoilt.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::mutants;
use super::plans;
use super::rng::Rng;
use crate::guard::{ApprovedWrite, Decision, Evidence, Intent, Permit, Reason, permit};
use crate::mode::{Mode, Trip, TripReason};
use crate::plan::{Plan, PlcId, SetpointId, SetpointPlan};
use crate::time::Mono;
use crate::unit::{Stand, Ticks};

/// A question to the guard.
struct Question {
    plan: Plan,
    intent: Intent,
    desired: f64,
    evidence: Evidence,
    registers: Vec<Option<(Ticks, Ticks)>>,
}

/// Evidence with which every check passes.
pub(super) fn good(limits: &SetpointPlan) -> Evidence {
    Evidence {
        clock_backwards: false,
        on_time: true,
        trip: Trip::Clear,
        mode: Mode::Auto,
        plc: PlcId::LEAD,
        enabled: true,
        owned: true,
        link: true,
        epoch: 3,
        heartbeat: true,
        bound: true,
        warm: true,
        inputs: true,
        interlocks: true,
        interlock_trips: false,
        read_back: Some(Stand::on(limits.baseline)),
        unchanged: true,
        domain: true,
        plc_low: None,
        plc_high: None,
        plc_range_unknown: false,
        authority_permille: 1000,
        rate_left: Ticks::new(i64::MAX),
        rested: true,
        budget: true,
        approved: false,
        idle: true,
        now: Mono::from_millis(5_000),
        seq: 11,
    }
}

fn draw(rng: &mut Rng) -> Question {
    let plan = plans::draw(rng);
    let limits = &plan.setpoints[0];
    let mut e = Evidence { plc: plan.plc_of(limits.tag), ..good(limits) };
    let reach = limits.trim_max.count() + 2;
    let at = limits.baseline + Ticks::new(rng.range(-reach, reach));
    let beside = if rng.chance(150) { rng.pick(&[0.3, -0.4]) } else { 0.0 };
    e.read_back = limits.grid.stand(limits.grid.value(at) + beside * limits.grid.tick());
    e.authority_permille = rng.pick(&[1000, 1000, 500, 1]);
    e.rate_left = Ticks::new(rng.pick(&[i64::MAX, i64::MAX, 0, 1, 3]));
    if rng.chance(300) {
        e.plc_low = Some(limits.baseline + Ticks::new(rng.range(-20, 3)));
        e.plc_high = Some(limits.baseline + Ticks::new(rng.range(-3, 20)));
    }
    let intent = rng.pick(&[Intent::Score, Intent::Label, Intent::Return]);
    if intent == Intent::Return && rng.chance(500) {
        e.trip = Trip::Returning(TripReason::Operator);
    }
    for _ in 0..rng.pick(&[0, 0, 1, 1, 2, 3]) {
        spoil(rng, &mut e);
    }
    let wish = limits.baseline + Ticks::new(rng.range(-40, 40));
    let far = rng.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e18]);
    let desired = if rng.chance(60) { far } else { limits.grid.value(wish) };
    let mut registers: Vec<_> = plan.setpoints.iter().map(|s| around(rng, s.baseline)).collect();
    registers[0] = e.read_back.map(|at| (at.low(), at.high()));
    Question { plan, intent, desired, evidence: e, registers }
}

/// What another register may hold: one value, two, or nobody knows.
fn around(rng: &mut Rng, baseline: Ticks) -> Option<(Ticks, Ticks)> {
    let at = baseline + Ticks::new(rng.range(-6, 6));
    let to = if rng.chance(300) { at + Ticks::new(rng.range(-6, 6)) } else { at };
    (!rng.chance(50)).then_some((at, to))
}

fn spoil(rng: &mut Rng, e: &mut Evidence) {
    match rng.below(21) {
        0 => e.clock_backwards = true,
        1 => e.on_time = false,
        2 => e.trip = Trip::Latched(TripReason::Operator),
        3 => e.mode = rng.pick(&[Mode::Off, Mode::Shadow]),
        4 => e.mode = Mode::Advisory,
        5 => (e.mode, e.approved) = (Mode::Advisory, true),
        6 => e.enabled = false,
        7 => e.owned = false,
        8 => e.link = false,
        9 => e.heartbeat = false,
        10 => e.bound = false,
        11 => e.warm = false,
        12 => e.inputs = false,
        13 => (e.interlocks, e.interlock_trips) = (false, rng.chance(300)),
        14 => e.read_back = None,
        15 => e.unchanged = false,
        16 => e.domain = false,
        17 => (e.rested, e.plc_range_unknown) = (rng.chance(500), rng.chance(500)),
        18 => e.budget = false,
        19 => e.plc = PlcId(1 - e.plc.0),
        _ => e.idle = false,
    }
}

/// The table of checks for one question: the first that fails, rows and limits aside.
fn first(q: &Question) -> Option<Reason> {
    let e = &q.evidence;
    let home = q.intent == Intent::Return;
    let score = q.intent == Intent::Score;
    let plc = q.plan.plc_of(q.plan.setpoints[0].tag);
    let tripped = match e.trip {
        Trip::Clear => false,
        Trip::Returning(_) => !home,
        Trip::Latched(_) => true,
    };
    let least = if home { Mode::Auto } else { Mode::Advisory };
    let failed = [
        (!e.on_time, Reason::ClockLate),
        (tripped, Reason::Tripped),
        (e.mode < least, Reason::Mode),
        (!e.enabled, Reason::NotEnabled),
        (!e.owned, Reason::NotOwner),
        (!e.link || e.plc != plc, Reason::LinkDown),
        (!e.heartbeat, Reason::Heartbeat),
        (!e.bound, Reason::NotBound),
        (!home && !e.warm, Reason::WarmUp),
        (score && !e.inputs, Reason::Input),
        (!e.interlocks, Reason::Interlock),
        (e.read_back.is_none() || e.plc_range_unknown, Reason::ReadBack),
        (!e.unchanged, Reason::ExternalChange),
        (score && !e.domain, Reason::Domain),
        (!home && !q.desired.is_finite(), Reason::NotFinite),
        (!e.rested, Reason::Dwell),
        (!e.budget, Reason::Budget),
        (!home && e.mode == Mode::Advisory && !e.approved, Reason::Approval),
        (!e.idle, Reason::Pending),
    ];
    failed.into_iter().find(|(fails, _)| *fails).map(|(_, reason)| reason)
}

fn judge(q: &Question, answer: &Permit) -> Result<(), String> {
    let e = &q.evidence;
    let first = first(q);
    let (write, home) = match &answer.decision {
        Decision::Write(write) => (write, false),
        Decision::Return(write) => (write, true),
        Decision::Hold(reason) => {
            let held = answer.failed.contains(*reason)
                || (*reason == Reason::Tripped && e.trip != Trip::Clear)
                || (*reason == Reason::OutsideLimits && e.mode < Mode::Advisory);
            return if held {
                Ok(())
            } else {
                Err(format!("held for {reason:?} that did not fail"))
            };
        }
        Decision::WouldWrite if first != Some(Reason::Mode) => {
            return Err(format!("would write although {first:?}"));
        }
        Decision::Ask if first != Some(Reason::Approval) => {
            return Err(format!("asked although {first:?}"));
        }
        Decision::WouldWrite | Decision::Ask | Decision::Trip(_) => return Ok(()),
    };
    if e.clock_backwards || first.is_some() || home != (q.intent == Intent::Return) {
        return Err(format!("written although {first:?}"));
    }
    numbers(q, write)
}

fn numbers(q: &Question, write: &ApprovedWrite) -> Result<(), String> {
    let (e, limits) = (&q.evidence, &q.plan.setpoints[0]);
    let to = write.to();
    let Some(from) = e.read_back else { return Err(format!("from nowhere: {write:?}")) };
    let low = limits.low.max(e.plc_low.unwrap_or(limits.low));
    let high = limits.high.min(e.plc_high.unwrap_or(limits.high));
    let step = if to >= from.high() { limits.step_up } else { limits.step_down };
    // From beside the grid, counted from the far neighbour.
    let distance = (to - from.low()).abs().max((to - from.high()).abs());
    let deadband = if q.intent == Intent::Return { Ticks::ZERO } else { limits.deadband };
    let checks = [
        (write.from() == from.nearest(), "not from the read-back"),
        (to >= low && to <= high, "outside the limits"),
        ((to - limits.baseline).abs() <= limits.trim_max, "beyond the trim"),
        (distance <= step, "over the step"),
        (distance <= e.rate_left, "over the rate"),
        (distance >= deadband, "below the deadband"),
        (write.seq() == e.seq && write.epoch() == e.epoch, "another number or epoch"),
        (write.plc() == q.plan.plc_of(limits.tag), "to another PLC"),
        (write.issued() == e.now && write.ttl() == limits.ttl, "another time"),
        (write.value() == limits.grid.value(to) && write.value().is_finite(), "another value"),
        (rows(q, from, to), "over a joint limit"),
    ];
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, why)) => Err(format!("{why}: {write:?}")),
        None => Ok(()),
    }
}

/// Every joint limit, for each value that the others may hold.
fn rows(q: &Question, from: Stand, to: Ticks) -> bool {
    q.plan.rows.iter().all(|row| {
        let own = row.weights.iter().find(|(id, _)| *id == SetpointId(0)).map_or(0, |(_, w)| *w);
        let least = (own * from.low().count()).min(own * from.high().count());
        let lowers = own * to.count() <= least;
        if own == 0 || (lowers && q.intent == Intent::Return) {
            return true;
        }
        let others = row.weights.iter().filter(|(id, _)| *id != SetpointId(0));
        let worst = others.map(|(id, weight)| {
            q.registers[id.index()].map(|(a, b)| (weight * a.count()).max(weight * b.count()))
        });
        let sum: Option<i64> = worst.sum();
        sum.is_some_and(|sum| sum + own * to.count() <= row.max)
    })
}

/// Asks so many questions; the first wrong answer.
pub(super) fn ask(seed: u64, count: u32, written: &mut u32) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    for number in 0..count {
        let q = draw(&mut rng);
        let answer = permit(&q.plan, SetpointId(0), q.intent, q.desired, &q.evidence, &q.registers);
        *written += u32::from(matches!(answer.decision, Decision::Write(_) | Decision::Return(_)));
        let told = judge(&q, &answer);
        told.map_err(|why| format!("question {number}: {why}\n{:?} {:?}", q.intent, q.evidence))?;
    }
    Ok(())
}

/// Whatever the evidence, a write has passed every check of its intent, and a hold names one that
/// failed.
#[test]
fn a_permit_follows_the_table() {
    let mut written = 0;
    ask(1, 100_000, &mut written).unwrap();
    assert!(written > 5_000, "only {written} writes");
}

/// Out of range is never written, whoever wants it: a score, labels, a person who approves, or the
/// way back; and where the PLC's own limits are narrower, those hold.
#[test]
fn pain_01_out_of_range_is_never_written() {
    let mut rng = Rng::new(3);
    let mut beyond = [[0_u32; 2]; 3];
    for _ in 0..200_000 {
        let q = draw(&mut rng);
        let limits = &q.plan.setpoints[0];
        let low = limits.low.max(q.evidence.plc_low.unwrap_or(limits.low));
        let high = limits.high.min(q.evidence.plc_high.unwrap_or(limits.high));
        let wish = q.desired;
        let outside = wish < limits.grid.value(low) || wish > limits.grid.value(high);
        let answer = permit(&q.plan, SetpointId(0), q.intent, q.desired, &q.evidence, &q.registers);
        let (Decision::Write(write) | Decision::Return(write)) = &answer.decision else { continue };
        assert!(low <= write.to() && write.to() <= high, "{:?}: {write:?}", q.intent);
        let narrower = low > limits.low || high < limits.high;
        beyond[q.intent as usize][usize::from(narrower)] += u32::from(outside);
    }
    for (intent, counts) in beyond.iter().enumerate() {
        assert!(counts.iter().all(|count| *count > 20), "intent {intent} hardly asked: {beyond:?}");
    }
}

/// The guard alone notices every one of its seeded faults.
#[test]
fn each_mutant_is_noticed_by_the_table() {
    for mutant in mutants::ALL {
        let caught = crate::guard::with_mutant(mutant, || ask(2, 100_000, &mut 0));
        assert!(caught.is_err(), "{mutant:?} survives");
    }
}
