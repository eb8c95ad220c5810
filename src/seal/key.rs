//! The key that signs heads: Ed25519, made at the first start.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::journal::hex;

/// First word of the private file.
const PRIVATE: &str = "trimloop-ed25519-private";
/// First word of the public file.
const PUBLIC: &str = "trimloop-ed25519-public";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It could not be read or made.
    #[error("cannot use the key {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the key {} may be read by others (mode {mode:o}); only its owner may", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} is not an Ed25519 key of trimloop", .path.display())]
    NotAKey {
        /// Which.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("no random numbers are to be had")]
    Random(#[source] getrandom::Error),
}

/// The private key.
pub struct AuditKey(SigningKey);

impl AuditKey {
    /// Opens `DATA/keys/audit.key`, or makes it with its public half beside it; the flag: it is
    /// new.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be used, or others may read it.
    pub fn open(data: &Path) -> Result<(Self, bool), KeyError> {
        let folder = data.join("keys");
        let path = folder.join("audit.key");
        let failed = |source| KeyError::File { path: path.clone(), source };
        match std::fs::metadata(&path) {
            Ok(found) => {
                let mode = found.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::Open { path, mode });
                }
                let text = std::fs::read_to_string(&path).map_err(failed)?;
                let seed = bytes_of(&text, PRIVATE).ok_or(KeyError::NotAKey { path })?;
                Ok((Self(SigningKey::from_bytes(&seed)), false))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::make(&folder, &path).map(|key| (key, true))
            }
            Err(source) => Err(failed(source)),
        }
    }

    fn make(folder: &Path, path: &Path) -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(KeyError::Random)?;
        let key = Self(SigningKey::from_bytes(&seed));
        let failed = |source| KeyError::File { path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        put(&folder.join("audit.pub"), 0o644, &public_text(&key.public())).map_err(failed)?;
        put(path, 0o600, &format!("{PRIVATE} {}\n", hex(&seed))).map_err(failed)?;
        Ok(key)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

fn put(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn public_text(key: &[u8; 32]) -> String {
    format!("{PUBLIC} {}\n", hex(key))
}

/// Whether `signature` is that of `key` over `message`.
pub(super) fn is_signed(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// The public key beside the private one.
///
/// # Errors
/// [`KeyError`] when there is none.
pub fn public_key(data: &Path) -> Result<[u8; 32], KeyError> {
    let path = data.join("keys").join("audit.pub");
    let text = std::fs::read_to_string(&path)
        .map_err(|source| KeyError::File { path: path.clone(), source })?;
    key_from_text(&text).ok_or(KeyError::NotAKey { path })
}

/// A public key as `trimloop audit key` prints it, or its 64 digits alone.
#[must_use]
pub fn key_from_text(text: &str) -> Option<[u8; 32]> {
    bytes_of(text, PUBLIC).or_else(|| unhex(text.trim()))
}

/// First 16 digits of the SHA-256 of a key: enough to tell two keys apart by eye.
#[must_use]
pub fn fingerprint(key: &[u8; 32]) -> String {
    hex(Sha256::digest(key).get(..8).unwrap_or_default())
}

fn bytes_of(text: &str, word: &str) -> Option<[u8; 32]> {
    let (first, rest) = text.trim().split_once(' ')?;
    if first == word { unhex(rest.trim()) } else { None }
}

/// Exactly `N` bytes of hexadecimal digits.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| {
            let digit = pair.get(at).copied().filter(|d| !d.is_ascii_uppercase())?;
            char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(bytes)
}
