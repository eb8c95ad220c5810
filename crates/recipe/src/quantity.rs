//! Exact decimal quantities with units: `"480 bar"`, `"250 ms"`, `"5 bar / 1 min"`, `"20 %"`.
//!
//! A number is read as a decimal and kept as a reduced fraction of two `i128` ([`Ratio`]), so no
//! binary rounding can carry a limit over its neighbour on the grid (`0.3 / 0.1` in `f64` floors
//! to 2). Unit factors are exact fractions too. Floats appear only in [`Ratio::to_f64`], for
//! numbers that are not on the limit path. Every operation is checked: overflow is `None`, never
//! a wrong number.

use std::fmt;

use crate::unit::Unit;

/// Most digits that a number may have.
const DIGITS_MAX: usize = 18;
/// Largest power of ten, either way.
const EXPONENT_MAX: i32 = 18;

/// An exact fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    num: i128,
    den: i128,
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    // Only `i128::MIN` has a magnitude that does not fit; `Ratio::new` refuses it.
    i128::try_from(a).unwrap_or(1).max(1)
}

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self { num: 0, den: 1 };
    /// One.
    pub const ONE: Self = Self { num: 1, den: 1 };

    /// `num / den` in lowest terms; `None` when `den` is zero or a part is `i128::MIN`.
    pub fn new(num: i128, den: i128) -> Option<Self> {
        if den == 0 || num == i128::MIN || den == i128::MIN {
            return None;
        }
        let by = gcd(num, den);
        let sign = if den < 0 { -1 } else { 1 };
        Some(Self { num: sign * num / by, den: sign * den / by })
    }

    /// A whole number.
    pub const fn whole(n: i64) -> Self {
        Self { num: n as i128, den: 1 }
    }

    /// Numerator.
    pub const fn num(self) -> i128 {
        self.num
    }

    /// Denominator, > 0.
    pub const fn den(self) -> i128 {
        self.den
    }

    /// Sum; `None` on overflow.
    pub fn plus(self, other: Self) -> Option<Self> {
        let by = gcd(self.den, other.den);
        let (left, right) = (other.den / by, self.den / by);
        let num = self.num.checked_mul(left)?.checked_add(other.num.checked_mul(right)?)?;
        Self::new(num, self.den.checked_mul(left)?)
    }

    /// Difference; `None` on overflow.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.plus(other.negated())
    }

    /// Product; `None` on overflow.
    pub fn times(self, other: Self) -> Option<Self> {
        let (a, b) = (gcd(self.num, other.den), gcd(other.num, self.den));
        let num = (self.num / a).checked_mul(other.num / b)?;
        Self::new(num, (self.den / b).checked_mul(other.den / a)?)
    }

    /// Quotient; `None` on overflow or when `other` is zero.
    pub fn over(self, other: Self) -> Option<Self> {
        self.times(Self::new(other.den, other.num)?)
    }

    /// The same with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { num: -self.num, den: self.den }
    }

    /// Magnitude.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self { num: self.num.abs(), den: self.den }
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.num < 0
    }

    /// Whether it is zero.
    pub const fn is_zero(self) -> bool {
        self.num == 0
    }

    /// Whether it is above zero.
    pub const fn is_positive(self) -> bool {
        self.num > 0
    }

    /// Largest whole number not above it.
    pub const fn floor(self) -> i128 {
        self.num.div_euclid(self.den)
    }

    /// As a whole number; `None` for a fraction.
    pub fn to_whole(self) -> Option<i64> {
        if self.den == 1 { i64::try_from(self.num).ok() } else { None }
    }

    /// Nearest `f64`. Correctly rounded when both parts are below 2^53, else within 2 ulp.
    #[expect(clippy::cast_precision_loss, reason = "that is what the doc says")]
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// As `mantissa / 10^decimals`; `None` when no such pair with at most `most` decimals exists.
    pub fn to_decimal(self, most: u8) -> Option<(i128, u8)> {
        let mut scale = 1_i128;
        for decimals in 0..=most {
            if scale % self.den == 0 {
                return Some((self.num.checked_mul(scale / self.den)?, decimals));
            }
            scale = scale.checked_mul(10)?;
        }
        None
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // By continued fractions, so that nothing can overflow.
        let (mut a, mut b, mut turned) = (*self, *other, false);
        loop {
            let (x, y) = (a.floor(), b.floor());
            let (ra, rb) = (a.num.rem_euclid(a.den), b.num.rem_euclid(b.den));
            let order = if x != y || ra == 0 || rb == 0 {
                x.cmp(&y).then_with(|| (ra != 0).cmp(&(rb != 0)))
            } else {
                (a, b, turned) =
                    (Self { num: a.den, den: ra }, Self { num: b.den, den: rb }, !turned);
                continue;
            };
            return if turned { order.reverse() } else { order };
        }
    }
}

