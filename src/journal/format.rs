//! Layout of journal files: names, magic, head record, chain.

use sha2::{Digest, Sha256};

use trimloop_core::time::Utc;

use super::codec::{Get, Malformed, put_i64, put_varint};

/// Size at which a file is closed and the next begun.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// First 16 bytes of every file; the last two are the format's version.
///
/// 1 held one PLC link in each scan, 2 holds a list of them and names the PLC of writes, life signs
/// and events. The chain is the same in all of them, so a journal goes on across an update; what an
/// older file holds is read by the trimloop that wrote it.
pub(super) const MAGIC: [u8; 16] = *b"trimloop-journ\x00\x02";
/// Largest payload. A scan of `CHANGES_MAX` samples takes at most 4 MiB.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Length and kind.
pub(super) const PREFIX_BYTES: usize = 5;
/// Bytes of the chain value kept in each record.
pub(super) const CHAIN_BYTES: usize = 16;
/// Chain and crc32.
pub(super) const SUFFIX_BYTES: usize = CHAIN_BYTES + 4;

/// A full chain value.
pub(super) type Chain = [u8; 32];

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Head = 1,
    Scan = 2,
    Actions = 3,
}

impl Kind {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Head, Self::Scan, Self::Actions].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Under what the scans of a file were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalHead {
    /// Recipe name.
    pub recipe: String,
    /// Recipe revision.
    pub revision: u32,
    /// Hash of the plan.
    pub plan_hash: [u8; 32],
    /// Name of this computer or service.
    pub node: String,
    /// Number of this start; grows by one.
    pub boot: u64,
    /// When the service started.
    pub utc: Utc,
}

impl JournalHead {
    /// Payload of the head record of file `number`.
    pub(super) fn encode(&self, number: u64, previous: &Chain, out: &mut Vec<u8>) {
        put_varint(out, number);
        out.extend_from_slice(previous);
        put_text(out, &self.recipe);
        put_varint(out, u64::from(self.revision));
        out.extend_from_slice(&self.plan_hash);
        put_text(out, &self.node);
        put_varint(out, self.boot);
        put_i64(out, self.utc.as_nanos());
    }

    /// Number of the file, last chain value of the file before it, and the head.
    pub(super) fn decode(bytes: &[u8]) -> Result<(u64, Chain, Self), Malformed> {
        let mut get = Get::new(bytes);
        let number = get.varint()?;
        let previous = get_hash(&mut get)?;
        let head = Self {
            recipe: get_text(&mut get)?,
            revision: get.u32()?,
            plan_hash: get_hash(&mut get)?,
            node: get_text(&mut get)?,
            boot: get.varint()?,
            utc: Utc::from_nanos(get.i64()?),
        };
        get.end()?;
        Ok((number, previous, head))
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn get_text(get: &mut Get<'_>) -> Result<String, Malformed> {
    let length = get.count(1)?;
    let text = std::str::from_utf8(get.bytes(length)?).map_err(|_| Malformed("text"))?;
    Ok(text.to_owned())
}

fn get_hash(get: &mut Get<'_>) -> Result<Chain, Malformed> {
    get.bytes(32)?.try_into().map_err(|_| Malformed("hash"))
}

/// The next chain value.
pub(super) fn next_chain(chain: &Chain, prefix: &[u8; PREFIX_BYTES], payload: &[u8]) -> Chain {
    let mut hash = Sha256::new();
    hash.update(chain);
    hash.update(prefix);
    hash.update(payload);
    hash.finalize().into()
}

/// Length and kind as stored.
pub(super) fn prefix(kind: Kind, payload_bytes: usize) -> Option<[u8; PREFIX_BYTES]> {
    let [a, b, c, d] = u32::try_from(payload_bytes).ok()?.to_le_bytes();
    (payload_bytes <= PAYLOAD_BYTES_MAX).then_some([a, b, c, d, kind as u8])
}

/// Name of file `number`.
pub(super) fn file_name(number: u64) -> String {
    format!("journal-{number:08}.tlj")
}

/// Number in a file name; `None` for any other file.
pub(super) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".tlj")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}
