//! The operator that scans `metrics`: the leaf of a plan, over the parts that planning picked.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{DynamicFilterTracking, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
    ReplaceChildrenOptions,
};

use super::facts::{Runs, metrics_schema};
use super::order;
use super::parts::{Origin, Part, cut, share_out};
use super::pruning::Pruner;
use super::stream::{How, stream};
use crate::integrity::{DamagedPolicy, Guard, OpenPack, SegmentFile};
use crate::source::SnapshotSource;

/// Bytes of a row of `metrics` in memory: four numbers of 8 bytes, two of 4, and keys of six dictionaries.
const ROW_BYTES: usize = 4 * 8 + 2 * 4 + 6 * 4;

/// Rows that a task reads when several read ahead.
const AHEAD_ROWS: usize = 65_536;

/// What all streams of a scan share.
pub(crate) struct Scan {
    pub(crate) snapshot: Arc<dyn SnapshotSource>,
    pub(crate) guard: Arc<Guard>,
    /// The filters of the query on this table.
    pub(crate) pruner: Pruner,
    pub(crate) runs: Runs,
    /// Packs that parts are read from.
    pub(crate) packs: Vec<OpenPack>,
    /// Columns of `metrics` that are asked for.
    pub(crate) columns: Vec<usize>,
    /// Their schema.
    pub(crate) schema: SchemaRef,
    /// Rows that there are in the snapshot.
    pub(crate) rows_of_all: usize,
    /// Whether all files that are scanned were compared with their hashes, once that is asked for.
    pub(crate) is_verified: OnceLock<bool>,
}

/// How the rows are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// All, in streams that do not wait for one another.
    Streams,
    /// All, in one stream that is this many parts ahead.
    Ahead(usize),
    /// Of each metric of each segment those rows that its statistics hold: the lowest and the highest value and the first and the last step.
    Extremes,
}

