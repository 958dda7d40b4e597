//! Arrow columns as Python values, and the pictures of a result: a text table and an HTML table.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use pyo3::prelude::*;
use pyo3::types::{PyDateTime, PyDelta, PyTzInfo};

use crate::error::Class;

/// Rows that the display of a result shows.
pub const SHOWN_ROWS_MAX: usize = 20;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A column whose values can be taken one by one as Python objects.
pub struct Column<'py> {
    py: Python<'py>,
    values: Values<'py>,
}

enum Values<'py> {
    Null,
    Bool(arrow::array::BooleanArray),
    Int(arrow::array::PrimitiveArray<Int64Type>),
    Unsigned(arrow::array::PrimitiveArray<UInt64Type>),
    Float(arrow::array::PrimitiveArray<Float64Type>),
    Text(arrow::array::StringArray),
    Time {
        micros: arrow::array::PrimitiveArray<TimestampMicrosecondType>,
        epoch: Bound<'py, PyDateTime>,
    },
    List(arrow::array::GenericListArray<i64>),
    Struct {
        names: Vec<String>,
        columns: Vec<Column<'py>>,
        whole: arrow::array::StructArray,
    },
    /// Rare types, as the text Arrow shows for them.
    Shown(arrow::array::ArrayRef),
}

/// The columns of a batch.
///
/// # Errors
/// `StepwellError` when a column cannot be converted.
pub fn columns<'py>(py: Python<'py>, batch: &RecordBatch) -> PyResult<Vec<Column<'py>>> {
    batch.columns().iter().map(|column| Column::new(py, column)).collect()
}

impl<'py> Column<'py> {
    fn new(py: Python<'py>, array: &dyn Array) -> PyResult<Self> {
        let as_type = |target: &DataType| {
            let array = arrow::array::make_array(array.to_data());
            cast(&array, target).map_err(|fault| Class::Stepwell.error(py, fault.to_string()))
        };
        let values = match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Bool(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Values::Int(as_type(&DataType::Int64)?.as_primitive().clone())
            }
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
                Values::Unsigned(as_type(&DataType::UInt64)?.as_primitive().clone())
            }
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Values::Float(as_type(&DataType::Float64)?.as_primitive().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Values::Text(as_type(&DataType::Utf8)?.as_string().clone())
            }
            DataType::Dictionary(_, values) => return Self::new(py, &as_type(values)?),
            DataType::Timestamp(_, zone) => {
                let micros = as_type(&DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                let utc = zone.as_ref().map(|_| PyTzInfo::utc(py)).transpose()?;
                let utc = utc.as_ref().map(|utc| utc.as_any().cast::<PyTzInfo>()).transpose()?;
                let epoch = PyDateTime::new(py, 1970, 1, 1, 0, 0, 0, 0, utc)?;
                Values::Time { micros: micros.as_primitive().clone(), epoch }
            }
            DataType::List(field) | DataType::LargeList(field) => {
                Values::List(as_type(&DataType::LargeList(field.clone()))?.as_list().clone())
            }
            DataType::Struct(fields) => {
                let whole = array.as_struct().clone();
                let names = fields.iter().map(|field| field.name().clone()).collect();
                let columns = whole.columns().iter().map(|column| Self::new(py, column)).collect::<PyResult<_>>()?;
                Values::Struct { names, columns, whole }
            }
            _ => Values::Shown(arrow::array::make_array(array.to_data())),
        };
        Ok(Self { py, values })
    }

    /// The value of one row; NULL is `None`.
    ///
    /// # Errors
    /// What Python says, such as a timestamp that `datetime` cannot hold.
    pub fn value(&self, row: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        let array: &dyn Array = match &self.values {
            Values::Null => return Ok(py.None().into_bound(py)),
            Values::Bool(array) => array,
            Values::Int(array) => array,
            Values::Unsigned(array) => array,
            Values::Float(array) => array,
            Values::Text(array) => array,
            Values::Time { micros, .. } => micros,
            Values::List(array) => array,
            Values::Struct { whole, .. } => whole,
            Values::Shown(array) => array,
        };
        if array.is_null(row) {
            return Ok(py.None().into_bound(py));
        }
        Ok(match &self.values {
            Values::Null => py.None().into_bound(py),
            Values::Bool(array) => array.value(row).into_pyobject(py)?.to_owned().into_any(),
            Values::Int(array) => array.value(row).into_pyobject(py)?.into_any(),
            Values::Unsigned(array) => array.value(row).into_pyobject(py)?.into_any(),
            Values::Float(array) => array.value(row).into_pyobject(py)?.into_any(),
            Values::Text(array) => array.value(row).into_pyobject(py)?.into_any(),
            Values::Time { micros, epoch } => epoch.add(delta(py, micros.value(row))?)?,
            Values::List(array) => {
                let items = array.value(row);
                let column = Self::new(py, &items)?;
                let list = (0..items.len()).map(|item| column.value(item)).collect::<PyResult<Vec<_>>>()?;
                list.into_pyobject(py)?.into_any()
            }
            Values::Struct { names, columns, .. } => {
                let dict = pyo3::types::PyDict::new(py);
                for (name, column) in names.iter().zip(columns) {
                    dict.set_item(name, column.value(row)?)?;
                }
                dict.into_any()
            }
            Values::Shown(array) => cell(py, array, row)?.into_pyobject(py)?.into_any(),
        })
    }
}

