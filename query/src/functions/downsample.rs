//! `m4(step, value, n)` (also `bucket_minmax`) and `lttb(step, value, n)`: few points that draw as the whole curve does.
//!
//! `m4` cuts the steps between the first and the last into `n` buckets of equal width and keeps the first, the last, the lowest and
//! the highest point of each (of equal values the first): at most 4 n points, of which no extreme is missing, and which draw a
//! line `n` pixels wide exactly as all points do. (Jugel, Jerzak, Hackenbroich and Markl, "M4: A Visualization-Oriented Time
//! Series Data Aggregation", 2014; the bucket of a step is `floor(n * (step - first) / (last - first))` here, and the last step
//! is in the last bucket.)
//!
//! `lttb` keeps `n` points: the first, the last, and from each of `n - 2` buckets with as many points each the one that makes
//! the largest triangle with the point kept before it and the mean of the next bucket. (Steinarsson, "Downsampling Time Series for
//! Visual Representation", 2013, Largest-Triangle-Three-Buckets.) A curve of at most `n` points is kept whole.
//!
//! `step` is a number or a time, in any order of rows; `value` is a number; `n` is a constant, from 1 (`lttb`: 2) to 1,000,000. The
//! result is a list of structs of `step` and `value`, by step: `unnest(m4(step, value, 2000))` makes rows of it. Points at the same
//! step are all there, by value. Nulls, NaN and infinities are left out; without a point the result is null.
//!
//! Cost: 16 bytes a point, and a sort of them.

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Accumulator;

use super::aggregate::{Call, Definition};
use super::arguments::{Kind, Parameter};
use super::codes::distance;
use super::points::{Point, Points, list_of_points, point_list, states};

const N_MAX: i64 = 1_000_000;

const STEP: Parameter = Parameter::new("step", Kind::Axis, "Steps or times of the values.");
const VALUE: Parameter = Parameter::new("value", Kind::Number, "Values of the curve; only finite ones count.");

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "m4",
        aliases: &["bucket_minmax"],
        parameters: &[STEP, VALUE, Parameter::new("n", Kind::Whole, "Buckets, such as pixels; 1 to 1,000,000.")],
        about: "First, last, lowest and highest point of each of n buckets of steps; a list of step and value.",
        example: "SELECT run_id, unnest(m4(step, value, 2000)) FROM metrics WHERE metric = 'loss' GROUP BY run_id",
        returns: |types| point_list(&types[0]),
        state: states,
        accumulator: |call| kept_points(call, 1, m4),
        sliding: None,
        groups: None,
    },
    Definition {
        name: "lttb",
        aliases: &[],
        parameters: &[STEP, VALUE, Parameter::new("n", Kind::Whole, "Points to keep; 2 to 1,000,000.")],
        about: "n points that look like the curve, by largest triangles; a list of step and value.",
        example: "SELECT run_id, unnest(lttb(step, value, 500)) FROM metrics WHERE metric = 'loss' GROUP BY run_id",
        returns: |types| point_list(&types[0]),
        state: states,
        accumulator: |call| kept_points(call, 2, lttb),
        sliding: None,
        groups: None,
    },
];

/// Which points to keep, of sorted ones.
type Keep = fn(&[Point], usize, &DataType) -> Vec<usize>;

fn kept_points(call: &Call, n_min: i64, keep: Keep) -> Result<Box<dyn Accumulator>> {
    let n = call.constants.whole_in(2, n_min..=N_MAX, None)?;
    let finish = move |points: &[Point], axis: &DataType| {
        let kept = keep(points, n, axis);
        let values = Float64Array::from_iter_values(kept.iter().map(|place| points[*place].y));
        list_of_points(kept.iter().map(|place| points[*place].x).collect(), values, axis)
    };
    Ok(Points::boxed(&call.types[0], &call.returns, Box::new(finish)))
}

fn m4(points: &[Point], n: usize, axis: &DataType) -> Vec<usize> {
    let (first, last) = (points[0].x, points[points.len() - 1].x);
    let width = distance(first, last, axis);
    let bucket = |place: usize| {
        let share = if width > 0.0 { n as f64 * distance(first, points[place].x, axis) / width } else { 0.0 };
        (share as usize).min(n - 1)
    };
    let mut kept = Vec::new();
    let mut start = 0;
    while start < points.len() {
        let this = bucket(start);
        let mut four = [start; 4];
        let mut end = start + 1;
        while end < points.len() && bucket(end) == this {
            if points[end].y < points[four[1]].y {
                four[1] = end;
            }
            if points[end].y > points[four[2]].y {
                four[2] = end;
            }
            end += 1;
        }
        four[3] = end - 1;
        four.sort_unstable();
        kept.extend_from_slice(&four);
        start = end;
    }
    kept.dedup();
    kept
}

fn lttb(points: &[Point], n: usize, axis: &DataType) -> Vec<usize> {
    if points.len() <= n {
        return (0..points.len()).collect();
    }
    let x = |place: usize| distance(points[0].x, points[place].x, axis);
    let mut kept = vec![0];
    // Where buckets begin; all but the first and the last point lie in one of them.
    let every = if n > 2 { (points.len() - 2) as f64 / (n - 2) as f64 } else { 0.0 };
    let begin = |bucket: usize| ((bucket as f64 * every) as usize + 1).min(points.len() - 1);
    for bucket in 0..n - 2 {
        let (start, end) = (begin(bucket), begin(bucket + 1));
        let next = end..begin(bucket + 2).max(end + 1);
        let count = next.len() as f64;
        let next_x = next.clone().map(x).sum::<f64>() / count;
        let next_y = next.map(|place| points[place].y).sum::<f64>() / count;
        let before = kept[kept.len() - 1];
        let (before_x, before_y) = (x(before), points[before].y);
        let area = |place: usize| {
            let (x, y) = (x(place), points[place].y);
            ((before_x - next_x) * (y - before_y) - (before_x - x) * (next_y - before_y)).abs()
        };
        let mut best = (start, -1.0);
        for place in start..end {
            let area = area(place);
            if area > best.1 {
                best = (place, area);
            }
        }
        kept.push(best.0);
    }
    kept.push(points.len() - 1);
    kept
}
