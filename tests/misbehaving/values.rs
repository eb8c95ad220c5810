//! Values, stamps and echoes.

use trimloop_core::event::What;
use trimloop_core::mode::{Mode, Rung};
use trimloop_core::plan::PlcId;
use trimloop_core::tag::{Doubt, Fault as Cause, Quality};
use trimloop_core::time::{Mono, Span, Utc};
use trimloop_simulator::Fault;

use crate::bench::{Bench, full, moved, number};

/// Feed-forward ends, no decision rests on it while the fault lasts, and it comes back.
fn not_fed_forward(bench: &mut Bench, fault: Fault, tag: &str, quality: Quality) {
    let (weight, _) = bench.weight();
    assert!(full(bench), "{:?}", bench.weight_loop());
    let from = bench.switch(fault, true);
    bench.until("the verdict", |bench| bench.quality(tag) == Some(quality));
    let below =
        |what: &What| matches!(what, What::Rung(of, rung) if *of == weight && *rung > Rung::Full);
    bench.until("the step down", |bench| bench.event(from, below));
    let stepped = bench.mark();
    let part = bench.press.part();
    bench.until("thirty parts", |bench| bench.press.part() >= part + 30);
    bench.mark();
    let fed = bench.decisions(stepped).filter(|row| row.loop_id == weight && moved(row));
    let fed: Vec<_> = fed.filter(|row| row.rung == Rung::Full).collect();
    assert!(fed.is_empty(), "{fed:?}");
    bench.switch(fault, false);
    bench.until("feed-forward again", full);
    bench.more_writes(3);
    bench.no_violation();
}

/// Values that stand still while parts go on are found out within a few parts.
#[test]
fn values_frozen() {
    let mut bench = Bench::in_auto();
    let frozen = Quality::Suspect(Doubt::Frozen);
    not_fed_forward(&mut bench, Fault::ValuesFrozen, "injection_peak_pressure", frozen);
    bench.end();
}

/// Bad values carry no value, whatever came with them: they are neither scored nor fed forward.
#[test]
fn pain_12_values_bad() {
    let mut bench = Bench::in_auto();
    let bad = Quality::Bad(Cause::Server);
    not_fed_forward(&mut bench, Fault::ValuesBad, "injection_peak_pressure", bad);
    bench.end();
}

/// Late and overtaking stamps: the values are suspect, the server's clock is told, and the newest
/// to arrive is the newest.
#[test]
fn pain_11_stamps_late() {
    let mut bench = Bench::in_auto();
    let from = bench.switch(Fault::StampsLate, true);
    let tag = "injection_peak_pressure";
    bench.until("the verdict", |bench| bench.quality(tag) == Some(Quality::Suspect(Doubt::Skew)));
    bench.until("the skew of the server's clock", |bench| {
        bench.event(from, |what| matches!(what, What::ClockSkew(_)))
    });
    // Arrivals go on, some with an older stamp than the one before.
    let last: std::cell::Cell<Option<(Mono, Utc)>> = std::cell::Cell::default();
    let overtaken = std::cell::Cell::new(0);
    bench.until("older stamps that came later", |bench| {
        let Some(reading) = bench.tag(tag).reading else { return false };
        let Some(stamp) = reading.source_time else { return false };
        if let Some((received, before)) = last.replace(Some((reading.received, stamp))) {
            assert!(reading.received >= received, "an older arrival took the place of a newer one");
            overtaken.set(overtaken.get() + u32::from(stamp < before));
        }
        overtaken.get() >= 3
    });
    bench.switch(Fault::StampsLate, false);
    bench.until("a value that can be believed", |bench| bench.quality(tag) == Some(Quality::Good));
    bench.more_writes(3);
    bench.no_violation();
    bench.end();
}

/// A leap of the PLC's clock is told and adds no process time: the press's judge sees neither dwell
/// nor rate broken.
#[test]
fn clock_jumped() {
    let mut bench = Bench::in_auto();
    let jumps = |bench: &Bench, from| {
        bench.events(from).filter(|what| *what == What::ProcessClockJump(PlcId::LEAD)).count()
    };
    let before = bench.cell.status().process;
    let from = bench.switch(Fault::ClockJumped, true);
    let part = bench.press.part();
    bench.until("the leap", |bench| jumps(bench, from) == 1);
    bench.more_writes(3);
    let made = bench.press.part() - part;
    let passed = bench.cell.status().process - before;
    // Parts take some 24 s of process time.
    assert!(passed < Span::from_secs(30 * i64::try_from(made).unwrap() + 300), "{passed:?}");
    let from = bench.switch(Fault::ClockJumped, false);
    bench.until("the way back", |bench| jumps(bench, from) == 1);
    bench.more_writes(3);
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.no_violation();
    bench.end();
}

/// More changes than the queues on the server hold: the loss is counted, the newest value is
/// there, and the loops go on.
#[test]
fn pain_10_queue_overflow() {
    let mut bench = Bench::in_auto();
    assert_eq!(bench.cell.status().plcs[0].plc.counts.overflows, 0);
    bench.switch(Fault::QueueOverflow, true);
    bench.until("overflows", |bench| bench.cell.status().plcs[0].plc.counts.overflows > 20);
    bench.more_writes(3);
    let melt = bench.tag("melt_temp");
    assert!((200.0..250.0).contains(&number(&melt)), "{melt:?}");
    assert_eq!(bench.cell.status().counts.intake.dropped, 0);
    bench.switch(Fault::QueueOverflow, false);
    bench.more_writes(3);
    assert_eq!(bench.weight_loop().in_force, Mode::Auto);
    bench.no_violation();
    bench.end();
}

/// A PLC that takes our life sign and does not echo it is as dead as one that is gone: nothing is
/// written until it echoes again.
#[test]
fn echo_stopped() {
    let mut bench = Bench::in_auto();
    let from = bench.switch(Fault::EchoStopped, true);
    let noticed = bench.until("the loss", |bench| {
        bench.event(from, |what| *what == What::HeartbeatLost(PlcId::LEAD))
    });
    println!("echo lost: noticed after {} ms", noticed.as_millis());
    let (lost, at) = (bench.mark(), bench.clock.mono());
    let part = bench.press.part();
    bench.until("thirty parts", |bench| bench.press.part() >= part + 30);
    bench.nothing_issued(lost, at);
    bench.switch(Fault::EchoStopped, false);
    bench.until("the echo", |bench| {
        bench.event(lost, |what| *what == What::HeartbeatBack(PlcId::LEAD))
    });
    bench.more_writes(3);
    bench.no_violation();
    bench.end();
}
