//! Days, in their order, into one result.

use std::collections::BTreeMap;

use trimloop_core::plan::Plan;
use trimloop_core::record::Outcome;
use trimloop_core::time::{Span, Utc};

use super::arm::{ArmDay, LabelSeen, Switch};
use super::compare::{Pair, compare, pairs};
use super::decided::{Decided, LoopCounts, write_decisions};
use super::findings::{LISTED, alarms, findings, is_bad, tolerances};
use super::report::{
    CharacteristicPlot, DayReport, Joins, LoopPlot, LoopReport, ModelReport, Point, RecipeReport,
    Report,
};
use super::stretch::DayResult;
use super::{BacktestError, JOIN};
use crate::export::Sheet;
use crate::output::{Names, Zone, utc_text};

/// Most points of a curve; beyond them every second one goes.
const POINTS_MAX: usize = 4096;

/// All days so far.
pub(super) struct Fold<'a> {
    own: Total<'a>,
    other: Option<Total<'a>>,
    sheet: Option<&'a mut (dyn Sheet + 'a)>,
    empty_days: Vec<String>,
    pairs: Vec<Pair>,
}

/// One recipe so far.
struct Total<'a> {
    plan: &'a Plan,
    names: Names,
    sum: ArmDay,
    switches: Vec<Switch>,
    labels: Vec<LabelSeen>,
    /// `[signatures]` as the newest day left them.
    on: Vec<bool>,
    on_at_begin: Vec<bool>,
    /// Decisions of the newest day's last hour, and that day's end [ns].
    tail: Vec<Decided>,
    tail_end: Option<i64>,
    joins: Joins,
    days: Vec<DayReport>,
    plots: Vec<Thinned<Point>>,
}

/// A list that keeps its length bounded by leaving out every second value.
struct Thinned<T> {
    kept: Vec<T>,
    every: usize,
    seen: usize,
}

impl<T> Thinned<T> {
    fn new() -> Self {
        Self { kept: Vec::new(), every: 1, seen: 0 }
    }

    fn push(&mut self, value: T) {
        if self.seen.is_multiple_of(self.every) {
            self.kept.push(value);
        }
        self.seen += 1;
        if self.kept.len() > POINTS_MAX {
            let mut place = 0;
            self.kept.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.every *= 2;
        }
    }
}

impl<'a> Fold<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        other: Option<&'a Plan>,
        sheet: Option<&'a mut (dyn Sheet + 'a)>,
    ) -> Self {
        Self {
            own: Total::new(plan),
            other: other.map(Total::new),
            sheet,
            empty_days: Vec::new(),
            pairs: other.map_or_else(Vec::new, |other| pairs(plan, other)),
        }
    }

    /// Takes the next day in.
    pub(super) fn day(&mut self, result: DayResult) -> Result<(), BacktestError> {
        if result.arms.iter().all(|arm| arm.samples == 0) {
            self.empty_days.push(day_name(result.stretch.begin));
        }
        if let [own, other] = result.arms.as_slice() {
            for pair in &mut self.pairs {
                pair.add(&own.decisions, &other.decisions);
            }
        }
        let totals = std::iter::once(&mut self.own).chain(&mut self.other);
        for (total, day) in totals.zip(result.arms) {
            if let Some(sheet) = &mut self.sheet {
                let recipe = format!("{} r{}", total.plan.name, total.plan.revision);
                write_decisions(&mut **sheet, &recipe, &total.names, &day.decisions)
                    .map_err(BacktestError::Decisions)?;
            }
            total.add(result.stretch.begin, result.stretch.end, day);
        }
        Ok(())
    }

    pub(super) fn report(
        self,
        data: String,
        (from, to): (i64, i64),
        (lead_in, gap): (Span, Span),
    ) -> Report {
        let mut recipe = self.own.report(from);
        let mut other = self.other.map(|total| total.report(from));
        let comparison = other.as_ref().map(|other| compare(&recipe, other, self.pairs));
        // Compared are all of them, told the first.
        for recipe in std::iter::once(&mut recipe).chain(&mut other) {
            recipe.findings.list.truncate(LISTED);
        }
        let text = |ts| Zone::Utc.text(ts, 0);
        Report {
            data,
            from: text(from),
            to: text(to),
            lead_in_s: lead_in.as_secs_f64(),
            gap_s: gap.as_secs_f64(),
            empty_days: self.empty_days,
            recipe,
            other,
            comparison,
        }
    }
}

