//! XLSX: true dates and numbers, a frozen header, one row in memory; a new worksheet when one is
//! full.

use std::io::{self, Seek, Write};

use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::{Cell, Column, Kind, Sheet};
use crate::output::Zone;

/// Rows of a worksheet, header included: the format's own limit.
const ROWS_MAX: u32 = 1_048_576;
/// Days between Excel's day 0 and 1970.
const EPOCH_DAYS: f64 = 25_569.0;

/// An XLSX file.
pub(super) struct XlsxSheet<W> {
    out: W,
    book: Workbook,
    columns: Vec<Column>,
    formats: Vec<Option<Format>>,
    zone: Zone,
    title: String,
    /// Number of the worksheet being filled, from 1.
    sheet: usize,
    row: u32,
}

impl<W: Write + Seek + Send> XlsxSheet<W> {
    pub(super) fn new(out: W, columns: &[Column], zone: Zone, title: &str) -> io::Result<Self> {
        let format = |column: &Column| match column.kind {
            Kind::Time(0) => Some(Format::new().set_num_format("yyyy-mm-dd hh:mm:ss")),
            Kind::Time(_) => Some(Format::new().set_num_format("yyyy-mm-dd hh:mm:ss.000")),
            _ => None,
        };
        let mut sheet = Self {
            out,
            book: Workbook::new(),
            columns: columns.to_vec(),
            formats: columns.iter().map(format).collect(),
            zone,
            title: title.to_owned(),
            sheet: 0,
            row: 0,
        };
        sheet.begin().map_err(io::Error::other)?;
        Ok(sheet)
    }

    fn begin(&mut self) -> Result<(), XlsxError> {
        self.sheet += 1;
        self.row = 1;
        let name = match self.sheet {
            1 => self.title.clone(),
            n => format!("{} {n}", self.title),
        };
        let bold = Format::new().set_bold();
        let zone = match self.zone {
            Zone::Utc => "UTC",
            Zone::Local => "local",
        };
        let sheet = self.book.add_worksheet_with_constant_memory()?;
        sheet.set_name(name)?;
        sheet.set_freeze_panes(1, 0)?;
        for (place, column) in (0..).zip(&self.columns) {
            let is_time = matches!(column.kind, Kind::Time(_));
            sheet.set_column_width(place, if is_time { 24 } else { 14 })?;
            let title =
                if is_time { format!("{} [{zone}]", column.title()) } else { column.title() };
            sheet.write_string_with_format(0, place, title, &bold)?;
        }
        Ok(())
    }

    fn put(&mut self, cells: &[Cell<'_>]) -> Result<(), XlsxError> {
        if self.row >= ROWS_MAX {
            self.begin()?;
        }
        let (row, zone) = (self.row, self.zone);
        let sheet = self.book.worksheet_from_index(self.sheet - 1)?;
        for ((place, cell), format) in (0..).zip(cells).zip(&self.formats) {
            put_cell(sheet, (row, place), cell, format.as_ref(), zone)?;
        }
        self.row += 1;
        Ok(())
    }
}

fn put_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    cell: &Cell<'_>,
    format: Option<&Format>,
    zone: Zone,
) -> Result<(), XlsxError> {
    match (cell, format) {
        (Cell::Null, _) => {}
        (Cell::Time(nanos), format) => {
            let local = nanos.saturating_add(i64::from(zone.offset_secs(*nanos)) * 1_000_000_000);
            let days = local as f64 / 86_400e9 + EPOCH_DAYS;
            let plain = Format::default();
            sheet.write_number_with_format(row, column, days, format.unwrap_or(&plain))?;
        }
        (Cell::Text(text), _) => {
            sheet.write_string(row, column, text.as_ref())?;
        }
        (Cell::Bool(b), _) => {
            sheet.write_boolean(row, column, *b)?;
        }
        (cell, _) => match cell.as_f64().filter(|x| x.is_finite()) {
            Some(x) => {
                sheet.write_number(row, column, x)?;
            }
            // A worksheet has no infinity.
            None => {
                sheet.write_string(row, column, "infinite")?;
            }
        },
    }
    Ok(())
}

impl<W: Write + Seek + Send> Sheet for XlsxSheet<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        self.put(cells).map_err(io::Error::other)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.book.save_to_writer(&mut self.out).map_err(io::Error::other)?;
        self.out.flush()
    }
}
