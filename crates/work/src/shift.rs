//! Hours of a week: shifts of people, quiet hours of a channel.

use trimloop_core::time::Utc;

/// Minutes of a day.
pub const DAY_MINUTES: i64 = 1440;

/// Zone in which hours are said.
#[derive(Clone, Copy, Debug)]
pub enum Zone {
    /// Always this offset from UTC [s].
    Fixed(i32),
    /// Offset [s] at a time [ns UTC].
    By(fn(i64) -> i32),
}

impl Zone {
    /// Minutes since 1970-01-01 00:00 in the zone.
    pub fn minutes(self, at: Utc) -> i64 {
        let offset = match self {
            Self::Fixed(offset) => offset,
            Self::By(of) => of(at.as_nanos()),
        };
        (at.as_nanos().div_euclid(1_000_000_000) + i64::from(offset)).div_euclid(60)
    }
}

/// A stretch of hours that comes each week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    /// On which days it begins, Monday first.
    pub days: [bool; 7],
    /// Begin, minute of the day, 0 to 1439.
    pub from: u16,
    /// End, minute of the day; at or before `from` it is on the next day.
    pub to: u16,
}

impl Shift {
    /// Begin and end of the one that begins on a day [minutes since 1970-01-01 in the zone]; `None`
    /// where none begins on it.
    ///
    /// - `day`: days since 1970-01-01 in the zone.
    pub fn on(&self, day: i64) -> Option<(i64, i64)> {
        let begins = usize::try_from(weekday(day)).ok().and_then(|place| self.days.get(place));
        if begins != Some(&true) {
            return None;
        }
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        let begin = day * DAY_MINUTES + from;
        Some((begin, begin + if to > from { to - from } else { to - from + DAY_MINUTES }))
    }

    /// Whether it is on at a minute since 1970-01-01 in the zone; its end is not in it.
    pub fn holds(&self, minute: i64) -> bool {
        let today = minute.div_euclid(DAY_MINUTES);
        // Yesterday's night may still be on.
        [today - 1, today]
            .into_iter()
            .filter_map(|day| self.on(day))
            .any(|(begin, end)| (begin..end).contains(&minute))
    }
}

/// 0 for Monday, of a day since 1970-01-01, which was a Thursday.
pub fn weekday(day: i64) -> i64 {
    (day + 3).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A night goes over midnight and into the next week; the end is not in it; a day of 24 h ends
    /// where it begins.
    #[test]
    fn nights_go_over_midnight() {
        let only = |day: usize| std::array::from_fn(|place| place == day);
        let night = Shift { days: only(6), from: 22 * 60, to: 6 * 60 };
        // 1970-01-04 was a Sunday.
        let at = |day: i64, hour: i64, minute: i64| day * DAY_MINUTES + hour * 60 + minute;
        for (minute, holds) in [
            (at(3, 21, 59), false),
            (at(3, 22, 0), true),
            (at(4, 5, 59), true),
            (at(4, 6, 0), false),
            (at(4, 23, 0), false),
            (at(-4, 23, 0), true),
        ] {
            assert_eq!(night.holds(minute), holds, "{minute}");
        }
        let whole = Shift { days: only(6), from: 0, to: 0 };
        assert!(
            whole.holds(at(3, 0, 0)) && whole.holds(at(3, 23, 59)) && !whole.holds(at(4, 0, 0))
        );
        let noon = Utc::from_millis(3 * 86_400_000);
        assert_eq!(Zone::Fixed(-3600).minutes(noon), at(2, 23, 0));
        assert_eq!(Zone::By(|_| 5400).minutes(noon), at(3, 1, 30));
    }
}
