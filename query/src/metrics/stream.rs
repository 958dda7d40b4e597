//! One stream of a scan: opens its parts one after another and makes batches of their rows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::utils::{conjunction, split_conjunction};
use datafusion::physical_expr::{DynamicFilterTracking, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::snapshot_physical_expr;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream::try_unfold;
use futures::{Stream, StreamExt, TryStreamExt};

use super::exec::{Scan, Way};
use super::facts::Facts;
use super::parts::{MetricRows, Origin, Part, one_after_another};
use super::pruning::Pruner;
use super::rows::{OpenPart, Rows, stored_columns};
use super::segment;
use crate::error::SegmentFault;
use crate::integrity::{DamagedPolicy, OpenSegment, RegisteredFile, SegmentFile};

/// How the rows of a scan are given.
#[derive(Clone)]
pub(crate) struct How {
    /// Filters that become known while the query runs.
    pub(crate) dynamic: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) batch_rows: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) way: Way,
}

/// The rows of `parts`.
pub(crate) fn stream(
    scan: &Arc<Scan>,
    parts: Vec<Part>,
    how: &How,
    metrics: &ExecutionPlanMetricsSet,
    partition: usize,
) -> SendableRecordBatchStream {
    let counters = Counters::new(metrics, partition);
    let rows = match how.way {
        Way::Streams | Way::Extremes => Reading::new(scan, parts, how, counters).batches().boxed(),
        Way::Ahead(tasks) => ahead(scan, parts, how, &counters, tasks).boxed(),
    };
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&scan.schema), rows))
}

/// The rows of `parts` in their order, of which `tasks` tasks read the next ones.
fn ahead(
    scan: &Arc<Scan>,
    parts: Vec<Part>,
    how: &How,
    counters: &Counters,
    tasks: usize,
) -> impl Stream<Item = Result<RecordBatch>> + use<> {
    let (scan, how, counters, limit) = (Arc::clone(scan), how.clone(), counters.clone(), how.limit);
    let batches = futures::stream::iter(parts)
        .map(move |part| {
            let reading = Reading::new(&scan, vec![part], &how, counters.clone());
            SpawnedTask::spawn(reading.batches().try_collect::<Vec<_>>())
        })
        .buffered(tasks.max(1))
        .map(|read| read.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?);
    let batches = batches
        .map_ok(|batches| futures::stream::iter(batches.into_iter().map(Ok::<_, DataFusionError>)))
        .try_flatten()
        .boxed();
    // After the last row that is wanted nothing is waited for: a part behind it may be damaged, and is not asked for.
    try_unfold((batches, limit.unwrap_or(usize::MAX)), |(mut batches, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let Some(batch) = batches.try_next().await? else { return Ok(None) };
        let rows = batch.num_rows().min(left);
        Ok(Some((batch.slice(0, rows), (batches, left - rows))))
    })
}

/// What EXPLAIN ANALYZE shows of a stream.
#[derive(Clone)]
struct Counters {
    baseline: BaselineMetrics,
    segments_read: Count,
    /// Packs that rows of many segments were read from.
    packs_read: Count,
    /// Segments of which the rows are taken that their statistics hold.
    segments_from_statistics: Count,
    /// Segments that a filter left out that became known while the query ran.
    segments_skipped: Count,
    row_groups_read: Count,
    row_groups_skipped: Count,
    /// Of the segments that were read and are tested by page.
    pages_read: Count,
    pages_skipped: Count,
    bytes_read: Count,
    bytes_hashed: Count,
}

impl Counters {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            segments_read: counter("segments_read"),
            packs_read: counter("packs_read"),
            segments_from_statistics: counter("segments_from_statistics"),
            segments_skipped: counter("segments_skipped"),
            row_groups_read: counter("row_groups_read"),
            row_groups_skipped: counter("row_groups_skipped"),
            pages_read: counter("pages_read"),
            pages_skipped: counter("pages_skipped"),
            bytes_read: counter("bytes_read"),
            bytes_hashed: counter("bytes_hashed"),
        }
    }
}

struct Reading {
    scan: Arc<Scan>,
    way: Way,
    parts: VecDeque<Part>,
    open: Option<OpenPart>,
    narrowing: Option<Narrowing>,
    /// Columns that have to be read, ascending.
    stored: Vec<usize>,
    batch_rows: usize,
    /// Rows that are still wanted.
    left: usize,
    counters: Counters,
}

impl Reading {
    fn new(scan: &Arc<Scan>, parts: Vec<Part>, how: &How, counters: Counters) -> Self {
        Self {
            scan: Arc::clone(scan),
            way: how.way,
            parts: parts.into(),
            open: None,
            narrowing: (!how.dynamic.is_empty()).then(|| Narrowing::new(conjunction(how.dynamic.clone()))),
            stored: stored_columns(&scan.columns),
            batch_rows: how.batch_rows,
            left: how.limit.unwrap_or(usize::MAX),
            counters,
        }
    }

