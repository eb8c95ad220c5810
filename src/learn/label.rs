//! Labels of rows: a column, or the name of the file that the row is from.

use regex::Regex;

use super::{Frame, LearnError};
use crate::export::number_text;

/// Most classes of one model.
const CLASSES_MAX: usize = 256;

/// Class of files whose names say no other: those of normal operation.
pub(super) const NO_CAUSE: &str = "none";

/// Classes with the class of each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Names: numbers first in their order, then texts in theirs. Where all labels of a column are
    /// numbers, they stand without needless decimals, else as they are written.
    pub classes: Vec<String>,
    /// `[rows]` place in `classes`; `None` where a row has no label.
    pub of_row: Vec<Option<usize>>,
}

/// Labels by a column or, with `from_file`, by the first group of a pattern over file names.
///
/// # Errors
/// No such column, a file that the pattern does not fit, fewer than two classes, or too many.
pub fn labels(
    frame: &Frame,
    column: Option<&str>,
    from_file: Option<&str>,
) -> Result<Labels, LearnError> {
    let texts = match (column, from_file) {
        (Some(name), None) => {
            let column = frame.need(name)?;
            (0..frame.rows()).map(|row| column.written(row)).collect()
        }
        (None, Some(pattern)) => of_files(frame, pattern)?,
        (Some(_), Some(_)) => {
            let why = "labels come from a column or from file names, not from both";
            return Err(LearnError::Option(why.to_owned()));
        }
        (None, None) => {
            let why = "what is to be told apart is not said: --label COLUMN, or --label-from-file \
                       PATTERN";
            return Err(LearnError::Option(why.to_owned()));
        }
    };
    let of = column.map_or_else(|| "the file names".to_owned(), |name| format!("column {name}"));
    classes(&texts, &of)
}

fn of_files(frame: &Frame, pattern: &str) -> Result<Vec<Option<String>>, LearnError> {
    let regex = Regex::new(pattern)
        .map_err(|error| LearnError::Option(format!("\"{pattern}\" is no pattern: {error}")))?;
    if regex.captures_len() < 2 {
        let why =
            format!("\"{pattern}\" has no group: write the label in brackets, such as (\\d+)");
        return Err(LearnError::Option(why));
    }
    let mut texts = vec![None; frame.rows()];
    let mut fits = 0;
    for (path, rows) in frame.files() {
        // Of the name alone: what a folder is called says nothing of the file.
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let found = regex.captures(&name).and_then(|captures| captures.get(1));
        fits += usize::from(found.is_some());
        let label = found.map_or(NO_CAUSE, |found| found.as_str());
        let number = label.parse::<f64>().ok().filter(|x| x.is_finite());
        let label = number.map_or_else(|| label.to_owned(), number_text);
        for slot in texts.get_mut(rows.clone()).unwrap_or_default() {
            *slot = Some(label.clone());
        }
    }
    if fits == 0 {
        let why = format!("the pattern \"{pattern}\" fits the name of none of the files");
        return Err(LearnError::Label(why));
    }
    Ok(texts)
}

fn classes(texts: &[Option<String>], of: &str) -> Result<Labels, LearnError> {
    let mut classes: Vec<String> = texts.iter().flatten().cloned().collect();
    classes.sort_by(|a, b| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) => x.total_cmp(&y).then_with(|| a.cmp(b)),
        (Ok(_), Err(_)) => std::cmp::Ordering::Less,
        (Err(_), Ok(_)) => std::cmp::Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    });
    classes.dedup();
    match classes.as_slice() {
        [] => return Err(LearnError::Label(format!("{of}: no row has a label"))),
        [one] => {
            let why = format!("{of}: every label is {one}; two classes at least must be there");
            return Err(LearnError::Label(why));
        }
        many if many.len() > CLASSES_MAX => {
            let why = format!(
                "{of}: {} different labels, at most {CLASSES_MAX} can be told apart; a measured \
                 number is learnt with --kind regression",
                many.len()
            );
            return Err(LearnError::Label(why));
        }
        _ => {}
    }
    let place = |text: &String| classes.iter().position(|class| class == text);
    let of_row = texts.iter().map(|text| text.as_ref().and_then(place)).collect();
    Ok(Labels { classes, of_row })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|t| (!t.is_empty()).then(|| (*t).to_owned())).collect()
    }

    /// Numbers come in their order, texts behind them, a row without a label has none.
    #[test]
    fn classes_are_in_order() {
        let found = classes(&some(&["10", "2", "", "ok", "2"]), "x").unwrap();
        assert_eq!(found.classes, ["2", "10", "ok"]);
        assert_eq!(found.of_row, [Some(1), Some(0), None, Some(2), Some(0)]);
        let found = classes(&some(&["1", "01", "1", "01"]), "x").unwrap();
        assert_eq!((found.classes, found.of_row[2]), (vec!["01".into(), "1".into()], Some(1)));
        for (texts, part) in [(&["", ""][..], "no row"), (&["1", "1", ""], "every label is 1")] {
            assert!(classes(&some(texts), "x").unwrap_err().to_string().contains(part));
        }
        let many: Vec<Option<String>> = (0..300).map(|x| Some(x.to_string())).collect();
        assert!(classes(&many, "x").unwrap_err().to_string().contains("regression"));
    }
}
