//! Fields and arrays the tables are made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::Array as _;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, NullArray, StringArray, StringDictionaryBuilder,
    StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, TimeUnit};
use arrow::error::ArrowError;
use stepwell_engine::ParamValue;

use crate::metrics::facts::text_type;

/// Text that repeats, such as a run id: a dictionary, as in `metrics`, so that the two join without a cast.
pub(crate) fn key_field(name: &str) -> Field {
    Field::new(name, text_type(), false)
}

pub(crate) fn text_field(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

pub(crate) fn int_field(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

pub(crate) fn small_field(name: &str) -> Field {
    Field::new(name, DataType::Int32, false)
}

pub(crate) fn float_field(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

pub(crate) fn time_field(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
}

pub(crate) fn nullable(field: Field) -> Field {
    field.with_nullable(true)
}

pub(crate) fn keys(values: impl Iterator<Item = impl AsRef<str>>) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    for value in values {
        builder.append(value)?;
    }
    let mut keys = builder.finish();
    // A builder reserves for thousands of rows; planning would take a table of ten runs for a large one.
    keys.shrink_to_fit();
    Ok(Arc::new(keys))
}

pub(crate) fn texts(values: impl Iterator<Item = impl AsRef<str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn optional_texts(values: impl Iterator<Item = Option<impl AsRef<str>>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// Numbers that count something; the engine's are unsigned, SQL's are not.
pub(crate) fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(signed)))
}

pub(crate) fn optional_counts(values: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    Arc::new(values.map(|value| value.map(signed)).collect::<Int64Array>())
}

pub(crate) fn ints(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

pub(crate) fn optional_ints(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn smalls(values: impl Iterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

pub(crate) fn floats(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

pub(crate) fn optional_floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(values.collect::<Float64Array>())
}

/// Times from microseconds since the Unix epoch.
pub(crate) fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

pub(crate) fn optional_times(micros: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

/// Microseconds of a time in nanoseconds.
pub(crate) fn micros_of_nanos(nanos: i64) -> i64 {
    nanos.div_euclid(1_000)
}

/// Microseconds of a time in milliseconds.
pub(crate) fn micros_of_millis(millis: i64) -> i64 {
    millis.saturating_mul(1_000)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Type of a column with one field for each key of any of `maps`, so that `params['lr']` is a number where it is one.
///
/// A field is Boolean, Int64 or Float64 when all values of the key are; integers and floats together are Float64;
/// anything else is Utf8. Without any key the column has the type Null.
pub(crate) fn struct_type<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, ParamValue>>) -> DataType {
    let mut types: BTreeMap<&str, DataType> = BTreeMap::new();
    for (key, value) in maps.flatten() {
        let data_type = match value {
            ParamValue::Bool(_) => DataType::Boolean,
            ParamValue::Int(_) => DataType::Int64,
            ParamValue::Float(_) => DataType::Float64,
            ParamValue::Text(_) => DataType::Utf8,
        };
        types.entry(key).and_modify(|known| *known = common_type(known, &data_type)).or_insert(data_type);
    }
    struct_of(types.into_iter().map(|(key, data_type)| Field::new(key, data_type, true)).collect())
}

fn common_type(a: &DataType, b: &DataType) -> DataType {
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => DataType::Float64,
        _ => DataType::Utf8,
    }
}

/// Type of a column with one text field for each key of any of `maps`.
pub(crate) fn text_struct_type<'a>(maps: impl Iterator<Item = &'a BTreeMap<String, String>>) -> DataType {
    let keys: BTreeSet<&str> = maps.flat_map(|map| map.keys().map(String::as_str)).collect();
    struct_of(keys.into_iter().map(|key| Field::new(key, DataType::Utf8, true)).collect())
}

/// A struct without fields is no type Parquet can hold.
fn struct_of(fields: Vec<Field>) -> DataType {
    if fields.is_empty() { DataType::Null } else { DataType::Struct(fields.into()) }
}

/// The rows of a column of [`struct_type`] or [`text_struct_type`]: `get` gives a row's value of a key.
pub(crate) fn structs<T>(
    data_type: &DataType,
    rows: &[T],
    get: impl Fn(&T, &str) -> Option<ParamValue>,
) -> Result<ArrayRef, ArrowError> {
    let fields: &Fields = match data_type {
        DataType::Struct(fields) => fields,
        _ => return Ok(Arc::new(NullArray::new(rows.len()))),
    };
    let columns = fields.iter().map(|field| {
        let values = rows.iter().map(|row| get(row, field.name()));
        typed(field.data_type(), values)
    });
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns.collect(), None)?))
}

fn typed(data_type: &DataType, values: impl Iterator<Item = Option<ParamValue>>) -> ArrayRef {
    match data_type {
        DataType::Boolean => Arc::new(
            values
                .map(|value| if let Some(ParamValue::Bool(value)) = value { Some(value) } else { None })
                .collect::<BooleanArray>(),
        ),
        DataType::Int64 => {
            optional_ints(values.map(|value| if let Some(ParamValue::Int(value)) = value { Some(value) } else { None }))
        }
        DataType::Float64 => optional_floats(values.map(|value| value.as_ref().and_then(number))),
        _ => optional_texts(values.map(|value| value.map(|value| value.to_display()))),
    }
}

/// The value as a number, when it is one.
pub(crate) fn number(value: &ParamValue) -> Option<f64> {
    match value {
        // Above 2^53 this rounds; the exact digits stay in the text.
        #[allow(clippy::cast_precision_loss)]
        ParamValue::Int(value) => Some(*value as f64),
        ParamValue::Float(value) => Some(*value),
        ParamValue::Bool(_) | ParamValue::Text(_) => None,
    }
}