    fn batches(self) -> impl Stream<Item = Result<RecordBatch>> + use<> {
        try_unfold(self, |mut reading| async move {
            let batch = reading.next().await?;
            Ok(batch.map(|batch| (batch, reading)))
        })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            if let Some(open) = &mut self.open {
                let time = self.counters.baseline.elapsed_compute().clone();
                let _timer = time.timer();
                if let Some(batch) = open.next(&self.scan, self.batch_rows.min(self.left))? {
                    self.left -= batch.num_rows();
                    self.counters.baseline.record_output(batch.num_rows());
                    return Ok(Some(batch));
                }
                self.open = None;
            }
            let Some(part) = self.parts.pop_front() else { break };
            self.open = self.open(part).await?;
        }
        Ok(None)
    }

    /// Opens a part; `None` when it turns out to hold nothing of the answer, or cannot be trusted and is to be skipped.
    async fn open(&mut self, mut part: Part) -> Result<Option<OpenPart>> {
        let snapshot = Arc::clone(&self.scan.snapshot);
        if let Some(narrowing) = &mut self.narrowing {
            narrowing.narrow(&mut part, &self.scan);
            if part.picks.is_empty() {
                self.counters.segments_skipped.add(1);
                return Ok(None);
            }
        }
        if self.way == Way::Extremes
            && let Some((part, columns)) = extremes(&part, &self.scan, &self.stored)
        {
            self.counters.segments_from_statistics.add(1);
            let rows = Rows::Live { columns, ranges: part.ranges().into() };
            return OpenPart::new(&part, rows, &self.scan, &self.stored, self.batch_rows).map(Some);
        }
        let rows = match (part.pack, part.origin()) {
            (Some(pack), _) => match self.open_pack(pack, &part).await? {
                Some(rows) => rows,
                None => {
                    self.unpack(part);
                    return Ok(None);
                }
            },
            (None, Some(Origin::Live(place))) => {
                let batch = &snapshot.live()[place].batch;
                let columns = self.stored.iter().map(|column| Arc::clone(batch.column(*column))).collect();
                Rows::Live { columns, ranges: part.ranges().into() }
            }
            (None, Some(Origin::Segment(place))) => {
                let Some(segment) = self.verified(SegmentFile::new(&snapshot.segments()[place])).await? else {
                    return Ok(None);
                };
                self.counters.segments_read.add(1);
                self.skip_pages(&segment, &mut part);
                self.read(segment, &part)?
            }
            (None, None) => return Ok(None),
        };
        if part.picks.is_empty() {
            return Ok(None);
        }
        OpenPart::new(&part, rows, &self.scan, &self.stored, self.batch_rows).map(Some)
    }

    /// Starts to read the rows of `part` from its file.
    fn read(&self, file: OpenSegment, part: &Part) -> Result<Rows> {
        let ranges = part.ranges();
        let (read, skipped) = segment::row_groups(file.footer.metadata(), &ranges);
        self.counters.row_groups_read.add(read);
        self.counters.row_groups_skipped.add(skipped);
        if self.stored.is_empty() || ranges.is_empty() {
            return Ok(Rows::Known(part.rows()));
        }
        let bytes_read = self.counters.bytes_read.clone();
        let batch_rows = self.batch_rows.min(part.rows());
        Ok(Rows::Stored(Box::new(segment::read(file, ranges, &self.stored, batch_rows, bytes_read)?)))
    }

    /// Starts to read rows from a pack; `None` when it is gone, or is not what it was when the question was planned.
    async fn open_pack(&mut self, pack: usize, part: &Part) -> Result<Option<Rows>> {
        let file = self.scan.packs[pack].file.clone();
        match open(&file).await? {
            Ok(opened) => {
                self.counters.packs_read.add(1);
                self.read(opened, part).map(Some)
            }
            // Another pack has its rows by now, or none: the segments have them in any case.
            Err(SegmentFault::Missing) => Ok(None),
            Err(fault) => {
                self.scan.guard.note_pack(file.path(), &fault);
                Ok(None)
            }
        }
    }

    /// Goes on with the rows of `part` from the segments themselves.
    fn unpack(&mut self, part: Part) {
        let parts = one_after_another(part.picks);
        parts.into_iter().rev().for_each(|part| self.parts.push_front(part));
    }

    async fn verified(&mut self, file: SegmentFile) -> Result<Option<OpenSegment>> {
        match open(&file.file).await?.map_err(|fault| file.damaged(fault)) {
            Ok(opened) => {
                self.counters.bytes_hashed.add(usize::try_from(opened.hashed_bytes).unwrap_or(usize::MAX));
                Ok(Some(opened))
            }
            Err(damaged) => {
                self.scan.guard.note(&damaged);
                match self.scan.guard.policy {
                    DamagedPolicy::Refuse => Err(DataFusionError::External(Box::new(damaged))),
                    // The scan goes on as if the file held no rows; the note becomes a warning of the result.
                    DamagedPolicy::Skip => Ok(None),
                }
            }
        }
    }

    /// Leaves out pages that hold nothing of the answer.
    fn skip_pages(&self, segment: &OpenSegment, part: &mut Part) {
        let pruners =
            [Some(&self.scan.pruner), self.narrowing.as_ref().and_then(|narrowing| narrowing.pruner.as_ref())];
        let Some(origin) = part.origin() else { return };
        let facts = origin.facts(self.scan.snapshot.as_ref());
        for pruner in pruners.into_iter().flatten().filter(|pruner| pruner.bounds().is_some()) {
            let pages = segment::pages(segment.footer.metadata(), &part.picks);
            let Some(fits) = pruner.pages_that_fit(&facts, &self.scan.runs, &pages) else { continue };
            let read = fits.iter().filter(|fits| **fits).count();
            self.counters.pages_read.add(read);
            self.counters.pages_skipped.add(fits.len() - read);
            let fitting = pages.into_iter().zip(fits).filter_map(|(page, fits)| fits.then_some(page.rows));
            part.picks = segment::join(fitting);
        }
    }
}

