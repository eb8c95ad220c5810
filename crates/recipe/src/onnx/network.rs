//! Feed-forward neural networks: products with constants and activations become layers of the core.
//!
//! ```text
//! columns --MatMul or Gemm, Add--> sums --Relu, Tanh or Sigmoid--> .. --Softmax or Sigmoid--> scores
//! ```
//!
//! What is done to the columns before the first product, and to sums with constants, is folded into
//! weights and biases. Nothing of it is exact to the last bit, as the splits of trees are: a runtime
//! sums in `f32`, the core in `f64`.

use std::rc::Rc;

use trimloop_core::plan::{
    Activation, CLASSES_MAX, LAYERS_MAX, Layer, Link, NetworkPlan, UNITS_MAX, WEIGHTS_MAX,
};

use super::columns::Column;
use super::message::{Operator, Tensor};
use super::predict::{self, Predictor};
use super::{EXPORT, Named, ONE_MODEL, OnnxError, Walk};

const CONSTANTS: &str = "export a network whose weights are constants, after training";
const LAYERS: &str = "networks of Gemm or MatMul with Add, Relu, Tanh, Sigmoid, and Softmax at the \
                      end can be taken over";

/// A network as far as the graph has been followed: its last layer may still get constants and an
/// activation.
#[derive(Clone, Debug)]
pub(super) struct Network {
    centre: Rc<[f64]>,
    done: Vec<Rc<Dense>>,
    last: Dense,
}

/// One layer. The weights are shared by all that the graph makes of it, so that a file of many small
/// operators does not copy them.
#[derive(Clone, Debug)]
struct Dense {
    /// `[units][width]`
    weights: Rc<[f64]>,
    width: usize,
    /// `[units]` what the sum of the products is multiplied by.
    scale: Vec<f64>,
    /// `[units]` what is added to it then.
    bias: Vec<f64>,
    activation: Activation,
}

/// The second factor of a product.
struct Matrix {
    width: usize,
    units: usize,
    /// Whether it is `[units][width]`, not `[width][units]`.
    turned: bool,
    values: Vec<f32>,
}

impl Matrix {
    fn read(operator: &Operator<'_>, tensor: &Tensor<'_>, turned: bool) -> Result<Self, OnnxError> {
        let sides = tensor.dims.iter().map(|side| usize::try_from(*side).unwrap_or(usize::MAX));
        let sides: Vec<_> = sides.collect();
        let (Some(values), [rows, columns]) = (tensor.floats()?, sides.as_slice()) else {
            let what = "what it multiplies with is no matrix of float32";
            return Err(operator.unsupported(what, CONSTANTS));
        };
        let (width, units) = if turned { (*columns, *rows) } else { (*rows, *columns) };
        Ok(Self { width, units, turned, values })
    }

    fn get(&self, unit: usize, from: usize) -> f64 {
        let at = if self.turned { unit * self.width + from } else { from * self.units + unit };
        self.values.get(at).copied().map_or(f64::NAN, f64::from)
    }
}

impl Network {
    /// Units of the last layer.
    pub(super) fn units(&self) -> usize {
        self.last.bias.len()
    }

    /// Whether it ends in one share: what one sigmoid gives.
    fn is_share(&self) -> bool {
        self.units() == 1 && self.last.activation == Activation::Sigmoid
    }

    /// The plan of the outputs, which are what the last layer sums to.
    fn plan(&self) -> NetworkPlan {
        let mut plan = NetworkPlan {
            layers: Vec::new(),
            weights: Vec::new(),
            bias: Vec::new(),
            centre: self.centre.to_vec(),
        };
        let last = Rc::new(self.last.clone());
        for dense in self.done.iter().chain([&last]) {
            let units = u16::try_from(dense.bias.len()).unwrap_or(u16::MAX);
            plan.layers.push(Layer { units, activation: dense.activation });
            let rows = dense.weights.chunks(dense.width.max(1)).zip(&dense.scale);
            plan.weights.extend(rows.flat_map(|(row, scale)| row.iter().map(move |w| w * scale)));
            plan.bias.extend(&dense.bias);
        }
        plan
    }

