//! One injection-moulding machine: a shot per call, SI inside.
//!
//! Melt and mould temperature are first-order states; everything else follows from them, the
//! setpoints in force and the disturbances of the part. Factors that were fitted, not derived,
//! are named constants with the word *fitted*.

use super::disturbance::{AMBIENT_C, Disturbance};
use super::material::{
    DIFFUSIVITY_M2_S, HEAT_CAPACITY_J_M3_K, RABINOWITSCH, ZERO_CELSIUS_K, cooled_mean,
    cooling_time, specific_volume, transition_k, viscosity,
};
use super::noise::{Draws, Stream};

/// Pascal per bar.
pub const PA_PER_BAR: f64 = 1e5;
/// Barrel setpoint \[degC].
const BARREL_C: f64 = 220.0;
/// Rise of the mould over the coolant under nominal heat load \[K].
const MOULD_RISE_K: f64 = 8.0;
/// Time constant of the melt \[s].
const MELT_TAU_S: f64 = 240.0;
/// Time constant of the mould \[s].
const MOULD_TAU_S: f64 = 420.0;
/// Share of an ambient deviation that reaches the melt (fitted).
const MELT_PER_AMBIENT: f64 = 0.1;
/// Injection flow at 60 mm/s of a 35 mm screw [m3/s].
const FLOW_M3_S: f64 = 5.77e-5;
/// Flow path: width, height and length of the equivalent slit \[m].
const SLIT_M: (f64, f64, f64) = (0.040, 3.0e-3, 0.206);
/// Pressure of runner and nozzle over that of the slit alone (fitted to 590 bar).
const RUNNER_FACTOR: f64 = 1.954;
/// Frozen layer over the square root of diffusivity times fill time (fitted).
const LAYER_FACTOR: f64 = 0.55;
/// Shear rate of the packing flow [1/s]; slow, so nearly Newtonian.
const PACK_SHEAR_1_S: f64 = 10.0;
/// Packing pressure lost between nozzle and part, per viscosity [Pa per Pa s] (fitted: 190 bar
/// at nominal, so that one lot sd costs about 25 bar of hold pressure).
const PACK_DROP_1: f64 = 2.26e4;
/// Share of hold pressure lost per unit of check-ring leak (fitted: a ring worn from 1 to
/// 9.5 % asks for 400 instead of 360 bar).
const LEAK_HOLD: f64 = 1.3;
/// Thickness of the gate \[m].
const GATE_M: f64 = 1.3e-3;
/// Gate freeze time over the slab formula (fitted: runner and gate stay hot in packing).
const GATE_FREEZE_FACTOR: f64 = 4.2;
/// Hold time \[s], fixed.
const HOLD_S: f64 = 5.0;
/// Pressure lost per second that the gate stays open after hold [Pa/s] (fitted).
const BACKFLOW_PA_S: f64 = 25.0 * PA_PER_BAR;
/// Width of the onset of backflow \[s].
const BACKFLOW_WIDTH_S: f64 = 0.2;
/// Mean part temperature at gate freeze, nominal \[K], and what melt and mould add [K/K]
/// (fitted conduction factors).
const FREEZE_MEAN_K: f64 = 405.15;
const FREEZE_PER_MOULD: f64 = 0.5;
const FREEZE_PER_MELT: f64 = 0.04;
/// Nominal mould and melt temperature \[degC], where the fits hold exactly.
const MOULD_NOMINAL_C: f64 = 36.0;
/// Cavity volume [m3] (fitted to 19.42 g) and its growth with pressure [1/Pa] (mould breathing).
const CAVITY_M3: f64 = 24.1685e-6;
const CAVITY_PER_PA: f64 = 1.0e-10;
/// Wall of the part for cooling \[m].
const WALL_M: f64 = 3.2e-3;
/// Mould open, eject, close \[s].
const HANDLING_S: f64 = 2.55;
/// Screw position at the end of hold with a tight ring \[mm] and what a leak takes [mm].
const CUSHION_MM: f64 = 6.0;
const CUSHION_PER_LEAK_MM: f64 = 32.0;
/// Shot-to-shot weight scatter, standard deviation \[g].
pub const WEIGHT_NOISE_G: f64 = 0.010;
/// Weight missing from a short shot \[g].
const SHORT_MISSING_G: f64 = 0.6;
/// Coldest and hottest physical hold pressure the valve can make \[bar].
const VALVE_BAR: (f64, f64) = (50.0, 600.0);

