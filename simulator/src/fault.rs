//! What can go wrong, and when.
//!
//! A fault acts on exactly one layer: the plant ([`Upsets`](crate::plant::moulding::Upsets)),
//! the valve between PLC and plant, the published values, the PLC, the inspection or the link.

use crate::catalogue::Fault;
use crate::plc::Setpoint;

/// A measured value that can be falsified on its way to the OPC UA server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Sensor {
    /// `Press4.MeltTemp`
    MeltTemp,
    /// `Press4.MouldTemp`
    MouldTemp,
    /// `Press4.CoolantTemp`
    CoolantTemp,
    /// `Press4.AmbientTemp`
    AmbientTemp,
    /// `Press4.InjectionPeakPressure`
    InjectionPeakPressure,
    /// `Press4.FillTime`
    FillTime,
    /// `Press4.FillPressureIntegral`
    FillPressureIntegral,
    /// `Press4.Cushion`
    Cushion,
    /// `Press4.PlasticisingTime`
    PlasticisingTime,
    /// `Press4.ScrewTorque`
    ScrewTorque,
    /// `Press4.HoldPressureActual`
    HoldPressureActual,
    /// `Press4.CavityPeakPressure`
    CavityPeakPressure,
    /// `Press4.CycleTime`
    CycleTime,
}

impl Sensor {
    /// All sensors in the order of their numbers.
    pub const ALL: [Self; 13] = [
        Self::MeltTemp,
        Self::MouldTemp,
        Self::CoolantTemp,
        Self::AmbientTemp,
        Self::InjectionPeakPressure,
        Self::FillTime,
        Self::FillPressureIntegral,
        Self::Cushion,
        Self::PlasticisingTime,
        Self::ScrewTorque,
        Self::HoldPressureActual,
        Self::CavityPeakPressure,
        Self::CycleTime,
    ];
}

/// One kind of fault with its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FaultKind {
    /// Plant: viscosity times this factor (a lot out of the usual spread).
    Viscosity(f64),
    /// Plant: the check-ring leak grows by `leak` (fraction of the flow) within `over` parts.
    RingWear {
        /// Final added leak, fraction of the flow.
        leak: f64,
        /// Parts until the final leak.
        over: u64,
    },
    /// Plant: barrel temperature off by this \[K].
    Heater(f64),
    /// Plant: `share` of the cooling channel fouls within `over` parts.
    Fouling {
        /// Final share of the channel that is lost, 0 to 0.9.
        share: f64,
        /// Parts until the final share.
        over: u64,
    },
    /// Plant: hall temperature off by this \[K].
    Ambient(f64),
    /// Plant: mould and melt cold at the start; the machine reports Starting over the range.
    ColdStart,
    /// Valve: physical hold pressure = recipe + gain * (setpoint - recipe). -1 is a mis-wired
    /// valve, 8 one that overreacts.
    HoldValveGain(f64),
    /// Published value: drifts linearly to `(1 + this)` times the true one within `over` parts.
    SensorDrift {
        /// Which value.
        sensor: Sensor,
        /// Final relative error, -0.6 reads 60 % too little.
        fraction: f64,
        /// Parts until the final error.
        over: u64,
    },
    /// Published value: repeats its last value.
    SensorFrozen(Sensor),
    /// Published value: status Bad, value still there.
    SensorBad(Sensor),
    /// PLC: an operator sets a setpoint at the first part of the range.
    Operator {
        /// Which setpoint.
        setpoint: Setpoint,
        /// To which value, in its unit.
        value: f64,
    },
    /// PLC: refuses every write.
    WritesRefused,
    /// PLC: answers Good, but moves at most this share of the way.
    WritesShortened(f64),
    /// PLC: local enable is off.
    EnableOff,
    /// PLC: another product with its own recipe.
    Product(i32),
    /// PLC: its clock is off by this \[s].
    ClockOffset(f64),
    /// Machine: the door is open for as many cycles as the range is long; no parts are made.
    DoorOpen,
    /// Inspection: results come this many parts late.
    LabelDelay(u64),
    /// Inspection: no results.
    LabelLoss,
    /// A fault of the catalogue is on over the range.
    Switch(Fault),
    /// Link: the server is gone for this wall time \[ms], from the first part of the range.
    LinkLoss {
        /// Wall time without a server \[ms].
        wall_ms: u64,
    },
}

/// A fault with its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduledFault {
    /// First part it acts on, from 1.
    pub from_part: u64,
    /// First part it no longer acts on.
    pub to_part: u64,
    /// What it does.
    pub kind: FaultKind,
}

impl ScheduledFault {
    /// A fault on `from_part..to_part`.
    #[must_use]
    pub const fn new(from_part: u64, to_part: u64, kind: FaultKind) -> Self {
        Self { from_part, to_part, kind }
    }

    /// Whether it acts on `part`.
    #[must_use]
    pub fn acts_on(&self, part: u64) -> bool {
        (self.from_part..self.to_part).contains(&part)
    }

    /// How much of a fault that grows within `over` parts is there at `part`, 0 to 1.
    #[must_use]
    pub fn progress(&self, part: u64, over: u64) -> f64 {
        (part.saturating_sub(self.from_part) as f64 / over.max(1) as f64).min(1.0)
    }
}
