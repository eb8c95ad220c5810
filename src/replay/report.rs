//! What a replay came to, as data and in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use trimloop_core::event::What;
use trimloop_core::record::{Outcome as Decided, Record};
use trimloop_core::scan::Action;
use trimloop_core::time::Span;

use crate::journal::{Damage, OwnedScan};
use crate::output::duration_text;

/// Width of one side of a difference.
const SIDE: usize = 56;
/// Equal lines shown around differing ones.
const AROUND: usize = 2;

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every compared scan is equal.
    Equal,
    /// The end that was asked for is reached; told as [`Self::Equal`].
    Until,
    /// A break was hit; everything before it is equal.
    Broke(Box<Scene>),
    /// This scan was decided otherwise.
    Differs(Box<Difference>),
    /// Under another plan some scans were decided otherwise.
    OtherPlan,
    /// The journal is not what was written.
    Damaged(Damage),
}

/// One scan in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Start.
    pub boot: u64,
    /// Scan.
    pub seq: u64,
    /// UTC.
    pub utc: String,
    /// What it was stopped for.
    pub because: String,
    /// What went in.
    pub scan: Vec<String>,
    /// What came out.
    pub actions: Vec<String>,
}

/// The first scan that was decided otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Start.
    pub boot: u64,
    /// Scan.
    pub seq: u64,
    /// UTC.
    pub utc: String,
    /// File of its actions.
    pub file: PathBuf,
    /// Where their record begins.
    pub offset: u64,
    /// Digests, recorded and replayed.
    pub digests: (u64, u64),
    /// What went in.
    pub scan: Vec<String>,
    /// What was decided then.
    pub recorded: Vec<String>,
    /// What is decided now.
    pub replayed: Vec<String>,
}

/// A start that could not be replayed, because its first scans are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Start.
    pub boot: u64,
    /// Its first scan that is here.
    pub first_seq: u64,
}

/// One event, for the report.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EventLine {
    /// For `trimloop why`.
    pub id: String,
    /// UTC.
    pub utc: String,
    /// Part.
    pub part: i64,
    /// Stable word.
    pub code: &'static str,
    /// For people.
    pub sentence: String,
}

/// Counts of what was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Writes.
    pub writes: u64,
    /// Trips.
    pub trips: u64,
    /// Decisions by outcome: `write`, `hold dwell`.
    pub decisions: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn decide(&mut self, outcome: Decided) {
        let word = match outcome {
            Decided::Write(_) => "write".to_owned(),
            Decided::Return(_) => "return".to_owned(),
            Decided::WouldWrite => "would_write".to_owned(),
            Decided::Asked(_) => "asked".to_owned(),
            Decided::Hold(reason) => format!("hold {}", reason.word()),
            Decided::Trip(reason) => format!("trip {}", reason.word()),
        };
        *self.decisions.entry(word).or_default() += 1;
    }
}

