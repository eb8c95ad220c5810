//! What a register must be: type, rank, access and range against configuration and plan.

use opcua::types::{
    AttributeId, DataTypeId, DataValue, NodeId, QualifiedName, StatusCode, Variant,
};

use trimloop_recipe::plc_config::Address;

use trimloop_core::unit::{Grid, Ticks};

use super::write::encode;
use super::{NodeConfig, Purpose, Scalar};

const READABLE: u8 = 0b01;
const WRITABLE: u8 = 0b10;
const HISTORY_READABLE: u8 = 0b100;
/// Attributes read of each node, in this order.
pub(super) const ATTRIBUTES: [AttributeId; 6] = [
    AttributeId::DataType,
    AttributeId::ValueRank,
    AttributeId::AccessLevel,
    AttributeId::UserAccessLevel,
    AttributeId::BrowseName,
    AttributeId::Value,
];

pub(super) fn unreadable(status: StatusCode) -> String {
    match status {
        StatusCode::BadNodeIdUnknown | StatusCode::BadNodeIdInvalid => {
            "the server has no such node".to_owned()
        }
        StatusCode::BadAttributeIdInvalid => "the node is not a variable".to_owned(),
        other => format!("the server does not let us read what it is ({other})"),
    }
}

/// What is known of a data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(Scalar),
    /// Number, Integer or anything: the value itself tells.
    Open,
    /// Text, structures and whatever else no tag can hold.
    Other,
}

pub(super) fn built_in(id: &NodeId) -> Option<Kind> {
    if id.namespace != 0 {
        return None;
    }
    match id.as_u32()? {
        number @ 1..=11 => Scalar::ALL.get(number as usize - 1).copied().map(Kind::Scalar),
        12 | 14..=23 | 25 => Some(Kind::Other),
        13 => Some(Kind::Scalar(Scalar::DateTime)),
        24 | 26 | 27 | 28 => Some(Kind::Open),
        // An enumeration travels as Int32.
        number if number == DataTypeId::Enumeration as u32 => Some(Kind::Scalar(Scalar::Int32)),
        _ => None,
    }
}

fn scalar_of(variant: &Variant) -> Option<Scalar> {
    Some(match variant {
        Variant::Boolean(_) => Scalar::Boolean,
        Variant::SByte(_) => Scalar::SByte,
        Variant::Byte(_) => Scalar::Byte,
        Variant::Int16(_) => Scalar::Int16,
        Variant::UInt16(_) => Scalar::UInt16,
        Variant::Int32(_) => Scalar::Int32,
        Variant::UInt32(_) => Scalar::UInt32,
        Variant::Int64(_) => Scalar::Int64,
        Variant::UInt64(_) => Scalar::UInt64,
        Variant::Float(_) => Scalar::Float,
        Variant::Double(_) => Scalar::Double,
        Variant::DateTime(_) => Scalar::DateTime,
        _ => return None,
    })
}

/// What the server says about one node.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) data_type: Result<NodeId, StatusCode>,
    /// -1 scalar, -2 any, -3 scalar or one dimension; from 0 an array.
    rank: Option<i32>,
    access: Option<u8>,
    value: Option<Scalar>,
    /// Its browse name, with an index that holds for this connection.
    name: Option<QualifiedName>,
    /// Sizes and kind of element of an array that is there.
    array: Option<(Vec<u32>, Option<Scalar>)>,
}

impl Attributes {
    pub(super) fn from_read(row: &[DataValue]) -> Self {
        let value = |at: usize| row.get(at).and_then(|data| data.value.as_ref());
        let byte = |at: usize| match value(at) {
            Some(Variant::Byte(byte)) => Some(*byte),
            _ => None,
        };
        let data_type = match value(0) {
            Some(Variant::NodeId(id)) => Ok((**id).clone()),
            _ => {
                let status = row.first().map_or(StatusCode::BadUnexpectedError, DataValue::status);
                Err(if status.is_good() { StatusCode::BadTypeMismatch } else { status })
            }
        };
        let rank = match value(1) {
            Some(Variant::Int32(rank)) => Some(*rank),
            _ => None,
        };
        // What this user may do counts; servers without users leave it out.
        let access = match (byte(2), byte(3)) {
            (Some(node), Some(user)) => Some(node & user),
            (node, user) => user.or(node),
        };
        let array = match value(5) {
            Some(Variant::Array(array)) => {
                let length = u32::try_from(array.values.len()).unwrap_or(u32::MAX);
                let sizes = array.dimensions.clone().unwrap_or_else(|| vec![length]);
                Some((sizes, array.values.first().and_then(scalar_of)))
            }
            _ => None,
        };
        let name = match value(4) {
            Some(Variant::QualifiedName(name)) => Some((**name).clone()),
            _ => None,
        };
        Self { data_type, rank, access, value: value(5).and_then(scalar_of), name, array }
    }

