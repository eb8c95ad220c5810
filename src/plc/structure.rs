//! Parts of values: elements of arrays, and fields of structures.
//!
//! A structure travels as bytes that only its definition makes readable. The definition is read
//! from the server (attribute `DataTypeDefinition`, OPC UA 1.04 and later) when addresses are
//! resolved, together with those of the structures inside it. A server that has none is told as a
//! problem: its old XML dictionary is not read.
//!
//! Encoding: Part 6, 5.2.6 to 5.2.8. A value whose encoding is not that of the definition, and
//! bytes that do not fit, are Bad, never guessed at.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use opcua::types::{
    AttributeId, BinaryDecodable, ByteStringBody, ContextOwned, Error, ExtensionObject, NodeId,
    ReadValueId, StatusCode, StructureDefinition, StructureType, Variant,
};
use trimloop_recipe::plc_config::Step;

use super::check::{Kind, built_in};
use super::resolve::Reader;
use super::show::{Shown, show};

/// Structures within structures before we give up.
const DEPTH_MAX: usize = 16;
/// Structure types of one value.
const TYPES_MAX: usize = 200;
/// Elements of one array inside a structure.
const ELEMENTS_MAX: usize = 100_000;
/// Built-in number of a structure; of a whole number of 32 bits, as which enumerations travel.
const STRUCTURE: u8 = 22;
const INT32: u8 = 6;
/// Bit of a `Variant`'s first byte: an array (Part 6, 5.2.2.16).
const ARRAY: u8 = 0x80;

/// Definitions of one structure and of those inside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    root: NodeId,
    shapes: HashMap<NodeId, Shape>,
}

#[derive(Clone, Debug, PartialEq)]
struct Shape {
    kind: StructureType,
    encoding: NodeId,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    kind: FieldKind,
    /// 1 is an array, more a matrix, less one value.
    rank: i32,
    optional: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum FieldKind {
    /// By its number in Part 6, 5.1.2.
    BuiltIn(u8),
    Inside(NodeId),
}

/// A value inside a structure.
enum Value {
    One(Variant),
    Many(Vec<Value>, Vec<u32>),
    Inside(Vec<(String, Value)>),
    /// An optional field that is left out, or a union that holds another.
    Absent,
}

/// How a tag takes its part out of a node's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taker {
    /// The server cuts the element out: the answer is an array of one.
    pub(super) ranged: bool,
    pub(super) index: Vec<u32>,
    pub(super) layout: Option<Arc<Layout>>,
    pub(super) field: Vec<Step>,
}

impl Taker {
    /// The part of a value.
    ///
    /// # Errors
    /// The status that the tag gets: the array is shorter, the structure another.
    pub(super) fn take(&self, value: &Variant) -> Result<Variant, StatusCode> {
        let element = match (value, self.index.as_slice()) {
            (whole, []) => whole,
            (Variant::Array(array), _) if self.ranged => {
                array.values.first().filter(|_| array.values.len() == 1).ok_or(NO_DATA)?
            }
            (Variant::Array(array), index) => {
                let length = [u32::try_from(array.values.len()).unwrap_or(u32::MAX)];
                let dimensions = array.dimensions.as_deref().unwrap_or(&length);
                let at = place(index, dimensions).ok_or(NO_DATA)?;
                array.values.get(at).ok_or(NO_DATA)?
            }
            // Some servers unwrap an array of one.
            (one, _) if self.ranged => one,
            _ => return Err(StatusCode::BadIndexRangeDataMismatch),
        };
        match (&self.layout, element) {
            (None, element) => Ok(element.clone()),
            (Some(layout), Variant::ExtensionObject(object)) => layout.field(object, &self.field),
            (Some(_), _) => Err(StatusCode::BadTypeMismatch),
        }
    }
}

const NO_DATA: StatusCode = StatusCode::BadIndexRangeNoData;

/// Where an element stands in an array whose last dimension runs fastest.
fn place(index: &[u32], dimensions: &[u32]) -> Option<usize> {
    if index.len() != dimensions.len() {
        return None;
    }
    index.iter().zip(dimensions).try_fold(0_usize, |at, (index, size)| {
        let inside = index < size;
        inside.then(|| at.checked_mul(*size as usize)?.checked_add(*index as usize)).flatten()
    })
}

