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
//! `scan` does no I/O: it picks the segments and live batches that can hold rows of the answer and describes how to
//! read them. A segment is verified and opened in the stream.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use crate::facts::{Facts, Runs, metrics_schema};
use crate::integrity::Guard;
use crate::live_scan::live_scan;
use crate::metrics_exec::{MetricsScanExec, Picked};
use crate::pruning::Pruner;
use crate::pushdown::classify;
use crate::segment_scan::SegmentScan;
use crate::source::SnapshotSource;

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
        let runs = Runs::new(self.snapshot.runs());
        let pruner = Pruner::try_new(session, &self.schema, filters)?;
        let segments = self.snapshot.segments();
        let segment_facts: Vec<Facts<'_>> = segments.iter().map(Facts::of_segment).collect();
        let keep = pruner.keep(&segment_facts, &runs)?;
        let segments_kept: Vec<_> =
            segments.iter().zip(keep).filter_map(|(segment, keep)| keep.then_some(segment)).collect();

        let live = self.snapshot.live();
        let live_facts: Vec<Facts<'_>> = live.iter().map(Facts::of_live).collect();
        let keep = pruner.keep(&live_facts, &runs)?;
        let live_kept: Vec<_> = live.iter().zip(keep).filter_map(|(live, keep)| keep.then_some(live)).collect();

        let picked = Picked { segments: (segments_kept.len(), segments.len()), live: (live_kept.len(), live.len()) };
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(2);
        if !segments_kept.is_empty() {
            let scan = SegmentScan {
                root: self.snapshot.root(),
                runs: &runs,
                projection,
                limit,
                partitions: session.config().target_partitions(),
                guard: &self.guard,
            };
            inputs.push(scan.plan(&segments_kept)?);
        }
        if !live_kept.is_empty() {
            inputs.push(live_scan(&live_kept, &runs, &self.schema, projection, session.config().batch_size())?);
        }
        let input = match inputs.len() {
            0 => Arc::new(EmptyExec::new(projected(&self.schema, projection)?)),
            1 => inputs.swap_remove(0),
            _ => UnionExec::try_new(inputs)?,
        };
        Ok(Arc::new(MetricsScanExec::new(input, picked)))
    }
}

/// The columns of `schema` that are asked for.
pub(crate) fn projected(schema: &SchemaRef, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
    Ok(match projection {
        Some(columns) => Arc::new(schema.project(columns)?),
        None => Arc::clone(schema),
    })
}