    /// Sizes of the array that is there.
    pub(super) fn dimensions(&self) -> Option<&[u32]> {
        self.array.as_ref().map(|(sizes, _)| sizes.as_slice())
    }

    /// Whether an index can lead to an element, as far as can be seen now.
    pub(super) fn fits_index(&self, index: &[u32]) -> Result<(), String> {
        let rank = self.rank.and_then(|rank| usize::try_from(rank).ok());
        if let (None | Some(0), Some(-1)) = (rank, self.rank)
            && !index.is_empty()
        {
            return Err("the node is no array; leave `index` out".to_owned());
        }
        if let (Some(rank @ 1..), true) = (rank, index.is_empty()) {
            return Err(format!("the node is an array of {rank} dimensions; name one element"));
        }
        if let (Some(rank @ 1..), 1..) = (rank, index.len())
            && rank != index.len()
        {
            return Err(format!("the node is an array of {rank} dimensions, not {}", index.len()));
        }
        if let (Some(sizes), 1..) = (self.dimensions(), index.len())
            && (sizes.len() != index.len() || index.iter().zip(sizes).any(|(at, size)| at >= size))
        {
            let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
            return Err(format!(
                "the array has {} elements now, counted from 0; there is no such element",
                sizes.join(" by ")
            ));
        }
        Ok(())
    }

    /// The attributes of a part whose kind is known.
    pub(super) fn as_part(&self, kind: Kind) -> Self {
        let element = self.array.as_ref().and_then(|(_, scalar)| *scalar);
        let value = match kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Open => element,
            Kind::Other => None,
        };
        Self { rank: Some(-1), value, array: None, ..self.clone() }
    }

    pub(super) fn name(&self) -> Option<&QualifiedName> {
        self.name.as_ref()
    }

    pub(super) fn rank(&self) -> Option<i32> {
        self.rank
    }

    /// Whether we may read it; servers that say nothing let us try.
    pub(super) fn readable(&self) -> bool {
        self.access.is_none_or(|access| access & READABLE != 0)
    }

    /// Whether the server has a history of it that we may read; one that says nothing has none.
    pub(super) fn has_history(&self) -> bool {
        self.access.is_some_and(|access| access & HISTORY_READABLE != 0)
    }

    /// Whether we may write it.
    pub(super) fn writable(&self) -> bool {
        self.access.is_some_and(|access| access & WRITABLE != 0)
    }

    /// What its present value is, where its type leaves that open.
    pub(super) fn value_scalar(&self, kind: Kind) -> Option<Scalar> {
        self.value.filter(|_| kind == Kind::Open)
    }
}

pub(super) fn fits(
    wanted: &NodeConfig,
    row: &Attributes,
    kind: Kind,
    range: Option<(f64, f64)>,
) -> Result<Scalar, String> {
    if row.rank.is_some_and(|rank| rank >= 0) {
        return Err("the node is an array; a tag holds one value: add `index`".to_owned());
    }
    if wanted.purpose != Purpose::Read && matches!(wanted.address, Address::Part { .. }) {
        return Err("a part of a value cannot be written".to_owned());
    }
    let scalar = match kind {
        Kind::Scalar(scalar) => scalar,
        Kind::Open => wanted.scalar.or(row.value).ok_or_else(|| {
            "the server leaves its type open and shows no value; state `type`".to_owned()
        })?,
        Kind::Other => {
            let what = "its type is text or a structure, no tag can hold it; of a structure name \
                        a `field`";
            return Err(what.to_owned());
        }
    };
    if let Some(expected) = wanted.scalar.filter(|expected| *expected != scalar) {
        return Err(format!(
            "it is {} on the server, the configuration says {}",
            scalar.name(),
            expected.name()
        ));
    }
    if let Some(access) = row.access {
        if wanted.tag.is_some() && access & READABLE == 0 {
            return Err("we may not read it".to_owned());
        }
        if wanted.purpose.is_written() && access & WRITABLE == 0 {
            return Err("we may not write it".to_owned());
        }
    }
    match wanted.purpose {
        Purpose::Setpoint { grid, low, high } | Purpose::Guarded { grid, low, high } => {
            setpoint_fits((grid, low, high), scalar, range).map(|()| scalar)
        }
        Purpose::Heartbeat if scalar == Scalar::DateTime => {
            Err("a point in time cannot carry our heartbeat".to_owned())
        }
        Purpose::Heartbeat | Purpose::Read | Purpose::Member { .. } => Ok(scalar),
    }
}