/// What was replayed and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// It ended where `until` said.
    pub stopped: bool,
    /// Files read.
    pub files: u64,
    /// Records read and found whole.
    pub records: u64,
    /// Starts of the service.
    pub starts: u64,
    /// Hash, recipe and revision of each plan.
    pub plans: Vec<(String, String, u32)>,
    /// Scans that were replayed and told.
    pub scans: u64,
    /// Scans whose actions were compared.
    pub compared: u64,
    /// Scans after which the service was killed before it noted what it had decided.
    pub unanswered: u64,
    /// Samples in them.
    pub samples: u64,
    /// Time that they took when they were recorded.
    pub recorded_time: Span,
    /// What was decided.
    pub replayed: Tally,
    /// Under another plan: what had been decided.
    pub recorded: Tally,
    /// Under another plan: scans that differ.
    pub differing: u64,
    /// Under another plan: the first of them.
    pub first_difference: Option<Difference>,
    /// Starts that were not replayed.
    pub skipped: Vec<Skipped>,
    /// Events, but for those of single tags.
    pub events: Vec<EventLine>,
    /// Events left out of the list.
    pub events_left_out: u64,
    /// All events told, those of tags included.
    pub(super) events_seen: u64,
    pub(super) events_before: u64,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            outcome: Outcome::Equal,
            stopped: false,
            files: 0,
            records: 0,
            starts: 0,
            plans: Vec::new(),
            scans: 0,
            compared: 0,
            unanswered: 0,
            samples: 0,
            recorded_time: Span::ZERO,
            replayed: Tally::default(),
            recorded: Tally::default(),
            differing: 0,
            first_difference: None,
            skipped: Vec::new(),
            events: Vec::new(),
            events_left_out: 0,
            events_seen: 0,
            events_before: 0,
        }
    }

    pub(super) fn count(&mut self, scan: &OwnedScan, took: Span, actions: &[Action]) {
        self.scans += 1;
        self.samples += scan.changes.len() as u64;
        self.recorded_time += took;
        for action in actions {
            match action {
                Action::Write(_) => self.replayed.writes += 1,
                Action::Record(Record::Decision(row)) => self.replayed.decide(row.outcome),
                Action::Event(event) if matches!(event.what, What::Tripped(..)) => {
                    self.replayed.trips += 1;
                }
                _ => {}
            }
        }
    }

    /// Whether everything that was looked at is as it was recorded.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(self.outcome, Outcome::Equal | Outcome::Broke(_))
    }
}

/// The report for people.
#[must_use]
pub fn report_text(report: &Report, with_events: bool) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    write_report(&mut out, report, with_events).unwrap_or_default();
    out
}

