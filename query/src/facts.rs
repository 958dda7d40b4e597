//! What is known of each segment and each batch of live rows before any file is opened.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringDictionaryBuilder};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::scalar::ScalarValue;
use stepwell_engine::batch::segment_schema;
use stepwell_engine::events::MetricStats;
use stepwell_engine::{LiveRows, RunId, RunInfo, SegmentInfo, WriterId};

/// Columns of the run that `metrics` adds to those of a segment.
pub(crate) const RUN_COLUMNS: [&str; 3] = ["pipeline", "stage", "run_name"];

/// Columns that have one value in all rows of a segment or live batch. A filter on these alone is answered exactly
/// without reading a row.
pub(crate) const CONSTANT_COLUMNS: [&str; 7] =
    ["run_id", "metrics_name", "rank", "attempt", "pipeline", "stage", "run_name"];

/// Text in few different values: an Arrow dictionary.
pub(crate) fn text_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// A value of [`text_type`].
pub(crate) fn text_scalar(value: Option<&str>) -> ScalarValue {
    ScalarValue::Dictionary(Box::new(DataType::Int32), Box::new(ScalarValue::Utf8(value.map(str::to_owned))))
}

/// Fields of [`RUN_COLUMNS`].
pub(crate) fn run_fields() -> Vec<Field> {
    RUN_COLUMNS.iter().map(|name| Field::new(*name, text_type(), *name == "run_name")).collect()
}

/// Schema of the table `metrics`.
pub(crate) fn metrics_schema() -> SchemaRef {
    let mut fields: Vec<Field> = segment_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(run_fields());
    Arc::new(Schema::new(fields))
}

/// Schema of [`CONSTANT_COLUMNS`].
pub(crate) fn constants_schema() -> SchemaRef {
    let metrics = metrics_schema();
    let fields: Vec<Field> =
        CONSTANT_COLUMNS.iter().filter_map(|name| metrics.field_with_name(name).ok().cloned()).collect();
    Arc::new(Schema::new(fields))
}

/// What is known of one segment or one batch of live rows.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) run_id: RunId,
    pub(crate) writer: WriterId,
    pub(crate) metrics_name: &'a str,
    /// Lowest and highest time in microseconds; `None` where only reading would tell.
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) metrics: &'a [MetricStats],
}

impl<'a> Facts<'a> {
    pub(crate) fn of_segment(segment: &'a SegmentInfo) -> Self {
        Self {
            run_id: segment.run_id,
            writer: segment.writer,
            metrics_name: &segment.metrics_name,
            times: Some((segment.time_min, segment.time_max)),
            metrics: &segment.metrics,
        }
    }

    pub(crate) fn of_live(live: &'a LiveRows) -> Self {
        Self {
            run_id: live.run_id,
            writer: live.writer,
            metrics_name: &live.metrics_name,
            times: None,
            metrics: &live.metrics,
        }
    }

    /// Lowest and highest step over all metrics.
    pub(crate) fn steps(&self) -> Option<(i64, i64)> {
        let min = self.metrics.iter().map(|metric| metric.first.step).min()?;
        let max = self.metrics.iter().map(|metric| metric.last.step).max()?;
        Some((min, max))
    }
}

/// Names of runs by their ids.
pub(crate) struct Runs<'a> {
    by_id: HashMap<RunId, &'a RunInfo>,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(runs: &'a [RunInfo]) -> Self {
        Self { by_id: runs.iter().map(|run| (run.run_id, run)).collect() }
    }

    /// Values of [`RUN_COLUMNS`].
    pub(crate) fn columns(&self, run: RunId) -> [Option<&'a str>; 3] {
        match self.by_id.get(&run) {
            Some(run) => [Some(&run.pipeline), Some(&run.stage), run.name.as_deref()],
            // A segment whose run has no event log: its rows are still rows.
            None => [Some(""), Some(""), None],
        }
    }
}

/// One row of [`CONSTANT_COLUMNS`] for each of `facts`.
pub(crate) fn constants(facts: &[Facts<'_>], runs: &Runs<'_>) -> Result<RecordBatch, ArrowError> {
    let text = |value: &dyn Fn(&Facts<'_>) -> Option<String>| -> Result<ArrayRef, ArrowError> {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for fact in facts {
            match value(fact) {
                Some(text) => {
                    builder.append(text)?;
                }
                None => builder.append_null(),
            }
        }
        Ok(Arc::new(builder.finish()))
    };
    let run_column = |index: usize| text(&|fact: &Facts<'_>| runs.columns(fact.run_id)[index].map(str::to_owned));
    let columns: Vec<ArrayRef> = vec![
        text(&|fact: &Facts<'_>| Some(fact.run_id.to_string()))?,
        text(&|fact: &Facts<'_>| Some(fact.metrics_name.to_owned()))?,
        Arc::new(Int32Array::from_iter_values(facts.iter().map(|fact| fact.writer.rank))),
        Arc::new(Int32Array::from_iter_values(facts.iter().map(|fact| fact.writer.attempt))),
        run_column(0)?,
        run_column(1)?,
        run_column(2)?,
    ];
    RecordBatch::try_new(constants_schema(), columns)
}

/// A column of `rows` rows that all hold `value`.
pub(crate) fn constant_text(value: Option<&str>, rows: usize) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = Arc::new(arrow::array::StringArray::from_iter_values(value));
    let keys = match value {
        Some(_) => Int32Array::from_value(0, rows),
        None => Int32Array::new_null(rows),
    };
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}
