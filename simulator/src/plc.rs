//! The PLC: setpoints, their limits, the local enable and the watchdog. Pure logic.
//!
//! Wall time comes in as milliseconds on any monotonic scale. Terms: *recipe values* are the
//! PLC's own; *latched* is what the running shot uses; *fallback* is the PLC's own return to
//! the recipe values after the heartbeat stopped.
//!
//! ```text
//!              first heartbeat            silence > 1 s
//!   UNWATCHED ----------------> WATCHED ----------------> FALLBACK (ramps to recipe values)
//!                                  ^                          |
//!                                  +------- heartbeat --------+   setpoints stay where they are
//! ```

/// Silence after which the watchdog bites \[ms wall].
pub const WATCHDOG_MS: u64 = 1000;
/// How late [`WriteManner::Delay`] is \[ms wall].
pub const LATE_MS: u64 = 300;
/// Share of the step limit by which fallback moves at each shot.
const FALLBACK_STEPS_PER_SHOT: f64 = 1.0;

/// The two setpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Setpoint {
    /// `Press4.HoldPressureSP` \[bar].
    HoldPressure,
    /// `Press4.CoolTimeSP` \[s].
    CoolTime,
}

impl Setpoint {
    /// Both.
    pub const ALL: [Self; 2] = [Self::HoldPressure, Self::CoolTime];

    /// Position in tables.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What the PLC program knows about one setpoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SetpointSpec {
    /// Least accepted value (VMin), in the setpoint's unit.
    pub min: f64,
    /// Greatest accepted value (VMax).
    pub max: f64,
    /// Largest move of fallback per shot.
    pub step: f64,
}

/// Limits in the PLC: the recipe's absolute limits plus one grid step, so that a client on an
/// f32 path is not refused for half an ulp.
pub const SPECS: [SetpointSpec; 2] = [
    SetpointSpec { min: 289.5, max: 430.5, step: 5.0 },
    SetpointSpec { min: 13.9, max: 20.1, step: 0.5 },
];

/// A product with its recipe in the PLC.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Product {
    /// Number in `Press4.ProductId`.
    pub id: i32,
    /// Recipe values: hold pressure \[bar], cool time \[s].
    pub recipe: [f64; 2],
    /// Weight asked for \[g].
    pub target_g: f64,
    /// Cavity volume relative to product 1, dimensionless.
    pub cavity: f64,
}

/// The products: 2 is the same part with a mould insert that takes 4 % of the volume.
pub const PRODUCTS: [Product; 2] = [
    Product { id: 1, recipe: [360.0, 16.0], target_g: 19.42, cavity: 1.0 },
    Product { id: 2, recipe: [350.0, 15.0], target_g: 18.640, cavity: 0.96 },
];

/// PackML states that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum MachineState {
    /// At standstill.
    Stopped = 2,
    /// Warming up: parts are made, but the process is not ready.
    Starting = 3,
    /// Producing.
    Execute = 6,
}

/// Why a write was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Wrong data type, array, or no value.
    Type,
    /// Outside VMin..VMax or not finite.
    Limit,
    /// Local enable is off.
    Disabled,
    /// The heartbeat has stopped and not yet returned.
    Fallback,
    /// The program refuses (fault).
    Busy,
    /// No answer in time; it may be carried out later (fault).
    Late,
}

/// How the PLC treats writes it could take.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum WriteManner {
    /// Takes them.
    #[default]
    Normal,
    /// Refuses all.
    Refuse,
    /// Answers Good and moves only this share of the way.
    Shorten(f64),
    /// Answers Good and does nothing.
    Ignore,
    /// Answers that it timed out and carries it out [`LATE_MS`] later.
    Delay,
}

/// State of the PLC program.
#[derive(Debug, Clone)]
pub struct Plc {
    product: Product,
    values: [f64; 2],
    latched: [f64; 2],
    enable: bool,
    manner: WriteManner,
    heartbeat: u32,
    heartbeat_ms: Option<u64>,
    echo: u32,
    echoes: bool,
    fallback: bool,
    fallbacks: u64,
}

impl Default for Plc {
    fn default() -> Self {
        Self::new()
    }
}

impl Plc {
    /// A PLC with product 1 loaded, enabled, no heartbeat seen.
    #[must_use]
    pub fn new() -> Self {
        let product = PRODUCTS[0];
        Self {
            product,
            values: product.recipe,
            latched: product.recipe,
            enable: true,
            manner: WriteManner::Normal,
            heartbeat: 0,
            heartbeat_ms: None,
            echo: 0,
            echoes: true,
            fallback: false,
            fallbacks: 0,
        }
    }

