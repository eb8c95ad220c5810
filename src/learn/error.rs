//! What can be wrong with files, options and models, in the words of who has to act.

use std::path::PathBuf;

use trimloop_recipe::artifact::ArtifactError;
use trimloop_recipe::codes::{self, Code};
use trimloop_recipe::onnx::OnnxError;

use crate::error::{
    EXPORT_FILE, LEARN_CELL, LEARN_COLUMNS, LEARN_FILE, LEARN_LABEL, LEARN_NO_ROWS, LEARN_OPTION,
    LEARN_TRAIN, LEARN_UNIT, MODEL_GATE, MODEL_LIFE, MODEL_STATE,
};

/// Why nothing was learnt or scored.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// A file is no table that can be used.
    #[error("{}: {what}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A cell is no number in a column of numbers.
    #[error("{file}:{line}:{place}: \"{text}\" in the column {column} is no number")]
    Cell {
        /// Which file.
        file: String,
        /// Line, counted from 1, the titles included.
        line: u64,
        /// Cell of the line, counted from 1.
        place: usize,
        /// Title of the column.
        column: String,
        /// What stands there.
        text: String,
    },
    /// Nothing is left to learn from or to score.
    #[error("there is no usable row: {0}")]
    NoRows(String),
    /// Columns that are needed are not there.
    #[error("the data have no column {}", .missing.join(", "))]
    Columns {
        /// Names of the missing.
        missing: Vec<String>,
        /// Names there are.
        known: Vec<String>,
    },
    /// A column is in another unit than the model's.
    #[error("the model was trained on {column} in \"{model}\", the data give it in \"{data}\"")]
    Unit {
        /// Which column.
        column: String,
        /// Unit of the model.
        model: String,
        /// Unit of the data.
        data: String,
    },
    /// Labels that nothing can be learnt from.
    #[error("{0}")]
    Label(String),
    /// The fit itself.
    #[error("{0}")]
    Train(String),
    /// An option that makes no sense.
    #[error("{0}")]
    Option(String),
    /// A model file.
    #[error("{}: {source}", .path.display())]
    Artifact {
        /// Which.
        path: PathBuf,
        /// Why.
        source: ArtifactError,
    },
    /// An ONNX file.
    #[error("{}: {source}", .path.display())]
    Onnx {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OnnxError,
    },
    /// No model is there.
    #[error("there is no model {}", .0.display())]
    NoModel(PathBuf),
    /// The file with a model's state does not hold together.
    #[error("{}: {what}", .path.display())]
    Life {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A model is in the wrong state for what is asked: why, and what to do first.
    #[error("{0}")]
    State(String, &'static str),
    /// A gate was not passed; the lines above say which.
    #[error("{0}")]
    Gate(String),
    /// The scores cannot be written.
    #[error("the scores cannot be written: {0}")]
    Write(#[source] std::io::Error),
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl LearnError {
    /// Its page.
    #[must_use]
    pub fn code(&self) -> &'static Code {
        match self {
            Self::File { .. } => &LEARN_FILE,
            Self::Cell { .. } => &LEARN_CELL,
            Self::NoRows(_) => &LEARN_NO_ROWS,
            Self::Columns { .. } => &LEARN_COLUMNS,
            Self::Unit { .. } => &LEARN_UNIT,
            Self::Label(_) => &LEARN_LABEL,
            Self::Train(_) | Self::Interrupted => &LEARN_TRAIN,
            Self::Write(_) => &EXPORT_FILE,
            Self::State(..) => &MODEL_STATE,
            Self::Gate(_) => &MODEL_GATE,
            Self::Life { .. } => &MODEL_LIFE,
            Self::Option(_) => &LEARN_OPTION,
            Self::Artifact { source, .. } => codes::find(source.code()).unwrap_or(&codes::HEADER),
            Self::Onnx { source, .. } => codes::find(source.code()).unwrap_or(&codes::ONNX_DAMAGED),
            Self::NoModel(_) => &codes::MODEL_FILE,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Columns { missing, known } => missing
                .first()
                .and_then(|name| {
                    let known = known.iter().map(String::as_str);
                    trimloop_recipe::diagnostic::did_you_mean(name, known)
                })
                .unwrap_or_else(|| format!("the columns are: {}", known.join(", "))),
            Self::Cell { .. } => {
                "correct the cell, leave it empty, or leave the column out with --ignore".to_owned()
            }
            Self::Unit { .. } => "convert the column, or train the model on this unit".to_owned(),
            Self::State(_, way) => (*way).to_owned(),
            Self::Life { .. } => "bring the file back from a backup, or train a new revision and \
                                  bring that into force; `trimloop audit list` shows the steps \
                                  that were taken"
                .to_owned(),
            Self::Onnx { source, .. } => source.help().to_owned(),
            _ => format!("see `trimloop explain {}`", self.code().code),
        }
    }
}

#[cfg(feature = "train")]
impl From<trimloop_train::TrainError> for LearnError {
    fn from(error: trimloop_train::TrainError) -> Self {
        use trimloop_train::TrainError;
        match error {
            TrainError::Stopped => Self::Interrupted,
            TrainError::Class { .. } => Self::Label(error.to_string()),
            _ => Self::Train(error.to_string()),
        }
    }
}
