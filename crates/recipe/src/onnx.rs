//! ONNX files with trees, linear models or neural networks, as plans of the core.
//!
//! ```text
//! bytes --wire, message--> graph --columns, trees, predict, network--> ForestPlan
//! ```
//!
//! What other tools export (scikit-learn by skl2onnx, others by onnxmltools) is one
//! operator that predicts, or the layers of a feed-forward network, with columns scaled or joined
//! before it and outputs renamed behind it.
//! The graph is not run: what it does is folded into trees, linear terms, layers and a link of our own, so
//! that one scorer serves all models. What cannot be folded exactly is refused, with the operator
//! that stands in the way.
//!
//! - A runtime of ONNX takes `f32` and so do our trees: inputs are rounded to the nearest `f32`, then
//!   every split goes the same way. Sums here are of `f64`, there of `f32`; that is the difference.
//! - Where the file says which way a missing value goes, that is not followed: a missing input makes
//!   a score unknown.
//! - **Invariant:** the bytes are not trusted. Nothing in them makes [`Imported::read`] panic, recurse
//!   or reserve more than a few times their number.

mod columns;
mod error;
mod message;
mod network;
mod predict;
#[cfg(test)]
mod tests;
mod trees;
mod wire;

use std::collections::BTreeMap;
use std::rc::Rc;

use trimloop_core::plan::{COLUMNS_MAX, FeatureId, ForestPlan};

use columns::{Arithmetic, Column};
use message::{Model, Operator, Port, Tensor, element};
use network::Network;
use predict::Predictor;

pub use error::OnnxError;

/// Largest file read [bytes].
pub const BYTES_MAX: usize = 128 << 20;

/// Newest version of `ai.onnx.ml` whose operators are known here.
const ML_VERSION_MAX: u64 = 5;

/// A model from an ONNX file. Its plan has no spans, so that it is never in its domain, until
/// [`Imported::learn`] has seen rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// What wrote the file, and in which version.
    pub producer: String,
    /// Versions of the operators, by domain: `ai.onnx.ml 3`.
    pub opsets: Vec<String>,
    /// The operator that predicts.
    pub operator: String,
    /// `[p]` names of the inputs, where the file gives any.
    pub inputs: Vec<Option<String>>,
    /// What it does; inputs are numbered from 0.
    pub plan: ForestPlan,
    /// What an approver should know of the file.
    pub notes: Vec<String>,
}

/// What a name in the graph stands for.
#[derive(Clone)]
enum Named {
    Columns(Rc<[Column]>),
    Network(Rc<Network>),
    /// 1 less what the one sigmoid at the end of a network gives.
    Rest(Rc<Network>),
    /// The place of the best class.
    Best,
    Label,
    Scores,
}

/// The graph on its way.
struct Walk<'b> {
    named: BTreeMap<&'b str, Named>,
    constants: BTreeMap<&'b str, Tensor<'b>>,
    inputs: Vec<Option<String>>,
    predictor: Option<(String, Predictor)>,
    tracks: bool,
    /// Weights of all layers so far.
    weights: usize,
    /// Whether the file has said what the classes of a network are called.
    classes_named: bool,
}

const EXPORT: &str = "export the model without this step, or make its columns in the recipe";
const ONE_MODEL: &str = "export one tree ensemble, one linear model or one network";

