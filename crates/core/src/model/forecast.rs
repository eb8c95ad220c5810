//! Forecasts of a score or a predicted quality some parts ahead, with an interval and the time to a
//! limit.
//!
//! A line through the newest values, older ones weighing less (discounted least squares, Brown
//! 1963), carried on by the horizon. Three things keep it honest:
//!
//! - **No trend without evidence.** The slope has a standard error, widened for residuals that
//!   resemble their neighbours (`(1 + r)/(1 - r)` with the lag-1 autocorrelation `r`). While the
//!   99 % interval of the slope spans zero there is no trend: the forecast is the level. Beyond it
//!   the slope counts `1 - (bound / slope)^2` times, so that a forecast never jumps when a trend
//!   begins to be one.
//! - **The interval answers for itself.** Its width is that of the line's own errors times a factor
//!   that grows when a forecast missed, and shrinks when it held, by as much as keeps the promised
//!   share in the long run, whatever the process does (online conformal inference, Gibbs and
//!   Candes 2021).
//! - **One absurd value counts little**: a residual weighs at most [`CLIP`] deviations.
//!
//! Time is counted in parts or samples. One that is missing moves the time on and says nothing.
//! Nothing is allocated after [`Forecaster::new`].

use alloc::vec;
use alloc::vec::Vec;

/// Farthest horizon [parts or samples].
pub const HORIZON_MAX: u16 = 1000;
/// Horizons that a forecast looks back on.
const LOOK_BACK: f64 = 3.0;
/// Fewest values that it looks back on.
const LOOK_BACK_MIN: f64 = 30.0;
/// Weight of values below which nothing is forecast: about 15 values.
const WEIGHT_MIN: f64 = 12.0;
/// Rows that the deviation and the autocorrelation of the residuals are found from.
const RESIDUALS: f64 = 50.0;
/// Values before residuals are believed.
const SETTLED: u32 = 5;
/// Largest residual, in deviations.
const CLIP: f64 = 4.0;
/// Normal quantile of the slope's interval: 99 %, because it is looked at with every part.
const SLOPE_QUANTILE: f64 = 2.576;
/// Normal quantile of the tenth and the ninetieth percentile of a time to a limit.
const TAIL_QUANTILE: f64 = 1.2816;
/// Factor of the interval at the start: 90 % of normal errors, and a little.
const FACTOR_START: f64 = 1.9;
/// Ends of the factor: a series that stood still must not make it vanish.
const FACTORS: (f64, f64) = (0.3, 30.0);
/// How much one miss or hit moves the factor, at most.
const LEARNING: f64 = 0.05;
/// Limits farther ahead than so many horizons are not told.
const FAR: f64 = 10.0;

/// What is forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastPlan {
    /// Parts or samples ahead, 1 to [`HORIZON_MAX`].
    pub horizon: u16,
    /// Share of values inside the interval, 0.5 to 0.99.
    pub level: f64,
    /// Lower limit of tolerance, in the unit of the values.
    pub low_limit: Option<f64>,
    /// Upper limit.
    pub high_limit: Option<f64>,
    /// Least value there can be, such as 0 for a score; the interval ends there.
    pub floor: Option<f64>,
}

/// Where the values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trend {
    /// The interval of the slope spans zero.
    None,
    /// They rise.
    Up,
    /// They fall.
    Down,
}

impl Trend {
    /// Every trend.
    pub const ALL: [Self; 3] = [Self::None, Self::Up, Self::Down];

    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A forecast made after the newest value. All numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// Expected at the horizon.
    pub value: f64,
    /// Lower end of the interval at the horizon.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Whether there is a trend, and which way.
    pub trend: Trend,
    /// Parts or samples until the trend passes a limit; 0 when the level is beyond one now. `None`
    /// without a trend towards a limit, or when it is farther than ten horizons.
    pub to_limit: Option<f64>,
    /// 10 % and 90 % quantiles of that time, as far as the line is unsure: 0 or more. `None` where
    /// there is no such time.
    pub to_limit_range: Option<(f64, f64)>,
}

impl Forecast {
    /// With an interval that also holds what the value itself may be off, such as the half width of
    /// a soft sensor's own interval, as of two errors that know nothing of each other.
    ///
    /// - `half`: 0 or more, in the unit of the values.
    #[must_use]
    pub fn widened(self, half: f64) -> Self {
        let joined = |own: f64| libm::sqrt(own * own + half * half);
        Self {
            low: self.value - joined(self.value - self.low),
            high: self.value + joined(self.high - self.value),
            ..self
        }
    }
}