impl Layout {
    fn field(&self, object: &ExtensionObject, steps: &[Step]) -> Result<Variant, StatusCode> {
        let value = self.decode(object)?;
        let mut at = &value;
        for step in steps {
            let Value::Inside(fields) = at else { return Err(StatusCode::BadTypeMismatch) };
            at = &fields.iter().find(|(name, _)| *name == step.name).ok_or(NO_DATA)?.1;
            if !step.index.is_empty() {
                let Value::Many(values, dimensions) = at else {
                    return Err(StatusCode::BadIndexRangeDataMismatch);
                };
                let place = place(&step.index, dimensions).ok_or(NO_DATA)?;
                at = values.get(place).ok_or(NO_DATA)?;
            }
        }
        match at {
            Value::One(value) => Ok(value.clone()),
            Value::Absent => Err(StatusCode::BadNoData),
            Value::Many(..) | Value::Inside(_) => Err(StatusCode::BadTypeMismatch),
        }
    }

    fn decode(&self, object: &ExtensionObject) -> Result<Value, StatusCode> {
        let context = ContextOwned::default();
        let context = context.context();
        let body = object.body.as_ref().ok_or(StatusCode::BadNoData)?;
        let shape = self.shapes.get(&self.root).ok_or(StatusCode::BadTypeMismatch)?;
        let mut bytes = Vec::new();
        let encoding = if let Some(raw) = object.inner_as::<ByteStringBody>() {
            bytes.extend_from_slice(raw.raw_body().as_ref());
            raw.encoding_id().clone()
        } else {
            // A type of the standard, which the library has decoded already.
            body.encode_binary(&mut bytes, &context).map_err(|error| error.status())?;
            body.binary_type_id().node_id
        };
        if !shape.encoding.is_null() && encoding != shape.encoding {
            return Err(StatusCode::BadDataTypeIdUnknown);
        }
        let mut stream: &[u8] = &bytes;
        let mut decoder = Decoder { layout: self, context: &context };
        let value = decoder.shape(shape, &mut stream, DEPTH_MAX).map_err(|error| error.status())?;
        // Bytes that are left over belong to another definition than ours.
        if stream.is_empty() { Ok(value) } else { Err(StatusCode::BadDecodingError) }
    }

    /// All fields of a value, for people.
    pub(super) fn show(&self, object: &ExtensionObject) -> Option<Shown> {
        self.decode(object).ok().map(|value| shown(&value))
    }

    /// The kind of a field, or why it can be no tag.
    pub(super) fn leaf(&self, steps: &[Step]) -> Result<Kind, String> {
        let mut shape = self.shapes.get(&self.root);
        let mut kind = Err("no field is named".to_owned());
        for (place, step) in steps.iter().enumerate() {
            let fields = shape.map(|shape| shape.fields.as_slice()).unwrap_or_default();
            let Some(field) = fields.iter().find(|field| field.name == step.name) else {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                return Err(format!("the structure has no field \"{}\"; it has {has}", step.name));
            };
            let rank = usize::try_from(field.rank).unwrap_or(0);
            if rank != step.index.len() {
                return Err(match rank {
                    0 => format!("the field \"{}\" is no array", step.name),
                    rank => format!(
                        "the field \"{}\" is an array of {rank} dimension{}; name one element",
                        step.name,
                        if rank == 1 { "" } else { "s" }
                    ),
                });
            }
            let last = place + 1 == steps.len();
            kind = match &field.kind {
                FieldKind::BuiltIn(number) if last => {
                    Ok(built_in(&NodeId::new(0, u32::from(*number))).unwrap_or(Kind::Other))
                }
                FieldKind::Inside(_) if last => Err(format!(
                    "the field \"{}\" is a structure itself; name a field of it",
                    step.name
                )),
                FieldKind::BuiltIn(_) => {
                    Err(format!("the field \"{}\" has no fields of its own", step.name))
                }
                FieldKind::Inside(id) => {
                    shape = self.shapes.get(id);
                    continue;
                }
            };
            if kind.is_err() {
                break;
            }
        }
        kind
    }
}

