//! Values with their place in the file, and the few shapes that serde does not have.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::plc_config::RawUrls;
use crate::raw::{RawStep, RawUpDown};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    value: T,
    span: Range<usize>,
}

impl<T> At<T> {
    /// A value at a place.
    pub const fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }

    /// Byte range in the file.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value.
    pub const fn get(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(Self { value: spanned.into_inner(), span })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// A table of named things, by name.
#[derive(Clone, Debug)]
pub struct Named<T> {
    entries: Vec<(At<String>, T)>,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Named<T> {
    /// An empty table.
    pub(crate) const fn none() -> Self {
        Self { entries: Vec::new() }
    }

    /// A table of entries, put into order.
    pub(crate) fn of(mut entries: Vec<(At<String>, T)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Self { entries }
    }

    /// In order of name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(At<String>, T)> {
        self.entries.iter()
    }

    /// Place in order of name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()
    }

    /// By name.
    pub fn get(&self, name: &str) -> Option<&(At<String>, T)> {
        self.position(name).and_then(|place| self.entries.get(place))
    }

    /// By place.
    pub fn at(&self, place: usize) -> Option<&(At<String>, T)> {
        self.entries.get(place)
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Named<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of named entries")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut entries: Vec<(At<String>, T)> = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Named::of(entries))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Map_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let entry = generator.subschema_for::<T>();
        json_schema!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9_-]{0,63}$" },
            "additionalProperties": entry,
        })
    }
}

/// A quantity or number as written: text, or a bare number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The text; of a bare number, its shortest decimal form.
    pub text: String,
    /// Whether it stood there as a bare number (or true or false), not as text.
    pub bare: bool,
}

impl Literal {
    fn bare(text: String) -> Self {
        Self { text, bare: true }
    }
}

struct LiteralVisitor;

impl Visitor<'_> for LiteralVisitor {
    type Value = Literal;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity such as \"480 bar\", or a number")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Literal, E> {
        Ok(Literal { text: text.to_owned(), bare: false })
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<Literal, E> {
        Ok(Literal::bare(n.to_string()))
    }
    fn visit_u64<E: Error>(self, n: u64) -> Result<Literal, E> {
        Ok(Literal::bare(n.to_string()))
    }
    fn visit_f64<E: Error>(self, x: f64) -> Result<Literal, E> {
        Ok(Literal::bare(x.to_string()))
    }
    fn visit_bool<E: Error>(self, x: bool) -> Result<Literal, E> {
        Ok(Literal::bare(x.to_string()))
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LiteralVisitor)
    }
}

impl JsonSchema for Literal {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number with its unit, such as \"480 bar\", \"250 ms\" or \
                \"5 bar / 1 min\". Counts, ratios and sigmas are bare numbers.",
            "type": ["string", "number", "boolean"],
        })
    }
}

/// Two quantities, low and high.
#[derive(Clone, Debug)]
pub struct Pair(pub [At<Literal>; 2]);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own arrays let the TOML reader pass over a third value.
        let all = Vec::<At<Literal>>::deserialize(deserializer)?;
        let count = all.len();
        let pair = all.try_into().map_err(|_| D::Error::invalid_length(count, &"two values"))?;
        Ok(Self(pair))
    }
}

impl JsonSchema for Pair {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Pair".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<Literal>();
        json_schema!({ "type": "array", "items": item, "minItems": 2, "maxItems": 2 })
    }
}

/// A whole number, or true (1) or false (0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole(pub i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WholeVisitor;
        impl Visitor<'_> for WholeVisitor {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, true or false")
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<Whole, E> {
                Ok(Whole(n))
            }
            fn visit_bool<E: Error>(self, x: bool) -> Result<Whole, E> {
                Ok(Whole(i64::from(x)))
            }
        }
        deserializer.deserialize_any(WholeVisitor)
    }
}

impl JsonSchema for Whole {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Whole".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "boolean"] })
    }
}

impl<'de> Deserialize<'de> for RawStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StepVisitor;
        impl<'de> Visitor<'de> for StepVisitor {
            type Value = RawStep;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity, or a table with `up` and `down`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RawStep, E> {
                LiteralVisitor.visit_str(text).map(RawStep::Both)
            }
            fn visit_i64<E: Error>(self, n: i64) -> Result<RawStep, E> {
                LiteralVisitor.visit_i64(n).map(RawStep::Both)
            }
            fn visit_f64<E: Error>(self, x: f64) -> Result<RawStep, E> {
                LiteralVisitor.visit_f64(x).map(RawStep::Both)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawStep, A::Error> {
                RawUpDown::deserialize(MapAccessDeserializer::new(map)).map(RawStep::Each)
            }
        }
        deserializer.deserialize_any(StepVisitor)
    }
}

impl JsonSchema for RawStep {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (both, each) =
            (generator.subschema_for::<Literal>(), generator.subschema_for::<RawUpDown>());
        json_schema!({ "anyOf": [both, each] })
    }
}

impl<'de> Deserialize<'de> for RawUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlsVisitor;
        impl<'de> Visitor<'de> for UrlsVisitor {
            type Value = RawUrls;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a list of addresses")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<RawUrls, E> {
                Ok(RawUrls::One(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawUrls, A::Error> {
                let mut several = Vec::new();
                while let Some(one) = seq.next_element()? {
                    several.push(one);
                }
                Ok(RawUrls::Several(several))
            }
        }
        deserializer.deserialize_any(UrlsVisitor)
    }
}

impl JsonSchema for RawUrls {
    fn schema_name() -> Cow<'static, str> {
        "Urls".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 }
        ] })
    }
}
