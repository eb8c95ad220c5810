//! History through a recipe: what it would have detected, and what it would have written.
//!
//! ```text
//! day files, CSV, Parquet --samples of one UTC day--> scans --> Cell::step --> decisions
//!        each day on its own, after a warm-up          the production core, in SHADOW
//!
//! days in order --> findings (signatures against labels), counts, table of decisions --> report
//! ```
//!
//! - **Not causal.** The register of a setpoint reads what was recorded, whatever the recipe would
//!   have written: parts would have come out otherwise once setpoints had moved.
//! - **Days are joined by warm-up.** Each UTC day begins with a new cell that first goes over the
//!   samples of `lead_in` before midnight, uncounted; so days can run side by side. How alike both
//!   sides of a midnight decide is measured, over the last hour before it ([`Joins`]).
//! - Samples are streamed; what is kept grows with parts and labels, never with samples.
//! - The result does not depend on how many days run at once.
//!
//! Nothing here reads a clock or writes to what is read.

mod arm;
mod compare;
mod data;
mod decided;
mod findings;
mod fold;
mod gate;
mod html;
mod report;
mod seed;
mod stretch;
mod text;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use trimloop_core::plan::{Plan, PlanError};
use trimloop_core::time::Span;

use crate::export::{ReadError, Sheet};

use arm::Stretch;
pub use data::Data;
pub use decided::{Hold, decision_columns};
pub use findings::{DefectReport, Findings, SignatureReport};
use fold::Fold;
pub use gate::{GateLine, Gates, gate_text};
pub use html::report_html;
pub use report::{
    Comparison, DayReport, Joins, LoopComparison, LoopReport, ModelReport, RecipeReport, Report,
};
use seed::Seeds;
use stretch::{DayResult, run_day};
pub use text::report_text;

/// A silence of the recording that counts as a lost link, unless another is asked for.
pub const GAP: Span = Span::from_secs(60);
/// Shortest warm-up before a day, unless another is asked for: labels come hours after their parts,
/// and find only parts that the warm-up has made again.
const LEAD_IN_MIN: Span = Span::from_secs(12 * 3600);
/// Warm-up in lengths of the longest feature window: an exponential window has forgotten all but
/// 0.03 % of what was before.
const WINDOWS: i64 = 8;
/// Length over which both sides of a midnight are compared [ns].
pub(crate) const JOIN: i64 = 3_600_000_000_000;
const DAY: i64 = 86_400_000_000_000;
/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What to test.
#[derive(Clone, Debug)]
pub struct BacktestSettings<'a> {
    /// The recipe, bound.
    pub plan: &'a Plan,
    /// Another to hold it against.
    pub other: Option<&'a Plan>,
    /// From here on [ns UTC]; `None`: from the first sample on.
    pub from: Option<i64>,
    /// Before this [ns UTC]; `None`: to the last sample.
    pub to: Option<i64>,
    /// Warm-up before each day; `None`: by the recipe.
    pub lead_in: Option<Span>,
    /// Silence that counts as a lost link.
    pub gap: Span,
    /// Days at once, 1 or more.
    pub jobs: usize,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The data could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There are no samples at all.
    #[error("there are no samples in {0}")]
    Empty(String),
    /// The range holds nothing.
    #[error("there are no samples in this range")]
    Range {
        /// First and last sample there are [ns UTC].
        extent: (i64, i64),
    },
    /// The data lack what a recipe decides on.
    #[error("the data have no tag {} that recipe {recipe} r{revision} decides on", quoted(.tags))]
    Tags {
        /// The recipe.
        recipe: String,
        /// Its revision.
        revision: u32,
        /// What is missing.
        tags: Vec<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// A tag was recorded in another unit.
    #[error(
        "tag \"{tag}\" was recorded in {}, recipe {recipe} r{revision} has it in {} ({at})",
        unit(.recorded),
        unit(.wanted)
    )]
    Unit {
        /// The recipe.
        recipe: String,
        /// Its revision.
        revision: u32,
        /// Which.
        tag: String,
        /// Unit in the data.
        recorded: String,
        /// Unit in the recipe.
        wanted: String,
        /// Where.
        at: String,
    },
    /// The core refused a plan.
    #[error("the core refuses the plan")]
    Plan(#[from] PlanError),
    /// The decisions could not be written.
    #[error("cannot write the decisions")]
    Decisions(#[source] std::io::Error),
    /// A thread could not be started, or ended by itself.
    #[error("a thread of the backtest failed")]
    Thread,
}

fn quoted(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("\"{name}\"")).collect();
    let more = names.len().saturating_sub(shown.len());
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", shown.join(", "))
}