/// Scans `metrics`.
#[derive(Clone)]
pub(crate) struct MetricsScanExec {
    scan: Arc<Scan>,
    /// By stream.
    parts: Arc<Vec<Vec<Part>>>,
    /// Filters that are found while the query runs, such as the runs that a join has on its other side. They leave out parts
    /// and pages.
    dynamic: Vec<Arc<dyn PhysicalExpr>>,
    /// Rows after which a stream may end.
    limit: Option<usize>,
    way: Way,
    rows: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl MetricsScanExec {
    /// The scan of `parts` in at most `streams` streams.
    pub(crate) fn try_new(scan: Scan, mut parts: Vec<Part>, streams: usize, limit: Option<usize>) -> Result<Self> {
        order::sort(&mut parts, scan.snapshot.as_ref());
        let equivalences = order::properties(&scan.schema, &parts, scan.snapshot.as_ref())?;
        let rows = parts.iter().map(Part::rows).sum();
        let parts = share_out(parts, streams);
        let properties = PlanProperties::new(
            equivalences,
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            scan: Arc::new(scan),
            parts: Arc::new(parts),
            dynamic: Vec::new(),
            limit,
            way: Way::Streams,
            rows,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// The same scan with those rows alone among which the extremes of steps and values are; `None` where only reading tells.
    ///
    /// Statistics leave out NaN and infinities: a segment with one of them is read. They count as long as the files were
    /// compared with their hashes by this process.
    pub(crate) fn of_extremes(&self) -> Option<Self> {
        let is_whole = self.way == Way::Streams && self.limit.is_none() && self.scan.pruner.bounds().is_none();
        (is_whole && self.is_verified()).then(|| Self { way: Way::Extremes, ..self.anew() })
    }

    /// The same scan in one stream, whose parts are read by several tasks before it is their turn.
    pub(crate) fn read_ahead(&self) -> Self {
        let streams = self.parts.len();
        let parts: Vec<Part> = self.parts.iter().flatten().cloned().collect();
        let mut properties = self.properties.as_ref().clone();
        properties.partitioning = Partitioning::UnknownPartitioning(1);
        Self {
            parts: Arc::new(vec![cut(parts, AHEAD_ROWS)]),
            way: Way::Ahead(streams),
            properties: Arc::new(properties),
            ..self.anew()
        }
    }

    /// The same scan, which has counted nothing yet.
    fn anew(&self) -> Self {
        Self { metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    fn picked(&self) -> [usize; 4] {
        let snapshot = &self.scan.snapshot;
        let (mut segments, mut live) = (vec![false; snapshot.segments().len()], vec![false; snapshot.live().len()]);
        for part in self.parts.iter().flatten() {
            for pick in &part.picks {
                match pick.origin {
                    Origin::Segment(place) => segments[place] = true,
                    Origin::Live(place) => live[place] = true,
                }
            }
        }
        let count = |picked: &[bool]| picked.iter().filter(|picked| **picked).count();
        [count(&segments), segments.len(), count(&live), live.len()]
    }

    /// Whether the files that hold the answer to a count were read by this process: no answer is given from files that never were.
    fn is_verified(&self) -> bool {
        let snapshot = &self.scan.snapshot;
        let is_part_verified = |part: &Part| match (part.pack, part.origin()) {
            (Some(pack), _) => self.scan.packs[pack].file.is_verified(),
            (None, Some(Origin::Segment(place))) => SegmentFile::new(&snapshot.segments()[place]).file.is_verified(),
            (None, _) => true,
        };
        let are_parts_verified = || self.parts.iter().flatten().all(is_part_verified);
        self.scan.guard.policy == DamagedPolicy::Refuse && *self.scan.is_verified.get_or_init(are_parts_verified)
    }
}

impl fmt::Debug for MetricsScanExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsScanExec").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl DisplayAs for MetricsScanExec {
    fn fmt_as(&self, style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [segments, segments_of, live, live_of] = self.picked();
        let (rows, rows_of) = (self.rows, self.scan.rows_of_all);
        if let DisplayFormatType::TreeRender = style {
            writeln!(f, "segments={segments} of {segments_of}")?;
            writeln!(f, "live_batches={live} of {live_of}")?;
            return writeln!(f, "rows={rows} of {rows_of}");
        }
        write!(f, "MetricsScanExec: segments={segments} of {segments_of}, live_batches={live} of {live_of}")?;
        if !self.scan.packs.is_empty() {
            write!(f, ", packs={}", self.scan.packs.len())?;
        }
        write!(f, ", rows={rows} of {rows_of}, streams={}, columns=[", self.parts.len())?;
        for (number, field) in self.scan.schema.fields().iter().enumerate() {
            write!(f, "{}{}", if number > 0 { ", " } else { "" }, field.name())?;
        }
        write!(f, "]")?;
        if let Some(order) = self.properties.output_ordering() {
            write!(f, ", order=[{order}]")?;
        }
        match self.way {
            Way::Streams => {}
            Way::Ahead(tasks) => write!(f, ", read_ahead={tasks}")?,
            Way::Extremes => write!(f, ", from=statistics")?,
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        for filter in &self.dynamic {
            write!(f, ", dynamic_filter={filter}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for MetricsScanExec {
    fn name(&self) -> &'static str {
        "MetricsScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut next = TreeNodeRecursion::Continue;
        for filter in &self.dynamic {
            if next == TreeNodeRecursion::Stop {
                break;
            }
            next = visit(filter)?;
        }
        Ok(next)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            Ok(self)
        } else {
            Err(DataFusionError::Internal("a scan of metrics has no input".to_owned()))
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let parts = self.parts.get(partition).cloned().unwrap_or_default();
        let batch_rows = context.session_config().batch_size().max(1);
        let how = How { dynamic: self.dynamic.clone(), batch_rows, limit: self.limit, way: self.way };
        Ok(stream(&self.scan, parts, &how, &self.metrics, partition))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = match args.partition() {
            Some(stream) => self.parts.get(stream).into_iter().flatten().map(Part::rows).sum(),
            None => self.rows,
        };
        let rows = self.limit.map_or(rows, |limit| rows.min(limit));
        let is_count = self.scan.columns.is_empty() && self.dynamic.is_empty() && self.limit.is_none();
        let known = Precision::Exact(rows);
        Ok(Arc::new(Statistics {
            num_rows: if is_count && self.is_verified() { known } else { known.to_inexact() },
            // Planning compares this with tables in memory, so the size of the compressed files would mislead it.
            total_byte_size: Precision::Inexact(rows.saturating_mul(ROW_BYTES)),
            column_statistics: Statistics::unknown_column(&self.scan.schema),
        }))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { limit, ..self.anew() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    /// Filters that planning knew are in [`Scan::pruner`] already. Of the others, those are of use that become known while
    /// the query runs. Rows are filtered above in any case.
    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        result: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters = vec![PushedDown::No; result.parent_filters.len()];
        let found = result.parent_filters.into_iter().map(|parent| parent.filter);
        let found: Vec<_> =
            found.filter(|filter| DynamicFilterTracking::classify(filter).contains_dynamic_filter()).collect();
        let updated_node = (!found.is_empty()).then(|| {
            let dynamic = self.dynamic.iter().cloned().chain(found).collect();
            Arc::new(Self { dynamic, ..self.anew() }) as _
        });
        Ok(FilterPushdownPropagation { filters, updated_node })
    }
}

/// The schema of `columns` of `metrics`.
pub(crate) fn projected(columns: &[usize]) -> Result<SchemaRef> {
    Ok(Arc::new(metrics_schema().project(columns)?))
}
