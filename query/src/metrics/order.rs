//! What is known of the order and the constants of the rows a scan gives, so that what is above it need not sort.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::equivalence::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{AcrossPartitions, ConstExpr, PhysicalExpr, PhysicalSortExpr};

use super::facts::{METRIC, text_scalar};
use super::parts::Part;
use crate::source::SnapshotSource;

/// The columns by which rows can come sorted, the first first.
const ORDER: [&str; 4] = ["run_id", "metrics_name", METRIC, "step"];

/// Brings `parts` into the order of [`ORDER`], as far as whole parts can.
pub(crate) fn sort(parts: &mut [Part], snapshot: &dyn SnapshotSource) {
    let key = |part: &Part| {
        let pick = part.picks.first()?;
        let facts = pick.origin.facts(snapshot);
        let stats = &facts.metrics[pick.metric];
        Some((facts.run_id, facts.metrics_name, stats.metric.as_str(), stats.first.step, pick.origin))
    };
    parts.sort_by(|a, b| key(a).cmp(&key(b)));
}

/// Order and constants of the rows of `parts`, read one after another, in the columns of `schema`.
pub(crate) fn properties(
    schema: &SchemaRef,
    parts: &[Part],
    snapshot: &dyn SnapshotSource,
) -> Result<EquivalenceProperties> {
    let constants = constants(parts, snapshot);
    let mut properties = EquivalenceProperties::new(Arc::clone(schema));
    let column = |name: &str| -> Option<Arc<dyn PhysicalExpr>> {
        schema.index_of(name).ok().map(|place| Arc::new(Column::new(name, place)) as _)
    };
    properties.add_constants(ORDER.iter().zip(&constants).filter_map(|(name, value)| {
        let value = text_scalar(Some(value.as_deref()?));
        Some(ConstExpr::new(column(name)?, AcrossPartitions::Uniform(Some(value))))
    }))?;
    if is_sorted(parts, snapshot) {
        let varying = ORDER.iter().enumerate().filter(|(place, _)| constants.get(*place).is_none_or(Option::is_none));
        // The order ends before a column that is not asked for.
        let order = varying.map_while(|(_, name)| {
            Some(PhysicalSortExpr::new(column(name)?, SortOptions { descending: false, nulls_first: false }))
        });
        properties.add_ordering(order.collect::<Vec<_>>());
    }
    Ok(properties)
}

/// The values of run, metrics name and metric that are the same in all parts.
fn constants(parts: &[Part], snapshot: &dyn SnapshotSource) -> [Option<String>; 3] {
    let Some(first) = parts.first().and_then(|part| part.picks.first()) else { return [None, None, None] };
    let facts = first.origin.facts(snapshot);
    let metric = &facts.metrics[first.metric].metric;
    let (mut one_run, mut one_name, mut one_metric) = (true, true, true);
    for pick in parts.iter().flat_map(|part| &part.picks) {
        let other = pick.origin.facts(snapshot);
        one_run &= other.run_id == facts.run_id;
        one_name &= other.metrics_name == facts.metrics_name;
        one_metric &= other.metrics[pick.metric].metric == *metric;
    }
    [
        one_run.then(|| facts.run_id.to_string()),
        one_name.then(|| facts.metrics_name.to_owned()),
        one_metric.then(|| metric.clone()),
    ]
}

/// Whether the rows of `parts`, read one after another, are in the order of [`ORDER`].
fn is_sorted(parts: &[Part], snapshot: &dyn SnapshotSource) -> bool {
    let mut last = None;
    for pick in parts.iter().flat_map(|part| &part.picks) {
        let facts = pick.origin.facts(snapshot);
        let stats = &facts.metrics[pick.metric];
        let key = |step| (facts.run_id, facts.metrics_name, stats.metric.as_str(), step);
        if last.is_some_and(|last| last > key(stats.first.step)) {
            return false;
        }
        last = Some(key(stats.last.step));
    }
    true
}
