//! `interp_at(step, value, x)` and `resample(step, value, start, stop, every)`: a curve where it was not measured, by straight
//! lines between its points.
//!
//! `step` is a number or a time, in any order of rows; `value` is a number; `x`, `start` and `stop` are places on the same
//! axis. Of several values at a step the mean counts. Exact at the points; null before the first and after the last one.
//! Nulls, NaN and infinities are left out, so that the line goes straight over them.
//!
//! `interp_at` gives Float64; `x` need not be a constant, but is the same in all rows of a group. `resample` gives a list of
//! structs of `step` and `value` at `start`, `start + every`, ... up to `stop`, of at most a million points; the three are
//! constants, `every` is above 0, in seconds where the axis is a time, and whole where steps are. So that curves of several runs
//! meet at the same steps.
//!
//! Cost: `interp_at` keeps the points next to `x` alone; `resample` 16 bytes a point and a place, and a sort of the
//! points.

use std::cmp::Ordering;
use std::mem::{size_of, size_of_val, take};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Accumulator;

use super::aggregate::{Call, Definition};
use super::arguments::{Kind, Parameter};
use super::codes::{codes_per_unit, distance, encode, of_float, on_axis, to_float};
use super::points::{Point, Points, curve, list_of_points, merged, point_list, points, sort, state_of, states};

/// Points of a resampled curve.
const POINTS_MAX: f64 = 1e6;

const STEP: Parameter = Parameter::new("step", Kind::Axis, "Steps or times of the values.");
const VALUE: Parameter = Parameter::new("value", Kind::Number, "Values of the curve; only finite ones count.");

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "interp_at",
        aliases: &[],
        parameters: &[STEP, VALUE, Parameter::new("x", Kind::PlaceOn(0), "Where to read the curve.")],
        about: "The curve at x, on a straight line between the points beside it; null outside.",
        example: "SELECT run_id, interp_at(step, value, 1000) FROM metrics WHERE metric = 'loss' GROUP BY run_id",
        returns: |_| DataType::Float64,
        state: |types| [vec![DataType::Int64], states(types)].concat(),
        accumulator: |call| Ok(Box::new(InterpolateAt::new(&call.types[0]))),
        sliding: None,
        groups: None,
    },
    Definition {
        name: "resample",
        aliases: &[],
        parameters: &[
            STEP,
            VALUE,
            Parameter::new("start", Kind::PlaceOn(0), "First place."),
            Parameter::new("stop", Kind::PlaceOn(0), "Last place, if it is hit."),
            Parameter::new("every", Kind::Number, "From one place to the next; seconds for times."),
        ],
        about: "The curve at evenly spaced places, on straight lines between its points; a list of step and value.",
        example: "SELECT run_id, unnest(resample(step, value, 0, 10000, 20)) FROM metrics WHERE metric = 'loss' GROUP BY run_id",
        returns: |types| point_list(&types[0]),
        state: states,
        accumulator: resample,
        sliding: None,
        groups: None,
    },
];

/// The value at `x` on the line between two points that lie around it.
fn between(below: Point, above: Point, x: i64, axis: &DataType) -> f64 {
    if below.x == above.x {
        return below.y;
    }
    let part = distance(below.x, x, axis) / distance(below.x, above.x, axis);
    below.y * (1.0 - part) + above.y * part
}

fn resample(call: &Call) -> Result<Box<dyn Accumulator>> {
    let axis = &call.types[0];
    let (Some(start), Some(stop), Some(every)) =
        (call.constants.place(2)?, call.constants.place(3)?, call.constants.number(4)?)
    else {
        return plan_err!("resample: start, stop and every must not be null");
    };
    if !on_axis(start, axis) || !on_axis(stop, axis) {
        return plan_err!("resample: start and stop must be finite");
    }
    let whole = *axis == DataType::Int64;
    if !(every > 0.0 && every.is_finite()) || whole && every.fract() != 0.0 {
        let kind = if whole { "a whole number" } else { "a finite number" };
        return plan_err!("resample: every must be {kind} above 0, not {every}");
    }
    let count = if stop < start { 0.0 } else { (distance(start, stop, axis) / every).floor() + 1.0 };
    if count > POINTS_MAX {
        return plan_err!("resample: {count} points are more than {POINTS_MAX}");
    }
    let place = move |n: usize, axis: &DataType| match axis {
        DataType::Float64 => of_float(to_float(start) + n as f64 * every),
        axis => {
            let place = i128::from(start) + (n as f64 * every * codes_per_unit(axis)).round() as i128;
            i64::try_from(place).unwrap_or(stop).min(stop)
        }
    };
    let count = count as usize;
    let finish = move |sorted: &[Point], axis: &DataType| {
        let places: Vec<i64> = (0..count).map(|n| place(n, axis)).collect();
        let values = along(&curve(sorted), &places, axis);
        list_of_points(places, values, axis)
    };
    // A group with two points may give a million.
    Ok(Points::with_result(axis, &call.returns, Box::new(finish), count * size_of::<Point>()))
}