    /// With the difference of two outputs, the second less the first, in their place.
    fn difference(&self) -> Self {
        let mut network = self.clone();
        let dense = &self.last;
        let of = |list: &[f64], place: usize| list.get(place).copied().unwrap_or(f64::NAN);
        let row = |place: usize| {
            let row = dense.weights.chunks(dense.width.max(1)).nth(place).unwrap_or_default();
            row.iter().map(move |w| w * of(&dense.scale, place))
        };
        network.last.weights = row(1).zip(row(0)).map(|(second, first)| second - first).collect();
        network.last.bias = vec![of(&dense.bias, 1) - of(&dense.bias, 0)];
        network.last.scale = vec![1.0];
        network
    }

    /// With outputs that are sums: an activation at the end gets a layer behind it that changes
    /// nothing.
    fn summed(&self) -> Self {
        let mut network = self.clone();
        if network.last.activation != Activation::Identity {
            let one = Dense {
                weights: Rc::new([1.0]),
                width: 1,
                scale: vec![1.0],
                bias: vec![0.0],
                activation: Activation::Identity,
            };
            network.done.push(Rc::new(std::mem::replace(&mut network.last, one)));
        }
        network
    }
}

impl<'b> Walk<'b> {
    /// `MatMul` and `Gemm`: a new layer.
    pub(super) fn multiply(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let gemm = operator.kind == "Gemm";
        let yes = |name| Ok::<_, OnnxError>(gemm && operator.int(name)?.unwrap_or(0) != 0);
        if yes("transA")? {
            return Err(operator.unsupported("it turns its input", LAYERS));
        }
        let name = operator.inputs.get(1).copied().unwrap_or("");
        let Some(tensor) = self.constants.get(name) else {
            let what = "it multiplies with what it calculates, not with a constant";
            return Err(operator.unsupported(what, CONSTANTS));
        };
        let matrix = Matrix::read(operator, tensor, yes("transB")?)?;
        let factor = |name| Ok::<_, OnnxError>(operator.float(name)?.filter(|_| gemm));
        let alpha = f64::from(factor("alpha")?.unwrap_or(1.0));
        let beta = f64::from(factor("beta")?.unwrap_or(1.0));
        let mut network = match self.get(operator, 0)? {
            Named::Columns(columns) => self.first(operator, &columns, &matrix)?,
            Named::Network(network) => self.next(operator, &network, &matrix)?,
            _ => return Err(operator.unsupported("it works on what a model says", ONE_MODEL)),
        };
        for x in network.last.scale.iter_mut().chain(&mut network.last.bias) {
            *x *= alpha;
        }
        if let Some(name) = operator.inputs.get(2).filter(|name| gemm && !name.is_empty()) {
            let list = self.row(name)?.ok_or_else(|| {
                operator.unsupported("it adds what is no row of constants", CONSTANTS)
            })?;
            let scaled: Vec<_> = list.iter().map(|c| beta * f64::from(*c)).collect();
            add(operator, &mut network.last, &scaled)?;
        }
        self.put(operator, Named::Network(Rc::new(network)))
    }

    /// A layer over columns of the graph, as one over its inputs.
    fn first(
        &mut self,
        operator: &Operator<'b>,
        columns: &[Column],
        matrix: &Matrix,
    ) -> Result<Network, OnnxError> {
        if columns.iter().any(|column| column.double) {
            let help = "export it with inputs of float32, which is what sensors give";
            return Err(operator.unsupported("it calculates in float64", help));
        }
        let inputs = self.inputs.len();
        self.grow(operator, matrix, columns.len(), inputs)?;
        let mut weights = vec![0.0; matrix.units * inputs];
        let mut bias = vec![0.0; matrix.units];
        for ((unit, bias), row) in bias.iter_mut().enumerate().zip(weights.chunks_mut(inputs)) {
            for (place, column) in columns.iter().enumerate() {
                let (a, b) = column.line();
                let weight = matrix.get(unit, place);
                if let Some(slot) = row.get_mut(usize::from(column.input)) {
                    *slot += weight * a;
                }
                *bias += weight * b;
            }
        }
        Ok(Network {
            centre: predict::zeros(columns, inputs).into(),
            done: Vec::new(),
            last: Dense {
                weights: weights.into(),
                width: inputs,
                scale: vec![1.0; matrix.units],
                bias,
                activation: Activation::Identity,
            },
        })
    }

