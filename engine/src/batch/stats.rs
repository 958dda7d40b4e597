//! Summaries: what a set of records of one metric holds.

use crate::batch::MetricColumns;
use crate::events::{Extreme, MetricStats, PlacedValue};

/// Summary of columns that are not empty and sorted by (step, seq).
pub(crate) fn summarise(metric: &str, columns: &MetricColumns) -> MetricStats {
    let placed = |index: usize| PlacedValue {
        step: columns.step[index],
        time: columns.time[index],
        seq: columns.seq[index],
        value: columns.value[index],
    };
    let order = |index: &usize| place(&placed(*index));
    // Among the rows of one step, time decides before the sequence number: rings of several threads interleave.
    let last_index = columns.len() - 1;
    let first_step_end = columns.step.partition_point(|step| *step <= columns.step[0]);
    let last_step_start = columns.step.partition_point(|step| *step < columns.step[last_index]);
    let first = placed((0..first_step_end).min_by_key(order).unwrap_or(0));
    let last = placed((last_step_start..columns.len()).max_by_key(order).unwrap_or(last_index));
    let mut stats =
        MetricStats { metric: metric.to_owned(), count: 0, non_finite: 0, min: None, max: None, first, last, sum: 0.0 };
    for (value, step) in columns.value.iter().copied().zip(columns.step.iter().copied()) {
        stats.count += 1;
        if !value.is_finite() {
            stats.non_finite += 1;
            continue;
        }
        stats.sum += value;
        // Steps rise, so the first row with an extreme value is the one with its lowest step.
        if stats.min.is_none_or(|min| value < min.value) {
            stats.min = Some(Extreme { value, step });
        }
        if stats.max.is_none_or(|max| value > max.value) {
            stats.max = Some(Extreme { value, step });
        }
    }
    stats
}

/// What decides which of two records is first or last: step, then time, then sequence number.
fn place(value: &PlacedValue) -> (i64, i64, i64) {
    (value.step, value.time, value.seq)
}

/// Adds the summary of other records of the same metric.
pub(crate) fn merge(into: &mut MetricStats, other: &MetricStats) {
    into.count += other.count;
    into.non_finite += other.non_finite;
    into.sum += other.sum;
    if place(&other.first) < place(&into.first) {
        into.first = other.first;
    }
    if place(&other.last) > place(&into.last) {
        into.last = other.last;
    }
    into.min = better(into.min, other.min, |a, b| a < b);
    into.max = better(into.max, other.max, |a, b| a > b);
}

fn better(a: Option<Extreme>, b: Option<Extreme>, wins: impl Fn(f64, f64) -> bool) -> Option<Extreme> {
    match (a, b) {
        (Some(a), Some(b)) if wins(b.value, a.value) || (b.value == a.value && b.step < a.step) => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}
