//! One stream of a scan: opens its parts one after another and makes batches of their rows.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::Int32Type;
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
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::exec::{Scan, Way};
use super::facts::{Facts, RUN_COLUMNS, Runs, constant_text, run_column};
use super::parts::{MetricRows, Origin, Part, run_of};
use super::pruning::Pruner;
use super::segment;
use crate::integrity::{DamagedPolicy, OpenSegment, SegmentFile};

/// Columns of `metrics` that a segment has no need to store, as they are the same in all its rows, or follow from the
/// statistics: `run_id`, `metrics_name`, `metric`, `rank` and `attempt`.
const KNOWN: [usize; 5] = [0, 1, 2, 6, 7];
/// Columns of `metrics` that are columns of a segment.
const STORED: usize = 9;

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
        let stored = scan.columns.iter().copied().filter(|column| *column < STORED && !KNOWN.contains(column));
        let mut stored: Vec<usize> = stored.collect();
        stored.sort_unstable();
        stored.dedup();
        Self {
            scan: Arc::clone(scan),
            way: how.way,
            parts: parts.into(),
            open: None,
            narrowing: (!how.dynamic.is_empty()).then(|| Narrowing::new(conjunction(how.dynamic.clone()))),
            stored,
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
        let rows = match part.origin {
            Origin::Live(place) => {
                let batch = &snapshot.live()[place].batch;
                let columns = self.stored.iter().map(|column| Arc::clone(batch.column(*column))).collect();
                Rows::Live { columns, ranges: part.ranges().into() }
            }
            Origin::Segment(place) => {
                let Some(segment) = self.verified(SegmentFile::new(&snapshot.segments()[place])).await? else {
                    return Ok(None);
                };
                self.counters.segments_read.add(1);
                self.skip_pages(&segment, &mut part);
                let (read, skipped) = segment::row_groups(segment.footer.metadata(), &part);
                self.counters.row_groups_read.add(read);
                self.counters.row_groups_skipped.add(skipped);
                if part.picks.is_empty() {
                    return Ok(None);
                }
                if self.stored.is_empty() {
                    Rows::Known(part.rows())
                } else {
                    let bytes_read = self.counters.bytes_read.clone();
                    let batch_rows = self.batch_rows.min(part.rows());
                    Rows::Stored(Box::new(segment::read(segment, &part, &self.stored, batch_rows, bytes_read)?))
                }
            }
        };
        OpenPart::new(&part, rows, &self.scan, &self.stored, self.batch_rows).map(Some)
    }

    async fn verified(&mut self, file: SegmentFile) -> Result<Option<OpenSegment>> {
        // To hand a few microseconds of work to another thread takes longer than the work.
        let opened = match file.open_verified() {
            Some(opened) => Ok(opened),
            None => {
                let task = tokio::task::spawn_blocking(move || file.open_blocking());
                task.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
            }
        };
        match opened {
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
        let facts = part.origin.facts(self.scan.snapshot.as_ref());
        let runs = Runs::new(self.scan.snapshot.runs());
        for pruner in pruners.into_iter().flatten().filter(|pruner| pruner.bounds().is_some()) {
            let pages = segment::pages(segment.footer.metadata(), &part.picks);
            let Some(fits) = pruner.pages_that_fit(&facts, &runs, &pages) else { continue };
            let read = fits.iter().filter(|fits| **fits).count();
            self.counters.pages_read.add(read);
            self.counters.pages_skipped.add(fits.len() - read);
            let fitting = pages.into_iter().zip(fits).filter_map(|(page, fits)| fits.then_some(page.rows));
            part.picks = segment::join(fitting);
        }
    }
}

/// The rows that the statistics of `part` hold, as a part of their own and its columns; `None` where a value is not finite.
fn extremes(part: &Part, scan: &Scan, stored: &[usize]) -> Option<(Part, Vec<ArrayRef>)> {
    let facts = part.origin.facts(scan.snapshot.as_ref());
    let (mut steps, mut values) = (Vec::new(), Vec::new());
    let mut picks = Vec::with_capacity(part.picks.len());
    for pick in &part.picks {
        let stats = &facts.metrics[pick.metric];
        let (Some(min), Some(max), 0) = (stats.min, stats.max, stats.non_finite) else { return None };
        let start = steps.len();
        steps.extend([min.step, max.step, stats.first.step, stats.last.step]);
        values.extend([min.value, max.value, stats.first.value, stats.last.value]);
        picks.push(MetricRows { metric: pick.metric, rows: start..steps.len() });
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
    Some((Part { origin: part.origin, run: part.run, picks }, columns))
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
        let facts = [part.origin.facts(scan.snapshot.as_ref())];
        let Some(pruner) = &self.pruner else { return };
        let Ok(mut fitting) = pruner.pick(&facts, &Runs::new(scan.snapshot.runs())) else { return };
        let fitting = fitting.swap_remove(0);
        let mut place = 0;
        part.picks.retain(|pick| {
            while fitting.get(place).is_some_and(|fit| fit.metric < pick.metric) {
                place += 1;
            }
            fitting.get(place).is_some_and(|fit| fit.metric == pick.metric)
        });
    }
}

