//! `auc(step, value)`: the area under a curve, by the trapezoidal rule.
//!
//! `step` is a number or a time, in any order of rows; `value` is a number. The result is Float64, in units of the value times
//! steps, or times seconds where the axis is a time. Of several values at a step the mean counts (to take the last attempt's
//! instead, ask over `last_by`). Nulls, NaN and infinities are left out, so that the line goes straight over them; a single
//! point has no area, 0; without one the result is null.
//!
//! Cost: 16 bytes a point, and a sort of them.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::aggregate::Definition;
use super::arguments::{Kind, Parameter};
use super::codes::distance;
use super::points::{Point, Points, curve, states};

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "auc",
    aliases: &[],
    parameters: &[
        Parameter::new("step", Kind::Axis, "Steps or times of the values."),
        Parameter::new("value", Kind::Number, "Values of the curve; only finite ones count."),
    ],
    about: "Area under a curve by the trapezoidal rule; a time axis counts in seconds.",
    example: "SELECT run_id, auc(step, value) FROM metrics WHERE metric = 'val_accuracy' GROUP BY run_id",
    returns: |_| DataType::Float64,
    state: states,
    accumulator: |call| {
        let finish = |points: &[Point], axis: &DataType| Ok(ScalarValue::Float64(Some(area(points, axis))));
        Ok(Points::boxed(&call.types[0], &call.returns, Box::new(finish)))
    },
    sliding: None,
    groups: None,
}];

fn area(sorted: &[Point], axis: &DataType) -> f64 {
    let curve = curve(sorted);
    let trapezoids =
        curve.windows(2).map(|ends| distance(ends[0].x, ends[1].x, axis) * f64::midpoint(ends[0].y, ends[1].y));
    // The sum of no floats is -0.0.
    trapezoids.fold(0.0, |sum, area| sum + area)
}
