//! `model.tlm`: a trained model as one file, independent of any library.
//!
//! ```text
//! TLMD | u16 format | u16 0 | u32 header length | JSON header | 0.. | array | 0.. | array | sha256
//! ```
//!
//! All numbers are little-endian, arrays (`f64`, of trees also `f32`, `u32`, `u16`) begin at
//! multiples of 64 bytes; the header lists them as `{name, dtype, shape, offset}`, the offset counted
//! from the first byte after the header, rounded up to 64. The SHA-256 at the end covers every byte
//! before it and is the model's hash in a plan.
//!
//! - **Invariant:** the same model gives the same bytes, and only those bytes are read back: a
//!   file with other padding, spacing or order is refused even when its digest is right.
//! - A model that an older version cannot score has an array that such a version does not know, so
//!   that it refuses the file instead of scoring something else (`lags` of a monitor).
//! - **Invariant:** what [`Artifact::read`] returns has the shapes of its kind, only finite
//!   numbers, and values its kind can have. Nothing in a file makes it panic.
//!
//! Source: `methods.md` section 2, *Artifact*. Signatures are separate files, not read here.

mod combined;
mod data;
mod error;
mod forest;
mod logistic;
mod monitor;
mod network;
mod pca;
mod reference;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use trimloop_core::plan::{FeatureId, ForestPlan, LinearPlan, LogisticPlan, Model};

use data::{Data, dtype, width};

pub use error::ArtifactError;
pub use forest::{Classifier, Words};
pub use reference::Reference;

const MAGIC: [u8; 4] = *b"TLMD";
/// Format written and read.
pub const FORMAT: u16 = 1;
/// Largest file read [bytes]: 1024 inputs with as many components take 8 MiB, a forest of 500 deep
/// trees for 20 classes some 100.
pub const BYTES_MAX: usize = 256 << 20;
/// Most inputs of one model.
pub const INPUTS_MAX: usize = trimloop_core::plan::FEATURES_MAX;

/// Longest name, unit and recipe [bytes].
const TEXT_MAX: usize = 256;
/// Longest note [bytes].
const NOTE_MAX: usize = 64 << 10;
const ALIGN: usize = 64;
const PREFIX: usize = 12;
const DIGEST: usize = 32;

/// A checked model with its description.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    header: Header,
    classifier: Option<Classifier>,
    arrays: Vec<Array>,
}

/// What a model is and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Name and revision, such as `weight-r3`; 1 to 128 bytes.
    pub id: String,
    /// The mathematics.
    pub kind: Kind,
    /// Inputs in the order of the arrays, 1 to [`INPUTS_MAX`], names unique.
    pub features: Vec<FeatureSpec>,
    /// Recipe and revision the history was recorded with; at most 256 bytes.
    pub recipe: String,
    /// Training rows.
    pub rows: u64,
    /// When the training rows were recorded; `None` when the history carries no time.
    pub window: Option<TrainingWindow>,
    /// Seed of the training run.
    pub seed: u64,
    /// Anything the author wants an approver to read: calibration, backtest, gates; at most
    /// 64 KiB.
    pub note: String,
}

/// The kinds of model an artifact can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// T2 and SPE over many features.
    Pca,
    /// T2 and SPE of one-step errors over many features.
    Monitor,
    /// Several monitors under limits found together.
    Combined,
    /// Linear soft sensor with interval.
    Linear,
    /// Classifier or soft sensor made of trees or linear terms.
    Forest,
    /// Logistic classifier.
    Logistic,
}

impl Kind {
    /// Word in headers and pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pca => "pca",
            Self::Monitor => "monitor",
            Self::Combined => "combined",
            Self::Linear => "linear",
            Self::Forest => "forest",
            Self::Logistic => "logistic",
        }
    }
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Name of the feature in the recipe.
    pub name: String,
    /// Its unit as the recipe writes it; empty for counts and ratios.
    pub unit: String,
}

