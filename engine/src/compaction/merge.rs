//! Merging sorted segments with bounded memory and one open file.
//!
//! A merge with one cursor per segment would keep a page of every column of thousands of files in memory. Instead, the order of
//! all rows is cut into intervals that hold about as many rows as a new segment: by a sample of every so many rows of each segment,
//! as sample sort chooses its buckets (Frazer and McKellar, "Samplesort", J. ACM 17(3), 1970). For each interval, the rows that
//! fall into it are read from one segment after another, and sorted in memory. Where steps rise, as they mostly do, an interval
//! touches few segments.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

use crate::batch::{MetricColumns, NamedRows, summarise};
use crate::error::{Error, Result};
use crate::events::SegmentRecord;
use crate::layout::Layout;
use crate::segment::{open_reader, without_panic};

/// Rows read at once.
const BATCH_ROWS: usize = 8192;

/// Place of a row in the order of a metrics name: number of its metric by name, step, sequence number.
type Key = (usize, i64, i64);

/// A segment that is merged.
struct Source {
    path: PathBuf,
    rows: u64,
    /// Every so many rows: the key, and the row's number in the segment.
    samples: Vec<(Key, u64)>,
}

/// Sorted segments of one writer and metrics name, in the order of all their rows.
pub(super) struct Merge<'a> {
    layout: &'a Layout,
    metrics_name: String,
    /// The metrics of all segments, sorted.
    metrics: Vec<String>,
    sources: Vec<Source>,
    /// Where an interval ends and the next begins.
    splits: Vec<Key>,
}

impl<'a> Merge<'a> {
    /// Looks at the segments of one metrics name, in `folder`, and cuts their rows into intervals of about `rows_max`.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Parquet`], [`Error::NewerFormat`], [`Error::Io`].
    pub(super) fn new(layout: &'a Layout, folder: &Path, segments: &[SegmentRecord], rows_max: u64) -> Result<Self> {
        let mut metrics: Vec<String> =
            segments.iter().flat_map(|segment| &segment.metrics).map(|stats| stats.metric.clone()).collect();
        metrics.sort_unstable();
        metrics.dedup();
        let source = |segment: &SegmentRecord| Source {
            path: folder.join(&segment.file),
            rows: segment.rows,
            samples: Vec::new(),
        };
        let metrics_name = segments.first().map_or_else(String::new, |segment| segment.metrics_name.clone());
        let sources: Vec<_> = segments.iter().map(source).collect();
        let mut merge = Self { layout, metrics_name, metrics, sources, splits: Vec::new() };
        let rows: u64 = merge.sources.iter().map(|source| source.rows).sum();
        let parts = rows.div_ceil(rows_max.max(1));
        if parts > 1 {
            // A sample stands for the rows up to the next one; where they fall is not known. With so many samples, that is a
            // quarter of an interval at most.
            let every = (rows_max / (4 * merge.sources.len() as u64)).max(1);
            merge.sample(every)?;
            merge.split(every, rows.div_ceil(parts));
        }
        Ok(merge)
    }

    fn sample(&mut self, every: u64) -> Result<()> {
        for number in 0..self.sources.len() {
            let mut samples = Vec::new();
            let mut row = 0;
            self.read(number, 0..self.sources[number].rows, &["metric", "step", "seq"], &mut |rows| {
                for index in 0..rows.len() {
                    if row % every == 0 {
                        samples.push((rows.key(index), row));
                    }
                    row += 1;
                }
            })?;
            self.sources[number].samples = samples;
        }
        Ok(())
    }

    /// Ends an interval wherever the samples say that `target` rows are full.
    fn split(&mut self, every: u64, target: u64) {
        let weighted = |source: &Source| {
            let rows = source.rows;
            source.samples.iter().map(move |(key, row)| (*key, every.min(rows - row))).collect::<Vec<_>>()
        };
        let mut samples: Vec<(Key, u64)> = self.sources.iter().flat_map(weighted).collect();
        samples.sort_unstable();
        let mut rows = 0;
        for (key, weight) in samples {
            if rows > 0 && rows + weight > target {
                self.splits.push(key);
                rows = 0;
            }
            rows += weight;
        }
    }

    /// How many intervals there are.
    pub(super) fn intervals(&self) -> usize {
        self.splits.len() + 1
    }

    /// The rows of an interval, sorted.
    ///
    /// # Errors
    /// As [`Merge::new`].
    pub(super) fn interval(&self, number: usize) -> Result<NamedRows> {
        let from = number.checked_sub(1).map(|before| self.splits[before]);
        let to = self.splits.get(number).copied();
        let mut columns: BTreeMap<usize, MetricColumns> = BTreeMap::new();
        for (number, source) in self.sources.iter().enumerate() {
            let rows = source.rows_between(from, to);
            if rows.is_empty() {
                continue;
            }
            self.read(number, rows, &["metric", "step", "time", "value", "seq"], &mut |rows| {
                rows.take_between(from, to, &mut columns);
            })?;
        }
        columns.values_mut().for_each(MetricColumns::sort);
        Ok(NamedRows {
            metrics_name: self.metrics_name.clone(),
            metrics: columns.iter().map(|(metric, columns)| summarise(&self.metrics[*metric], columns)).collect(),
            columns: columns.into_values().collect(),
        })
    }