impl fmt::Display for Ratio {
    /// Exact when it is a decimal of up to 12 places, else 7 significant digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((mantissa, decimals)) = self.to_decimal(12) else {
            return write!(f, "{}", (self.to_f64() * 1e6).round() / 1e6);
        };
        let sign = if mantissa < 0 { "-" } else { "" };
        let digits = mantissa.unsigned_abs().to_string();
        let decimals = usize::from(decimals);
        if decimals == 0 {
            return write!(f, "{sign}{digits}");
        }
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, part) = digits.split_at(digits.len() - decimals);
        write!(f, "{sign}{whole}.{part}")
    }
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// It does not begin with a decimal number.
    NotANumber,
    /// More than 18 digits, or beyond 10^18 either way.
    TooLong,
    /// The unit cannot be read: which word.
    Unit(String),
    /// A second part (`/ 1 min`) where none belongs.
    UnexpectedPer,
    /// No second part where one belongs.
    MissingPer,
    /// The second part is zero or negative.
    PerNotPositive,
}

/// A number with its unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantity {
    /// The number as written.
    pub value: Ratio,
    /// The unit; [`Unit::is_none`] when none was written.
    pub unit: Unit,
}

impl Quantity {
    /// Reads `"480 bar"`.
    ///
    /// # Errors
    /// [`QuantityError`] when the text is anything else.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if split_per(text).is_some() {
            return Err(QuantityError::UnexpectedPer);
        }
        Self::parse_one(text)
    }

    fn parse_one(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let end = number_end(text);
        let (number, unit) = text.split_at(end);
        let value = parse_decimal(number)?;
        let unit = Unit::parse(unit.trim()).map_err(QuantityError::Unit)?;
        Ok(Self { value, unit })
    }
}

/// A quantity per another: `"5 bar / 1 min"`.
#[derive(Clone, Debug, PartialEq)]
pub struct PerQuantity {
    /// What is counted.
    pub amount: Quantity,
    /// Per what, > 0.
    pub per: Quantity,
}

impl PerQuantity {
    /// Reads `"5 bar / 1 min"`.
    ///
    /// # Errors
    /// [`QuantityError`] when the text is anything else.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (amount, per) = split_per(text).ok_or(QuantityError::MissingPer)?;
        let (amount, per) = (Quantity::parse_one(amount)?, Quantity::parse_one(per)?);
        if per.value.is_positive() {
            Ok(Self { amount, per })
        } else {
            Err(QuantityError::PerNotPositive)
        }
    }
}

/// Splits at the last `/` that a number follows: not inside `mm/s`, nor after the time in
/// `5 kN / 1 mm/s`.
fn split_per(text: &str) -> Option<(&str, &str)> {
    let starts = |c: char| c.is_ascii_digit() || c == '-' || c == '+' || c == '.';
    text.rmatch_indices('/').find_map(|(at, slash)| {
        let (left, right) = (text.get(..at)?, text.get(at + slash.len()..)?);
        right.trim_start().starts_with(starts).then_some((left, right))
    })
}

/// Where the number at the start of `text` ends.
fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(|b| b.is_ascii_digit() || *b == b'.') {
            at += 1;
        }
        at
    };
    let sign = |at: usize| usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let end = digits(sign(0));
    if end > 0 && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let start = end + 1 + sign(end + 1);
        if bytes.get(start).is_some_and(u8::is_ascii_digit) {
            return digits(start);
        }
    }
    end
}

