//! How long from a change in the PLC to a setpoint that is written and read back.

use serde_json::json;
use trimloop_core::mode::Trip;

use crate::foreign::Kind;
use crate::rig::{Rig, Setup, assert_envelope};

on_each_stack!(writes_are_verified_in_milliseconds);

/// Round trips measured.
const WRITES: u64 = 300;
/// The acceptance is 20 ms at 10 ms publishing on an idle machine; a loaded one gets more.
const P50_MAX_MS: f64 = 20.0;
const P99_MAX_MS: f64 = 100.0;

/// Three loops that never rest write 300 times. Printed: from the receipt of a change to the
/// verified write, as the service counts it, and from the change in the server to the arrival of
/// the write there.
fn writes_are_verified_in_milliseconds(test: &str, kind: Kind) {
    let setup = Setup { alone: true, ..Setup::of("relays") };
    let Some(rig) = Rig::start(test, kind, setup) else { return };
    let script: Vec<_> =
        (0..100).map(|n| (20 * n + 1, if n % 2 == 0 { 2.0 } else { -2.0 })).collect();
    rig.plant(1, &json!(script));
    rig.parts(5);
    for index in 0..3 {
        rig.raise(index);
    }
    rig.until("300 verified writes", |status| status.latency.count >= WRITES);
    rig.stop_plant();
    let status = rig.cell.status();
    let latency = status.latency;
    println!(
        "{test}: change received to write verified, {} writes: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        latency.count, latency.p50_ms, latency.p99_ms, latency.max_ms
    );
    let told = (rig.server.take_events("part"), rig.server.take_events("write"));
    let mut arrivals = arrivals(&told.0, &told.1);
    arrivals.sort_unstable();
    let share = |permille: usize| arrivals[(arrivals.len() - 1) * permille / 1000];
    println!(
        "{test}: change in the server to write in the server, {} changes: p50 {} ms, p99 {} ms, max {} ms",
        arrivals.len(),
        share(500),
        share(990),
        share(1000)
    );
    let histogram = &status.latency_histogram;
    let shares: Vec<String> = [0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 1.0]
        .iter()
        .map(|share| format!("{:.0} % {:.1}", share * 100.0, histogram.percentile_ms(*share)))
        .collect();
    println!("{test}: shares of writes verified within ms: {}", shares.join(", "));
    assert!(status.plcs[0].plc.no_delay, "the client's socket waits for acknowledgements");
    for id in ["PressureSP", "SecondSP", "ThirdSP"] {
        let ours = told.1.iter().filter(|event| event["id"] == id);
        let values: Vec<f64> = ours.filter_map(|event| event["value"].as_f64()).collect();
        assert_envelope(&values, 50.0, (10.0, 90.0), 0.2, 0.01);
    }
    let counts = status.plcs[0].plc.counts;
    assert_eq!((counts.writes_refused, counts.writes_unknown), (0, 0));
    assert!(status.loops.iter().all(|l| l.status.is_some_and(|s| s.trip == Trip::Clear)));
    assert!(latency.p50_ms <= P50_MAX_MS && latency.p99_ms <= P99_MAX_MS, "{latency:?}");
    rig.finish();
}

/// For each part after which something was written: how long until the first write [ms].
fn arrivals(parts: &[serde_json::Value], writes: &[serde_json::Value]) -> Vec<i64> {
    let times = |events: &[serde_json::Value]| -> Vec<i64> {
        events.iter().filter_map(|event| event["t_ms"].as_i64()).collect()
    };
    let (parts, writes) = (times(parts), times(writes));
    let mut found = Vec::new();
    for pair in parts.windows(2) {
        let first = writes.iter().find(|at| **at >= pair[0]);
        found.extend(first.filter(|at| **at < pair[1]).map(|at| at - pair[0]));
    }
    found
}
