//! Drift: do parts still look like those a model was trained on, and does it still err as little?
//!
//! | check | of | limit |
//! |---|---|---|
//! | `inputs` | population stability index of each input over the deciles of training | 0.2, or what chance reaches in 0.1 % of windows; two windows in a row |
//! | `score` | EWMA of a monitor's score | five standard deviations of that mean, and half one of the score |
//! | `domain` | share of parts out of the domain, where the score is not known from training | 0.25 |
//! | `loss` | Page-Hinkley on what labels say against predictions | 25 standard deviations of the loss |
//! | `calibration` | slope of right and wrong over the log-odds of a classifier | 0.8 to 1.25, by 3.3 standard errors |
//!
//! - Each check of each model is told once when it is crossed, and once when it is over.
//! - **Invariant:** drift only ever lowers a mode (`Cell::follow_drift`); its end raises none.
//! - Only whole, undisturbed parts count, and labels of them; what is unknown counts nowhere.
//! - Nothing is kept over a restart: windows begin anew, and the usual loss is learnt anew.
//! - Nothing is allocated after [`Drifts::new`].
//!
//! Source: `methods.md` section 2, *Drift*. The same mathematics looks at recorded rows
//! (`trimloop model drift`).

mod page;
mod slope;
mod smooth;
mod spread;

use alloc::vec;
use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::model::Models;
use crate::plan::{CharacteristicId, DriftPlan, FeatureId, Model, ModelId, PARTS_MAX, Plan};

use slope::Slope;
use spread::Spread;

pub use page::PageHinkley;
pub use smooth::Smoothed;
pub use spread::{
    bin, correlation, deciles, moments, persistence, stability_index, stability_limit, worth,
};

/// Least spread that a classifier's loss is taken to have.
const CLASS_FLOOR: f64 = 0.05;
/// The same of a sensor's, as a share of the half width of its interval.
const SENSOR_FLOOR: f64 = 0.05;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftCheck {
    /// An input is spread unlike in training.
    Inputs,
    /// The score of a monitor is higher than in training.
    Score,
    /// Parts are out of the domain too often.
    Domain,
    /// Labels and predictions differ more than at first.
    Loss,
    /// A classifier is surer, or less sure, than it may be.
    Calibration,
}

impl DriftCheck {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Inputs, Self::Score, Self::Domain, Self::Loss, Self::Calibration];

    /// Stable word for records and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Score => "score",
            Self::Domain => "domain",
            Self::Loss => "loss",
            Self::Calibration => "calibration",
        }
    }
}

/// One check that was crossed, with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Which.
    pub check: DriftCheck,
    /// The input that was found first, for [`DriftCheck::Inputs`].
    pub feature: Option<FeatureId>,
    /// What was found.
    pub value: f64,
    /// The limit it was held against.
    pub limit: f64,
}

/// One check of one model.
#[derive(Clone, Copy, Debug)]
struct Check {
    on: bool,
    /// As last told.
    told: bool,
    /// Crossed since the loops were last looked at.
    fresh: bool,
    evidence: Drift,
}

/// The watch over one model.
#[derive(Clone, Debug)]
struct Watch {
    /// `[inputs]`
    spreads: Vec<Spread>,
    score: Option<Smoothed>,
    exits: Option<Smoothed>,
    memory: Option<Memory>,
    loss: PageHinkley,
    slope: Option<Slope>,
    checks: [Check; DriftCheck::ALL.len()],
}

/// What was said of the parts whose labels may still come: of a sensor the prediction, of a
/// classifier its probabilities and the place of its best class.
#[derive(Clone, Debug)]
struct Memory {
    /// `[PARTS_MAX]` numbers of the parts; 0 where nothing usable was said.
    numbers: Vec<u64>,
    /// `[PARTS_MAX][width]`
    said: Vec<f64>,
    width: usize,
}

impl Memory {
    fn slot(&mut self, number: u64) -> Option<(&mut u64, &mut [f64])> {
        let slots = u64::try_from(PARTS_MAX).unwrap_or(1);
        let place = usize::try_from(number % slots).unwrap_or(0);
        let said = self.said.get_mut(place * self.width..(place + 1) * self.width)?;
        Some((self.numbers.get_mut(place)?, said))
    }
}

/// All watches of a plan.
#[derive(Clone, Debug)]
pub struct Drifts {
    watches: Vec<Watch>,
}

