//! CMF's files of step metrics: Parquet as pandas writes it, with the row number in a column `SequenceNumber`.

use std::collections::{BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::error::{Error, Result};

/// Column of the row number.
const SEQUENCE_NUMBER: &str = "SequenceNumber";
/// Key in the footer of what pandas keeps.
const PANDAS_KEY: &str = "pandas";
/// Integers up to here are exact as floats.
const EXACT_MAX: i64 = 1 << 53;

/// What a file of step metrics holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsFile {
    /// Names of the columns that are numbers or booleans.
    pub metrics: Vec<String>,
    /// Row number and values; `None` where there is none.
    pub rows: Vec<(i64, Vec<Option<f64>>)>,
    /// Columns that are something else, with their type.
    pub others: Vec<(String, String)>,
}

/// Reads a file; `path` is named in errors.
///
/// # Errors
/// [`Error::Damaged`].
pub fn read_metrics_file(bytes: Bytes, path: &Path) -> Result<MetricsFile> {
    let damaged = |fault: String| Error::Damaged { path: path.to_owned(), fault };
    // The reader answers some damaged files with a panic.
    match catch_unwind(AssertUnwindSafe(|| read(bytes))) {
        Ok(result) => result.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("the Parquet reader cannot make sense of it".to_owned())),
    }
}

fn read(bytes: Bytes) -> Result<MetricsFile, ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let schema = Arc::clone(&arrow::record_batch::RecordBatchReader::schema(&reader));
    let batches = reader.collect::<Result<Vec<RecordBatch>, _>>()?;
    let index = schema.fields().iter().position(|field| field.name() == SEQUENCE_NUMBER);
    let index = index.filter(|column| schema.field(*column).data_type() == &DataType::Int64);
    let mut file = MetricsFile::default();
    let mut numeric = Vec::new();
    for (column, field) in schema.fields().iter().enumerate().filter(|(column, _)| Some(*column) != index) {
        if is_exact(field.data_type(), batches.iter().map(|batch| batch.column(column))) {
            file.metrics.push(field.name().clone());
            numeric.push(column);
        } else {
            file.others.push((field.name().clone(), field.data_type().to_string()));
        }
    }
    let mut number = 0;
    for batch in &batches {
        let steps = index.map(|column| batch.column(column).as_primitive::<Int64Type>().clone());
        let values = numeric
            .iter()
            .map(|column| cast(batch.column(*column), &DataType::Float64))
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        for row in 0..batch.num_rows() {
            number += 1;
            let step = steps.as_ref().filter(|steps| steps.is_valid(row)).map_or(number, |steps| steps.value(row));
            let value = |column: &ArrayRef| {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            file.rows.push((step, values.iter().map(value).collect()));
        }
    }
    Ok(file)
}

/// Whether every value of a column is a number that a float holds exactly.
fn is_exact<'a>(data_type: &DataType, mut parts: impl Iterator<Item = &'a ArrayRef>) -> bool {
    match data_type {
        DataType::Boolean | DataType::Null => true,
        DataType::UInt64 | DataType::Int64 => parts.all(|part| {
            let Ok(part) = cast(part, &DataType::Int64) else { return false };
            let part = part.as_primitive::<Int64Type>();
            part.iter().flatten().all(|value| (-EXACT_MAX..=EXACT_MAX).contains(&value))
        }),
        data_type => data_type.is_integer() || data_type.is_floating(),
    }
}

