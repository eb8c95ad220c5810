//! How labels are written, where a number is not all there is to them.
//!
//! The rule, column by column: a column whose cells are all numbers is one of numbers, and `1`,
//! `1.0`, `1,0` and `true` are the same label, `1`. Where a cell is a text, or digits that a number
//! would not keep (`01`, `+1`, more than 15 digits), every cell of the column stays as it is written.

use std::collections::HashMap;

/// Most different spellings of a column that are kept; more are no labels.
const SPELLINGS_MAX: usize = 256;
/// Digits that a number holds for sure.
const DIGITS_MAX: usize = 15;

/// Whether a number is written as it would be printed. Only sure cases: what is not may be plain too.
pub(super) fn is_plain(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').map_or((digits, None), |(a, b)| (a, Some(b)));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = all(whole) && (whole == "0" || !whole.starts_with('0')) && text != "-0";
    let is_part = part.is_none_or(|part| all(part) && !part.ends_with('0') && part.len() <= 4);
    is_whole && is_part && digits.len() <= DIGITS_MAX
}

/// Whether a text that reads as a number is rather a name.
pub(crate) fn is_name(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    let zeros = all && digits.len() > 1 && digits.starts_with('0');
    zeros || text.starts_with('+') || (all && digits.len() > DIGITS_MAX)
}

/// Cells of a column that are not written as their number is printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Spelling {
    levels: Vec<String>,
    known: HashMap<String, u16>,
    /// Row and place in `levels`, in the order of rows.
    rows: Vec<(u32, u16)>,
    /// There were too many.
    many: bool,
}

impl Spelling {
    pub(super) fn note(&mut self, row: usize, text: &str) {
        let Ok(row) = u32::try_from(row) else { return };
        if self.many {
            return;
        }
        let code = match self.known.get(text) {
            Some(code) => *code,
            None if self.levels.len() >= SPELLINGS_MAX => {
                *self = Self { many: true, ..Self::default() };
                return;
            }
            None => {
                let code = u16::try_from(self.levels.len()).unwrap_or(u16::MAX);
                self.known.insert(text.to_owned(), code);
                self.levels.push(text.to_owned());
                code
            }
        };
        self.rows.push((row, code));
    }

    /// Whether a cell is a name.
    pub(super) fn has_name(&self) -> bool {
        self.levels.iter().any(|text| is_name(text))
    }

    /// How a row is written, where that is not as its number is.
    pub(super) fn of(&self, row: usize) -> Option<&str> {
        let row = u32::try_from(row).ok()?;
        let at = self.rows.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        let (_, code) = self.rows.get(at)?;
        self.levels.get(usize::from(*code)).map(String::as_str)
    }

    /// Puts noted cells in the order of rows.
    pub(super) fn sort(&mut self) {
        self.rows.sort_by_key(|(row, _)| *row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::number_text;

    /// What is called plain is printed as it is written; names are told from numbers.
    #[test]
    fn spellings() {
        for text in ["0", "7", "-12", "0.5", "10.25", "123456789012345", "-0.001"] {
            assert!(is_plain(text), "{text}");
            assert_eq!(number_text(text.parse().unwrap()), text);
        }
        for text in ["01", "1.0", "1.", ".5", "1e3", "+1", "-0", "", "-", "1,5", "true", "0.00001"]
        {
            assert!(!is_plain(text), "{text}");
        }
        for (text, name) in [
            ("01", true),
            ("-007", true),
            ("+1", true),
            ("True", false),
            ("1234567890123456", true),
            ("0", false),
            ("00.50", false),
            ("1.0", false),
            ("1e3", false),
            ("12,5", false),
        ] {
            assert_eq!(is_name(text), name, "{text}");
        }
    }

    /// Two hundred and fifty-six spellings are kept, one more and none is.
    #[test]
    fn spellings_end() {
        let mut spelling = Spelling::default();
        for row in 0..2 * SPELLINGS_MAX {
            spelling.note(row, &format!("0{}", row % SPELLINGS_MAX));
        }
        assert_eq!((spelling.of(300), spelling.of(600)), (Some("044"), None));
        spelling.note(900, "x");
        assert_eq!((spelling.of(300), spelling.has_name()), (None, false));
    }
}
