//! Parquet files, row by row.

use std::fs::File;
use std::path::Path;

use chrono::DateTime;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};

use super::table::{Source, Table};
use crate::export::number_text;
use crate::learn::{FrameBuilder, LearnError};
use crate::output::Zone;

pub(super) fn read(path: &Path, builder: &mut FrameBuilder) -> Result<(), LearnError> {
    let wrong = |what: String| LearnError::File { path: path.to_owned(), what };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let reader = SerializedFileReader::new(file).map_err(|error| wrong(error.to_string()))?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let titles = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let nanos = schema.columns().iter().map(|column| {
        matches!(column.logical_type_ref(),
            Some(LogicalType::Timestamp(kind)) if kind.unit == TimeUnit::NANOS)
    });
    let source =
        Rows { titles: Some(titles), nanos: nanos.collect(), rows: reader.into_iter(), line: 0 };
    Table { path, source, decimal_comma: false }.read(builder)
}

struct Rows {
    titles: Option<Vec<String>>,
    /// Columns whose whole numbers are nanoseconds since 1970.
    nanos: Vec<bool>,
    rows: RowIter<'static>,
    line: u64,
}

impl Source for Rows {
    fn next(&mut self, cells: &mut Vec<String>) -> Result<Option<u64>, String> {
        self.line += 1;
        if let Some(titles) = self.titles.take() {
            *cells = titles;
            return Ok(Some(self.line));
        }
        let Some(row) = self.rows.next() else { return Ok(None) };
        let row: Row = row.map_err(|error| error.to_string())?;
        cells.clear();
        for ((_, field), nanos) in row.get_column_iter().zip(&self.nanos) {
            cells.push(text(field, *nanos)?);
        }
        Ok(Some(self.line))
    }
}

fn text(field: &Field, nanos: bool) -> Result<String, String> {
    let utc = |time: Option<DateTime<chrono::Utc>>| {
        time.and_then(|time| time.timestamp_nanos_opt())
            .map(|nanos| Zone::Utc.text(nanos, 9))
            .ok_or_else(|| "a time is out of range".to_owned())
    };
    Ok(match field {
        Field::Null => String::new(),
        Field::Bool(x) => x.to_string(),
        Field::Str(text) => text.clone(),
        Field::Long(x) if nanos => Zone::Utc.text(*x, 9),
        Field::TimestampMillis(x) => utc(DateTime::from_timestamp_millis(*x))?,
        Field::TimestampMicros(x) => utc(DateTime::from_timestamp_micros(*x))?,
        Field::Date(days) => utc(DateTime::from_timestamp(i64::from(*days) * 86_400, 0))?,
        Field::Double(x) => number_text(*x),
        Field::Float(x) => number_text(f64::from(*x)),
        Field::Byte(x) => x.to_string(),
        Field::Short(x) => x.to_string(),
        Field::Int(x) => x.to_string(),
        Field::Long(x) => x.to_string(),
        Field::UByte(x) => x.to_string(),
        Field::UShort(x) => x.to_string(),
        Field::UInt(x) => x.to_string(),
        Field::ULong(x) => x.to_string(),
        other => return Err(format!("a cell is of a kind that is not read: {other}")),
    })
}
