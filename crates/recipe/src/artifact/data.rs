//! The numbers of an artifact, by type.

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    F64(Vec<f64>),
    F32(Vec<f32>),
    U32(Vec<u32>),
    U16(Vec<u16>),
}

impl Data {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::F64(data) => data.len(),
            Self::F32(data) => data.len(),
            Self::U32(data) => data.len(),
            Self::U16(data) => data.len(),
        }
    }

    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::F64(_) => "f64",
            Self::F32(_) => "f32",
            Self::U32(_) => "u32",
            Self::U16(_) => "u16",
        }
    }

    /// Place of the first value that is no finite number.
    pub(super) fn not_finite(&self) -> Option<usize> {
        match self {
            Self::F64(data) => data.iter().position(|x| !x.is_finite()),
            Self::F32(data) => data.iter().position(|x| !x.is_finite()),
            Self::U32(_) | Self::U16(_) => None,
        }
    }

    pub(super) fn extend(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::F64(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Self::F32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Self::U32(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
            Self::U16(data) => bytes.extend(data.iter().flat_map(|x| x.to_le_bytes())),
        }
    }

    /// From bytes whose number is a multiple of the width.
    pub(super) fn read(word: &str, bytes: &[u8]) -> Option<Self> {
        fn of<const N: usize, T>(bytes: &[u8], make: fn([u8; N]) -> T) -> Vec<T> {
            bytes.as_chunks::<N>().0.iter().map(|word| make(*word)).collect()
        }
        Some(match word {
            "f64" => Self::F64(of(bytes, f64::from_le_bytes)),
            "f32" => Self::F32(of(bytes, f32::from_le_bytes)),
            "u32" => Self::U32(of(bytes, u32::from_le_bytes)),
            "u16" => Self::U16(of(bytes, u16::from_le_bytes)),
            _ => return None,
        })
    }
}

/// Bytes of one value.
pub(super) fn width(word: &str) -> Option<usize> {
    match word {
        "f64" => Some(8),
        "f32" | "u32" => Some(4),
        "u16" => Some(2),
        _ => None,
    }
}

/// Type of the array of a name.
pub(super) fn dtype(name: &str) -> &'static str {
    match name {
        "threshold" | "values" => "f32",
        "root" => "u32",
        "step" | "depth" | "column" | "left" | "layer" | "lags" => "u16",
        _ => "f64",
    }
}
