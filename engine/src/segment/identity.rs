//! Identity of a metrics artifact: the BLAKE3 of its records in canonical order, however they lie in files.
//!
//! Each metric has a stream of its own: its records by rising (step, sequence number), 32 bytes each: step, sequence
//! number, time in microseconds, value bits, all little-endian. The identity is the BLAKE3 of a head (a fixed text, the
//! writer's rank and attempt) and, for each metric by its name's bytes: length of the name, name, number of records,
//! digest of its stream. Streams per metric let a run that logs by rising steps, as most do, be hashed while its
//! segments are written; nothing is read back at commit. A metric whose steps went back is read back and merged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use crate::batch::{MetricColumns, NamedRows, columns_of};
use crate::error::{Error, Result};
use crate::ids::{ContentHash, WriterId};
use crate::layout::Layout;
use crate::segment::{open_reader, without_panic};

const HEAD: &[u8] = b"stepwell metrics artifact 1\n";
/// Rows read at once from each of the segments that are merged.
const MERGE_ROWS: usize = 4096;
/// Bytes of a record in the stream of its metric.
const ROW_BYTES: usize = 32;
/// Rows that are hashed at once: what fits into the second-level cache.
const HASHED_ROWS: usize = 2048;

/// Identity of everything one writer logged under one metrics name, as far as it has been added.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    metrics: BTreeMap<String, MetricStream>,
}

#[derive(Clone, Default)]
struct MetricStream {
    hasher: blake3::Hasher,
    count: u64,
    last: Option<(i64, i64)>,
    /// A record came that belongs before one that was hashed already.
    out_of_order: bool,
}

impl MetricStream {
    fn add(&mut self, columns: &MetricColumns) {
        let Some(end) = columns.len().checked_sub(1) else { return };
        if self.last.is_some_and(|last| (columns.step[0], columns.seq[0]) <= last) {
            self.out_of_order = true;
        }
        let mut bytes = vec![0; HASHED_ROWS.min(columns.len()) * ROW_BYTES];
        for first in (0..columns.len()).step_by(HASHED_ROWS) {
            let rows = first..(first + HASHED_ROWS).min(columns.len());
            let words = columns.step[rows.clone()].iter().zip(&columns.seq[rows.clone()]);
            let words = words.zip(&columns.time[rows.clone()]).zip(&columns.value[rows.clone()]);
            for (row, (((step, seq), time), value)) in bytes.chunks_exact_mut(ROW_BYTES).zip(words) {
                row[..8].copy_from_slice(&step.to_le_bytes());
                row[8..16].copy_from_slice(&seq.to_le_bytes());
                row[16..24].copy_from_slice(&time.to_le_bytes());
                row[24..].copy_from_slice(&value.to_bits().to_le_bytes());
            }
            self.hasher.update(&bytes[..rows.len() * ROW_BYTES]);
        }
        self.count += columns.len() as u64;
        self.last = Some((columns.step[end], columns.seq[end]));
    }
}

impl Identity {
    /// Adds the rows of one segment.
    pub(crate) fn add(&mut self, rows: &NamedRows) {
        for (stats, columns) in rows.metrics.iter().zip(&rows.columns) {
            self.metrics.entry(stats.metric.clone()).or_default().add(columns);
        }
    }

    /// Records added.
    pub(crate) fn rows(&self) -> u64 {
        self.metrics.values().map(|stream| stream.count).sum()
    }

    /// The identity of the records added, which are those of `segments`. Reads the segments back only when a metric's
    /// steps went back between them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`] when a segment cannot be read.
    pub(crate) fn digest(&self, layout: &Layout, writer: WriterId, segments: &[PathBuf]) -> Result<ContentHash> {
        if self.metrics.values().any(|stream| stream.out_of_order) {
            return Ok(merged(layout, segments)?.in_order_digest(writer));
        }
        Ok(self.in_order_digest(writer))
    }

    fn in_order_digest(&self, writer: WriterId) -> ContentHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(HEAD).update(&writer.rank.to_le_bytes()).update(&writer.attempt.to_le_bytes());
        for (metric, stream) in &self.metrics {
            hasher.update(&(metric.len() as u32).to_le_bytes()).update(metric.as_bytes());
            hasher.update(&stream.count.to_le_bytes()).update(stream.hasher.finalize().as_bytes());
        }
        hasher.finalize().into()
    }
}

/// Number of records and identity of `segments`, all of one writer and metrics name, read from the files alone.
///
/// # Errors
/// [`Error::Io`], [`Error::Parquet`].
pub(crate) fn identity_of_segments(
    layout: &Layout,
    writer: WriterId,
    segments: &[PathBuf],
) -> Result<(u64, ContentHash)> {
    let path = segments.last().map_or(Path::new(""), PathBuf::as_path);
    without_panic(path, || {
        let mut identity = one_after_another(layout, segments)?;
        if identity.metrics.values().any(|stream| stream.out_of_order) {
            identity = merged(layout, segments)?;
        }
        Ok((identity.rows(), identity.in_order_digest(writer)))
    })
}

