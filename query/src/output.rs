//! Results as table, CSV, JSON, Arrow and Parquet.
//!
//! | format | NaN, infinities | null | times | structs |
//! |---|---|---|---|---|
//! | table | `NaN`, `inf`, `-inf` | `null` | RFC 3339, UTC | `{lr: 0.1}` |
//! | csv | `NaN`, `inf`, `-inf` | empty | RFC 3339, UTC | JSON text |
//! | json, ndjson | `"NaN"`, `"inf"`, `"-inf"` | `null` | RFC 3339, UTC | object |
//! | arrow, parquet | kept | kept | kept | kept |

mod json;
mod table;

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::{Error, OutputError, Result};
use crate::result::QueryResult;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Aligned columns for people; numbers to the right.
    Table,
    /// RFC 4180 with a header line.
    Csv,
    /// One JSON array, an object a row, each row on a line of its own.
    Json,
    /// One JSON object a line, and nothing else.
    NdJson,
    /// Arrow IPC stream, as `pyarrow.ipc.open_stream` and `polars.read_ipc_stream` read it.
    Arrow,
    /// Parquet with zstd.
    Parquet,
}

impl Format {
    /// Names of all formats, as [`FromStr`] takes them.
    pub const NAMES: [&str; 6] = ["table", "csv", "json", "ndjson", "arrow", "parquet"];

    /// All formats, in the order of [`Self::NAMES`].
    pub const ALL: [Self; 6] = [Self::Table, Self::Csv, Self::Json, Self::NdJson, Self::Arrow, Self::Parquet];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::NdJson => "ndjson",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Whether the output is bytes that a terminal should not be given.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let wanted = name.to_lowercase();
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == wanted)
            .ok_or_else(|| Error::UnknownFormat { name: name.to_owned() })
    }
}

/// Writes `result` to `out` as `format` and flushes it. The schema is written even when there is no row.
///
/// # Errors
/// [`Error::Output`]; `is_broken_pipe` tells when the reader went away.
pub fn write(result: &QueryResult, format: Format, out: &mut (dyn Write + Send)) -> Result<()> {
    write_batches(result.schema(), result.batches(), format, out)
}

/// Writes rows that come from elsewhere; as [`write()`].
///
/// # Errors
/// As [`write()`].
pub fn write_batches(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let written = match format {
        Format::Table => table::write(schema, batches, out),
        Format::Csv => write_csv(schema, batches, out),
        Format::Json => json::write_array(batches, out),
        Format::NdJson => json::write_lines(batches, out),
        Format::Arrow => write_arrow(schema, batches, out),
        Format::Parquet => write_parquet(schema, batches, out),
    };
    written.and_then(|()| Ok(out.flush()?)).map_err(|source| Error::Output { format: format.as_str(), source })
}

fn write_arrow(schema: &SchemaRef, batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    let mut writer = StreamWriter::try_new(out, schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.finish()?)
}

fn write_parquet(schema: &SchemaRef, batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    let compression = Compression::ZSTD(ZstdLevel::try_new(1)?);
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = ArrowWriter::try_new(out, Arc::clone(schema), Some(properties))?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.close()?;
    Ok(())
}

fn write_csv(schema: &SchemaRef, batches: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<(), OutputError> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(out);
    // The header comes with the first batch, also when that has no row.
    writer.write(&flat(&RecordBatch::new_empty(Arc::clone(schema)))?)?;
    for batch in batches {
        writer.write(&flat(batch)?)?;
    }
    Ok(())
}

/// The batch with its nested columns as JSON text: CSV has no other place for them.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, OutputError> {
    let schema = batch.schema();
    let mut fields: Vec<Field> = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(json::texts(field, column)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