/// Opens a file after comparing it with what was registered.
async fn open(file: &RegisteredFile) -> Result<std::result::Result<OpenSegment, SegmentFault>> {
    // To hand a few microseconds of work to another thread takes longer than the work.
    if let Some(opened) = file.open_verified() {
        return Ok(Ok(opened));
    }
    let file = file.clone();
    let task = tokio::task::spawn_blocking(move || file.open_blocking());
    task.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))
}

/// The rows that the statistics of `part` hold, as a part of their own and its columns; `None` where a value is not finite.
fn extremes(part: &Part, scan: &Scan, stored: &[usize]) -> Option<(Part, Vec<ArrayRef>)> {
    let (mut steps, mut values) = (Vec::new(), Vec::new());
    let mut picks = Vec::with_capacity(part.picks.len());
    for pick in &part.picks {
        let stats = &pick.origin.facts(scan.snapshot.as_ref()).metrics[pick.metric];
        let (Some(min), Some(max), 0) = (stats.min, stats.max, stats.non_finite) else { return None };
        let start = steps.len();
        steps.extend([min.step, max.step, stats.first.step, stats.last.step]);
        values.extend([min.value, max.value, stats.first.value, stats.last.value]);
        picks.push(MetricRows { rows: start..steps.len(), shift: 0, ..*pick });
    }
    let (steps, values) = (Int64Array::from(steps), Float64Array::from(values));
    let column = |column: &usize| -> Option<ArrayRef> {
        match *column {
            segment::STEP => Some(Arc::new(steps.clone())),
            segment::VALUE => Some(Arc::new(values.clone())),
            _ => None,
        }
    };
    let columns = stored.iter().map(column).collect::<Option<Vec<_>>>()?;
    Some((Part { pack: None, picks }, columns))
}

/// A filter whose value changes while the query runs.
struct Narrowing {
    filter: Arc<dyn PhysicalExpr>,
    tracking: DynamicFilterTracking,
    /// The filter as it was when it was last looked at.
    pruner: Option<Pruner>,
}

impl Narrowing {
    fn new(filter: Arc<dyn PhysicalExpr>) -> Self {
        Self { tracking: DynamicFilterTracking::classify(&filter), filter, pruner: None }
    }

    /// Leaves out rows of `part` that the filter, as it is now, does not let through. What cannot be told is read.
    fn narrow(&mut self, part: &mut Part, scan: &Scan) {
        let has_changed = self.tracking.watcher().is_some_and(|watcher| watcher.changed());
        if self.pruner.is_none() || has_changed {
            let Ok(now) = snapshot_physical_expr(Arc::clone(&self.filter)) else { return };
            let filters = split_conjunction(&now).into_iter().map(Arc::clone);
            self.pruner = Some(Pruner::new(filters, &scan.schema));
        }
        let Some(pruner) = &self.pruner else { return };
        let mut origins: Vec<Origin> = part.picks.iter().map(|pick| pick.origin).collect();
        origins.sort_unstable();
        origins.dedup();
        let facts: Vec<Facts<'_>> = origins.iter().map(|origin| origin.facts(scan.snapshot.as_ref())).collect();
        let Ok(fitting) = pruner.pick(&facts, &scan.runs) else { return };
        let fitting: HashSet<(Origin, usize)> = fitting.iter().flatten().map(|fit| (fit.origin, fit.metric)).collect();
        part.picks.retain(|pick| fitting.contains(&(pick.origin, pick.metric)));
    }
}
