//! Records to Arrow: grouped by metrics name, sorted by (metric, step, sequence number), summarised.

mod columns;
mod stats;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::events::MetricStats;
use crate::ids::{RunId, WriterId};
use crate::journal::Definition;
use crate::ring::{Record, sequence};

pub(crate) use columns::{MetricColumns, columns_of};
pub(crate) use stats::{merge, summarise};

/// Schema of segments and of live rows. No column is nullable.
///
/// | column | Arrow type | meaning |
/// |---|---|---|
/// | `run_id` | Dictionary(Int32, Utf8) | the run; constant in a segment |
/// | `metrics_name` | Dictionary(Int32, Utf8) | name given to `log_metric`; constant in a segment |
/// | `metric` | Dictionary(Int32, Utf8) | first sort key |
/// | `step` | Int64 | the caller's step; second sort key |
/// | `time` | Timestamp(µs, UTC) | when the call was made |
/// | `value` | Float64 | NaN bit patterns and infinities kept |
/// | `rank`, `attempt` | Int32 | of the writer |
/// | `seq` | Int64 | sequence number, unique in the writer; third sort key |
pub fn segment_schema() -> SchemaRef {
    let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    Arc::new(Schema::new(vec![
        Field::new("run_id", text.clone(), false),
        Field::new("metrics_name", text.clone(), false),
        Field::new("metric", text, false),
        Field::new("step", DataType::Int64, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("value", DataType::Float64, false),
        Field::new("rank", DataType::Int32, false),
        Field::new("attempt", DataType::Int32, false),
        Field::new("seq", DataType::Int64, false),
    ]))
}

/// Rows of one metrics name, sorted by (metric, step, seq), ready to be written as a segment.
#[derive(Clone, Debug)]
pub(crate) struct NamedRows {
    pub metrics_name: String,
    /// One entry per metric, by its name.
    pub metrics: Vec<MetricStats>,
    /// The rows of each entry of `metrics`.
    pub columns: Vec<MetricColumns>,
}

impl NamedRows {
    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.columns.iter().map(MetricColumns::len).sum()
    }

    /// The rows of each metric, counted from the first row of all.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let mut next = |columns: &MetricColumns| {
            start += columns.len();
            start - columns.len()..start
        };
        self.columns.iter().map(&mut next).collect()
    }

    /// The rows in [`segment_schema`], for a query.
    ///
    /// # Errors
    /// [`crate::Error::Arrow`].
    pub(crate) fn to_batch(&self, run: RunId, writer: WriterId) -> Result<RecordBatch> {
        columns::to_batch(run, writer, self)
    }
}

/// Collects records of one writer and turns them into batches.
pub(crate) struct Batcher {
    /// Columns per metric number.
    columns: Vec<MetricColumns>,
    rows: u64,
    undefined: u64,
}

impl Batcher {
    /// A batcher for records whose metric numbers are below `metrics`.
    pub(crate) fn new(metrics: usize) -> Self {
        Self { columns: (0..metrics).map(|_| MetricColumns::default()).collect(), rows: 0, undefined: 0 }
    }

    /// Adds the record at `index` of `ring`.
    #[inline]
    pub(crate) fn push(&mut self, ring: u32, index: u64, record: &Record) {
        match self.columns.get_mut(record.metric as usize) {
            Some(columns) => {
                columns.push(record.step, sequence(ring, index), record.time.div_euclid(1000), record.value_bits);
                self.rows += 1;
            }
            None => self.undefined += 1,
        }
    }

    /// Records added so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Records whose metric number had no definition; they are in no batch.
    pub(crate) fn undefined(&self) -> u64 {
        self.undefined
    }

    /// Makes room for the rows of each metric, so that its columns need not grow row by row.
    pub(crate) fn reserve(&mut self, rows: &[usize]) {
        self.columns.iter_mut().zip(rows).for_each(|(columns, rows)| columns.reserve(*rows));
    }

    /// Rows per metric number so far.
    pub(crate) fn rows_of_metrics(&self) -> Vec<usize> {
        self.columns.iter().map(MetricColumns::len).collect()
    }

    /// The rows of each metrics name that has some, sorted by name.
    pub(crate) fn finish(self, definitions: &[Definition]) -> Vec<NamedRows> {
        let mut names: BTreeMap<&str, BTreeMap<&str, MetricColumns>> = BTreeMap::new();
        for (mut columns, definition) in self.columns.into_iter().zip(definitions) {
            if !columns.is_empty() {
                columns.sort();
                names.entry(&definition.metrics_name).or_default().insert(&definition.metric, columns);
            }
        }
        let rows = names.into_iter().map(|(name, metrics)| NamedRows {
            metrics_name: name.to_owned(),
            metrics: metrics.iter().map(|(metric, columns)| stats::summarise(metric, columns)).collect(),
            columns: metrics.into_values().collect(),
        });
        rows.collect()
    }
}

#[cfg(test)]
mod tests;
