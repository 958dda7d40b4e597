//! Collects the points of a curve, for functions that need all of them.

use std::fmt;
use std::mem::{size_of, size_of_val, take};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::aggregate::{list, list_of, lists};
use super::codes::{decode, encode, on_axis};

/// One point of a curve: the code of its place on the axis, and its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: i64,
    pub(super) y: f64,
}

/// Makes the result of a function from all points, sorted by place, then value; there is at least one.
pub(super) type Finish = Box<dyn Fn(&[Point], &DataType) -> Result<ScalarValue> + Send + Sync>;

/// Types of the states.
pub(super) fn states(_types: &[DataType]) -> Vec<DataType> {
    vec![list_of(DataType::Int64), list_of(DataType::Float64)]
}

/// The points of rows whose step and value are finite numbers.
pub(super) fn points<'a>(steps: &'a ArrayRef, values: &'a ArrayRef) -> Result<impl Iterator<Item = Point> + 'a> {
    let (codes, values) = (encode(steps)?, values.as_primitive::<Float64Type>());
    let counts = move |row: &usize| steps.is_valid(*row) && values.is_valid(*row);
    let rows = (0..steps.len()).filter(counts);
    let all = rows.map(move |row| Point { x: codes[row], y: values.value(row) });
    Ok(all.filter(|point| point.y.is_finite() && on_axis(point.x, steps.data_type())))
}

/// The points that two columns of states hold.
pub(super) fn merged(steps: &ArrayRef, values: &ArrayRef) -> impl Iterator<Item = Point> {
    lists(steps).zip(lists(values)).flat_map(|(steps, values)| {
        let (steps, values) = (steps.as_primitive::<Int64Type>(), values.as_primitive::<Float64Type>());
        let points = steps.values().iter().zip(values.values());
        points.map(|(x, y)| Point { x: *x, y: *y }).collect::<Vec<_>>()
    })
}

/// The two states that hold `points`.
pub(super) fn state_of(points: &[Point]) -> Result<Vec<ScalarValue>> {
    let steps = Int64Array::from_iter_values(points.iter().map(|point| point.x));
    let values = Float64Array::from_iter_values(points.iter().map(|point| point.y));
    Ok(vec![list(Arc::new(steps))?, list(Arc::new(values))?])
}

/// One point for each place: the mean of the values there. Points have to be sorted.
pub(super) fn curve(sorted: &[Point]) -> Vec<Point> {
    let same_place = sorted.chunk_by(|one, other| one.x == other.x);
    same_place.map(|points| Point { x: points[0].x, y: mean(points) }).collect()
}

/// The mean of values, of which there is at least one; exact when all are equal.
fn mean(points: &[Point]) -> f64 {
    let (first, last) = (points[0].y, points[points.len() - 1].y);
    if first == last { first } else { points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64 }
}

/// Type of a list of points.
pub(super) fn point_list(axis: &DataType) -> DataType {
    list_of(DataType::Struct(point_fields(axis)))
}

fn point_fields(axis: &DataType) -> Fields {
    Fields::from(vec![Field::new("step", axis.clone(), true), Field::new("value", DataType::Float64, true)])
}

/// A list of points; a value may be null.
pub(super) fn list_of_points(steps: Vec<i64>, values: Float64Array, axis: &DataType) -> Result<ScalarValue> {
    let columns: Vec<ArrayRef> = vec![decode(steps, None, axis)?, Arc::new(values)];
    list(Arc::new(StructArray::try_new(point_fields(axis), columns, None)?))
}

/// Sixteen bytes a point.
pub(super) struct Points {
    points: Vec<Point>,
    /// Bytes of a result that may be larger than the points. Counted as soon as there is a point, because no one counts it
    /// when the results of all groups are made at once.
    result_bytes: usize,
    axis: DataType,
    returns: DataType,
    finish: Finish,
}

impl Points {
    pub(super) fn boxed(axis: &DataType, returns: &DataType, finish: Finish) -> Box<dyn Accumulator> {
        Self::with_result(axis, returns, finish, 0)
    }

    pub(super) fn with_result(
        axis: &DataType,
        returns: &DataType,
        finish: Finish,
        result_bytes: usize,
    ) -> Box<dyn Accumulator> {
        Box::new(Self { points: Vec::new(), result_bytes, axis: axis.clone(), returns: returns.clone(), finish })
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Points").field("count", &self.points.len()).finish_non_exhaustive()
    }
}

impl Accumulator for Points {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.points.extend(points(&values[0], &values[1])?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.points.extend(merged(&states[0], &states[1]));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        state_of(&take(&mut self.points))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.points.is_empty() {
            return ScalarValue::try_from(&self.returns);
        }
        sort(&mut self.points);
        (self.finish)(&self.points, &self.axis)
    }

    fn size(&self) -> usize {
        let result_bytes = if self.points.is_empty() { 0 } else { self.result_bytes };
        size_of_val(self) + self.points.capacity() * size_of::<Point>() + result_bytes
    }
}

/// Sorts by place, then value: the order of rows is forgotten.
pub(super) fn sort(points: &mut [Point]) {
    points.sort_unstable_by(|one, other| one.x.cmp(&other.x).then(one.y.total_cmp(&other.y)));
}
