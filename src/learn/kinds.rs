//! Where kinds of model hook in: [`train`] makes an artifact of a frame, [`scorer`] scores rows
//! with an artifact.

use trimloop_core::model::Score;
use trimloop_recipe::artifact::{Artifact, Kind};

#[cfg(feature = "train")]
use super::Frame;
use super::card::Card;
use super::{LearnError, classifier, monitor, regression};
use crate::export::{Cell, Column};

/// Most contributions in a row of scores: `top1` to `top5`.
pub const TOP: usize = 5;

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TrainKind {
    /// Says when rows leave normal operation
    Monitor,
    /// Tells classes apart
    Classifier,
    /// Predicts a measured number
    Regression,
}

/// How a model of a kind is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Learner {
    /// Monitor: errors of predicting each row from the one before (default)
    Dynamic,
    /// Monitor: multivariate EWMA of the rows themselves, for parts that do not remember one another
    Mewma,
    /// Monitor: as dynamic, predicted from canonical variates only
    Cva,
    /// Monitor: dynamic and mewma together, under limits found together
    Combined,
    /// Monitor: principal components of each row by itself
    Pca,
    /// Monitor: principal components of each row with its --lags predecessors (dynamic PCA)
    Dpca,
    /// Classifier: random forest (default)
    Forest,
    /// Classifier: logistic regression, a line of log-odds for each class
    Logistic,
    /// Regression: ridge (default)
    Ridge,
    /// Regression: partial least squares
    Pls,
}

impl Learner {
    const fn kind(self) -> TrainKind {
        match self {
            Self::Dynamic | Self::Mewma | Self::Cva | Self::Combined | Self::Pca | Self::Dpca => {
                TrainKind::Monitor
            }
            Self::Forest | Self::Logistic => TrainKind::Classifier,
            Self::Ridge | Self::Pls => TrainKind::Regression,
        }
    }

    /// Word on the command line.
    fn word(self) -> String {
        use clap::ValueEnum as _;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What is asked of a training run.
pub struct TrainRequest<'a> {
    /// What the model is for.
    pub kind: TrainKind,
    /// How it is learnt; `None` takes the kind's own.
    pub learner: Option<Learner>,
    /// Rows before each row that dynamic PCA judges with it, 1 to 10; `None` takes 2, and is all that
    /// other learners take.
    pub lags: Option<u8>,
    /// Rows to learn from, in the order of time.
    pub frame: &'a Frame,
    /// A second recording of normal operation, for limits.
    pub calibration: Option<&'a Frame>,
    /// Column of labels.
    pub label: Option<&'a str>,
    /// Pattern over file names whose first group is the label.
    pub label_from_file: Option<&'a str>,
    /// Share of normal rows that may alarm, above 0, at most 0.2.
    pub far: f64,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Columns that are no inputs.
    pub ignore: &'a [String],
    /// Derived columns, `name = a * b`, in the order they were given.
    pub features: &'a [String],
    /// Name of the model; `None` makes one of kind and inputs, which is the same for the same data.
    pub id: Option<&'a str>,
    /// Told what is being done and how far it is, as steps done and steps in all; `false` asks to
    /// stop, which ends in [`LearnError::Interrupted`].
    pub progress: &'a (dyn Fn(&str, u64, u64) -> bool + Sync),
}

/// A trained model with what people should know about it.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub artifact: Artifact,
    /// Its card.
    pub card: Card,
    /// Scores of rows that the fit did not see, where its kind has them: what fresh rows of the same
    /// process score.
    pub unseen: Option<Vec<f64>>,
}

