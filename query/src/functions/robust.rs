//! `mad(value)` and `iqm(value)`: spread and middle that a few odd values do not move.
//!
//! `mad` is the median absolute deviation: the median of |value - median of the values|, where the median of an even number of
//! values is halfway between the middle two. It is not scaled: times 1.4826 it estimates the standard deviation of a normal
//! distribution. (Hampel, "The Influence Curve and its Role in Robust Estimation", 1974.) It can be asked over a frame of
//! rows that moves: `mad(value) OVER (... ROWS BETWEEN 50 PRECEDING AND CURRENT ROW)`.
//!
//! `iqm` is the interquartile mean: of n values the lowest and the highest `floor(n / 4)` are left out, the others averaged.
//! So do rliable (Agarwal, Schwarzer, Castro, Courville and Bellemare, "Deep Reinforcement Learning at the Edge of the
//! Statistical Precipice", 2021) and `scipy.stats.trim_mean(x, 0.25)`.
//!
//! Both take a number and give Float64; nulls, NaN and infinities are left out, and without a value the result is null.
//!
//! Cost: 8 bytes a value, and a sort of them; in a frame of w rows a move of up to 8 w bytes a row.

use std::mem::{size_of, size_of_val, take};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::Accumulator;

use super::aggregate::{Definition, list, lists};
use super::arguments::{Kind, Parameter};
use super::values::{Values, finite, states};

const VALUE: Parameter = Parameter::new("value", Kind::Number, "Numbers; only finite ones count.");

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "mad",
        aliases: &[],
        parameters: &[VALUE],
        about: "Median absolute deviation: the median of |value - median|, not scaled. Also over frames of rows.",
        example: "SELECT run_id, mad(value) FROM metrics WHERE metric = 'grad_norm' GROUP BY run_id",
        returns: |_| DataType::Float64,
        state: states,
        accumulator: |call| {
            Ok(Values::boxed(&call.returns, Box::new(|sorted| Ok(ScalarValue::Float64(deviation(sorted))))))
        },
        sliding: Some(|_| Ok(Box::new(SlidingDeviation { sorted: Vec::new() }))),
        groups: None,
    },
    Definition {
        name: "iqm",
        aliases: &[],
        parameters: &[VALUE],
        about: "Interquartile mean: the mean without the lowest and highest quarter of the values.",
        example: "SELECT step, iqm(value) FROM metrics WHERE metric = 'reward' GROUP BY step",
        returns: |_| DataType::Float64,
        state: states,
        accumulator: |call| {
            Ok(Values::boxed(&call.returns, Box::new(|sorted| Ok(ScalarValue::Float64(Some(trimmed_mean(sorted)))))))
        },
        sliding: None,
        groups: None,
    },
];

/// The mean of the values that are left without a quarter of them on either side; there is at least one.
fn trimmed_mean(sorted: &[f64]) -> f64 {
    let cut = sorted.len() / 4;
    let kept = &sorted[cut..sorted.len() - cut];
    kept.iter().sum::<f64>() / kept.len() as f64
}

/// The median absolute deviation of sorted values; `None` when there are none.
fn deviation(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let upper = *sorted.get(n / 2)?;
    let median = if n.is_multiple_of(2) { f64::midpoint(sorted[n / 2 - 1], upper) } else { upper };
    let high = nth_deviation(sorted, median, n / 2 + 1);
    Some(if n.is_multiple_of(2) { f64::midpoint(nth_deviation(sorted, median, n / 2), high) } else { high })
}

/// The `nth` smallest distance (from 1) of sorted values to `middle`: the `nth` nearest values lie side by side.
fn nth_deviation(sorted: &[f64], middle: f64, nth: usize) -> f64 {
    let (mut low, mut high) = (0, sorted.len() - nth);
    while low < high {
        let start = low + (high - low) / 2;
        if middle - sorted[start] > sorted[start + nth] - middle {
            low = start + 1;
        } else {
            high = start;
        }
    }
    (middle - sorted[low]).max(sorted[low + nth - 1] - middle)
}

/// The finite values of a frame of rows, kept sorted.
#[derive(Debug)]
struct SlidingDeviation {
    sorted: Vec<f64>,
}

/// From this many new values on sorting is cheaper than finding the place of each.
const SORT_FROM: usize = 32;

impl Accumulator for SlidingDeviation {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values[0].len() >= SORT_FROM {
            self.sorted.extend(finite(&values[0]));
            self.sorted.sort_unstable_by(f64::total_cmp);
            return Ok(());
        }
        for value in finite(&values[0]) {
            let place = self.sorted.partition_point(|other| other.total_cmp(&value).is_lt());
            self.sorted.insert(place, value);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in finite(&values[0]) {
            match self.sorted.binary_search_by(|other| other.total_cmp(&value)) {
                Ok(place) => drop(self.sorted.remove(place)),
                Err(_) => return internal_err!("mad: a value leaves the frame that never came into it"),
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in lists(&states[0]) {
            self.sorted.extend_from_slice(values.as_primitive::<Float64Type>().values());
        }
        self.sorted.sort_unstable_by(f64::total_cmp);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(Arc::new(Float64Array::from(take(&mut self.sorted))))?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(deviation(&self.sorted)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sorted.capacity() * size_of::<f64>()
    }
}