/// Target weight \[g].
pub const WEIGHT_TARGET_G: f64 = 19.42;
/// Half tolerance of the weight \[g].
pub const WEIGHT_TOLERANCE_G: f64 = 0.084;

/// A defect turns from unlikely to likely around `at`, over a few `width`.
struct Onset {
    at: f64,
    width: f64,
}

impl Onset {
    /// Probability at `x`, logistic.
    fn probability(&self, x: f64) -> f64 {
        1.0 / (1.0 + ((self.at - x) / self.width).exp())
    }
}

/// Fill pressure the machine cannot pass \[bar].
const SHORT: Onset = Onset { at: 800.0, width: 9.0 };
/// Melt temperature plus shear heating \[degC].
const BURN: Onset = Onset { at: 270.0, width: 1.4 };
/// Pressure in the cavity that opens the mould \[bar].
const FLASH: Onset = Onset { at: 372.0, width: 5.0 };
/// Packing deficit below the nominal freeze pressure \[bar].
const SINK: Onset = Onset { at: 82.0, width: 4.0 };
/// Mean part temperature at ejection \[degC].
const WARP: Onset = Onset { at: 66.5, width: 1.1 };
/// Freeze pressure from which the sink deficit counts \[bar].
const SINK_FROM_BAR: f64 = 166.0;

/// Cycle time \[s] with the given cool time \[s]; fill counts with its nominal time.
#[must_use]
pub fn cycle_s(cool_s: f64) -> f64 {
    cool_s + HOLD_S + HANDLING_S + 0.45
}

/// Why a part is scrap. A part has one cause: the first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Cavity not filled.
    Short,
    /// Burnt by temperature and shear.
    Burn,
    /// Material pressed out of the parting plane.
    Flash,
    /// Surface drawn in for want of packing.
    Sink,
    /// Ejected too hot, distorted.
    Warp,
    /// Foreign particle; no setpoint can prevent it.
    Contamination,
    /// Silver streak from a moist pellet; no setpoint can prevent it.
    Streak,
    /// Weight outside its tolerance.
    Weight,
}

impl Cause {
    /// All causes in order of precedence.
    pub const ALL: [Self; 8] = [
        Self::Short,
        Self::Burn,
        Self::Flash,
        Self::Sink,
        Self::Warp,
        Self::Contamination,
        Self::Streak,
        Self::Weight,
    ];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Burn => "burn",
            Self::Flash => "flash",
            Self::Sink => "sink",
            Self::Warp => "warp",
            Self::Contamination => "contamination",
            Self::Streak => "streak",
            Self::Weight => "weight",
        }
    }
}

/// Setpoints as they reach the plant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ShotInputs {
    /// Physical hold pressure \[bar], after any fault of the valve.
    pub hold_bar: f64,
    /// Cool time \[s].
    pub cool_s: f64,
    /// Weight the product asks for \[g].
    pub target_g: f64,
    /// Cavity volume relative to product 1 (a mould insert), dimensionless.
    pub cavity: f64,
}

/// What scheduled faults add to the plant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsets {
    /// Factor on the viscosity, dimensionless.
    pub viscosity: f64,
    /// Added check-ring leak, fraction of the flow.
    pub leak: f64,
    /// Added barrel temperature \[K].
    pub heater_k: f64,
    /// Share of the cooling channel lost to fouling, 0 to 0.9.
    pub fouling: f64,
    /// Added ambient temperature \[K]; a third of it reaches the coolant.
    pub ambient_k: f64,
}

impl Default for Upsets {
    fn default() -> Self {
        Self { viscosity: 1.0, leak: 0.0, heater_k: 0.0, fouling: 0.0, ambient_k: 0.0 }
    }
}