    /// A layer over another.
    fn next(
        &mut self,
        operator: &Operator<'b>,
        network: &Network,
        matrix: &Matrix,
    ) -> Result<Network, OnnxError> {
        let width = network.units();
        self.grow(operator, matrix, width, width)?;
        // One place is for a layer behind an activation at the end.
        if network.done.len() + 3 > LAYERS_MAX {
            let what = format!("{}: more than {} layers", operator.place(), LAYERS_MAX - 1);
            return Err(OnnxError::TooLarge(what));
        }
        let of = |unit| (0..width).map(move |from| (unit, from));
        let weights = (0..matrix.units).flat_map(of).map(|(unit, from)| matrix.get(unit, from));
        let mut done = network.done.clone();
        done.push(Rc::new(network.last.clone()));
        Ok(Network {
            centre: Rc::clone(&network.centre),
            done,
            last: Dense {
                weights: weights.collect(),
                width,
                scale: vec![1.0; matrix.units],
                bias: vec![0.0; matrix.units],
                activation: Activation::Identity,
            },
        })
    }

    /// Refuses a matrix that does not fit, and more weights than a network may have.
    fn grow(
        &mut self,
        operator: &Operator<'b>,
        matrix: &Matrix,
        width: usize,
        kept: usize,
    ) -> Result<(), OnnxError> {
        if matrix.width != width {
            let what = format!("{width} columns meet a matrix of {} rows", matrix.width);
            return Err(operator.contradiction(what));
        }
        if !(1..=UNITS_MAX).contains(&matrix.units) {
            let what = format!("{}: a layer has 1 to {UNITS_MAX} units", operator.place());
            return Err(OnnxError::TooLarge(what));
        }
        self.weights = self.weights.saturating_add(matrix.units.saturating_mul(kept));
        if self.weights > WEIGHTS_MAX {
            let what = format!("{}: more than {WEIGHTS_MAX} weights", operator.place());
            return Err(OnnxError::TooLarge(what));
        }
        Ok(())
    }

    /// Numbers of a constant that is one row, so that they do not spread over the rows of columns.
    pub(super) fn row(&self, name: &str) -> Result<Option<Vec<f32>>, OnnxError> {
        let row = |tensor: &&Tensor<'b>| tensor.dims.iter().rev().skip(1).all(|dim| *dim == 1);
        self.constants.get(name).filter(row).map_or(Ok(None), Tensor::floats)
    }

    /// A constant of its own, as some exporters write them among the operators.
    pub(super) fn constant(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let (Some(tensor), [name]) = (operator.tensor("value")?, operator.outputs.as_slice())
        else {
            return Err(operator.unsupported("its value is no tensor", EXPORT));
        };
        self.constants.insert(name, tensor);
        Ok(())
    }

    /// `Relu`, `Tanh`, `Sigmoid`.
    pub(super) fn activate(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let network = self.network(operator)?;
        if network.last.activation != Activation::Identity {
            return Err(operator.unsupported("it follows another activation", LAYERS));
        }
        let mut network = network.as_ref().clone();
        network.last.activation = match operator.kind {
            "Relu" => Activation::Relu,
            "Tanh" => Activation::Tanh,
            _ => Activation::Sigmoid,
        };
        self.put(operator, Named::Network(Rc::new(network)))
    }

    /// `Softmax`: the end of a classifier.
    pub(super) fn softmax(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let network = self.network(operator)?;
        let k = network.units();
        if network.last.activation != Activation::Identity {
            return Err(operator.unsupported("it follows an activation", LAYERS));
        }
        if ![None, Some(1), Some(-1)].contains(&operator.int("axis")?) {
            return Err(operator.unsupported("it goes over rows, not over columns", LAYERS));
        }
        if !(2..=CLASSES_MAX).contains(&k) {
            let what = format!("it tells {k} classes apart");
            return Err(operator.unsupported(what, "2 to 64 classes are supported"));
        }
        let network = if k == 2 { network.difference() } else { network.as_ref().clone() };
        self.classifier(operator.place(), &network, k)
            .map_err(|what| operator.unsupported(what, ONE_MODEL))?;
        self.put(operator, Named::Scores)
    }