fn unit(text: &str) -> String {
    if text.is_empty() { "no unit".to_owned() } else { format!("\"{text}\"") }
}

/// Tests a recipe on data.
///
/// - `sheet`: gets the decisions, day by day.
/// - `progress`: gets the share that is done, 0 to 1, now and then.
/// - `stop`: ends it with [`ReadError::Interrupted`].
///
/// # Errors
/// [`BacktestError`] when it cannot be done. What it finds is a result, not an error.
pub fn backtest<'a>(
    data: &Data,
    settings: &BacktestSettings<'a>,
    sheet: Option<&'a mut (dyn Sheet + 'a)>,
    progress: &mut dyn FnMut(f64),
    stop: &AtomicBool,
) -> Result<Report, BacktestError> {
    let extent = data.extent()?.ok_or_else(|| BacktestError::Empty(data.name()))?;
    let from = settings.from.unwrap_or(i64::MIN).max(extent.0);
    let to = settings.to.unwrap_or(i64::MAX).min(extent.1.saturating_add(1));
    if from >= to {
        return Err(BacktestError::Range { extent });
    }
    let plans: Vec<&Plan> = std::iter::once(settings.plan).chain(settings.other).collect();
    let lead_in = settings.lead_in.unwrap_or_else(|| lead_in(&plans));
    let units = data.units(from.saturating_sub(lead_in.as_nanos()), to)?;
    for plan in &plans {
        check_tags(plan, &units)?;
    }
    let names: Vec<String> = units
        .keys()
        .filter(|name| plans.iter().any(|plan| plan.tags.iter().any(|tag| tag.name == **name)))
        .cloned()
        .collect();
    let stretches: Vec<Stretch> = days(from, to)
        .map(|(begin, end)| Stretch {
            lead: begin.saturating_sub(lead_in.as_nanos().max(0)),
            begin,
            end,
            gap: settings.gap.as_nanos().max(0),
        })
        .collect();
    let seeds = Seeds::new(data, &names);
    let task =
        Task { data, plans: &plans, names: &names, seeds: &seeds, stretches: &stretches, stop };
    let mut fold = Fold::new(settings.plan, settings.other, sheet);
    task.run(settings.jobs.clamp(1, stretches.len().max(1)), &mut fold, progress)?;
    Ok(fold.report(data.name(), (from, to), (lead_in, settings.gap)))
}

/// The UTC days of a range.
fn days(from: i64, to: i64) -> impl Iterator<Item = (i64, i64)> {
    let first = from.div_euclid(DAY);
    let last = to.saturating_sub(1).div_euclid(DAY);
    (first..=last).map(move |day| {
        let begin = day.saturating_mul(DAY);
        (begin.max(from), begin.saturating_add(DAY).min(to))
    })
}

/// Warm-up that the windows of the recipes need.
fn lead_in(plans: &[&Plan]) -> Span {
    let windows = plans.iter().flat_map(|plan| &plan.features).filter_map(|f| f.window);
    windows.map(|window| window.times(WINDOWS)).fold(LEAD_IN_MIN, Span::max)
}

