//! Whole numbers, floats and times as 64-bit codes that keep their order, so that one piece of code sorts and compares
//! them all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, internal_err};

/// Whether values of a type have codes.
pub(super) fn has_codes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Timestamp(..))
}

/// The code of a float: their order is that of `f64::total_cmp`.
pub(super) fn of_float(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The float of a code.
pub(super) fn to_float(code: i64) -> f64 {
    f64::from_bits((code ^ (((code >> 63) as u64) >> 1) as i64) as u64)
}

/// The codes of an array; those of nulls mean nothing.
pub(super) fn encode(array: &ArrayRef) -> Result<Vec<i64>> {
    Ok(match array.data_type() {
        DataType::Float64 => {
            array.as_primitive::<Float64Type>().values().iter().map(|value| of_float(*value)).collect()
        }
        DataType::Int64 | DataType::Int32 | DataType::Timestamp(..) => {
            cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().values().to_vec()
        }
        other => return internal_err!("{other} has no codes"),
    })
}

/// The array that codes stand for.
pub(super) fn decode(codes: Vec<i64>, nulls: Option<NullBuffer>, data_type: &DataType) -> Result<ArrayRef> {
    if *data_type == DataType::Float64 {
        let values: Vec<f64> = codes.into_iter().map(to_float).collect();
        return Ok(Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)));
    }
    let whole = Int64Array::new(codes.into(), nulls);
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            Arc::new(whole.reinterpret_cast::<TimestampSecondType>().with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            Arc::new(whole.reinterpret_cast::<TimestampMillisecondType>().with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(whole.reinterpret_cast::<TimestampMicrosecondType>().with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Arc::new(whole.reinterpret_cast::<TimestampNanosecondType>().with_timezone_opt(zone.clone()))
        }
        other => cast(&whole, other)?,
    })
}

/// Codes in one second of a time; 1 for numbers.
pub(super) fn codes_per_unit(data_type: &DataType) -> f64 {
    match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, _) => 1e3,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1e6,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1e9,
        _ => 1.0,
    }
}

/// How far it is from one value to another that is not lower; seconds for times.
pub(super) fn distance(from: i64, to: i64, data_type: &DataType) -> f64 {
    match data_type {
        DataType::Float64 => to_float(to) - to_float(from),
        // The difference of two i64 fits u64.
        other => to.wrapping_sub(from) as u64 as f64 / codes_per_unit(other),
    }
}

/// Whether a value can lie on an axis: any but NaN and infinities.
pub(super) fn on_axis(code: i64, data_type: &DataType) -> bool {
    *data_type != DataType::Float64 || to_float(code).is_finite()
}