impl Imported {
    /// Reads an ONNX file.
    ///
    /// # Errors
    /// Anything that trimloop does not score the same as a runtime of ONNX; see [`OnnxError`].
    pub fn read(bytes: &[u8]) -> Result<Self, OnnxError> {
        if bytes.len() > BYTES_MAX {
            return Err(OnnxError::TooLarge(format!("the file has {} bytes", bytes.len())));
        }
        let model = Model::read(bytes)?;
        let Some(graph) = &model.graph else {
            return Err(OnnxError::Damaged {
                at: 0,
                what: "it has no graph, so it is no ONNX model",
            });
        };
        let constants: BTreeMap<_, _> =
            graph.initializers.iter().map(|(name, tensor)| (*name, tensor.clone())).collect();
        let mut walk = Walk {
            named: BTreeMap::new(),
            constants,
            inputs: Vec::new(),
            predictor: None,
            tracks: false,
            weights: 0,
            classes_named: false,
        };
        for port in &graph.inputs {
            if !walk.constants.contains_key(port.name) {
                walk.input(port)?;
            }
        }
        for operator in &graph.operators {
            known_version(&model, operator)?;
            walk.step(operator)?;
        }
        for port in &graph.outputs {
            walk.end(port.name)?;
        }
        let Some((operator, predictor)) = walk.predictor else {
            let what = "it holds no tree ensemble, linear model or network".to_owned();
            let place = "graph".to_owned();
            return Err(OnnxError::Unsupported { place, what, help: ONE_MODEL });
        };
        for port in &graph.outputs {
            if !matches!(
                walk.named.get(port.name),
                Some(Named::Label | Named::Best | Named::Scores)
            ) {
                let what = "it is neither the label nor the scores of the model".to_owned();
                let place = format!("output {}", port.name);
                return Err(OnnxError::Unsupported { place, what, help: ONE_MODEL });
            }
        }
        let mut plan = predictor.plan;
        plan.inputs = (0..).map(FeatureId).take(walk.inputs.len()).collect();
        trees::Built::fill(&plan.trees, &plan.nodes, &mut plan.values, &[]);
        if !plan.fits() {
            let what = "a number is beyond its range".to_owned();
            return Err(OnnxError::Contradiction { place: operator, what });
        }
        let mut notes = Vec::new();
        if walk.tracks {
            notes.push(
                "The file says which way missing values go; trimloop does not score a row with a \
                 missing value."
                    .to_owned(),
            );
        }
        if plan.network.is_some() && !plan.is_sensor() && !walk.classes_named {
            notes.push(
                "The file does not name its classes: they are numbered from 0. What ends in one \
                 sigmoid is taken for the probability of class 1."
                    .to_owned(),
            );
        }
        let domain =
            |name: &str| if name.is_empty() { "ai.onnx".to_owned() } else { name.to_owned() };
        let opsets =
            model.opsets.iter().map(|(name, version)| format!("{} {version}", domain(name)));
        Ok(Self {
            producer: format!("{} {}", model.producer, model.producer_version).trim().to_owned(),
            opsets: opsets.collect(),
            operator,
            inputs: walk.inputs,
            plan,
            notes,
        })
    }

    /// Learns from rows of training what the file does not hold: the span of every input, and, for
    /// contributions, how often each way down a tree was taken and where the middle of each input
    /// is.
    ///
    /// - `rows`: `[n][p]` finite numbers, `n` at least 1.
    pub fn learn(&mut self, rows: &[Vec<f64>]) {
        let p = self.plan.inputs.len();
        let ends = |place: usize| {
            let column = rows.iter().filter_map(|row| row.get(place).copied());
            column.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| {
                (low.min(x), high.max(x))
            })
        };
        let span: Vec<_> = (0..p).map(ends).collect();
        if span.iter().all(|(low, high)| low.is_finite() && high.is_finite()) {
            self.plan.span = span;
        }
        #[expect(clippy::cast_precision_loss, reason = "rows")]
        let n = rows.len().max(1) as f64;
        if let Some(linear) = &mut self.plan.linear {
            for (place, centre) in linear.centre.iter_mut().enumerate() {
                *centre = rows.iter().filter_map(|row| row.get(place)).sum::<f64>() / n;
            }
        }
        if let Some(network) = &mut self.plan.network {
            for (place, centre) in network.centre.iter_mut().enumerate() {
                *centre = rows.iter().filter_map(|row| row.get(place)).sum::<f64>() / n;
            }
        }
        let counts = passed(&self.plan, rows);
        let plan = &mut self.plan;
        trees::Built::fill(&plan.trees, &plan.nodes, &mut plan.values, &counts);
    }
}

/// Refuses operators whose version the file does not say, or that are newer than what is known here:
/// a newer version may mean something else by the same words.
fn known_version(model: &Model<'_>, operator: &Operator<'_>) -> Result<(), OnnxError> {
    let plain = |domain: &str| ["", "ai.onnx"].contains(&domain);
    let same = |a: &str, b: &str| a == b || (plain(a) && plain(b));
    let mut sets = model.opsets.iter().filter(|(domain, _)| same(domain, operator.domain));
    let Some((domain, version)) = sets.next() else {
        return Err(operator.contradiction("the file does not say which version of it is meant"));
    };
    if *domain == "ai.onnx.ml" && *version > ML_VERSION_MAX {
        let what = format!("it is of ai.onnx.ml {version}, {ML_VERSION_MAX} is the newest known");
        let help = "export for an older set of operators, `target_opset={\"ai.onnx.ml\": 3}`";
        return Err(operator.unsupported(what, help));
    }
    Ok(())
}

