//! The clock: order, gaps, doubles, jumps by a whole hour, memory between rows.

use super::columns::finding;
use super::{Finding, Severity, median};
use crate::learn::{Clock, Frame, Values};
use crate::output::{Zone, parse_instant};

/// A gap is so many times as long as the usual step.
const GAP: f64 = 5.0;
/// Clocks that are further apart are no rounding [s].
const SKEW: f64 = 2.0;

pub(super) fn look(frame: &Frame) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(time) = frame.time() else {
        found.push(finding(
            (Severity::Note, "clock"),
            "rows",
            "there is no column of times; the rows are taken to be in order".to_owned(),
            "Limits come from blocks of time; shuffled rows look more alike than fresh ones will.",
            "keep the rows in the order they were recorded, and name the column `time`",
        ));
        return found;
    };
    let seconds: Vec<f64> = match &time.clock {
        Clock::Utc(utc) => utc
            .iter()
            .map(|utc| if *utc == i64::MIN { f64::NAN } else { *utc as f64 / 1e9 })
            .collect(),
        Clock::Number(numbers) => numbers.clone(),
    };
    let utc = matches!(time.clock, Clock::Utc(_));
    let unread = seconds.iter().filter(|x| !x.is_finite()).count();
    if unread > 0 {
        found.push(finding(
            (Severity::Warning, "clock"),
            &time.name,
            format!("{unread} times are missing or cannot be read"),
            "Where these rows belong is not known.",
            "write times as 2026-11-22T10:00:05Z",
        ));
    }
    let mut steps = Vec::new();
    for (_, rows) in frame.files() {
        let part = seconds.get(rows.clone()).unwrap_or_default();
        let pairs = part.iter().zip(part.iter().skip(1)).enumerate();
        let pairs = pairs.map(|(place, (a, b))| (rows.start + place + 2, b - a));
        steps.extend(pairs.filter(|(_, step)| step.is_finite()));
    }
    found.extend(of_steps(&time.name, &steps, if utc { " s" } else { "" }));
    if utc {
        found.extend(whole_hours(&time.name, &steps));
        found.extend(skew(frame, &seconds));
    }
    found.extend(overlaps(frame, &seconds));
    found
}

fn of_steps(name: &str, steps: &[(usize, f64)], unit: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let back: Vec<usize> = steps.iter().filter(|(_, s)| *s < 0.0).map(|(row, _)| *row).collect();
    if 2 * back.len() > steps.len() {
        found.push(finding(
            (Severity::Problem, "clock"),
            name,
            format!(
                "the rows are in reversed order, newest first: {} of {} steps go back",
                back.len(),
                steps.len()
            ),
            "Drift, delays and causes would be learnt backwards.",
            "sort the rows by time, oldest first",
        ));
        // What else is wrong shows in the right order.
        let turned: Vec<(usize, f64)> = steps.iter().map(|(row, s)| (*row, -s)).collect();
        found.extend(of_steps(name, &turned, unit));
        return found;
    }
    if !back.is_empty() {
        found.push(finding(
            (Severity::Problem, "clock"),
            name,
            format!("time goes back {} times: rows {}", back.len(), super::some_rows(&back)),
            "What came before what is not known, and every block of time is mixed.",
            "sort the rows by the time of the PLC, or find out when its clock was set",
        ));
    }
    let twice: Vec<usize> = steps.iter().filter(|(_, s)| *s == 0.0).map(|(row, _)| *row).collect();
    if !twice.is_empty() {
        found.push(finding(
            (Severity::Warning, "clock"),
            name,
            format!(
                "{} rows have the time of the row before: {}",
                twice.len(),
                super::some_rows(&twice)
            ),
            "Either the clock is too coarse or rows were recorded twice.",
            "record milliseconds, or drop the doubles",
        ));
    }
    let mut ahead: Vec<f64> = steps.iter().map(|(_, s)| *s).filter(|s| *s > 0.0).collect();
    ahead.sort_by(f64::total_cmp);
    let usual = median(&ahead);
    let gaps: Vec<&(usize, f64)> = steps.iter().filter(|(_, s)| *s > GAP * usual).collect();
    let longest = gaps.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    if let Some((row, length)) = longest {
        found.push(finding(
            (Severity::Warning, "gaps"),
            name,
            format!(
                "{} gaps are longer than {GAP:.0} usual steps of {usual:.3}{unit}; the longest, \
                 {length:.1}{unit}, ends at row {row}",
                gaps.len()
            ),
            "Across a gap the process may be another one; rows on both sides are no neighbours.",
            "give the stretches as files of their own: each file is a run for itself",
        ));
    }
    found
}