/// All true values of one finished shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shot {
    /// Part number, from 1.
    pub part: u64,
    /// Melt temperature \[degC].
    pub melt_c: f64,
    /// Mould temperature \[degC].
    pub mould_c: f64,
    /// Coolant inlet temperature \[degC].
    pub coolant_c: f64,
    /// Hall temperature \[degC].
    pub ambient_c: f64,
    /// Highest injection pressure \[bar].
    pub peak_bar: f64,
    /// Fill time \[s].
    pub fill_s: f64,
    /// Integral of the injection pressure over the fill [bar s].
    pub fill_integral_bar_s: f64,
    /// Cushion \[mm].
    pub cushion_mm: f64,
    /// Plasticising time \[s].
    pub plasticising_s: f64,
    /// Screw torque \[Nm].
    pub torque_nm: f64,
    /// Physical hold pressure \[bar].
    pub hold_bar: f64,
    /// Highest pressure in the cavity \[bar].
    pub cavity_bar: f64,
    /// Pressure in the part when the gate freezes \[bar].
    pub freeze_bar: f64,
    /// Mean part temperature at ejection \[degC].
    pub eject_c: f64,
    /// Cycle time \[s].
    pub cycle_s: f64,
    /// Weight \[g].
    pub weight_g: f64,
    /// Of the weight: scatter from shot to shot \[g].
    pub scatter_g: f64,
    /// Probability of scrap before the draws of the part, 0 to 1; short, burn,
    /// flash, sink and warp only.
    pub risk: f64,
    /// Cause of scrap; `None` is a good part.
    pub cause: Option<Cause>,
}

/// Flow quantities of fill and pack.
struct Flow {
    fill_s: f64,
    peak_bar: f64,
    drop_bar: f64,
}

/// The machine's slow state.
#[derive(Debug, Clone)]
pub struct Moulding {
    draws: Draws,
    melt_k: f64,
    mould_k: f64,
}

