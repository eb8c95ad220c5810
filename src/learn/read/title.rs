//! What titles say: names, units, and which column is the time.

use trimloop_recipe::unit::Unit;

use crate::output::{Zone, parse_instant};

/// Texts that stand for no value.
const NOTHING: [&str; 8] = ["", "nan", "na", "n/a", "#n/a", "null", "none", "nil"];

/// `melt_temp [degC]` or `Torque[Nm]` as name and unit.
pub(in crate::learn) fn named(title: &str) -> (String, String) {
    let title = title.trim();
    match title.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((name, unit)) if !name.trim().is_empty() => {
            (name.trim().to_owned(), unit.trim().to_owned())
        }
        _ => (title.to_owned(), String::new()),
    }
}

/// Whether a column of this name is the time of its rows.
pub(super) fn is_time(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let whole = ["time", "timestamp", "datetime", "date_time", "date", "ts", "utc", "epoch", "t"];
    let of = name.strip_prefix("time_").or_else(|| name.strip_prefix("timestamp_"));
    let units = ["s", "sec", "secs", "seconds", "ms", "us", "ns", "min", "minutes", "h", "hours"];
    whole.contains(&name.as_str()) || of.is_some_and(|of| units.contains(&of) || of == "utc")
}

/// Whether a row of cells gives the units of the columns above it: no number, and every text in
/// brackets or of units that everybody knows; other texts may as well be data.
pub(super) fn is_unit_row(cells: &[String]) -> bool {
    let of_table =
        |text: &str| Unit::parse(text).is_ok_and(|unit| unit.free_words().next().is_none());
    let known = |text: &str| text == "-" || bracketed(text).is_some() || of_table(text);
    let filled = || cells.iter().map(|cell| cell.trim()).filter(|cell| !cell.is_empty());
    filled().count() > 0 && filled().all(|cell| cell.parse::<f64>().is_err() && known(cell))
}

/// The unit that such a row gives; `-` is none.
pub(super) fn unit_of(cell: &str) -> String {
    let cell = cell.trim();
    let cell = bracketed(cell).unwrap_or(cell);
    if cell == "-" { String::new() } else { cell.to_owned() }
}

fn bracketed(text: &str) -> Option<&str> {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
}

/// A number; `Some(NaN)` for nothing and for the infinite, `None` for other texts.
pub(super) fn number(text: &str, decimal_comma: bool) -> Option<f64> {
    let text = text.trim();
    if let Ok(x) = text.parse::<f64>() {
        return Some(if x.is_finite() { x } else { f64::NAN });
    }
    if NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing)) {
        return Some(f64::NAN);
    }
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        return Some(f64::from(u8::from(text.eq_ignore_ascii_case("true"))));
    }
    if decimal_comma && text.matches(',').count() == 1 && !text.contains('.') {
        return text.replace(',', ".").parse().ok().filter(|x: &f64| x.is_finite());
    }
    None
}

/// A time in UTC [ns]: a date and time, or seconds to nanoseconds since 1970 by their size.
pub(super) fn instant(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(x) = text.parse::<f64>() {
        let scale = match x {
            1e8..4e9 => 1e9,
            1e11..4e12 => 1e6,
            1e14..4e15 => 1e3,
            1e17..9e18 => 1.0,
            _ => return None,
        };
        // Whole numbers keep their digits.
        #[expect(clippy::cast_possible_truncation, reason = "scale is a whole number up to 1e9")]
        let whole = text.parse::<i64>().ok().and_then(|x| x.checked_mul(scale as i64));
        #[expect(clippy::cast_possible_truncation, reason = "below 9e18")]
        return whole.or(Some((x * scale) as i64));
    }
    parse_instant(text, Zone::Utc).map(|utc| utc.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units stand in the title or in a row of their own; a time is known by its name.
    #[test]
    fn titles_are_read() {
        for (title, name, unit) in [
            ("melt_temp [degC]", "melt_temp", "degC"),
            ("Torque[Nm]", "Torque", "Nm"),
            ("[x]", "[x]", ""),
            (" plain ", "plain", ""),
        ] {
            assert_eq!(named(title), (name.to_owned(), unit.to_owned()), "{title}");
        }
        for (name, expect) in
            [("Time", true), ("time_min", true), ("time_to_fill_s", false), ("temp", false)]
        {
            assert_eq!(is_time(name), expect, "{name}");
        }
        let row = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<String>>();
        assert!(is_unit_row(&row("degC,bar,,-,[my unit]")));
        assert!(!is_unit_row(&row("1.5,bar")));
        assert!(!is_unit_row(&row("nonsense words,bar")));
        assert!(!is_unit_row(&row(",")));
        assert_eq!(unit_of("[degC]"), "degC");
    }

    /// Numbers, nothing and nonsense; a decimal comma only where commas do not part cells.
    #[test]
    fn cells_are_read() {
        assert_eq!(number(" 2.4987000e-01", false), Some(0.24987));
        assert_eq!(number("12,5", true), Some(12.5));
        assert_eq!(number("12,5", false), None);
        assert_eq!(number("x", false), None);
        for text in ["", "NaN", "n/a", "inf", "NULL"] {
            assert!(number(text, false).is_some_and(f64::is_nan), "{text}");
        }
        assert_eq!(instant("1970-01-02"), Some(86_400_000_000_000));
        assert_eq!(instant("1795383592123"), Some(1_795_383_592_123_000_000));
        assert_eq!(instant("1795383592.5"), Some(1_795_383_592_500_000_000));
        assert_eq!(instant("12"), None);
    }
}
