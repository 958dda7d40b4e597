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

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use stepwell_engine::RunId;
use stepwell_engine::events::MetricStats;

use super::columns::*;
use crate::metrics::filters::is_known_before;
use crate::rows_table::RowsTable;
use crate::source::SnapshotSource;

const RUN: &str = "run_id";
const METRICS_NAME: &str = "metrics_name";
const METRIC: &str = "metric";

fn fields() -> Vec<Field> {
    vec![
        key_field(RUN),
        key_field(METRICS_NAME),
        key_field(METRIC),
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

/// The table: rows are made for the runs and metrics that its filters let through, and not for the others.
pub(super) struct SummaryTable {
    schema: SchemaRef,
    snapshot: Arc<dyn SnapshotSource>,
}

impl SummaryTable {
    pub(super) fn new(snapshot: Arc<dyn SnapshotSource>) -> Self {
        Self { schema: Arc::new(Schema::new(fields())), snapshot }
    }
}

impl fmt::Debug for SummaryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for SummaryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let of = |filter: &&Expr| match key_of(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(of).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut picks = Vec::new();
        for filter in filters {
            let Some(key) = key_of(filter) else { continue };
            let schema = Arc::new(Schema::new(vec![key_field(key)]));
            let predicate = session.create_physical_expr(filter.clone(), &DFSchema::try_from(Arc::clone(&schema))?)?;
            picks.push(Pick { key, schema, predicate });
        }
        let snapshot = Arc::clone(&self.snapshot);
        let table = RowsTable::new(fields(), move || rows(snapshot.as_ref(), &picks));
        table.scan(session, projection, &[], limit).await
    }
}

/// The one key that a filter is about; `None` where it is about more, or known only while the query runs.
fn key_of(filter: &Expr) -> Option<&'static str> {
    let columns = filter.column_refs();
    let key = [RUN, METRICS_NAME, METRIC].into_iter().find(|key| columns.iter().all(|column| column.name == *key));
    key.filter(|_| !columns.is_empty() && is_known_before(filter))
}

/// A filter on one of the keys.
#[derive(Debug)]
struct Pick {
    key: &'static str,
    schema: SchemaRef,
    predicate: Arc<dyn PhysicalExpr>,
}

impl Pick {
    /// Which of the values it lets through.
    fn fits(&self, values: impl Iterator<Item = impl AsRef<str>>) -> Result<BooleanArray> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![keys(values)?])?;
        Ok(self.predicate.evaluate(&batch)?.into_array(batch.num_rows())?.as_boolean().clone())
    }

    /// What has not been asked for yet is asked, and kept. A filter that fails is left to the one above the scan, which tells why.
    fn fits_one(&self, known: &RefCell<HashMap<String, bool>>, value: &str) -> bool {
        if let Some(fits) = known.borrow().get(value) {
            return *fits;
        }
        let fits = self.fits([value].into_iter()).map_or(true, |fits| fits.is_valid(0) && fits.value(0));
        known.borrow_mut().insert(value.to_owned(), fits);
        fits
    }
}

fn rows(snapshot: &dyn SnapshotSource, picks: &[Pick]) -> Result<Vec<ArrayRef>> {
    let mut runs: Option<HashMap<RunId, bool>> = None;
    for pick in picks.iter().filter(|pick| pick.key == RUN) {
        let ids = snapshot.runs().iter().map(|run| run.run_id);
        let fits = pick.fits(ids.clone().map(|id| id.to_string()))?;
        let runs = runs.get_or_insert_default();
        for (id, fits) in ids.zip(fits.iter()) {
            *runs.entry(id).or_insert(true) &= fits == Some(true);
        }
    }
    let of_names: Vec<_> = picks.iter().filter(|pick| pick.key != RUN).map(|pick| (pick, RefCell::default())).collect();
    let fits = |run: RunId, metrics_name: &str, metric: &str| {
        let is_picked = |(pick, known): &(&Pick, RefCell<_>)| {
            pick.fits_one(known, if pick.key == METRIC { metric } else { metrics_name })
        };
        runs.as_ref().is_none_or(|runs| runs.get(&run) == Some(&true)) && of_names.iter().all(is_picked)
    };
    let all = snapshot.summary_where(&fits).map_err(|error| DataFusionError::External(Box::new(error)))?;
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
