//! Why an artifact is refused, in the words of the engineer who has to do something about it.

use super::{BYTES_MAX, FORMAT};

/// Why an artifact is not made, not read or not bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactError {
    /// The file ends before its header says it does.
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes there should be, where the file still tells.
        need: Option<usize>,
    },
    /// The file does not begin with `TLMD`.
    Magic,
    /// The file is of another format.
    Format(u16),
    /// The bytes are not those the digest was made of.
    Digest,
    /// The description cannot be read, or says something impossible.
    Header(String),
    /// An array is missing, surplus or of the wrong shape.
    Shape(String),
    /// An array holds a value that is not a finite number.
    NotFinite {
        /// Its name.
        array: String,
        /// Position of the value, counted from 0.
        index: usize,
    },
    /// An array holds a value that its kind of model cannot have.
    Impossible(String),
    /// The file is larger than any model.
    TooLarge(usize),
    /// The recipe has no features of these names.
    MissingFeatures(Vec<String>),
    /// The recipe states another unit for a feature.
    Unit {
        /// The feature.
        feature: String,
        /// Unit in training.
        model: String,
        /// Unit in the recipe.
        recipe: String,
    },
    /// The list of features does not give the schema hash in the header.
    Schema,
}

impl ArtifactError {
    /// Stable code; `trimloop explain` knows it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "TL0501",
            Self::Magic => "TL0502",
            Self::Format(_) => "TL0503",
            Self::Digest => "TL0504",
            Self::Header(_) => "TL0505",
            Self::Shape(_) => "TL0506",
            Self::NotFinite { .. } => "TL0507",
            Self::Impossible(_) => "TL0508",
            Self::TooLarge(_) => "TL0509",
            Self::MissingFeatures(_) => "TL0510",
            Self::Unit { .. } => "TL0511",
            Self::Schema => "TL0512",
        }
    }
}

impl std::fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Truncated { have, need: Some(need) } => write!(
                f,
                "the model file is cut short: {have} of {need} bytes; copy it again from where it \
                 was trained"
            ),
            Self::Truncated { have, need: None } => write!(
                f,
                "the model file is cut short: {have} bytes do not hold even its header; copy it \
                 again from where it was trained"
            ),
            Self::Magic => f.write_str("this is not a model file: it does not begin with TLMD"),
            Self::Format(format) => write!(
                f,
                "the model file has format {format}, this trimloop reads format {FORMAT}; train \
                 the model again or use the matching trimloop"
            ),
            Self::Digest => f.write_str(
                "the model file was damaged or changed after it was written: its bytes do not \
                 give the digest at its end; copy it again from where it was trained",
            ),
            Self::Header(why) => write!(f, "the model's description is not valid: {why}"),
            Self::Shape(why) => write!(f, "the model's arrays do not fit together: {why}"),
            Self::NotFinite { array, index } => write!(
                f,
                "the model's array {array} holds no finite number at position {index}; train it \
                 again on clean rows"
            ),
            Self::Impossible(why) => write!(f, "the model cannot be right: {why}"),
            Self::TooLarge(bytes) => write!(
                f,
                "the model file has {bytes} bytes, more than the {BYTES_MAX} any model needs"
            ),
            Self::MissingFeatures(names) => write!(
                f,
                "the model was trained on features that the recipe does not have: {}",
                names.join(", ")
            ),
            Self::Unit { feature, model, recipe } => write!(
                f,
                "the model was trained on {feature} in \"{model}\", the recipe states \
                 \"{recipe}\"; its numbers mean nothing in another unit"
            ),
            Self::Schema => f.write_str(
                "the model's list of features was changed: it does not give the schema hash in \
                 its description",
            ),
        }
    }
}

impl std::error::Error for ArtifactError {}
