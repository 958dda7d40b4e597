//! Parquet files from columns of Python: what `stepwell.cmf` leaves for readers that open CMF's files by their path.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyBytes, PyList, PyTuple};
use stepwell_query::output::{self, Format};

use crate::error::Class;

/// Writes a Parquet file of `rows` rows.
///
/// A column is (name, kind, rows that have a value, values): kind is "int64", "double", "bool" or "string"; the rows count
/// from 1, rise, and come as the bytes of 64-bit integers, the values as the bytes of 64-bit integers or floats, text as a
/// list. Every other row is null. `metadata` goes into the footer. For the package's own use.
#[pyfunction]
#[pyo3(name = "_write_parquet")]
pub fn write_parquet(
    py: Python<'_>,
    path: PathBuf,
    rows: usize,
    columns: &Bound<'_, PyList>,
    metadata: HashMap<String, String>,
) -> PyResult<()> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut arrays = Vec::with_capacity(columns.len());
    for column in columns.iter() {
        let column = column.cast_into::<PyTuple>()?;
        let (name, kind): (String, String) = (column.get_item(0)?.extract()?, column.get_item(1)?.extract()?);
        let places = integers(&column.get_item(2)?)?;
        let (data_type, array) = array(py, &kind, rows, &places, &column.get_item(3)?)?;
        fields.push(Field::new(name, data_type, true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields).with_metadata(metadata));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
        .map_err(|fault| Class::Input.error(py, format!("the columns do not go together: {fault}")))?;
    let written = py.detach(|| {
        let mut out = BufWriter::new(File::create(&path)?);
        output::write_batches(&schema, &[batch], Format::Parquet, &mut out).map_err(std::io::Error::other)?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    });
    written.map_err(|fault| Class::Storage.error(py, format!("could not write {}: {fault}", path.display())))
}

fn array(
    py: Python<'_>,
    kind: &str,
    rows: usize,
    places: &[i64],
    values: &Bound<'_, PyAny>,
) -> PyResult<(DataType, ArrayRef)> {
    let places = Places { places, next: 0 };
    Ok(match kind {
        "int64" => {
            let values = integers(values)?;
            let mut builder = Int64Builder::with_capacity(rows);
            places.each(rows, |place| builder.append_option(place.and_then(|at| values.get(at).copied())));
            (DataType::Int64, Arc::new(builder.finish()))
        }
        "double" => {
            let values = floats(values)?;
            let mut builder = Float64Builder::with_capacity(rows);
            places.each(rows, |place| builder.append_option(place.and_then(|at| values.get(at).copied())));
            (DataType::Float64, Arc::new(builder.finish()))
        }
        "bool" => {
            let values = floats(values)?;
            let mut builder = BooleanBuilder::with_capacity(rows);
            places.each(rows, |place| builder.append_option(place.and_then(|at| values.get(at).map(|v| *v != 0.0))));
            (DataType::Boolean, Arc::new(builder.finish()))
        }
        "string" => {
            let values: Vec<String> = values.extract()?;
            let mut cells: Vec<Option<&str>> = Vec::with_capacity(rows);
            places.each(rows, |place| cells.push(place.and_then(|at| values.get(at).map(String::as_str))));
            (DataType::Utf8, Arc::new(StringArray::from(cells)))
        }
        other => return Err(Class::Input.error(py, format!("a column cannot be of kind {other:?}"))),
    })
}

/// Rows that have a value, in rising order; of a row that comes twice the first value counts.
struct Places<'a> {
    places: &'a [i64],
    next: usize,
}

impl Places<'_> {
    /// Calls `take` for each row with the place of its value.
    fn each(mut self, rows: usize, mut take: impl FnMut(Option<usize>)) {
        for row in (1_i64..).take(rows) {
            while self.places.get(self.next).is_some_and(|place| *place < row) {
                self.next += 1;
            }
            take((self.places.get(self.next) == Some(&row)).then_some(self.next));
        }
    }
}

fn integers(bytes: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    Ok(words(bytes)?.map(i64::from_ne_bytes).collect())
}

fn floats(bytes: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    Ok(words(bytes)?.map(f64::from_ne_bytes).collect())
}

fn words<'a>(bytes: &'a Bound<'_, PyAny>) -> PyResult<impl Iterator<Item = [u8; 8]> + 'a> {
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    Ok(bytes.chunks_exact(8).map(|word| {
        let mut copy = [0; 8];
        copy.copy_from_slice(word);
        copy
    }))
}