/// First and last training row, UTC, RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingWindow {
    /// First row.
    pub from: String,
    /// Last row.
    pub to: String,
}

#[derive(Clone, Debug, PartialEq)]
struct Array {
    name: &'static str,
    shape: Vec<usize>,
    data: Data,
}

/// The header as JSON, fields in file order.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    id: String,
    kind: Kind,
    features: Vec<FeatureSpec>,
    schema_hash: String,
    recipe: String,
    rows: u64,
    window: Option<TrainingWindow>,
    seed: u64,
    note: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classifier: Option<Classifier>,
    arrays: Vec<RawArray>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawArray {
    name: String,
    dtype: String,
    shape: Vec<usize>,
    offset: usize,
}

impl Header {
    /// SHA-256 (hex) over kind and, in order, name and unit of every feature: two models with the
    /// same hash take the same inputs.
    pub fn schema_hash(&self) -> String {
        let mut sha = Sha256::new();
        let mut part = |text: &str| {
            // Lengths keep ("ab", "c") apart from ("a", "bc").
            sha.update((text.len() as u64).to_le_bytes());
            sha.update(text);
        };
        part("trimloop schema 1");
        part(self.kind.word());
        for feature in &self.features {
            part(&feature.name);
            part(&feature.unit);
        }
        hex(&sha.finalize())
    }

    fn check(&self) -> Result<(), ArtifactError> {
        let wrong = |why: &str| Err(ArtifactError::Header(why.to_owned()));
        if self.id.is_empty() || self.id.len() > 128 {
            return wrong("its id must have 1 to 128 bytes");
        }
        if self.features.is_empty() || self.features.len() > INPUTS_MAX {
            return wrong("it must have 1 to 1024 features");
        }
        if self.recipe.len() > TEXT_MAX || self.note.len() > NOTE_MAX {
            return wrong("the recipe's name or the note is too long");
        }
        let mut seen = BTreeSet::new();
        for feature in &self.features {
            if feature.name.is_empty() || feature.name.len() > TEXT_MAX {
                return wrong("a feature's name must have 1 to 256 bytes");
            }
            if feature.unit.len() > TEXT_MAX {
                return wrong("a feature's unit must have at most 256 bytes");
            }
            if !seen.insert(&feature.name) {
                return Err(ArtifactError::Header(format!(
                    "the feature {} is listed twice",
                    feature.name
                )));
            }
        }
        Ok(())
    }
}

impl Artifact {
    /// Describes a trained model. The plan's feature ids, and a soft sensor's domain monitor, are
    /// not kept: inputs are known by the names in `header`, in the order of the plan's arrays.
    ///
    /// # Errors
    /// A chart (it lives in the recipe), a header of another kind, or arrays that no model has.
    pub fn new(header: Header, model: &Model) -> Result<Self, ArtifactError> {
        let p = header.features.len();
        let array = |name, shape: &[usize], data| Array {
            name,
            shape: shape.to_vec(),
            data: Data::F64(data),
        };
        let (kind, arrays) = match model {
            Model::Pca(m) => (Kind::Pca, pca::arrays(m, p)),
            Model::Monitor(m) => (Kind::Monitor, monitor::arrays(m)),
            Model::Combined(m) => (Kind::Combined, combined::arrays(m)),
            Model::Linear(m) => {
                let span = m.span.iter().flat_map(|(low, high)| [*low, *high]).collect();
                let arrays = vec![
                    array("coefficients", &[p], m.coefficients.clone()),
                    array("mean", &[p], m.mean.clone()),
                    array("scale", &[p], m.scale.clone()),
                    array("span", &[p, 2], span),
                    array("intercept", &[1], vec![m.intercept]),
                    array("half_width", &[1], vec![m.half_width]),
                ];
                (Kind::Linear, arrays)
            }
            Model::Forest(_) | Model::Logistic(_) => {
                return Err(ArtifactError::Header("a classifier must say its label".to_owned()));
            }
            Model::Chart(_) => {
                return Err(ArtifactError::Header("a chart is written in the recipe".to_owned()));
            }
        };
        if kind != header.kind {
            return Err(ArtifactError::Header(format!(
                "it says {}, the model is {}",
                header.kind.word(),
                kind.word()
            )));
        }
        Self::checked(header, None, arrays)
    }

