//! Webhooks of a product: a signed one wakes who polls, and does nothing else.
//!
//! What became of an order is always asked of the product; nothing that a webhook says is believed,
//! so a forged, repeated, late or lost one can at most make a poll come sooner or later. It is
//! signed all the same, or anybody could have the product polled at will.
//!
//! - [`Wake`]: where they are heard, and what counts as signed.
//! - [`Listener`]: who listens.

mod listener;

pub use listener::{Heard, Listener, Told};

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use trimloop_core::time::{Span, Utc};

use crate::secret::SecretPlace;
use crate::when;

/// A signature with a time holds so long before and after it (`MaintainX` and Stripe propose the
/// same).
const TOLERANCE: Span = Span::from_secs(300);

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// `t=SECONDS,v1=HEX` over `SECONDS.BODY`, in seconds or milliseconds since 1970: `MaintainX`,
    /// and many others.
    Timed,
    /// HEX, `sha256=HEX` or Base64 over the body, as GitHub has it.
    Body,
}

impl Signs {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Timed, Self::Body];

    /// Word in the settings.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timed => "timed",
            Self::Body => "body",
        }
    }

    /// What a word in the settings means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signs| signs.word() == word)
    }
}

/// Where a product's webhooks are heard, and what they are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Address and port of this machine.
    pub listen: SocketAddr,
    /// Header with the signature.
    pub header: String,
    /// What it signs.
    pub signs: Signs,
    /// The secret that the product made or was given; read anew for each webhook.
    pub secret: SecretPlace,
}

impl Wake {
    /// Header and form of a `MaintainX` webhook.
    pub const MAINTAINX: (&'static str, Signs) =
        ("x-maintainx-webhook-body-signature", Signs::Timed);

    /// Whether a webhook is signed with the secret; HMAC-SHA256 in each form.
    ///
    /// - `signature`: value of the header.
    ///
    /// # Errors
    /// Why not, for people. It never holds the secret.
    pub fn verify(&self, signature: Option<&str>, body: &[u8], now: Utc) -> Result<(), String> {
        let lacks = || format!("it has no header {}", self.header);
        let signature = signature.ok_or_else(lacks)?;
        let secret = self.secret.read()?;
        let is_good = match self.signs {
            Signs::Body => {
                let given = signature.strip_prefix("sha256=").unwrap_or(signature);
                is_mac(&secret, &[body], given)
            }
            Signs::Timed => {
                let part = |name: &str| {
                    let parts = signature.split(',').filter_map(|part| part.trim().split_once('='));
                    parts.filter(|(key, _)| *key == name).map(|(_, value)| value).collect()
                };
                let times: Vec<&str> = part("t");
                let &[time] = times.as_slice() else {
                    return Err(format!("{} is not of the form t=…,v1=…", self.header));
                };
                let at = time.parse().ok().and_then(|number: i64| when::parse(&number.into()));
                let at = at.ok_or_else(|| format!("{} has no time since 1970", self.header))?;
                if (now - at).max(at - now) > TOLERANCE {
                    return Err(format!(
                        "it was signed more than 5 min from now (t={time}): the clocks of the two \
                         machines differ, or it was sent again by somebody"
                    ));
                }
                // While a secret is changed there are two.
                let macs: Vec<&str> = part("v1");
                macs.iter().any(|mac| is_mac(&secret, &[time.as_bytes(), b".", body], mac))
            }
        };
        let wrong = || format!("the signature in {} is not made with our secret", self.header);
        is_good.then_some(()).ok_or_else(wrong)
    }
}

/// Whether a text in hex or Base64 is the HMAC of the parts; compared in constant time.
fn is_mac(secret: &str, parts: &[&[u8]], given: &str) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    for part in parts {
        mac.update(part);
    }
    let given = hex(given.trim()).or_else(|| BASE64.decode(given.trim()).ok());
    given.is_some_and(|given| mac.verify_slice(&given).is_ok())
}

