//! HDPE: how it flows, how dense it is, how it cools. SI units throughout.
//!
//! Constants are those of krebeljk/openInjMoldSim, `tutorials/demo/dogbone/constant/
//! thermophysicalProperties.poly`; the Tait form and its 0.0894 are those of the Moldflow help.

/// 0 degC in kelvin.
pub const ZERO_CELSIUS_K: f64 = 273.15;

/// Cross-WLF constants of the viscosity.
mod cross {
    /// Power-law index, dimensionless.
    pub(super) const N: f64 = 0.393_539;
    /// Stress at the onset of shear thinning \[Pa].
    pub(super) const TAU_PA: f64 = 64_568.9;
    /// Zero-shear viscosity at the reference temperature [Pa s].
    pub(super) const D1: f64 = 3.761_74e15;
    /// Reference temperature \[K].
    pub(super) const D2_K: f64 = 153.15;
    /// WLF constant, dimensionless.
    pub(super) const A1: f64 = 33.21;
    /// WLF constant \[K].
    pub(super) const A2_K: f64 = 51.6;
}

/// Two-domain Tait constants of the specific volume, SI.
mod tait {
    pub(super) const C: f64 = 0.0894;
    pub(super) const B1M: f64 = 1.249_529_9e-3;
    pub(super) const B2M: f64 = 1.026e-6;
    pub(super) const B3M: f64 = 1.042_149_833_644e8;
    pub(super) const B4M: f64 = 4.941e-3;
    pub(super) const B1S: f64 = 1.070_046e-3;
    pub(super) const B2S: f64 = 2.077e-7;
    pub(super) const B3S: f64 = 3.324_195_028_1e8;
    pub(super) const B4S: f64 = 2.46e-6;
    pub(super) const B5: f64 = 390.65;
    pub(super) const B6: f64 = 1.543e-7;
    pub(super) const B7: f64 = 1.898_58e-4;
    pub(super) const B8: f64 = 0.028_347_7;
    pub(super) const B9: f64 = 1.023e-8;
    /// Width over which the two domains are blended \[K]. The published sets jump at the
    /// transition, by +0.83 % at 0 bar and -1.3 % at 600 bar, which no real part does.
    pub(super) const BLEND_K: f64 = 10.0;
}

/// Thermal diffusivity of the melt and the setting part [m2/s].
pub const DIFFUSIVITY_M2_S: f64 = 0.95e-7;
/// Melt density times heat capacity [J/(m3 K)], for heating by the pressure spent on flow.
pub const HEAT_CAPACITY_J_M3_K: f64 = 740.0 * 2500.0;
/// Factor of the exact power-law solution over the Newtonian slit, `((2n+1)/(3n))^n`.
pub const RABINOWITSCH: f64 = 1.18;

/// Zero-shear viscosity [Pa s] at `temp_k` \[K].
#[must_use]
pub fn zero_shear_viscosity(temp_k: f64) -> f64 {
    let dt = temp_k - cross::D2_K;
    cross::D1 * (-cross::A1 * dt / (cross::A2_K + dt)).exp()
}

/// Viscosity [Pa s] at `temp_k` \[K] and `shear_rate` [1/s].
#[must_use]
pub fn viscosity(temp_k: f64, shear_rate: f64) -> f64 {
    let zero = zero_shear_viscosity(temp_k);
    zero / (1.0 + (zero * shear_rate / cross::TAU_PA).powf(1.0 - cross::N))
}

/// Specific volume [m3/kg] at `temp_k` \[K] and `pressure_pa` \[Pa], domains blended over 10 K.
#[must_use]
pub fn specific_volume(temp_k: f64, pressure_pa: f64) -> f64 {
    let from_transition = temp_k - transition_k(pressure_pa);
    let x = (from_transition / tait::BLEND_K + 0.5).clamp(0.0, 1.0);
    let melt_share = x * x * (3.0 - 2.0 * x);
    melt_share * melt_volume(temp_k, pressure_pa)
        + (1.0 - melt_share) * solid_volume(temp_k, pressure_pa)
}