    /// Describes a trained classifier, or a soft sensor made of trees. What the plan says of its
    /// classes and its link goes into the header; the ids of its inputs are not kept.
    ///
    /// - `label`: what it was trained on.
    /// - `words`: the codes of inputs that hold words.
    ///
    /// # Errors
    /// A header of another kind, or a plan that is none of a classifier.
    pub fn classifier(
        header: Header,
        label: &str,
        words: Vec<Words>,
        plan: &ForestPlan,
    ) -> Result<Self, ArtifactError> {
        if header.kind != Kind::Forest {
            let why = format!("it says {}, the model is forest", header.kind.word());
            return Err(ArtifactError::Header(why));
        }
        let about = Classifier {
            label: label.to_owned(),
            classes: plan.classes.clone(),
            link: forest::link_word(plan.link).to_owned(),
            words,
        };
        Self::checked(header, Some(about), forest::arrays(plan))
    }

    /// Describes a trained logistic classifier; as [`Artifact::classifier`].
    ///
    /// # Errors
    /// As [`Artifact::classifier`].
    pub fn logistic(
        header: Header,
        label: &str,
        words: Vec<Words>,
        plan: &LogisticPlan,
    ) -> Result<Self, ArtifactError> {
        if header.kind != Kind::Logistic {
            let why = format!("it says {}, the model is logistic", header.kind.word());
            return Err(ArtifactError::Header(why));
        }
        let about = Classifier {
            label: label.to_owned(),
            classes: plan.classes.clone(),
            link: logistic::link_word(&plan.calibration).to_owned(),
            words,
        };
        Self::checked(header, Some(about), logistic::arrays(plan))
    }

    /// What a classifier says besides numbers; `None` for other kinds.
    pub fn about_classifier(&self) -> Option<&Classifier> {
        self.classifier.as_ref()
    }

