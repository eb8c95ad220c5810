//! From true values to published ones: noise, resolution, sensor faults. Pure.
//!
//! Nothing here reaches the plant: a drifting sensor misleads only those who read it.

use crate::fault::{FaultKind, ScheduledFault, Sensor};
use crate::plant::moulding::Shot;
use crate::plant::noise::Draws;

/// Noise (standard deviation) and resolution of each sensor, in its unit, in `Sensor` order.
const NOISE: [(f64, f64); 13] = [
    (0.30, 0.01),    // melt, degC
    (0.15, 0.01),    // mould, degC
    (0.10, 0.01),    // coolant, degC
    (0.10, 0.01),    // ambient, degC
    (3.0, 0.1),      // injection peak, bar
    (0.002, 0.0001), // fill time, s
    (0.8, 0.01),     // fill integral, bar s
    (0.04, 0.001),   // cushion, mm
    (0.06, 0.001),   // plasticising, s
    (2.0, 0.01),     // torque, Nm
    (0.5, 0.01),     // hold actual, bar
    (1.5, 0.1),      // cavity peak, bar
    (0.01, 0.001),   // cycle, s
];

/// A published value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// In the unit of the sensor.
    pub value: f64,
    /// Status Good; a Bad one still carries its value.
    pub good: bool,
}

impl Default for Reading {
    fn default() -> Self {
        Self { value: 0.0, good: true }
    }
}

/// The published values of all sensors.
#[derive(Debug, Clone)]
pub struct Sensors {
    draws: Draws,
    readings: [Reading; 13],
}

impl Sensors {
    /// Sensors that have read nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { draws: Draws::new(seed), readings: [Reading::default(); 13] }
    }

    /// Reads one shot. `shot.part` addresses the noise.
    pub fn read(&mut self, shot: &Shot, faults: &[ScheduledFault]) {
        let true_values = [
            shot.melt_c,
            shot.mould_c,
            shot.coolant_c,
            shot.ambient_c,
            shot.peak_bar,
            shot.fill_s,
            shot.fill_integral_bar_s,
            shot.cushion_mm,
            shot.plasticising_s,
            shot.torque_nm,
            shot.hold_bar,
            shot.cavity_bar,
            shot.cycle_s,
        ];
        for (sensor, value) in Sensor::ALL.into_iter().zip(true_values) {
            self.read_one(sensor, value, shot.part, shot.part, faults);
        }
    }

    /// Reads the four temperatures \[degC] between shots; `tick` addresses the noise.
    pub fn read_temperatures(
        &mut self,
        temperatures: [f64; 4],
        part: u64,
        tick: u64,
        faults: &[ScheduledFault],
    ) {
        // Ticks live far above part numbers, so no shot shares their noise.
        let address = (1 << 40) + tick;
        for (sensor, value) in Sensor::ALL.into_iter().zip(temperatures) {
            self.read_one(sensor, value, part, address, faults);
        }
    }

    /// All readings, in `Sensor` order.
    #[must_use]
    pub fn readings(&self) -> &[Reading; 13] {
        &self.readings
    }

    fn read_one(
        &mut self,
        sensor: Sensor,
        value: f64,
        part: u64,
        address: u64,
        faults: &[ScheduledFault],
    ) {
        let index = sensor as usize;
        let (sd, resolution) = NOISE[index];
        let mut next =
            Reading { value: value + sd * self.draws.sensor(address, index), good: true };
        for fault in faults.iter().filter(|f| f.acts_on(part)) {
            match fault.kind {
                FaultKind::SensorDrift { sensor: s, fraction, over } if s == sensor => {
                    next.value *= 1.0 + fraction * fault.progress(part, over);
                }
                FaultKind::SensorFrozen(s) if s == sensor => {
                    next.value = self.readings[index].value
                }
                FaultKind::SensorBad(s) if s == sensor => next.good = false,
                _ => {}
            }
        }
        next.value = (next.value / resolution).round() * resolution;
        self.readings[index] = next;
    }
}
