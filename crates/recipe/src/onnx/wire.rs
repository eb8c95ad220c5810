//! Protobuf as it lies on the wire: fields of one message, one after the other.
//!
//! The bytes are not trusted. Nothing is copied or reserved by a length that they claim, and nothing
//! nests here: a message inside a message is a slice that its reader asks for.

use super::OnnxError;

/// Fields of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'b> {
    bytes: &'b [u8],
    /// Where `bytes` begins in the file, for people.
    at: usize,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'b> {
    Varint(u64),
    /// Doubles stand in tensors only, as bytes.
    Fixed64,
    Fixed32([u8; 4]),
    Bytes(Fields<'b>),
}

impl<'b> Fields<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) const fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// As text.
    pub(super) fn text(self) -> Result<&'b str, OnnxError> {
        std::str::from_utf8(self.bytes).map_err(|_| self.damage("a name is no UTF-8 text"))
    }

    /// The next field: its number and what it holds; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'b>)>, OnnxError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let at = self.at;
                Value::Bytes(Self { bytes: self.take(length)?, at })
            }
            5 => Value::Fixed32(self.fixed()?),
            _ => return Err(self.damage("a field has a type that ONNX does not use")),
        };
        Ok(Some((key >> 3, value)))
    }

    /// The next of packed varints; `None` at the end.
    pub(super) fn next_varint(&mut self) -> Result<Option<u64>, OnnxError> {
        if self.bytes.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    /// The next of packed words of `N` bytes; `None` at the end.
    pub(super) fn next_fixed<const N: usize>(&mut self) -> Result<Option<[u8; N]>, OnnxError> {
        if self.bytes.is_empty() { Ok(None) } else { self.fixed().map(Some) }
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.fixed::<1>()?;
            // Bits beyond the 64th fall away, as in every reader of protobuf.
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damage("a number does not end"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], OnnxError> {
        let bytes = self.take(N)?;
        bytes.first_chunk::<N>().copied().ok_or_else(|| self.damage("it is cut short"))
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], OnnxError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.damage("it is cut short, or no ONNX file"));
        };
        self.bytes = rest;
        self.at += length;
        Ok(taken)
    }

    pub(super) fn damage(&self, what: &'static str) -> OnnxError {
        OnnxError::Damaged { at: self.at, what }
    }
}
