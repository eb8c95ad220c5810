//! The conformance test: the simulated PLC passes it, and every planted mistake is found.

#![expect(clippy::expect_used, reason = "a test ends where its assumptions do")]

use std::time::Duration;

use trimloop::clock::Clock;
use trimloop::plc::conform::{Conform, ConformError, Report, conform};
use trimloop_simulator::{
    Defect, HandshakeSettings, Scenario, Simulator, SimulatorSettings, Speed,
};

const HOLD: &str = "Press4.HoldPressureGuard";

async fn press(handshake: Option<HandshakeSettings>) -> Simulator {
    let scenario = Scenario::named("nominal").expect("a scenario");
    let speed = Speed::Pace(Duration::from_millis(200));
    let settings = SimulatorSettings {
        handshake,
        speed,
        autostart: true,
        ..SimulatorSettings::new(scenario, 1)
    };
    Simulator::start(settings).await.expect("a simulator")
}

async fn test(simulator: &Simulator, only: &[&str]) -> Result<Report, ConformError> {
    let setup = Conform {
        url: simulator.url(),
        only: only.iter().map(ToString::to_string).collect(),
        pki_dir: std::env::temp_dir().join("trimloop-conform-test-pki"),
    };
    conform(&setup, Clock::start()).await
}

fn in_test(defect: Option<Defect>) -> Option<HandshakeSettings> {
    Some(HandshakeSettings { test: true, defect, ..HandshakeSettings::default() })
}

/// Both guards and the owner pass every check, the machine keeps its baselines meanwhile, and a
/// second test on the same PLC passes too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulated_plc_passes() {
    let simulator = press(in_test(None)).await;
    for _ in 0..2 {
        let report = test(&simulator, &[]).await.expect("a report");
        let failed: Vec<_> = report.failed().collect();
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(report.checks.len() >= 60, "{} checks", report.checks.len());
        assert_eq!(report.guards, ["Press4.CoolTimeGuard", HOLD]);
        assert_eq!(report.server.uri, "urn:trimloop:simulator:server");
    }
    let setpoints = simulator.report().setpoints;
    assert_eq!(setpoints.map(f64::to_bits), [360.0_f64, 16.0].map(f64::to_bits));
    simulator.shutdown().await;
}

/// Which check must find which mistake.
const FOUND_BY: [(Defect, &str); 17] = [
    (Defect::NoUpperLimit, "upper-limit"),
    (Defect::NoLowerLimit, "lower-limit"),
    (Defect::NoStep, "step"),
    (Defect::OldSeqAccepted, "old-sequence"),
    (Defect::TtlIgnored, "stale"),
    (Defect::EpochIgnored, "epoch-after"),
    (Defect::HeartbeatIgnored, "heartbeat-loss"),
    (Defect::HeartbeatRepeats, "same-number-is-no-life"),
    (Defect::HoldsInsteadOfRamp, "returns"),
    (Defect::RampJumps, "ramp-rate"),
    (Defect::DisableIgnored, "disabled"),
    (Defect::LocalIgnored, "local"),
    (Defect::NanAccepted, "not-a-number"),
    (Defect::AckBeforeApply, "waits-unanswered"),
    (Defect::QueuesOverLoss, "no-owner"),
    (Defect::SecondOwner, "one-owner"),
    (Defect::EpochStuck, "epoch-counts"),
];

async fn finds(defect: Defect) {
    let (_, by) = FOUND_BY.into_iter().find(|(d, _)| *d == defect).expect("a row");
    let simulator = press(in_test(Some(defect))).await;
    let report = test(&simulator, &[HOLD]).await.expect("a report");
    let failed: Vec<_> = report.failed().map(|check| check.id).collect();
    assert!(failed.contains(&by), "{defect:?} is not found by {by}, only by {failed:?}");
    simulator.shutdown().await;
}

macro_rules! finds {
    ($($name:ident: $($defect:ident)*;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                tokio::join!($(finds(Defect::$defect)),*);
            }
        )*

        /// Every mistake that can be planted is in one of these tests.
        #[test]
        fn every_mistake_is_looked_for() {
            let tested = [$($(Defect::$defect),*),*];
            assert!(Defect::ALL.iter().all(|defect| tested.contains(defect)));
        }
    };
}

// Some at a time: they mostly wait.
finds! {
    broken_limits_are_found: NoUpperLimit NoLowerLimit NoStep NanAccepted;
    broken_order_is_found: OldSeqAccepted TtlIgnored EpochIgnored AckBeforeApply;
    broken_life_is_found: HeartbeatIgnored HeartbeatRepeats HoldsInsteadOfRamp RampJumps;
    broken_switches_are_found: DisableIgnored LocalIgnored QueuesOverLoss;
    broken_ownership_is_found: SecondOwner EpochStuck;
}

/// Outside of test mode nothing is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plc_in_production_is_left_alone() {
    let simulator = press(Some(HandshakeSettings::default())).await;
    let refused = test(&simulator, &[]).await;
    assert!(matches!(refused, Err(ConformError::NotInTest(_))), "{refused:?}");
    assert_eq!(simulator.report().verdict.writes.iter().map(|w| w.attempts).sum::<u64>(), 0);
    simulator.shutdown().await;
    let simulator = press(None).await;
    let none = test(&simulator, &[]).await;
    assert!(matches!(none, Err(ConformError::Blocks(_))), "{none:?}");
    simulator.shutdown().await;
}

/// Runs the verb; its exit code and its JSON.
fn verb(url: &str) -> (Option<i32>, serde_json::Value) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_trimloop"))
        .args(["plc", "conform", url, "--only", "Press4.CoolTimeGuard", "--format", "json"])
        .output()
        .expect("a program that starts");
    (out.status.code(), serde_json::from_slice(&out.stdout).expect("one JSON object"))
}

/// The verb prints the report for machines and tells by its exit code what came of it.
#[test]
fn the_verb_reports() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let simulator = runtime.block_on(press(in_test(Some(Defect::NanAccepted))));
    let (exit, report) = verb(&simulator.url());
    assert_eq!(exit, Some(1), "{report}");
    assert_eq!(report["schema"], "trimloop.conform/1");
    assert_eq!(report["guards"], serde_json::json!(["Press4.CoolTimeGuard"]));
    assert_eq!(report["server"]["uri"], "urn:trimloop:simulator:server");
    assert!(report["safety"].as_str().is_some_and(|text| text.contains("no safety certificate")));
    let checks = report["checks"].as_array().expect("checks");
    let failed = checks.iter().filter(|check| check["passed"] == false).count();
    assert_eq!(report["failed"], failed);
    assert!(failed > 0 && checks.len() > 35, "{failed} of {}", checks.len());
    let url = simulator.url();
    runtime.block_on(simulator.shutdown());
    let (exit, error) = verb(&url);
    assert_eq!((exit, &error["error"]["code"]), (Some(4), &serde_json::json!("TL0611")));
    let simulator = runtime.block_on(press(Some(HandshakeSettings::default())));
    let (exit, error) = verb(&simulator.url());
    assert_eq!((exit, &error["error"]["code"]), (Some(5), &serde_json::json!("TL0612")));
    runtime.block_on(simulator.shutdown());
}
