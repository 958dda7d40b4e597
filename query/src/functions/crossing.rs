//! `first_cross(value, step, threshold[, direction])`: the first step at which a curve is at or beyond a threshold.
//!
//! `direction` is `'above'` (default: value >= threshold) or `'below'` (value <= threshold), and a constant. `value` and
//! `threshold` are numbers; the threshold may differ from row to row. `step` is a number or a time, and the result has its
//! type: the lowest step of a row whose value is there, whatever the rows before it are. Rows with a null, with a value that is
//! NaN or infinite, or with a NaN threshold do not count; null when no row is there.
//!
//! Cost: one comparison a row, 24 bytes a group. As `min(step) FILTER (WHERE value >= threshold)`, but for the infinities.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, plan_err};

use super::aggregate::{Call, Definition};
use super::arguments::{Kind, Parameter};
use super::codes::{encode, on_axis};
use super::pick::{Rows, Rule, Wanted, accumulator, groups, types_at};

const ABOVE: Rule = Rule { wanted: Wanted::LowestThenLowest, rows: |values| crossed(values, |value, at| value >= at) };
const BELOW: Rule = Rule { wanted: Wanted::LowestThenLowest, rows: |values| crossed(values, |value, at| value <= at) };

/// The steps of rows that are at or beyond the threshold, as keys and payloads.
fn crossed(values: &[ArrayRef], beyond: fn(f64, f64) -> bool) -> Result<Rows> {
    let [value, threshold] = [&values[0], &values[2]].map(|array| array.as_primitive::<Float64Type>());
    let (step, codes) = (&values[1], encode(&values[1])?);
    let counts = |row: usize| {
        value.is_valid(row)
            && threshold.is_valid(row)
            && value.value(row).is_finite()
            && beyond(value.value(row), threshold.value(row))
            && on_axis(codes[row], step.data_type())
    };
    let left_out: BooleanArray = (0..value.len()).map(|row| Some(!counts(row))).collect();
    let steps = nullif(step, &left_out)?;
    Ok(Rows { keys: Arc::clone(&steps), payloads: steps })
}

fn rule(call: &Call) -> Result<Rule> {
    match call.constants.text(3)?.as_deref() {
        None | Some("above") => Ok(ABOVE),
        Some("below") => Ok(BELOW),
        Some(other) => plan_err!("first_cross: direction must be 'above' or 'below', not '{other}'"),
    }
}

fn step_type(types: &[DataType]) -> DataType {
    types[1].clone()
}

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "first_cross",
    aliases: &[],
    parameters: &[
        Parameter::new("value", Kind::Number, "Values of the curve; only finite ones count."),
        Parameter::new("step", Kind::Axis, "Steps or times of the values."),
        Parameter::new("threshold", Kind::Number, "Threshold; may differ from row to row."),
        Parameter::optional("direction", Kind::Text, "'above' (default) or 'below'."),
    ],
    about: "The first step at which a curve is at or above a threshold, or at or below it.",
    example: "SELECT run_id, first_cross(value, step, 0.9) FROM metrics WHERE metric = 'val_accuracy' GROUP BY run_id",
    returns: step_type,
    state: |types| vec![step_type(types), step_type(types)],
    accumulator: |call| accumulator(rule(call)?, types_at(call, 1, 1)),
    sliding: None,
    // A wrong direction is left to the other accumulator to tell.
    groups: Some(|call| rule(call).ok().and_then(|rule| groups(rule, types_at(call, 1, 1)))),
}];
