//! What is known of the order and the constants of the rows a scan gives, so that what is above it need not sort.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::equivalence::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{AcrossPartitions, ConstExpr, PhysicalExpr, PhysicalSortExpr};

use super::facts::{Facts, METRIC, text_scalar};
use super::parts::Part;
use crate::source::SnapshotSource;

/// The columns by which rows can come sorted, the first first.
const ORDER: [&str; 4] = ["run_id", "metrics_name", METRIC, "step"];

/// Brings `parts` into the order of [`ORDER`], as far as whole parts can.
pub(crate) fn sort(parts: &mut [Part], snapshot: &dyn SnapshotSource) {
    parts.sort_by(|a, b| {
        let (of_a, of_b) = (a.origin.facts(snapshot), b.origin.facts(snapshot));
        let first =
            |part: &Part, facts: &Facts<'_>| part.picks.first().map(|pick| facts.metrics[pick.metric].first.step);
        (of_a.run_id, of_a.metrics_name)
            .cmp(&(of_b.run_id, of_b.metrics_name))
            .then_with(|| first_metric(a, &of_a).cmp(&first_metric(b, &of_b)))
            .then_with(|| first(a, &of_a).cmp(&first(b, &of_b)))
            .then_with(|| a.origin.cmp(&b.origin))
    });
}

fn first_metric<'a>(part: &Part, facts: &Facts<'a>) -> Option<&'a str> {
    part.picks.first().map(|pick| facts.metrics[pick.metric].metric.as_str())
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
    let Some(first) = parts.first() else { return [None, None, None] };
    let facts = first.origin.facts(snapshot);
    let metric = first_metric(first, &facts);
    let (mut one_run, mut one_name, mut one_metric) = (true, true, true);
    for part in parts {
        let other = part.origin.facts(snapshot);
        one_run &= other.run_id == facts.run_id;
        one_name &= other.metrics_name == facts.metrics_name;
        one_metric &= part.picks.iter().all(|pick| Some(other.metrics[pick.metric].metric.as_str()) == metric);
    }
    [
        one_run.then(|| facts.run_id.to_string()),
        one_name.then(|| facts.metrics_name.to_owned()),
        metric.filter(|_| one_metric).map(str::to_owned),
    ]
}

/// Whether the rows of `parts`, read one after another, are in the order of [`ORDER`].
fn is_sorted(parts: &[Part], snapshot: &dyn SnapshotSource) -> bool {
    let mut last = None;
    for part in parts {
        let facts = part.origin.facts(snapshot);
        for pick in &part.picks {
            let stats = &facts.metrics[pick.metric];
            let key = |step| (facts.run_id, facts.metrics_name, stats.metric.as_str(), step);
            if last.is_some_and(|last| last > key(stats.first.step)) {
                return false;
            }
            last = Some(key(stats.last.step));
        }
    }
    true
}
