//! What the machine cannot help: raw material, weather, wear, dirt.
//!
//! [`Disturbances`] advances once per part and never looks at a setpoint, so the sequence is a
//! function of the seed alone. The lot levels are stratified: every eight lots cover the same
//! eight quantiles of a normal distribution in a seeded order. Free sampling of some eight lots
//! per run would let the open-loop scrap rate wander by a factor of four between seeds.

use super::noise::{Draws, Stream};

/// Standard deviation of the viscosity between lots, fraction of nominal.
pub const LOT_SD: f64 = 0.13;
/// Shortest lot \[parts].
pub const LOT_PARTS_MIN: f64 = 250.0;
/// Longest lot \[parts].
pub const LOT_PARTS_MAX: f64 = 450.0;
/// Lots per stratified block.
const LOTS: u64 = 8;
/// Mid-quantiles of a standard normal in eight strata, scaled to unit variance.
const LOT_LEVELS: [f64; LOTS as usize] = [-1.66, -0.96, -0.53, -0.17, 0.17, 0.53, 0.96, 1.66];
/// Largest deviation of a lot from its stratum, in units of `LOT_SD`.
const LOT_JITTER: f64 = 0.03;
/// Length stratum of each level. Fixed: the share of parts in the two extreme lots decides the
/// open-loop scrap rate.
const LOT_LENGTHS: [f64; LOTS as usize] = [3.0, 6.0, 1.0, 7.0, 0.0, 5.0, 2.0, 4.0];
/// Parts after which a new lot has displaced 63 % of the old one in hopper and barrel.
const LOT_BLEND_PARTS: f64 = 10.0;
/// Viscosity walk inside a lot: standard deviation (fraction) and correlation length \[parts].
const VISCOSITY_WALK: (f64, f64) = (0.030, 20.0);
/// Coolant walk: standard deviation \[K] and correlation length \[parts].
const COOLANT_WALK: (f64, f64) = (0.25, 60.0);
/// Ambient walk: standard deviation \[K] and correlation length \[parts].
const AMBIENT_WALK: (f64, f64) = (0.5, 80.0);
/// Amplitude of the day cycle of the ambient temperature \[K].
const DAY_AMBIENT_K: f64 = 4.0;
/// Share of an ambient change that reaches the coolant.
const COOLANT_PER_AMBIENT: f64 = 0.15;
/// Parts in a day at the nominal cycle. By parts, not by time: the cycle time is a setpoint,
/// and two arms must see the same weather at the same part.
const DAY_PARTS: f64 = 86_400.0 / 24.0;
/// Nominal ambient temperature \[degC].
pub const AMBIENT_C: f64 = 23.0;
/// Nominal coolant temperature \[degC].
pub const COOLANT_C: f64 = 28.0;
/// Leak of a new check ring, fraction of the flow.
pub const LEAK_NEW: f64 = 0.01;
/// Normal wear of the check ring, fraction of the flow per part.
const LEAK_PER_PART: f64 = 0.008 / 3000.0;
/// One part in this many is contaminated: 0.8 %.
pub const CONTAMINATION_PARTS: u64 = 125;

/// One part in this many shows a silver streak: 0.25 %.
pub const STREAK_PARTS: u64 = 400;

/// Everything that acts on one shot from outside, before any scheduled fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Disturbance {
    /// Part number, from 1.
    pub part: u64,
    /// Viscosity relative to nominal, dimensionless.
    pub viscosity: f64,
    /// Check-ring leak, fraction of the flow.
    pub leak: f64,
    /// Coolant inlet temperature \[degC].
    pub coolant_c: f64,
    /// Hall temperature \[degC].
    pub ambient_c: f64,
    /// A foreign particle is in this part.
    pub contaminated: bool,
    /// A moist pellet has left a silver streak on this part.
    pub streaked: bool,
}

/// The seeded sequence of disturbances.
#[derive(Debug, Clone)]
pub struct Disturbances {
    draws: Draws,
    part: u64,
    lot: u64,
    lot_ends: u64,
    lot_level: f64,
    blended: f64,
    viscosity_walk: f64,
    coolant_walk: f64,
    ambient_walk: f64,
    ring_fitted: u64,
}

