//! Names that stay the same for the same fault.

use core::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Crockford's base 32: no I, L, O, U, so that nobody reads one for another.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 12;
/// Beyond it the key of an order would not fit the 20 characters that SAP's reference field has.
pub const GENERATIONS_MAX: u16 = 999;

/// What a fault is about. Holds no value, severity or time: those change, the fault stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subject {
    /// Site.
    pub site: String,
    /// Cell, for storms: neighbours fail together.
    pub cell: String,
    /// Asset.
    pub asset: String,
    /// Failure mode.
    pub mode: String,
    /// Component; empty for the asset as a whole.
    pub component: String,
}

/// The first 60 bits of SHA-256 over site, asset, failure mode and component.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(u64);

/// Key of an order: fingerprint and generation, `TLW-3QH7K0M2B9XE-1`; at most 20 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtKey {
    /// The fault.
    pub fingerprint: Fingerprint,
    /// Which order for it, from 1.
    pub generation: u16,
}

impl Subject {
    /// Asset, fault and component in one word: `press-4.check_ring_worn.check_ring`.
    pub fn name(&self) -> String {
        match self.component.as_str() {
            "" => format!("{}.{}", self.asset, self.mode),
            component => format!("{}.{}.{component}", self.asset, self.mode),
        }
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut sha = Sha256::new();
        for part in [&self.site, &self.asset, &self.mode, &self.component] {
            // With its length, so that "ab" + "c" is not "a" + "bc".
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part.as_bytes());
        }
        let bytes = sha.finalize();
        let first = bytes.iter().take(8).fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        Fingerprint(first >> 4)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in (0..LENGTH).rev() {
            let digit = self.0 >> (5 * place) & 31;
            let byte = DIGITS.get(usize::try_from(digit).unwrap_or(0)).copied().unwrap_or(b'0');
            write!(f, "{}", char::from(byte))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("no fingerprint: {text}")))
    }
}

impl Serialize for ExtKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ExtKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("no key of an order: {text}")))
    }
}

impl Fingerprint {
    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != LENGTH {
            return None;
        }
        let digit = |byte| DIGITS.iter().position(|known| *known == byte);
        let fold = |all: u64, byte| Some(all << 5 | digit(byte)? as u64);
        text.bytes().try_fold(0, fold).map(Self)
    }
}

impl fmt::Display for ExtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLW-{}-{}", self.fingerprint, self.generation)
    }
}

impl ExtKey {
    /// Reads what [`fmt::Display`] wrote, compared whole; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (fingerprint, generation) = text.strip_prefix("TLW-")?.split_once('-')?;
        let number: u16 = generation.parse().ok()?;
        let key = Self { fingerprint: Fingerprint::parse(fingerprint)?, generation: number };
        let whole = (1..=GENERATIONS_MAX).contains(&number) && number.to_string() == generation;
        whole.then_some(key)
    }

    /// The order after it; the last number stays the last.
    #[must_use]
    pub fn next(self) -> Self {
        Self { generation: (self.generation + 1).min(GENERATIONS_MAX), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(site: &str, asset: &str) -> Subject {
        Subject {
            site: site.into(),
            cell: "press-4".into(),
            asset: asset.into(),
            mode: "check_ring_worn".into(),
            component: "check_ring".into(),
        }
    }

    /// The bits are those of `printf` and `sha256sum` over the same bytes, computed by hand.
    #[test]
    fn a_fingerprint_is_of_the_fault_alone() {
        let one = subject("north", "press-4").fingerprint();
        let other = Subject { cell: "another".into(), ..subject("north", "press-4") };
        assert_eq!(one, other.fingerprint());
        assert_ne!(one, subject("nort", "hpress-4").fingerprint());
        assert_eq!(Fingerprint::parse(&one.to_string()), Some(one));
        assert_eq!(one.to_string().len(), 12);
    }

    #[test]
    fn keys_fit_and_are_compared_whole() {
        let fingerprint = subject("north", "press-4").fingerprint();
        let key = ExtKey { fingerprint, generation: GENERATIONS_MAX };
        assert_eq!(key.to_string().len(), 20);
        assert_eq!((ExtKey::parse(&key.to_string()), key.next()), (Some(key), key));
        for wrong in ["", "TLW-", "TLW-000000000000-0", "TLW-000000000000-01", "TLW-00000000000U-1"]
        {
            assert_eq!(ExtKey::parse(wrong), None, "{wrong}");
        }
    }
}
