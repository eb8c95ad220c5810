//! From the raw recipe to the checked one: every semantic mistake, all together.
//!
//! [`check`] reads a text; one structural mistake (TOML, keys, shapes) ends it, else all semantic
//! ones are collected. A mistake in one value never hides one in another: whatever a check needs
//! and cannot have (`None`) was reported where it went wrong.

mod faults;
mod features;
mod forecast;
mod loops;
mod selftest;
mod setpoints;
mod structure;
mod tags;
mod values;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use trimloop_core::plan::{FEATURES_MAX, LinkPlan, Plan, SETPOINTS_MAX, TAGS_MAX};
use trimloop_core::time::Span;

pub use structure::{TEXT_MAX, parse};
pub(crate) use values::{Meaning, TagUnit, Values};

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Source, did_you_mean, has_errors, sort};
use crate::raw::RawRecipe;
use crate::recipe::{ArtifactUse, Recipe};
use crate::spanned::{At, Named};

/// Most entries of the tables that the plan does not bound itself.
const ENTRIES_MAX: usize = 1024;

/// What to do about a feature that nothing uses.
pub(crate) const UNUSED_FEATURE_HELP: &str =
    "remove it, use it in a chart or signature, or add `watch = true` to record it for training";

/// Reads and checks a recipe. `file` is its name for messages; its stem must be the recipe's name.
///
/// Returns the recipe unless there is an error, and everything worth saying: one structural
/// mistake, or all semantic ones in the order of the file.
pub fn check(file: &str, text: &str) -> (Option<Recipe>, Vec<Diagnostic>) {
    let source = Source::new(file, text);
    let raw: RawRecipe = match parse(&source) {
        Ok(raw) => raw,
        Err(diagnostic) => return (None, vec![*diagnostic]),
    };
    let mut checker = Checker::new(&source, &raw);
    let parts = checker.plan();
    let faults = checker.faults();
    if !has_errors(&checker.values.found) {
        // A name that is wrong elsewhere makes its owner look unused.
        checker.usage();
    }
    let mut found = checker.values.found;
    sort(&mut found);
    let whole = parts.zip(faults).filter(|_| !has_errors(&found));
    let recipe =
        whole.map(|((plan, artifacts), faults)| Recipe { source, raw, plan, artifacts, faults });
    (recipe, found)
}

/// The state of one check.
pub(crate) struct Checker<'a> {
    pub(crate) raw: &'a RawRecipe,
    pub(crate) values: Values,
    /// By `TagId`.
    pub(crate) tag_units: Vec<TagUnit>,
    /// By `FeatureId`.
    pub(crate) feature_units: Vec<TagUnit>,
    /// By `CharacteristicId`.
    pub(crate) label_units: Vec<TagUnit>,
    /// Names of the PLCs, by `PlcId`: the leading one, then the others by name.
    pub(crate) plcs: Vec<String>,
    pub(crate) used_tags: BTreeSet<usize>,
    pub(crate) used_features: BTreeSet<usize>,
    pub(crate) artifacts: Vec<ArtifactUse>,
    /// Scan period, once it is known.
    pub(crate) period: Option<Span>,
}

impl<'a> Checker<'a> {
    fn new(source: &Arc<Source>, raw: &'a RawRecipe) -> Self {
        Self {
            raw,
            values: Values::new(source),
            tag_units: Vec::new(),
            feature_units: Vec::new(),
            label_units: Vec::new(),
            plcs: plc_names(raw),
            used_tags: BTreeSet::new(),
            used_features: BTreeSet::new(),
            artifacts: Vec::new(),
            period: None,
        }
    }

    /// Every part of the plan, in the order in which one needs the other.
    fn plan(&mut self) -> Option<(Plan, Vec<ArtifactUse>)> {
        self.names();
        let head = self.head();
        self.period = head.as_ref().map(|(_, _, period)| *period);
        let tags = self.tags();
        let characteristics = self.labels();
        let cycle = self.cycle();
        let bindings = self.bindings();
        let interlocks = self.interlocks();
        let features = self.features();
        let models = self.models();
        let signatures = self.signatures();
        let setpoints = self.setpoints();
        let rows = self.rows(setpoints.as_deref());
        let loops = self.loops(setpoints.as_deref());
        self.selftests();
        let (name, revision, period) = head?;
        let plan = Plan {
            name,
            revision,
            hash: [0; 32],
            tags: tags?,
            period,
            cycle: cycle?,
            links: self.plcs.iter().map(|name| unbound_link(name)).collect(),
            bindings: bindings?,
            features: features?,
            models: models?,
            // Made when the trained models are bound.
            drifts: Vec::new(),
            forecasts: Vec::new(),
            challengers: Vec::new(),
            signatures: signatures?,
            interlocks: interlocks?,
            characteristics: characteristics?,
            setpoints: setpoints?,
            rows: rows?,
            loops: loops?,
        };
        Some((plan, std::mem::take(&mut self.artifacts)))
    }