impl ForecastPlan {
    /// Whether every number is in its range.
    pub fn fits(&self) -> bool {
        let finite = |x: Option<f64>| x.is_none_or(f64::is_finite);
        let limits = self.low_limit.zip(self.high_limit);
        (1..=HORIZON_MAX).contains(&self.horizon)
            && (0.5..=0.99).contains(&self.level)
            && finite(self.low_limit)
            && finite(self.high_limit)
            && finite(self.floor)
            && limits.is_none_or(|(low, high)| low < high)
    }
}

/// Sums over discounted values, the newest at position 0, older ones before it.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    /// Weights, weights times position, times position squared.
    s: [f64; 3],
    /// The same of squared weights.
    b: [f64; 3],
    /// Weights times value, and times position times value.
    y: [f64; 2],
}

/// The line through the values, from their weighted mean on.
#[derive(Clone, Copy, Debug)]
struct Line {
    mean: f64,
    /// Weighted mean position, at most 0.
    middle: f64,
    slope: f64,
    /// Variances of mean and slope, and their covariance, in residual variances.
    variance: [f64; 3],
}

/// Mean square and lag-1 product of the residuals.
#[derive(Clone, Copy, Debug, Default)]
struct Residuals {
    weight: f64,
    square: f64,
    weight_product: f64,
    product: f64,
    last: Option<f64>,
}

/// Memory of the forecasts of one series.
#[derive(Clone, Debug)]
pub struct Forecaster {
    plan: ForecastPlan,
    usable: bool,
    /// Share of its weight that a value keeps from one part to the next.
    keep: f64,
    /// First known value; sums are counted from it, so that a high level costs no digits.
    origin: Option<f64>,
    sums: Sums,
    residuals: Residuals,
    seen: u32,
    /// `[horizon]` value and half width forecast for the parts to come; NaN for none.
    ahead: Vec<(f64, f64)>,
    /// Place of the part that comes next.
    next: usize,
    factor: f64,
}

impl Forecaster {
    /// Allocates everything. A plan with a number outside its range never gives a forecast.
    pub fn new(plan: &ForecastPlan) -> Self {
        let horizon = plan.horizon.min(HORIZON_MAX);
        let look_back = (LOOK_BACK * f64::from(horizon)).max(LOOK_BACK_MIN);
        Self {
            plan: *plan,
            usable: plan.fits(),
            keep: 1.0 - 1.0 / look_back,
            origin: None,
            sums: Sums::default(),
            residuals: Residuals::default(),
            seen: 0,
            ahead: vec![(f64::NAN, f64::NAN); usize::from(horizon).max(1)],
            next: 0,
            factor: FACTOR_START,
        }
    }

    /// As if no value had been seen.
    pub fn reset(&mut self) {
        self.origin = None;
        self.sums = Sums::default();
        self.residuals = Residuals::default();
        self.seen = 0;
        self.ahead.fill((f64::NAN, f64::NAN));
        self.next = 0;
        self.factor = FACTOR_START;
    }

    /// Takes the value of the next part or sample in, and forecasts.
    ///
    /// - `value`: `None`, or no finite number, where it is unknown; the time moves on.
    ///
    /// `None` until some 15 values are known.
    pub fn observe(&mut self, value: Option<f64>) -> Option<Forecast> {
        if !self.usable {
            return None;
        }
        let known = value.filter(|x| x.is_finite());
        let said = self.ahead.get(self.next).copied().unwrap_or((f64::NAN, f64::NAN));
        self.judge(said, known);
        let before = self.line();
        self.sums.age(self.keep);
        match known {
            Some(x) => {
                let origin = *self.origin.get_or_insert(x);
                self.take(x - origin, before);
            }
            None => self.residuals.last = None,
        }
        let forecast = self.forecast();
        let kept = forecast.map_or((f64::NAN, f64::NAN), |(made, half)| (made.value, half));
        if let Some(slot) = self.ahead.get_mut(self.next) {
            *slot = kept;
        }
        self.next = (self.next + 1) % self.ahead.len().max(1);
        forecast.map(|(made, _)| made)
    }

