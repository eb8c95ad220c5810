//! Seeded randomness: the same seed draws the same numbers on every machine.

/// `SplitMix64` (Steele, Lea, Flood 2014); normal draws by Box-Muller with libm.
#[derive(Clone, Debug)]
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) + 1) as f64 / 9_007_199_254_740_992.0
    }

    /// Two independent standard normal draws.
    pub(crate) fn normals(&mut self) -> (f64, f64) {
        let radius = libm::sqrt(-2.0 * libm::log(self.uniform()));
        let (sin, cos) = libm::sincos(std::f64::consts::TAU * self.uniform());
        (radius * cos, radius * sin)
    }

    /// One standard normal draw.
    #[cfg(test)]
    pub(crate) fn normal(&mut self) -> f64 {
        self.normals().0
    }

    /// Uniform in 0..n; 0 when n is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        // The bias of the remainder is below n / 2^64.
        usize::try_from(self.bits().checked_rem(n as u64).unwrap_or(0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published first outputs of `SplitMix64` from seed 1234567, and the first two moments.
    #[test]
    fn draws() {
        let mut noise = Noise::new(1_234_567);
        assert_eq!(noise.bits(), 6_457_827_717_110_365_317);
        assert_eq!(noise.bits(), 3_203_168_211_198_807_973);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..100_000 {
            let x = noise.normal();
            sum += x;
            squares += x * x;
        }
        assert!((sum / 1e5).abs() < 0.01 && (squares / 1e5 - 1.0).abs() < 0.02);
    }
}
