//! Columns on their way from an input of the graph to the model: scaled and shifted in `f32`, as a
//! runtime of ONNX does it.
//!
//! A split on a scaled column becomes a split on the input itself. That is exact: the arithmetic is
//! monotone, so that the last input that still goes one way is found by bisection over all numbers
//! of `f32`, each tried with the very arithmetic of the graph.

/// Most steps of arithmetic on one column.
pub(super) const CHAIN_MAX: usize = 16;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    /// Place of the input.
    pub(super) input: u16,
    /// Whether its numbers are `f64`, which trees here do not compare.
    pub(super) double: bool,
    chain: Vec<Arithmetic>,
}

/// A step of arithmetic with a constant that is finite, and not 0 where it divides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arithmetic {
    Add(f32),
    Subtract(f32),
    Multiply(f32),
    Divide(f32),
    /// The constant less the column.
    From(f32),
}

/// Which inputs go the way of "at most".
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    All,
    None,
    /// Those of at most this.
    AtMost(f32),
    /// Those above this.
    Above(f32),
}

impl Column {
    pub(super) const fn of_input(input: u16, double: bool) -> Self {
        Self { input, double, chain: Vec::new() }
    }

    /// The column as `f32`.
    pub(super) fn single(&self) -> Self {
        Self { double: false, ..self.clone() }
    }

    /// The column after one more step; `None` when a constant is none, or there are too many steps.
    pub(super) fn then(&self, step: Arithmetic) -> Option<Self> {
        let (Arithmetic::Add(c)
        | Arithmetic::Subtract(c)
        | Arithmetic::Multiply(c)
        | Arithmetic::Divide(c)
        | Arithmetic::From(c)) = step;
        let zero = matches!(step, Arithmetic::Divide(c) if c.to_bits() << 1 == 0);
        if !c.is_finite() || zero || self.chain.len() >= CHAIN_MAX {
            return None;
        }
        let mut column = self.clone();
        column.chain.push(step);
        Some(column)
    }

    fn apply(&self, x: f32) -> f32 {
        self.chain.iter().fold(x, |x, step| match *step {
            Arithmetic::Add(c) => x + c,
            Arithmetic::Subtract(c) => x - c,
            Arithmetic::Multiply(c) => x * c,
            Arithmetic::Divide(c) => x / c,
            Arithmetic::From(c) => c - x,
        })
    }

    /// `(a, b)` of the column as `a * input + b`, in exact arithmetic.
    pub(super) fn line(&self) -> (f64, f64) {
        self.chain.iter().fold((1.0, 0.0), |(a, b), step| match *step {
            Arithmetic::Add(c) => (a, b + f64::from(c)),
            Arithmetic::Subtract(c) => (a, b - f64::from(c)),
            Arithmetic::Multiply(c) => (a * f64::from(c), b * f64::from(c)),
            Arithmetic::Divide(c) => (a / f64::from(c), b / f64::from(c)),
            Arithmetic::From(c) => (-a, f64::from(c) - b),
        })
    }

    /// Which inputs make the column at most `limit`; NaN is above every number and at most none.
    pub(super) fn at_most(&self, limit: f32) -> Side {
        let at_most = |x: f32| self.apply(x) <= limit;
        let (low, high) = (at_most(f32::MIN), at_most(f32::MAX));
        match (low, high) {
            (true, true) => Side::All,
            (false, false) => Side::None,
            (true, false) => Side::AtMost(last(at_most)),
            (false, true) => Side::Above(last(|x| !at_most(x))),
        }
    }
}

/// The largest number for which `holds`, which holds for the smallest number and not for the
/// largest, and changes once.
fn last(holds: impl Fn(f32) -> bool) -> f32 {
    let (mut low, mut high) = (order(f32::MIN), order(f32::MAX));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if holds(number(middle)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    number(low)
}

/// Numbers of `f32` counted in their order; -0 comes just before 0.
fn order(x: f32) -> i64 {
    let bits = i64::from(x.to_bits());
    if bits < 1 << 31 { bits } else { (1 << 31) - 1 - bits }
}

fn number(order: i64) -> f32 {
    let bits = if order >= 0 { order } else { (1 << 31) - 1 - order };
    f32::from_bits(u32::try_from(bits).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counting goes both ways and keeps the order.
    #[test]
    fn counted() {
        let numbers = [f32::MIN, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.5, f32::MAX];
        for x in numbers {
            assert_eq!(number(order(x)).to_bits(), x.to_bits());
        }
        assert!(numbers.map(order).is_sorted());
        assert_eq!(order(0.0) - order(-0.0), 1);
    }

    /// A split on a column is the same split on its input, for the numbers around it too.
    #[test]
    fn splits_move() {
        let plain = Column::of_input(0, false);
        assert_eq!(plain.at_most(1.5), Side::AtMost(1.5));
        assert_eq!(plain.at_most(f32::NEG_INFINITY), Side::None);
        assert_eq!(plain.at_most(f32::NAN), Side::None);
        let rising = plain.then(Arithmetic::Subtract(180.3)).unwrap();
        let rising = rising.then(Arithmetic::Multiply(0.037)).unwrap();
        let falling = rising.then(Arithmetic::Divide(-7.0)).unwrap();
        let less = plain.then(Arithmetic::From(3.0)).unwrap();
        for limit in [-3.25_f32, -1e-7, 0.0, 0.123_456_79, 2.5] {
            for column in [&rising, &falling, &less] {
                let (at, above) = match column.at_most(limit) {
                    Side::AtMost(at) => (at, false),
                    Side::Above(at) => (at, true),
                    other => panic!("{other:?}"),
                };
                for step in -40..=40 {
                    let x = number(order(at) + step);
                    assert_eq!(column.apply(x) <= limit, (x <= at) != above, "{x} {limit}");
                }
            }
        }
        let nothing = plain.then(Arithmetic::Multiply(0.0)).unwrap();
        assert_eq!((nothing.at_most(0.0), nothing.at_most(-1.0)), (Side::All, Side::None));
        assert!((falling.line().0 + f64::from(0.037_f32) / 7.0).abs() < 1e-15);
        assert_eq!(plain.then(Arithmetic::Divide(-0.0)), None);
        assert_eq!(plain.then(Arithmetic::Add(f32::NAN)), None);
    }
}