    /// Moves the factor by what became of the forecast made a horizon ago.
    fn judge(&mut self, (said, half): (f64, f64), known: Option<f64>) {
        let Some(x) = known.filter(|_| said.is_finite()) else { return };
        let missed = libm::fabs(x - said) > half;
        let miss = if missed { 1.0 } else { 0.0 };
        // What is learnt late is learnt in smaller steps, or it would swing.
        let rate = LEARNING.min(1.0 / f64::from(self.plan.horizon));
        // In shares of itself, so that it stays above 0 and finds wide intervals as fast as
        // narrow ones.
        self.factor *= libm::exp(rate * (miss - (1.0 - self.plan.level)));
        self.factor = self.factor.clamp(FACTORS.0, FACTORS.1);
    }

    /// A value, counted from the origin.
    fn take(&mut self, y: f64, before: Option<Line>) {
        let mut y = y;
        self.seen = self.seen.saturating_add(1);
        if let Some(line) = before.filter(|_| self.seen > SETTLED) {
            let expected = line.at(1.0);
            let mut error = y - expected;
            if let Some(deviation) = self.residuals.deviation() {
                // Only once the deviation is known; a series that stood still may begin to move.
                let most = CLIP * deviation;
                if most > 0.0 && self.residuals.weight > WEIGHT_MIN {
                    error = error.clamp(-most, most);
                }
            }
            y = expected + error;
            self.residuals.take(error);
        }
        self.sums.take(y);
    }

    fn line(&self) -> Option<Line> {
        self.sums.line()
    }

    /// The forecast with the half width of its interval.
    fn forecast(&self) -> Option<(Forecast, f64)> {
        let line = self.line().filter(|_| self.sums.weight() >= WEIGHT_MIN)?;
        let deviation = self.residuals.deviation()?;
        let wider = self.residuals.inflation();
        let [mean, slope, both] = line.variance;
        let bound = SLOPE_QUANTILE * deviation * libm::sqrt(slope * wider);
        let size = libm::fabs(line.slope);
        let counts = if size > bound { 1.0 - (bound / size) * (bound / size) } else { 0.0 };
        let trend = match (counts > 0.0, line.slope > 0.0) {
            (false, _) => Trend::None,
            (true, true) => Trend::Up,
            (true, false) => Trend::Down,
        };
        let slope_used = counts * line.slope;
        let ahead = f64::from(self.plan.horizon) - line.middle;
        let origin = self.origin?;
        let value = origin + line.mean + slope_used * ahead;
        let reach = counts * ahead;
        let of_line = (mean + reach * reach * slope + 2.0 * reach * both).max(0.0);
        let half = self.factor * deviation * libm::sqrt(1.0 + wider * of_line);
        let floor = self.plan.floor.unwrap_or(f64::NEG_INFINITY);
        let to_limit = self.to_limit(origin, &line, trend);
        let forecast = Forecast {
            value: value.max(floor),
            low: (value - half).max(floor),
            high: (value + half).max(floor),
            trend,
            to_limit,
            to_limit_range: to_limit.map(|time| line.around(time, deviation, wider)),
        };
        let finite = [forecast.value, forecast.low, forecast.high].iter().all(|x| x.is_finite());
        finite.then_some((forecast, half))
    }

    /// By the whole slope: a share of it, as in the forecast, would always tell the time too late.
    fn to_limit(&self, origin: f64, line: &Line, trend: Trend) -> Option<f64> {
        let slope = if trend == Trend::None { 0.0 } else { line.slope };
        let level = origin + line.mean - slope * line.middle;
        let ForecastPlan { low_limit, high_limit, .. } = self.plan;
        if high_limit.is_some_and(|limit| level > limit)
            || low_limit.is_some_and(|limit| level < limit)
        {
            return Some(0.0);
        }
        let limit = match trend {
            Trend::None => return None,
            Trend::Up => high_limit?,
            Trend::Down => low_limit?,
        };
        let time = (limit - level) / slope;
        (time <= FAR * f64::from(self.plan.horizon)).then_some(time)
    }
}

impl Sums {
    /// Everything is one part older.
    fn age(&mut self, keep: f64) {
        let [s0, s1, s2] = self.s;
        let [b0, b1, b2] = self.b;
        let [y0, y1] = self.y;
        let square = keep * keep;
        self.s = [keep * s0, keep * (s1 - s0), keep * (s2 - 2.0 * s1 + s0)];
        self.b = [square * b0, square * (b1 - b0), square * (b2 - 2.0 * b1 + b0)];
        self.y = [keep * y0, keep * (y1 - y0)];
    }

    fn take(&mut self, y: f64) {
        self.s[0] += 1.0;
        self.b[0] += 1.0;
        self.y[0] += y;
    }

    fn weight(&self) -> f64 {
        self.s[0]
    }