impl Moulding {
    /// A machine at nominal temperatures.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            draws: Draws::new(seed),
            melt_k: BARREL_C + ZERO_CELSIUS_K,
            mould_k: MOULD_NOMINAL_C + ZERO_CELSIUS_K,
        }
    }

    /// Melt and mould temperature \[degC].
    #[must_use]
    pub fn temperatures_c(&self) -> (f64, f64) {
        (self.melt_k - ZERO_CELSIUS_K, self.mould_k - ZERO_CELSIUS_K)
    }

    /// Puts melt and mould to the given temperatures \[degC].
    pub fn set_temperatures_c(&mut self, melt_c: f64, mould_c: f64) {
        self.melt_k = melt_c + ZERO_CELSIUS_K;
        self.mould_k = mould_c + ZERO_CELSIUS_K;
    }

    /// Lets `dt_s` \[s] pass without a shot: the mould cools to the coolant, the melt soaks.
    pub fn idle(&mut self, coolant_c: f64, ambient_c: f64, upsets: &Upsets, dt_s: f64) {
        self.warm(coolant_c, 0.0, ambient_c, upsets, dt_s);
    }

    /// Makes one part.
    ///
    /// # Source
    /// Slit flow, slab cooling and Tait as in [`super::material`]; tests fix the nominal point
    /// and the sensitivities.
    pub fn step(&mut self, inputs: &ShotInputs, from: &Disturbance, upsets: &Upsets) -> Shot {
        let cycle_s = cycle_s(inputs.cool_s);
        let ambient_c = from.ambient_c + upsets.ambient_k;
        let coolant_c = from.coolant_c + upsets.ambient_k / 3.0;
        // A shorter cycle brings more heat per second into the mould.
        let load = 24.0 / cycle_s;
        self.warm(coolant_c, load, ambient_c, upsets, cycle_s);

        let leak = (from.leak + upsets.leak).clamp(0.0, 0.5);
        let hold_bar = inputs.hold_bar.clamp(VALVE_BAR.0, VALVE_BAR.1);
        let thickness = from.viscosity * upsets.viscosity;
        let flow = self.flow(thickness, leak, inputs.cavity);
        let gate_bar = hold_bar * (1.0 - LEAK_HOLD * leak) - flow.drop_bar;
        let freeze_bar = (gate_bar - self.backflow_bar()).max(1.0);
        let cavity_bar = gate_bar + 0.65 * flow.drop_bar;
        let eject_c =
            cooled_mean(WALL_M, self.melt_k, self.mould_k, HOLD_S + inputs.cool_s) - ZERO_CELSIUS_K;
        let (melt_c, mould_c) = self.temperatures_c();
        let mut shot = Shot {
            part: from.part,
            melt_c,
            mould_c,
            coolant_c,
            ambient_c,
            peak_bar: flow.peak_bar,
            fill_s: flow.fill_s,
            fill_integral_bar_s: 0.55 * flow.peak_bar * flow.fill_s,
            cushion_mm: (CUSHION_MM - CUSHION_PER_LEAK_MM * leak).max(0.0),
            plasticising_s: 8.0 + 4.0 * (thickness - 1.0) + 6.0 * leak,
            torque_nm: 310.0 * thickness.sqrt() * (1.0 - 0.006 * (melt_c - BARREL_C)),
            hold_bar,
            cavity_bar,
            freeze_bar,
            eject_c,
            cycle_s,
            weight_g: self.weight_g(freeze_bar, inputs.cavity),
            scatter_g: WEIGHT_NOISE_G * self.draws.normal(from.part, Stream::Weight),
            risk: 0.0,
            cause: None,
        };
        self.judge(&mut shot, inputs.target_g, from);
        shot
    }

    fn warm(&mut self, coolant_c: f64, load: f64, ambient_c: f64, upsets: &Upsets, dt_s: f64) {
        let barrel_k = BARREL_C
            + upsets.heater_k
            + MELT_PER_AMBIENT * (ambient_c - AMBIENT_C)
            + ZERO_CELSIUS_K;
        let rise_k = load * MOULD_RISE_K / (1.0 - upsets.fouling.clamp(0.0, 0.9));
        let towards_k = coolant_c + rise_k + ZERO_CELSIUS_K;
        self.melt_k += (barrel_k - self.melt_k) * (1.0 - (-dt_s / MELT_TAU_S).exp());
        self.mould_k += (towards_k - self.mould_k) * (1.0 - (-dt_s / MOULD_TAU_S).exp());
    }

    /// Fill and pack flow at `thickness` times nominal viscosity.
    fn flow(&self, thickness: f64, leak: f64, cavity: f64) -> Flow {
        let (width, height, length) = SLIT_M;
        let flow = FLOW_M3_S * (1.0 - leak);
        let fill_s = CAVITY_M3 * cavity / flow;
        // A cold melt against a cold mould freezes a thicker layer: this is how a heater fault
        // reaches the fill.
        let freeze_k = transition_k(0.0);
        let chill = (freeze_k - self.mould_k).max(1.0) / (self.melt_k - freeze_k).max(20.0);
        let layer = LAYER_FACTOR * chill * (DIFFUSIVITY_M2_S * fill_s).sqrt();
        let open = (height - 2.0 * layer).max(0.3 * height);
        let shear = 6.0 * flow / (width * open.powi(2));
        let eta = thickness * viscosity(self.melt_k, shear);
        let slit_pa = RABINOWITSCH * 12.0 * eta * flow * length / (width * open.powi(3));
        let pack_eta = thickness * viscosity(self.melt_k, PACK_SHEAR_1_S);
        // The layer also narrows the way for packing; cubed like any slit.
        let nominal_layer = LAYER_FACTOR * 0.796 * (DIFFUSIVITY_M2_S * 0.432_f64).sqrt();
        let narrowing = ((height - 2.0 * nominal_layer) / open).powi(3);
        Flow {
            fill_s,
            peak_bar: RUNNER_FACTOR * slit_pa / PA_PER_BAR,
            drop_bar: PACK_DROP_1 * pack_eta * narrowing / PA_PER_BAR,
        }
    }

    /// Pressure \[bar] that flows back because the gate is still open at the end of hold.
    fn backflow_bar(&self) -> f64 {
        let gate_s =
            GATE_FREEZE_FACTOR * cooling_time(GATE_M, self.melt_k, self.mould_k, transition_k(0.0));
        let late = (gate_s - HOLD_S) / BACKFLOW_WIDTH_S;
        BACKFLOW_PA_S * BACKFLOW_WIDTH_S * late.exp().ln_1p() / PA_PER_BAR
    }

    fn weight_g(&self, freeze_bar: f64, cavity: f64) -> f64 {
        let pressure_pa = freeze_bar * PA_PER_BAR;
        let mean_k = FREEZE_MEAN_K
            + FREEZE_PER_MOULD * (self.mould_k - MOULD_NOMINAL_C - ZERO_CELSIUS_K)
            + FREEZE_PER_MELT * (self.melt_k - BARREL_C - ZERO_CELSIUS_K);
        let volume = CAVITY_M3 * cavity * (1.0 + CAVITY_PER_PA * pressure_pa);
        1000.0 * volume / specific_volume(mean_k, pressure_pa)
    }

    /// Draws the defects, adds the weight scatter and names the cause.
    fn judge(&self, shot: &mut Shot, target_g: f64, from: &Disturbance) {
        let heat_k = shot.peak_bar * PA_PER_BAR / HEAT_CAPACITY_J_M3_K;
        let chances = [
            (Cause::Short, Stream::Short, SHORT.probability(shot.peak_bar)),
            (Cause::Burn, Stream::Burn, BURN.probability(shot.melt_c + heat_k)),
            (Cause::Flash, Stream::Flash, FLASH.probability(shot.cavity_bar)),
            (Cause::Sink, Stream::Sink, SINK.probability(SINK_FROM_BAR - shot.freeze_bar)),
            (Cause::Warp, Stream::Warp, WARP.probability(shot.eject_c)),
        ];
        shot.weight_g += shot.scatter_g;
        let mut clean = 1.0;
        for (cause, stream, probability) in chances {
            clean *= 1.0 - probability;
            if shot.cause.is_none() && self.draws.uniform(shot.part, stream) < probability {
                shot.cause = Some(cause);
            }
        }
        if shot.cause == Some(Cause::Short) {
            shot.weight_g -= SHORT_MISSING_G;
        }
        let off = (shot.weight_g - target_g).abs();
        shot.cause = shot
            .cause
            .or(from.contaminated.then_some(Cause::Contamination))
            .or(from.streaked.then_some(Cause::Streak))
            .or((off > WEIGHT_TOLERANCE_G).then_some(Cause::Weight));
        shot.risk = 1.0 - clean;
    }
}