/// The bytes of 64 hexadecimal digits.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: &[u8] = text.as_bytes();
    let pairs = bytes.as_chunks::<2>().0.iter();
    let pair = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if bytes.len() == 64 { pairs.map(pair).collect() } else { None }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fmt::Write as _;

    use super::*;

    const NOW: Utc = Utc::from_millis(1_795_876_876_000);

    pub(super) fn mac(secret: &str, text: &[u8]) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    }

    pub(super) fn hex_of(bytes: &[u8]) -> String {
        let mut text = String::new();
        for byte in bytes {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    }

    fn wake(signs: Signs) -> (Wake, tempfile::Secret) {
        let secret = tempfile::Secret::new("s3cret");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let place = SecretPlace::File(secret.0.clone());
        (Wake { listen, header: "x-signature".into(), signs, secret: place }, secret)
    }

    mod tempfile {
        use std::path::PathBuf;
        use std::sync::atomic::{AtomicU32, Ordering};

        static NUMBER: AtomicU32 = AtomicU32::new(0);

        pub(super) struct Secret(pub(super) PathBuf);

        impl Secret {
            pub(super) fn new(text: &str) -> Self {
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("trimloop-wake-{}-{number}", std::process::id());
                let path = std::env::temp_dir().join(name);
                std::fs::write(&path, text).unwrap();
                Self(path)
            }
        }

        impl Drop for Secret {
            fn drop(&mut self) {
                drop(std::fs::remove_file(&self.0));
            }
        }
    }

    /// Known answer of RFC 4231, test case 2, so that no mistake of ours agrees with itself.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let given = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(is_mac("Jefe", &[b"what do ya want ", b"for nothing?"], given));
        assert!(!is_mac("Jefe", &[b"what do ya want", b"for nothing?"], given));
    }

    #[test]
    fn a_body_is_signed_in_three_forms() {
        let (wake, _secret) = wake(Signs::Body);
        let good = mac("s3cret", b"{}");
        for form in [
            hex_of(&good),
            format!("sha256={}", hex_of(&good).to_uppercase()),
            BASE64.encode(&good),
        ] {
            assert_eq!(wake.verify(Some(&form), b"{}", NOW), Ok(()), "{form}");
            assert!(wake.verify(Some(&form), b"{} ", NOW).unwrap_err().contains("not made with"));
        }
        let other = hex_of(&mac("other", b"{}"));
        let short = hex_of(&good)[..40].to_owned();
        for wrong in [other.as_str(), &short, "", "sha256=", "ä", "t=1,v1=2"] {
            assert!(wake.verify(Some(wrong), b"{}", NOW).is_err(), "{wrong:?}");
        }
        assert!(wake.verify(None, b"{}", NOW).unwrap_err().contains("x-signature"));
    }

    #[test]
    fn a_timed_signature_holds_for_five_minutes() {
        let (wake, _secret) = wake(Signs::Timed);
        let signed = |time: i64, unit: i64| {
            let time = (time / unit).to_string();
            let text = [time.as_bytes(), b".", b"{}"].concat();
            format!("t={time},v1={}", hex_of(&mac("s3cret", &text)))
        };
        let now = when::millis(NOW);
        for (off, expected) in
            [(0, true), (-299_000, true), (299_000, true), (-301_000, false), (301_000, false)]
        {
            for unit in [1, 1000] {
                let found = wake.verify(Some(&signed(now + off, unit)), b"{}", NOW);
                assert_eq!(found.is_ok(), expected, "{off} {unit} {found:?}");
            }
        }
        // The time is signed too, and an old secret may stand beside the new one.
        let good = signed(now, 1000);
        let later = good.replacen("t=17", "t=18", 1);
        assert!(wake.verify(Some(&later), b"{}", NOW).is_err());
        let two = good.replace(",v1=", ",v1=00,v1=");
        assert_eq!(wake.verify(Some(&two), b"{}", NOW), Ok(()));
        for wrong in ["", "t=", "v1=00", "t=1,t=2,v1=00", "t=x,v1=00"] {
            assert!(wake.verify(Some(wrong), b"{}", NOW).is_err(), "{wrong:?}");
        }
        // No secret, no webhook.
        let none = Wake { secret: SecretPlace::File("/nowhere/at-all".into()), ..wake.clone() };
        assert!(none.verify(Some(&good), b"{}", NOW).unwrap_err().contains("cannot be read"));
    }
}
