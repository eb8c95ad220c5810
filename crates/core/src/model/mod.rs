//! Scores over features: control charts, principal-component and dynamic monitors, linear soft
//! sensors, classifiers of trees and logistic ones.
//!
//! Terms: T2 is the distance of a part inside the plane of the components, SPE the squared
//! distance off it, a *contribution* one variable's share of a score. A model is *in domain* while
//! the parts look like those it was trained on.
//!
//! - One part goes through every model once, in plan order, monitors before the soft sensors
//!   that share their domain.
//! - **Invariant:** an input that is unknown or not finite makes the score unknown; nothing is
//!   put in its place, and charts and domains keep their state.
//! - Sums run in one fixed order, so a score is the same bits on every machine.
//! - Nothing is allocated after [`Models::new`].

mod chart;
mod combined;
pub mod forecast;
pub mod forest;
mod linear;
pub mod logistic;
mod monitor;
mod network;
mod pca;
mod rules;

use alloc::vec::Vec;

use crate::feature::FeatureValue;
use crate::plan::{FeatureId, Model, ModelId, Plan, Source};

use chart::ChartState;
use combined::CombinedState;
use forest::Forest;
use linear::LinearState;
use logistic::Logistic;
use monitor::MonitorState;
use pca::PcaState;

pub use pca::{ShapeError, t2_shares};

/// What one model says about one part.
///
/// Numbers that a kind of model does not have are 0. An unknown score holds NaN everywhere, so
/// that a reader who forgets `known` cannot take it for a healthy one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// All inputs were known and finite, and so is the score.
    pub known: bool,
    /// Known, and the model may be believed here. A chart is in domain whenever it is known, a
    /// monitor by its hysteresis, a soft sensor inside its training spans and while its monitor
    /// is in domain.
    pub in_domain: bool,
    /// This part is beyond the alarm limit of a chart or a monitor. Never true when unknown.
    pub alarm: bool,
    /// T2 of a monitor, or of the domain of a classifier that has one, dimensionless, >= 0.
    pub t2: f64,
    /// SPE of a monitor, dimensionless, >= 0.
    pub spe: f64,
    /// Chart: its statistic as a share of the limit, >= 0, 1 is the limit. Monitor: the larger of
    /// T2 and SPE as shares of their alarm limits. Soft sensor: the prediction [unit of y].
    /// Classifier: the probability of its best class, 0 to 1.
    pub value: f64,
    /// Lower end of the prediction interval of a soft sensor [unit of y].
    pub low: f64,
    /// Upper end of the prediction interval of a soft sensor [unit of y].
    pub high: f64,
}

impl Score {
    /// Before the first part, and whenever an input is missing.
    pub const UNKNOWN: Self = Self {
        known: false,
        in_domain: false,
        alarm: false,
        t2: f64::NAN,
        spe: f64::NAN,
        value: f64::NAN,
        low: f64::NAN,
        high: f64::NAN,
    };

    /// A score without T2, SPE or interval; unknown unless `value` is finite.
    fn of_value(value: f64, alarm: bool) -> Self {
        if !value.is_finite() {
            return Self::UNKNOWN;
        }
        Self { known: true, in_domain: true, alarm, t2: 0.0, spe: 0.0, value, low: 0.0, high: 0.0 }
    }
}

/// One variable's part in a score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contribution {
    /// The variable.
    pub feature: FeatureId,
    /// Its share in the unit of the score. Shares of T2 sum to T2 and may be negative (the value
    /// pulls the part to the centre); shares of SPE carry the sign of the residual and sum to SPE
    /// in magnitude; shares of a prediction sum to its distance from the prediction at the
    /// training means; a chart's only share is its statistic over its limit, with the sign of
    /// `z`.
    pub share: f64,
    /// The standardised value [training standard deviations], for a chart its standardised
    /// one-step residual.
    pub z: f64,
}

impl Contribution {
    /// Fills the array handed to [`Models::top`].
    pub const NONE: Self = Self { feature: FeatureId(0), share: 0.0, z: 0.0 };
}

/// State and newest score of every model of a plan.
#[derive(Clone, Debug)]
pub struct Models {
    states: Vec<State>,
    scores: Vec<Score>,
}

#[derive(Clone, Debug)]
enum State {
    Chart(ChartState),
    Pca(PcaState),
    Monitor(MonitorState),
    Combined(CombinedState),
    Linear(LinearState),
    Forest(Forest),
    Logistic(Logistic),
}

