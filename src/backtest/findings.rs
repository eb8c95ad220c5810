//! What would have been detected, how early, and how often for nothing: signatures held against
//! measured quality.
//!
//! Rules, none of which has a number of its own:
//!
//! - A label is *bad* when it is further from the target of a loop than the loop's tolerance. A
//!   characteristic that no loop controls has no tolerance, so its labels judge nothing.
//! - A *defect* is a run of bad labels of one characteristic with no good one between them. It may
//!   have begun at any part after the last good label.
//! - It is *detected* when a signature was on at some part from there to its last bad label; *early*
//!   when the signature came on before the first bad part was finished, *in time* when before its
//!   label came, else *late*.
//! - An alarm is a signature from on to off. It is *true* when it detects a defect, *false* when no
//!   label from its begin to the first one after its end is bad and at least one is good, else
//!   *unjudged*.

use serde::Serialize;

use trimloop_core::plan::{Controller, Plan};

use super::arm::{LabelSeen, Switch};
use crate::output::utc_text;
use trimloop_core::time::Utc;

/// Defects that are listed one by one; further ones are counted.
pub(super) const LISTED: usize = 200;

/// A signature from on to off, in parts and time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Alarm {
    pub(super) signature: usize,
    pub(super) from_ts: i64,
    pub(super) from_part: i64,
    /// First part at which it is off again; `i64::MAX` when it is on at the end.
    pub(super) to_part: i64,
    pub(super) to_ts: i64,
}

/// Labels against signatures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Findings {
    /// Labels that found their part.
    pub labels: u64,
    /// Of them within tolerance.
    pub good: u64,
    /// Out of tolerance.
    pub bad: u64,
    /// Of characteristics without a tolerance.
    pub unjudged: u64,
    /// Why there is nothing to hold signatures against; empty when there is.
    pub no_labels_because: String,
    /// Runs of bad labels.
    pub defects: u64,
    /// A signature was on in time or early.
    pub detected: u64,
    /// Of them before the first bad part was finished.
    pub early: u64,
    /// On only after the label had told it.
    pub late: u64,
    /// Never on.
    pub missed: u64,
    /// Median of [`DefectReport::parts_before`] over those detected.
    pub parts_before_median: Option<f64>,
    /// Median of [`DefectReport::label_seconds_before`] over those detected.
    pub seconds_before_median: Option<f64>,
    /// Bad parts at whose end a signature was on.
    pub bad_parts_under_alarm: u64,
    /// Alarms of all signatures.
    pub alarms: u64,
    /// Alarms that detect nothing, although parts were measured.
    pub false_alarms: u64,
    /// Of those per 1,000 good labels; `None` without any.
    pub false_per_1000_good: Option<f64>,
    /// By signature.
    pub signatures: Vec<SignatureReport>,
    /// The defects, the first 200.
    pub list: Vec<DefectReport>,
}

/// What came of one signature.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SignatureReport {
    /// Name.
    pub name: String,
    /// Times it came on.
    pub alarms: u64,
    /// Detected a defect.
    pub true_alarms: u64,
    /// Detected nothing, although parts were measured.
    pub false_alarms: u64,
    /// No part was measured.
    pub unjudged: u64,
}

/// One defect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DefectReport {
    /// Characteristic.
    pub characteristic: String,
    /// PLC id of the first bad part.
    pub part: i64,
    /// When it was finished.
    pub part_utc: String,
    /// When its label came.
    pub label_utc: String,
    /// Bad labels.
    pub bad: u64,
    /// `early`, `in_time`, `late` or `missed`.
    pub detected: &'static str,
    /// The signature.
    pub signature: Option<String>,
    /// When it came on.
    pub on_utc: Option<String>,
    /// Parts from there to the first bad one; below 0 it came on later.
    pub parts_before: Option<i64>,
    /// Time from there to its end [s].
    pub seconds_before: Option<f64>,
    /// Time from there to its label [s].
    pub label_seconds_before: Option<f64>,
}

/// Half tolerance and target by characteristic: the tightest of its loops.
pub(super) fn tolerances(plan: &Plan) -> Vec<Option<(f64, f64)>> {
    let mut found: Vec<Option<(f64, f64)>> = vec![None; plan.characteristics.len()];
    for of_loop in &plan.loops {
        let Controller::RunToRun(c1) = &of_loop.controller else { continue };
        if let Some(slot) = found.get_mut(c1.characteristic.index())
            && slot.is_none_or(|(_, tolerance)| c1.tolerance < tolerance)
        {
            *slot = Some((c1.target, c1.tolerance));
        }
    }
    found
}