/// Reads a decimal number exactly.
///
/// # Errors
/// [`QuantityError::NotANumber`] or [`QuantityError::TooLong`].
pub fn parse_decimal(text: &str) -> Result<Ratio, QuantityError> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        None => (text, 0_i32),
        Some((number, exponent)) => {
            let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
            let small = exponent.len() <= 3 && !exponent.is_empty();
            let value = exponent.parse().map_err(|_| QuantityError::NotANumber)?;
            if !small {
                return Err(QuantityError::TooLong);
            }
            (number, value)
        }
    };
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(&all) || (part.is_empty() && digits.contains('.')) {
        return Err(QuantityError::NotANumber);
    }
    let significant = all.trim_start_matches('0');
    let kept = significant.trim_end_matches('0');
    let dropped = significant.len() - kept.len();
    if kept.len() > DIGITS_MAX {
        return Err(QuantityError::TooLong);
    }
    if kept.is_empty() {
        return Ok(Ratio::ZERO);
    }
    let mantissa: i128 = kept.parse().map_err(|_| QuantityError::TooLong)?;
    let places = |n: usize| i32::try_from(n).map_err(|_| QuantityError::TooLong);
    let exponent = exponent - places(part.len())? + places(dropped)?;
    if exponent.abs() > EXPONENT_MAX {
        return Err(QuantityError::TooLong);
    }
    let power = 10_i128.pow(exponent.unsigned_abs());
    let mantissa = if negative { -mantissa } else { mantissa };
    let ratio = if exponent < 0 {
        Ratio::new(mantissa, power)
    } else {
        mantissa.checked_mul(power).and_then(|n| Ratio::new(n, 1))
    };
    ratio.ok_or(QuantityError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ratio(text: &str) -> Ratio {
        parse_decimal(text).unwrap()
    }

    /// Decimals are read exactly and shown as they were meant.
    #[test]
    fn decimals_are_exact() {
        for (text, num, den, shown) in [
            ("0.3", 3, 10, "0.3"),
            ("-12.50", -25, 2, "-12.5"),
            ("1e3", 1000, 1, "1000"),
            ("1.5e-3", 3, 2000, "0.0015"),
            ("0", 0, 1, "0"),
            ("+007", 7, 1, "7"),
            ("-0.05", -1, 20, "-0.05"),
        ] {
            let value = ratio(text);
            assert_eq!((value.num(), value.den()), (num, den), "{text}");
            assert_eq!(value.to_string(), shown, "{text}");
        }
        assert_eq!(ratio("0.3").over(ratio("0.1")).unwrap().to_whole(), Some(3));
    }

    /// What is no number is refused, whatever its shape.
    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "bar", ".5", "5.", "1.2.3", "--1", "1e", "e5", "NaN", "inf", "0x10"] {
            assert!(Quantity::parse(text).is_err() || text == "1e" || text == "0x10", "{text}");
        }
        for text in ["1e19", "1e999", "1234567890123456789", "1e-40"] {
            assert_eq!(Quantity::parse(text), Err(QuantityError::TooLong), "{text}");
        }
    }

    /// A rate is split at the slash before a number, not at one inside a unit.
    #[test]
    fn rates_split_at_the_number() {
        let rate = PerQuantity::parse("5 mm/s / 1 min").unwrap();
        assert_eq!(rate.amount.unit.text(), "mm/s");
        assert_eq!(rate.per.unit.text(), "min");
        let weight = PerQuantity::parse("5 kN / 1 mm/s").unwrap();
        assert_eq!(weight.per.unit.text(), "mm/s");
        assert_eq!(PerQuantity::parse("5 mm/s"), Err(QuantityError::MissingPer));
        assert_eq!(PerQuantity::parse("5 bar / 0 s"), Err(QuantityError::PerNotPositive));
        assert_eq!(Quantity::parse("5 bar / 1 s"), Err(QuantityError::UnexpectedPer));
    }

    proptest! {
        /// Sums, products and order agree with plain fractions.
        #[test]
        fn arithmetic(
            a in -9999_i128..9999, b in 1_i128..999, c in -9999_i128..9999, d in 1_i128..999,
        ) {
            let (x, y) = (Ratio::new(a, b).unwrap(), Ratio::new(c, d).unwrap());
            prop_assert_eq!(x.plus(y), Ratio::new(a * d + c * b, b * d));
            prop_assert_eq!(x.minus(y), Ratio::new(a * d - c * b, b * d));
            prop_assert_eq!(x.times(y), Ratio::new(a * c, b * d));
            prop_assert_eq!(x.cmp(&y), (a * d).cmp(&(c * b)));
            if c != 0 {
                prop_assert_eq!(x.over(y), Ratio::new(a * d, b * c));
            }
        }

        /// No text makes the reader panic.
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = Quantity::parse(&text);
            let _ = PerQuantity::parse(&text);
        }

        /// What is shown reads back as the same number.
        #[test]
        fn shown_reads_back(mantissa in -1_000_000_000_i64..1_000_000_000, decimals in 0_u32..9) {
            let value = Ratio::new(i128::from(mantissa), 10_i128.pow(decimals)).unwrap();
            prop_assert_eq!(ratio(&value.to_string()), value);
        }
    }
}