#[cfg(test)]
mod tests {
    use super::{Cause, Moulding, Shot, ShotInputs, Upsets, WEIGHT_NOISE_G};
    use crate::plant::disturbance::{COOLANT_C, Disturbance, LEAK_NEW};

    const NOMINAL: Disturbance = Disturbance {
        part: 1,
        viscosity: 1.0,
        leak: LEAK_NEW,
        coolant_c: COOLANT_C,
        ambient_c: 23.0,
        contaminated: false,
        streaked: false,
    };
    const INPUTS: ShotInputs =
        ShotInputs { hold_bar: 360.0, cool_s: 16.0, target_g: 19.42, cavity: 1.0 };

    /// The 120th shot under constant conditions: temperatures have settled.
    fn settled(inputs: ShotInputs, from: Disturbance, upsets: Upsets) -> Shot {
        let mut machine = Moulding::new(1);
        for _ in 0..119 {
            machine.step(&inputs, &from, &upsets);
        }
        machine.step(&inputs, &from, &upsets)
    }

    fn share(cause: Cause, inputs: ShotInputs, from: Disturbance, upsets: Upsets) -> f64 {
        let mut machine = Moulding::new(1);
        for _ in 0..120 {
            machine.step(&inputs, &from, &upsets);
        }
        let n = 400;
        let hits = (0..n)
            .filter(|&i| {
                let from = Disturbance { part: 200 + i, ..from };
                machine.step(&inputs, &from, &upsets).cause == Some(cause)
            })
            .count();
        hits as f64 / n as f64
    }