impl Disturbances {
    /// The sequence of `seed`, before its first part.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut new = Self {
            draws: Draws::new(seed),
            part: 0,
            lot: 0,
            lot_ends: 0,
            lot_level: 0.0,
            blended: 0.0,
            viscosity_walk: 0.0,
            coolant_walk: 0.0,
            ambient_walk: 0.0,
            ring_fitted: 0,
        };
        new.open_lot();
        new.blended = new.lot_level;
        new
    }

    /// A new check ring is fitted: its leak starts again at [`LEAK_NEW`].
    pub fn replace_check_ring(&mut self) {
        self.ring_fitted = self.part;
    }

    /// Number of the raw-material lot in use, from 0.
    #[must_use]
    pub fn lot(&self) -> u64 {
        self.lot
    }

    /// The disturbances of the next part.
    pub fn advance(&mut self) -> Disturbance {
        self.part += 1;
        let part = self.part;
        if part > self.lot_ends {
            self.lot += 1;
            self.open_lot();
        }
        self.blended += (self.lot_level - self.blended) / LOT_BLEND_PARTS;
        self.viscosity_walk =
            walk(self.viscosity_walk, VISCOSITY_WALK, self.draws.normal(part, Stream::Viscosity));
        self.coolant_walk =
            walk(self.coolant_walk, COOLANT_WALK, self.draws.normal(part, Stream::Coolant));
        self.ambient_walk =
            walk(self.ambient_walk, AMBIENT_WALK, self.draws.normal(part, Stream::Ambient));
        let phase = core::f64::consts::TAU * part as f64 / DAY_PARTS;
        let weather = DAY_AMBIENT_K * phase.sin() + self.ambient_walk;
        Disturbance {
            part,
            viscosity: 1.0 + LOT_SD * self.blended + self.viscosity_walk,
            leak: LEAK_NEW + LEAK_PER_PART * (part - self.ring_fitted) as f64,
            coolant_c: COOLANT_C + COOLANT_PER_AMBIENT * weather + self.coolant_walk,
            ambient_c: AMBIENT_C + weather,
            contaminated: self.one_in(CONTAMINATION_PARTS, Stream::Contamination),
            streaked: self.one_in(STREAK_PARTS, Stream::Streak),
        }
    }

    /// Exactly one part of each block of `parts`, at a drawn place: free draws would let the
    /// share of what no controller can prevent wander between seeds.
    fn one_in(&self, parts: u64, stream: Stream) -> bool {
        let index = self.part - 1;
        let place = self.draws.uniform(index / parts, stream);
        index % parts == (place * parts as f64) as u64
    }

    fn open_lot(&mut self) {
        let (block, place) = (self.lot / LOTS, (self.lot % LOTS) as usize);
        let level = shuffled(&self.draws, block)[place];
        let jitter = 2.0 * self.draws.uniform(self.lot, Stream::LotJitter) - 1.0;
        self.lot_level = LOT_LEVELS[level] + LOT_JITTER * jitter;
        let within = self.draws.uniform(self.lot, Stream::LotLength);
        let stratum = (LOT_LENGTHS[level] + within) / LOTS as f64;
        let parts = LOT_PARTS_MIN + (LOT_PARTS_MAX - LOT_PARTS_MIN) * stratum;
        self.lot_ends += parts.round() as u64;
    }
}

/// One step of an Ornstein-Uhlenbeck walk with stationary sd and correlation length `(sd, n)`.
fn walk(state: f64, (sd, length): (f64, f64), z: f64) -> f64 {
    let keep = (-1.0 / length).exp();
    keep * state + sd * (1.0 - keep * keep).sqrt() * z
}

/// A seeded order of the strata of one block. It opens with a middle stratum, so that a run
/// that ends shortly after a block boundary does not hinge on one extreme lot.
fn shuffled(draws: &Draws, block: u64) -> [usize; LOTS as usize] {
    let mut order: [usize; LOTS as usize] = core::array::from_fn(|i| i);
    let draw = |i: usize| draws.uniform(block * LOTS + i as u64, Stream::LotOrder);
    for i in (1..order.len()).rev() {
        order.swap(i, (draw(i) * (i + 1) as f64) as usize);
    }
    if let Some(middle) = order.iter().position(|&s| (2..6).contains(&s)) {
        order.swap(0, middle);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{CONTAMINATION_PARTS, Disturbances, LOT_SD};

    fn run(seed: u64, parts: usize) -> Vec<super::Disturbance> {
        let mut sequence = Disturbances::new(seed);
        (0..parts).map(|_| sequence.advance()).collect()
    }

    #[test]
    fn a_seed_gives_one_sequence() {
        assert_eq!(run(4, 500), run(4, 500));
        assert_ne!(run(4, 500), run(5, 500));
    }

    #[test]
    fn lots_spread_as_stated() {
        for seed in 1..=10 {
            let all = run(seed, 2800);
            let mean = all.iter().map(|d| d.viscosity).sum::<f64>() / all.len() as f64;
            let var = all.iter().map(|d| (d.viscosity - mean).powi(2)).sum::<f64>();
            let sd = (var / all.len() as f64).sqrt();
            assert!((mean - 1.0).abs() < 0.05, "seed {seed}: mean {mean}");
            assert!((sd - LOT_SD).abs() < 0.035, "seed {seed}: sd {sd}");
        }
    }

    #[test]
    fn contamination_is_one_in_125() {
        let n = run(2, 10 * CONTAMINATION_PARTS as usize).iter().filter(|d| d.contaminated).count();
        assert_eq!(n, 10);
    }

    #[test]
    fn a_new_ring_stops_the_leak() {
        let mut sequence = Disturbances::new(1);
        for _ in 0..2000 {
            sequence.advance();
        }
        let worn = sequence.advance().leak;
        sequence.replace_check_ring();
        assert!(sequence.advance().leak < worn);
    }
}