/// Where the columns of an open part come from that differ from row to row.
enum Rows {
    /// Read from a segment.
    Stored(Box<ParquetRecordBatchReader>),
    /// In memory: the columns, and the rows of them that are wanted.
    Live { columns: Vec<ArrayRef>, ranges: VecDeque<Range<usize>> },
    /// None is asked for: the number of rows is all there is.
    Known(usize),
}

/// A part that is being read.
struct OpenPart {
    rows: Rows,
    columns: Vec<Column>,
    metrics: Metrics,
}

/// A column of the answer.
enum Column {
    /// The value of all rows, as an array that is long enough for any batch.
    Constant(ArrayRef),
    /// One of several metrics.
    Metric,
    /// Place in the batches that are read.
    Stored(usize),
}

/// The metrics of the rows of a part.
struct Metrics {
    names: ArrayRef,
    /// Number of the name, and rows that have it, one after another; those first that come next.
    rows: VecDeque<(i32, usize)>,
}

impl Metrics {
    fn new(part: &Part, facts: &Facts<'_>) -> Self {
        let mut rows: VecDeque<(i32, usize)> = VecDeque::with_capacity(part.picks.len());
        let mut names: Vec<&str> = Vec::new();
        let mut last = None;
        for pick in &part.picks {
            if last != Some(pick.metric) {
                last = Some(pick.metric);
                names.push(&facts.metrics[pick.metric].metric);
            }
            rows.push_back((names.len() as i32 - 1, pick.rows.len()));
        }
        Self { names: Arc::new(StringArray::from(names)), rows }
    }

    /// The names of the next `count` rows.
    fn next(&mut self, count: usize) -> Result<ArrayRef> {
        let mut keys: Vec<i32> = Vec::with_capacity(count);
        while let Some((key, rows)) = self.rows.front_mut().filter(|_| keys.len() < count) {
            let taken = (*rows).min(count - keys.len());
            keys.resize(keys.len() + taken, *key);
            *rows -= taken;
            if *rows == 0 {
                self.rows.pop_front();
            }
        }
        let keys = Int32Array::new(ScalarBuffer::from(keys), None);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(&self.names))?))
    }
}

impl OpenPart {
    fn new(part: &Part, rows: Rows, scan: &Scan, stored: &[usize], batch_rows: usize) -> Result<Self> {
        let snapshot = scan.snapshot.as_ref();
        let facts = part.origin.facts(snapshot);
        let longest = batch_rows.min(part.rows());
        let text = |value: Option<&str>| Ok::<_, DataFusionError>(Column::Constant(constant_text(value, longest)?));
        let number = |value| Column::Constant(Arc::new(Int32Array::from_value(value, longest)));
        let metrics = Metrics::new(part, &facts);
        let mut columns = Vec::with_capacity(scan.columns.len());
        for column in &scan.columns {
            columns.push(match column {
                0 => text(Some(&facts.run_id.to_string()))?,
                1 => text(Some(facts.metrics_name))?,
                2 if metrics.names.len() == 1 => text(Some(&facts.metrics[part.picks[0].metric].metric))?,
                2 => Column::Metric,
                6 => number(facts.writer.rank),
                7 => number(facts.writer.attempt),
                column => match column.checked_sub(STORED) {
                    Some(of_run) => text(run_column(run_of(part, snapshot), RUN_COLUMNS[of_run]))?,
                    None => Column::Stored(stored.iter().position(|stored| stored == column).unwrap_or_default()),
                },
            });
        }
        Ok(Self { rows, columns, metrics })
    }

    /// The next rows, at most `most`; `None` after the last.
    fn next(&mut self, scan: &Scan, most: usize) -> Result<Option<RecordBatch>> {
        let (read, rows) = match &mut self.rows {
            Rows::Stored(reader) => match segment::next_batch(reader)? {
                Some(batch) => {
                    let rows = batch.num_rows().min(most);
                    (batch.columns().to_vec(), rows)
                }
                None => return Ok(None),
            },
            Rows::Live { columns, ranges } => match ranges.pop_front() {
                Some(range) => {
                    let rows = range.len().min(most);
                    if range.len() > rows {
                        ranges.push_front(range.start + rows..range.end);
                    }
                    (columns.iter().map(|column| column.slice(range.start, rows)).collect(), rows)
                }
                None => return Ok(None),
            },
            Rows::Known(left) => {
                let rows = most.min(*left);
                *left -= rows;
                (Vec::new(), rows)
            }
        };
        if rows == 0 {
            return Ok(None);
        }
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            arrays.push(match column {
                Column::Constant(array) => array.slice(0, rows),
                Column::Metric => self.metrics.next(rows)?,
                Column::Stored(place) => read[*place].slice(0, rows),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&scan.schema), arrays, &options)?))
    }
}