    /// A client writes a setpoint; `value` is `None` when it had the wrong type.
    ///
    /// Returns the value now in the register.
    ///
    /// # Errors
    /// The first reason to refuse; the register is then untouched.
    pub fn write(&mut self, setpoint: Setpoint, value: Option<f64>) -> Result<f64, Refusal> {
        let value = value.ok_or(Refusal::Type)?;
        let spec = SPECS[setpoint.index()];
        if !(spec.min..=spec.max).contains(&value) {
            return Err(Refusal::Limit);
        }
        if !self.enable {
            return Err(Refusal::Disabled);
        }
        if self.fallback {
            return Err(Refusal::Fallback);
        }
        let register = &mut self.values[setpoint.index()];
        match self.manner {
            WriteManner::Normal => *register = value,
            WriteManner::Refuse => return Err(Refusal::Busy),
            WriteManner::Shorten(share) => *register += share * (value - *register),
            WriteManner::Ignore => {}
            WriteManner::Delay => return Err(Refusal::Late),
        }
        Ok(*register)
    }

    /// Carries out a write that was answered [`Refusal::Late`], if it may still be taken.
    ///
    /// # Errors
    /// The first reason to refuse.
    pub fn write_late(&mut self, setpoint: Setpoint, value: f64) -> Result<f64, Refusal> {
        let manner = core::mem::take(&mut self.manner);
        let result = self.write(setpoint, Some(value));
        self.manner = manner;
        result
    }

    /// A client writes `HeartbeatIn`. Only a changed number is a sign of life: a client that
    /// hangs while its stack repeats the last value must not look alive.
    pub fn beat(&mut self, count: u32, now_ms: u64) {
        if self.echoes {
            self.echo = count;
        }
        if self.heartbeat_ms.is_none() || count != self.heartbeat {
            self.heartbeat = count;
            self.heartbeat_ms = Some(now_ms);
            self.fallback = false;
        }
    }

    /// Checks the watchdog; `true` when fallback began just now.
    pub fn watch(&mut self, now_ms: u64) -> bool {
        let silent =
            self.heartbeat_ms.is_some_and(|seen| now_ms.saturating_sub(seen) > WATCHDOG_MS);
        let begins = silent && !self.fallback;
        if begins {
            self.fallback = true;
            self.fallbacks += 1;
        }
        begins
    }

    /// Starts a shot: fallback makes its move, then the setpoints are latched for this shot.
    pub fn latch(&mut self) -> [f64; 2] {
        if self.fallback {
            for (i, value) in self.values.iter_mut().enumerate() {
                let step = FALLBACK_STEPS_PER_SHOT * SPECS[i].step;
                *value += (self.product.recipe[i] - *value).clamp(-step, step);
            }
        }
        self.latched = self.values;
        self.latched
    }

    /// An operator sets a setpoint at the panel; clipped to the PLC limits.
    pub fn operator_sets(&mut self, setpoint: Setpoint, value: f64) {
        let spec = SPECS[setpoint.index()];
        if value.is_finite() {
            self.values[setpoint.index()] = value.clamp(spec.min, spec.max);
        }
    }

    /// Takes over what the handshake blocks give out.
    pub fn follow(&mut self, values: [f64; 2]) {
        self.values = values;
    }

    /// Loads a product and its recipe values; an unknown number is ignored.
    pub fn load_product(&mut self, id: i32) {
        if id == self.product.id {
            return;
        }
        if let Some(product) = PRODUCTS.into_iter().find(|p| p.id == id) {
            self.product = product;
            self.values = product.recipe;
        }
    }

    /// Sets the local enable.
    pub fn set_enable(&mut self, enable: bool) {
        self.enable = enable;
    }

    /// Sets how writes are treated.
    pub fn set_manner(&mut self, manner: WriteManner) {
        self.manner = manner;
    }

    /// Register of a setpoint, in its unit.
    #[must_use]
    pub fn value(&self, setpoint: Setpoint) -> f64 {
        self.values[setpoint.index()]
    }

    /// Setpoints of the running shot.
    #[must_use]
    pub fn latched(&self) -> [f64; 2] {
        self.latched
    }

    /// Product in production.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// Local enable.
    #[must_use]
    pub fn enable(&self) -> bool {
        self.enable
    }

    /// Sets whether heartbeats are echoed.
    pub fn set_echoes(&mut self, echoes: bool) {
        self.echoes = echoes;
    }

