//! Data changes, decoded as they come off the wire.
//!
//! A PLC tells thousands of values a second, nearly all of them plain numbers with stamps. The
//! library makes a tree of general objects of each message, calendar dates included. This loader
//! takes the place of that for one type, `DataChangeNotification`: plain values are read straight
//! into [`Reading`]s (0.1 instead of 0.8 µs each), anything else by the library. What both make of
//! the same bytes is equal; the tests hold them against one another.
//!
//! Encoding: Part 4, 7.25.2; Part 6, 5.2.2.16 (`Variant`) and 5.2.2.17 (`DataValue`).

use std::io::{Read, Write};
use std::sync::Mutex;

use opcua::types::{
    BinaryDecodable, BinaryEncodable, Context, DataTypeId, DataValue, DynEncodable, EncodingResult,
    Error, FallbackTypeLoader, GeneratedTypeLoader, MessageInfo, NodeId, ObjectId, StatusCode,
    TypeLoader, TypeLoaderCollection, TypeLoaderPriority,
};
use trimloop_core::tag::Value;
use trimloop_core::time::Utc;

use super::decode::{Reading, utc_of, utc_of_ticks};
use crate::intake::lock;

/// Bits of a `DataValue`'s first byte, in the order of what follows it.
const VALUE: u8 = 1;
const STATUS: u8 = 1 << 1;
const SOURCE_TIME: u8 = 1 << 2;
const SERVER_TIME: u8 = 1 << 3;
const SOURCE_PICOS: u8 = 1 << 4;
const SERVER_PICOS: u8 = 1 << 5;
/// The shortest item: a handle and an empty value [bytes].
const ITEM_BYTES_LEAST: usize = 5;

/// The library's loaders, with ours before them.
pub(super) fn loaders() -> TypeLoaderCollection {
    let mut loaders = TypeLoaderCollection::new_empty();
    loaders.add_type_loader(ChangesLoader::default());
    loaders.add_type_loader(GeneratedTypeLoader);
    loaders.add_type_loader(FallbackTypeLoader);
    loaders
}

/// What a `DataChangeNotification` tells, in its order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changes(pub(super) Vec<Change>);

/// What one monitored item tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) handle: u32,
    pub(super) told: Told,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Told {
    /// One number, truth value or point in time, or none.
    Plain(Reading),
    /// Anything else.
    Whole(Box<DataValue>),
}

impl Told {
    /// When the source says it was measured.
    pub(super) fn source_time(&self) -> Option<Utc> {
        match self {
            Self::Plain(reading) => reading.source_time,
            Self::Whole(data) => data.source_timestamp.as_ref().and_then(utc_of),
        }
    }

    /// Whether the server dropped values before this one.
    pub(super) fn overflow(&self) -> bool {
        match self {
            Self::Plain(reading) => reading.overflow,
            Self::Whole(data) => data.status().overflow(),
        }
    }
}

#[derive(Default)]
struct ChangesLoader {
    /// The bytes of one notification; kept, because the next one is about as long.
    body: Mutex<Vec<u8>>,
}

impl TypeLoader for ChangesLoader {
    fn load_from_binary(
        &self,
        node_id: &NodeId,
        stream: &mut dyn Read,
        ctx: &Context<'_>,
        length: Option<usize>,
    ) -> Option<EncodingResult<Box<dyn DynEncodable>>> {
        let ours = ObjectId::DataChangeNotification_Encoding_DefaultBinary as u32;
        if node_id.namespace != 0 || node_id.as_u32() != Some(ours) {
            return None;
        }
        let length = length?;
        // Not held meanwhile: a value may itself be such a notification, and comes back here.
        let mut body = std::mem::take(&mut *lock(&self.body));
        let read = Changes::read(stream, length, &mut body, ctx);
        *lock(&self.body) = body;
        Some(read.map(|changes| Box::new(changes) as _))
    }

    /// Before the library's own: of equals the first that was added is asked first.
    fn priority(&self) -> TypeLoaderPriority {
        TypeLoaderPriority::Core
    }
}

impl Changes {
    fn read(
        stream: &mut dyn Read,
        length: usize,
        body: &mut Vec<u8>,
        ctx: &Context<'_>,
    ) -> EncodingResult<Self> {
        body.clear();
        // It grows with what really comes, whatever length was announced.
        stream.take(length as u64).read_to_end(body)?;
        if body.len() < length {
            return Err(Error::decoding("A data change ends too soon"));
        }
        let mut bytes = Bytes(body);
        let count = bytes.i32()?;
        if count < -1 || count > i32::try_from(ctx.options().max_array_length).unwrap_or(i32::MAX) {
            return Err(Error::decoding(format!("A data change of {count} items")));
        }
        let count = usize::try_from(count).unwrap_or(0);
        let mut changes = Vec::with_capacity(count.min(body.len() / ITEM_BYTES_LEAST));
        for _ in 0..count {
            let handle = bytes.u32()?;
            changes.push(Change { handle, told: told(&mut bytes, ctx)? });
        }
        // Diagnostics follow, which we did not ask for.
        Ok(Self(changes))
    }
}