    /// What the model is and where it came from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// SHA-256 over every byte before the digest of the file; equal to the digest it ends with.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.body()).into()
    }

    /// The file. The same artifact always gives the same bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.body();
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    }

    /// Reads a file of [`Artifact::write`].
    ///
    /// # Errors
    /// Any byte that differs, is missing or surplus; see [`ArtifactError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ArtifactError> {
        if bytes.len() > BYTES_MAX {
            return Err(ArtifactError::TooLarge(bytes.len()));
        }
        let begins = bytes.iter().zip(&MAGIC).all(|(a, b)| a == b);
        if !begins {
            return Err(ArtifactError::Magic);
        }
        if bytes.len() < PREFIX + DIGEST {
            return Err(ArtifactError::Truncated { have: bytes.len(), need: None });
        }
        let (body, digest) = bytes.split_at(bytes.len() - DIGEST);
        if Sha256::digest(body)[..] != *digest {
            return Err(damage(bytes));
        }
        if u16_at(body, 4) != Some(FORMAT) {
            return Err(ArtifactError::Format(u16_at(body, 4).unwrap_or(0)));
        }
        let raw = raw_header(body)?;
        let data = align(PREFIX + header_length(body).unwrap_or(0));
        let mut arrays = Vec::new();
        for array in &raw.arrays {
            arrays.push(read_array(body, data, array)?);
        }
        let artifact = Self::checked(
            Header {
                id: raw.id,
                kind: raw.kind,
                features: raw.features,
                recipe: raw.recipe,
                rows: raw.rows,
                window: raw.window,
                seed: raw.seed,
                note: raw.note,
            },
            raw.classifier,
            arrays,
        )?;
        if artifact.header.schema_hash() != raw.schema_hash {
            return Err(ArtifactError::Schema);
        }
        if artifact.body() != body {
            let why = "the file is not laid out as trimloop writes it";
            return Err(ArtifactError::Header(why.to_owned()));
        }
        Ok(artifact)
    }

    /// The model over the features of a recipe. A soft sensor's domain monitor is left `None` for
    /// the recipe to set.
    ///
    /// - `feature`: id and unit of the recipe's feature of that name, `None` when it has none.
    ///
    /// # Errors
    /// [`ArtifactError::MissingFeatures`] with every missing name, else the first
    /// [`ArtifactError::Unit`] that differs.
    pub fn bind<'u>(
        &self,
        feature: impl Fn(&str) -> Option<(FeatureId, &'u str)>,
    ) -> Result<Model, ArtifactError> {
        let mut inputs = Vec::new();
        let mut missing = Vec::new();
        let mut unit = None;
        for spec in &self.header.features {
            match feature(&spec.name) {
                None => missing.push(spec.name.clone()),
                Some((id, recipe)) => {
                    inputs.push(id);
                    if recipe != spec.unit && unit.is_none() {
                        unit = Some(ArtifactError::Unit {
                            feature: spec.name.clone(),
                            model: spec.unit.clone(),
                            recipe: recipe.to_owned(),
                        });
                    }
                }
            }
        }
        if !missing.is_empty() {
            return Err(ArtifactError::MissingFeatures(missing));
        }
        if let Some(unit) = unit {
            return Err(unit);
        }
        Ok(match self.header.kind {
            Kind::Pca => Model::Pca(pca::plan(self, inputs)),
            Kind::Monitor => Model::Monitor(monitor::plan(self, inputs)),
            Kind::Combined => Model::Combined(combined::plan(self, &inputs)),
            Kind::Linear => Model::Linear(self.linear(inputs)),
            Kind::Forest => match forest::plan(self, inputs) {
                Some(plan) => Model::Forest(plan),
                // Every artifact was checked when it was made; this keeps the function total.
                None => return Err(ArtifactError::Header("it is no classifier".to_owned())),
            },
            Kind::Logistic => match logistic::plan(self, inputs) {
                Some(plan) => Model::Logistic(plan),
                None => return Err(ArtifactError::Header("it is no classifier".to_owned())),
            },
        })
    }

    fn linear(&self, inputs: Vec<FeatureId>) -> LinearPlan {
        let (span, _) = self.data("span").as_chunks::<2>();
        let single = |name| self.data(name).first().copied().unwrap_or(f64::NAN);
        LinearPlan {
            inputs,
            coefficients: self.data("coefficients").to_vec(),
            mean: self.data("mean").to_vec(),
            scale: self.data("scale").to_vec(),
            intercept: single("intercept"),
            half_width: single("half_width"),
            span: span.iter().map(|[low, high]| (*low, *high)).collect(),
            domain: None,
        }
    }

    fn array(&self, name: &str) -> Option<&Array> {
        self.arrays.iter().find(|array| array.name == name)
    }

    fn data(&self, name: &str) -> &[f64] {
        match self.array(name).map(|array| &array.data) {
            Some(Data::F64(data)) => data,
            _ => &[],
        }
    }

    fn f32s(&self, name: &str) -> &[f32] {
        match self.array(name).map(|array| &array.data) {
            Some(Data::F32(data)) => data,
            _ => &[],
        }
    }

    fn u32s(&self, name: &str) -> &[u32] {
        match self.array(name).map(|array| &array.data) {
            Some(Data::U32(data)) => data,
            _ => &[],
        }
    }

    fn u16s(&self, name: &str) -> &[u16] {
        match self.array(name).map(|array| &array.data) {
            Some(Data::U16(data)) => data,
            _ => &[],
        }
    }

    /// The only maker of artifacts: header, names, shapes, values.
    fn checked(
        header: Header,
        classifier: Option<Classifier>,
        arrays: Vec<Array>,
    ) -> Result<Self, ArtifactError> {
        header.check()?;
        if classifier.is_some() != matches!(header.kind, Kind::Forest | Kind::Logistic) {
            let why = "classes belong to a classifier, and to nothing else";
            return Err(ArtifactError::Header(why.to_owned()));
        }
        let artifact = Self { header, classifier, arrays };
        let shapes = artifact.shapes();
        let kind = artifact.header.kind.word();
        let names: Vec<_> = artifact.arrays.iter().map(|array| array.name).collect();
        let expect: Vec<_> = shapes.iter().map(|(name, _)| *name).collect();
        if names != expect {
            return Err(ArtifactError::Shape(format!(
                "a {kind} model has the arrays {}, here are {}",
                expect.join(", "),
                names.join(", ")
            )));
        }
        for (array, (name, shape)) in artifact.arrays.iter().zip(&shapes) {
            let word = dtype(name);
            if array.shape != *shape
                || array.data.len() != shape.iter().product::<usize>()
                || array.data.word() != word
            {
                return Err(ArtifactError::Shape(format!(
                    "{name} must be {word} of the shape {shape:?}, it is {} of {:?} with {} values",
                    array.data.word(),
                    array.shape,
                    array.data.len()
                )));
            }
            if let Some(index) = array.data.not_finite() {
                return Err(ArtifactError::NotFinite { array: (*name).to_owned(), index });
            }
        }
        artifact.check_values()?;
        Ok(artifact)
    }

    fn shapes(&self) -> Shapes {
        let p = self.header.features.len();
        let length = |name| self.data(name).len();
        let mut shapes = match self.header.kind {
            Kind::Pca => pca::shapes(self),
            Kind::Monitor => monitor::shapes(p, length("gap")),
            Kind::Combined => combined::shapes(self),
            Kind::Linear => linear_shapes(p),
            Kind::Forest => forest::shapes(self),
            Kind::Logistic => logistic::shapes(self),
        };
        shapes.extend(reference::shapes(self));
        shapes
    }

    fn check_values(&self) -> Result<(), ArtifactError> {
        let impossible = |why: &str| Err(ArtifactError::Impossible(why.to_owned()));
        let positive = |name| self.data(name).iter().all(|x| *x > 0.0);
        if !positive("scale") {
            return impossible("a scale is not above 0");
        }
        match self.header.kind {
            Kind::Pca => {
                if let Some(why) = pca::impossible(self) {
                    return impossible(why);
                }
            }
            Kind::Monitor => {
                let inputs = (0..).map(FeatureId).take(self.header.features.len()).collect();
                if let Some(why) = monitor::impossible(&monitor::plan(self, inputs)) {
                    return impossible(why);
                }
            }
            Kind::Combined => {
                if let Some(why) = combined::impossible(self) {
                    return impossible(why);
                }
            }
            Kind::Linear => {
                let (span, _) = self.data("span").as_chunks::<2>();
                if !span.iter().all(|[low, high]| low <= high) {
                    return impossible("a span ends before it begins");
                }
                if !self.data("half_width").iter().all(|x| *x >= 0.0) {
                    return impossible("the half width of the interval is negative");
                }
            }
            Kind::Forest => forest::check(self)?,
            Kind::Logistic => logistic::check(self)?,
        }
        reference::impossible(self).map_or(Ok(()), impossible)
    }

    /// Every byte before the digest.
    fn body(&self) -> Vec<u8> {
        let mut offset = 0;
        let arrays = self.arrays.iter().map(|array| {
            let at = offset;
            offset = align(at + width(array.data.word()).unwrap_or(8) * array.data.len());
            RawArray {
                name: array.name.to_owned(),
                dtype: array.data.word().to_owned(),
                shape: array.shape.clone(),
                offset: at,
            }
        });
        let arrays = arrays.collect();
        let Header { id, kind, features, recipe, rows, window, seed, note } = self.header.clone();
        let schema_hash = self.header.schema_hash();
        let classifier = self.classifier.clone();
        let raw = RawHeader {
            id,
            kind,
            features,
            schema_hash,
            recipe,
            rows,
            window,
            seed,
            note,
            classifier,
            arrays,
        };
        // Strings, whole numbers and lists cannot fail to become JSON.
        let json = serde_json::to_vec(&raw).unwrap_or_default();
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&json);
        for array in &self.arrays {
            bytes.resize(align(bytes.len()), 0);
            array.data.extend(&mut bytes);
        }
        bytes
    }
}

