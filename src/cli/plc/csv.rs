//! Comma-separated values (RFC 4180) with the place of every cell.
//!
//! The separator is a comma, a semicolon or a tab, whichever the first line has most of. A quoted
//! cell may hold separators, line ends and doubled quotes.

use std::ops::Range;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Without quotes and blanks around.
    pub(super) text: String,
    /// Bytes of the file, quotes included.
    pub(super) span: Range<usize>,
}

/// One line, or several where a quoted cell holds line ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// Bytes of the file, without the line end.
    pub(super) span: Range<usize>,
}

/// All rows that hold anything. `Err`: where a quote is opened and never closed.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, usize> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let separator = separator(text.get(start..).unwrap_or_default());
    let mut rows = Vec::new();
    let mut cells: Vec<Cell> = Vec::new();
    let (mut row_start, mut cell_start) = (start, start);
    let mut open: Option<usize> = None;
    let mut letters = text.char_indices().skip_while(|(at, _)| *at < start).peekable();
    while let Some((at, letter)) = letters.next() {
        match (letter, open) {
            ('"', Some(_)) => {
                // A doubled quote stays inside.
                if letters.peek().is_some_and(|(_, next)| *next == '"') {
                    letters.next();
                } else {
                    open = None;
                }
            }
            ('"', None) if text.get(cell_start..at).is_some_and(|s| s.trim().is_empty()) => {
                open = Some(at);
            }
            ('\n', None) => {
                cells.push(cell(text, cell_start..at));
                push(&mut rows, std::mem::take(&mut cells), row_start..at);
                (row_start, cell_start) = (at + 1, at + 1);
            }
            (letter, None) if letter == separator => {
                cells.push(cell(text, cell_start..at));
                cell_start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    if let Some(at) = open {
        return Err(at);
    }
    cells.push(cell(text, cell_start..text.len()));
    push(&mut rows, cells, row_start..text.len());
    Ok(rows)
}

fn push(rows: &mut Vec<Row>, cells: Vec<Cell>, span: Range<usize>) {
    if cells.iter().any(|cell| !cell.text.is_empty()) {
        rows.push(Row { cells, span });
    }
}

fn cell(text: &str, span: Range<usize>) -> Cell {
    let raw = text.get(span.clone()).unwrap_or_default();
    let body = raw.trim();
    let start = span.start + (raw.len() - raw.trim_start().len());
    let span = start..start + body.len();
    let inner = body.strip_prefix('"').and_then(|body| body.strip_suffix('"'));
    let text = inner.map_or_else(|| body.to_owned(), |inner| inner.replace("\"\"", "\""));
    Cell { text: text.trim().to_owned(), span }
}

fn separator(text: &str) -> char {
    let line = text.lines().next().unwrap_or_default();
    let count = |separator: char| line.matches(separator).count();
    [',', ';', '\t'].into_iter().max_by_key(|s| (count(*s), *s == ',')).unwrap_or(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<String>> {
        let rows = rows(text).expect("all quotes are closed");
        rows.into_iter().map(|row| row.cells.into_iter().map(|cell| cell.text).collect()).collect()
    }

    /// Separators, quotes, line ends and the byte order mark are taken as spreadsheets write them.
    #[test]
    fn cells_are_told_apart() {
        for (text, expect) in [
            ("a,b\r\n1,2\r\n", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a;b,c;d\n1;2,5;3", vec![vec!["a", "b,c", "d"], vec!["1", "2,5", "3"]]),
            ("a\tb\n\n \t \n1\t2", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("\u{feff}a,\"b \"\"x\"\", y\"\n", vec![vec!["a", "b \"x\", y"]]),
            ("a,b\n\"1\n2\",3\n", vec![vec!["a", "b"], vec!["1\n2", "3"]]),
            ("a,5\" pipe\n", vec![vec!["a", "5\" pipe"]]),
            ("", vec![]),
        ] {
            assert_eq!(texts(text), expect, "{text:?}");
        }
        assert_eq!(rows("a,b\n\"1,2\n"), Err(4));
    }

    /// The place of a cell is where it stands in the file.
    #[test]
    fn places_are_those_of_the_file() {
        let text = "\u{feff}name, id\nä, \"x,y\" \n";
        for row in rows(text).expect("closed") {
            for cell in row.cells {
                let there = text.get(cell.span.clone()).expect("inside");
                assert_eq!(there.trim_matches('"'), cell.text);
            }
        }
    }
}
