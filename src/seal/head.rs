//! One signed head as a line of text.
//!
//! ```text
//! trimloop-head/1 n=31 utc=2026-11-27T22:00:00.000Z boot=7 audit=48131:HASH ledger=1201:HASH
//!   journal=12:345678:CHAIN before=HASH key=KEY sig=SIGNATURE          (all in one line)
//! ```
//!
//! The signature is over the bytes of the line before ` sig=`; `before` is the SHA-256 of the whole
//! line before, or zeros.

use std::path::Path;

use sha2::{Digest, Sha256};
use trimloop_core::time::Utc;

use super::key::{AuditKey, is_signed, unhex};
use crate::journal::{JournalTip, hex};
use crate::output::{moment, utc_text};
use crate::store::Tip;

const WORD: &str = "trimloop-head/1";

/// How far the records went, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Counts up from 1.
    pub number: u64,
    /// When; whole milliseconds.
    pub utc: Utc,
    /// By which start.
    pub boot: u64,
    /// End of the audit trail.
    pub audit: Tip,
    /// End of the write ledger.
    pub ledger: Tip,
    /// End of the journal, as far as it was on the disk.
    pub journal: JournalTip,
    /// Hash of the head before.
    pub before: [u8; 32],
    /// Public key of the signature.
    pub key: [u8; 32],
    /// The signature.
    pub signature: [u8; 64],
}

/// Why a line is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It is written otherwise.
    #[error("is not a signed head")]
    Form,
    /// Its signature fits neither text nor key.
    #[error("does not fit its signature")]
    Signature,
    /// The one before it is gone, changed or moved.
    #[error("does not follow the line before it")]
    Order,
}

impl Head {
    fn message(&self) -> String {
        format!(
            "{WORD} n={} utc={} boot={} audit={}:{} ledger={}:{} journal={}:{}:{} before={} key={}",
            self.number,
            utc_text(self.utc),
            self.boot,
            self.audit.number,
            hex(&self.audit.hash),
            self.ledger.number,
            hex(&self.ledger.hash),
            self.journal.file,
            self.journal.bytes,
            hex(&self.journal.chain),
            hex(&self.before),
            hex(&self.key),
        )
    }

    pub(super) fn signed(mut self, key: &AuditKey) -> Self {
        // What a line does not show must not be in what it stands for.
        self.utc = Utc::from_millis(self.utc.as_nanos().div_euclid(1_000_000));
        self.signature = key.sign(self.message().as_bytes());
        self
    }

    /// The line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} sig={}", self.message(), hex(&self.signature))
    }

    /// SHA-256 of the line.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.line().as_bytes()).into()
    }

    /// Reads a line and checks its signature with the key that it names.
    ///
    /// # Errors
    /// [`LineError`] when it is no head, or not signed.
    pub fn read(line: &str) -> Result<Self, LineError> {
        let head = parse(line).ok_or(LineError::Form)?;
        // Only one way to write each: what reads as the same is the same.
        if head.line() != line {
            return Err(LineError::Form);
        }
        if !is_signed(&head.key, head.message().as_bytes(), &head.signature) {
            return Err(LineError::Signature);
        }
        Ok(head)
    }
}

fn parse(line: &str) -> Option<Head> {
    let mut words = line.split(' ');
    if words.next() != Some(WORD) {
        return None;
    }
    let mut take = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
    let number = take("n")?.parse().ok()?;
    let utc = moment(take("utc")?).ok()?;
    let boot = take("boot")?.parse().ok()?;
    let (audit, ledger) = (tip(take("audit")?)?, tip(take("ledger")?)?);
    let mut parts = take("journal")?.split(':');
    let journal = JournalTip {
        file: parts.next()?.parse().ok()?,
        bytes: parts.next()?.parse().ok()?,
        chain: unhex(parts.next()?)?,
    };
    let (before, key) = (unhex(take("before")?)?, unhex(take("key")?)?);
    let signature = unhex(take("sig")?)?;
    Some(Head { number, utc, boot, audit, ledger, journal, before, key, signature })
}

fn tip(text: &str) -> Option<Tip> {
    let (number, hash) = text.split_once(':')?;
    Some(Tip { number: number.parse().ok()?, hash: unhex(hash)? })
}

/// Heads of a file, and the length of the file without a last line that was cut off.
pub type Heads = (Vec<Head>, Option<u64>);

/// Reads a file of heads: each signed, each following the one before. A last line without its end
/// was cut off by a power cut; the second part is the length without it. A file that is not there
/// is empty.
///
/// # Errors
/// The outer one when it cannot be read; the inner one names the first line (from 1) that is wrong.
pub fn read_heads(path: &Path) -> std::io::Result<Result<Heads, (usize, LineError)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Ok((Vec::new(), None)));
        }
        Err(error) => return Err(error),
    };
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = (end < bytes.len()).then_some(end as u64);
    let whole = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    let mut heads: Vec<Head> = Vec::new();
    for (place, line) in (1..).zip(whole.lines()) {
        let head = match Head::read(line) {
            Ok(head) => head,
            Err(error) => return Ok(Err((place, error))),
        };
        let (number, before) = heads.last().map_or((0, [0; 32]), |h| (h.number, h.hash()));
        if head.number != number + 1 || head.before != before {
            return Ok(Err((place, LineError::Order)));
        }
        heads.push(head);
    }
    Ok(Ok((heads, torn)))
}
