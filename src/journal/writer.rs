//! Appending to the journal, and putting the last file in order at a start.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use trimloop_core::scan::{Action, Scan};

use super::JournalError;
use super::actions::{digest, encode_actions};
use super::codec::{encode_scan, put_i64, put_varint};
use super::format::{
    CHAIN_BYTES, Chain, FILE_BYTES_MAX, JournalHead, Kind, MAGIC, PAYLOAD_BYTES_MAX, PREFIX_BYTES,
    file_name, next_chain, prefix,
};
use super::reader::{Damage, Reader, files};
use super::sync::{JournalTip, Shared, Syncer, Tips};

/// Reserved for records, so that scans of usual size never allocate.
const BUFFER_BYTES: usize = 256 * 1024;

/// A damaged tail that was found at the start and set aside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal was damaged ({damage}); {bytes} bytes from there on were moved to {}, and the journal goes on from its last good record", .kept.display())]
pub struct SetAside {
    /// What was found.
    pub damage: Damage,
    /// How much was set aside.
    pub bytes: u64,
    /// Where it is kept.
    pub kept: PathBuf,
}

/// Writes the journal; owned by the scan thread.
#[derive(Debug)]
pub struct JournalWriter {
    dir: PathBuf,
    head: JournalHead,
    path: PathBuf,
    file: Arc<File>,
    number: u64,
    bytes: u64,
    bytes_max: u64,
    chain: Chain,
    buffer: Vec<u8>,
    body: Vec<u8>,
    set_aside: Option<SetAside>,
    shared: Arc<Shared>,
    // Dropped in this order: the last sync, then the lock.
    _syncer: Syncer,
    _lock: File,
}

impl JournalWriter {
    /// Puts the newest file of `dir` in order and begins the next one, whose head names the last
    /// chain value of the one before.
    ///
    /// # Errors
    /// [`JournalError`] when the directory cannot be used or another process writes it.
    pub fn open(dir: &Path, head: &JournalHead) -> Result<Self, JournalError> {
        Self::open_sized(dir, head, FILE_BYTES_MAX)
    }

    /// [`Self::open`] with another size at which files are rotated.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_sized(
        dir: &Path,
        head: &JournalHead,
        bytes_max: u64,
    ) -> Result<Self, JournalError> {
        std::fs::create_dir_all(dir)
            .map_err(|source| JournalError::Directory { path: dir.to_owned(), source })?;
        let lock = lock(dir)?;
        let (last, set_aside) = recover(dir)?;
        let (number, previous) = last.map_or((1, [0; 32]), |(number, chain)| (number + 1, chain));
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let (path, file, bytes, chain) = begin_file(dir, head, number, &previous, &mut buffer)?;
        let shared = Arc::new(Shared::default());
        let file = Arc::new(file);
        shared.rotate(Arc::clone(&file), dir);
        shared.appended(JournalTip { file: number, bytes, chain });
        Ok(Self {
            dir: dir.to_owned(),
            head: head.clone(),
            path,
            file,
            number,
            bytes,
            bytes_max,
            chain,
            buffer,
            body: Vec::with_capacity(BUFFER_BYTES),
            set_aside,
            _syncer: Syncer::start(Arc::clone(&shared))?,
            shared,
            _lock: lock,
        })
    }

    /// The damaged tail that was found at the start, if any; tell people.
    pub fn set_aside(&self) -> Option<&SetAside> {
        self.set_aside.as_ref()
    }

    /// Appends a scan; call before it is used. When this returns, killing the process does not
    /// lose it.
    ///
    /// # Errors
    /// [`JournalError`]; after the first one the journal is poisoned.
    pub fn append_scan(&mut self, scan: &Scan<'_>) -> Result<(), JournalError> {
        self.body.clear();
        encode_scan(scan, &mut self.body);
        self.append(Kind::Scan)
    }

    /// Appends what the step answered to scan `seq`: digest and compact encoding.
    ///
    /// # Errors
    /// As [`Self::append_scan`].
    pub fn append_actions(&mut self, seq: u64, actions: &[Action]) -> Result<(), JournalError> {
        self.body.clear();
        self.buffer.clear();
        encode_actions(actions, &mut self.buffer);
        put_varint(&mut self.body, seq);
        put_i64(&mut self.body, digest(&self.buffer).cast_signed());
        self.body.extend_from_slice(&self.buffer);
        self.append(Kind::Actions)
    }

    /// Where others see how far it is on the disk.
    pub fn tips(&self) -> Tips {
        Tips(Arc::clone(&self.shared))
    }

    /// Whether an append or a sync failed: then nothing may be written to the PLC.
    pub fn poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Acquire)
    }

    /// Waits until everything appended is on the disk. Not for the scan thread's steady state.
    ///
    /// # Errors
    /// [`JournalError::Poisoned`] when the disk refused.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.shared.sync();
        if self.poisoned() { Err(JournalError::Poisoned) } else { Ok(()) }
    }

    fn append(&mut self, kind: Kind) -> Result<(), JournalError> {
        if self.poisoned() {
            return Err(JournalError::Poisoned);
        }
        let result = self.append_or_fail(kind);
        if result.is_err() {
            self.shared.poisoned.store(true, Ordering::Release);
        }
        result
    }

    fn append_or_fail(&mut self, kind: Kind) -> Result<(), JournalError> {
        if self.bytes + (self.body.len() as u64) > self.bytes_max {
            self.rotate()?;
        }
        self.buffer.clear();
        self.chain = frame(kind, &self.body, &self.chain, &mut self.buffer)?;
        (&*self.file)
            .write_all(&self.buffer)
            .map_err(|source| JournalError::Append { path: self.path.clone(), source })?;
        self.bytes += self.buffer.len() as u64;
        let (file, bytes, chain) = (self.number, self.bytes, self.chain);
        self.shared.appended(JournalTip { file, bytes, chain });
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        self.number += 1;
        let (path, file, bytes, chain) =
            begin_file(&self.dir, &self.head, self.number, &self.chain, &mut self.buffer)?;
        (self.path, self.file, self.bytes, self.chain) = (path, Arc::new(file), bytes, chain);
        self.shared.rotate(Arc::clone(&self.file), &self.dir);
        Ok(())
    }
}

