//! Function `curves(['metrics name'])`: one value per step, where a run was resumed and steps were repeated.
//!
//! The columns are those of `metrics`; `time`, `value`, `attempt` and `seq` are nullable by their type, and never null. Of its rows, two kinds are left out:
//!
//! 1. Rows that a later attempt took back. A rank that was resumed goes on from a checkpoint and repeats the steps after
//!    it: of the rows that an attempt logged under a metrics name, those at or after the lowest step of any later attempt of the
//!    same run, rank and metrics name are left out, also where the later attempt did not log that metric again.
//! 2. Repetitions. Of several records of one (run, metrics name, metric, rank, step), the last one stays: the one of the
//!    highest (attempt, time, sequence number).
//!
//! Rows have no order. Where a later attempt began is known from stored statistics; no file is opened for it. Filters on
//! run, metrics name, metric, rank and step reach `metrics` and leave out segments; those on attempt, value, time and
//! sequence number choose among the rows that stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{TableProvider, default_table_source};
use datafusion::common::JoinType;
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::last_value;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{col, lit};
use stepwell_engine::RunId;

use super::Store;
use super::arguments::Arguments;
use crate::metrics::facts::{Facts, all_facts, metrics_schema};
use crate::system_tables::columns::{int_field, ints, key_field, keys, small_field, smalls};

/// Columns that tell one value of a curve from another. The last three follow from the run; filters on them then reach
/// `metrics`.
const KEYS: [&str; 8] = ["run_id", "metrics_name", "metric", "rank", "step", "pipeline", "stage", "run_name"];
/// Columns of the record that stays.
const OF_THE_LAST: [&str; 4] = ["time", "value", "attempt", "seq"];

pub(super) fn table(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    let metrics_name = arguments.texts(0..=1)?.first();
    let logged: Vec<Facts<'_>> = all_facts(store.snapshot.as_ref()).collect();
    let mut plan = store.metrics()?;
    if let Some(metrics_name) = metrics_name {
        if !logged.iter().any(|facts| facts.metrics_name == metrics_name) {
            let names: BTreeSet<&str> = logged.iter().map(|facts| facts.metrics_name).collect();
            return Err(arguments.unknown("metrics name", metrics_name, &names));
        }
        plan = plan.filter(col("metrics_name").eq(lit(metrics_name.as_str())))?;
    }
    let cuts = cuts(&logged);
    if !cuts.is_empty() {
        let on = |table: &str| ["run_id", "metrics_name", "rank", "attempt"].map(|column| format!("{table}.{column}"));
        let on = (on("metrics").to_vec(), on("cuts").to_vec());
        plan = plan.join(plan_of(&cuts)?, JoinType::Left, on, None)?;
        plan = plan.filter(col("cuts.cut").is_null().or(col("metrics.step").lt(col("cuts.cut"))))?;
    }
    let order = ["attempt", "time", "seq"].map(|column| col(format!("metrics.{column}")).sort(true, false)).to_vec();
    let last = OF_THE_LAST.map(|column| last_value(col(format!("metrics.{column}")), order.clone()).alias(column));
    let plan = plan.aggregate(KEYS.map(|column| col(format!("metrics.{column}"))), last)?;
    let columns: Vec<_> = metrics_schema().fields().iter().map(|field| col(field.name())).collect();
    Ok(Arc::new(ViewTable::new(plan.project(columns)?.build()?, None)))
}

/// An attempt of one rank under one metrics name, and the step from which its rows were taken back.
struct Cut {
    run_id: RunId,
    metrics_name: String,
    rank: i32,
    attempt: i32,
    step: i64,
}

/// The attempts that a later one took rows back from.
fn cuts(logged: &[Facts<'_>]) -> Vec<Cut> {
    let mut starts: BTreeMap<(RunId, &str, i32), BTreeMap<i32, i64>> = BTreeMap::new();
    for facts in logged {
        let Some((lowest, _)) = facts.steps() else { continue };
        let attempts = starts.entry((facts.run_id, facts.metrics_name, facts.writer.rank)).or_default();
        attempts.entry(facts.writer.attempt).and_modify(|known| *known = lowest.min(*known)).or_insert(lowest);
    }
    let mut cuts = Vec::new();
    for ((run_id, metrics_name, rank), attempts) in starts {
        let mut later: Option<i64> = None;
        for (attempt, lowest) in attempts.into_iter().rev() {
            if let Some(step) = later {
                cuts.push(Cut { run_id, metrics_name: metrics_name.to_owned(), rank, attempt, step });
            }
            later = Some(later.map_or(lowest, |step| step.min(lowest)));
        }
    }
    cuts
}

fn plan_of(cuts: &[Cut]) -> Result<LogicalPlan> {
    let fields: Vec<Field> = vec![
        key_field("run_id"),
        key_field("metrics_name"),
        small_field("rank"),
        small_field("attempt"),
        int_field("cut"),
    ];
    debug_assert!(matches!(fields[0].data_type(), DataType::Dictionary(..)), "as in metrics, to join without a cast");
    let schema = Arc::new(Schema::new(fields));
    let columns = vec![
        keys(cuts.iter().map(|cut| cut.run_id.to_string()))?,
        keys(cuts.iter().map(|cut| &cut.metrics_name))?,
        smalls(cuts.iter().map(|cut| cut.rank)),
        smalls(cuts.iter().map(|cut| cut.attempt)),
        ints(cuts.iter().map(|cut| cut.step)),
    ];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let table = MemTable::try_new(schema, vec![vec![rows]])?;
    LogicalPlanBuilder::scan("cuts", default_table_source::provider_as_source(Arc::new(table)), None)?.build()
}