/// Trains a model. The same request gives the same bytes.
///
/// # Errors
/// [`LearnError`] when nothing can be learnt.
#[cfg(feature = "train")]
pub fn train(request: &TrainRequest<'_>) -> Result<Trained, LearnError> {
    if let Some(learner) = request.learner.filter(|learner| learner.kind() != request.kind) {
        use clap::ValueEnum as _;
        let known = Learner::value_variants().iter().filter(|l| l.kind() == request.kind);
        let known: Vec<String> = known.map(|learner| learner.word()).collect();
        let why = format!(
            "--learner {} learns another kind of model; this kind is learnt by: {}",
            learner.word(),
            known.join(", ")
        );
        return Err(LearnError::Option(why));
    }
    if request.lags.is_some() && request.learner != Some(Learner::Dpca) {
        let why = "--lags belongs to --learner dpca; no other learner takes it".to_owned();
        return Err(LearnError::Option(why));
    }
    match request.kind {
        TrainKind::Monitor => monitor::train(request),
        TrainKind::Regression => regression::train(request),
        TrainKind::Classifier => classifier::train(request),
    }
}

/// An input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Name of the column.
    pub name: String,
    /// Unit it must have; empty where none was known.
    pub unit: String,
    /// For a column of texts every text of the training rows; empty for numbers. A row's text is
    /// handed on as its place in this list, one that is not there as -1.
    pub levels: Vec<String>,
}

/// Whether a row may be judged by the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Like the rows of training.
    In,
    /// Unlike them.
    Out,
    /// An input is missing.
    Missing,
}

impl Domain {
    /// What a score says of its row.
    pub(super) const fn of(score: &Score) -> Self {
        match (score.known, score.in_domain) {
            (false, _) => Self::Missing,
            (true, false) => Self::Out,
            (true, true) => Self::In,
        }
    }

    /// Word in the column `domain`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Missing => "missing",
        }
    }

    /// As a cell.
    #[must_use]
    pub fn cell(self) -> Cell<'static> {
        Cell::Text(self.word().into())
    }
}

/// Scores rows one after the other.
pub trait Scorer {
    /// What it takes, in the order of [`Scorer::row`].
    fn inputs(&self) -> &[Input];

    /// What it gives for each row, the time left out.
    fn columns(&self) -> Vec<Column>;

    /// Scores one row. Pushes a cell for each of [`Scorer::columns`].
    ///
    /// - `inputs`: `[inputs]`, NaN where a value is missing.
    fn row(&mut self, inputs: &[f64], cells: &mut Vec<Cell<'_>>) -> Domain;

    /// A new file begins: another run of the process, so nothing of the one before counts.
    fn restart(&mut self);
}

/// The scorer of a model.
///
/// # Errors
/// [`LearnError`] when the artifact lacks what its kind needs.
pub fn scorer(artifact: &Artifact) -> Result<Box<dyn Scorer>, LearnError> {
    Ok(match artifact.header().kind {
        Kind::Pca | Kind::Monitor | Kind::Combined => {
            Box::new(monitor::MonitorScorer::new(artifact)?)
        }
        Kind::Linear => Box::new(regression::LinearScorer::new(artifact)?),
        Kind::Forest => match artifact.about_classifier() {
            // Trees without classes predict a number.
            Some(about) if about.classes.is_empty() => {
                Box::new(regression::LinearScorer::new(artifact)?)
            }
            _ => Box::new(classifier::ClassScorer::new(artifact)?),
        },
        Kind::Logistic => Box::new(classifier::ClassScorer::new(artifact)?),
    })
}

/// Inputs of an artifact whose features are all columns of numbers.
#[must_use]
pub fn number_inputs(artifact: &Artifact) -> Vec<Input> {
    let features = artifact.header().features.iter();
    let input = |(name, unit): (&String, &String)| Input {
        name: name.clone(),
        unit: unit.clone(),
        levels: Vec::new(),
    };
    features.map(|feature| input((&feature.name, &feature.unit))).collect()
}

/// `top1, top1_contribution, …` for so many inputs.
#[must_use]
pub fn top_columns(inputs: usize) -> Vec<Column> {
    (1..=inputs.min(TOP))
        .flat_map(|place| {
            [
                Column::new(&format!("top{place}"), crate::export::Kind::Text),
                Column::new(&format!("top{place}_contribution"), crate::export::Kind::Number),
            ]
        })
        .collect()
}