    /// Reads some rows of a segment.
    fn read(&self, number: usize, rows: Range<u64>, names: &[&str], take: &mut dyn FnMut(&Rows<'_>)) -> Result<()> {
        let path = &self.sources[number].path;
        without_panic(path, || self.read_checked(path, &rows, names, take))
    }

    fn read_checked(
        &self,
        path: &Path,
        rows: &Range<u64>,
        names: &[&str],
        take: &mut dyn FnMut(&Rows<'_>),
    ) -> Result<()> {
        let parquet = |source| Error::Parquet { action: "read", path: path.to_owned(), source };
        let builder = open_reader(self.layout, path)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
        let (skipped, selected) = (rows.start as usize, (rows.end - rows.start) as usize);
        let selection = RowSelection::from(vec![RowSelector::skip(skipped), RowSelector::select(selected)]);
        let reader = builder.with_projection(mask).with_row_selection(selection).with_batch_size(BATCH_ROWS);
        for batch in reader.build().map_err(parquet)? {
            let batch = batch?;
            let rows = Rows::of(&batch, &self.metrics).ok_or_else(|| Error::Damaged {
                path: path.to_owned(),
                fault: "it has other columns or metrics than the event log says".to_owned(),
            })?;
            take(&rows);
        }
        Ok(())
    }
}

impl Source {
    /// The rows among which those of an interval are.
    fn rows_between(&self, from: Option<Key>, to: Option<Key>) -> Range<u64> {
        let start = from.map_or(0, |from| {
            let after = self.samples.partition_point(|(key, _)| *key < from);
            after.checked_sub(1).map_or(0, |sample| self.samples[sample].1)
        });
        let end = to.map_or(self.rows, |to| {
            let after = self.samples.partition_point(|(key, _)| *key < to);
            self.samples.get(after).map_or(self.rows, |(_, row)| *row)
        });
        start..end.max(start)
    }
}

/// Rows of one batch, sorted.
struct Rows<'a> {
    /// Number of the metric of each value of the dictionary.
    numbers: Vec<usize>,
    metric: &'a [i32],
    step: &'a [i64],
    seq: &'a [i64],
    /// Empty where only keys are asked for.
    time: &'a [i64],
    value: &'a [f64],
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, metrics: &[String]) -> Option<Self> {
        let dictionary = batch.column_by_name("metric")?.as_dictionary_opt::<Int32Type>()?;
        let names = dictionary.values().as_string_opt::<i32>()?;
        let number = |name: &str| metrics.binary_search_by(|metric| metric.as_str().cmp(name)).ok();
        // A dictionary may hold names that no row has; those of no segment are refused where a row has one.
        let numbers: Vec<usize> =
            (0..names.len()).map(|index| number(names.value(index)).unwrap_or(usize::MAX)).collect();
        let metric: &[i32] = dictionary.keys().values();
        let known =
            |key: &i32| usize::try_from(*key).is_ok_and(|key| numbers.get(key).is_some_and(|n| *n < metrics.len()));
        if !metric.iter().all(known) {
            return None;
        }
        let integers = |name: &str| -> Option<&'a [i64]> {
            Some(batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.values())
        };
        let time = batch.column_by_name("time").and_then(|time| time.as_primitive_opt::<TimestampMicrosecondType>());
        let value = batch.column_by_name("value").and_then(|value| value.as_primitive_opt::<Float64Type>());
        Some(Self {
            metric,
            step: integers("step")?,
            seq: integers("seq")?,
            time: time.map_or(&[], |time| time.values()),
            value: value.map_or(&[], |value| value.values()),
            numbers,
        })
    }

    fn len(&self) -> usize {
        self.step.len()
    }

    fn key(&self, row: usize) -> Key {
        (self.numbers[self.metric[row] as usize], self.step[row], self.seq[row])
    }

    /// Adds the rows of an interval to the columns of their metrics.
    fn take_between(&self, from: Option<Key>, to: Option<Key>, columns: &mut BTreeMap<usize, MetricColumns>) {
        let mut row = from.map_or(0, |from| self.first_from(from));
        let end = to.map_or(self.len(), |to| self.first_from(to));
        while row < end {
            let metric = self.metric[row];
            let run_end = (row..end).find(|at| self.metric[*at] != metric).unwrap_or(end);
            let columns = columns.entry(self.numbers[metric as usize]).or_default();
            columns.step.extend_from_slice(&self.step[row..run_end]);
            columns.seq.extend_from_slice(&self.seq[row..run_end]);
            columns.time.extend_from_slice(&self.time[row..run_end]);
            columns.value.extend_from_slice(&self.value[row..run_end]);
            row = run_end;
        }
    }

    /// The first row whose key is not below `key`.
    fn first_from(&self, key: Key) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.key(middle).cmp(&key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        low
    }
}