    /// `None` with fewer than two values.
    fn line(&self) -> Option<Line> {
        let [s0, s1, s2] = self.s;
        let [b0, b1, b2] = self.b;
        let [y0, y1] = self.y;
        let middle = s1 / s0;
        let spread = s2 - s1 * middle;
        // Two neighbours have a spread of some 0.5; less is one value and rounding.
        if spread.is_nan() || spread <= 0.1 {
            return None;
        }
        let slope = (y1 - middle * y0) / spread;
        let mean = y0 / s0;
        let variance = [
            b0 / (s0 * s0),
            (b2 - 2.0 * middle * b1 + middle * middle * b0) / (spread * spread),
            (b1 - middle * b0) / (s0 * spread),
        ];
        let finite = [mean, slope].iter().chain(&variance).all(|x| x.is_finite());
        finite.then_some(Line { mean, middle, slope, variance })
    }
}

impl Line {
    /// Height at a position, 0 the newest part.
    fn at(&self, position: f64) -> f64 {
        self.mean + self.slope * (position - self.middle)
    }

    /// 10 % and 90 % quantiles of the time at which it passes a limit: the error of its height there
    /// over its slope. A trend is steeper than 2.6 of its standard errors, so that the quotient is
    /// close to normal.
    fn around(&self, time: f64, deviation: f64, wider: f64) -> (f64, f64) {
        if time <= 0.0 {
            return (0.0, 0.0);
        }
        let [mean, slope, both] = self.variance;
        let reach = time - self.middle;
        let height = (mean + reach * reach * slope + 2.0 * reach * both).max(0.0);
        let error = deviation * libm::sqrt(wider * height) / libm::fabs(self.slope);
        let half = TAIL_QUANTILE * error;
        ((time - half).max(0.0), time + half)
    }
}

impl Residuals {
    fn take(&mut self, error: f64) {
        let keep = 1.0 - 1.0 / RESIDUALS;
        self.weight = keep * self.weight + 1.0;
        self.square = keep * self.square + error * error;
        if let Some(last) = self.last {
            self.weight_product = keep * self.weight_product + 1.0;
            self.product = keep * self.product + error * last;
        }
        self.last = Some(error);
    }

    /// `None` before there are a few.
    fn deviation(&self) -> Option<f64> {
        (self.weight >= 4.0).then(|| libm::sqrt(self.square / self.weight))
    }

