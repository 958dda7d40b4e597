//! `bootstrap_ci(value[, confidence[, resamples[, seed]]])`: a confidence interval of the mean.
//!
//! The percentile bootstrap (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; Efron and Tibshirani, "An
//! Introduction to the Bootstrap", 1993, chapter 13): the values are drawn from with replacement `resamples` times, and the
//! interval holds the middle `confidence` of the means, linearly interpolated between them as `numpy.percentile` does.
//!
//! `value` is a number; the others are constants: `confidence` above 0 and below 1 (default 0.95), `resamples` from 1 to 100,000
//! (default 10,000), `seed` a whole number (default 0). The result is a struct of `low` and `high`, both Float64. The values
//! are sorted first: the same values and seed give the same interval, whatever the order of rows. Nulls, NaN and infinities
//! are left out; null when nothing is left. With few values (below about 10) such intervals are too narrow.
//!
//! Cost: 8 bytes a value; one random draw (about 2 ns) a value and resample, of which a group may need a hundred million.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StructArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Accumulator;

use super::aggregate::{Call, Definition};
use super::arguments::{Kind, Parameter};
use super::values::{Values, states};

const CONFIDENCE: f64 = 0.95;
const RESAMPLES: i64 = 10_000;
const RESAMPLES_MAX: i64 = 100_000;
/// Draws for one group, less than a second: nothing stops a function in the middle of one.
const DRAWS_MAX: usize = 100_000_000;

fn fields() -> Fields {
    Fields::from(["low", "high"].map(|name| Field::new(name, DataType::Float64, true)).to_vec())
}

pub(super) const DEFINITIONS: &[Definition] = &[Definition {
    name: "bootstrap_ci",
    aliases: &[],
    parameters: &[
        Parameter::new("value", Kind::Number, "Numbers; only finite ones count."),
        Parameter::optional("confidence", Kind::Number, "Share of means in the interval; default 0.95."),
        Parameter::optional("resamples", Kind::Whole, "How often to draw, at most 100,000; default 10,000."),
        Parameter::optional("seed", Kind::Whole, "Seed of the random numbers; default 0."),
    ],
    about: "Confidence interval of the mean by the percentile bootstrap, a struct of low and high.",
    example: "SELECT step, bootstrap_ci(value)['low'] FROM metrics WHERE metric = 'reward' GROUP BY step",
    returns: |_| DataType::Struct(fields()),
    state: states,
    accumulator,
    sliding: None,
    groups: None,
}];

fn accumulator(call: &Call) -> Result<Box<dyn Accumulator>> {
    let confidence = call.constants.number(1)?.unwrap_or(CONFIDENCE);
    if !(confidence > 0.0 && confidence < 1.0) {
        return plan_err!("bootstrap_ci: confidence must be above 0 and below 1, not {confidence}");
    }
    let resamples = call.constants.whole_in(2, 1..=RESAMPLES_MAX, Some(RESAMPLES))?;
    let seed = call.constants.whole(3)?.unwrap_or(0) as u64;
    let finish = move |sorted: &[f64]| {
        if sorted.len().saturating_mul(resamples) > DRAWS_MAX {
            return plan_err!(
                "bootstrap_ci: {resamples} resamples of {} values are more than {DRAWS_MAX} draws; ask for fewer",
                sorted.len()
            );
        }
        let [low, high] = interval(sorted, confidence, resamples, seed);
        let columns = [low, high].map(|bound| Arc::new(Float64Array::from(vec![bound])) as ArrayRef);
        Ok(ScalarValue::Struct(Arc::new(StructArray::try_new(fields(), columns.to_vec(), None)?)))
    };
    Ok(Values::boxed(&call.returns, Box::new(finish)))
}

fn interval(sorted: &[f64], confidence: f64, resamples: usize, seed: u64) -> [f64; 2] {
    let mut random = SplitMix(seed);
    let n = sorted.len();
    let mean = |random: &mut SplitMix| (0..n).map(|_| sorted[random.below(n)]).sum::<f64>() / n as f64;
    let mut means: Vec<f64> = (0..resamples).map(|_| mean(&mut random)).collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    [quantile(&means, tail), quantile(&means, 1.0 - tail)]
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let low = place.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    let part = place - place.floor();
    sorted[low] * (1.0 - part) + sorted[high] * part
}

/// Random numbers (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end` (Lemire, "Fast Random Integer Generation in an Interval", 2019, without the rejection: the
    /// bias is below `end` / 2^64).
    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }
}