fn shown(value: &Value) -> Shown {
    match value {
        Value::One(value) => show(value),
        Value::Absent => Shown::nothing(),
        Value::Many(values, _) => {
            let all: Vec<Shown> = values.iter().map(shown).collect();
            let text: Vec<&str> = all.iter().map(|one| one.text.as_str()).collect();
            let text = format!("[{}]", text.join(", "));
            Shown { text, json: all.into_iter().map(|one| one.json).collect() }
        }
        Value::Inside(fields) => {
            let all = || fields.iter().map(|(name, value)| (name, shown(value)));
            let text: Vec<String> =
                all().map(|(name, value)| format!("{name}: {}", value.text)).collect();
            let text = format!("{{{}}}", text.join(", "));
            let json = all().map(|(name, value)| (name.clone(), value.json)).collect();
            Shown { text, json: serde_json::Value::Object(json) }
        }
    }
}

struct Decoder<'a> {
    layout: &'a Layout,
    context: &'a opcua::types::Context<'a>,
}

impl Decoder<'_> {
    fn shape(&mut self, shape: &Shape, stream: &mut &[u8], depth: usize) -> Result<Value, Error> {
        let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
        let mut fields = Vec::with_capacity(shape.fields.len());
        match shape.kind {
            StructureType::Structure => {
                for field in &shape.fields {
                    fields.push((field.name.clone(), self.field(field, stream, depth)?));
                }
            }
            StructureType::StructureWithOptionalFields => {
                let present = u32::decode(stream, self.context)?;
                let mut bit = 0;
                for field in &shape.fields {
                    let here = !field.optional || present.checked_shr(bit).unwrap_or(0) & 1 == 1;
                    bit += u32::from(field.optional);
                    let value =
                        if here { self.field(field, stream, depth)? } else { Value::Absent };
                    fields.push((field.name.clone(), value));
                }
            }
            StructureType::Union => {
                let chosen = u32::decode(stream, self.context)?;
                for (field, number) in shape.fields.iter().zip(1..) {
                    let here = number == chosen;
                    let value =
                        if here { self.field(field, stream, depth)? } else { Value::Absent };
                    fields.push((field.name.clone(), value));
                }
            }
            StructureType::StructureWithSubtypedValues | StructureType::UnionWithSubtypedValues => {
                return Err(Error::decoding("structures with subtyped values are not read"));
            }
        }
        Ok(Value::Inside(fields))
    }

    fn field(&mut self, field: &Field, stream: &mut &[u8], depth: usize) -> Result<Value, Error> {
        if field.rank < 1 {
            return self.one(&field.kind, stream, depth);
        }
        let dimensions = if field.rank == 1 {
            // A missing array has length -1; it is empty to us.
            let length = i32::decode(stream, self.context)?;
            vec![u32::try_from(length).unwrap_or(0)]
        } else {
            let dimensions = Option::<Vec<i32>>::decode(stream, self.context)?;
            let sizes = dimensions.into_iter().flatten();
            sizes.map(|size| u32::try_from(size).unwrap_or(0)).collect()
        };
        let sizes = dimensions.iter().map(|size| *size as usize);
        let count = sizes.clone().try_fold(1_usize, |product, size| product.checked_mul(size));
        let count = count.filter(|count| *count <= ELEMENTS_MAX && !dimensions.is_empty());
        let count = count.ok_or_else(|| Error::decoding("an array of this size is not read"))?;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.one(&field.kind, stream, depth)?);
        }
        Ok(Value::Many(values, dimensions))
    }

    fn one(&mut self, kind: &FieldKind, stream: &mut &[u8], depth: usize) -> Result<Value, Error> {
        match kind {
            // A `Variant` begins with the number of what follows; here only what follows is there.
            FieldKind::BuiltIn(number @ 1..=25) => {
                let head = [*number & !ARRAY];
                let mut whole = head.as_slice().chain(&mut *stream);
                Variant::decode(&mut whole, self.context).map(Value::One)
            }
            FieldKind::BuiltIn(number) => {
                Err(Error::decoding(format!("no built-in type has the number {number}")))
            }
            FieldKind::Inside(id) => {
                let shape = self.layout.shapes.get(id);
                let shape = shape.ok_or_else(|| Error::decoding("a type without definition"))?;
                self.shape(shape, stream, depth)
            }
        }
    }
}

