//! Reading a journal back: every record checked, damage located.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::JournalError;
use super::actions::{Note, decode_actions, digest};
use super::codec::{OwnedScan, decode_scan};
use super::format::{
    CHAIN_BYTES, Chain, JournalHead, Kind, MAGIC, PAYLOAD_BYTES_MAX, PREFIX_BYTES, SUFFIX_BYTES,
    file_number, next_chain,
};
use super::sync::JournalTip;

/// Where a journal stops being what was written, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: record {record} at byte {offset} {what}", .file.display())]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// Which record of it; 0 is the head (or the magic before it).
    pub record: u64,
    /// Where that record begins.
    pub offset: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// What is said of a whole file that an older trimloop wrote.
const OTHER_VERSION: &str =
    "is of an older journal format, which only the version of trimloop that wrote it can read";

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A file begins.
    Head(JournalHead),
    /// A scan, as it was handed to the step.
    Scan(OwnedScan),
    /// What that step answered.
    Actions {
        /// Of which scan.
        seq: u64,
        /// Digest that replay compares.
        digest: u64,
        /// The actions.
        notes: Vec<Note>,
    },
}

/// One record, checked against chain and checksum and not decoded further.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw<'a> {
    /// A file begins.
    Head(JournalHead),
    /// An encoded scan.
    Scan(&'a [u8]),
    /// Encoded actions of a scan.
    Actions {
        /// Of which scan.
        seq: u64,
        /// What [`super::encode_actions`] wrote.
        bytes: &'a [u8],
    },
}

/// An entry with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where its record begins.
    pub offset: u64,
    /// What it holds.
    pub item: Item,
}

/// Reads one file from its begin.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
    record: u64,
    chain: Chain,
    number: u64,
    /// First bytes of the file, with its version.
    magic: [u8; MAGIC.len()],
    payload: Vec<u8>,
}

impl Reader {
    /// Opens a file; nothing is checked yet.
    ///
    /// # Errors
    /// [`JournalError::Read`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path)
            .map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::with_capacity(1 << 16, file),
            offset: 0,
            record: 0,
            chain: [0; 32],
            number: 0,
            magic: MAGIC,
            payload: Vec::new(),
        })
    }

    /// The next entry; `None` at the end of a whole file.
    ///
    /// # Errors
    /// [`Damage`] at the first record that is not what was written. Reading ends there.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Damage> {
        let offset = self.offset;
        let Some(kind) = self.next_record()? else { return Ok(None) };
        if self.magic != MAGIC {
            let (file, record) = (self.path.clone(), self.record - 1);
            return Err(Damage { file, record, offset, what: OTHER_VERSION });
        }
        let item = match kind {
            Kind::Head => JournalHead::decode(&self.payload).map(|(_, _, head)| Item::Head(head)),
            Kind::Scan => decode_scan(&self.payload).map(Item::Scan),
            Kind::Actions => self.actions(),
        };
        let record = self.record - 1;
        let item = item.map_err(|malformed| Damage {
            file: self.path.clone(),
            record,
            offset,
            what: malformed.0,
        })?;
        Ok(Some(Entry { offset, item }))
    }

    fn actions(&self) -> Result<Item, super::Malformed> {
        let (seq, digest, bytes) = self.raw_actions()?;
        Ok(Item::Actions { seq, digest, notes: decode_actions(bytes)? })
    }

    fn raw_actions(&self) -> Result<(u64, u64, &[u8]), super::Malformed> {
        let mut get = super::codec::Get::new(&self.payload);
        let seq = get.varint()?;
        let stored = get.i64()?.cast_unsigned();
        let bytes = get.rest();
        if digest(bytes) != stored {
            return Err(super::Malformed("holds actions that do not fit their digest"));
        }
        Ok((seq, stored, bytes))
    }

    /// The next record, checked but not decoded; `None` at the end of a whole file.
    ///
    /// # Errors
    /// As [`Self::next_entry`].
    pub fn next_raw(&mut self) -> Result<Option<Raw<'_>>, Damage> {
        let offset = self.offset;
        let Some(kind) = self.next_record()? else { return Ok(None) };
        let record = self.record - 1;
        let raw = match kind {
            Kind::Head => JournalHead::decode(&self.payload).map(|(_, _, head)| Raw::Head(head)),
            Kind::Scan => Ok(Raw::Scan(&self.payload)),
            Kind::Actions => self.raw_actions().map(|(seq, _, bytes)| Raw::Actions { seq, bytes }),
        };
        let raw = raw.map_err(|malformed| Damage {
            file: self.path.clone(),
            record,
            offset,
            what: malformed.0,
        })?;
        Ok(Some(raw))
    }

    /// Damage found by who decodes the record that was read last: it began at `offset`.
    #[must_use]
    pub fn damage_at(&self, offset: u64, what: &'static str) -> Damage {
        Damage { file: self.path.clone(), record: self.record.saturating_sub(1), offset, what }
    }

    /// Checks the next record into `payload`; `None` at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Kind>, Damage> {
        let kind = self.checked_record().map_err(|what| self.damage(what))?;
        if let Some((_, bytes)) = kind {
            self.offset += bytes;
            self.record += 1;
        }
        Ok(kind.map(|(kind, _)| kind))
    }

    fn checked_record(&mut self) -> Result<Option<(Kind, u64)>, &'static str> {
        let mut bytes = 0;
        if self.record == 0 {
            let mut magic = [0; MAGIC.len()];
            self.fill(&mut magic)?.ok_or("is missing: the file is empty")?;
            // Whole files of an older version stay where they are, and the chain goes on from them.
            let [name @ .., version] = magic;
            let [ours @ .., newest] = MAGIC;
            if name != ours || !(1..=newest).contains(&version) {
                return Err("is not a journal of this version (wrong first bytes)");
            }
            self.magic = magic;
            bytes += MAGIC.len();
        }
        let mut prefix = [0; PREFIX_BYTES];
        if self.fill(&mut prefix)?.is_none() {
            return if self.record == 0 { Err("is missing: the file ends") } else { Ok(None) };
        }
        let [a, b, c, d, kind] = prefix;
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        let kind = Kind::from_byte(kind).ok_or("is of no known kind")?;
        if length > PAYLOAD_BYTES_MAX {
            return Err("claims an impossible length");
        }
        self.payload.resize(length, 0);
        let mut payload = std::mem::take(&mut self.payload);
        let filled = self.fill(&mut payload);
        self.payload = payload;
        if filled?.is_none() && length > 0 {
            return Err("is cut off");
        }
        let mut suffix = [0; SUFFIX_BYTES];
        self.fill(&mut suffix)?.ok_or("is cut off")?;
        let (stored_chain, stored_crc) = suffix.split_at(CHAIN_BYTES);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&prefix);
        crc.update(&self.payload);
        crc.update(stored_chain);
        if crc.finalize().to_le_bytes() != stored_crc {
            return Err("does not fit its checksum");
        }
        if (self.record == 0) != (kind == Kind::Head) {
            return Err("is out of place");
        }
        let mut before = self.chain;
        if kind == Kind::Head {
            let (number, previous, _) =
                JournalHead::decode(&self.payload).map_err(|_| "is not a head")?;
            self.number = number;
            before = previous;
        }
        let chain = next_chain(&before, &prefix, &self.payload);
        if !chain.starts_with(stored_chain) {
            return Err("does not fit the hash chain");
        }
        self.chain = chain;
        bytes += PREFIX_BYTES + length + SUFFIX_BYTES;
        Ok(Some((kind, bytes as u64)))
    }

    /// Fills `buffer`; `None` when the file ended before its first byte.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<Option<()>, &'static str> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err("is cut off"),
                Ok(n) => filled += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return Err("cannot be read from the disk"),
            }
        }
        Ok(Some(()))
    }

    fn damage(&self, what: &'static str) -> Damage {
        Damage { file: self.path.clone(), record: self.record, offset: self.offset, what }
    }

    /// End of the last good record.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Chain value after the last good record.
    pub(super) fn chain(&self) -> &Chain {
        &self.chain
    }
}

