//! What the server sent -> [`Sample`].
//!
//! - A missing status means Good. Bad carries no value, whatever came with it; Uncertain keeps
//!   its value; Good without a value stays without one.
//! - Booleans are contacts, whole numbers stay exact in 64 bits, floats are floats. A point in
//!   time becomes whole milliseconds since the Unix epoch.
//! - Text, structures, arrays and whole numbers beyond `i64` become Bad, counted by the caller.

use opcua::types::{DataValue, DateTime, StatusCode, Variant};
use trimloop_core::tag::{Sample, Status, TagId, Value};
use trimloop_core::time::{Mono, Utc};

use super::structure::Taker;

/// 1601-01-01 to 1970-01-01 in ticks of 100 ns.
const TICKS_TO_UNIX: i64 = 116_444_736_000_000_000;

/// What a server told of a plain value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    value: Option<Value>,
    status: Status,
    /// The server dropped samples before this one.
    pub(super) overflow: bool,
    pub(super) source_time: Option<Utc>,
    server_time: Option<Utc>,
}

/// A sample with what is to be counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Decoded {
    pub(super) sample: Sample,
    /// The server dropped samples before this one.
    pub(super) overflow: bool,
    /// No tag can hold the value.
    pub(super) undecodable: bool,
}

impl Reading {
    pub(super) fn new(
        code: StatusCode,
        value: Option<Value>,
        source_time: Option<Utc>,
        server_time: Option<Utc>,
    ) -> Self {
        let (status, value) = if code.is_bad() {
            (Status::Bad(code.bits()), None)
        } else if code.is_uncertain() {
            (Status::Uncertain(code.bits()), value)
        } else {
            (Status::Good, value)
        };
        Self { value, status, overflow: code.overflow(), source_time, server_time }
    }

    /// It as a sample of a tag.
    pub(super) fn of(self, tag: TagId, received: Mono) -> Decoded {
        let Self { value, status, overflow, source_time, server_time } = self;
        let sample = Sample { tag, value, status, source_time, server_time, received };
        Decoded { sample, overflow, undecodable: false }
    }

    /// It as the library would have told it to [`decode_part`].
    pub(super) fn data(self) -> DataValue {
        let bits = match self.status {
            Status::Good => 0,
            Status::Uncertain(code) | Status::Bad(code) => code,
        };
        let stamp = |utc: Utc| DateTime::from(utc.as_nanos() / 100 + TICKS_TO_UNIX);
        DataValue {
            value: self.value.map(|value| match value {
                Value::Bool(b) => Variant::Boolean(b),
                Value::Int(i) => Variant::Int64(i),
                Value::Float(x) => Variant::Double(x),
            }),
            status: Some(StatusCode::from(bits).set_overflow(self.overflow)),
            source_timestamp: self.source_time.map(stamp),
            server_timestamp: self.server_time.map(stamp),
            ..DataValue::default()
        }
    }
}

pub(super) fn decode(tag: TagId, data: &DataValue, received: Mono) -> Decoded {
    let code = data.status();
    let source_time = data.source_timestamp.as_ref().and_then(utc_of);
    let server_time = data.server_timestamp.as_ref().and_then(utc_of);
    let value = data.value.as_ref().filter(|_| !code.is_bad());
    match value.map_or(Ok(None), value_of) {
        Ok(value) => Reading::new(code, value, source_time, server_time).of(tag, received),
        Err(why) => {
            let reading = Reading::new(why, None, source_time, server_time);
            Decoded { overflow: code.overflow(), undecodable: true, ..reading.of(tag, received) }
        }
    }
}

/// The same of a part of the value; what is not there is Bad and counted as undecodable.
pub(super) fn decode_part(
    tag: TagId,
    data: &DataValue,
    taker: Option<&Taker>,
    received: Mono,
) -> Decoded {
    let (Some(taker), Some(whole)) = (taker, &data.value) else {
        return decode(tag, data, received);
    };
    let stamps = |value: Option<Variant>, status: Option<StatusCode>| DataValue {
        value,
        status,
        source_timestamp: data.source_timestamp,
        source_picoseconds: data.source_picoseconds,
        server_timestamp: data.server_timestamp,
        server_picoseconds: data.server_picoseconds,
    };
    if data.status().is_bad() || matches!(whole, Variant::Empty) {
        return decode(tag, &stamps(None, data.status), received);
    }
    match taker.take(whole) {
        Ok(part) => decode(tag, &stamps(Some(part), data.status), received),
        Err(why) => {
            let mut decoded = decode(tag, &stamps(None, Some(why)), received);
            decoded.overflow = data.status().overflow();
            decoded.undecodable = true;
            decoded
        }
    }
}

/// `Ok(None)`: there is no value. `Err`: there is one, but no tag can hold it.
pub(super) fn value_of(variant: &Variant) -> Result<Option<Value>, StatusCode> {
    let int = |i: i64| Ok(Some(Value::Int(i)));
    match variant {
        Variant::Empty => Ok(None),
        Variant::Boolean(b) => Ok(Some(Value::Bool(*b))),
        Variant::SByte(i) => int(i64::from(*i)),
        Variant::Byte(i) => int(i64::from(*i)),
        Variant::Int16(i) => int(i64::from(*i)),
        Variant::UInt16(i) => int(i64::from(*i)),
        Variant::Int32(i) => int(i64::from(*i)),
        Variant::UInt32(i) => int(i64::from(*i)),
        Variant::Int64(i) => int(*i),
        Variant::UInt64(i) => {
            i64::try_from(*i).map(|i| Some(Value::Int(i))).map_err(|_| StatusCode::BadOutOfRange)
        }
        Variant::Float(x) => Ok(Some(Value::Float(f64::from(*x)))),
        Variant::Double(x) => Ok(Some(Value::Float(*x))),
        Variant::DateTime(time) => {
            Ok(utc_of(time).map(|utc| Value::Int(utc.as_nanos() / 1_000_000)))
        }
        _ => Err(StatusCode::BadTypeMismatch),
    }
}