/// Whether a label is bad; `None` when nothing says.
pub(super) fn is_bad(label: &LabelSeen, tolerances: &[Option<(f64, f64)>]) -> Option<bool> {
    let (target, tolerance) = tolerances.get(label.characteristic).copied().flatten()?;
    Some((label.value - target).abs() > tolerance)
}

/// Joins switches to alarms. `begin`: where the range begins [ns], with what is on there.
pub(super) fn alarms(switches: &[Switch], begin: i64, on_at_begin: &[bool]) -> Vec<Alarm> {
    let mut open: Vec<Option<(i64, i64)>> =
        on_at_begin.iter().map(|on| on.then_some((begin, 0))).collect();
    let mut all = Vec::new();
    for switch in switches {
        if open.len() <= switch.signature {
            open.resize(switch.signature + 1, None);
        }
        let Some(slot) = open.get_mut(switch.signature) else { continue };
        match (*slot, switch.on) {
            (None, true) => *slot = Some((switch.ts, switch.part)),
            (Some((from_ts, from_part)), false) => {
                let (to_part, to_ts) = (switch.part, switch.ts);
                let signature = switch.signature;
                all.push(Alarm { signature, from_ts, from_part, to_part, to_ts });
                *slot = None;
            }
            _ => {}
        }
    }
    for (signature, slot) in open.into_iter().enumerate() {
        if let Some((from_ts, from_part)) = slot {
            let (to_part, to_ts) = (i64::MAX, i64::MAX);
            all.push(Alarm { signature, from_ts, from_part, to_part, to_ts });
        }
    }
    all.sort_by_key(|alarm| (alarm.from_ts, alarm.signature));
    all
}

/// A run of bad labels.
struct Defect<'a> {
    first: &'a LabelSeen,
    /// Number of the last part labelled good before it; `i64::MIN` when there is none.
    after: i64,
    last: i64,
    bad: u64,
}

/// Holds alarms against labels.
pub(super) fn findings(
    plan: &Plan,
    signature_names: &[String],
    alarms: &[Alarm],
    labels: &[LabelSeen],
) -> Findings {
    let tolerances = tolerances(plan);
    let mut judged: Vec<(&LabelSeen, bool)> =
        labels.iter().filter_map(|label| Some((label, is_bad(label, &tolerances)?))).collect();
    judged.sort_by_key(|(label, _)| (label.part, label.characteristic));
    let bad = judged.iter().filter(|(_, bad)| *bad).count() as u64;
    let good = judged.len() as u64 - bad;
    let mut found = Findings {
        labels: labels.len() as u64,
        good,
        bad,
        unjudged: (labels.len() - judged.len()) as u64,
        alarms: alarms.len() as u64,
        signatures: signature_names
            .iter()
            .map(|name| SignatureReport { name: name.clone(), ..SignatureReport::default() })
            .collect(),
        ..Findings::default()
    };
    if judged.is_empty() {
        found.no_labels_because = why_none(plan, &tolerances, labels);
    }
    let defects = defects(&judged, plan.characteristics.len());
    let mut is_true = vec![false; alarms.len()];
    for defect in &defects {
        found.defect(plan, signature_names, defect, alarms, &mut is_true);
    }
    for (alarm, is_true) in alarms.iter().zip(is_true) {
        found.alarm(alarm, is_true, &judged);
    }
    found.bad_parts_under_alarm = judged
        .iter()
        .filter(|(label, bad)| *bad && alarms.iter().any(|alarm| alarm.is_on_at(label.part)))
        .count() as u64;
    found.finish();
    found
}

fn why_none(plan: &Plan, tolerances: &[Option<(f64, f64)>], labels: &[LabelSeen]) -> String {
    let because = if plan.characteristics.is_empty() {
        "the recipe has no label: it knows no measured quality"
    } else if tolerances.iter().all(Option::is_none) {
        "no loop of the recipe controls a label, so there is no tolerance to call one bad"
    } else if labels.is_empty() {
        "no label found its part: the label tags are not in the data, or told of no part in it"
    } else {
        "the labels in the data are of characteristics without a tolerance"
    };
    because.to_owned()
}

