//! Writes clicks to a Parquet file, zstd-compressed. The file is sorted by time, so that a reader skips the row groups
//! outside the times that it asks for.

use std::{io::Write, sync::Arc};

use anyhow::Result;
use bytes::Bytes;
use parquet::{
    basic::{Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::SortingColumn,
        properties::{WriterProperties, WriterPropertiesPtr},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::{Type, TypePtr},
};

use super::{
    columns::{COLUMNS, ColumnType, REQUIRED},
    row::{Cell, read_row},
};

/// Bytes of values that one row group holds before it is compressed: some 60 000 clicks.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// A Parquet file that is being written. Holds one row group in memory, about 64 MiB and as much again while it is
/// written.
pub(super) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<ColumnBuffer>,
    buffered_bytes: usize,
}

/// The values of a column in the present row group.
struct ColumnBuffer {
    is_required: bool,
    /// Whether each row has a value: 1 or 0.
    definition_levels: Vec<i16>,
    values: ColumnValues,
}

enum ColumnValues {
    Text { bytes: Vec<u8>, ends: Vec<usize> },
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Boolean(Vec<bool>),
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub(super) fn new(out: W) -> Result<ParquetFile<W>> {
        let writer = SerializedFileWriter::new(out, build_schema()?, build_properties()?)?;
        let columns = COLUMNS.iter().map(|(name, column_type)| ColumnBuffer::new(name, *column_type)).collect();
        Ok(ParquetFile { writer, columns, buffered_bytes: 0 })
    }

    /// Adds an event, which is one JSON object.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn add_event(&mut self, event: &[u8]) -> Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(read_row(event)?) {
            self.buffered_bytes += column.push(&cell);
        }
        if self.buffered_bytes >= ROW_GROUP_BYTES {
            self.write_row_group()?;
        }
        Ok(())
    }

    /// Writes what is left, and the footer. Returns the inner writer.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn finish(mut self) -> Result<W> {
        if self.buffered_bytes > 0 {
            self.write_row_group()?;
        }
        Ok(self.writer.into_inner()?)
    }

    fn write_row_group(&mut self) -> Result<()> {
        self.buffered_bytes = 0;
        let mut row_group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            if let Some(writer) = row_group.next_column()? {
                column.write_and_clear(writer)?;
            }
        }
        row_group.close()?;
        Ok(())
    }
}

impl ColumnBuffer {
    fn new(name: &str, column_type: ColumnType) -> ColumnBuffer {
        let values = match column_type {
            ColumnType::Text => ColumnValues::Text { bytes: Vec::new(), ends: Vec::new() },
            ColumnType::Int32 => ColumnValues::Int32(Vec::new()),
            ColumnType::Int64 | ColumnType::TimestampMs => ColumnValues::Int64(Vec::new()),
            ColumnType::Boolean => ColumnValues::Boolean(Vec::new()),
        };
        ColumnBuffer { is_required: REQUIRED.contains(&name), definition_levels: Vec::new(), values }
    }

    /// Adds a cell, and returns the bytes that it takes.
    fn push(&mut self, cell: &Cell<'_>) -> usize {
        let bytes = match (&mut self.values, cell) {
            (ColumnValues::Text { bytes, ends }, Cell::Text(text)) => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len());
                Some(text.len() + size_of::<usize>())
            }
            (ColumnValues::Int32(values), Cell::Integer(number)) => i32::try_from(*number).ok().map(|number| {
                values.push(number);
                size_of::<i32>()
            }),
            (ColumnValues::Int64(values), Cell::Integer(number)) => {
                values.push(*number);
                Some(size_of::<i64>())
            }
            (ColumnValues::Boolean(values), Cell::Boolean(value)) => {
                values.push(*value);
                Some(size_of::<bool>())
            }
            _ => None,
        };
        self.definition_levels.push(i16::from(bytes.is_some()));
        size_of::<i16>() + bytes.unwrap_or(0)
    }

    fn write_and_clear(&mut self, mut writer: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = (!self.is_required).then_some(&*self.definition_levels);
        match &mut self.values {
            ColumnValues::Text { bytes, ends } => {
                let bytes = Bytes::from(std::mem::take(bytes));
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let texts: Vec<ByteArray> =
                    starts.zip(&*ends).map(|(start, end)| bytes.slice(start..*end).into()).collect();
                writer.typed::<ByteArrayType>().write_batch(&texts, levels, None)?;
                ends.clear();
            }
            ColumnValues::Int32(values) => {
                writer.typed::<Int32Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            ColumnValues::Int64(values) => {
                writer.typed::<Int64Type>().write_batch(values, levels, None)?;
                values.clear();
            }
            ColumnValues::Boolean(values) => {
                writer.typed::<BoolType>().write_batch(values, levels, None)?;
                values.clear();
            }
        }
        self.definition_levels.clear();
        writer.close()
    }
}

fn build_schema() -> Result<TypePtr, ParquetError> {
    let fields = COLUMNS.iter().map(|(name, column_type)| {
        let (physical, logical) = match column_type {
            ColumnType::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Int32 => (PhysicalType::INT32, None),
            ColumnType::Int64 => (PhysicalType::INT64, None),
            ColumnType::TimestampMs => (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            ColumnType::Boolean => (PhysicalType::BOOLEAN, None),
        };
        let repetition = if REQUIRED.contains(name) { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let field = Type::primitive_type_builder(name, physical).with_repetition(repetition);
        field.with_logical_type(logical).build().map(Arc::new)
    });
    let fields = fields.collect::<Result<_, _>>()?;
    Type::group_type_builder("click").with_fields(fields).build().map(Arc::new)
}

/// The same for every file, so that the same clicks make the same bytes.
fn build_properties() -> Result<WriterPropertiesPtr, ParquetError> {
    let time = COLUMNS.iter().position(|(name, _)| *name == "clicked_at_ms");
    let sorting = time
        .and_then(|column| i32::try_from(column).ok())
        .map(|column_idx| vec![SortingColumn { column_idx, descending: false, nulls_first: false }]);
    let properties = WriterProperties::builder()
        .set_created_by(concat!("waypost version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_sorting_columns(sorting)
        .build();
    Ok(Arc::new(properties))
}
