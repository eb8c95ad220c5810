//! How many alarms an operator gets, against what people can handle.
//!
//! The numbers are those of EEMUA 191 and ISA-18.2 for one operator position: one alarm in ten
//! minutes is very likely acceptable, two are about the most that can be handled, more than ten in
//! ten minutes are a *flood*. A flood begins with ten minutes that hold more than ten alarms and
//! ends with the first that hold fewer than five.

use std::collections::BTreeMap;

use trimloop_core::time::{Span, Utc};

use crate::works::Heard;

/// Length of a window: the benchmark counts by it.
pub const WINDOW: Span = Span::from_secs(600);
/// Alarms in a window that are acceptable on average.
pub const ACCEPTABLE: f64 = 1.0;
/// Most that can be handled on average.
pub const MANAGEABLE: f64 = 2.0;
/// More than so many alarms in a window begin a flood.
pub const FLOOD: usize = 10;
/// Fewer than so many end it.
pub const FLOOD_OVER: usize = 5;
/// An alarm that begins so often within a minute chatters.
const CHATTER: (usize, Span) = (3, Span::from_secs(60));

/// A line of the alarm log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// When.
    pub at: Utc,
    /// Name of the alarm.
    pub name: String,
    /// What was heard of it.
    pub what: Heard,
}

/// Average load of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// At most [`ACCEPTABLE`].
    Acceptable,
    /// At most [`MANAGEABLE`].
    Manageable,
    /// More than that, and no flood on average.
    TooMuch,
    /// More than [`FLOOD`] on average.
    Flood,
}

impl Load {
    /// Stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Acceptable => "acceptable",
            Self::Manageable => "manageable",
            Self::TooMuch => "over-demanding",
            Self::Flood => "unacceptable",
        }
    }
}

/// A flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flood {
    /// Begin of its first window.
    pub from: Utc,
    /// End of its last one.
    pub to: Utc,
    /// Alarms in it.
    pub alarms: usize,
}

/// What came to one operator position in a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Begin.
    pub from: Utc,
    /// End; not in it.
    pub to: Utc,
    /// Alarms that were raised.
    pub alarms: usize,
    /// On average in ten minutes.
    pub mean: f64,
    /// What that means.
    pub load: Load,
    /// Most in any ten minutes, and when those began; `None` without alarms.
    pub peak: Option<(usize, Utc)>,
    /// Alarms in each window, oldest first; the last one may be shorter.
    pub windows: Vec<(Utc, usize)>,
    /// Floods.
    pub floods: Vec<Flood>,
    /// Share of windows in a flood [%].
    pub flood_percent: f64,
    /// Alarms by how often they were raised, most often first.
    pub frequent: Vec<(String, usize)>,
    /// Alarms that came and went too often.
    pub chattering: Vec<String>,
}

impl Rate {
    /// Of lines in any order; those outside the time do not count.
    ///
    /// - `to`: after `from`.
    pub fn of(log: &[Logged], from: Utc, to: Utc) -> Self {
        let inside = log.iter().filter(|line| line.at >= from && line.at < to);
        let mut raised: Vec<&Logged> =
            inside.clone().filter(|line| line.what == Heard::Raised).collect();
        raised.sort_by_key(|line| line.at);
        let times: Vec<Utc> = raised.iter().map(|line| line.at).collect();
        let windows = windows(&times, from, to);
        let floods = floods(&windows, to);
        let in_flood = windows
            .iter()
            .filter(|(begin, _)| floods.iter().any(|flood| (flood.from..flood.to).contains(begin)));
        let flood_percent = 100.0 * share(in_flood.count(), windows.len());
        let mut by_name: BTreeMap<&str, Vec<Utc>> = BTreeMap::new();
        for line in &raised {
            by_name.entry(&line.name).or_default().push(line.at);
        }
        let mut frequent: Vec<(String, usize)> =
            by_name.iter().map(|(name, times)| ((*name).to_owned(), times.len())).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let said = inside.filter(|line| line.what == Heard::Chatters).map(|line| &*line.name);
        let fast = by_name.iter().filter(|(_, times)| most(times, CHATTER.1).0 >= CHATTER.0);
        let mut chattering: Vec<String> =
            said.chain(fast.map(|(name, _)| *name)).map(str::to_owned).collect();
        chattering.sort();
        chattering.dedup();
        let length = (to - from).as_secs_f64().max(1.0);
        let mean = share(times.len(), 1) * WINDOW.as_secs_f64() / length;
        let load = match mean {
            mean if mean <= ACCEPTABLE => Load::Acceptable,
            mean if mean <= MANAGEABLE => Load::Manageable,
            mean if mean <= share(FLOOD, 1) => Load::TooMuch,
            _ => Load::Flood,
        };
        let (count, begin) = most(&times, WINDOW);
        Self {
            from,
            to,
            alarms: times.len(),
            mean,
            load,
            peak: begin.map(|begin| (count, begin)),
            windows,
            floods,
            flood_percent,
            frequent,
            chattering,
        }
    }
}