/// Whether every value that may be written fits the register without loss, and into its EURange.
fn setpoint_fits(
    (grid, low, high): (Grid, Ticks, Ticks),
    scalar: Scalar,
    range: Option<(f64, f64)>,
) -> Result<(), String> {
    // One tick beside an end shows a grid that is finer than whole numbers.
    let beside = Ticks::new(low.count() + 1);
    for ticks in [low, beside.min(high), high] {
        if encode(grid, ticks, scalar).is_none() {
            let value = grid.value(ticks);
            return Err(format!("{value} does not fit a {} without loss", scalar.name()));
        }
    }
    // Servers that fill EURange with 0..0 mean nothing by it.
    if let Some((bottom, top)) = range.filter(|(bottom, top)| bottom < top) {
        let (least, most) = (grid.value(low), grid.value(high));
        if least < bottom || most > top {
            return Err(format!(
                "the limits {least} to {most} reach beyond its EURange {bottom} to {top}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimloop_core::tag::TagId;
    use trimloop_core::unit::{Grid, Ticks};

    fn node(scalar: Option<Scalar>, purpose: Purpose) -> NodeConfig {
        NodeConfig {
            name: "n".to_owned(),
            tag: Some(TagId(0)),
            address: Address::Path(Vec::new()),
            scalar,
            sampling_ms: 0.0,
            queue: None,
            purpose,
        }
    }

    fn attributes(access: u8) -> Attributes {
        Attributes {
            data_type: Ok(NodeId::new(0, 11_u32)),
            rank: Some(-1),
            access: Some(access),
            value: Some(Scalar::Double),
            name: None,
            array: None,
        }
    }

    fn setpoint(mantissa: i64, decimals: u8, low: i64, high: i64) -> Purpose {
        let grid = Grid::new(mantissa, decimals).unwrap();
        Purpose::Setpoint { grid, low: Ticks::new(low), high: Ticks::new(high) }
    }

    /// Types, access, ranks and ranges that do not fit are refused with a sentence.
    #[test]
    fn only_what_fits_is_taken() {
        let fine = Kind::Scalar(Scalar::Double);
        let half_bar = setpoint(5, 1, 580, 860);
        type Row = (Option<Scalar>, Purpose, u8, Kind, Option<(f64, f64)>, &'static str);
        let rows: [Row; 13] = [
            (None, Purpose::Read, 1, fine, None, ""),
            (Some(Scalar::Double), Purpose::Read, 1, fine, None, ""),
            (Some(Scalar::Int32), Purpose::Read, 1, fine, None, "the configuration says Int32"),
            (None, Purpose::Read, 2, fine, None, "may not read"),
            (None, half_bar, 1, fine, None, "may not write"),
            (None, half_bar, 3, fine, None, ""),
            (None, half_bar, 3, fine, Some((0.0, 0.0)), ""),
            (None, half_bar, 3, fine, Some((290.0, 430.0)), ""),
            (None, half_bar, 3, fine, Some((300.0, 430.0)), "beyond its EURange"),
            (None, half_bar, 3, Kind::Scalar(Scalar::Int16), None, "without loss"),
            (None, half_bar, 3, Kind::Scalar(Scalar::Float), None, ""),
            (None, setpoint(1, 0, 0, 300), 3, Kind::Scalar(Scalar::Byte), None, "without loss"),
            (None, Purpose::Read, 1, Kind::Other, None, "no tag can hold"),
        ];
        for (scalar, purpose, access, kind, range, expect) in rows {
            let result = fits(&node(scalar, purpose), &attributes(access), kind, range);
            match result {
                Ok(_) => assert_eq!(expect, "", "{kind:?} {purpose:?}"),
                Err(what) => assert!(!expect.is_empty() && what.contains(expect), "{what}"),
            }
        }
        let array = Attributes { rank: Some(1), ..attributes(3) };
        assert!(fits(&node(None, Purpose::Read), &array, fine, None).is_err());
        let open = fits(&node(None, Purpose::Read), &attributes(1), Kind::Open, None);
        assert_eq!(open, Ok(Scalar::Double));
    }

    /// Known types of the standard are recognised without asking.
    #[test]
    fn built_in_types_are_known() {
        for (number, expect) in [
            (1, Some(Kind::Scalar(Scalar::Boolean))),
            (6, Some(Kind::Scalar(Scalar::Int32))),
            (11, Some(Kind::Scalar(Scalar::Double))),
            (12, Some(Kind::Other)),
            (13, Some(Kind::Scalar(Scalar::DateTime))),
            (26, Some(Kind::Open)),
            (29, Some(Kind::Scalar(Scalar::Int32))),
            (290, None),
        ] {
            assert_eq!(built_in(&NodeId::new(0, number as u32)), expect, "{number}");
        }
        assert_eq!(built_in(&NodeId::new(2, 11_u32)), None);
    }
}