impl Models {
    /// Allocates everything; every score is unknown, every monitor in its domain.
    ///
    /// A model whose arrays disagree in length or hold values outside their documented range
    /// stays unknown for ever: the recipe checker refuses it, this is the second net.
    pub fn new(plan: &Plan) -> Self {
        let states = plan.models.iter().map(|model| match &model.model {
            Model::Chart(chart) => State::Chart(ChartState::new(chart)),
            Model::Pca(pca) => State::Pca(PcaState::new(pca)),
            Model::Monitor(monitor) => State::Monitor(MonitorState::new(monitor)),
            Model::Combined(combined) => State::Combined(CombinedState::new(combined)),
            Model::Linear(linear) => State::Linear(LinearState::new(linear)),
            Model::Forest(forest) => State::Forest(Forest::new(forest)),
            Model::Logistic(logistic) => State::Logistic(Logistic::new(logistic)),
        });
        Self { states: states.collect(), scores: alloc::vec![Score::UNKNOWN; plan.models.len()] }
    }

    /// Scores one part with every model of the plan.
    ///
    /// - `features`: the part's features, indexed by [`FeatureId`].
    ///
    /// An unknown input makes the score unknown and keeps the model's state.
    pub fn score(&mut self, plan: &Plan, features: &[FeatureValue]) {
        // Charts and monitors first: a soft sensor asks a monitor, wherever the recipe puts it.
        let slots = plan.models.iter().zip(&mut self.states).zip(&mut self.scores);
        for ((model, state), score) in slots {
            match (&model.model, state) {
                (Model::Chart(chart), State::Chart(state)) => *score = state.score(chart, features),
                (Model::Pca(pca), State::Pca(state)) => *score = state.score(pca, features),
                (Model::Monitor(monitor), State::Monitor(state)) => {
                    *score = state.score(monitor, features);
                }
                (Model::Combined(combined), State::Combined(state)) => {
                    *score = state.score(combined, features);
                }
                // The second pass writes these.
                _ => *score = Score::UNKNOWN,
            }
        }
        for (index, model) in plan.models.iter().enumerate() {
            let domain = match &model.model {
                Model::Linear(linear) => linear.domain,
                Model::Forest(forest) => forest.domain,
                Model::Logistic(logistic) => logistic.domain,
                Model::Chart(_) | Model::Pca(_) | Model::Monitor(_) | Model::Combined(_) => {
                    continue;
                }
            };
            let monitor = domain.map(|id| {
                let state = self.states.get(id.index());
                matches!(state, Some(State::Pca(_) | State::Monitor(_) | State::Combined(_)))
                    && self.get(id).is_some_and(|score| score.in_domain)
            });
            let score = match (&model.model, self.states.get_mut(index)) {
                (Model::Linear(linear), Some(State::Linear(state))) => {
                    state.score(linear, features, monitor)
                }
                (Model::Forest(forest), Some(State::Forest(state))) => {
                    state.score(forest, features, monitor)
                }
                (Model::Logistic(logistic), Some(State::Logistic(state))) => {
                    state.score(logistic, features, monitor)
                }
                _ => continue,
            };
            if let Some(slot) = self.scores.get_mut(index) {
                *slot = score;
            }
        }
    }

    /// Score of the newest part; `None` when the plan has no such model.
    pub fn get(&self, model: ModelId) -> Option<&Score> {
        self.scores.get(model.index())
    }

    /// Value of a clause's source for the newest part, always finite; `None` when it is unknown
    /// or when the model is of another kind.
    ///
    /// A score counts whether or not its model is in domain: being out of domain is itself a
    /// pattern worth a signature. Acting on it is the permit's business.
    pub fn source(&self, features: &[FeatureValue], source: Source) -> Option<f64> {
        let value = match source {
            Source::Feature(id) => known(features, id)?,
            Source::Chart(id) => match self.states.get(id.index())? {
                State::Chart(_) => self.known_score(id)?.value,
                _ => return None,
            },
            Source::Prediction(id) => match self.states.get(id.index())? {
                State::Linear(_) => self.known_score(id)?.value,
                State::Forest(forest) if forest.is_sensor() => self.known_score(id)?.value,
                _ => return None,
            },
            Source::Probability(id, class) => match self.states.get(id.index())? {
                State::Forest(forest) => {
                    self.known_score(id)?;
                    *forest.probabilities().get(usize::from(class))?
                }
                State::Logistic(logistic) => {
                    self.known_score(id)?;
                    *logistic.probabilities().get(usize::from(class))?
                }
                _ => return None,
            },
            Source::T2(id) => match self.states.get(id.index())? {
                State::Pca(pca) => self.known_score(id)?.t2 / pca.alarm().t2,
                State::Monitor(monitor) => self.known_score(id)?.t2 / monitor.alarm().t2,
                State::Combined(combined) => {
                    self.known_score(id)?;
                    combined.shares().0
                }
                _ => return None,
            },
            Source::Spe(id) => match self.states.get(id.index())? {
                State::Pca(pca) => self.known_score(id)?.spe / pca.alarm().spe,
                State::Monitor(monitor) => self.known_score(id)?.spe / monitor.alarm().spe,
                State::Combined(combined) => {
                    self.known_score(id)?;
                    combined.shares().1
                }
                _ => return None,
            },
        };
        value.is_finite().then_some(value)
    }

