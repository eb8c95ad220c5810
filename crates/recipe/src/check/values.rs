//! Single values: quantities, times, shares, counts, names; each mistake reported where it stands.

use std::sync::Arc;

use trimloop_core::time::Span;

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Source, did_you_mean};
use crate::quantity::{PerQuantity, Quantity, QuantityError, Ratio, parse_decimal};
use crate::spanned::{At, Literal, Named, Pair};
use crate::unit::Unit;

/// Whether a quantity is a point on a scale or a difference of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A limit, a target, a baseline.
    Point,
    /// A step, a tolerance, a deviation, a rate.
    Difference,
}

/// Unit of a tag as far as it is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TagUnit {
    /// A known unit; [`Unit::none`] for counts and contacts.
    Known(Unit),
    /// The tag or its unit is wrong, which was reported; checks against it are skipped.
    Broken,
}

impl TagUnit {
    pub(crate) fn known(&self) -> Option<&Unit> {
        match self {
            Self::Known(unit) => Some(unit),
            Self::Broken => None,
        }
    }

    /// As text for the plan.
    pub(crate) fn text(&self) -> String {
        self.known().map(|unit| unit.text().to_owned()).unwrap_or_default()
    }

    /// The unit as a real one: `None` for counts and for broken ones.
    pub(crate) fn measured(&self) -> Option<&Unit> {
        self.known().filter(|unit| !unit.is_none())
    }
}

/// Collects diagnostics over one file while single values are read.
pub(crate) struct Values {
    pub(crate) source: Arc<Source>,
    pub(crate) found: Vec<Diagnostic>,
}

