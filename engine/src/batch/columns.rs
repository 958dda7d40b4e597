//! Columns of one metric, and their assembly into a record batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::batch::{NamedRows, segment_schema};
use crate::error::Result;
use crate::ids::{RunId, WriterId};

/// Records of one metric, column by column.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricColumns {
    pub step: Vec<i64>,
    pub seq: Vec<i64>,
    /// Microseconds since the Unix epoch.
    pub time: Vec<i64>,
    pub value: Vec<f64>,
}

impl MetricColumns {
    #[inline]
    pub(crate) fn push(&mut self, step: i64, seq: i64, time: i64, value_bits: u64) {
        self.step.push(step);
        self.seq.push(seq);
        self.time.push(time);
        self.value.push(f64::from_bits(value_bits));
    }

    pub(crate) fn reserve(&mut self, rows: usize) {
        self.step.reserve_exact(rows);
        self.seq.reserve_exact(rows);
        self.time.reserve_exact(rows);
        self.value.reserve_exact(rows);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.step.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.step.len()
    }

    /// Sorts by (step, seq). Rows mostly come in that order already, or as a few runs that do.
    pub(crate) fn sort(&mut self) {
        let key = |index: usize| (self.step[index], self.seq[index]);
        if (1..self.len()).all(|index| key(index - 1) < key(index)) {
            return;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|index| key(*index));
        *self = Self {
            step: order.iter().map(|index| self.step[*index]).collect(),
            seq: order.iter().map(|index| self.seq[*index]).collect(),
            time: order.iter().map(|index| self.time[*index]).collect(),
            value: order.iter().map(|index| self.value[*index]).collect(),
        };
    }
}

/// The columns of rows `range` of a batch in the segment schema.
pub(crate) fn columns_of(batch: &RecordBatch, range: std::ops::Range<usize>) -> MetricColumns {
    let column = |name: &str| batch.column_by_name(name).unwrap_or_else(|| unreachable!("the schema has {name}"));
    MetricColumns {
        step: column("step").as_primitive::<Int64Type>().values()[range.clone()].to_vec(),
        seq: column("seq").as_primitive::<Int64Type>().values()[range.clone()].to_vec(),
        time: column("time").as_primitive::<TimestampMicrosecondType>().values()[range.clone()].to_vec(),
        value: column("value").as_primitive::<Float64Type>().values()[range].to_vec(),
    }
}

/// Joins the sorted columns of the metrics of one metrics name.
pub(crate) fn to_batch(run: RunId, writer: WriterId, named: &NamedRows) -> Result<RecordBatch> {
    let rows = named.len();
    let mut all = MetricColumns::default();
    all.reserve(rows);
    let mut metric_keys = Vec::with_capacity(rows);
    for (key, columns) in named.columns.iter().enumerate() {
        metric_keys.resize(metric_keys.len() + columns.len(), key as i32);
        all.step.extend_from_slice(&columns.step);
        all.seq.extend_from_slice(&columns.seq);
        all.time.extend_from_slice(&columns.time);
        all.value.extend_from_slice(&columns.value);
    }
    let constant = |text: &str| text_column(vec![0; rows], vec![text.to_owned()]);
    let arrays: Vec<ArrayRef> = vec![
        constant(&run.to_string())?,
        constant(&named.metrics_name)?,
        text_column(metric_keys, named.metrics.iter().map(|stats| stats.metric.clone()).collect())?,
        Arc::new(Int64Array::from(all.step)),
        Arc::new(TimestampMicrosecondArray::from(all.time).with_timezone("UTC")),
        Arc::new(Float64Array::from(all.value)),
        Arc::new(Int32Array::from(vec![writer.rank; rows])),
        Arc::new(Int32Array::from(vec![writer.attempt; rows])),
        Arc::new(Int64Array::from(all.seq)),
    ];
    let batch = RecordBatch::try_new(segment_schema(), arrays)?;
    debug_assert!(batch.columns().iter().all(|column| column.null_count() == 0));
    Ok(batch)
}

fn text_column(keys: Vec<i32>, values: Vec<String>) -> Result<ArrayRef> {
    let values = Arc::new(StringArray::from(values));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(Int32Array::from(keys), values)?))
}