/// What [`verify`] went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files.
    pub files: u64,
    /// Records, heads included.
    pub records: u64,
    /// Scans among them.
    pub scans: u64,
    /// Bytes.
    pub bytes: u64,
    /// Number of the oldest file; retention may have removed those before it.
    pub first: u64,
}

/// Checks every record of every file in `dir`, and that the files follow one another.
///
/// # Errors
/// [`JournalError`] when the directory cannot be read.
pub fn verify(dir: &Path) -> Result<Result<Verified, Damage>, JournalError> {
    verify_with(dir, &mut |_| ())
}

/// [`verify`], with a look at the end of the chain after every record.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    dir: &Path,
    each: &mut dyn FnMut(JournalTip),
) -> Result<Result<Verified, Damage>, JournalError> {
    let mut seen = Verified::default();
    let mut last: Option<(u64, Chain)> = None;
    for (number, path) in files(dir)? {
        if last.is_none() {
            seen.first = number;
        }
        let mut reader = Reader::open(&path)?;
        loop {
            let (record, offset) = (reader.record, reader.offset);
            let at = |what| Damage { file: path.clone(), record, offset, what };
            match reader.next_record() {
                Ok(None) => break,
                Err(damage) => return Ok(Err(damage)),
                Ok(Some(Kind::Head)) => {
                    let Ok((stored, previous, _)) = JournalHead::decode(&reader.payload) else {
                        return Ok(Err(at("is not a head")));
                    };
                    if stored != number {
                        return Ok(Err(at("names another file number than its own")));
                    }
                    // The oldest kept file may follow one that retention removed.
                    if last.is_some_and(|(n, chain)| chain != previous || n + 1 != number) {
                        return Ok(Err(at("does not follow the file before it")));
                    }
                }
                Ok(Some(kind)) => seen.scans += u64::from(kind == Kind::Scan),
            }
            seen.records += 1;
            each(JournalTip { file: number, bytes: reader.offset, chain: reader.chain });
        }
        seen.files += 1;
        seen.bytes += reader.offset;
        last = Some((number, reader.chain));
    }
    Ok(Ok(seen))
}

/// The files of a journal, oldest first: those of a directory, or the one that is named.
///
/// # Errors
/// [`JournalError::Directory`] when the directory cannot be listed.
pub fn journal_files(path: &Path) -> Result<Vec<PathBuf>, JournalError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(files(path)?.into_iter().map(|(_, path)| path).collect())
}

/// All journal files of a directory with their numbers, oldest first.
///
/// # Errors
/// [`JournalError::Directory`] when the directory cannot be listed.
pub fn files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let unusable = |source| JournalError::Directory { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        if let Some(number) = entry.file_name().to_str().and_then(file_number) {
            files.push((number, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}