/// Runs of bad labels, by characteristic.
fn defects<'a>(judged: &[(&'a LabelSeen, bool)], characteristics: usize) -> Vec<Defect<'a>> {
    let mut all: Vec<Defect<'a>> = Vec::new();
    for characteristic in 0..characteristics {
        let mut after = i64::MIN;
        let mut open: Option<Defect<'a>> = None;
        for (label, bad) in judged.iter().filter(|(l, _)| l.characteristic == characteristic) {
            match (bad, &mut open) {
                (true, None) => {
                    open = Some(Defect { first: label, after, last: label.part, bad: 1 });
                }
                (true, Some(defect)) => {
                    defect.last = label.part;
                    defect.bad += 1;
                }
                (false, _) => {
                    after = label.part;
                    all.extend(open.take());
                }
            }
        }
        all.extend(open);
    }
    all.sort_by_key(|defect| (defect.first.part, defect.first.characteristic));
    all
}

impl Alarm {
    fn is_on_at(&self, part: i64) -> bool {
        self.from_part <= part && part < self.to_part
    }

    /// Whether it is on at a part after `after`, up to `last`.
    fn touches(&self, after: i64, last: i64) -> bool {
        self.from_part <= last && self.from_part.max(after.saturating_add(1)) < self.to_part
    }
}

impl Findings {
    fn defect(
        &mut self,
        plan: &Plan,
        names: &[String],
        defect: &Defect<'_>,
        alarms: &[Alarm],
        is_true: &mut [bool],
    ) {
        self.defects += 1;
        let mut first: Option<&Alarm> = None;
        for (alarm, is_true) in alarms.iter().zip(is_true) {
            if alarm.touches(defect.after, defect.last) {
                *is_true = true;
                first = first.or(Some(alarm));
            }
        }
        let label = defect.first;
        let word = match first {
            None => "missed",
            Some(alarm) if alarm.from_ts < label.part_ts => "early",
            Some(alarm) if alarm.from_ts < label.ts => "in_time",
            Some(_) => "late",
        };
        match word {
            "missed" => self.missed += 1,
            "late" => self.late += 1,
            word => {
                self.detected += 1;
                self.early += u64::from(word == "early");
            }
        }
        let seconds = |nanos: i64| nanos as f64 / 1e9;
        self.list.push(DefectReport {
            characteristic: plan
                .characteristics
                .get(label.characteristic)
                .map_or_else(String::new, |c| c.name.clone()),
            part: label.id,
            part_utc: utc_text(Utc::from_nanos(label.part_ts)),
            label_utc: utc_text(Utc::from_nanos(label.ts)),
            bad: defect.bad,
            detected: word,
            signature: first.and_then(|alarm| names.get(alarm.signature).cloned()),
            on_utc: first.map(|alarm| utc_text(Utc::from_nanos(alarm.from_ts))),
            parts_before: first.map(|alarm| label.part - alarm.from_part),
            seconds_before: first.map(|alarm| seconds(label.part_ts - alarm.from_ts)),
            label_seconds_before: first.map(|alarm| seconds(label.ts - alarm.from_ts)),
        });
    }

    fn alarm(&mut self, alarm: &Alarm, is_true: bool, judged: &[(&LabelSeen, bool)]) {
        let from = judged.partition_point(|(label, _)| label.part < alarm.from_part);
        let end = judged.partition_point(|(label, _)| label.part < alarm.to_part);
        // The first part measured after its end judges it too.
        let after = judged.get(end).map_or(end, |(first, _)| {
            let rest = judged.get(end..).unwrap_or_default();
            end + rest.iter().take_while(|(label, _)| label.part == first.part).count()
        });
        let under = judged.get(from..after).unwrap_or_default();
        let is_false = !is_true && !under.is_empty() && under.iter().all(|(_, bad)| !bad);
        self.false_alarms += u64::from(is_false);
        if let Some(of) = self.signatures.get_mut(alarm.signature) {
            of.alarms += 1;
            of.true_alarms += u64::from(is_true);
            of.false_alarms += u64::from(is_false);
            of.unjudged += u64::from(!is_true && !is_false);
        }
    }

    fn finish(&mut self) {
        if self.good > 0 {
            let rate = 1000.0 * self.false_alarms as f64 / self.good as f64;
            self.false_per_1000_good = Some(rate);
        }
        let detected = || self.list.iter().filter(|d| ["early", "in_time"].contains(&d.detected));
        let parts = detected().filter_map(|d| Some(d.parts_before? as f64)).collect();
        let seconds = detected().filter_map(|d| d.label_seconds_before).collect();
        (self.parts_before_median, self.seconds_before_median) = (median(parts), median(seconds));
    }
}

/// The middle value; the mean of the two in the middle of an even number.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests;