    /// Names that are well formed, and not too many of them.
    fn names(&mut self) {
        let raw = self.raw;
        let values = &mut self.values;
        values.check_names(&raw.tag, "tag", TAGS_MAX);
        values.check_names(&raw.feature, "feature", FEATURES_MAX);
        values.check_names(&raw.setpoint, "setpoint", SETPOINTS_MAX);
        values.check_names(&raw.bind, "bind", ENTRIES_MAX);
        values.check_names(&raw.interlock, "interlock", ENTRIES_MAX);
        values.check_names(&raw.model, "model", ENTRIES_MAX);
        values.check_names(&raw.chart, "chart", ENTRIES_MAX);
        values.check_names(&raw.signature, "signature", ENTRIES_MAX);
        values.check_names(&raw.label, "label", ENTRIES_MAX);
        values.check_names(&raw.row, "row", ENTRIES_MAX);
        values.check_names(&raw.loops, "loop", ENTRIES_MAX);
        values.check_names(&raw.fault, "fault", ENTRIES_MAX);
        values.check_names(&raw.plan, "plan", ENTRIES_MAX);
        for (name, _) in raw.chart.iter() {
            if let Some((other, _)) = raw.model.get(name) {
                let message = format!("a chart and a model are both named {}", name.get());
                let found = values
                    .error(&codes::NAME_TWICE, name.span(), message)
                    .also(other.span(), "the model");
                values.push(found);
            }
        }
    }

    /// Looks a tag up and notes that it is used.
    pub(crate) fn tag(&mut self, name: &At<String>, user: &str) -> Option<usize> {
        let found = self.raw.tag.position(name);
        if let Some(place) = found {
            self.used_tags.insert(place);
            return Some(place);
        }
        let message = format!("{user} reads a tag that is not declared: {}", name.get());
        let diagnostic = self
            .values
            .error(&codes::UNKNOWN_TAG, name.span(), message)
            .label("no [tag.…] table has this name")
            .maybe_help(did_you_mean(name, self.raw.tag.names()));
        self.values.push(diagnostic);
        None
    }

    /// Looks a name up in a table of another kind than tags.
    pub(crate) fn lookup<T>(
        &mut self,
        table: &Named<T>,
        kind: &str,
        name: &At<String>,
        user: &str,
    ) -> Option<usize> {
        let found = table.position(name);
        if found.is_none() {
            let message = {
                let article = if kind == "interlock" { "an" } else { "a" };
                format!("{user} names {article} {kind} that is not declared: {}", name.get())
            };
            let diagnostic = self
                .values
                .error(&codes::UNKNOWN_NAME, name.span(), message)
                .label(format!("no [{kind}.…] table has this name"))
                .maybe_help(did_you_mean(name, table.names()));
            self.values.push(diagnostic);
        }
        found
    }

    /// Unit of a tag; `Broken` when the tag is not known.
    pub(crate) fn tag_unit(&self, place: Option<usize>) -> TagUnit {
        place.and_then(|place| self.tag_units.get(place)).cloned().unwrap_or(TagUnit::Broken)
    }

    /// Reports and forgets.
    pub(crate) fn report(
        &mut self,
        code: &'static Code,
        span: Range<usize>,
        message: impl Into<String>,
        finish: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        let diagnostic = finish(self.values.error(code, span, message));
        self.values.push(diagnostic);
    }

    /// What is declared and never used.
    fn usage(&mut self) {
        for (place, (name, tag)) in self.raw.tag.iter().enumerate() {
            let watched = tag.watch.as_ref().is_some_and(|watch| *watch.get());
            if !self.used_tags.contains(&place) && !watched {
                let message = format!("nothing uses tag \"{}\"", name.get());
                self.report(&codes::UNUSED_TAG, name.span(), message, |found| {
                    found
                        .warning()
                        .help("remove it, or add `watch = true` if it is only shown and recorded")
                });
            }
        }
        for (place, (name, feature)) in self.raw.feature.iter().enumerate() {
            let watched = feature.watch.as_ref().is_some_and(|watch| *watch.get());
            // A trained model may use any feature; which ones is known when it is bound.
            let used = self.used_features.contains(&place) || !self.raw.model.is_empty();
            if !used && !watched {
                let message = format!("nothing uses feature \"{}\"", name.get());
                self.report(&codes::UNUSED_FEATURE, name.span(), message, |found| {
                    found.warning().help(UNUSED_FEATURE_HELP)
                });
            }
        }
    }
}

/// The leading PLC, then the others by name: an order that no edit of the tags changes.
fn plc_names(raw: &RawRecipe) -> Vec<String> {
    let lead = raw.recipe.plc.get();
    let tags = raw.tag.iter().filter_map(|(_, tag)| tag.plc.as_ref());
    let others: BTreeSet<&String> = tags.map(At::get).filter(|name| *name != lead).collect();
    std::iter::once(lead).chain(others).cloned().collect()
}

/// A link that permits nothing: it stands until a PLC config is bound.
fn unbound_link(name: &str) -> LinkPlan {
    LinkPlan {
        name: name.to_owned(),
        stale_after: Span::ZERO,
        heartbeat: None,
        enable: None,
        clock: None,
        clock_step_max: Span::ZERO,
        skew_max: Span::ZERO,
    }
}