/// `[nodes]` rows that came through each node.
fn passed(plan: &ForestPlan, rows: &[Vec<f64>]) -> Vec<u64> {
    let mut counts = vec![0; plan.nodes.len()];
    for row in rows {
        for tree in &plan.trees {
            let root = tree.root as usize;
            let mut at = root;
            for _ in 0..=tree.depth {
                let Some(node) = plan.nodes.get(at) else { break };
                if let Some(count) = counts.get_mut(at) {
                    *count += 1;
                }
                let x = row.get(usize::from(node.column)).copied().unwrap_or(0.0);
                #[expect(clippy::cast_possible_truncation, reason = "as the scorer does")]
                let right = x as f32 > node.threshold;
                let next = root + usize::from(node.left) + usize::from(right);
                if next == at {
                    break;
                }
                at = next;
            }
        }
    }
    counts
}

impl<'b> Walk<'b> {
    /// An input of the graph: a tensor of rows, with a known number of columns.
    fn input(&mut self, port: &Port<'b>) -> Result<(), OnnxError> {
        let unsupported = |what: &str, help| OnnxError::Unsupported {
            place: format!("input {}", port.name),
            what: what.to_owned(),
            help,
        };
        let double = match port.element {
            Some(element::FLOAT) => false,
            Some(element::DOUBLE) => true,
            Some(whole) if element::WHOLE.contains(&whole) => false,
            _ => {
                let help = "trimloop scores numbers; make them of texts before, and export again";
                return Err(unsupported("it holds no numbers", help));
            }
        };
        let [_, Some(width)] = port.shape.as_slice() else {
            let help = "export with the number of columns, such as FloatTensorType([None, 4])";
            return Err(unsupported("it does not say how many columns it has", help));
        };
        let width = usize::try_from(*width).unwrap_or(usize::MAX);
        let from = self.inputs.len();
        if width == 0 || from.saturating_add(width) > COLUMNS_MAX {
            let what = format!("input {}: a model has 1 to {COLUMNS_MAX} columns", port.name);
            return Err(OnnxError::TooLarge(what));
        }
        let name = (width == 1 && !port.name.is_empty()).then(|| port.name.to_owned());
        self.inputs.extend(std::iter::repeat_n(name, width));
        let columns = (from..from + width)
            .map(|place| Column::of_input(u16::try_from(place).unwrap_or(u16::MAX), double));
        self.named.insert(port.name, Named::Columns(columns.collect()));
        Ok(())
    }

    fn step(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        match (operator.domain, operator.kind) {
            ("ai.onnx.ml", "TreeEnsembleClassifier" | "LinearClassifier") => {
                self.predict(operator, &[Named::Label, Named::Scores])
            }
            ("ai.onnx.ml", "TreeEnsembleRegressor" | "TreeEnsemble" | "LinearRegressor") => {
                self.predict(operator, &[Named::Scores])
            }
            ("ai.onnx.ml", "Scaler") => self.scale(operator),
            ("ai.onnx.ml", "Imputer") => self.impute(operator),
            ("ai.onnx.ml", "FeatureVectorizer") | ("" | "ai.onnx", "Concat") => self.join(operator),
            ("ai.onnx.ml", "ArrayFeatureExtractor") | ("" | "ai.onnx", "Gather") => {
                self.choose(operator)
            }
            ("ai.onnx.ml", "Normalizer") => self.normalize(operator),
            ("ai.onnx.ml", "ZipMap") | ("" | "ai.onnx", "Identity") => self.pass(operator),
            ("" | "ai.onnx", "Cast") => self.cast(operator),
            ("" | "ai.onnx", "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten") => {
                self.shape(operator)
            }
            ("" | "ai.onnx", "Add" | "Sub" | "Mul" | "Div") => self.calculate(operator),
            ("" | "ai.onnx", "MatMul" | "Gemm") => self.multiply(operator),
            ("" | "ai.onnx", "Relu" | "Tanh" | "Sigmoid") => self.activate(operator),
            ("" | "ai.onnx", "Softmax") => self.softmax(operator),
            ("" | "ai.onnx", "ArgMax") => self.largest(operator),
            ("" | "ai.onnx", "Constant") => self.constant(operator),
            (domain, kind) => {
                let domain = if domain.is_empty() { "ai.onnx" } else { domain };
                let what = format!("trimloop does not know {kind} of {domain}");
                Err(operator.unsupported(what, EXPORT))
            }
        }
    }