    #[test]
    fn the_nominal_point_is_the_published_one() {
        let shot = settled(INPUTS, NOMINAL, Upsets::default());
        let rows = [
            ("weight g", shot.weight_g, 19.42, 0.02 + 2.0 * WEIGHT_NOISE_G),
            ("peak bar", shot.peak_bar, 590.0, 6.0),
            ("freeze bar", shot.freeze_bar, 166.0, 6.0),
            ("mould degC", shot.mould_c, 36.0, 0.1),
            ("cycle s", shot.cycle_s, 24.0, 0.01),
        ];
        for (what, got, expect, within) in rows {
            assert!((got - expect).abs() <= within, "{what}: {got}, expected {expect}");
        }
        assert_eq!(shot.cause, None);
    }

    #[test]
    fn each_influence_moves_the_weight_as_stated() {
        let base = settled(INPUTS, NOMINAL, Upsets::default()).weight_g;
        let with = |hold_bar: f64, from: Disturbance, upsets: Upsets| {
            settled(ShotInputs { hold_bar, ..INPUTS }, from, upsets).weight_g - base
        };
        let calm = Upsets::default();
        let rows = [
            ("+20 bar hold", with(380.0, NOMINAL, calm), 0.030, 0.042),
            ("-20 bar hold", with(340.0, NOMINAL, calm), -0.042, -0.030),
            ("+60 bar hold", with(420.0, NOMINAL, calm), 0.090, 0.126),
            (
                "+13 % viscosity",
                with(360.0, Disturbance { viscosity: 1.13, ..NOMINAL }, calm),
                -0.060,
                -0.030,
            ),
            ("worn ring", with(360.0, NOMINAL, Upsets { leak: 0.085, ..calm }), -0.085, -0.055),
            ("cold heater", with(360.0, NOMINAL, Upsets { heater_k: -14.0, ..calm }), -0.16, -0.04),
            ("fouled", with(360.0, NOMINAL, Upsets { fouling: 0.55, ..calm }), -0.25, -0.06),
            ("hot hall", with(360.0, NOMINAL, Upsets { ambient_k: 12.0, ..calm }), -0.08, -0.02),
        ];
        for (what, got, low, high) in rows {
            assert!((low..=high).contains(&got), "{what}: {got:.4} g");
        }
    }

    #[test]
    fn every_defect_really_fires() {
        let calm = Upsets::default();
        let rows = [
            (Cause::Short, 360.0, 1.3, Upsets { heater_k: -16.0, ..calm }, 0.3),
            (Cause::Burn, 360.0, 1.0, Upsets { heater_k: 22.0, ..calm }, 0.3),
            (Cause::Flash, 460.0, 0.85, calm, 0.3),
            (Cause::Sink, 290.0, 1.15, calm, 0.3),
            (Cause::Warp, 360.0, 1.0, Upsets { fouling: 0.6, ..calm }, 0.3),
        ];
        for (cause, hold_bar, viscosity, upsets, at_least) in rows {
            let inputs = ShotInputs { hold_bar, ..INPUTS };
            let got = share(cause, inputs, Disturbance { viscosity, ..NOMINAL }, upsets);
            let calm = share(cause, INPUTS, NOMINAL, Upsets::default());
            assert!(got >= at_least, "{cause:?}: {got}");
            assert!(calm < 0.005, "{cause:?} at nominal: {calm}");
        }
    }

    #[test]
    fn more_cool_time_cures_warp() {
        let fouled = Upsets { fouling: 0.55, ..Upsets::default() };
        let at = |cool_s: f64| settled(ShotInputs { cool_s, ..INPUTS }, NOMINAL, fouled).eject_c;
        assert!(at(16.0) - at(19.0) > 4.0);
    }
}
