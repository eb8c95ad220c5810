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