impl Watch {
    fn new(plan: &Plan, of: &DriftPlan) -> Self {
        let model = plan.models.get(of.model.index()).map(|model| &model.model);
        let (width, floor) = match model {
            // Trees that predict a number.
            Some(Model::Forest(forest)) if forest.classes.is_empty() => {
                (1, SENSOR_FLOOR * forest.half_width.unwrap_or(0.0))
            }
            Some(Model::Forest(forest)) => (forest.classes.len() + 1, CLASS_FLOOR),
            Some(Model::Logistic(logistic)) => (logistic.classes.len() + 1, CLASS_FLOOR),
            Some(Model::Linear(linear)) => (1, SENSOR_FLOOR * linear.half_width),
            _ => (0, 1.0),
        };
        let memory = (of.truth.is_some() && width > 0).then(|| Memory {
            numbers: vec![0; PARTS_MAX],
            said: vec![0.0; PARTS_MAX * width],
            width,
        });
        let check = |check| Check {
            on: false,
            told: false,
            fresh: false,
            evidence: Drift { check, feature: None, value: 0.0, limit: 0.0 },
        };
        Self {
            spreads: of.inputs.iter().map(Spread::new).collect(),
            score: of.score.as_ref().map(Smoothed::of_score),
            exits: of.score.is_none().then(Smoothed::of_exits),
            slope: (memory.is_some() && width > 1).then(Slope::new),
            memory,
            loss: PageHinkley::new(floor.max(f64::MIN_POSITIVE)),
            checks: DriftCheck::ALL.map(check),
        }
    }

    /// Takes over what a check says now.
    fn set(&mut self, check: DriftCheck, on: bool, crossed: Option<Drift>) {
        let Some(slot) = self.checks.get_mut(check as usize) else { return };
        if on && !slot.on {
            slot.fresh = true;
            slot.evidence = crossed.unwrap_or(slot.evidence);
        }
        slot.on = on;
    }

    fn observe(&mut self, of: &DriftPlan, features: &[FeatureValue], models: &Models) {
        let mut crossed = None;
        for (input, spread) in of.inputs.iter().zip(&mut self.spreads) {
            let value = features.get(input.feature.index()).and_then(|feature| feature.value);
            if let Some(x) = value
                && spread.push(input, x)
            {
                let (value, limit) = spread.evidence();
                let feature = Some(input.feature);
                crossed = Some(Drift { check: DriftCheck::Inputs, feature, value, limit });
            }
        }
        let any = self.spreads.iter().any(Spread::beyond);
        self.set(DriftCheck::Inputs, any, crossed);
        let Some(score) = models.get(of.model).filter(|score| score.known) else { return };
        if let Some(mean) = &mut self.score {
            mean.push(score.value);
            let mean = *mean;
            self.smoothed(DriftCheck::Score, mean);
        }
        if let Some(mean) = &mut self.exits {
            mean.push(if score.in_domain { 0.0 } else { 1.0 });
            let mean = *mean;
            self.smoothed(DriftCheck::Domain, mean);
        }
    }

    fn smoothed(&mut self, check: DriftCheck, mean: Smoothed) {
        let (value, limit) = mean.evidence();
        self.set(check, mean.beyond(), Some(Drift { check, feature: None, value, limit }));
    }

    /// Keeps what the model says of a part, for its label. Only a model that may be believed is
    /// held to its word.
    fn remember(&mut self, of: &DriftPlan, models: &Models, number: u64) {
        let Some(memory) = &mut self.memory else { return };
        let Some((kept, said)) = memory.slot(number) else { return };
        *kept = 0;
        let Some(score) = models.get(of.model).filter(|s| s.known && s.in_domain) else { return };
        if let Some((now, place)) = models.classes(of.model) {
            let Some((best, probabilities)) = said.split_last_mut() else { return };
            #[expect(clippy::cast_precision_loss, reason = "at most CLASSES_MAX")]
            let place = place as f64;
            *best = place;
            for (slot, p) in probabilities.iter_mut().zip(now) {
                *slot = *p;
            }
        } else if let Some(slot) = said.first_mut() {
            *slot = score.value;
        }
        *kept = number;
    }

