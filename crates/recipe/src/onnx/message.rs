//! The messages of `onnx.proto` that matter here, as far as they matter. Numbers behind attributes
//! are decoded when an operator asks for them, never before, and no more than it may have.

use super::OnnxError;
use super::wire::{Fields, Value};

/// Most numbers of one attribute: nodes of all trees of a forest.
pub(super) const NUMBERS_MAX: usize = 1 << 23;
/// Most operators of a graph: each may keep a list of all columns.
const OPERATORS_MAX: usize = 1 << 9;
/// Most inputs, outputs, initializers of a graph or attributes of an operator.
const LIST_MAX: usize = 1 << 12;

/// Element types of tensors.
pub(super) mod element {
    pub(in crate::onnx) const FLOAT: u64 = 1;
    pub(in crate::onnx) const UINT8: u64 = 2;
    pub(in crate::onnx) const INT32: u64 = 6;
    pub(in crate::onnx) const INT64: u64 = 7;
    pub(in crate::onnx) const STRING: u64 = 8;
    pub(in crate::onnx) const DOUBLE: u64 = 11;
    /// Whole numbers of any width, and yes or no.
    pub(in crate::onnx) const WHOLE: [u64; 9] = [2, 3, 4, 5, 6, 7, 9, 12, 13];
}

/// A model.
#[derive(Debug, Default)]
pub(super) struct Model<'b> {
    pub(super) producer: &'b str,
    pub(super) producer_version: &'b str,
    /// Domain (empty is ONNX itself) and version.
    pub(super) opsets: Vec<(&'b str, u64)>,
    pub(super) graph: Option<Graph<'b>>,
}

/// Its graph.
#[derive(Debug, Default)]
pub(super) struct Graph<'b> {
    pub(super) operators: Vec<Operator<'b>>,
    pub(super) initializers: Vec<(&'b str, Tensor<'b>)>,
    pub(super) inputs: Vec<Port<'b>>,
    pub(super) outputs: Vec<Port<'b>>,
}

/// An input or output of the graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Port<'b> {
    pub(super) name: &'b str,
    /// Type of the elements of a tensor; `None` for what is no tensor.
    pub(super) element: Option<u64>,
    /// Sizes; `None` where one is left open.
    pub(super) shape: Vec<Option<u64>>,
}

/// An operator.
#[derive(Clone, Debug, Default)]
pub(super) struct Operator<'b> {
    pub(super) name: &'b str,
    pub(super) kind: &'b str,
    pub(super) domain: &'b str,
    pub(super) inputs: Vec<&'b str>,
    pub(super) outputs: Vec<&'b str>,
    attributes: Vec<(&'b str, Fields<'b>)>,
}

/// A tensor: its type, its sizes, and where its numbers lie.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'b> {
    pub(super) element: u64,
    pub(super) dims: Vec<u64>,
    body: Fields<'b>,
}

impl<'b> Model<'b> {
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, OnnxError> {
        let mut fields = Fields::new(bytes);
        let mut model = Self::default();
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (2, Value::Bytes(text)) => model.producer = text.text()?,
                (3, Value::Bytes(text)) => model.producer_version = text.text()?,
                (7, Value::Bytes(graph)) => model.graph = Some(Graph::read(graph)?),
                (8, Value::Bytes(opset)) => push(&mut model.opsets, opset_of(opset)?, LIST_MAX)?,
                _ => {}
            }
        }
        Ok(model)
    }
}

fn opset_of(mut fields: Fields<'_>) -> Result<(&str, u64), OnnxError> {
    let (mut domain, mut version) = ("", 0);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(text)) => domain = text.text()?,
            (2, Value::Varint(x)) => version = x,
            _ => {}
        }
    }
    Ok((domain, version))
}

impl<'b> Graph<'b> {
    fn read(mut fields: Fields<'b>) -> Result<Self, OnnxError> {
        let mut graph = Self::default();
        while let Some((number, value)) = fields.next()? {
            let Value::Bytes(body) = value else { continue };
            match number {
                1 => push(&mut graph.operators, Operator::read(body)?, OPERATORS_MAX)?,
                5 => push(&mut graph.initializers, Tensor::named(body)?, LIST_MAX)?,
                11 => push(&mut graph.inputs, Port::read(body)?, LIST_MAX)?,
                12 => push(&mut graph.outputs, Port::read(body)?, LIST_MAX)?,
                _ => {}
            }
        }
        Ok(graph)
    }
}

