//! The table `metrics`: committed segments and live rows, each row exactly once.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run, a UUID as text |
//! | `metrics_name` | Dictionary(Int32, Utf8) | no | name the metric was logged under |
//! | `metric` | Dictionary(Int32, Utf8) | no | key, such as `loss` |
//! | `step` | Int64 | no | caller's step; may repeat and go back |
//! | `time` | Timestamp(us, UTC) | no | when the call was made |
//! | `value` | Float64 | no | unit chosen by the caller; NaN and infinities kept |
//! | `rank`, `attempt` | Int32 | no | of the writer |
//! | `seq` | Int64 | no | sequence number of the record within its writer |
//! | `pipeline`, `stage` | Dictionary(Int32, Utf8) | no | of the run |
//! | `run_name` | Dictionary(Int32, Utf8) | yes | display name of the run |
//!
//! Rows have no order; ask for one with ORDER BY. In comparisons -0.0 equals 0.0, and a NaN is above infinity (below
//! minus infinity with the sign bit set) and equals only a NaN of the same bits: `isnan(value)` finds every NaN.
//!
//! `scan` picks the rows of segments and live batches that can be in the answer and describes how to read them. A segment is verified and
//! opened in the stream; of many segments, what packs have of them is looked up before.

mod counted;
mod exec;
pub(crate) mod facts;
pub(crate) mod filters;
mod order;
mod packs;
mod parts;
mod pruning;
mod rows;
pub(crate) mod rules;
mod segment;
mod stream;

use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::integrity::Guard;
use crate::source::SnapshotSource;
use exec::{MetricsScanExec, Scan, projected};
use facts::{Facts, Runs, all_facts, metrics_schema};
use filters::classify;
use pruning::Pruner;

/// Provider of `metrics` for one query.
pub(crate) struct MetricsTable {
    snapshot: Arc<dyn SnapshotSource>,
    guard: Arc<Guard>,
    schema: SchemaRef,
}

impl MetricsTable {
    pub(crate) fn new(snapshot: Arc<dyn SnapshotSource>, guard: Arc<Guard>) -> Self {
        Self { snapshot, guard, schema: metrics_schema() }
    }
}

impl std::fmt::Debug for MetricsTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for MetricsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters.iter().map(|filter| classify(filter)).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
        let is_everything = filters.is_empty();
        let of_use = filters.iter().filter(|filter| classify(filter) != TableProviderFilterPushDown::Unsupported);
        let filters = of_use.map(|filter| session.create_physical_expr(filter.clone(), &schema));
        let pruner = Pruner::new(filters.collect::<Result<Vec<_>>>()?, &self.schema);
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());

        let snapshot = self.snapshot.as_ref();
        if columns.is_empty()
            && is_everything
            && limit.is_none()
            && let Some(counted) = counted::rows(snapshot, &self.guard)?
        {
            return Ok(counted);
        }
        let (segments, live) = (snapshot.segments(), snapshot.live());
        let runs = Runs::new(Arc::clone(&self.snapshot));
        let picks = {
            let facts: Vec<Facts<'_>> = all_facts(snapshot).collect();
            pruner.pick(&facts, &runs)?
        };
        let packs = packs::of_use(snapshot, &self.guard, &picks).await?;
        let (parts, packs) = packs::parts(snapshot, picks, packs);
        let rows_of_all = segments.iter().map(|segment| usize::try_from(segment.rows).unwrap_or(usize::MAX));
        let rows_of_all =
            rows_of_all.chain(live.iter().map(|rows| rows.batch.num_rows())).fold(0, usize::saturating_add);
        let scan = Scan {
            snapshot: Arc::clone(&self.snapshot),
            guard: Arc::clone(&self.guard),
            pruner,
            runs,
            packs,
            schema: projected(&columns)?,
            columns,
            rows_of_all,
            is_verified: OnceLock::new(),
        };
        Ok(Arc::new(MetricsScanExec::try_new(scan, parts, session.config().target_partitions(), limit)?))
    }
}