    /// How much more the line errs because residuals resemble their neighbours.
    fn inflation(&self) -> f64 {
        if self.weight_product < 4.0 || self.square <= 0.0 {
            return 1.0;
        }
        let r = (self.product / self.weight_product) / (self.square / self.weight);
        let r = r.clamp(0.0, 0.98);
        (1.0 + r) / (1.0 - r)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::Noise;

    fn plan(horizon: u16) -> ForecastPlan {
        ForecastPlan {
            horizon,
            level: 0.9,
            low_limit: Some(-50.0),
            high_limit: Some(100.0),
            floor: None,
        }
    }

    fn last(plan: &ForecastPlan, values: impl Iterator<Item = f64>) -> Option<Forecast> {
        let mut forecaster = Forecaster::new(plan);
        values.map(|x| forecaster.observe(Some(x))).last().flatten()
    }

    /// A line without noise goes on as it is, far from the origin too, and says when it ends.
    #[test]
    fn a_line_goes_on() {
        for base in [0.0, 1e6] {
            let high_limit = Some(base + 100.0);
            let plan = ForecastPlan { high_limit, low_limit: None, ..plan(10) };
            let found = last(&plan, (0..40).map(|i| base + 0.5 * f64::from(i))).unwrap();
            assert!(libm::fabs(found.value - (base + 24.5)) < 1e-6, "{found:?}");
            assert_eq!(found.trend, Trend::Up);
            assert_eq!(found.to_limit, None, "161 parts are more than ten horizons");
        }
        let near = ForecastPlan { high_limit: Some(25.0), ..plan(10) };
        let found = last(&near, (0..40).map(|i| 0.5 * f64::from(i))).unwrap();
        assert!(libm::fabs(found.to_limit.unwrap() - 11.0) < 1e-6, "{found:?}");
        let falling = last(&plan(10), (0..40).map(|i| -f64::from(i))).unwrap();
        assert_eq!(falling.trend, Trend::Down);
        assert!(libm::fabs(falling.to_limit.unwrap() - 11.0) < 1e-6, "{falling:?}");
        let beyond = last(&plan(10), (0..40).map(|i| 200.0 + f64::from(i % 3))).unwrap();
        assert_eq!(beyond.to_limit, Some(0.0));
    }

    /// Discounted least squares from its definition, sum by sum.
    #[test]
    fn sums_are_those_of_the_definition() {
        let (mut noise, mut sums) = (Noise::new(3), Sums::default());
        let keep = 0.95;
        let values: Vec<Option<f64>> =
            (0..50).map(|i| (i % 7 != 3).then(|| noise.normal())).collect();
        for value in &values {
            sums.age(keep);
            if let Some(y) = value {
                sums.take(*y);
            }
        }
        let line = sums.line().unwrap();
        let points = || {
            let aged = values.iter().rev().enumerate();
            aged.filter_map(|(age, y)| {
                let age = f64::from(u32::try_from(age).unwrap());
                Some((libm::pow(keep, age), -age, (*y)?))
            })
        };
        let total: f64 = points().map(|(w, _, _)| w).sum();
        let middle = points().map(|(w, x, _)| w * x).sum::<f64>() / total;
        let mean = points().map(|(w, _, y)| w * y).sum::<f64>() / total;
        let spread: f64 = points().map(|(w, x, _)| w * (x - middle) * (x - middle)).sum();
        let slope = points().map(|(w, x, y)| w * (x - middle) * y).sum::<f64>() / spread;
        let of_slope =
            points().map(|(w, x, _)| libm::pow(w * (x - middle) / spread, 2.0)).sum::<f64>();
        let of_mean = points().map(|(w, _, _)| w * w).sum::<f64>() / (total * total);
        let both = points().map(|(w, x, _)| w * w * (x - middle)).sum::<f64>() / (total * spread);
        for (found, expect) in [
            (line.middle, middle),
            (line.mean, mean),
            (line.slope, slope),
            (line.variance[0], of_mean),
            (line.variance[1], of_slope),
            (line.variance[2], both),
        ] {
            assert!(libm::fabs(found - expect) < 1e-10, "{found} {expect}");
        }
    }

    /// What a series is made of: memory of the noise, spread of a random walk, slope.
    fn series(seed: u64, n: u32, rho: f64, walk: f64, slope: f64) -> Vec<f64> {
        let mut noise = Noise::new(seed);
        let (mut x, mut level) = (0.0, 5.0);
        let draw = |i: u32| {
            x = rho * x + libm::sqrt(1.0 - rho * rho) * noise.normal();
            level += walk * noise.normal();
            level + slope * f64::from(i) + x
        };
        (0..n).map(draw).collect()
    }

    /// Share of values inside the interval forecast for them a horizon before, the first 200 left
    /// out, and share of parts with a trend.
    fn coverage(horizon: u16, values: &[f64]) -> (f64, f64) {
        let mut forecaster = Forecaster::new(&plan(horizon));
        let made: Vec<_> = values.iter().map(|x| forecaster.observe(Some(*x))).collect();
        let (mut held, mut all, mut trends) = (0.0, 0.0, 0.0);
        let pairs = made.iter().zip(values.iter().skip(usize::from(horizon)));
        for (forecast, value) in pairs.skip(200) {
            let Some(forecast) = forecast else { continue };
            all += 1.0;
            held += f64::from(u8::from(forecast.low <= *value && *value <= forecast.high));
            trends += f64::from(u8::from(forecast.trend != Trend::None));
        }
        (held / all, trends / all)
    }

    /// The 10 % and 90 % quantiles of the time to a limit: about four in five true times lie
    /// between them, of noise without and with memory.
    #[test]
    fn ranges_of_the_time_hold() {
        for rho in [0.0, 0.5] {
            let (mut told, mut held) = (0.0, 0.0);
            for seed in 0..200 {
                // From 5 at 0.1 a part: 20 is passed at part 150, which is 50 parts from part 100.
                let values = series(500 + seed, 150, rho, 0.0, 0.1);
                let plan = ForecastPlan { high_limit: Some(20.0), ..plan(20) };
                let found = last(&plan, values.into_iter().take(101)).unwrap();
                let Some((early, late)) = found.to_limit_range else { continue };
                let time = found.to_limit.unwrap();
                assert!(0.0 <= early && early <= time && time <= late, "{found:?}");
                told += 1.0;
                held += f64::from(u8::from(early <= 50.0 && 50.0 <= late));
            }
            let share = held / told;
            assert!(told > 150.0 && (0.7..0.92).contains(&share), "{rho}: {share} of {told}");
        }
    }

    /// The promise: 90 % intervals hold between 88 and 92 % on noise without and with memory, a
    /// slow drift, a random walk, and noise that doubles half way; and noise is no trend.
    #[test]
    fn intervals_hold() {
        for horizon in [1, 5, 20] {
            for (what, rho, walk, slope) in [
                ("noise", 0.0, 0.0, 0.0),
                ("memory", 0.7, 0.0, 0.0),
                ("drift", 0.3, 0.0, 0.02),
                ("walk", 0.0, 0.3, 0.0),
            ] {
                let (mut held, mut trends) = (0.0, 0.0);
                for seed in 0..5 {
                    let found = coverage(horizon, &series(seed, 2000, rho, walk, slope));
                    held += found.0 / 5.0;
                    trends += found.1 / 5.0;
                }
                assert!((0.88..=0.92).contains(&held), "{what} at {horizon}: {held}");
                if walk == 0.0 && slope == 0.0 {
                    assert!(trends < 0.05, "{what} at {horizon}: trends {trends}");
                }
            }
            let mut wilder = series(9, 3000, 0.0, 0.0, 0.0);
            wilder.iter_mut().skip(1500).for_each(|x| *x = 5.0 + 2.0 * (*x - 5.0));
            let (held, _) = coverage(horizon, &wilder);
            assert!((0.88..=0.92).contains(&held), "wilder at {horizon}: {held}");
        }
    }

    /// A drift in noise is seen, and the time to the limit comes true within a quarter.
    #[test]
    fn time_to_the_limit_comes_true() {
        let (mut told, mut right) = (0, 0);
        for seed in 0..20 {
            // From 5 at 0.1 a part: 20 is passed at part 150.
            let values = series(100 + seed, 150, 0.3, 0.0, 0.1);
            let plan = ForecastPlan { high_limit: Some(20.0), ..plan(20) };
            let mut forecaster = Forecaster::new(&plan);
            for (part, x) in values.iter().enumerate() {
                let forecast = forecaster.observe(Some(*x));
                if part == 100 {
                    let forecast = forecast.unwrap();
                    let Some(time) = forecast.to_limit else { continue };
                    told += 1;
                    right += usize::from((37.0..=63.0).contains(&time));
                }
            }
        }
        assert!(told >= 19 && right >= 18, "{told} told, {right} right");
    }

    /// Missing values move the time on; an absurd one is forgotten; the same values give the same
    /// bits after a reset; nothing is said at the start, or for a plan that is none.
    #[test]
    fn gaps_outliers_and_starts() {
        let line = |i: u32| 0.5 * f64::from(i);
        let mut forecaster = Forecaster::new(&plan(10));
        let mut run = |skip: bool| {
            forecaster.reset();
            let values = (0..60).map(|i| (!skip || i % 3 != 1).then(|| line(i)));
            values.map(|x| forecaster.observe(x)).last().flatten().unwrap()
        };
        let whole = run(false);
        assert!(libm::fabs(run(true).value - whole.value) < 1e-6);
        assert_eq!(run(false), whole);

        let mut noise = Noise::new(5);
        let mut forecaster = Forecaster::new(&plan(5));
        for i in 0..200 {
            let made = forecaster.observe(Some(3.0 + noise.normal()));
            assert_eq!(made.is_some(), i >= 15, "{i}");
        }
        let made = forecaster.observe(Some(1e12)).unwrap();
        assert!(libm::fabs(made.value - 3.0) < 2.0, "{made:?}");
        assert!(forecaster.observe(Some(f64::NAN)).is_some());
        for bad in [
            ForecastPlan { horizon: 0, ..plan(5) },
            ForecastPlan { horizon: HORIZON_MAX + 1, ..plan(5) },
            ForecastPlan { level: 1.0, ..plan(5) },
            ForecastPlan { high_limit: Some(f64::NAN), ..plan(5) },
        ] {
            assert_eq!(last(&bad, (0..40).map(line)), None);
        }
        let floored = ForecastPlan { floor: Some(0.0), ..plan(10) };
        let made = last(&floored, (0..40).map(|i| 20.0 - line(i))).unwrap();
        assert_eq!((made.value, made.low), (0.0, 0.0));
        // Values that do not change: a forecast without width.
        let made = last(&plan(10), (0..40).map(|_| 7.0)).unwrap();
        assert_eq!((made.value, made.low, made.high, made.trend), (7.0, 7.0, 7.0, Trend::None));
    }
}