    fn get(&self, operator: &Operator<'b>, place: usize) -> Result<Named, OnnxError> {
        let name = operator.inputs.get(place).copied().unwrap_or("");
        self.named.get(name).cloned().ok_or_else(|| {
            operator.contradiction(format!("its input {name:?} is not there before it"))
        })
    }

    fn columns(&self, operator: &Operator<'b>, place: usize) -> Result<Rc<[Column]>, OnnxError> {
        match self.get(operator, place)? {
            Named::Columns(columns) => Ok(columns),
            Named::Network(_) => {
                let what = "it works on what a layer of a network gives";
                Err(operator.unsupported(what, EXPORT))
            }
            Named::Label | Named::Best | Named::Rest(_) | Named::Scores => {
                let what = "it works on what another model says";
                Err(operator.unsupported(what, ONE_MODEL))
            }
        }
    }

    fn put(&mut self, operator: &Operator<'b>, named: Named) -> Result<(), OnnxError> {
        let [name] = operator.outputs.as_slice() else {
            return Err(operator.contradiction("it must have one output"));
        };
        self.named.insert(name, named);
        Ok(())
    }

    fn predict(&mut self, operator: &Operator<'b>, outputs: &[Named]) -> Result<(), OnnxError> {
        let columns = self.columns(operator, 0)?;
        if self.predictor.is_some() {
            let what = "it is a second model in one graph";
            return Err(operator.unsupported(what, ONE_MODEL));
        }
        let inputs = self.inputs.len();
        let trees = operator.kind.starts_with("TreeEnsemble");
        if trees && columns.iter().any(|column| column.double) {
            let help = "export it with inputs of float32, which is what sensors give";
            return Err(operator.unsupported("it compares float64 numbers", help));
        }
        let predictor = match operator.kind {
            "TreeEnsembleClassifier" => predict::tree_classifier(operator, &columns),
            "LinearClassifier" => predict::linear_classifier(operator, &columns, inputs),
            "LinearRegressor" => predict::linear_regressor(operator, &columns, inputs),
            _ => predict::tree_regressor(operator, &columns),
        }?;
        self.tracks |= operator.ints("nodes_missing_value_tracks_true")?.iter().any(|x| *x != 0);
        self.predictor = Some((operator.place(), predictor));
        for (name, named) in operator.outputs.iter().zip(outputs) {
            self.named.insert(name, named.clone());
        }
        Ok(())
    }

    /// Every column with one more step of arithmetic.
    fn chain(
        &mut self,
        operator: &Operator<'b>,
        columns: &[Column],
        steps: impl Fn(usize) -> Vec<Arithmetic>,
    ) -> Result<(), OnnxError> {
        let mut done = Vec::with_capacity(columns.len());
        for (place, column) in columns.iter().enumerate() {
            if column.double {
                let help = "cast its inputs to float32 first, or export them as float32";
                return Err(operator.unsupported("it calculates in float64", help));
            }
            let mut column = column.clone();
            for step in steps(place) {
                column = column.then(step).ok_or_else(|| {
                    let help = "its constants must be finite, and those it divides by not 0";
                    operator.unsupported("its arithmetic cannot be folded into the model", help)
                })?;
            }
            done.push(column);
        }
        self.put(operator, Named::Columns(done.into()))
    }

    fn scale(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let columns = self.columns(operator, 0)?;
        let (offset, scale) = (operator.floats("offset")?, operator.floats("scale")?);
        let fits = |list: &[f32]| [1, columns.len()].contains(&list.len());
        if !fits(&offset) || !fits(&scale) {
            return Err(operator.contradiction("it does not have an offset and scale per column"));
        }
        let of = |list: &[f32], place: usize| {
            list.get(place).or(list.first()).copied().unwrap_or(f32::NAN)
        };
        self.chain(operator, &columns, |place| {
            vec![Arithmetic::Subtract(of(&offset, place)), Arithmetic::Multiply(of(&scale, place))]
        })
    }