    /// Writes the contributions of largest magnitude into `top`, largest first, and returns how
    /// many there are; 0 when the score of the newest part is unknown.
    ///
    /// - `features`: those of the part last given to [`Models::score`].
    /// - `top`: `[n]`; entries behind the returned count are left as they were.
    ///
    /// A monitor explains whichever of T2 and SPE is larger relative to its alarm limit. Equal
    /// magnitudes keep the order of the inputs.
    pub fn top(
        &self,
        plan: &Plan,
        features: &[FeatureValue],
        model: ModelId,
        top: &mut [Contribution],
    ) -> usize {
        let Some(score) = self.known_score(model) else { return 0 };
        let Some(model_plan) = plan.models.get(model.index()) else { return 0 };
        let mut count = 0;
        let offer = |contribution: Contribution| offer(top, &mut count, contribution);
        match (&model_plan.model, self.states.get(model.index())) {
            (Model::Forest(forest), Some(State::Forest(state))) => state.offer(forest, offer),
            (Model::Logistic(logistic), Some(State::Logistic(state))) => {
                state.offer(logistic, offer);
            }
            (Model::Chart(chart), Some(State::Chart(state))) => {
                state.contributions(chart, score, offer);
            }
            (Model::Pca(pca), Some(State::Pca(state))) => state.contributions(pca, score, offer),
            (Model::Monitor(monitor), Some(State::Monitor(state))) => {
                state.contributions(monitor, score, offer);
            }
            (Model::Combined(combined), Some(State::Combined(state))) => {
                state.contributions(combined, score, offer);
            }
            (Model::Linear(linear), Some(State::Linear(_))) => {
                linear::contributions(linear, features, offer);
            }
            _ => {}
        }
        count
    }

    /// Starts every chart anew, as if no part had been seen: after a recipe or product change, or
    /// when a person accepts a new level. Monitors keep their domain.
    pub fn reset_charts(&mut self) {
        for (state, score) in self.states.iter_mut().zip(&mut self.scores) {
            if let State::Chart(chart) = state {
                chart.reset();
                *score = Score::UNKNOWN;
            }
        }
    }

    /// Probability of each class, `[k]`, and the place of the best one, for the newest part; `None`
    /// when the score is unknown or the model tells no classes apart.
    pub fn classes(&self, model: ModelId) -> Option<(&[f64], usize)> {
        self.known_score(model)?;
        match self.states.get(model.index())? {
            State::Forest(forest) if !forest.is_sensor() => {
                Some((forest.probabilities(), forest.best()))
            }
            State::Logistic(logistic) => Some((logistic.probabilities(), logistic.best())),
            _ => None,
        }
    }

    fn known_score(&self, model: ModelId) -> Option<&Score> {
        self.get(model).filter(|score| score.known)
    }
}

/// A feature's value; `None` when it is unknown, not finite or not there.
fn known(features: &[FeatureValue], id: FeatureId) -> Option<f64> {
    features.get(id.index())?.value.filter(|value| value.is_finite())
}

/// Sorts one contribution into the `count` largest so far.
fn offer(top: &mut [Contribution], count: &mut usize, contribution: Contribution) {
    let size = libm::fabs(contribution.share);
    let smaller = |held: &Contribution| libm::fabs(held.share) < size;
    let place = top.iter().take(*count).position(smaller).unwrap_or(*count);
    let filled = count.saturating_add(1).min(top.len());
    // The rest moves back by one; the last falls out when there is no room.
    let mut moved = contribution;
    for held in top.iter_mut().take(filled).skip(place) {
        core::mem::swap(held, &mut moved);
    }
    *count = filled;
}

/// Inner product in one fixed order: eight interleaved sums, joined pairwise, then the rest.
/// The lanes let the compiler use wide registers without reordering anything.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let mut sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    for (x, y) in a_rest.iter().zip(b_rest) {
        sum += x * y;
    }
    sum
}

#[cfg(test)]
pub(crate) mod tests;