impl<'b> Port<'b> {
    fn read(mut fields: Fields<'b>) -> Result<Self, OnnxError> {
        let mut port = Self::default();
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Bytes(text)) => port.name = text.text()?,
                (2, Value::Bytes(body)) => port.read_type(body)?,
                _ => {}
            }
        }
        Ok(port)
    }

    fn read_type(&mut self, mut fields: Fields<'b>) -> Result<(), OnnxError> {
        while let Some((number, value)) = fields.next()? {
            // 1 is a tensor; sequences and maps are left without a type.
            let (1, Value::Bytes(mut tensor)) = (number, value) else { continue };
            while let Some((number, value)) = tensor.next()? {
                match (number, value) {
                    (1, Value::Varint(x)) => self.element = Some(x),
                    (2, Value::Bytes(shape)) => self.read_shape(shape)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_shape(&mut self, mut fields: Fields<'b>) -> Result<(), OnnxError> {
        while let Some((_, value)) = fields.next()? {
            let Value::Bytes(mut dim) = value else { continue };
            let mut size = None;
            while let Some((number, value)) = dim.next()? {
                if let (1, Value::Varint(x)) = (number, value) {
                    size = Some(x);
                }
            }
            push(&mut self.shape, size, 8)?;
        }
        Ok(())
    }
}

impl<'b> Operator<'b> {
    fn read(mut fields: Fields<'b>) -> Result<Self, OnnxError> {
        let mut operator = Self::default();
        while let Some((number, value)) = fields.next()? {
            let Value::Bytes(body) = value else { continue };
            match number {
                1 => push(&mut operator.inputs, body.text()?, LIST_MAX)?,
                2 => push(&mut operator.outputs, body.text()?, LIST_MAX)?,
                3 => operator.name = body.text()?,
                4 => operator.kind = body.text()?,
                5 => push(&mut operator.attributes, (attribute_name(body)?, body), LIST_MAX)?,
                7 => operator.domain = body.text()?,
                _ => {}
            }
        }
        Ok(operator)
    }

    /// For people.
    pub(super) fn place(&self) -> String {
        if self.name.is_empty() {
            format!("operator {}", self.kind)
        } else {
            format!("operator {} \"{}\"", self.kind, self.name)
        }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>, help: &'static str) -> OnnxError {
        OnnxError::Unsupported { place: self.place(), what: what.into(), help }
    }

    pub(super) fn contradiction(&self, what: impl Into<String>) -> OnnxError {
        OnnxError::Contradiction { place: self.place(), what: what.into() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(known, _)| *known == name)
    }

    fn attribute(&self, name: &str) -> Option<Fields<'b>> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, body)| *body)
    }

    /// A whole number; `None` where there is no such attribute.
    pub(super) fn int(&self, name: &str) -> Result<Option<i64>, OnnxError> {
        let Some(mut body) = self.attribute(name) else { return Ok(None) };
        let mut found = None;
        while let Some((number, value)) = body.next()? {
            if let (3, Value::Varint(x)) = (number, value) {
                found = Some(x.cast_signed());
            }
        }
        Ok(found)
    }

    /// A number.
    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, OnnxError> {
        let Some(mut body) = self.attribute(name) else { return Ok(None) };
        let mut found = None;
        while let Some((number, value)) = body.next()? {
            if let (2, Value::Fixed32(x)) = (number, value) {
                found = Some(f32::from_le_bytes(x));
            }
        }
        Ok(found)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'b str>, OnnxError> {
        let Some(mut body) = self.attribute(name) else { return Ok(None) };
        let mut found = None;
        while let Some((number, value)) = body.next()? {
            if let (4, Value::Bytes(text)) = (number, value) {
                found = Some(text.text()?);
            }
        }
        Ok(found)
    }

    /// A tensor.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor<'b>>, OnnxError> {
        let Some(mut body) = self.attribute(name) else { return Ok(None) };
        let mut found = None;
        while let Some((number, value)) = body.next()? {
            if let (5, Value::Bytes(tensor)) = (number, value) {
                found = Some(Tensor::named(tensor)?.1);
            }
        }
        Ok(found)
    }

    /// Whole numbers; none where there is no such attribute.
    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, OnnxError> {
        let mut list = Vec::new();
        let Some(mut body) = self.attribute(name) else { return Ok(list) };
        while let Some((number, value)) = body.next()? {
            match (number, value) {
                (8, Value::Varint(x)) => push(&mut list, x.cast_signed(), NUMBERS_MAX)?,
                (8, Value::Bytes(mut packed)) => {
                    while let Some(x) = packed.next_varint()? {
                        push(&mut list, x.cast_signed(), NUMBERS_MAX)?;
                    }
                }
                _ => {}
            }
        }
        Ok(list)
    }

    /// Numbers; none where there is no such attribute.
    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>, OnnxError> {
        let mut list = Vec::new();
        let Some(mut body) = self.attribute(name) else { return Ok(list) };
        while let Some((number, value)) = body.next()? {
            match (number, value) {
                (7, Value::Fixed32(x)) => push(&mut list, f32::from_le_bytes(x), NUMBERS_MAX)?,
                (7, Value::Bytes(mut packed)) => {
                    while let Some(x) = packed.next_fixed()? {
                        push(&mut list, f32::from_le_bytes(x), NUMBERS_MAX)?;
                    }
                }
                _ => {}
            }
        }
        Ok(list)
    }

    /// Texts, each made into something at once: a forest has one word for each node.
    pub(super) fn texts<T>(
        &self,
        name: &str,
        make: impl Fn(&'b str) -> Result<T, OnnxError>,
    ) -> Result<Vec<T>, OnnxError> {
        let mut list = Vec::new();
        let Some(mut body) = self.attribute(name) else { return Ok(list) };
        while let Some((number, value)) = body.next()? {
            if let (9, Value::Bytes(text)) = (number, value) {
                push(&mut list, make(text.text()?)?, NUMBERS_MAX)?;
            }
        }
        Ok(list)
    }
}

fn attribute_name(mut fields: Fields<'_>) -> Result<&str, OnnxError> {
    let mut name = "";
    while let Some((number, value)) = fields.next()? {
        if let (1, Value::Bytes(text)) = (number, value) {
            name = text.text()?;
        }
    }
    Ok(name)
}

impl<'b> Tensor<'b> {
    fn named(body: Fields<'b>) -> Result<(&'b str, Self), OnnxError> {
        let mut tensor = Self { element: 0, dims: Vec::new(), body };
        let (mut name, mut fields) = ("", body);
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (1, Value::Varint(x)) => push(&mut tensor.dims, x, 8)?,
                (1, Value::Bytes(mut packed)) => {
                    while let Some(x) = packed.next_varint()? {
                        push(&mut tensor.dims, x, 8)?;
                    }
                }
                (2, Value::Varint(x)) => tensor.element = x,
                (8, Value::Bytes(text)) => name = text.text()?,
                _ => {}
            }
        }
        Ok((name, tensor))
    }

    /// Its numbers as `f32`; `None` when it is of another type, lies in another file, or has another
    /// number of them than its sizes say.
    pub(super) fn floats(&self) -> Result<Option<Vec<f32>>, OnnxError> {
        let (mut list, mut fields) = (Vec::new(), self.body);
        if self.element != element::FLOAT {
            return Ok(None);
        }
        while let Some((number, value)) = fields.next()? {
            match (number, value) {
                (4, Value::Fixed32(x)) => push(&mut list, f32::from_le_bytes(x), NUMBERS_MAX)?,
                (4 | 9, Value::Bytes(mut packed)) => {
                    while let Some(x) = packed.next_fixed()? {
                        push(&mut list, f32::from_le_bytes(x), NUMBERS_MAX)?;
                    }
                }
                _ => {}
            }
        }
        Ok(self.counted(list))
    }

    /// Its whole numbers; `None` as for [`Tensor::floats`].
    pub(super) fn ints(&self) -> Result<Option<Vec<i64>>, OnnxError> {
        let (mut list, mut fields) = (Vec::new(), self.body);
        while let Some((number, value)) = fields.next()? {
            match (self.element, number, value) {
                (element::UINT8, 9, Value::Bytes(raw)) => {
                    for x in raw.bytes() {
                        push(&mut list, i64::from(*x), NUMBERS_MAX)?;
                    }
                }
                (element::INT32, 9, Value::Bytes(mut raw)) => {
                    while let Some(x) = raw.next_fixed()? {
                        push(&mut list, i64::from(i32::from_le_bytes(x)), NUMBERS_MAX)?;
                    }
                }
                (element::INT64, 9, Value::Bytes(mut raw)) => {
                    while let Some(x) = raw.next_fixed()? {
                        push(&mut list, i64::from_le_bytes(x), NUMBERS_MAX)?;
                    }
                }
                (element::UINT8 | element::INT32, 5, Value::Varint(x))
                | (element::INT64, 7, Value::Varint(x)) => {
                    push(&mut list, x.cast_signed(), NUMBERS_MAX)?;
                }
                (element::UINT8 | element::INT32, 5, Value::Bytes(mut packed))
                | (element::INT64, 7, Value::Bytes(mut packed)) => {
                    while let Some(x) = packed.next_varint()? {
                        push(&mut list, x.cast_signed(), NUMBERS_MAX)?;
                    }
                }
                _ => {}
            }
        }
        Ok(self.counted(list))
    }

    /// Its texts; `None` when it holds none.
    pub(super) fn texts(&self) -> Result<Option<Vec<String>>, OnnxError> {
        let (mut list, mut fields) = (Vec::new(), self.body);
        if self.element != element::STRING {
            return Ok(None);
        }
        while let Some((number, value)) = fields.next()? {
            if let (6, Value::Bytes(text)) = (number, value) {
                push(&mut list, text.text()?.to_owned(), LIST_MAX)?;
            }
        }
        Ok(self.counted(list))
    }

    fn counted<T>(&self, list: Vec<T>) -> Option<Vec<T>> {
        let size = self.dims.iter().try_fold(1_u64, |size, dim| size.checked_mul(*dim))?;
        (usize::try_from(size).ok()? == list.len()).then_some(list)
    }
}

/// Keeps one more, unless there are too many.
fn push<T>(list: &mut Vec<T>, item: T, most: usize) -> Result<(), OnnxError> {
    if list.len() >= most {
        let what = format!("the model has more than {most} entries in one of its lists");
        return Err(OnnxError::TooLarge(what));
    }
    list.push(item);
    Ok(())
}