    /// Where it replaces missing values only, nothing is left to do: those are not scored.
    fn impute(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let columns = self.columns(operator, 0)?;
        if !operator.float("replaced_value_float")?.is_some_and(f32::is_nan) {
            let what = "it replaces numbers, not missing values";
            return Err(operator.unsupported(what, EXPORT));
        }
        self.tracks = true;
        self.put(operator, Named::Columns(columns))
    }

    fn join(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let axis = operator.int("axis")?.unwrap_or(1);
        if operator.kind == "Concat" && ![1, -1].contains(&axis) {
            return Err(operator.unsupported("it joins rows, not columns", EXPORT));
        }
        if self.join_shares(operator)? {
            return Ok(());
        }
        let mut joined = Vec::new();
        for place in 0..operator.inputs.len() {
            joined.extend(self.columns(operator, place)?.iter().cloned());
            if joined.len() > COLUMNS_MAX {
                let what = format!("{}: more than {COLUMNS_MAX} columns", operator.place());
                return Err(OnnxError::TooLarge(what));
            }
        }
        self.put(operator, Named::Columns(joined.into()))
    }

    fn choose(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        if self.label(operator)? {
            return Ok(());
        }
        let columns = self.columns(operator, 0)?;
        if operator.kind == "Gather" && ![1, -1].contains(&operator.int("axis")?.unwrap_or(0)) {
            return Err(operator.unsupported("it chooses rows, not columns", EXPORT));
        }
        let name = operator.inputs.get(1).copied().unwrap_or("");
        let places = self.constants.get(name).map_or(Ok(None), Tensor::ints)?;
        let Some(places) = places else {
            return Err(operator.unsupported("it chooses columns by what it calculates", EXPORT));
        };
        let chosen: Option<Vec<_>> = places
            .iter()
            .take(COLUMNS_MAX)
            .map(|place| columns.get(usize::try_from(*place).ok()?).cloned())
            .collect();
        match chosen {
            Some(chosen) if chosen.len() == places.len() => {
                self.put(operator, Named::Columns(chosen.into()))
            }
            _ => Err(operator.contradiction("it chooses a column that is not there")),
        }
    }

    /// Dividing probabilities by their sum, which is 1, changes nothing; a row of columns has no
    /// such sum.
    fn normalize(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let sums = self.predictor.as_ref().is_some_and(|(_, predictor)| predictor.sums);
        let norm = operator.text("norm")?.unwrap_or("MAX");
        match self.get(operator, 0)? {
            Named::Scores if sums && norm == "L1" => self.put(operator, Named::Scores),
            _ => {
                let what = format!("it divides by the norm {norm} of each row");
                Err(operator.unsupported(what, EXPORT))
            }
        }
    }

    fn pass(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let named = self.get(operator, 0)?;
        if operator.kind == "ZipMap" && !matches!(named, Named::Scores) {
            return Err(operator.contradiction("it names what are no scores"));
        }
        if operator.kind == "ZipMap" {
            let mut classes = operator.texts("classlabels_strings", |text| Ok(text.to_owned()))?;
            if classes.is_empty() {
                let ints = operator.ints("classlabels_int64s")?;
                classes = ints.iter().map(ToString::to_string).collect();
            }
            self.name_classes(operator, classes)?;
        }
        self.put(operator, named)
    }

    fn cast(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let to = operator.int("to")?.and_then(|to| u64::try_from(to).ok()).unwrap_or(0);
        let named = self.get(operator, 0)?;
        let float = to == element::FLOAT || to == element::DOUBLE;
        let cast = match named {
            Named::Label => Named::Label,
            Named::Best => Named::Best,
            Named::Network(network) if to == element::FLOAT => Named::Network(network),
            Named::Scores if float => Named::Scores,
            Named::Columns(columns) if to == element::FLOAT => {
                Named::Columns(columns.iter().map(Column::single).collect())
            }
            // What is float32 stays so when it is widened.
            Named::Columns(columns) if to == element::DOUBLE => Named::Columns(columns),
            _ => return Err(operator.unsupported("it makes whole numbers of numbers", EXPORT)),
        };
        self.put(operator, cast)
    }

