//! `trimloop model import`.

use std::path::PathBuf;

use clap::ArgAction;
use clap::Args;
use clap::builder::FalseyValueParser;
use trimloop_recipe::onnx::{BYTES_MAX, Imported, OnnxError};

use super::train::{picture, settle, vacant};
use super::{digests, failure};
use crate::cli::{Exit, Failure, Global, Ui};
use crate::learn::evaluate::Scores;
use crate::learn::import::{ImportRequest, import, titles};
use crate::learn::kinds::Trained;
use crate::learn::{LearnError, kinds, read};

const EXAMPLES: &str = "\
Examples:
  trimloop model import quality.onnx --inputs train.csv --label quality --domain train.csv \\
      --out models/quality-r1
  trimloop model import weight.onnx --inputs melt_temp,hold_pressure --unit melt_temp=degC \\
      --domain train.csv --calibration later.csv --label weight --out models/weight-r1

Trees and linear models of ONNX (ai.onnx.ml), as skl2onnx exports them of scikit-learn, and
onnxmltools of LightGBM and XGBoost, become a model.tlm that trimloop scores itself, equal to
onnxruntime to 1e-5. So do feed-forward neural networks: MLPClassifier and MLPRegressor of
scikit-learn, or Linear layers of PyTorch with ReLU, Tanh, Sigmoid and Softmax. Anything in the file that cannot be taken over exactly is refused. Without
--domain, and a model that predicts a number without --calibration, its domain is always out, and
it drives no write. A missing input makes a score unknown, whatever the file says of missing values.
Exit: 0 imported, 1 the file or the rows do not fit, 2 wrong use.";

/// Which file, and what it does not hold.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct ImportArgs {
    /// ONNX file
    #[arg(value_name = "FILE.onnx")]
    file: PathBuf,
    /// Names of the inputs in the order of training, or a table whose columns of numbers they are
    /// (without the one of --label) [default: those of the file]
    #[arg(long, env = "TRIMLOOP_INPUTS", hide_env = true, value_name = "NAMES or FILE", value_delimiter = ',', num_args = 1..)]
    inputs: Vec<String>,
    /// Unit of an input; may be given again [default: those of the tables]
    #[arg(long, env = "TRIMLOOP_UNIT", hide_env = true, value_name = "NAME=UNIT")]
    unit: Vec<String>,
    /// Rows of training: outside of their spans the model is out of its domain
    #[arg(long, env = "TRIMLOOP_DOMAIN", hide_env = true, value_name = "FILE", num_args = 1..)]
    domain: Vec<PathBuf>,
    /// Labelled rows that it was not trained on, for the interval of a predicted number
    #[arg(long, env = "TRIMLOOP_CALIBRATION", hide_env = true, value_name = "FILE", num_args = 1.., requires = "label")]
    calibration: Vec<PathBuf>,
    /// What it predicts: name of the label, and its column in --calibration
    #[arg(long, env = "TRIMLOOP_LABEL", hide_env = true, value_name = "COLUMN")]
    label: Option<String>,
    /// Name in the model [default: import and a hash of its inputs]
    #[arg(long, env = "TRIMLOOP_NAME", hide_env = true)]
    name: Option<String>,
    /// Folder for model.tlm and card.md
    #[arg(long, env = "TRIMLOOP_OUT", hide_env = true, value_name = "DIR")]
    out: PathBuf,
    /// Write over a model that is there and more than TRAINED
    #[arg(long, env = "TRIMLOOP_FORCE", hide_env = true, value_parser = FalseyValueParser::new(), action = ArgAction::SetTrue)]
    force: bool,
}

pub(super) fn run(ui: &Ui, global: &Global, args: &ImportArgs) -> Result<Exit, Failure> {
    let model = args.out.join("model.tlm");
    if model.exists() && !args.force {
        vacant(&model, &args.out)?;
    }
    let imported = taken(args).map_err(|error| failure(&error))?;
    settle(ui, global, &args.out, &imported, "import")
}

fn taken(args: &ImportArgs) -> Result<Trained, LearnError> {
    let path = &args.file;
    let wrong = |what: String| LearnError::File { path: path.clone(), what };
    let onnx = |source: OnnxError| LearnError::Onnx { path: path.clone(), source };
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if usize::try_from(size).unwrap_or(usize::MAX) > BYTES_MAX {
        return Err(onnx(OnnxError::TooLarge(format!("the file has {size} bytes"))));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found = Imported::read(&bytes).map_err(onnx)?;
    let digest = digests(std::slice::from_ref(path))?.concat();
    let table = |paths: &[PathBuf]| (!paths.is_empty()).then(|| read::frame(paths)).transpose();
    let (domain, calibration) = (table(&args.domain)?, table(&args.calibration)?);
    let label = args.label.as_deref();
    let inputs = match args.inputs.as_slice() {
        [file] if std::path::Path::new(file).is_file() => {
            titles(&read::frame(&[PathBuf::from(file)])?, label)?
        }
        names => names.to_vec(),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut trained = import(
        found,
        &ImportRequest {
            file: (&name, &digest),
            inputs: &inputs,
            units: &args.unit,
            domain: domain.as_ref(),
            calibration: calibration.as_ref(),
            label,
            id: args.name.as_deref(),
        },
    )?;
    // Rows that the domain and the interval come from cannot judge the model again.
    let used: Vec<PathBuf> = args.domain.iter().chain(&args.calibration).cloned().collect();
    trained.card.data = digests(&used)?;
    if let Some(frame) = &domain {
        let mut scorer = kinds::scorer(&trained.artifact)?;
        picture(&Scores::of(frame, &mut *scorer)?, &mut trained.card);
    }
    Ok(trained)
}
