//! What is known of each segment and each batch of live rows before any file is opened.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray, StringDictionaryBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::scalar::ScalarValue;
use stepwell_engine::batch::segment_schema;
use stepwell_engine::events::MetricStats;
use stepwell_engine::{LiveRows, RunId, RunInfo, SegmentInfo, WriterId};

use super::parts::Origin;
use crate::source::SnapshotSource;

/// Columns of the run that `metrics` adds to those of a segment.
pub(crate) const RUN_COLUMNS: [&str; 3] = ["pipeline", "stage", "run_name"];

/// Columns that have one value in all rows of a segment or live batch. A filter on these alone is answered exactly
/// without reading a row.
pub(crate) const CONSTANT_COLUMNS: [&str; 7] =
    ["run_id", "metrics_name", "rank", "attempt", "pipeline", "stage", "run_name"];

/// The column that is constant in the rows of each metric of a segment.
pub(crate) const METRIC: &str = "metric";

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

/// What is known of one segment or one batch of live rows.
#[derive(Clone, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) origin: Origin,
    pub(crate) run_id: RunId,
    pub(crate) writer: WriterId,
    pub(crate) metrics_name: &'a str,
    /// Lowest and highest time in microseconds; `None` where only reading would tell.
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) metrics: &'a [MetricStats],
}

impl<'a> Facts<'a> {
    pub(crate) fn of_segment(place: usize, segment: &'a SegmentInfo) -> Self {
        Self {
            origin: Origin::Segment(place),
            run_id: segment.run_id,
            writer: segment.writer,
            metrics_name: &segment.metrics_name,
            times: Some((segment.time_min, segment.time_max)),
            metrics: &segment.metrics,
        }
    }

    pub(crate) fn of_live(place: usize, live: &'a LiveRows) -> Self {
        Self {
            origin: Origin::Live(place),
            run_id: live.run_id,
            writer: live.writer,
            metrics_name: &live.metrics_name,
            times: None,
            metrics: &live.metrics,
        }
    }

    /// The rows of each metric: they lie one after another.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Range<usize>> + use<'a> {
        self.metrics.iter().scan(0, |end, metric| {
            let start = *end;
            *end += usize::try_from(metric.count).unwrap_or(usize::MAX);
            Some(start..*end)
        })
    }

    /// Lowest and highest step over all metrics.
    pub(crate) fn steps(&self) -> Option<(i64, i64)> {
        let min = self.metrics.iter().map(|metric| metric.first.step).min()?;
        let max = self.metrics.iter().map(|metric| metric.last.step).max()?;
        Some((min, max))
    }
}

/// What is known of each segment and then of each batch of live rows.
pub(crate) fn all_facts(snapshot: &dyn SnapshotSource) -> impl Iterator<Item = Facts<'_>> {
    let of_segments = snapshot.segments().iter().enumerate().map(|(place, segment)| Facts::of_segment(place, segment));
    of_segments.chain(snapshot.live().iter().enumerate().map(|(place, live)| Facts::of_live(place, live)))
}

/// The runs of a snapshot by their ids.
pub(crate) struct Runs {
    snapshot: Arc<dyn SnapshotSource>,
    by_id: OnceLock<HashMap<RunId, usize>>,
}

impl Runs {
    pub(crate) fn new(snapshot: Arc<dyn SnapshotSource>) -> Self {
        Self { snapshot, by_id: OnceLock::new() }
    }

    /// A run; `None` of a segment whose run has no event log: its rows are still rows.
    pub(crate) fn get(&self, run: RunId) -> Option<&RunInfo> {
        let runs = self.snapshot.runs();
        let by_id = || runs.iter().enumerate().map(|(place, run)| (run.run_id, place)).collect();
        self.by_id.get_or_init(by_id).get(&run).map(|place| &runs[*place])
    }
}

/// The value of a column of [`RUN_COLUMNS`].
pub(crate) fn run_column<'a>(run: Option<&'a RunInfo>, column: &str) -> Option<&'a str> {
    match (run, column) {
        (Some(run), "pipeline") => Some(&run.pipeline),
        (Some(run), "stage") => Some(&run.stage),
        (Some(run), _) => run.name.as_deref(),
        (None, "run_name") => None,
        (None, _) => Some(""),
    }
}

/// One row of `columns`, a choice of [`CONSTANT_COLUMNS`], for each of `facts`.
pub(crate) fn constants(
    facts: &[Facts<'_>],
    runs: &Runs,
    columns: impl Iterator<Item = &'static str>,
) -> Result<RecordBatch, ArrowError> {
    let schema = metrics_schema();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in columns {
        fields.push(schema.field_with_name(column)?.clone());
        arrays.push(constant(facts, runs, column)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(facts.len()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
}

fn constant(facts: &[Facts<'_>], runs: &Runs, column: &str) -> Result<ArrayRef, ArrowError> {
    match column {
        "run_id" => {
            // Segments are ordered by run: their ids are written out once each.
            let mut keys = RepeatedText::default();
            facts.iter().for_each(|fact| keys.append_of(fact.run_id, || fact.run_id.to_string()));
            keys.finish()
        }
        "rank" => Ok(Arc::new(Int32Array::from_iter_values(facts.iter().map(|fact| fact.writer.rank)))),
        "attempt" => Ok(Arc::new(Int32Array::from_iter_values(facts.iter().map(|fact| fact.writer.attempt)))),
        _ => {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            for fact in facts {
                let text = match column {
                    "metrics_name" => Some(fact.metrics_name),
                    _ => run_column(runs.get(fact.run_id), column),
                };
                builder.append_option(text);
            }
            Ok(Arc::new(builder.finish()))
        }
    }
}

/// Texts of which one is mostly the one before.
#[derive(Default)]
struct RepeatedText {
    keys: Vec<i32>,
    texts: Vec<String>,
    last: Option<RunId>,
}

impl RepeatedText {
    fn append_of(&mut self, run: RunId, text: impl FnOnce() -> String) {
        if self.last != Some(run) {
            self.last = Some(run);
            self.texts.push(text());
        }
        self.keys.push(self.texts.len() as i32 - 1);
    }

    fn finish(self) -> Result<ArrayRef, ArrowError> {
        let texts: ArrayRef = Arc::new(StringArray::from(self.texts));
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(self.keys.into(), texts)?))
    }
}

/// A column of `rows` rows that all hold `value`.
pub(crate) fn constant_text(value: Option<&str>, rows: usize) -> Result<ArrayRef, ArrowError> {
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(value));
    let keys = match value {
        Some(_) => Int32Array::from_value(0, rows),
        None => Int32Array::new_null(rows),
    };
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}