/// A file as CMF writes it: a column per metric, and the row numbers last, as the index of a pandas data frame. A column `step`
/// comes first, unless every step is the row number or a metric has that name.
///
/// # Errors
/// [`Error::Parquet`].
pub fn write_metrics_file(metrics: &[String], rows: &[(i64, Vec<Option<f64>>)], path: &Path) -> Result<Vec<u8>> {
    let failed = |source: ParquetError| Error::Parquet { action: "write", path: path.to_owned(), source };
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    let names: BTreeSet<&str> = metrics.iter().map(String::as_str).collect();
    if !names.contains("step") && rows.iter().zip(1..).any(|(row, number)| row.0 != number) {
        columns.push(("step".to_owned(), Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))), true));
    }
    for (place, name) in metrics.iter().enumerate().filter(|(_, name)| *name != SEQUENCE_NUMBER) {
        let values = rows.iter().map(|row| row.1.get(place).copied().flatten());
        columns.push((name.clone(), Arc::new(Float64Array::from_iter(values)), true));
    }
    let numbers = Int64Array::from_iter_values((1..).take(rows.len()));
    columns.push((SEQUENCE_NUMBER.to_owned(), Arc::new(numbers), true));
    let pandas = pandas_of(&columns);
    let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| failed(error.into()))?;
    // pyarrow looks into the schema that Arrow keeps in the footer, other readers into the footer itself.
    let metadata = HashMap::from([(PANDAS_KEY.to_owned(), pandas.clone())]);
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(metadata));
    let batch = RecordBatch::try_new(schema, batch.columns().to_vec()).map_err(|error| failed(error.into()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_key_value_metadata(Some(vec![KeyValue::new(PANDAS_KEY.to_owned(), pandas)]))
        .build();
    let write = || {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.into_inner()
    };
    write().map_err(failed)
}

/// What pandas keeps in the footer: which column is the index.
fn pandas_of(columns: &[(String, ArrayRef, bool)]) -> String {
    let described = columns.iter().map(|(name, array, _)| {
        let kind = if array.data_type() == &DataType::Int64 { "int64" } else { "float64" };
        json!({ "name": name, "field_name": name, "pandas_type": kind, "numpy_type": kind, "metadata": null })
    });
    let described: Vec<_> = described.collect();
    json!({
        "index_columns": [SEQUENCE_NUMBER],
        "column_indexes": [{
            "name": null, "field_name": null, "pandas_type": "unicode", "numpy_type": "object",
            "metadata": { "encoding": "UTF-8" },
        }],
        "columns": described,
        "creator": { "library": "stepwell", "version": env!("CARGO_PKG_VERSION") },
        "pandas_version": "2.0.0",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let metrics = ["loss".to_owned(), "acc".to_owned()];
        let rows = vec![(1, vec![Some(0.5), None]), (2, vec![Some(f64::NAN), Some(1.0)])];
        let bytes = write_metrics_file(&metrics, &rows, Path::new("m")).expect("written");
        let back = read_metrics_file(bytes.into(), Path::new("m")).expect("read");
        assert_eq!((back.metrics, back.others.len(), back.rows.len()), (metrics.to_vec(), 0, 2));
        assert_eq!(back.rows[0], rows[0]);
        assert!(back.rows[1].1[0].is_some_and(f64::is_nan), "NaN is a value");
    }

    #[test]
    fn steps_that_are_no_row_numbers_have_a_column() {
        let rows = vec![(10, vec![Some(0.5)]), (20, vec![Some(0.25)])];
        let bytes = write_metrics_file(&["loss".to_owned()], &rows, Path::new("m")).expect("written");
        let back = read_metrics_file(bytes.into(), Path::new("m")).expect("read");
        assert_eq!(back.metrics, ["step", "loss"]);
        assert_eq!(back.rows, [(1, vec![Some(10.0), Some(0.5)]), (2, vec![Some(20.0), Some(0.25)])]);
    }

    #[test]
    fn damaged_files_are_errors() {
        for bytes in [&b""[..], b"PAR1", b"PAR1\0\0\0\0PAR1", b"no parquet at all"] {
            assert!(read_metrics_file(Bytes::copy_from_slice(bytes), Path::new("m")).is_err());
        }
    }

    #[test]
    fn integers_too_large_for_a_float_are_not_squeezed_into_one() {
        let exact: ArrayRef = Arc::new(Int64Array::from(vec![1 << 53, -(1 << 53)]));
        let large: ArrayRef = Arc::new(Int64Array::from(vec![1, (1 << 53) + 1]));
        assert!(is_exact(&DataType::Int64, [&exact].into_iter()));
        assert!(!is_exact(&DataType::Int64, [&exact, &large].into_iter()));
        assert!(!is_exact(&DataType::Utf8, std::iter::empty()));
    }
}