    /// The shape of labels, and of one prediction a row, says nothing.
    fn shape(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let one = self.predictor.as_ref().is_some_and(|(_, predictor)| predictor.plan.is_sensor());
        match self.get(operator, 0)? {
            Named::Label => self.put(operator, Named::Label),
            Named::Best => self.put(operator, Named::Best),
            Named::Network(network) if Self::keeps_shape(operator, network.units())? => {
                self.put(operator, Named::Network(network))
            }
            Named::Columns(columns) if Self::keeps_shape(operator, 0)? => {
                self.put(operator, Named::Columns(columns))
            }
            Named::Scores if one => self.put(operator, Named::Scores),
            _ => Err(operator.unsupported("it gives columns another shape", EXPORT)),
        }
    }

    /// Scores with one constant: a prediction is scaled or shifted; probabilities only by what leaves
    /// them as they are, which exporters do for a name.
    fn adjust(
        &mut self,
        operator: &Operator<'b>,
        list: &[f32],
        turned: bool,
    ) -> Result<(), OnnxError> {
        let line = match (operator.kind, turned, list) {
            ("Add", _, [c]) => Some((1.0, f64::from(*c))),
            ("Sub", false, [c]) => Some((1.0, -f64::from(*c))),
            ("Mul", _, [c]) => Some((f64::from(*c), 0.0)),
            ("Div", false, [c]) => Some((1.0 / f64::from(*c), 0.0)),
            _ => None,
        };
        let what = "what it makes of scores cannot be folded into the model";
        let wrong = || operator.unsupported(what, ONE_MODEL);
        let (a, b) = line.filter(|(a, b)| a.is_finite() && b.is_finite()).ok_or_else(wrong)?;
        let Some((_, Predictor { plan, .. })) = &mut self.predictor else { return Err(wrong()) };
        if plan.is_sensor() {
            plan.factor *= a;
            plan.base.iter_mut().for_each(|base| *base = *base * a + b);
            if let Some(linear) = &mut plan.linear {
                linear.coefficients.iter_mut().for_each(|coefficient| *coefficient *= a);
            }
        } else if (a - 1.0).abs() > 0.0 || b.abs() > 0.0 {
            return Err(wrong());
        }
        self.put(operator, Named::Scores)
    }

    /// Columns with constants: one for all, or one for each.
    fn calculate(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let constant = |place: usize| self.row(operator.inputs.get(place).copied().unwrap_or(""));
        let (first, second) = (constant(0)?, constant(1)?);
        let behind = |place: usize| matches!(self.get(operator, place), Ok(Named::Scores));
        let network = |place: usize| match self.get(operator, place) {
            Ok(Named::Network(network)) => Some(network),
            _ => None,
        };
        let turned = first.is_some();
        if let (Some(network), Some(list)) =
            (network(usize::from(turned)), first.as_ref().xor(second.as_ref()))
        {
            return self.adjust_network(operator, &network, list, turned);
        }
        match (&first, &second) {
            (None, Some(list)) if behind(0) => return self.adjust(operator, list, false),
            (Some(list), None) if behind(1) => return self.adjust(operator, list, true),
            _ => {}
        }
        let (columns, list, turned) = match (first, second) {
            (None, Some(list)) => (self.columns(operator, 0)?, list, false),
            (Some(list), None) => (self.columns(operator, 1)?, list, true),
            _ => {
                let what = "it calculates with columns, not with constants";
                return Err(operator.unsupported(what, EXPORT));
            }
        };
        if ![1, columns.len()].contains(&list.len()) {
            return Err(operator.contradiction("it does not have a constant per column"));
        }
        let make = match (operator.kind, turned) {
            ("Add", _) => Arithmetic::Add,
            ("Mul", _) => Arithmetic::Multiply,
            ("Sub", false) => Arithmetic::Subtract,
            ("Sub", true) => Arithmetic::From,
            ("Div", false) => Arithmetic::Divide,
            _ => {
                let what = "it divides a constant by columns";
                return Err(operator.unsupported(what, EXPORT));
            }
        };
        self.chain(operator, &columns, |place| {
            let constant = list.get(place).or(list.first()).copied();
            vec![make(constant.unwrap_or(f32::NAN))]
        })
    }
}