    /// Two classes by one sigmoid: what is left of 1 stands before it.
    pub(super) fn join_shares(&mut self, operator: &Operator<'b>) -> Result<bool, OnnxError> {
        let [rest, share] = operator.inputs.as_slice() else { return Ok(false) };
        let (Some(Named::Rest(rest)), Some(Named::Network(share))) =
            (self.named.get(rest), self.named.get(share))
        else {
            return Ok(false);
        };
        if !Rc::ptr_eq(rest, share) {
            return Ok(false);
        }
        let share = Rc::clone(share);
        self.shared(operator.place(), &share)
            .map_err(|what| operator.unsupported(what, ONE_MODEL))?;
        self.put(operator, Named::Scores)?;
        Ok(true)
    }

    fn shared(&mut self, place: String, network: &Network) -> Result<(), &'static str> {
        let mut network = network.clone();
        network.last.activation = Activation::Identity;
        self.classifier(place, &network, 2)
    }

    fn classifier(
        &mut self,
        place: String,
        network: &Network,
        classes: usize,
    ) -> Result<(), &'static str> {
        let classes = (0..classes).map(|class| class.to_string()).collect();
        self.predicts(place, network, classes)
    }

    fn predicts(
        &mut self,
        place: String,
        network: &Network,
        classes: Vec<String>,
    ) -> Result<(), &'static str> {
        if self.predictor.is_some() {
            return Err("it is a second model in one graph");
        }
        let sums = !classes.is_empty();
        let link = if sums { Link::Margin } else { Link::Share };
        let mut plan = predict::empty(classes, link, vec![0.0; network.units()]);
        plan.network = Some(network.plan());
        self.predictor = Some((place, Predictor { plan, sums }));
        Ok(())
    }

    /// A network that is an output of the graph as it is: a number, or a share of the second of two
    /// classes.
    pub(super) fn end(&mut self, output: &'b str) -> Result<(), OnnxError> {
        let Some(Named::Network(network)) = self.named.get(output) else { return Ok(()) };
        let network = Rc::clone(network);
        let place = format!("output {output}");
        let unsupported = |what: String| OnnxError::Unsupported {
            place: place.clone(),
            what,
            help: "end the network in Softmax for classes, or in one number",
        };
        if network.units() != 1 {
            return Err(unsupported(format!("it is {} numbers at once", network.units())));
        }
        if network.is_share() {
            self.shared(place.clone(), &network).map_err(|what| unsupported(what.to_owned()))?;
        } else {
            self.predicts(place.clone(), &network.summed(), Vec::new())
                .map_err(|what| unsupported(what.to_owned()))?;
        }
        self.named.insert(output, Named::Scores);
        Ok(())
    }

    /// Sums with constants: one for all, or one for each.
    pub(super) fn adjust_network(
        &mut self,
        operator: &Operator<'b>,
        network: &Rc<Network>,
        list: &[f32],
        turned: bool,
    ) -> Result<(), OnnxError> {
        if network.is_share() && operator.kind == "Sub" && turned && is_one(list) {
            return self.put(operator, Named::Rest(Rc::clone(network)));
        }
        if network.last.activation != Activation::Identity {
            return Err(operator.unsupported("it calculates with what an activation gave", LAYERS));
        }
        let mut network = network.as_ref().clone();
        let last = &mut network.last;
        let numbers: Vec<_> = list.iter().map(|c| f64::from(*c)).collect();
        let negative: Vec<_> = numbers.iter().map(|c| -c).collect();
        let minus = [-1.0];
        match (operator.kind, turned) {
            ("Add", _) => add(operator, last, &numbers)?,
            ("Sub", false) => add(operator, last, &negative)?,
            ("Sub", true) => {
                scale(operator, last, &minus)?;
                add(operator, last, &numbers)?;
            }
            ("Mul", _) => scale(operator, last, &numbers)?,
            ("Div", false) if numbers.iter().all(|c| c.abs() > 0.0) => {
                let over: Vec<_> = numbers.iter().map(|c| 1.0 / c).collect();
                scale(operator, last, &over)?;
            }
            _ => return Err(operator.unsupported("it divides by what it calculates", LAYERS)),
        }
        self.put(operator, Named::Network(Rc::new(network)))
    }

    /// The class of largest probability: its place, of which a list of classes makes the label.
    pub(super) fn largest(&mut self, operator: &Operator<'b>) -> Result<(), OnnxError> {
        let axis = operator.int("axis")?.unwrap_or(0);
        match self.get(operator, 0)? {
            Named::Scores if [1, -1].contains(&axis) => self.put(operator, Named::Best),
            _ => Err(operator.unsupported("it looks for the largest of no scores", LAYERS)),
        }
    }

    /// The label of the best class; the list says what the classes are called.
    pub(super) fn label(&mut self, operator: &Operator<'b>) -> Result<bool, OnnxError> {
        let [list, place] = operator.inputs.as_slice() else { return Ok(false) };
        let (Some(Named::Best), Some(tensor)) = (self.named.get(place), self.constants.get(list))
        else {
            return Ok(false);
        };
        let classes = match tensor.texts()? {
            Some(texts) => texts,
            None => match tensor.ints()? {
                Some(ints) => ints.iter().map(ToString::to_string).collect(),
                None => return Err(operator.unsupported("its classes are no names", EXPORT)),
            },
        };
        self.name_classes(operator, classes)?;
        self.put(operator, Named::Label)?;
        Ok(true)
    }

    /// What the classes of a network are called: it has only numbered them.
    pub(super) fn name_classes(
        &mut self,
        operator: &Operator<'b>,
        classes: Vec<String>,
    ) -> Result<(), OnnxError> {
        let Some((_, predictor)) = &mut self.predictor else { return Ok(()) };
        if classes.is_empty() || predictor.plan.network.is_none() {
            return Ok(());
        }
        let own = &mut predictor.plan.classes;
        if classes.len() != own.len() || (self.classes_named && *own != classes) {
            let what = format!("it names other classes than the {} of the model", own.len());
            return Err(operator.contradiction(what));
        }
        *own = classes;
        self.classes_named = true;
        Ok(())
    }

    fn network(&self, operator: &Operator<'b>) -> Result<Rc<Network>, OnnxError> {
        if let Named::Network(network) = self.get(operator, 0)? {
            return Ok(network);
        }
        Err(operator.unsupported("it does not stand behind a layer of a network", LAYERS))
    }

    /// Whether another shape of it says nothing: one number a row, or `Flatten` of rows.
    pub(super) fn keeps_shape(operator: &Operator<'b>, width: usize) -> Result<bool, OnnxError> {
        let rows = operator.kind == "Flatten" && operator.int("axis")?.unwrap_or(1) == 1;
        Ok(rows || width == 1)
    }
}

