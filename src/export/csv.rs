//! CSV as RFC 4180 has it, with LF at line ends: UTF-8, a header, commas, a dot in numbers.

use std::io::{self, Write};

use super::{Cell, Column, Kind, Sheet, number_text};
use crate::output::Zone;

/// A CSV file or stream.
pub struct CsvSheet<W> {
    out: W,
    kinds: Vec<Kind>,
    zone: Zone,
    line: String,
}

impl<W: Write> CsvSheet<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W, columns: &[Column], zone: Zone) -> io::Result<Self> {
        let titles: Vec<String> = columns.iter().map(|column| quoted(&column.title())).collect();
        writeln!(out, "{}", titles.join(","))?;
        let kinds = columns.iter().map(|column| column.kind).collect();
        Ok(Self { out, kinds, zone, line: String::new() })
    }
}

impl<W: Write> Sheet for CsvSheet<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.line.clear();
        for (place, (cell, kind)) in cells.iter().zip(&self.kinds).enumerate() {
            if place > 0 {
                self.line.push(',');
            }
            self.line.push_str(&quoted(&cell_text(cell, *kind, self.zone)));
        }
        self.line.push('\n');
        self.out.write_all(self.line.as_bytes())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.out.flush()
    }
}

/// A cell as text; nothing is empty.
#[must_use]
pub fn cell_text(cell: &Cell<'_>, kind: Kind, zone: Zone) -> String {
    match (cell, kind) {
        (Cell::Null, _) => String::new(),
        (Cell::Time(nanos), Kind::Time(digits)) => zone.text(*nanos, digits),
        (Cell::Time(nanos), _) => zone.text(*nanos, 9),
        (Cell::Int(i), _) => i.to_string(),
        (Cell::Float(x), _) => number_text(*x),
        (Cell::Text(text), _) => text.to_string(),
        (Cell::Bool(b), _) => b.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let special = text.contains(['"', ',', '\n', '\r']) || text != text.trim();
    if special { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes, commas, line ends and outer spaces are quoted; numbers read back exactly.
    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let columns = [
            Column::new("time", Kind::Time(9)),
            Column::of_unit("p, \"hold\"", "bar", Kind::Number),
            Column::new("why", Kind::Text),
        ];
        let mut bytes = Vec::new();
        let mut sheet = Box::new(CsvSheet::new(&mut bytes, &columns, Zone::Utc).unwrap());
        for (value, why) in [
            (Cell::Float(0.1 + 0.2), "plain"),
            (Cell::Int(i64::MAX), "a \"b\", c\nd"),
            (Cell::Null, " outer"),
            (Cell::Float(-1e-300), ""),
        ] {
            sheet.row(&[Cell::Time(1), value, Cell::Text(why.into())]).unwrap();
        }
        sheet.finish().unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "time,\"p, \"\"hold\"\" [bar]\",why\n\
             1970-01-01T00:00:00.000000001Z,0.30000000000000004,plain\n\
             1970-01-01T00:00:00.000000001Z,9223372036854775807,\"a \"\"b\"\", c\nd\"\n\
             1970-01-01T00:00:00.000000001Z,,\" outer\"\n\
             1970-01-01T00:00:00.000000001Z,-1e-300,\n"
        );
    }
}