fn plural(n: u64, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

fn write_report(out: &mut String, report: &Report, with_events: bool) -> std::fmt::Result {
    for (hash, recipe, revision) in &report.plans {
        writeln!(out, "plan      {recipe} r{revision} {}", hash.get(..16).unwrap_or(hash))?;
    }
    writeln!(
        out,
        "journal   {} in {}, {}, {} with {}, recorded in {}",
        plural(report.records, "record"),
        plural(report.files, "file"),
        plural(report.starts, "start"),
        plural(report.scans, "scan"),
        plural(report.samples, "sample"),
        duration_text(report.recorded_time)
    )?;
    for skipped in &report.skipped {
        writeln!(
            out,
            "skipped   start {}: it begins before scan {}, in a file that is not here",
            skipped.boot, skipped.first_seq
        )?;
    }
    if report.unanswered > 0 {
        writeln!(
            out,
            "killed    after {} before its decision was noted",
            plural(report.unanswered, "scan")
        )?;
    }
    if matches!(report.outcome, Outcome::OtherPlan) {
        write_totals(out, report)?;
    } else {
        let list: Vec<String> =
            report.replayed.decisions.iter().map(|(word, n)| format!("{n} {word}")).collect();
        let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
        writeln!(
            out,
            "decided   {list}; {}, {}",
            plural(report.replayed.writes, "write"),
            plural(report.replayed.trips, "trip")
        )?;
    }
    if with_events {
        for event in &report.events {
            writeln!(
                out,
                "{}  part {:>5}  {:>8}  {}",
                event.utc, event.part, event.id, event.sentence
            )?;
        }
        if report.events_left_out > 0 {
            writeln!(out, "... and {} more events", report.events_left_out)?;
        }
    }
    write_outcome(out, report)
}

fn write_totals(out: &mut String, report: &Report) -> std::fmt::Result {
    let mut words: Vec<&String> =
        report.recorded.decisions.keys().chain(report.replayed.decisions.keys()).collect();
    words.sort();
    words.dedup();
    writeln!(out, "\n{:<24}{:>10}{:>10}", "decided", "recorded", "replayed")?;
    for word in words {
        let of = |tally: &Tally| tally.decisions.get(word).copied().unwrap_or(0);
        writeln!(out, "{word:<24}{:>10}{:>10}", of(&report.recorded), of(&report.replayed))?;
    }
    writeln!(out, "{:<24}{:>10}{:>10}", "trips", report.recorded.trips, report.replayed.trips)
}

fn write_outcome(out: &mut String, report: &Report) -> std::fmt::Result {
    match &report.outcome {
        Outcome::Equal | Outcome::Until => {
            let all = if report.stopped { "up to the end that was asked for, " } else { "" };
            writeln!(
                out,
                "equal     {all}{} of {} decided the same, bit by bit",
                report.compared,
                plural(report.compared, "scan")
            )
        }
        Outcome::Broke(scene) => {
            writeln!(out, "equal     {} decided the same so far", plural(report.compared, "scan"))?;
            writeln!(
                out,
                "\nscan {}-{} at {}: {}",
                scene.boot, scene.seq, scene.utc, scene.because
            )?;
            write_list(out, "in", &scene.scan)?;
            write_list(out, "out", &scene.actions)
        }
        Outcome::Differs(difference) => write_difference(out, difference),
        Outcome::OtherPlan => {
            writeln!(
                out,
                "\nDIFFERS   {} of {} were decided otherwise under this plan; the first:",
                report.differing,
                plural(report.compared, "scan")
            )?;
            report.first_difference.as_ref().map_or(Ok(()), |d| write_difference(out, d))
        }
        Outcome::Damaged(damage) => {
            writeln!(out, "DAMAGED   {damage}")?;
            writeln!(out, "          {} before it are whole", plural(report.compared, "scan"))
        }
    }
}

fn write_list(out: &mut String, title: &str, lines: &[String]) -> std::fmt::Result {
    for (place, line) in lines.iter().enumerate() {
        writeln!(out, "  {:<4} {line}", if place == 0 { title } else { "" })?;
    }
    Ok(())
}

fn write_difference(out: &mut String, of: &Difference) -> std::fmt::Result {
    writeln!(
        out,
        "\nDIFFERS   scan {}-{} at {} ({} at byte {})\n          digest {:016x} recorded, \
         {:016x} replayed",
        of.boot,
        of.seq,
        of.utc,
        of.file.display(),
        of.offset,
        of.digests.0,
        of.digests.1
    )?;
    write_list(out, "in", &of.scan)?;
    writeln!(out, "\n     {:<SIDE$} | replayed", "recorded")?;
    write_sides(out, &of.recorded, &of.replayed)
}

/// One row of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row<'a> {
    Same(&'a str),
    Changed(&'a str, &'a str),
    Gone(&'a str),
    New(&'a str),
}

/// Lines up two lists by their longest common subsequence.
fn align<'a>(old: &'a [String], new: &'a [String]) -> Vec<Row<'a>> {
    let width = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    let at = |longest: &[u32], a: usize, b: usize| longest.get(a * width + b).copied().unwrap_or(0);
    for (a, x) in old.iter().enumerate().rev() {
        for (b, y) in new.iter().enumerate().rev() {
            let best = if x == y {
                at(&longest, a + 1, b + 1) + 1
            } else {
                at(&longest, a + 1, b).max(at(&longest, a, b + 1))
            };
            if let Some(slot) = longest.get_mut(a * width + b) {
                *slot = best;
            }
        }
    }
    let (mut a, mut b) = (0, 0);
    let mut rows: Vec<Row<'a>> = Vec::new();
    loop {
        match (old.get(a), new.get(b)) {
            (None, None) => break,
            (Some(x), Some(y)) if x == y => {
                rows.push(Row::Same(x));
                (a, b) = (a + 1, b + 1);
            }
            (Some(x), y) if y.is_none() || at(&longest, a + 1, b) >= at(&longest, a, b + 1) => {
                rows.push(Row::Gone(x));
                a += 1;
            }
            (_, Some(y)) => {
                b += 1;
                // A line that went and one that came stand side by side.
                match rows.iter().rposition(|row| !matches!(row, Row::New(_) | Row::Changed(..))) {
                    Some(place) if matches!(rows.get(place), Some(Row::Gone(_))) => {
                        let first = first_gone(&rows, place);
                        if let Some(slot) = rows.get_mut(first)
                            && let Row::Gone(x) = *slot
                        {
                            *slot = Row::Changed(x, y);
                        }
                    }
                    _ => rows.push(Row::New(y)),
                }
            }
            (Some(_), None) => break,
        }
    }
    rows
}

/// First of the run of lines that went, which ends at `last`.
fn first_gone(rows: &[Row<'_>], last: usize) -> usize {
    let mut first = last;
    while first > 0 && matches!(rows.get(first - 1), Some(Row::Gone(_))) {
        first -= 1;
    }
    first
}

fn write_sides(out: &mut String, recorded: &[String], replayed: &[String]) -> std::fmt::Result {
    let rows = align(recorded, replayed);
    let near = |place: usize| {
        let from = place.saturating_sub(AROUND);
        rows.iter().skip(from).take(2 * AROUND + 1).any(|row| !matches!(row, Row::Same(_)))
    };
    let mut equal = 0;
    for (place, row) in rows.iter().enumerate() {
        if let Row::Same(_) = row
            && !near(place)
        {
            equal += 1;
            continue;
        }
        if equal > 0 {
            writeln!(out, "     ... {equal} equal")?;
            equal = 0;
        }
        let (mark, left, right) = match *row {
            Row::Same(x) => (' ', x, x),
            Row::Changed(x, y) => ('!', x, y),
            Row::Gone(x) => ('<', x, ""),
            Row::New(y) => ('>', "", y),
        };
        write_row(out, mark, left, right)?;
    }
    if equal > 0 {
        writeln!(out, "     ... {equal} equal")?;
    }
    Ok(())
}

/// Both sides, each wrapped at [`SIDE`].
fn write_row(out: &mut String, mark: char, left: &str, right: &str) -> std::fmt::Result {
    let (left, right) = (wrapped(left), wrapped(right));
    for place in 0..left.len().max(right.len()) {
        let side = |lines: &[String]| lines.get(place).cloned().unwrap_or_default();
        let mark = if place == 0 { mark } else { ' ' };
        let line = format!("   {mark} {:<SIDE$} | {}", side(&left), side(&right));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let room = lines.last().is_none_or(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= SIDE
        });
        if !room {
            lines.push(format!("  {word}"));
        } else if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    /// What stayed lines up; what changed stands side by side; nothing is lost.
    #[test]
    fn lists_are_lined_up() {
        let (old, new) = (lines("a b c d"), lines("a x c d e"));
        assert_eq!(
            align(&old, &new),
            [Row::Same("a"), Row::Changed("b", "x"), Row::Same("c"), Row::Same("d"), Row::New("e")]
        );
        let (old, new) = (lines("a b c"), lines("c"));
        assert_eq!(align(&old, &new), [Row::Gone("a"), Row::Gone("b"), Row::Same("c")]);
        let nothing: [String; 0] = [];
        assert_eq!(align(&nothing, &lines("a")), [Row::New("a")]);
    }

    /// Long lines wrap, equal ones far from a difference are counted.
    #[test]
    fn sides_are_readable() {
        let old: Vec<String> = (0..9).map(|n| format!("line {n}")).collect();
        let mut new = old.clone();
        new[8] = "line 8 ".to_owned() + "word ".repeat(20).trim_end();
        let mut out = String::new();
        write_sides(&mut out, &old, &new).unwrap();
        assert!(out.starts_with("     ... 6 equal\n"), "{out}");
        assert!(out.contains("   ! line 8"), "{out}");
        assert!(out.lines().all(|line| line.chars().count() <= 2 * SIDE + 8), "{out}");
    }
}