fn too_deep() -> Error {
    Error::decoding("structures lie too deep within one another")
}

impl Reader<'_> {
    /// The definitions of a structure, or why they cannot be had.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) async fn layout(&mut self, root: &NodeId) -> Result<Result<Layout, String>, Error> {
        let mut shapes = HashMap::new();
        let mut open = vec![root.clone()];
        while let Some(id) = open.pop() {
            if shapes.contains_key(&id) {
                continue;
            }
            if shapes.len() >= TYPES_MAX {
                return Ok(Err(format!("it is made of more than {TYPES_MAX} structures")));
            }
            let definition = match self.definition(&id).await? {
                Ok(definition) => definition,
                Err(why) => return Ok(Err(why)),
            };
            let mut fields = Vec::new();
            for field in definition.fields.into_iter().flatten() {
                let Some(number) = self.base_of(&field.data_type).await? else {
                    let (name, id) = (field.name, field.data_type);
                    return Ok(Err(format!("the type {id} of its field \"{name}\" is unknown")));
                };
                let plain = field.data_type == NodeId::new(0, u32::from(STRUCTURE));
                let kind = if number == STRUCTURE && !plain {
                    open.push(field.data_type.clone());
                    FieldKind::Inside(field.data_type)
                } else {
                    FieldKind::BuiltIn(number)
                };
                let name = field.name.to_string();
                let (rank, optional) = (field.value_rank, field.is_optional);
                fields.push(Field { name, kind, rank, optional });
            }
            let (kind, encoding) = (definition.structure_type, definition.default_encoding_id);
            let subtyped = matches!(
                kind,
                StructureType::StructureWithSubtypedValues | StructureType::UnionWithSubtypedValues
            );
            if subtyped {
                return Ok(Err(format!(
                    "its type {id} allows subtyped values, which are not read"
                )));
            }
            shapes.insert(id, Shape { kind, encoding, fields });
        }
        Ok(Ok(Layout { root: root.clone(), shapes }))
    }

    async fn definition(
        &mut self,
        id: &NodeId,
    ) -> Result<Result<StructureDefinition, String>, Error> {
        let ask = [ReadValueId::new(id.clone(), AttributeId::DataTypeDefinition)];
        let answer = self.read(&ask).await?.into_iter().next();
        let status = answer.as_ref().map_or(StatusCode::BadNoData, |data| data.status());
        let object = match answer.and_then(|data| data.value) {
            Some(Variant::ExtensionObject(object)) => object,
            _ => ExtensionObject::null(),
        };
        Ok(object.into_inner_as::<StructureDefinition>().map(|definition| *definition).ok_or_else(
            || {
                format!(
                    "the server does not describe the structure {id} ({status}); if it shows the \
                     field as a variable of its own, use that"
                )
            },
        ))
    }

    /// The number of the built-in type that a type is made of.
    async fn base_of(&self, id: &NodeId) -> Result<Option<u8>, Error> {
        self.climb(id, |id| match (id.namespace, id.as_u32()) {
            (0, Some(number @ 1..=25)) => u8::try_from(number).ok(),
            // Number, Integer, UInteger: as `Variant`.
            (0, Some(26..=28)) => Some(24),
            (0, Some(29)) => Some(INT32),
            _ => None,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opcua::types::{ByteString, Range};
    use trimloop_recipe::plc_config::parse_field;

    fn layout(kind: StructureType, fields: Vec<Field>) -> Layout {
        let root = NodeId::new(2, 1);
        let shape = Shape { kind, encoding: NodeId::null(), fields };
        Layout { root: root.clone(), shapes: HashMap::from([(root, shape)]) }
    }

    fn field(name: &str, number: u8, rank: i32, optional: bool) -> Field {
        Field { name: name.to_owned(), kind: FieldKind::BuiltIn(number), rank, optional }
    }

    fn taken(layout: &Layout, bytes: &[u8], name: &str) -> Result<Variant, StatusCode> {
        let body = ByteStringBody::new(ByteString::from(bytes), NodeId::new(2, 5));
        let object = ExtensionObject::new(body);
        layout.field(&object, &parse_field(name).unwrap())
    }

    /// Optional fields, unions, matrices and missing arrays are where Part 6 puts them; bytes that
    /// are too many or too few are never a value.
    #[test]
    fn fields_are_found_in_the_bytes() {
        let optional = layout(
            StructureType::StructureWithOptionalFields,
            vec![field("A", 3, -1, true), field("B", 3, -1, false), field("C", 3, -1, true)],
        );
        let bytes = [0b10, 0, 0, 0, 7, 9];
        assert_eq!(taken(&optional, &bytes, "A"), Err(StatusCode::BadNoData));
        assert_eq!(taken(&optional, &bytes, "B"), Ok(Variant::Byte(7)));
        assert_eq!(taken(&optional, &bytes, "C"), Ok(Variant::Byte(9)));
        assert!(taken(&optional, &bytes[..5], "B").is_err(), "cut short");
        assert!(taken(&optional, &[0, 0, 0, 0, 7, 9], "B").is_err(), "left over");
        let union =
            layout(StructureType::Union, vec![field("A", 3, -1, false), field("B", 4, -1, false)]);
        assert_eq!(taken(&union, &[2, 0, 0, 0, 1, 1], "B"), Ok(Variant::Int16(257)));
        assert_eq!(taken(&union, &[2, 0, 0, 0, 1, 1], "A"), Err(StatusCode::BadNoData));
        let arrays = layout(
            StructureType::Structure,
            vec![field("None", 3, 1, false), field("M", 3, 2, false)],
        );
        let bytes = [255, 255, 255, 255, 2, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4];
        assert_eq!(taken(&arrays, &bytes, "M[1,0]"), Ok(Variant::Byte(3)));
        assert_eq!(taken(&arrays, &bytes, "M[2,0]"), Err(NO_DATA));
        assert_eq!(taken(&arrays, &bytes, "None[0]"), Err(NO_DATA));
        let endless = [255, 255, 255, 127, 0, 0, 0, 0];
        assert!(taken(&arrays, &endless, "None[0]").is_err());
    }

    /// A structure of the standard, which the library decodes by itself, has fields too.
    #[test]
    fn structures_of_the_standard_have_fields() {
        let range = layout(
            StructureType::Structure,
            vec![field("Low", 11, -1, false), field("High", 11, -1, false)],
        );
        let object = ExtensionObject::from_message(Range { low: 1.0, high: 2.5 });
        let high = parse_field("High").unwrap();
        assert_eq!(range.field(&object, &high), Ok(Variant::Double(2.5)));
        assert_eq!(range.field(&ExtensionObject::null(), &high), Err(StatusCode::BadNoData));
    }

    /// Elements are taken from whole arrays and from those that the server has cut.
    #[test]
    fn elements_are_taken() {
        let taker = |ranged, index: &[u32]| Taker {
            ranged,
            index: index.to_vec(),
            layout: None,
            field: Vec::new(),
        };
        let three = Variant::from(vec![1_u8, 2, 3]);
        assert_eq!(taker(false, &[2]).take(&three), Ok(Variant::Byte(3)));
        assert_eq!(taker(false, &[3]).take(&three), Err(NO_DATA));
        assert_eq!(taker(false, &[0, 1]).take(&three), Err(NO_DATA));
        let one = Variant::from(vec![3_u8]);
        assert_eq!(taker(true, &[2]).take(&one), Ok(Variant::Byte(3)));
        assert_eq!(taker(true, &[2]).take(&Variant::Byte(3)), Ok(Variant::Byte(3)));
        // A server that stopped cutting is noticed.
        assert_eq!(taker(true, &[2]).take(&three), Err(NO_DATA));
    }
}
