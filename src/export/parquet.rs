//! Parquet: one column per column, zstd, row groups of 100 000 rows; times as nanoseconds UTC.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

use super::{Cell, Column, Kind, Sheet};

/// Rows that are kept in memory and written together.
const GROUP_ROWS: usize = 100_000;

/// Values of a column, and where there are none.
struct Values<T> {
    values: Vec<T>,
    levels: Vec<i16>,
}

impl<T> Values<T> {
    fn new() -> Self {
        Self { values: Vec::new(), levels: Vec::new() }
    }

    fn push(&mut self, value: Option<T>) {
        self.levels.push(i16::from(value.is_some()));
        self.values.extend(value);
    }

    fn write<D: DataType<T = T>>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, impl Write + Send>,
    ) -> Result<(), ParquetError> {
        let Some(mut column) = group.next_column()? else {
            return Err(ParquetError::General("there is one column too few".to_owned()));
        };
        column.typed::<D>().write_batch(&self.values, Some(&self.levels), None)?;
        self.values.clear();
        self.levels.clear();
        column.close()
    }
}

enum Buffer {
    Int(Values<i64>),
    Number(Values<f64>),
    Text(Values<ByteArray>),
    Bool(Values<bool>),
}

/// A Parquet file.
pub(super) struct ParquetSheet<W: Write + Send> {
    out: SerializedFileWriter<W>,
    buffers: Vec<Buffer>,
    rows: usize,
}

impl<W: Write + Send> ParquetSheet<W> {
    pub(super) fn new(out: W, columns: &[Column]) -> io::Result<Self> {
        let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>();
        let schema = fields
            .and_then(|fields| Type::group_type_builder("trimloop").with_fields(fields).build());
        let level = ZstdLevel::try_new(3);
        let opened = schema.and_then(|schema| {
            let properties = WriterProperties::builder()
                .set_compression(Compression::ZSTD(level?))
                .set_created_by(concat!("trimloop ", env!("CARGO_PKG_VERSION")).to_owned())
                .build();
            SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))
        });
        let buffer = |column: &Column| match column.kind {
            Kind::Time(_) | Kind::Int => Buffer::Int(Values::new()),
            Kind::Number => Buffer::Number(Values::new()),
            Kind::Text => Buffer::Text(Values::new()),
            Kind::Bool => Buffer::Bool(Values::new()),
        };
        let buffers = columns.iter().map(buffer).collect();
        Ok(Self { out: opened.map_err(io::Error::other)?, buffers, rows: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.out.next_row_group()?;
        for buffer in &mut self.buffers {
            match buffer {
                Buffer::Int(values) => values.write::<Int64Type>(&mut group)?,
                Buffer::Number(values) => values.write::<DoubleType>(&mut group)?,
                Buffer::Text(values) => values.write::<ByteArrayType>(&mut group)?,
                Buffer::Bool(values) => values.write::<BoolType>(&mut group)?,
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Time(_) => {
            let utc = LogicalType::timestamp(true, TimeUnit::NANOS);
            (Physical::INT64, Some(utc))
        }
        Kind::Int => (Physical::INT64, None),
        Kind::Number => (Physical::DOUBLE, None),
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Bool => (Physical::BOOLEAN, None),
    };
    let field = Type::primitive_type_builder(&column.title(), physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

impl<W: Write + Send> Sheet for ParquetSheet<W> {
    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (buffer, cell) in self.buffers.iter_mut().zip(cells) {
            match buffer {
                Buffer::Int(values) => values.push(match cell {
                    Cell::Int(i) | Cell::Time(i) => Some(*i),
                    _ => None,
                }),
                Buffer::Number(values) => values.push(cell.as_f64()),
                Buffer::Text(values) => values.push(match cell {
                    Cell::Text(text) => Some(ByteArray::from(text.as_ref())),
                    _ => None,
                }),
                Buffer::Bool(values) => values.push(match cell {
                    Cell::Bool(b) => Some(*b),
                    _ => None,
                }),
            }
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS {
            self.write_group().map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.write_group().map_err(io::Error::other)?;
        let mut out = self.out.into_inner().map_err(io::Error::other)?;
        out.flush()
    }
}