/// A local clock jumps by an hour in spring and autumn.
fn whole_hours(name: &str, steps: &[(usize, f64)]) -> Option<Finding> {
    let mut all: Vec<f64> = steps.iter().map(|(_, s)| *s).collect();
    all.sort_by(f64::total_cmp);
    let usual = median(&all);
    // Only where rows come often enough that an hour stands out.
    if usual > 900.0 || usual <= 0.0 {
        return None;
    }
    let jump = |(_, step): &&(usize, f64)| ((step - usual).abs() - 3600.0).abs() <= usual;
    let rows: Vec<usize> = steps.iter().filter(jump).map(|(row, _)| *row).collect();
    (!rows.is_empty()).then(|| {
        finding(
            (Severity::Warning, "clock"),
            name,
            format!("the clock jumps by an hour at rows {}", super::some_rows(&rows)),
            "It was local time: after the change of summer time labels and rows do not meet.",
            "record UTC",
        )
    })
}

/// Another column of times that runs differently.
fn skew(frame: &Frame, seconds: &[f64]) -> Vec<Finding> {
    let mut found = Vec::new();
    for column in frame.columns() {
        let Values::Text { levels, codes } = &column.values else { continue };
        let read = |text: &String| {
            parse_instant(text, Zone::Utc).map_or(f64::NAN, |utc| utc.as_nanos() as f64 / 1e9)
        };
        let times: Vec<f64> = levels.iter().map(read).collect();
        if times.is_empty() || times.iter().any(|x| x.is_nan()) {
            continue;
        }
        let of_row = |code: &u32| usize::try_from(*code).ok().and_then(|c| times.get(c)).copied();
        let apart = codes.iter().zip(seconds).filter_map(|(code, at)| Some(of_row(code)? - at));
        let mut apart: Vec<f64> = apart.filter(|x| x.is_finite()).collect();
        apart.sort_by(f64::total_cmp);
        let (middle, low, high) = (median(&apart), apart.first(), apart.last());
        if let (Some(low), Some(high)) = (low, high)
            && middle.abs() > SKEW
        {
            found.push(finding(
                (Severity::Warning, "clock"),
                &column.name,
                format!("is {middle:+.1} s from the rows' time ({low:+.1} to {high:+.1} s)"),
                "Two clocks that differ join rows that do not belong together.",
                "synchronise the clocks (NTP), or join by part id",
            ));
        }
    }
    found
}

/// Files that begin before the one in front of them ends.
fn overlaps(frame: &Frame, seconds: &[f64]) -> Vec<Finding> {
    let mut found = Vec::new();
    let end = |rows: &std::ops::Range<usize>, last: bool| {
        let part = seconds.get(rows.clone()).unwrap_or_default().iter().filter(|x| x.is_finite());
        if last { part.copied().reduce(f64::max) } else { part.copied().reduce(f64::min) }
    };
    // Times in units of their own begin anew in every file.
    if !matches!(frame.time().map(|time| &time.clock), Some(Clock::Utc(_))) {
        return found;
    }
    for ((before, a), (after, b)) in frame.files().iter().zip(frame.files().iter().skip(1)) {
        if end(a, true) > end(b, false) {
            found.push(finding(
                (Severity::Warning, "clock"),
                &after.display().to_string(),
                format!("begins before {} ends", before.display()),
                "Rows may be there twice, and blocks of time are mixed.",
                "give the files in the order of time, without overlap",
            ));
        }
    }
    found
}