    /// - `moved`: what the setpoint's trim did to this part, which the model does not know of [unit
    ///   of the label].
    fn judge(&mut self, of: &DriftPlan, label: f64, number: u64, moved: f64) {
        let Some(memory) = &mut self.memory else { return };
        let Some((kept, said)) = memory.slot(number) else { return };
        if *kept != number || number == 0 {
            return;
        }
        // Told once: the same label again says nothing new.
        *kept = 0;
        let loss = if of.classes.is_empty() {
            said.first().map(|said| libm::fabs(label - moved - said))
        } else {
            let true_class = of.classes.iter().position(|class| libm::fabs(class - label) < 1e-9);
            let (best, probabilities) = match said.split_last() {
                Some((best, probabilities)) => (*best, probabilities),
                None => return,
            };
            let found = true_class.and_then(|place| Some((place, *probabilities.get(place)?)));
            let sure = probabilities.iter().copied().fold(0.0, f64::max);
            if let (Some((place, _)), Some(slope)) = (found, &mut self.slope) {
                #[expect(clippy::cast_precision_loss, reason = "at most CLASSES_MAX")]
                slope.push(sure, libm::fabs(place as f64 - best) < 0.5);
            }
            found.map(|(_, p)| 1.0 - p)
        };
        let Some(loss) = loss.filter(|loss| loss.is_finite()) else { return };
        self.loss.push(loss);
        let (value, limit) = self.loss.evidence();
        let check = DriftCheck::Loss;
        self.set(check, self.loss.beyond(), Some(Drift { check, feature: None, value, limit }));
        if let Some(slope) = &self.slope {
            let (value, limit) = slope.evidence();
            let (check, on) = (DriftCheck::Calibration, slope.beyond());
            self.set(check, on, Some(Drift { check, feature: None, value, limit }));
        }
    }
}

impl Drifts {
    /// Allocates everything; nothing drifts.
    pub fn new(plan: &Plan) -> Self {
        Self { watches: plan.drifts.iter().map(|of| Watch::new(plan, of)).collect() }
    }

    /// Looks at one part, after [`Models::score`] of the same part.
    ///
    /// - `clean`: whether the part counts at all.
    /// - `number`: of the part, from 1.
    pub(crate) fn observe(
        &mut self,
        plan: &Plan,
        features: &[FeatureValue],
        models: &Models,
        clean: bool,
        number: u64,
    ) {
        for (of, watch) in plan.drifts.iter().zip(&mut self.watches) {
            if clean {
                watch.observe(of, features, models);
                watch.remember(of, models, number);
            }
        }
    }

    /// Holds the models that this label judges against it.
    ///
    /// - `moved`: for each model what the trim of the part did to it, `None` when that is unknown.
    pub(crate) fn judge(
        &mut self,
        plan: &Plan,
        characteristic: CharacteristicId,
        label: f64,
        number: u64,
        moved: impl Fn(ModelId) -> Option<f64>,
    ) {
        for (of, watch) in plan.drifts.iter().zip(&mut self.watches) {
            if of.truth == Some(characteristic)
                && let Some(moved) = moved(of.model)
            {
                watch.judge(of, label, number, moved);
            }
        }
    }

    /// Checks of a model that are crossed now, in the order of [`DriftCheck::ALL`].
    pub fn of_model(&self, plan: &Plan, model: ModelId) -> impl Iterator<Item = Drift> {
        let watch = plan.drifts.iter().position(|of| of.model == model);
        let watch = watch.and_then(|place| self.watches.get(place));
        let checks = watch.into_iter().flat_map(|watch| &watch.checks);
        checks.filter(|check| check.on).map(|check| check.evidence)
    }

    /// Whether a check was crossed since this was last asked about the watch at `place`.
    pub(crate) fn take_fresh(&mut self, place: usize) -> bool {
        let Some(watch) = self.watches.get_mut(place) else { return false };
        let mut fresh = false;
        for check in &mut watch.checks {
            fresh |= core::mem::take(&mut check.fresh);
        }
        fresh
    }

    /// Calls `tell` with each check that has changed since it was told; `false` from it leaves the
    /// change to the next time.
    pub(crate) fn tell(&mut self, place: usize, mut tell: impl FnMut(bool, Drift) -> bool) {
        let Some(watch) = self.watches.get_mut(place) else { return };
        for check in watch.checks.iter_mut().filter(|check| check.on != check.told) {
            if tell(check.on, check.evidence) {
                check.told = check.on;
            }
        }
    }
}

#[cfg(test)]
mod tests;
