//! Table `summary`: one row per run, metrics name and metric, committed and live rows together. No row is read for it.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id`, `metrics_name`, `metric` | Dictionary(Int32, Utf8) | no | which metric |
//! | `count` | Int64 | no | records |
//! | `non_finite` | Int64 | no | records whose value is NaN or infinite |
//! | `min`, `max` | Float64 | yes | extremes of the finite values; null when there is none |
//! | `min_step`, `max_step` | Int64 | yes | lowest step at which the extreme was seen |
//! | `first`, `last` | Float64 | no | value of the record with the lowest, highest (step, time, seq) |
//! | `first_step`, `last_step` | Int64 | no | lowest and highest step |
//! | `mean` | Float64 | yes | over the finite values; null when there is none |
//!
//! Ordered by run, metrics name, metric.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::events::MetricStats;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        key_field("metrics_name"),
        key_field("metric"),
        int_field("count"),
        int_field("non_finite"),
        nullable(float_field("min")),
        nullable(int_field("min_step")),
        nullable(float_field("max")),
        nullable(int_field("max_step")),
        float_field("first"),
        int_field("first_step"),
        float_field("last"),
        int_field("last_step"),
        nullable(float_field("mean")),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.summary()?;
    let stats = || all.iter().map(|row| &row.stats);
    Ok(vec![
        keys(all.iter().map(|row| row.run_id.to_string()))?,
        keys(all.iter().map(|row| &row.metrics_name))?,
        keys(stats().map(|stats| &stats.metric))?,
        counts(stats().map(|stats| stats.count)),
        counts(stats().map(|stats| stats.non_finite)),
        optional_floats(stats().map(|stats| stats.min.map(|min| min.value))),
        optional_ints(stats().map(|stats| stats.min.map(|min| min.step))),
        optional_floats(stats().map(|stats| stats.max.map(|max| max.value))),
        optional_ints(stats().map(|stats| stats.max.map(|max| max.step))),
        floats(stats().map(|stats| stats.first.value)),
        ints(stats().map(|stats| stats.first.step)),
        floats(stats().map(|stats| stats.last.value)),
        ints(stats().map(|stats| stats.last.step)),
        optional_floats(stats().map(mean)),
    ])
}

/// Counts stay far below 2^53, where a float holds them exactly.
#[allow(clippy::cast_precision_loss)]
fn mean(stats: &MetricStats) -> Option<f64> {
    let finite = stats.count.saturating_sub(stats.non_finite);
    (finite > 0).then(|| stats.sum / finite as f64)
}
