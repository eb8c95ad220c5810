//! Random draws that depend on nothing but seed, part number and stream.
//!
//! A stream generator would hand a different number to part 700 as soon as one arm of an
//! experiment asked for one draw more. Here every draw is a hash of its address, so two
//! controllers on the same seed meet exactly the same disturbances.

/// What a draw is for. Each stream is independent of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Order of the viscosity lots.
    LotOrder = 1,
    /// Length of a lot.
    LotLength,
    /// Small deviation of a lot from the centre of its stratum.
    LotJitter,
    /// Innovation of the viscosity walk inside a lot.
    Viscosity,
    /// Innovation of the coolant temperature walk.
    Coolant,
    /// Innovation of the ambient temperature walk.
    Ambient,
    /// Place of the contaminated part in its block.
    Contamination,
    /// Place of the streaked part in its block.
    Streak,
    /// Shot-to-shot weight scatter.
    Weight,
    /// Short shot.
    Short,
    /// Burn mark.
    Burn,
    /// Flash.
    Flash,
    /// Sink mark.
    Sink,
    /// Warp.
    Warp,
    /// Weighing at inspection.
    Scale,
    /// First of the sensor streams; sensor `i` uses [`Draws::sensor`].
    Sensor = 64,
}

/// The generator: a seed and pure functions of it.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    seed: u64,
}

impl Draws {
    /// A generator for one seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Uniform in (0, 1), never 0 or 1.
    #[must_use]
    pub fn uniform(&self, part: u64, stream: Stream) -> f64 {
        to_unit(self.bits(part, stream as u64))
    }

    /// Standard normal (Box-Muller), dimensionless.
    #[must_use]
    pub fn normal(&self, part: u64, stream: Stream) -> f64 {
        self.normal_at(part, stream as u64)
    }

    /// Standard normal of the noise of sensor number `index`, dimensionless.
    #[must_use]
    pub fn sensor(&self, part: u64, index: usize) -> f64 {
        self.normal_at(part, Stream::Sensor as u64 + index as u64)
    }

    fn normal_at(&self, part: u64, stream: u64) -> f64 {
        let radius = (-2.0 * to_unit(self.bits(part, stream)).ln()).sqrt();
        // The second half of the pair lives in its own range of streams.
        let angle = core::f64::consts::TAU * to_unit(self.bits(part, stream + (1 << 32)));
        radius * angle.cos()
    }

    fn bits(&self, part: u64, stream: u64) -> u64 {
        mix(mix(mix(self.seed) ^ part) ^ stream)
    }
}

/// One step of splitmix64 (Steele, Lea, Flood 2014): add the golden ratio, then finalise.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a number in the middle of its cell, so that 0 and 1 cannot occur.
fn to_unit(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::{Draws, Stream, mix};

    #[test]
    fn the_hash_is_splitmix64() {
        // First output of the reference implementation for seed 0.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let draws = Draws::new(3);
        let n = 20_000;
        let (mut mean, mut square, mut flat) = (0.0, 0.0, 0.0);
        for part in 0..n {
            let z = draws.normal(part, Stream::Weight);
            mean += z / n as f64;
            square += z * z / n as f64;
            flat += draws.uniform(part, Stream::Flash) / n as f64;
        }
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((square - 1.0).abs() < 0.04, "variance {square}");
        assert!((flat - 0.5).abs() < 0.01, "uniform mean {flat}");
    }

    #[test]
    fn streams_and_seeds_differ() {
        let draws = Draws::new(1);
        assert_ne!(draws.bits(5, 1), draws.bits(5, 2));
        assert_ne!(draws.bits(5, 1), draws.bits(6, 1));
        assert_ne!(draws.bits(5, 1), Draws::new(2).bits(5, 1));
    }
}
