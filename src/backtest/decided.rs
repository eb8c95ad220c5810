//! Decisions, how they are counted, and their table.

use std::borrow::Cow;
use std::io;

use serde::Serialize;

use trimloop_core::guard::{Cut, Reason};
use trimloop_core::record::{DecisionRow, Outcome};

use crate::export::{Cell, Column, Kind, Sheet};
use crate::output::Names;

/// One decision of the core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decided {
    /// [ns UTC]
    pub(super) ts: i64,
    pub(super) row: DecisionRow,
    /// A would-be write that dwell and budget leave.
    pub(super) writes: bool,
}

/// Counts of one loop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LoopCounts {
    pub(super) decisions: u64,
    /// Of them with a wish.
    pub(super) wishes: u64,
    pub(super) would_write: u64,
    pub(super) writes: u64,
    pub(super) at_limit: u64,
    pub(super) at_limit_begins: u64,
    /// By place in [`Reason::ALL`].
    pub(super) holds: [u64; Reason::ALL.len()],
}

impl LoopCounts {
    pub(super) fn add(&mut self, decided: &Decided, was_at_limit: bool) {
        let row = &decided.row;
        self.decisions += 1;
        self.wishes += u64::from(row.desired.is_some());
        self.would_write += u64::from(row.outcome == Outcome::WouldWrite);
        self.writes += u64::from(decided.writes);
        let at_limit = is_at_limit(row);
        self.at_limit += u64::from(at_limit);
        self.at_limit_begins += u64::from(at_limit && !was_at_limit);
        if let Outcome::Hold(reason) = row.outcome {
            let place = Reason::ALL.iter().position(|known| *known == reason);
            if let Some(slot) = place.and_then(|place| self.holds.get_mut(place)) {
                *slot += 1;
            }
        }
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.decisions += other.decisions;
        self.wishes += other.wishes;
        self.would_write += other.would_write;
        self.writes += other.writes;
        self.at_limit += other.at_limit;
        self.at_limit_begins += other.at_limit_begins;
        for (own, more) in self.holds.iter_mut().zip(&other.holds) {
            *own += more;
        }
    }

    /// Reasons that held the loop, the most frequent first.
    pub(super) fn reasons(&self) -> Vec<Hold> {
        let mut all: Vec<Hold> = Reason::ALL
            .iter()
            .zip(&self.holds)
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| Hold { reason: reason.word(), decisions: *count })
            .collect();
        all.sort_by_key(|hold| std::cmp::Reverse(hold.decisions));
        all
    }
}

/// How often one reason held a loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Stable word.
    pub reason: &'static str,
    /// Decisions.
    pub decisions: u64,
}

/// Whether the wish was cut where a setpoint may go, not only in how fast.
pub(super) fn is_at_limit(row: &DecisionRow) -> bool {
    row.desired.is_some()
        && matches!(row.cut, Cut::Absolute | Cut::Trim | Cut::Plc | Cut::Authority)
}

/// Columns of the table of decisions.
#[must_use]
pub fn decision_columns() -> Vec<Column> {
    [
        ("time", Kind::Time(9)),
        ("recipe", Kind::Text),
        ("part", Kind::Int),
        ("loop", Kind::Text),
        ("setpoint", Kind::Text),
        ("unit", Kind::Text),
        ("outcome", Kind::Text),
        ("reason", Kind::Text),
        ("desired", Kind::Number),
        ("limited", Kind::Number),
        ("read_back", Kind::Number),
        ("cut", Kind::Text),
        ("rung", Kind::Text),
        ("failed", Kind::Int),
        ("write", Kind::Bool),
    ]
    .map(|(name, kind)| Column::new(name, kind))
    .into()
}

/// Writes the decisions of one recipe.
pub(super) fn write_decisions(
    sheet: &mut dyn Sheet,
    recipe: &str,
    names: &Names,
    decisions: &[Decided],
) -> io::Result<()> {
    let text = |text: &'static str| Cell::Text(Cow::Borrowed(text));
    let number = |value: Option<f64>| value.map_or(Cell::Null, Cell::Float);
    for decided in decisions {
        let row = &decided.row;
        let index = row.loop_id.index();
        let setpoint = names.setpoint_of(index);
        let value = |ticks| setpoint.and_then(|s| names.setpoint_value(s, ticks));
        let named = setpoint.and_then(|s| names.setpoints.get(s));
        let (outcome, reason) = outcome_words(row.outcome);
        sheet.row(&[
            Cell::Time(decided.ts),
            Cell::Text(recipe.into()),
            Cell::Int(row.part),
            Cell::Text(names.loop_name(index).into()),
            Cell::Text(named.map_or("", |s| s.name.as_str()).into()),
            Cell::Text(named.map_or("", |s| s.unit.as_str()).into()),
            text(outcome),
            reason.map_or(Cell::Null, text),
            number(row.desired),
            number(row.limited.and_then(value)),
            number(row.read_back.and_then(value)),
            text(row.cut.word()),
            text(row.rung.word()),
            Cell::Int(i64::from(row.failed.bits())),
            Cell::Bool(decided.writes),
        ])?;
    }
    Ok(())
}

/// Outcome and reason, as the store has them.
fn outcome_words(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Write(_) => ("write", None),
        Outcome::Return(_) => ("return", None),
        Outcome::WouldWrite => ("would_write", None),
        Outcome::Asked(_) => ("asked", None),
        Outcome::Hold(reason) => ("hold", Some(reason.word())),
        Outcome::Trip(reason) => ("trip", Some(reason.word())),
    }
}