impl<'a> Total<'a> {
    fn new(plan: &'a Plan) -> Self {
        let loops = plan.loops.len();
        Self {
            plan,
            names: Names::of(plan),
            sum: ArmDay {
                loops: vec![LoopCounts::default(); loops],
                alarms: vec![0; plan.models.len()],
                out_of_domain: vec![0; plan.models.len()],
                not_good: vec![0; plan.tags.len()],
                never: vec![true; plan.tags.len()],
                ..ArmDay::default()
            },
            switches: Vec::new(),
            labels: Vec::new(),
            on: vec![false; plan.signatures.len()],
            on_at_begin: Vec::new(),
            tail: Vec::new(),
            tail_end: None,
            joins: Joins::default(),
            days: Vec::new(),
            plots: (0..loops).map(|_| Thinned::new()).collect(),
        }
    }

    fn add(&mut self, begin: i64, end: i64, day: ArmDay) {
        self.join(begin, &day);
        let before = self.sum.parts.cast_signed();
        self.signatures(begin, before, &day);
        let tolerances = tolerances(self.plan);
        let labels =
            day.labels.iter().map(|label| LabelSeen { part: label.part + before, ..*label });
        self.labels.extend(labels);
        let judged = |bad| {
            day.labels.iter().filter(|label| is_bad(label, &tolerances) == Some(bad)).count() as u64
        };
        self.days.push(DayReport {
            day: day_name(begin),
            samples: day.samples,
            parts: day.parts,
            good: judged(false),
            bad: judged(true),
            alarms: day.switches.iter().filter(|switch| switch.on).count() as u64,
            would_write: day.loops.iter().map(|l| l.would_write).sum(),
            writes: day.loops.iter().map(|l| l.writes).sum(),
            at_limit: day.loops.iter().map(|l| l.at_limit).sum(),
        });
        for decided in &day.decisions {
            self.plot(decided);
        }
        let kept = end.saturating_sub(JOIN);
        self.tail = day.decisions.iter().filter(|d| d.ts >= kept).copied().collect();
        self.tail_end = (day.samples > 0).then_some(end);
        self.sum.add(&day);
    }

    /// Compares the last hour of the day before with the same hour of this day's warm-up.
    fn join(&mut self, begin: i64, day: &ArmDay) {
        if self.tail_end != Some(begin) || day.samples == 0 {
            return;
        }
        self.joins.midnights += 1;
        let key = |decided: &Decided| (decided.row.loop_id, decided.row.part);
        let mut here: BTreeMap<_, &Decided> = day.warmed.iter().map(|d| (key(d), d)).collect();
        for decided in &self.tail {
            match here.remove(&key(decided)) {
                None => self.joins.only_once += 1,
                Some(twin) => {
                    let (a, b) = (&decided.row, &twin.row);
                    let bits = |x: Option<f64>| x.map(f64::to_bits);
                    let same = a.outcome == b.outcome
                        && bits(a.desired) == bits(b.desired)
                        && (a.limited, a.cut) == (b.limited, b.cut);
                    self.joins.compared += 1;
                    self.joins.same += u64::from(same);
                }
            }
        }
        self.joins.only_once += here.len() as u64;
    }

    /// Joins the switches of a day; where its warm-up left a signature otherwise than the day before
    /// did, it switches at midnight.
    fn signatures(&mut self, begin: i64, before: i64, day: &ArmDay) {
        if self.days.is_empty() {
            self.on_at_begin.clone_from(&day.on_at_begin);
        } else {
            let sides = self.on.iter().zip(&day.on_at_begin).enumerate();
            for (signature, (_, on)) in sides.filter(|(_, (was, on))| was != on) {
                self.switches.push(Switch { ts: begin, part: before, signature, on: *on });
            }
        }
        self.on.clone_from(&day.on_at_begin);
        for switch in &day.switches {
            if let Some(slot) = self.on.get_mut(switch.signature) {
                *slot = switch.on;
            }
            self.switches.push(Switch { part: switch.part + before, ..*switch });
        }
    }

    fn plot(&mut self, decided: &Decided) {
        let index = decided.row.loop_id.index();
        let setpoint = self.names.setpoint_of(index);
        let value = |ticks| setpoint.and_then(|s| self.names.setpoint_value(s, ticks));
        let row = &decided.row;
        let limited = row.limited.filter(|_| row.outcome == Outcome::WouldWrite);
        let point = Point {
            ts: decided.ts,
            desired: row.desired,
            limited: limited.and_then(value),
            recorded: row.read_back.and_then(value),
        };
        if let Some(plot) = self.plots.get_mut(index) {
            plot.push(point);
        }
    }

