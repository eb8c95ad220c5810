//! Times as they are stored: whole nanoseconds. The core's own types are never serialised as they
//! are, so that its layout is nobody's file format.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trimloop_core::time::{Span, Utc};

/// A time that is stored as a number.
pub(crate) trait Nanos: Sized {
    fn to_nanos(&self) -> i64;
    fn of_nanos(nanos: i64) -> Self;
}

impl Nanos for Utc {
    fn to_nanos(&self) -> i64 {
        self.as_nanos()
    }
    fn of_nanos(nanos: i64) -> Self {
        Self::from_nanos(nanos)
    }
}

impl Nanos for Span {
    fn to_nanos(&self) -> i64 {
        self.as_nanos()
    }
    fn of_nanos(nanos: i64) -> Self {
        Self::from_nanos(nanos)
    }
}

/// One time.
pub(crate) mod one {
    use super::{Deserialize, Deserializer, Nanos, Serialize, Serializer};

    pub(crate) fn serialize<T: Nanos, S: Serializer>(it: &T, to: S) -> Result<S::Ok, S::Error> {
        it.to_nanos().serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Nanos, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        i64::deserialize(from).map(T::of_nanos)
    }
}

/// One that may not be there.
pub(crate) mod maybe {
    use super::{Deserialize, Deserializer, Nanos, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands it over like that")]
    pub(crate) fn serialize<T: Nanos, S: Serializer>(
        it: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        it.as_ref().map(Nanos::to_nanos).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Nanos, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(T::of_nanos))
    }
}

/// A list of them.
pub(crate) mod list {
    use super::{Deserialize, Deserializer, Nanos, Serializer};

    pub(crate) fn serialize<T: Nanos, S: Serializer>(it: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(it.iter().map(Nanos::to_nanos))
    }

    pub(crate) fn deserialize<'de, T: Nanos, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        Ok(Vec::<i64>::deserialize(from)?.into_iter().map(T::of_nanos).collect())
    }
}

/// Something with a time beside it.
pub(crate) mod beside {
    use super::{Deserialize, Deserializer, Nanos, Serialize, Serializer, Utc};

    #[expect(clippy::ref_option, reason = "serde hands it over like that")]
    pub(crate) fn serialize<A: Serialize, S: Serializer>(
        it: &Option<(A, Utc)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        it.as_ref().map(|(what, at)| (what, at.to_nanos())).serialize(to)
    }

    pub(crate) fn deserialize<'de, A: Deserialize<'de>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(A, Utc)>, D::Error> {
        let read = Option::<(A, i64)>::deserialize(from)?;
        Ok(read.map(|(what, at)| (what, Utc::of_nanos(at))))
    }
}