/// Transition temperature \[K] at `pressure_pa` \[Pa].
#[must_use]
pub fn transition_k(pressure_pa: f64) -> f64 {
    tait::B5 + tait::B6 * pressure_pa
}

/// Time \[s] until the mean of a wall of `thickness_m` has cooled from `melt_k` to `target_k`
/// against a mould at `mould_k`; 0 when it starts colder than that.
#[must_use]
pub fn cooling_time(thickness_m: f64, melt_k: f64, mould_k: f64, target_k: f64) -> f64 {
    let ratio = SLAB_FIRST_TERM * (melt_k - mould_k) / (target_k - mould_k).max(1.0);
    cooling_constant(thickness_m) * ratio.max(1.0).ln()
}

/// Mean temperature \[K] of a wall of `thickness_m` after `time_s`; inverse of [`cooling_time`].
#[must_use]
pub fn cooled_mean(thickness_m: f64, melt_k: f64, mould_k: f64, time_s: f64) -> f64 {
    mould_k + SLAB_FIRST_TERM * (melt_k - mould_k) * (-time_s / cooling_constant(thickness_m)).exp()
}

/// First Fourier coefficient of the mean of a slab, 8/pi^2.
const SLAB_FIRST_TERM: f64 = 8.0 / (core::f64::consts::PI * core::f64::consts::PI);

fn cooling_constant(thickness_m: f64) -> f64 {
    thickness_m.powi(2) / (core::f64::consts::PI.powi(2) * DIFFUSIVITY_M2_S)
}

fn melt_volume(temp_k: f64, pressure_pa: f64) -> f64 {
    let dt = temp_k - tait::B5;
    let b = tait::B3M * (-tait::B4M * dt).exp();
    (tait::B1M + tait::B2M * dt) * (1.0 - tait::C * (pressure_pa / b).ln_1p())
}

fn solid_volume(temp_k: f64, pressure_pa: f64) -> f64 {
    let dt = temp_k - tait::B5;
    let b = tait::B3S * (-tait::B4S * dt).exp();
    let crystals = tait::B7 * (tait::B8 * dt - tait::B9 * pressure_pa).exp();
    (tait::B1S + tait::B2S * dt) * (1.0 - tait::C * (pressure_pa / b).ln_1p()) + crystals
}

#[cfg(test)]
mod tests {
    use super::{
        ZERO_CELSIUS_K, cooled_mean, cooling_time, specific_volume, transition_k, viscosity,
        zero_shear_viscosity,
    };

    #[test]
    fn reference_values_hold() {
        let melt = 220.0 + ZERO_CELSIUS_K;
        let rows = [
            ("density, 1 bar", 1.0 / specific_volume(melt, 1e5), 738.28, 0.01),
            ("zero shear", zero_shear_viscosity(melt), 1129.6, 0.1),
            ("1000 per second", viscosity(melt, 1000.0), 169.3, 0.1),
        ];
        for (what, got, expect, within) in rows {
            assert!((got - expect).abs() < within, "{what}: {got}, expected {expect}");
        }
    }

    #[test]
    fn the_transition_has_no_jump() {
        for bar in [0.0, 100.0, 300.0, 600.0] {
            let p = bar * 1e5;
            let start = transition_k(p) - 10.0;
            let mut last = specific_volume(start, p);
            for i in 1..=200 {
                let next = specific_volume(start + f64::from(i) * 0.1, p);
                assert!((next / last - 1.0).abs() < 1e-3, "jump at {bar} bar, step {i}");
                last = next;
            }
        }
    }

    #[test]
    fn cooling_formulas_are_inverse() {
        let t = cooling_time(3e-3, 493.0, 309.0, 340.0);
        assert!((cooled_mean(3e-3, 493.0, 309.0, t) - 340.0).abs() < 1e-9);
    }

    #[test]
    fn pressure_packs_and_heat_thins() {
        assert!(specific_volume(405.0, 3e7) < specific_volume(405.0, 1e7));
        assert!(viscosity(500.0, 100.0) < viscosity(490.0, 100.0));
    }
}
