//! Why an ONNX file was not taken over, for who has to export it again.

use super::BYTES_MAX;

/// Why an ONNX file was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnnxError {
    /// The bytes are no protobuf of an ONNX model.
    Damaged {
        /// Byte of the file.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// More bytes, nodes or columns than any model here has.
    TooLarge(String),
    /// It is right, but nothing that trimloop can score the same.
    Unsupported {
        /// Operator and name of the node, or the part of the model.
        place: String,
        /// What is not supported.
        what: String,
        /// What to do.
        help: &'static str,
    },
    /// Its parts do not fit together.
    Contradiction {
        /// Operator and name of the node, or the part of the model.
        place: String,
        /// What does not fit.
        what: String,
    },
}

impl OnnxError {
    /// Code of the page.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "TL0540",
            Self::TooLarge(_) => "TL0541",
            Self::Unsupported { .. } => "TL0542",
            Self::Contradiction { .. } => "TL0543",
        }
    }

    /// What to do next.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => {
                "export the model again, in binary form (`onnx_model.SerializeToString()`), and copy \
                 it whole"
            }
            Self::TooLarge(_) => {
                "train with fewer or smaller trees, or a smaller network, and export again"
            }
            Self::Unsupported { help, .. } => help,
            Self::Contradiction { .. } => {
                "check it with `onnx.checker.check_model`, and export it again with a newer exporter"
            }
        }
    }
}

impl std::fmt::Display for OnnxError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged { at, what } => {
                write!(f, "this is no whole ONNX model: at byte {at}, {what}")
            }
            Self::TooLarge(what) => {
                write!(f, "{what}; files of up to {BYTES_MAX} bytes are read")
            }
            Self::Unsupported { place, what, .. } => write!(f, "{place}: {what}"),
            Self::Contradiction { place, what } => {
                write!(f, "{place}: the model contradicts itself: {what}")
            }
        }
    }
}

impl std::error::Error for OnnxError {}