fn is_one(list: &[f32]) -> bool {
    matches!(list, [x] if (x - 1.0).abs() <= 0.0)
}

/// A list of one for all, or of one for each of `units`.
fn each(
    operator: &Operator<'_>,
    list: &[f64],
    units: usize,
) -> Result<impl Iterator<Item = f64>, OnnxError> {
    if ![1, units].contains(&list.len()) {
        let what = format!("it has {} constants for {units} units", list.len());
        return Err(operator.contradiction(what));
    }
    let list = list.to_vec();
    Ok((0..units).map(move |unit| list.get(unit).or(list.first()).copied().unwrap_or(f64::NAN)))
}

fn add(operator: &Operator<'_>, dense: &mut Dense, list: &[f64]) -> Result<(), OnnxError> {
    let list = each(operator, list, dense.bias.len())?;
    dense.bias.iter_mut().zip(list).for_each(|(bias, c)| *bias += c);
    Ok(())
}

fn scale(operator: &Operator<'_>, dense: &mut Dense, list: &[f64]) -> Result<(), OnnxError> {
    let list = each(operator, list, dense.bias.len())?;
    for ((scale, bias), c) in dense.scale.iter_mut().zip(&mut dense.bias).zip(list) {
        *scale *= c;
        *bias *= c;
    }
    Ok(())
}
