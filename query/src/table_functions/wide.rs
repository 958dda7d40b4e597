//! Function `wide('metrics name' [, 'run'])`: a column for each metric of a metrics name.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `rank`, `attempt` | Int32 | no | of the writer |
//! | `step` | Int64 | no | caller's step |
//! | `pipeline`, `stage` | Dictionary(Int32, Utf8) | no | of the run |
//! | `run_name` | Dictionary(Int32, Utf8) | yes | display name of the run |
//! | `time` | Timestamp(us, UTC) | yes | when the last record of the step was logged; never null |
//! | a metric each, sorted by name | Float64 | yes | its value at the step; null where it was not logged |
//!
//! One row per (run, rank, attempt, step), in no order. Where a writer logged a metric more than once at a step, the
//! last record wins: the one of the highest (time, sequence number). The columns are the metrics that any run logged
//! under the metrics name, or that the one run did. A metric whose name is one of the columns above gets `_value`
//! behind its name. Names that are not lower case, or hold a `/`, are written in double quotes.
//!
//! Filters on the columns before `time` reach `metrics` and leave out segments; those on a metric's value do not.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{last_value, max};
use datafusion::logical_expr::{Expr, ExprFunctionExt};
use datafusion::prelude::{col, lit};

use super::Store;
use super::arguments::Arguments;
use crate::metrics::facts::{Facts, all_facts};

/// Most columns: each is an aggregate, and planning takes time for each.
const METRICS_MAX: usize = 2000;

/// Columns that tell one row from another. The last three follow from the run.
const KEYS: [&str; 7] = ["run_id", "rank", "attempt", "step", "pipeline", "stage", "run_name"];
const TIME: &str = "time";

pub(super) fn table(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    let snapshot = store.snapshot.as_ref();
    let texts = arguments.texts(1..=2)?;
    let metrics_name = &texts[0];
    let run = texts.get(1).map(|text| arguments.run(text, snapshot.runs())).transpose()?;
    let logged: Vec<Facts<'_>> =
        all_facts(snapshot).filter(|facts| run.is_none_or(|run| facts.run_id == run.run_id)).collect();
    let metrics = metrics_of(&logged, metrics_name);
    if metrics.is_empty() {
        let names: BTreeSet<&str> = logged.iter().map(|facts| facts.metrics_name).collect();
        return Err(arguments.unknown("metrics name", metrics_name, &names));
    }
    if metrics.len() > METRICS_MAX {
        let count = metrics.len();
        return Err(arguments.error(&format!(
            "{metrics_name:?} has {count} metrics, and a table at most {METRICS_MAX} columns of them; \
             name a run, or group the rows of metrics"
        )));
    }
    let mut filter = col("metrics_name").eq(lit(metrics_name.as_str()));
    if let Some(run) = run {
        filter = filter.and(col("run_id").eq(lit(run.run_id.to_string())));
    }
    let mut columns = vec![max(col(TIME)).alias(TIME)];
    for metric in &metrics {
        columns.push(last_of(metric)?.alias(column_name(metric, &metrics)));
    }
    let plan = store.metrics()?.filter(filter)?.aggregate(KEYS.map(col), columns)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

fn metrics_of<'a>(logged: &[Facts<'a>], metrics_name: &str) -> BTreeSet<&'a str> {
    let fitting = logged.iter().filter(|facts| facts.metrics_name == metrics_name);
    fitting.flat_map(|facts| facts.metrics).map(|stats| stats.metric.as_str()).collect()
}

/// The value of the last record of `metric` in a group.
fn last_of(metric: &str) -> Result<Expr> {
    let order = [TIME, "seq"].map(|column| col(column).sort(true, false));
    last_value(col("value"), order.to_vec()).filter(col("metric").eq(lit(metric))).build()
}

/// Name of the column of `metric`: its own, unless another column has it.
fn column_name(metric: &str, metrics: &BTreeSet<&str>) -> String {
    let mut name = metric.to_owned();
    while KEYS.contains(&name.as_str()) || name == TIME || name != metric && metrics.contains(name.as_str()) {
        name.push_str("_value");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_columns_have_one_name() {
        let metrics = BTreeSet::from(["loss", "step", "step_value", "time"]);
        let names: Vec<String> = metrics.iter().map(|metric| column_name(metric, &metrics)).collect();
        assert_eq!(names, ["loss", "step_value_value", "step_value", "time_value"]);
    }
}