/// `None` for the null time and for times that do not fit (years before 1678, after 2262).
pub(super) fn utc_of(time: &DateTime) -> Option<Utc> {
    utc_of_ticks(time.ticks())
}

/// The same of ticks of 100 ns since 1601, as they travel.
pub(super) fn utc_of_ticks(ticks: i64) -> Option<Utc> {
    if ticks == 0 {
        return None;
    }
    let nanos = ticks.checked_sub(TICKS_TO_UNIX)?.checked_mul(100)?;
    Some(Utc::from_nanos(nanos))
}

/// The same time in ticks of 100 ns since 1601, as OPC UA counts.
pub(super) fn ticks_of(utc: Utc) -> i64 {
    utc.as_nanos().div_euclid(100) + TICKS_TO_UNIX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Option<Variant>, status: Option<StatusCode>) -> Decoded {
        let data = DataValue { value, status, ..DataValue::default() };
        decode(TagId(3), &data, Mono::from_millis(5))
    }

    /// Every scalar type keeps its value; what no tag can hold is Bad and counted.
    #[test]
    fn values_become_what_they_say() {
        let rows: [(Variant, Option<Value>, bool); 19] = [
            (Variant::Boolean(true), Some(Value::Bool(true)), false),
            (Variant::SByte(-8), Some(Value::Int(-8)), false),
            (Variant::Byte(200), Some(Value::Int(200)), false),
            (Variant::Int16(-300), Some(Value::Int(-300)), false),
            (Variant::UInt16(60_000), Some(Value::Int(60_000)), false),
            (Variant::Int32(-70_000), Some(Value::Int(-70_000)), false),
            (Variant::UInt32(4_000_000_000), Some(Value::Int(4_000_000_000)), false),
            (Variant::Int64(i64::MIN), Some(Value::Int(i64::MIN)), false),
            (Variant::UInt64(i64::MAX as u64), Some(Value::Int(i64::MAX)), false),
            (Variant::UInt64(1 << 63), None, true),
            (Variant::Float(0.5), Some(Value::Float(0.5)), false),
            (Variant::Double(-2.5), Some(Value::Float(-2.5)), false),
            (Variant::Empty, None, false),
            (Variant::from("hot"), None, true),
            (Variant::from(vec![1.0_f64, 2.0]), None, true),
            (Variant::from(StatusCode::Good), None, true),
            (Variant::from(DateTime::null()), None, false),
            (Variant::from(DateTime::endtimes()), None, false),
            (
                Variant::from(DateTime::ymd_hms(2001, 9, 9, 1, 46, 40)),
                Some(Value::Int(1_000_000_000_000)),
                false,
            ),
        ];
        for (variant, value, undecodable) in rows {
            let decoded = of(Some(variant.clone()), None);
            assert_eq!(decoded.sample.value, value, "{variant:?}");
            assert_eq!(decoded.undecodable, undecodable, "{variant:?}");
            let bad = matches!(decoded.sample.status, Status::Bad(_));
            assert_eq!(bad, undecodable, "{variant:?}");
        }
    }

    /// No status is Good; Bad means no value; Uncertain keeps it; the overflow bit is seen and is
    /// no part of the severity.
    #[test]
    fn pain_12_quality_follows_the_status() {
        let one = || Some(Variant::Double(1.0));
        let value = Some(Value::Float(1.0));
        assert_eq!(
            (of(one(), None).sample.status, of(one(), None).sample.value),
            (Status::Good, value)
        );
        let bad = of(one(), Some(StatusCode::BadSensorFailure)).sample;
        assert_eq!((bad.status, bad.value), (Status::Bad(0x808C_0000), None));
        let empty = of(Some(Variant::Empty), Some(StatusCode::BadSensorFailure)).sample;
        assert_eq!((empty.status, empty.value), (Status::Bad(0x808C_0000), None));
        let unsure = of(one(), Some(StatusCode::UncertainLastUsableValue)).sample;
        assert_eq!((unsure.status, unsure.value), (Status::Uncertain(0x4090_0000), value));
        let over = of(one(), Some(StatusCode::Good.set_overflow(true)));
        assert_eq!(
            (over.sample.status, over.sample.value, over.overflow),
            (Status::Good, value, true)
        );
        assert!(!of(one(), Some(StatusCode::GoodClamped)).overflow);
        assert_eq!(of(None, None).sample.value, None);
    }

    /// Times are nanoseconds since 1970, to 100 ns; the null time is none.
    #[test]
    fn pain_11_times_are_utc() {
        let data = DataValue {
            source_timestamp: Some(DateTime::from(TICKS_TO_UNIX + 15)),
            server_timestamp: Some(DateTime::null()),
            ..DataValue::default()
        };
        let sample = decode(TagId(0), &data, Mono::from_millis(5)).sample;
        assert_eq!(sample.source_time, Some(Utc::from_nanos(1500)));
        assert_eq!(sample.server_time, None);
        assert_eq!(sample.received, Mono::from_millis(5));
    }
}
