//! Named stories: a seed's disturbances plus a list of scheduled faults.

use crate::catalogue::{Fault, Layer};
use crate::fault::FaultKind as K;
use crate::fault::{ScheduledFault as F, Sensor};
use crate::plc::Setpoint;

/// A named list of faults. Every scenario also has the disturbances of its seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Short name, lower case with hyphens.
    pub name: &'static str,
    /// One line for people.
    pub title: &'static str,
    /// What happens when.
    pub faults: Vec<F>,
    /// Every how many parts one is inspected.
    pub inspect_every: u64,
    /// Parts between making a part and its inspection result.
    pub inspect_delay: u64,
}

/// Past the end of any run.
const END: u64 = u64::MAX;

impl Scenario {
    /// The scenario called `name`; `None` when there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|s| s.name == name)
    }

    /// Whether it has faults of the wire, which take the simulator's relay.
    #[must_use]
    pub fn needs_relay(&self) -> bool {
        let of_wire = |fault: &F| matches!(fault.kind, K::Switch(fault) if fault.entry().layer == Layer::Wire);
        self.faults.iter().any(of_wire)
    }

    /// All scenarios, `nominal` first.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![
            new("nominal", "Lots, weather and slow wear, nothing else", vec![]),
            new(
                "lot-change",
                "A delivery 20 % too stiff, then one 20 % too thin",
                vec![F::new(600, 1000, K::Viscosity(1.2)), F::new(1600, 2000, K::Viscosity(0.8))],
            ),
        ];
        all.extend(plant_faults());
        all.extend(sensor_faults());
        all.extend(plc_faults());
        all.extend(label_faults());
        all.extend(catalogue_faults());
        all
    }
}

fn new(name: &'static str, title: &'static str, faults: Vec<F>) -> Scenario {
    Scenario { name, title, faults, inspect_every: 2, inspect_delay: 4 }
}

fn plant_faults() -> Vec<Scenario> {
    vec![
        new(
            "wear",
            "The check ring wears from 1 to 9.5 % leak",
            vec![F::new(300, END, K::RingWear { leak: 0.085, over: 2400 })],
        ),
        new(
            "heater",
            "A barrel zone fails 14 K cold, later its relay sticks 21 K hot",
            vec![F::new(600, 1100, K::Heater(-14.0)), F::new(1900, 2300, K::Heater(21.0))],
        ),
        new(
            "fouling",
            "Scale slowly closes 60 % of the cooling channel",
            vec![F::new(300, END, K::Fouling { share: 0.6, over: 2100 })],
        ),
        new(
            "ambient",
            "The hall gate stays open in winter, then a heat wave",
            vec![F::new(500, 1200, K::Ambient(-18.0)), F::new(1700, 2500, K::Ambient(18.0))],
        ),
        new(
            "wrong-sign",
            "The hold valve is wired the wrong way round",
            vec![F::new(400, END, K::HoldValveGain(-1.0))],
        ),
        new(
            "oscillating-gain",
            "The hold valve overreacts eightfold",
            vec![F::new(400, END, K::HoldValveGain(8.0))],
        ),
        new(
            "start-up",
            "A cold machine starts; it reports Starting for 60 parts",
            vec![F::new(1, 61, K::ColdStart)],
        ),
    ]
}

fn sensor_faults() -> Vec<Scenario> {
    let drift = |sensor| K::SensorDrift { sensor, fraction: -0.6, over: 1500 };
    vec![
        new(
            "sensor-drift",
            "The injection pressure sensor drifts to -60 %",
            vec![
                F::new(500, END, drift(Sensor::InjectionPeakPressure)),
                F::new(500, END, drift(Sensor::FillPressureIntegral)),
            ],
        ),
        new(
            "frozen-sensor",
            "The injection pressure values freeze",
            vec![
                F::new(600, 1800, K::SensorFrozen(Sensor::InjectionPeakPressure)),
                F::new(600, 1800, K::SensorFrozen(Sensor::FillPressureIntegral)),
            ],
        ),
        new(
            "bad-quality",
            "The injection pressure is marked Bad",
            vec![
                F::new(700, 1400, K::SensorBad(Sensor::InjectionPeakPressure)),
                F::new(700, 1400, K::SensorBad(Sensor::FillPressureIntegral)),
            ],
        ),
    ]
}

fn plc_faults() -> Vec<Scenario> {
    let hold = |value| K::Operator { setpoint: Setpoint::HoldPressure, value };
    vec![
        new(
            "operator-override",
            "An operator sets the hold pressure by hand, twice",
            vec![F::new(700, 701, hold(385.0)), F::new(1700, 1701, hold(345.0))],
        ),
        new(
            "link-loss",
            "The OPC UA server is gone for 3 s, twice",
            vec![
                F::new(700, 701, K::LinkLoss { wall_ms: 3000 }),
                F::new(1900, 1901, K::LinkLoss { wall_ms: 3000 }),
            ],
        ),
        new(
            "clock-jump",
            "The PLC clock jumps one hour ahead and later back",
            vec![F::new(800, 1800, K::ClockOffset(3600.0))],
        ),
        new(
            "recipe-change",
            "300 parts of another product in between",
            vec![F::new(1000, 1300, K::Product(2))],
        ),
        new(
            "plc-rejects",
            "The PLC refuses writes, later it carries them out by half",
            vec![F::new(600, 720, K::WritesRefused), F::new(1500, 1900, K::WritesShortened(0.5))],
        ),
        new(
            "interlock",
            "The door opens twice for 40 cycles; once the local enable is off",
            vec![
                F::new(500, 540, K::DoorOpen),
                F::new(1000, 1150, K::EnableOff),
                F::new(1800, 1840, K::DoorOpen),
            ],
        ),
    ]
}

fn label_faults() -> Vec<Scenario> {
    vec![
        new(
            "label-delay",
            "Inspection results come 60 parts late",
            vec![F::new(400, END, K::LabelDelay(60))],
        ),
        new("label-loss", "No inspection results", vec![F::new(400, 2000, K::LabelLoss)]),
    ]
}

/// Stories from the catalogue of misbehaviour.
fn catalogue_faults() -> Vec<Scenario> {
    let on = |from, to, fault| F::new(from, to, K::Switch(fault));
    vec![
        new(
            "deaf-register",
            "Writes are answered Good and not kept",
            vec![on(600, END, Fault::WriteIgnored)],
        ),
        new(
            "late-answers",
            "Writes time out and are carried out late, twice for 200 parts",
            vec![on(600, 800, Fault::WriteLate), on(1500, 1700, Fault::WriteLate)],
        ),
        new(
            "bad-network",
            "Answers are slow, a connection stands and passes nothing, a subscription falls silent",
            vec![
                on(600, 700, Fault::ServerSlow),
                on(1200, 1300, Fault::HalfOpen),
                on(1800, 1900, Fault::PublishStalled),
            ],
        ),
        new(
            "download",
            "A download puts the namespaces in another order and a setpoint in another type",
            vec![on(700, 1400, Fault::NamespacesMoved), on(1900, 2000, Fault::RegisterRetyped)],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    #[test]
    fn names_are_unique_and_found() {
        let all = Scenario::all();
        assert!(all.len() >= 17, "{} scenarios", all.len());
        for scenario in &all {
            assert_eq!(Scenario::named(scenario.name).as_ref(), Some(scenario));
            assert_eq!(all.iter().filter(|s| s.name == scenario.name).count(), 1);
            for fault in &scenario.faults {
                assert!(fault.from_part < fault.to_part, "{}: empty range", scenario.name);
            }
        }
        assert_eq!(Scenario::named("no such"), None);
    }
}