/// Builds one record in `out`; returns the chain value after it.
fn frame(
    kind: Kind,
    payload: &[u8],
    chain: &Chain,
    out: &mut Vec<u8>,
) -> Result<Chain, JournalError> {
    let prefix: [u8; PREFIX_BYTES] = prefix(kind, payload.len())
        .ok_or(JournalError::TooLarge { bytes: payload.len(), max: PAYLOAD_BYTES_MAX })?;
    let chain = next_chain(chain, &prefix, payload);
    let begin = out.len();
    out.extend_from_slice(&prefix);
    out.extend_from_slice(payload);
    out.extend_from_slice(chain.first_chunk::<CHAIN_BYTES>().unwrap_or(&[0; CHAIN_BYTES]));
    let crc = crc32fast::hash(out.get(begin..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(chain)
}

/// Makes file `number` with magic and head.
fn begin_file(
    dir: &Path,
    head: &JournalHead,
    number: u64,
    previous: &Chain,
    buffer: &mut Vec<u8>,
) -> Result<(PathBuf, File, u64, Chain), JournalError> {
    let path = dir.join(file_name(number));
    let mut payload = Vec::with_capacity(256);
    head.encode(number, previous, &mut payload);
    buffer.clear();
    buffer.extend_from_slice(&MAGIC);
    let chain = frame(Kind::Head, &payload, previous, buffer)?;
    let failed = |source| JournalError::Prepare { path: path.clone(), source };
    let mut file = OpenOptions::new().append(true).create_new(true).open(&path).map_err(failed)?;
    file.write_all(buffer).map_err(failed)?;
    Ok((path, file, buffer.len() as u64, chain))
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| JournalError::Prepare { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(JournalError::InUse { path: dir.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(JournalError::Prepare { path, source }),
    }
}

type Last = Option<(u64, Chain)>;

/// Checks the newest file and sets its damaged tail aside. A file whose head is damaged is set
/// aside whole, and the one before it is looked at.
fn recover(dir: &Path) -> Result<(Last, Option<SetAside>), JournalError> {
    let mut first_aside = None;
    for (number, path) in files(dir)?.into_iter().rev() {
        let mut reader = Reader::open(&path)?;
        let mut records = 0_u64;
        let damage = loop {
            match reader.next_record() {
                Ok(Some(_)) => records += 1,
                Ok(None) => break None,
                Err(damage) => break Some(damage),
            }
        };
        let (end, chain) = (reader.offset(), *reader.chain());
        drop(reader);
        if let Some(damage) = damage {
            let aside = cut_tail(&path, end, damage)?;
            tracing::warn!("{aside}.");
            first_aside.get_or_insert(aside);
        }
        if records > 0 {
            return Ok((Some((number, chain)), first_aside));
        }
    }
    Ok((None, first_aside))
}

/// Copies what follows `end` beside the file and cuts it off; an empty rest is removed.
fn cut_tail(path: &Path, end: u64, damage: Damage) -> Result<SetAside, JournalError> {
    let failed = |source| JournalError::Prepare { path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len().saturating_sub(end);
    file.seek(SeekFrom::Start(end)).map_err(failed)?;
    let (kept, mut copy) = new_aside(path)?;
    std::io::copy(&mut (&mut file).take(bytes), &mut copy).map_err(failed)?;
    copy.sync_all().map_err(failed)?;
    if end == 0 {
        std::fs::remove_file(path).map_err(failed)?;
    } else {
        file.set_len(end).map_err(failed)?;
        file.sync_all().map_err(failed)?;
    }
    Ok(SetAside { damage, bytes, kept })
}

/// The first free name `FILE.damaged-N`.
fn new_aside(path: &Path) -> Result<(PathBuf, File), JournalError> {
    let mut n = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        let name = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Ok(file) => return Ok((name, file)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
            Err(source) => return Err(JournalError::Prepare { path: name, source }),
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