fn delta(py: Python<'_>, micros: i64) -> PyResult<Bound<'_, PyDelta>> {
    let seconds = micros.div_euclid(MICROS_PER_SECOND);
    // Days of 64 bits of microseconds fit into 32 bits; the two remainders are below a day and a second.
    let days = seconds.div_euclid(SECONDS_PER_DAY) as i32;
    PyDelta::new(
        py,
        days,
        seconds.rem_euclid(SECONDS_PER_DAY) as i32,
        micros.rem_euclid(MICROS_PER_SECOND) as i32,
        true,
    )
}

fn options() -> FormatOptions<'static> {
    FormatOptions::new().with_null("NULL").with_display_error(true)
}

fn cell(py: Python<'_>, array: &dyn Array, row: usize) -> PyResult<String> {
    ArrayFormatter::try_new(array, &options())
        .and_then(|formatter| formatter.value(row).try_to_string())
        .map_err(|fault| Class::Stepwell.error(py, fault.to_string()))
}

/// The batch as a text table with a line for the rows that are not shown.
///
/// # Errors
/// `StepwellError` when a value cannot be shown.
pub fn text_table(py: Python<'_>, batch: &RecordBatch, total: usize) -> PyResult<String> {
    let table = pretty_format_batches_with_options(std::slice::from_ref(batch), &options())
        .map_err(|fault| Class::Stepwell.error(py, fault.to_string()))?;
    Ok(format!("{table}\n{}", footer(batch, total)))
}

fn footer(batch: &RecordBatch, total: usize) -> String {
    let rows = if total == 1 { "row" } else { "rows" };
    match total - batch.num_rows() {
        0 => format!("{total} {rows}"),
        hidden => format!("{total} {rows}, {hidden} not shown"),
    }
}

/// The batch as an HTML table, for notebooks.
///
/// # Errors
/// `StepwellError` when a value cannot be shown.
pub fn html_table(py: Python<'_>, batch: &RecordBatch, total: usize) -> PyResult<String> {
    let mut html = String::from("<table>\n<thead><tr>");
    for field in batch.schema().fields() {
        html.push_str("<th>");
        push_escaped(&mut html, field.name());
        html.push_str("</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in 0..batch.num_rows() {
        html.push_str("<tr>");
        for column in batch.columns() {
            html.push_str("<td>");
            push_escaped(&mut html, &cell(py, column, row)?);
            html.push_str("</td>");
        }
        html.push_str("</tr>\n");
    }
    // Writing to a string cannot fail.
    let _ = write!(html, "</tbody>\n</table>\n<p>{}</p>", footer(batch, total));
    Ok(html)
}

fn push_escaped(html: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
}
