//! Where secrets lie, and who we are to a product.

use std::fs;
use std::path::PathBuf;

/// Where a secret is kept; it is read anew for each request, so that a changed one needs no
/// restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file of its own, one line.
    File(PathBuf),
    /// In a credential that systemd hands over (`LoadCredential=`).
    Credential(String),
}

impl SecretPlace {
    /// The secret itself; an error never holds it.
    ///
    /// # Errors
    ///
    /// What is wrong with the place, for people.
    pub(crate) fn read(&self) -> Result<String, String> {
        let path = match self {
            Self::File(path) => path.clone(),
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    format!(
                        "the credential \"{name}\" is not there, because systemd handed none \
                         over; add `LoadCredential={name}:FILE` to the unit, or name a file"
                    )
                })?;
                PathBuf::from(folder).join(name)
            }
        };
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("the secret in {} cannot be read: {error}", path.display()))?;
        let text = text.trim_end_matches(['\r', '\n']);
        // It becomes a header: a line end in it would begin another one.
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err(format!(
                "the secret in {} is empty, or not one line of plain characters",
                path.display()
            ));
        }
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_one_line() {
        let folder = std::env::temp_dir().join(format!("trimloop-secret-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("token");
        let place = SecretPlace::File(file.clone());
        assert!(place.read().unwrap_err().contains("cannot be read"));
        for (text, expected) in [("s3cret\n", Some("s3cret")), ("", None), ("a\nb", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(place.read().ok().as_deref(), expected);
            if let Err(why) = place.read() {
                assert!(!why.contains("a\nb") && why.contains("one line"), "{why}");
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