fn told(bytes: &mut Bytes<'_>, ctx: &Context<'_>) -> EncodingResult<Told> {
    let start = *bytes;
    match plain(bytes, ctx)? {
        Some(reading) => Ok(Told::Plain(reading)),
        None => {
            *bytes = start;
            DataValue::decode(&mut bytes.0, ctx).map(|data| Told::Whole(Box::new(data)))
        }
    }
}

/// `None` when the value is not plain: then the place in the bytes is of no use.
fn plain(bytes: &mut Bytes<'_>, ctx: &Context<'_>) -> EncodingResult<Option<Reading>> {
    let mask = bytes.u8()?;
    let mut value = None;
    if mask & VALUE != 0 {
        value = match bytes.u8()? {
            0 => None,
            1 => Some(Value::Bool(bytes.u8()? == 1)),
            2 => Some(Value::Int(i64::from(i8::from_le_bytes(bytes.take()?)))),
            3 => Some(Value::Int(i64::from(bytes.u8()?))),
            4 => Some(Value::Int(i64::from(i16::from_le_bytes(bytes.take()?)))),
            5 => Some(Value::Int(i64::from(u16::from_le_bytes(bytes.take()?)))),
            6 => Some(Value::Int(i64::from(bytes.i32()?))),
            7 => Some(Value::Int(i64::from(bytes.u32()?))),
            8 => Some(Value::Int(bytes.i64()?)),
            10 => Some(Value::Float(f64::from(f32::from_le_bytes(bytes.take()?)))),
            11 => Some(Value::Float(f64::from_le_bytes(bytes.take()?))),
            // Text, arrays, structures; points in time and the largest numbers have rules of
            // their own.
            _ => return Ok(None),
        };
    }
    let code = if mask & STATUS != 0 { bytes.u32()? } else { 0 };
    let mut source_time = None;
    if mask & SOURCE_TIME != 0 {
        source_time = utc_of_ticks(bytes.i64()?);
    }
    if mask & SOURCE_PICOS != 0 {
        bytes.take::<2>()?;
    }
    let mut server_time = None;
    if mask & SERVER_TIME != 0 {
        if !ctx.options().client_offset.is_zero() {
            // The library moves this stamp when it is told to overlook clocks that differ.
            return Ok(None);
        }
        server_time = utc_of_ticks(bytes.i64()?);
    }
    if mask & SERVER_PICOS != 0 {
        bytes.take::<2>()?;
    }
    Ok(Some(Reading::new(StatusCode::from(code), value, source_time, server_time)))
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> EncodingResult<[u8; N]> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| Error::decoding("A data change ends too soon"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> EncodingResult<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> EncodingResult<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn i32(&mut self) -> EncodingResult<i32> {
        self.take().map(i32::from_le_bytes)
    }

    fn i64(&mut self) -> EncodingResult<i64> {
        self.take().map(i64::from_le_bytes)
    }
}

impl MessageInfo for Changes {
    fn type_id(&self) -> ObjectId {
        ObjectId::DataChangeNotification_Encoding_DefaultBinary
    }

    fn json_type_id(&self) -> ObjectId {
        ObjectId::DataChangeNotification_Encoding_DefaultJson
    }

    fn xml_type_id(&self) -> ObjectId {
        ObjectId::DataChangeNotification_Encoding_DefaultXml
    }

    fn data_type_id(&self) -> DataTypeId {
        DataTypeId::DataChangeNotification
    }
}

/// The library asks this of whatever travels in an extension object. A client sends no data
/// changes.
impl BinaryEncodable for Changes {
    fn byte_len(&self, _: &Context<'_>) -> usize {
        0
    }

    fn encode<S: Write + ?Sized>(&self, _: &mut S, _: &Context<'_>) -> EncodingResult<()> {
        Err(Error::encoding("A client sends no data changes"))
    }
}

/// What a session makes of a notification that a server encoded.
#[cfg(test)]
pub(super) fn over_the_wire(sent: &opcua::types::DataChangeNotification) -> Changes {
    let owned = opcua::types::ContextOwned::default();
    let bytes = sent.encode_to_vec(&owned.context());
    Changes::read(&mut bytes.as_slice(), bytes.len(), &mut Vec::new(), &owned.context()).unwrap()
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
