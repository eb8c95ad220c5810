//! Models of files as plans of the core, which scores them.

use trimloop_core::feature::FeatureValue;
use trimloop_core::model::{Contribution, Models, Score};
use trimloop_core::plan::{FeatureId, ModelId, ModelPlan, Plan};
use trimloop_recipe::artifact::Artifact;

use super::LearnError;
use super::kinds::{Input, TOP, number_inputs};
use crate::export::Cell;

/// A plan that holds one model over the columns of a table, and nothing else.
pub(super) fn plan_of(artifact: &Artifact) -> Result<Plan, LearnError> {
    let features = &artifact.header().features;
    let ids = || (0..).map(FeatureId);
    let bind = |name: &str| {
        let found = ids().zip(features).find(|(_, feature)| feature.name == name);
        found.map(|(id, feature)| (id, feature.unit.as_str()))
    };
    let model = artifact.bind(bind).map_err(|error| LearnError::Train(error.to_string()))?;
    let id = artifact.header().id.clone();
    let model = ModelPlan { name: id.clone(), hash: artifact.hash(), model };
    Ok(Plan::of_models(id, artifact.hash(), vec![model]))
}

/// A model of a file by itself, scored by the core as it is live.
#[derive(Debug)]
pub(super) struct CoreModel {
    plan: Plan,
    models: Models,
    inputs: Vec<Input>,
    features: Vec<FeatureValue>,
}

impl CoreModel {
    pub(super) fn new(artifact: &Artifact) -> Result<Self, LearnError> {
        let plan = plan_of(artifact)?;
        let inputs = number_inputs(artifact);
        let features = vec![FeatureValue::UNKNOWN; inputs.len()];
        Ok(Self { models: Models::new(&plan), plan, inputs, features })
    }

    pub(super) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// Scores a row, `[inputs]`; NaN is unknown.
    pub(super) fn score(&mut self, inputs: &[f64]) -> Score {
        features_of(inputs, &mut self.features);
        self.models.score(&self.plan, &self.features);
        self.models.get(ModelId(0)).copied().unwrap_or(Score::UNKNOWN)
    }

    /// Names and shares of the largest contributions to the newest score; empty cells where there
    /// are fewer.
    pub(super) fn push_top(&self, cells: &mut Vec<Cell<'_>>) {
        let mut top = [Contribution::NONE; TOP];
        let count = self.models.top(&self.plan, &self.features, ModelId(0), &mut top);
        let slots = self.inputs.len().min(TOP);
        for place in 0..slots {
            let Some(contribution) = top.get(place).filter(|_| place < count) else {
                cells.extend([Cell::Null, Cell::Null]);
                continue;
            };
            let input = self.inputs.get(contribution.feature.index());
            let name = input.map_or_else(String::new, |input| input.name.clone());
            cells.extend([Cell::Text(name.into()), Cell::Float(contribution.share)]);
        }
    }

    /// Forgets the rows so far: another run.
    pub(super) fn restart(&mut self) {
        self.models = Models::new(&self.plan);
    }
}

/// Values of a row as features; NaN is unknown.
pub(super) fn features_of(inputs: &[f64], features: &mut [FeatureValue]) {
    for (slot, x) in features.iter_mut().zip(inputs) {
        *slot = if x.is_finite() {
            FeatureValue { value: Some(*x), coverage: 1.0 }
        } else {
            FeatureValue::UNKNOWN
        };
    }
}

#[cfg(feature = "train")]
pub(super) use describe::{header_of, training_facts, window};

#[cfg(feature = "train")]
mod describe {
    use trimloop_recipe::artifact::{Artifact, FeatureSpec, Header, Kind, TrainingWindow};

    use crate::learn::card::Card;
    use crate::learn::drift::{Reference, kept};
    use crate::learn::kinds::{TrainRequest, Trained};
    use crate::learn::{Clock, Frame, Inputs, LearnError};
    use crate::output::Zone;

    impl Trained {
        /// A model with its card, whose name and hash are those of the model.
        #[must_use]
        pub fn new(artifact: Artifact, card: Card) -> Self {
            let hash = artifact.hash();
            let model = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            let id = artifact.header().id.clone();
            Self { artifact, card: Card { id, model, ..card }, unseen: None }
        }

        /// The same with what its training rows looked like, in artifact and card.
        ///
        /// # Errors
        /// Numbers that no rows have.
        pub fn with_reference(self, reference: &Reference) -> Result<Self, LearnError> {
            let kept = kept(reference, &self.artifact);
            let artifact = self.artifact.with_reference(&kept);
            let artifact = artifact.map_err(|error| LearnError::Train(error.to_string()))?;
            let card = Card { reference: Some(reference.clone()), ..self.card };
            Ok(Self::new(artifact, card))
        }
    }

    /// What a training run says about itself. Holds no clock and no folder, so that the same data
    /// give the same bytes wherever they lie.
    pub(in crate::learn) fn header_of(
        request: &TrainRequest<'_>,
        kind: Kind,
        inputs: &Inputs<'_>,
        note: &str,
    ) -> Header {
        let specs = inputs
            .columns
            .iter()
            .map(|column| FeatureSpec { name: column.name.clone(), unit: column.unit.clone() });
        let mut header = Header {
            id: String::new(),
            kind,
            features: specs.collect(),
            recipe: String::new(),
            rows: inputs.rows.len() as u64,
            window: window(request.frame).map(|(from, to)| TrainingWindow { from, to }),
            seed: request.seed,
            note: note.to_owned(),
        };
        let hash = header.schema_hash();
        let short = hash.get(..8).unwrap_or_default();
        header.id = request.id.map_or_else(|| format!("{}-{short}", kind.word()), str::to_owned);
        header
    }

    /// Rows, inputs, files and times of a training run.
    pub(in crate::learn) fn training_facts(
        request: &TrainRequest<'_>,
        inputs: &Inputs<'_>,
    ) -> Vec<(String, String)> {
        let frame = request.frame;
        let names = frame.files().iter().filter_map(|(path, _)| path.file_name());
        let mut names: Vec<String> =
            names.map(|name| name.to_string_lossy().into_owned()).collect();
        if let [first, .., last] = names.as_slice()
            && names.len() > 4
        {
            names = vec![format!("{first} to {last}, {} files", names.len())];
        }
        let mut facts = vec![
            ("data".to_owned(), names.join(", ")),
            ("rows".to_owned(), format!("{} of {}", inputs.rows.len(), frame.rows())),
            ("inputs".to_owned(), inputs.columns.len().to_string()),
        ];
        if let Some((from, to)) = window(frame) {
            facts.push(("recorded".to_owned(), format!("{from} to {to}")));
        }
        facts.push(("seed".to_owned(), request.seed.to_string()));
        facts
    }

    /// First and last time of a table, where it has any.
    pub(in crate::learn) fn window(frame: &Frame) -> Option<(String, String)> {
        let Clock::Utc(times) = &frame.time()?.clock else { return None };
        let known = || times.iter().copied().filter(|utc| *utc != i64::MIN);
        Some((Zone::Utc.text(known().min()?, 3), Zone::Utc.text(known().max()?, 3)))
    }
}