/// Tags without which a plan decides nothing, or something else.
fn needed(plan: &Plan) -> Vec<&str> {
    use trimloop_core::plan::Cut;
    let cut = match plan.cycle.cut {
        Cut::Finished(tag) | Cut::Started(tag) => Some(tag),
        Cut::Every(_) => None,
    };
    let mut tags: Vec<_> = cut.into_iter().chain(plan.cycle.running.map(|(tag, _)| tag)).collect();
    tags.extend(plan.bindings.iter().map(|binding| binding.tag));
    tags.extend(plan.interlocks.iter().map(|interlock| interlock.tag));
    tags.extend(plan.features.iter().map(|feature| feature.tag));
    tags.extend(plan.loops.iter().flat_map(|of_loop| &of_loop.inputs));
    tags.extend(plan.links.iter().flat_map(|link| link.clock.into_iter().chain(link.enable)));
    for setpoint in &plan.setpoints {
        tags.push(setpoint.tag);
        tags.extend(setpoint.plc_low.into_iter().chain(setpoint.plc_high));
    }
    // What matters most stays in front: a message names the first few.
    let mut names: Vec<&str> = Vec::new();
    for name in tags.iter().filter_map(|tag| Some(plan.tags.get(tag.index())?.name.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn check_tags(plan: &Plan, units: &data::Units) -> Result<(), BacktestError> {
    let (recipe, revision) = (plan.name.clone(), plan.revision);
    let missing = needed(plan).into_iter().filter(|name| !units.contains_key(*name));
    let tags: Vec<String> = missing.map(str::to_owned).collect();
    if !tags.is_empty() {
        let known = units.keys().cloned().collect();
        return Err(BacktestError::Tags { recipe, revision, tags, known });
    }
    for tag in &plan.tags {
        let recorded = units.get(&tag.name).into_iter().flatten();
        if let Some((at, recorded)) = recorded.into_iter().find(|(_, unit)| *unit != tag.unit) {
            return Err(BacktestError::Unit {
                recipe,
                revision,
                tag: tag.name.clone(),
                recorded: recorded.clone(),
                wanted: tag.unit.clone(),
                at: at.clone(),
            });
        }
    }
    Ok(())
}

/// What all threads work on.
#[derive(Clone, Copy)]
struct Task<'a> {
    data: &'a Data,
    plans: &'a [&'a Plan],
    names: &'a [String],
    seeds: &'a Seeds<'a>,
    stretches: &'a [Stretch],
    stop: &'a AtomicBool,
}

type Done = Result<DayResult, BacktestError>;

impl Task<'_> {
    /// Runs all days, `jobs` at once, and folds them in their order. Day `i` is done by thread
    /// `i % jobs`, whose channel holds one finished day: no thread runs far ahead of the fold.
    fn run(
        self,
        jobs: usize,
        fold: &mut Fold<'_>,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(), BacktestError> {
        let done = AtomicI64::new(0);
        let all: i64 = self
            .stretches
            .iter()
            .map(|s| s.end.saturating_sub(s.lead))
            .fold(0, i64::saturating_add);
        let quit = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let mut channels: Vec<Receiver<Done>> = Vec::new();
            for job in 0..jobs {
                let (sender, receiver) = sync_channel(1);
                channels.push(receiver);
                let (done, quit) = (&done, &quit);
                let worker = move || self.work(job, jobs, &sender, done, quit);
                std::thread::Builder::new()
                    .name(format!("backtest-{job}"))
                    .spawn_scoped(scope, worker)
                    .map_err(|_| BacktestError::Thread)?;
            }
            let mut folded = || {
                for day in 0..self.stretches.len() {
                    let channel = channels.get(day % jobs).ok_or(BacktestError::Thread)?;
                    let result = loop {
                        match channel.recv_timeout(TELL_EVERY) {
                            Ok(result) => break result?,
                            Err(RecvTimeoutError::Disconnected) => {
                                return Err(BacktestError::Thread);
                            }
                            Err(RecvTimeoutError::Timeout) => {
                                let share = done.load(Ordering::Relaxed) as f64;
                                progress(share / all.max(1) as f64);
                            }
                        }
                    };
                    fold.day(result)?;
                }
                Ok(())
            };
            let result = folded();
            // Whoever still works on a day that nobody waits for stops at its next sample.
            quit.store(true, Ordering::Relaxed);
            channels.clear();
            result
        })
    }

    fn work(
        self,
        job: usize,
        jobs: usize,
        sender: &SyncSender<Done>,
        done: &AtomicI64,
        quit: &AtomicBool,
    ) {
        for stretch in self.stretches.iter().skip(job).step_by(jobs) {
            let mut at = stretch.lead;
            let mut reached = |ts: i64| {
                done.fetch_add(ts - at, Ordering::Relaxed);
                at = ts;
                !quit.load(Ordering::Relaxed) && !self.stop.load(Ordering::Relaxed)
            };
            let result =
                run_day(self.data, self.plans, self.names, self.seeds, *stretch, &mut reached);
            let failed = result.is_err();
            if sender.send(result).is_err() || failed {
                return;
            }
        }
    }
}
