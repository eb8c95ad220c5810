//! What lies between server and service.

use trimloop_core::event::What;
use trimloop_core::ledger::Fate;
use trimloop_core::plan::PlcId;
use trimloop_core::time::Span;
use trimloop_simulator::Fault;

use crate::bench::Bench;

/// From the last message to the end of the link: four keep-alives of some 0.5 s, or 2 s; three
/// seconds for a request, and room for a loaded machine.
const NOTICED_MAX: Span = Span::from_secs(8);

/// Silence is noticed, nothing is written on old data, attempts are few, and all comes back.
fn silence(fault: Fault) {
    let mut bench = Bench::in_auto();
    let (epoch, load) = (bench.cell.status().plcs[0].link.epoch, bench.load());
    let from = bench.switch(fault, true);
    let start = bench.clock.mono();
    let noticed = bench.until("the silence", |bench| {
        bench.event(from, |what| *what == What::LinkDown(PlcId::LEAD))
    });
    println!("{fault}: noticed after {} ms", noticed.as_millis());
    assert!(noticed < NOTICED_MAX, "{noticed:?}");
    let lost = bench.clock.mono();
    let part = bench.press.part();
    bench.until("eighty parts", |bench| bench.press.part() >= part + 80);
    assert!(!bench.cell.status().plcs[0].link.up, "the link is up on a dead wire");
    // What was decided at the last moment counts as issued then.
    bench.nothing_issued(from, start + Span::from_secs(1));
    let during = bench.load();
    println!("{fault}: {during:?} while it lasts");
    assert!(during.connections - load.connections <= 8, "{during:?}");
    bench.switch(fault, false);
    bench.back(from);
    assert!(bench.cell.status().plcs[0].link.epoch > epoch);
    bench.nothing_issued(from, lost);
    bench.until("one connection", |bench| bench.load().open == 1);
    // One is in use. One more may be left of the life before, which the wire cut off from us: it
    // runs out by itself.
    assert!(bench.load().sessions <= 2, "{:?}", bench.load());
    bench.auto();
    bench.no_violation();
    bench.cell.clone().stop();
}

/// A subscription that says nothing, while reads and writes are answered.
#[test]
fn pain_08_publish_stalled() {
    silence(Fault::PublishStalled);
}

/// A connection that stands and passes nothing.
#[test]
fn pain_08_half_open() {
    silence(Fault::HalfOpen);
}

/// Answers that take 1.5 s: the echo of our life sign is older than its limit, so nothing is
/// written. What was under way is unknown until it was read.
#[test]
fn server_slow() {
    let mut bench = Bench::in_auto();
    let from = bench.switch(Fault::ServerSlow, true);
    bench.until("the loss", |bench| {
        bench.event(from, |what| matches!(what, What::HeartbeatLost(_) | What::LinkDown(_)))
    });
    let (lost, at) = (bench.mark(), bench.clock.mono());
    let part = bench.press.part();
    bench.until("eighty parts", |bench| bench.press.part() >= part + 80);
    bench.nothing_issued(lost, at);
    // Answered after more than a second: unknown first, and then only what the register says.
    for row in bench.sent(from) {
        let fates = bench.fates(row.write);
        let unknown = fates.iter().position(|fate| *fate == Fate::Unknown);
        let acknowledged = fates.contains(&Fate::Acknowledged);
        assert!(unknown.is_some() || !acknowledged, "{fates:?}");
    }
    bench.switch(Fault::ServerSlow, false);
    bench.until("life", |bench| {
        // Silence and the late echo end one by one, in either order.
        let beat = bench
            .events(from)
            .rev()
            .find(|what| matches!(what, What::HeartbeatLost(_) | What::HeartbeatBack(_)));
        let link = bench
            .events(from)
            .rev()
            .find(|what| matches!(what, What::LinkUp(..) | What::LinkDown(_)));
        let back = !matches!(beat, Some(What::HeartbeatLost(_)));
        (back && !matches!(link, Some(What::LinkDown(_)))) || bench.all_in_shadow()
    });
    bench.auto();
    bench.no_violation();
    bench.end();
}
