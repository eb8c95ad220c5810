//! How much history is kept, and how these amounts are written in the settings.

use trimloop_core::time::Span;

const DAY_SECS: i64 = 86_400;
const GIB: u64 = 1 << 30;

/// Bounds of the history in the data folder. `state.db` and the journal are not bounded by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Day files older than this are removed, counted from the end of their day.
    pub raw_age: Span,
    /// The oldest closed day files are removed while all of them hold more [bytes].
    pub raw_bytes: u64,
    /// Month files of roll-ups older than this are removed, counted from the end of their month.
    pub rollup_age: Span,
    /// The oldest closed month files are removed while all of them hold more [bytes].
    pub rollup_bytes: u64,
    /// History stops while the file system has less room than this [bytes]; 0 = never.
    pub free_bytes: u64,
    /// The same as a share of the file system, 0 to 90 [%]; the larger of the two counts.
    pub free_percent: u8,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            raw_age: Span::from_secs(7 * DAY_SECS),
            raw_bytes: 20 * GIB,
            rollup_age: Span::from_secs(400 * DAY_SECS),
            rollup_bytes: 5 * GIB,
            free_bytes: 2 * GIB,
            free_percent: 5,
        }
    }
}

impl HistoryLimits {
    /// Nothing is ever removed or stopped: tests, and data folders that live for an hour.
    pub const KEEP_ALL: Self = Self {
        raw_age: Span::MAX,
        raw_bytes: u64::MAX,
        rollup_age: Span::MAX,
        rollup_bytes: u64::MAX,
        free_bytes: 0,
        free_percent: 0,
    };

    /// The room that must stay free on a file system of `total` bytes.
    #[must_use]
    pub fn floor(&self, total: u64) -> u64 {
        let share = u128::from(total) * u128::from(self.free_percent) / 100;
        self.free_bytes.max(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// `7 d`, `36 h`: a whole number of days or hours, at least one hour and at most 100 years.
#[must_use]
pub fn parse_age(text: &str) -> Option<Span> {
    let (number, unit) = split(text)?;
    let secs = match unit {
        "h" => 3600,
        "d" => DAY_SECS,
        _ => return None,
    };
    let total = i64::try_from(number).ok()?.checked_mul(secs)?;
    (3600..=36_525 * DAY_SECS).contains(&total).then(|| Span::from_secs(total))
}

/// `20 GiB`, `500 MiB`, `2 TiB`, `1 GB`: a whole number of bytes.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "B" => 1,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "MiB" => 1 << 20,
        "GiB" => GIB,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `5 %`: 0 to 90.
#[must_use]
pub fn parse_percent(text: &str) -> Option<u8> {
    let (number, unit) = split(text)?;
    (unit == "%" && number <= 90).then(|| u8::try_from(number).unwrap_or(90))
}

/// `1.4 GiB`.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let decimals = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.decimals$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Amounts with their unit are read; what has none, or makes no sense, is not.
    #[test]
    fn amounts_are_read_with_their_unit() {
        assert_eq!(parse_age("7 d"), Some(Span::from_secs(7 * DAY_SECS)));
        assert_eq!(parse_age("36h"), Some(Span::from_secs(36 * 3600)));
        assert_eq!(parse_bytes("20 GiB"), Some(20 << 30));
        assert_eq!(parse_bytes("0 B"), Some(0));
        assert_eq!(parse_percent("5 %"), Some(5));
        for wrong in ["7", "d", "", "-1 d", "7 days", "0 h", "99999999999999999999 d", "1.5 d"] {
            assert_eq!(parse_age(wrong), None, "{wrong}");
        }
        for wrong in ["20", "20 gib", "99999999999 TiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(parse_percent("95 %"), None);
        assert_eq!(bytes_text(1_500_000_000), "1.4 GiB");
        assert_eq!(bytes_text(12), "12 B");
    }

    /// The larger of bytes and share is what must stay free.
    #[test]
    fn the_larger_floor_counts() {
        let limits = HistoryLimits::default();
        assert_eq!(limits.floor(10 * GIB), 2 * GIB);
        assert_eq!(limits.floor(100 * GIB), 5 * GIB);
        assert_eq!(HistoryLimits::KEEP_ALL.floor(u64::MAX), 0);
    }
}