impl Values {
    pub(crate) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), found: Vec::new() }
    }

    pub(crate) fn error(
        &self,
        code: &'static Code,
        span: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, &self.source, span, message)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.found.push(diagnostic);
    }

    /// Names of a table's entries: well formed and not too many.
    pub(crate) fn check_names<T>(&mut self, table: &Named<T>, kind: &str, most: usize) {
        for (place, (name, _)) in table.iter().enumerate() {
            self.check_name(name);
            if place == most {
                let message =
                    format!("{} {kind} entries; at most {most} are possible", table.len());
                let found = self.error(&codes::TOO_MANY, name.span(), message);
                self.push(found);
            }
        }
    }

    /// One name: a letter, then letters, digits, `_` and `-`, at most 64.
    pub(crate) fn check_name(&mut self, name: &At<String>) -> bool {
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
        let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let good = first && rest && name.len() <= 64;
        if !good {
            let message = format!("\"{}\" cannot be a name", name.get());
            let found = self
                .error(&codes::BAD_NAME, name.span(), message)
                .help("begin with a letter, go on with letters, digits, _ and -, 64 at most");
            self.push(found);
        }
        good
    }

    /// A unit as written for a tag or label.
    pub(crate) fn unit(&mut self, text: &At<String>) -> TagUnit {
        match Unit::parse(text) {
            Ok(unit) if unit.is_none() => {
                let found = self
                    .error(&codes::BAD_QUANTITY, text.span(), "an empty text is no unit")
                    .help("leave `unit` out for counts, ids and contacts");
                self.push(found);
                TagUnit::Broken
            }
            Ok(unit) => TagUnit::Known(unit),
            Err(word) => {
                let message = format!("\"{word}\" cannot be part of a unit");
                let found = self.error(&codes::BAD_QUANTITY, text.span(), message);
                self.push(found);
                TagUnit::Broken
            }
        }
    }

    fn bad(&mut self, literal: &At<Literal>, what: &str, error: &QuantityError) {
        let (label, help) = match error {
            QuantityError::NotANumber => {
                ("does not begin with a number", "write it as \"480 bar\"")
            }
            QuantityError::TooLong => ("too many digits", "at most 18 digits, up to 10^18"),
            QuantityError::Unit(_) => ("this unit cannot be read", "write it as \"480 bar\""),
            QuantityError::UnexpectedPer => {
                ("one quantity is wanted, not a rate", "drop the part after /")
            }
            QuantityError::MissingPer => {
                ("says how much, not per what", "write it as \"5 bar / 1 min\"")
            }
            QuantityError::PerNotPositive => {
                ("the part after / must be above zero", "write it as \"5 bar / 1 min\"")
            }
        };
        let code = match error {
            QuantityError::MissingPer | QuantityError::UnexpectedPer => &codes::RATE_SHAPE,
            _ => &codes::BAD_QUANTITY,
        };
        let message = format!("{what} cannot be read: {}", literal.text);
        let found = self.error(code, literal.span(), message).label(label).help(help);
        self.push(found);
    }

    fn missing_unit(&mut self, literal: &At<Literal>, what: &str, unit: &Unit) {
        let message = format!("{what} has no unit");
        let found = self
            .error(&codes::MISSING_UNIT, literal.span(), message)
            .label("a number without its unit")
            .help(format!("write \"{} {}\"", literal.text, unit.text()));
        self.push(found);
    }

    fn mismatch(&mut self, literal: &At<Literal>, what: &str, got: &Unit, want: &Unit) {
        let message = if want.is_none() {
            format!("{what} takes a number without a unit, not {}", literal.text)
        } else {
            format!(
                "{what} does not fit its unit: {} is no number of {}",
                literal.text,
                want.text()
            )
        };
        let label = format!("{}, but wanted is {}", got.dimension(), want.dimension());
        let near = got.free_words().find_map(|word| did_you_mean(word, Unit::symbols()));
        let found = self
            .error(&codes::UNIT_MISMATCH, literal.span(), message)
            .label(label)
            .maybe_help(near);
        self.push(found);
    }

    fn overflow(&mut self, literal: &At<Literal>, what: &str) {
        let message = format!("{what} is too large to be exact: {}", literal.text);
        let found = self.error(&codes::BAD_QUANTITY, literal.span(), message);
        self.push(found);
    }

    /// A number of `unit`; a bare number where `unit` is none.
    pub(crate) fn quantity(
        &mut self,
        literal: &At<Literal>,
        unit: &TagUnit,
        meaning: Meaning,
        what: &str,
    ) -> Option<Ratio> {
        let want = unit.known()?;
        let read = match Quantity::parse(&literal.text) {
            Ok(read) => read,
            Err(error) => {
                self.bad(literal, what, &error);
                return None;
            }
        };
        self.convert(&read, literal, want, meaning, what)
    }

    fn convert(
        &mut self,
        read: &Quantity,
        literal: &At<Literal>,
        want: &Unit,
        meaning: Meaning,
        what: &str,
    ) -> Option<Ratio> {
        if read.unit.is_none() && !want.is_none() {
            self.missing_unit(literal, what, want);
            return None;
        }
        if !read.unit.is_like(want) {
            self.mismatch(literal, what, &read.unit, want);
            return None;
        }
        let value = match meaning {
            Meaning::Point => read.unit.convert_point(read.value, want),
            Meaning::Difference => read.unit.convert_difference(read.value, want),
        };
        if value.is_none() {
            self.overflow(literal, what);
        }
        value
    }

    /// `amount / per`, each in its unit, the amount per one `per` unit.
    pub(crate) fn per(
        &mut self,
        literal: &At<Literal>,
        amount: &TagUnit,
        per: &TagUnit,
        what: &str,
    ) -> Option<(Ratio, Ratio)> {
        let (amount, per) = (amount.known()?, per.known()?);
        match PerQuantity::parse(&literal.text) {
            Ok(read) => {
                let first = self.convert(&read.amount, literal, amount, Meaning::Difference, what);
                let second = self.convert(&read.per, literal, per, Meaning::Difference, what);
                first.zip(second)
            }
            Err(error) => {
                self.bad(literal, what, &error);
                None
            }
        }
    }

    /// A plain number.
    pub(crate) fn number(&mut self, literal: &At<Literal>, what: &str) -> Option<Ratio> {
        self.quantity(literal, &TagUnit::Known(Unit::none()), Meaning::Point, what)
    }

    /// A plain number above zero.
    pub(crate) fn positive_number(&mut self, literal: &At<Literal>, what: &str) -> Option<Ratio> {
        let value = self.number(literal, what)?;
        self.positive(literal, value, what)
    }

    /// Passes what is above zero.
    pub(crate) fn positive(
        &mut self,
        literal: &At<Literal>,
        value: Ratio,
        what: &str,
    ) -> Option<Ratio> {
        if value.is_positive() {
            return Some(value);
        }
        let found =
            self.error(&codes::NOT_POSITIVE, literal.span(), format!("{what} must be above zero"));
        self.push(found);
        None
    }

    /// A share: `0.8` or `"80 %"`, within 0 to 1; zero only if `zero` says so.
    pub(crate) fn share(&mut self, literal: &At<Literal>, zero: bool, what: &str) -> Option<Ratio> {
        let text = !literal.bare && !literal.text.trim().ends_with(|c: char| c.is_ascii_digit());
        let value = if text {
            let percent = TagUnit::Known(Unit::percent());
            let value = self.quantity(literal, &percent, Meaning::Difference, what)?;
            value.over(Ratio::whole(100))?
        } else {
            self.number(literal, what)?
        };
        let low = if zero { !value.is_negative() } else { value.is_positive() };
        if low && value <= Ratio::ONE {
            return Some(value);
        }
        let from = if zero { "0 to 1" } else { "above 0, up to 1" };
        let message = format!("{what} must be a share: {from}");
        let found = self.error(&codes::NOT_A_SHARE, literal.span(), message);
        self.push(found);
        None
    }

    /// A time in whole nanoseconds, above zero (or zero, if `zero` says so).
    pub(crate) fn span(&mut self, literal: &At<Literal>, zero: bool, what: &str) -> Option<Span> {
        let seconds = TagUnit::Known(Unit::second());
        let value = self.quantity(literal, &seconds, Meaning::Difference, what)?;
        self.nanos(literal, value, zero, what)
    }

    /// Seconds as a span; see [`Values::span`].
    pub(crate) fn nanos(
        &mut self,
        literal: &At<Literal>,
        seconds: Ratio,
        zero: bool,
        what: &str,
    ) -> Option<Span> {
        if zero && seconds.is_zero() {
            return Some(Span::ZERO);
        }
        let seconds = self.positive(literal, seconds, what)?;
        let nanos = seconds.times(Ratio::whole(1_000_000_000)).and_then(Ratio::to_whole);
        if nanos.is_none() {
            let message = format!("{what} is not a time of whole nanoseconds below 292 years");
            let found = self.error(&codes::BAD_QUANTITY, literal.span(), message);
            self.push(found);
        }
        nanos.map(Span::from_nanos)
    }

    /// A whole number within `least` to `most`.
    pub(crate) fn count(
        &mut self,
        value: &At<i64>,
        least: u32,
        most: u32,
        what: &str,
    ) -> Option<u32> {
        let good = u32::try_from(*value.get()).ok().filter(|n| (least..=most).contains(n));
        if good.is_none() {
            let message = format!("{what} must be {least} to {most}, not {}", value.get());
            let found = self.error(&codes::COUNT_OUT_OF_RANGE, value.span(), message);
            self.push(found);
        }
        good
    }

    /// Low and high of a range, low below high.
    pub(crate) fn range(
        &mut self,
        range: &At<Pair>,
        unit: &TagUnit,
        what: &str,
    ) -> Option<(Ratio, Ratio)> {
        let [low, high] = &range.0;
        let low = self.quantity(low, unit, Meaning::Point, what);
        let high = self.quantity(high, unit, Meaning::Point, what);
        let (low, high) = low.zip(high)?;
        if low < high {
            return Some((low, high));
        }
        let found = self
            .error(&codes::RANGE_REVERSED, range.span(), format!("{what} is empty"))
            .label("the first value must be below the second");
        self.push(found);
        None
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        text: &At<String>,
        words: &[(&str, T)],
        what: &str,
    ) -> Option<T> {
        let hit = words.iter().find(|(word, _)| *word == text.as_str());
        if hit.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint = did_you_mean(text, words.iter().map(|(word, _)| *word))
                .unwrap_or_else(|| format!("use one of {}", list.join(", ")));
            let message = format!("{what} cannot be \"{}\"", text.get());
            let found = self.error(&codes::UNKNOWN_WORD, text.span(), message).help(hint);
            self.push(found);
        }
        hit.map(|(_, value)| *value)
    }
}

/// Reads a bare decimal; for values whose place has no diagnostics.
pub(crate) fn default_ratio(text: &str) -> Ratio {
    parse_decimal(text).unwrap_or(Ratio::ZERO)
}
