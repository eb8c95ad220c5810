//! The registry of diagnostic codes of this crate, each with its page for `trimloop explain`.
//!
//! A code is stable and never used again for something else. By hundreds: 02 recipes, 03 PLC
//! configs, 04 authority, 05 models. Presets (08) and the service keep tables of their own.

mod authority;
mod model;
mod plc;
mod recipe;

pub use authority::*;
pub use model::*;
pub use plc::*;
pub use recipe::*;

/// A code and what there is to say about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `TL` and four digits.
    pub code: &'static str,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// An example that is wrong.
    pub wrong: &'static str,
    /// The same made right.
    pub right: &'static str,
}

/// Declares codes and the list of them.
macro_rules! codes {
    ($($name:ident = $code:literal {
        title: $title:literal, means: $means:literal, why: $why:literal,
        wrong: $wrong:literal, right: $right:literal,
    })*) => {
        $(
            #[doc = $title]
            pub static $name: Code = Code {
                code: $code, title: $title, means: $means, why: $why,
                wrong: $wrong, right: $right,
            };
        )*
        pub(super) static LIST: &[&Code] = &[$(&$name),*];
        #[cfg(test)]
        pub(super) static NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
use codes;

impl Code {
    /// The page that `trimloop explain` prints, with a final newline.
    pub fn page(&self) -> String {
        format!(
            "{}: {}\n\n{}\n{}\n\nwrong:  {}\nright:  {}\n",
            self.code, self.title, self.means, self.why, self.wrong, self.right
        )
    }
}

/// Every code of this crate, in order.
pub fn all() -> impl Iterator<Item = &'static Code> {
    [recipe::LIST, plc::LIST, authority::LIST, model::LIST].into_iter().flatten().copied()
}

/// A code by its name, such as `TL0214`.
pub fn find(code: &str) -> Option<&'static Code> {
    all().find(|known| known.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are well formed, sorted and unique.
    #[test]
    fn sorted_and_unique() {
        let codes: Vec<_> = all().map(|code| code.code).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        for code in codes {
            assert!(code.len() == 6 && code.starts_with("TL") && code[2..].parse::<u16>().is_ok());
        }
        assert_eq!(find("TL0214"), Some(&STEP_OVER_BAND));
        assert_eq!(find("TL9999"), None);
    }

    /// Every code is used somewhere outside this table.
    #[test]
    fn all_used() {
        fn read(folder: &std::path::Path, text: &mut String) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && path.file_name().unwrap() != "codes" {
                    read(&path, text);
                } else if path.extension().is_some_and(|e| e == "rs") {
                    text.push_str(&std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut text = String::new();
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        read(&here.join("src"), &mut text);
        let names = [recipe::NAMES, plc::NAMES, authority::NAMES, model::NAMES];
        for (name, code) in names.into_iter().flatten().zip(all()) {
            let used = text.contains(&format!("codes::{name}"))
                || text.contains(&format!("\"{}\"", code.code));
            assert!(used, "{name} {} is used nowhere", code.code);
        }
    }
}