/// The values at rising places.
fn along(curve: &[Point], places: &[i64], axis: &DataType) -> Float64Array {
    let mut above = 0;
    let value_at = |x: &i64| {
        above += curve[above..].partition_point(|point| point.x < *x);
        let after = curve.get(above)?;
        if after.x == *x {
            return Some(after.y);
        }
        let before = curve.get(above.checked_sub(1)?)?;
        Some(between(*before, *after, *x, axis))
    };
    places.iter().map(value_at).collect()
}

/// The points next to a place, on either side.
#[derive(Debug)]
struct InterpolateAt {
    axis: DataType,
    x: Option<i64>,
    /// The points at the highest step that is not above `x`.
    below: Vec<Point>,
    /// The points at the lowest step that is not below `x`.
    above: Vec<Point>,
}

impl InterpolateAt {
    fn new(axis: &DataType) -> Self {
        Self { axis: axis.clone(), x: None, below: Vec::new(), above: Vec::new() }
    }

    /// Sets the place of the group; an error when it had another one, or `None` tells that it has several.
    fn set_place(&mut self, x: Option<i64>) -> Result<()> {
        match x {
            Some(x) if *self.x.get_or_insert(x) == x => Ok(()),
            _ => plan_err!("interp_at: x must be the same in all rows of a group"),
        }
    }

    fn take_point(&mut self, point: Point, x: i64) {
        if point.x <= x {
            keep(&mut self.below, point, |kept| point.x.cmp(&kept));
        }
        if point.x >= x {
            keep(&mut self.above, point, |kept| kept.cmp(&point.x));
        }
    }
}

/// Keeps a point that is nearer than the kept ones (`Greater`) instead of them, one that is as near beside them.
fn keep(kept: &mut Vec<Point>, point: Point, nearer: impl Fn(i64) -> Ordering) {
    let nearer = kept.first().map_or(Ordering::Greater, |other| nearer(other.x));
    if nearer == Ordering::Greater {
        kept.clear();
    }
    if nearer != Ordering::Less {
        kept.push(point);
    }
}

impl Accumulator for InterpolateAt {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let places = &values[2];
        let codes = encode(places)?;
        let is_place = |row: usize| places.is_valid(row) && on_axis(codes[row], &self.axis);
        let left_out: BooleanArray = (0..places.len()).map(|row| Some(!is_place(row))).collect();
        let Some(x) = (0..places.len()).find(|row| is_place(*row)).map(|row| codes[row]) else { return Ok(()) };
        if left_out.values().iter().zip(&codes).any(|(left_out, other)| !left_out && *other != x) {
            return self.set_place(None);
        }
        self.set_place(Some(x))?;
        let steps = nullif(&values[0], &left_out)?;
        for point in points(&steps, &values[1])? {
            self.take_point(point, x);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (row, x) in states[0].as_primitive::<Int64Type>().iter().enumerate() {
            let Some(x) = x else { continue };
            self.set_place(Some(x))?;
            for point in merged(&states[1].slice(row, 1), &states[2].slice(row, 1)) {
                self.take_point(point, x);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut kept = take(&mut self.below);
        // What lies at the place itself is on both sides.
        kept.extend(take(&mut self.above).into_iter().filter(|point| Some(point.x) != self.x));
        let mut states = vec![ScalarValue::Int64(self.x.take())];
        states.extend(state_of(&kept)?);
        Ok(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        sort(&mut self.below);
        sort(&mut self.above);
        let (below, above) = (curve(&self.below), curve(&self.above));
        Ok(ScalarValue::Float64(match (self.x, below.first(), above.first()) {
            (Some(x), Some(below), Some(above)) => Some(between(*below, *above, x, &self.axis)),
            _ => None,
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.below.capacity() + self.above.capacity()) * size_of::<Point>()
    }
}