    fn report(self, from: i64) -> RecipeReport {
        let (plan, sum) = (self.plan, &self.sum);
        let names = |list: &[crate::output::Named]| -> Vec<String> {
            list.iter().map(|named| named.name.clone()).collect()
        };
        let hours = sum.covered as f64 / 3.6e12;
        let alarms = alarms(&self.switches, from, &self.on_at_begin);
        let findings = findings(plan, &names(&self.names.signatures), &alarms, &self.labels);
        let tags = plan.tags.iter().map(|tag| tag.name.clone());
        let mut not_good: Vec<(String, u64)> =
            tags.clone().zip(sum.not_good.iter().copied()).filter(|(_, n)| *n > 0).collect();
        not_good.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut labels = Thinned::new();
        for label in &self.labels {
            labels.push((label.part_ts, label.characteristic, label.value));
        }
        let tolerances = tolerances(plan);
        let models = plan.models.iter().zip(sum.alarms.iter().zip(&sum.out_of_domain));
        RecipeReport {
            name: plan.name.clone(),
            revision: plan.revision,
            plan: plan.hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            samples: sum.samples,
            scans: sum.scans,
            parts: sum.parts,
            hours,
            silences: sum.silences,
            findings,
            labels_unmatched: sum.labels_unmatched,
            labels_refused: sum.labels_refused,
            loops: (0..plan.loops.len()).map(|i| self.of_loop(i, hours)).collect(),
            models: models
                .map(|(model, (alarms, left))| ModelReport {
                    name: model.name.clone(),
                    alarms: *alarms,
                    left_domain: *left,
                })
                .collect(),
            not_good,
            never: tags.zip(&sum.never).filter(|(_, never)| **never).map(|(tag, _)| tag).collect(),
            joins: self.joins,
            plots: self.loop_plots(),
            labels: labels.kept,
            alarms: alarms.iter().map(|a| (a.signature, a.from_ts, a.to_ts)).collect(),
            characteristics: plan
                .characteristics
                .iter()
                .zip(tolerances)
                .map(|(c, tolerance)| CharacteristicPlot {
                    name: c.name.clone(),
                    unit: c.unit.clone(),
                    tolerance,
                })
                .collect(),
            days: self.days,
        }
    }

    fn of_loop(&self, index: usize, hours: f64) -> LoopReport {
        let counts = self.sum.loops.get(index).cloned().unwrap_or_default();
        let setpoint = self.names.setpoint_of(index).and_then(|s| self.names.setpoints.get(s));
        let per = |count: u64, of: f64| if of > 0.0 { count as f64 / of } else { 0.0 };
        LoopReport {
            name: self.names.loop_name(index),
            setpoint: setpoint.map_or_else(String::new, |s| s.name.clone()),
            unit: setpoint.map_or_else(String::new, |s| s.unit.clone()),
            decisions: counts.decisions,
            wishes: counts.wishes,
            would_write: counts.would_write,
            writes: counts.writes,
            writes_per_hour: per(counts.writes, hours),
            at_limit: counts.at_limit,
            at_limit_share: per(counts.at_limit, counts.wishes as f64),
            times_at_limit: counts.at_limit_begins,
            holds: counts.reasons(),
        }
    }

    fn loop_plots(&self) -> Vec<LoopPlot> {
        let plots = self.plots.iter().enumerate();
        plots
            .map(|(index, plot)| {
                let setpoint = self.names.setpoint_of(index);
                let setpoint = setpoint.and_then(|s| self.names.setpoints.get(s));
                LoopPlot {
                    title: self.names.loop_name(index),
                    unit: setpoint.map_or_else(String::new, |s| s.unit.clone()),
                    points: plot.kept.clone(),
                }
            })
            .collect()
    }
}

impl ArmDay {
    /// Adds the counts of another stretch.
    fn add(&mut self, day: &Self) {
        let lists = [
            (&mut self.alarms, &day.alarms),
            (&mut self.out_of_domain, &day.out_of_domain),
            (&mut self.not_good, &day.not_good),
        ];
        for (own, more) in lists {
            for (own, more) in own.iter_mut().zip(more) {
                *own += more;
            }
        }
        for (own, more) in self.loops.iter_mut().zip(&day.loops) {
            own.join(more);
        }
        for (own, more) in self.never.iter_mut().zip(&day.never) {
            *own &= more;
        }
        self.parts += day.parts;
        self.samples += day.samples;
        self.scans += day.scans;
        self.covered += day.covered;
        self.silences += day.silences;
        self.labels_unmatched += day.labels_unmatched;
        self.labels_refused += day.labels_refused;
    }
}

/// `2026-11-22`, UTC.
fn day_name(begin: i64) -> String {
    utc_text(Utc::from_nanos(begin)).chars().take(10).collect()
}