/// Counts are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn windows(times: &[Utc], from: Utc, to: Utc) -> Vec<(Utc, usize)> {
    let mut all = Vec::new();
    let mut begin = from;
    while begin < to {
        let end = begin + WINDOW;
        all.push((begin, times.iter().filter(|at| **at >= begin && **at < end).count()));
        begin = end;
    }
    all
}

fn floods(windows: &[(Utc, usize)], to: Utc) -> Vec<Flood> {
    let mut all: Vec<Flood> = Vec::new();
    let mut is_on = false;
    for (begin, count) in windows {
        let end = (*begin + WINDOW).min(to);
        if is_on && *count >= FLOOD_OVER {
            if let Some(flood) = all.last_mut() {
                (flood.to, flood.alarms) = (end, flood.alarms + count);
            }
            continue;
        }
        is_on = *count > FLOOD;
        if is_on {
            all.push(Flood { from: *begin, to: end, alarms: *count });
        }
    }
    all
}

/// Most of these sorted times within a span, and the first of them.
fn most(times: &[Utc], within: Span) -> (usize, Option<Utc>) {
    let mut best = (0, None);
    let mut last = 0;
    for (place, begin) in times.iter().enumerate() {
        while times.get(last).is_some_and(|at| *at - *begin < within) {
            last += 1;
        }
        if last - place > best.0 {
            best = (last - place, Some(*begin));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Utc {
        Utc::from_millis(1_795_888_800_000 + 1000 * seconds)
    }

    fn log(lines: &[(i64, &str)]) -> Vec<Logged> {
        let line = |(seconds, name): &(i64, &str)| Logged {
            at: at(*seconds),
            name: (*name).into(),
            what: Heard::Raised,
        };
        lines.iter().map(line).collect()
    }

    /// A flood goes on until fewer than five come in ten minutes; a peak may lie across two windows.
    #[test]
    fn floods_and_peaks_are_found() {
        let mut lines: Vec<(i64, &str)> = (0..11).map(|n| (600 + 50 * n, "a")).collect();
        lines.extend((0..5).map(|n| (1200 + 2 * n, "b")));
        lines.extend((0..4).map(|n| (1800 + n, "c")));
        lines.extend([(0, "d"), (599, "d"), (3600, "outside"), (-1, "outside")]);
        let rate = Rate::of(&log(&lines), at(0), at(3600));
        assert_eq!(rate.alarms, 22);
        assert_eq!(rate.floods, [Flood { from: at(600), to: at(1800), alarms: 16 }]);
        assert!((rate.flood_percent - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(rate.windows.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2, 11, 5, 4, 0, 0]);
        // 650 to 1249: ten of a, five of b.
        assert_eq!(rate.peak, Some((15, at(650))));
        assert_eq!(rate.frequent[0], ("a".into(), 11));
        assert_eq!(rate.chattering, ["b", "c"]);
        assert!((rate.mean - 22.0 / 6.0).abs() < 1e-9 && rate.load == Load::TooMuch);
    }

    /// Loads at their limits; chatter that the alarm itself found; nothing at all.
    #[test]
    fn loads_and_chatter() {
        for (count, load) in [
            (0, Load::Acceptable),
            (6, Load::Acceptable),
            (7, Load::Manageable),
            (12, Load::Manageable),
            (13, Load::TooMuch),
            (60, Load::TooMuch),
            (61, Load::Flood),
        ] {
            let lines: Vec<(i64, &str)> = (0..count).map(|n| (n * 59, "a")).collect();
            let rate = Rate::of(&log(&lines), at(0), at(3600));
            assert_eq!(rate.load, load, "{count}");
            assert_eq!(rate.peak.is_none(), count == 0);
        }
        let said = Logged { at: at(1), name: "z".into(), what: Heard::Chatters };
        let rate = Rate::of(&[said], at(0), at(600));
        assert_eq!((rate.alarms, &rate.chattering[..]), (0, &["z".to_owned()][..]));
    }
}