    /// Last heartbeat that was echoed.
    #[must_use]
    pub fn echo(&self) -> u32 {
        self.echo
    }

    /// Last heartbeat received.
    #[must_use]
    pub fn heartbeat(&self) -> u32 {
        self.heartbeat
    }

    /// Whether the PLC is on its own.
    #[must_use]
    pub fn fallback_active(&self) -> bool {
        self.fallback
    }

    /// How often fallback began.
    #[must_use]
    pub fn fallbacks(&self) -> u64 {
        self.fallbacks
    }
}

#[cfg(test)]
mod tests {
    use super::{Plc, Refusal, Setpoint, WriteManner};

    fn bits(values: [f64; 2]) -> [u64; 2] {
        values.map(f64::to_bits)
    }

    #[test]
    fn a_write_is_taken_or_refused_for_one_reason() {
        let hold = Setpoint::HoldPressure;
        let mut off = Plc::new();
        off.set_enable(false);
        let mut busy = Plc::new();
        busy.set_manner(WriteManner::Refuse);
        let mut half = Plc::new();
        half.set_manner(WriteManner::Shorten(0.5));
        let rows = [
            (Plc::new(), Some(365.0), Ok(365.0)),
            (Plc::new(), Some(430.5), Ok(430.5)),
            (Plc::new(), Some(430.6), Err(Refusal::Limit)),
            (Plc::new(), Some(289.0), Err(Refusal::Limit)),
            (Plc::new(), Some(f64::NAN), Err(Refusal::Limit)),
            (Plc::new(), Some(f64::INFINITY), Err(Refusal::Limit)),
            (Plc::new(), None, Err(Refusal::Type)),
            (off, Some(365.0), Err(Refusal::Disabled)),
            (busy, Some(365.0), Err(Refusal::Busy)),
            (half, Some(370.0), Ok(365.0)),
        ];
        for (mut plc, value, expect) in rows {
            assert_eq!(plc.write(hold, value), expect, "{value:?}");
            assert_eq!(plc.value(hold).to_bits(), expect.unwrap_or(360.0).to_bits());
        }
    }

    #[test]
    fn silence_leads_back_to_the_recipe_until_the_heartbeat_returns() {
        let mut plc = Plc::new();
        assert!(!plc.watch(10_000), "nobody to watch yet");
        plc.beat(1, 10_000);
        assert!(plc.write(Setpoint::HoldPressure, Some(372.0)).is_ok());
        assert!(!plc.watch(11_000));
        plc.beat(1, 10_900);
        assert!(plc.watch(11_001), "the same number is no sign of life");
        assert_eq!(plc.write(Setpoint::HoldPressure, Some(373.0)), Err(Refusal::Fallback));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(plc.latch()[0]);
        }
        assert_eq!(seen, [367.0, 362.0, 360.0, 360.0]);
        plc.beat(2, 12_000);
        assert!(!plc.fallback_active());
        assert!(plc.write(Setpoint::HoldPressure, Some(365.0)).is_ok());
        assert_eq!(plc.fallbacks(), 1);
    }

    #[test]
    fn setpoints_are_latched_at_the_start_of_a_shot() {
        let mut plc = Plc::new();
        let first = plc.latch();
        assert!(plc.write(Setpoint::CoolTime, Some(16.5)).is_ok());
        assert_eq!(bits(first), bits([360.0, 16.0]));
        assert_eq!(bits(plc.latch()), bits([360.0, 16.5]));
    }

    #[test]
    fn a_product_brings_its_recipe_values() {
        let mut plc = Plc::new();
        assert!(plc.write(Setpoint::HoldPressure, Some(365.0)).is_ok());
        plc.load_product(1);
        assert_eq!(plc.latch()[0].to_bits(), 365.0_f64.to_bits(), "already loaded");
        plc.load_product(2);
        assert_eq!(bits(plc.latch()), bits([350.0, 15.0]));
        plc.load_product(7);
        assert_eq!(plc.product().id, 2);
        plc.load_product(1);
        assert_eq!(bits(plc.latch()), bits([360.0, 16.0]));
    }

    #[test]
    fn an_operator_is_clipped_not_refused() {
        let mut plc = Plc::new();
        plc.set_enable(false);
        plc.operator_sets(Setpoint::HoldPressure, 900.0);
        assert_eq!(plc.value(Setpoint::HoldPressure).to_bits(), 430.5_f64.to_bits());
        plc.operator_sets(Setpoint::HoldPressure, f64::NAN);
        assert_eq!(plc.value(Setpoint::HoldPressure).to_bits(), 430.5_f64.to_bits());
    }
}
