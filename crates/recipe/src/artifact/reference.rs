//! What the training rows looked like, as arrays beside those of the model: what the live watch over
//! drift holds parts against. An artifact without them is whole, only not watched.

use trimloop_core::plan::{BINS, FeatureId, InputReference, ScoreReference};

use super::{Array, Artifact, ArtifactError, Data, Shapes};

/// Names of the arrays.
pub(super) const NAMES: [&str; 4] = ["drift_ends", "drift_shares", "drift_rows", "drift_score"];
/// Largest distance of a sum of shares from 1.
const WHOLE: f64 = 1e-9;

/// What the training rows looked like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// Inputs that can be watched, by their places among the features of the header.
    pub inputs: Vec<InputReference>,
    /// Score of a monitor.
    pub score: Option<ScoreReference>,
}

/// Arrays in file order, for `p` inputs; none where the artifact has none.
pub(super) fn shapes(artifact: &Artifact) -> Shapes {
    let p = artifact.header.features.len();
    let shape = |name| match name {
        "drift_ends" => vec![p, BINS - 1],
        "drift_shares" => vec![p, BINS],
        "drift_rows" => vec![p, 2],
        _ => vec![3],
    };
    let has = |name| artifact.array(name).is_some();
    let inputs = ["drift_ends", "drift_shares", "drift_rows"];
    let any = inputs.into_iter().any(has);
    let mut names = if any { inputs.to_vec() } else { Vec::new() };
    names.extend(has("drift_score").then_some("drift_score"));
    names.into_iter().map(|name| (name, shape(name))).collect()
}

impl Artifact {
    /// The same model with what its training rows looked like.
    ///
    /// # Errors
    /// An input that the model does not have, or numbers that no rows have.
    pub fn with_reference(self, reference: &Reference) -> Result<Self, ArtifactError> {
        let p = self.header.features.len();
        let mut ends = vec![0.0; p * (BINS - 1)];
        let mut shares = vec![0.0; p * BINS];
        // Without shares an input is not watched; the rest only has to be possible.
        let mut rows = [1.0, 0.0].repeat(p);
        for input in &reference.inputs {
            let place = input.feature.index();
            if place >= p {
                let why = "the reference is of an input that the model does not have";
                return Err(ArtifactError::Impossible(why.to_owned()));
            }
            put(&mut ends, place, &input.ends);
            put(&mut shares, place, &input.shares);
            put(&mut rows, place, &[input.rows, input.memory]);
        }
        let array = |name, shape: Vec<usize>, data| Array { name, shape, data: Data::F64(data) };
        let mut arrays = self.arrays;
        arrays.retain(|array| !NAMES.contains(&array.name));
        arrays.push(array("drift_ends", vec![p, BINS - 1], ends));
        arrays.push(array("drift_shares", vec![p, BINS], shares));
        arrays.push(array("drift_rows", vec![p, 2], rows));
        if let Some(score) = reference.score {
            let data = vec![score.mean, score.deviation, score.memory];
            arrays.push(array("drift_score", vec![3], data));
        }
        Self::checked(self.header, self.classifier, arrays)
    }

    /// What its training rows looked like; `None` in an artifact that does not say.
    pub fn reference(&self) -> Option<Reference> {
        self.array("drift_shares")?;
        let (ends, _) = self.data("drift_ends").as_chunks::<{ BINS - 1 }>();
        let (shares, _) = self.data("drift_shares").as_chunks::<BINS>();
        let (rows, _) = self.data("drift_rows").as_chunks::<2>();
        let mut inputs = Vec::new();
        let places = (0_u16..).map(FeatureId).zip(ends);
        for ((feature, ends), (shares, [rows, memory])) in places.zip(shares.iter().zip(rows)) {
            if shares.iter().any(|share| *share > 0.0) {
                let (ends, shares, rows, memory) = (*ends, *shares, *rows, *memory);
                inputs.push(InputReference { feature, ends, shares, rows, memory });
            }
        }
        let score = match self.data("drift_score") {
            [mean, deviation, memory] => {
                Some(ScoreReference { mean: *mean, deviation: *deviation, memory: *memory })
            }
            _ => None,
        };
        Some(Reference { inputs, score })
    }
}

fn put(data: &mut [f64], place: usize, row: &[f64]) {
    for (slot, x) in data.iter_mut().skip(place * row.len()).zip(row) {
        *slot = *x;
    }
}

/// Why arrays of the right shapes are no reference.
pub(super) fn impossible(artifact: &Artifact) -> Option<&'static str> {
    let reference = artifact.reference()?;
    for input in &reference.inputs {
        if !input.ends.is_sorted() {
            return Some("the ends of the bins of an input do not rise");
        }
        let sum: f64 = input.shares.iter().sum();
        if input.shares.iter().any(|share| *share < 0.0) || (sum - 1.0).abs() > WHOLE {
            return Some("the shares of the bins of an input do not sum to 1");
        }
        if input.rows < 1.0 || !(0.0..1.0).contains(&input.memory) {
            return Some("the rows of an input are worth less than one, or remember without end");
        }
    }
    let score = reference.score?;
    let fits = score.deviation > 0.0 && (0.0..1.0).contains(&score.memory);
    (!fits).then_some("the score of the training rows has no spread, or remembers without end")
}