/// Arrays of a kind in file order with their shapes.
type Shapes = Vec<(&'static str, Vec<usize>)>;

fn linear_shapes(p: usize) -> Shapes {
    vec![
        ("coefficients", vec![p]),
        ("mean", vec![p]),
        ("scale", vec![p]),
        ("span", vec![p, 2]),
        ("intercept", vec![1]),
        ("half_width", vec![1]),
    ]
}

/// Names of all arrays; those of forests and networks stand beside them.
const ARRAYS: &str = "mean scale loadings eigenvalues limits coefficients span intercept \
                      half_width transition precision gap weights t2_out curve lags";

fn read_array(body: &[u8], data: usize, raw: &RawArray) -> Result<Array, ArtifactError> {
    let wrong = |why: String| ArtifactError::Shape(why);
    let known = ARRAYS.split(' ').chain(forest::NAMES).chain(forest::MORE);
    let mut names = known.chain(network::NAMES).chain(reference::NAMES);
    let Some(name) = names.find(|name| *name == raw.name) else {
        return Err(wrong(format!("no model has an array \"{}\"", raw.name)));
    };
    let word = dtype(name);
    if raw.dtype != word || !raw.offset.is_multiple_of(ALIGN) {
        return Err(wrong(format!("{name} must be {word} at a multiple of 64 bytes")));
    }
    let count = raw.shape.iter().try_fold(1_usize, |n, side| n.checked_mul(*side));
    let range = count.and_then(|n| n.checked_mul(width(word)?)).and_then(|length| {
        let start = data.checked_add(raw.offset)?;
        Some(start..start.checked_add(length)?)
    });
    let data = range.and_then(|range| body.get(range)).and_then(|bytes| Data::read(word, bytes));
    let Some(data) = data else {
        return Err(wrong(format!("{name} reaches beyond the end of the file")));
    };
    Ok(Array { name, shape: raw.shape.clone(), data })
}

/// Tells a file cut short from one that was changed, as far as what is left of it says.
fn damage(bytes: &[u8]) -> ArtifactError {
    let have = bytes.len();
    let header_end = header_length(bytes).map_or(0, |length| PREFIX.saturating_add(length));
    if header_end.saturating_add(DIGEST) > have {
        return ArtifactError::Truncated { have, need: None };
    }
    let Ok(raw) = raw_header(bytes) else { return ArtifactError::Digest };
    let ends = raw.arrays.iter().map(|array| {
        let wide = width(&array.dtype).unwrap_or(8);
        let count = array.shape.iter().fold(wide, |n, side| n.saturating_mul(*side));
        align(header_end).saturating_add(array.offset).saturating_add(count)
    });
    let need = ends.max().unwrap_or(header_end).saturating_add(DIGEST);
    if need > have {
        return ArtifactError::Truncated { have, need: Some(need) };
    }
    ArtifactError::Digest
}

fn raw_header(bytes: &[u8]) -> Result<RawHeader, ArtifactError> {
    let json = header_length(bytes)
        .and_then(|length| bytes.get(PREFIX..PREFIX.checked_add(length)?))
        .ok_or_else(|| ArtifactError::Header("it reaches beyond the end of the file".to_owned()))?;
    serde_json::from_slice(json).map_err(|error| ArtifactError::Header(error.to_string()))
}

fn header_length(bytes: &[u8]) -> Option<usize> {
    let word = bytes.get(8..12)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk::<2>()?))
}

/// Rounded up to the next multiple of [`ALIGN`]; saturates.
fn align(length: usize) -> usize {
    length.checked_next_multiple_of(ALIGN).unwrap_or(usize::MAX)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests;