/// Adds segments in the order in which they were written, with one file open at a time.
fn one_after_another(layout: &Layout, segments: &[PathBuf]) -> Result<Identity> {
    let mut identity = Identity::default();
    for path in segments {
        let mut cursor = Cursor::open(layout, path)?;
        while let Some(metric) = cursor.metric().map(str::to_owned) {
            let mut part = MetricColumns::default();
            while cursor.metric() == Some(&metric) && part.len() < MERGE_ROWS {
                cursor.take_into(&mut part);
                cursor.advance()?;
            }
            identity.metrics.entry(metric).or_default().add(&part);
        }
    }
    Ok(identity)
}

/// Merges sorted segments into the streams of their metrics.
fn merged(layout: &Layout, segments: &[PathBuf]) -> Result<Identity> {
    let mut cursors = segments.iter().map(|path| Cursor::open(layout, path)).collect::<Result<Vec<_>>>()?;
    let mut identity = Identity::default();
    // The metric that comes first in any segment is complete before the next one begins.
    while let Some(metric) = cursors.iter().filter_map(Cursor::metric).min().map(str::to_owned) {
        let mut heap: BinaryHeap<_> = cursors
            .iter()
            .enumerate()
            .filter(|(_, cursor)| cursor.metric() == Some(&metric))
            .map(|(number, cursor)| Reverse((cursor.key(), number)))
            .collect();
        let mut stream = MetricStream::default();
        let mut pending = MetricColumns::default();
        while let Some(Reverse((_, number))) = heap.pop() {
            let cursor = &mut cursors[number];
            // Segments mostly follow one another: rows are taken from one as long as they come before all others'.
            let next = heap.peek().map(|Reverse((key, _))| *key);
            while cursor.metric() == Some(&metric) && next.is_none_or(|next| cursor.key() <= next) {
                cursor.take_into(&mut pending);
                cursor.advance()?;
                if pending.len() >= MERGE_ROWS {
                    stream.add(&std::mem::take(&mut pending));
                }
            }
            if cursor.metric() == Some(&metric) {
                heap.push(Reverse((cursor.key(), number)));
            }
        }
        stream.add(&pending);
        identity.metrics.insert(metric, stream);
    }
    Ok(identity)
}

/// Position in one sorted segment.
struct Cursor {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    metrics: Vec<String>,
    metric_keys: Vec<i32>,
    columns: MetricColumns,
    row: usize,
}

impl Cursor {
    fn open(layout: &Layout, path: &Path) -> Result<Self> {
        let parquet = |source| Error::Parquet { action: "read", path: path.to_owned(), source };
        let builder = open_reader(layout, path)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["metric", "step", "time", "value", "seq"]);
        let reader = builder.with_projection(mask).with_batch_size(MERGE_ROWS).build().map_err(parquet)?;
        let mut cursor = Self {
            path: path.to_owned(),
            reader,
            metrics: Vec::new(),
            metric_keys: Vec::new(),
            columns: MetricColumns::default(),
            row: 0,
        };
        cursor.fill()?;
        Ok(cursor)
    }

    /// Metric at the position; `None` at the end.
    fn metric(&self) -> Option<&str> {
        let key = usize::try_from(*self.metric_keys.get(self.row)?).ok()?;
        self.metrics.get(key).map(String::as_str)
    }

    /// Step and sequence number at the position, which is not the end.
    fn key(&self) -> (i64, i64) {
        (self.columns.step[self.row], self.columns.seq[self.row])
    }

    fn take_into(&self, target: &mut MetricColumns) {
        let (columns, row) = (&self.columns, self.row);
        target.push(columns.step[row], columns.seq[row], columns.time[row], columns.value[row].to_bits());
    }

    fn advance(&mut self) -> Result<()> {
        self.row += 1;
        if self.row < self.columns.len() { Ok(()) } else { self.fill() }
    }

    fn fill(&mut self) -> Result<()> {
        self.row = 0;
        self.columns = MetricColumns::default();
        self.metric_keys.clear();
        if let Some(batch) = self.reader.next() {
            let batch = batch?;
            self.columns = columns_of(&batch, 0..batch.num_rows());
            (self.metrics, self.metric_keys) = metrics_of(&batch).ok_or_else(|| Error::Damaged {
                path: self.path.clone(),
                fault: "its metric column is not a dictionary of text".to_owned(),
            })?;
        }
        Ok(())
    }
}

fn metrics_of(batch: &RecordBatch) -> Option<(Vec<String>, Vec<i32>)> {
    let metric = batch.column_by_name("metric")?.as_dictionary_opt::<Int32Type>()?;
    let values = metric.values().as_string_opt::<i32>()?;
    let names = (0..values.len()).map(|index| values.value(index).to_owned()).collect();
    Some((names, metric.keys().values().to_vec()))
}
