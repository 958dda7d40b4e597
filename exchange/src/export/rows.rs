//! The rows that a run logged under a metrics name, as CMF has them: one row a call.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::{ContentHash, Error as EngineError, RunId, SegmentInfo, Snapshot};

use crate::error::{Error, Result};

/// A value with what says where it belongs.
struct Logged {
    /// Rank and attempt.
    writer: (i32, i32),
    seq: i64,
    step: i64,
    time: i64,
    metric: usize,
    value: f64,
}

/// Metrics of a run, and the rows with their steps.
pub(super) struct LoggedRows {
    pub metrics: Vec<String>,
    pub rows: Vec<(i64, Vec<Option<f64>>)>,
}

/// Reads all rows of a run and metrics name, committed and live.
///
/// # Errors
/// [`Error::Engine`] for a segment whose hash is wrong, [`Error::Parquet`], [`Error::Io`].
pub(super) fn rows_of(snapshot: &Snapshot, run: RunId, metrics_name: &str) -> Result<LoggedRows> {
    let (mut names, mut logged) = (BTreeMap::new(), Vec::new());
    let of_run = |segment: &&SegmentInfo| segment.run_id == run && segment.metrics_name == metrics_name;
    for segment in snapshot.segments().iter().filter(of_run) {
        for batch in read_segment(segment)? {
            take(&batch, &mut names, &mut logged, &segment.path)?;
        }
    }
    for live in snapshot.live().iter().filter(|live| live.run_id == run && live.metrics_name == metrics_name) {
        take(&live.batch, &mut names, &mut logged, Path::new("journal"))?;
    }
    let mut metrics = vec![String::new(); names.len()];
    names.into_iter().for_each(|(name, place)| metrics[place] = name);
    Ok(LoggedRows { rows: in_rows(logged, metrics.len()), metrics })
}

/// Puts values of one step that a writer logged one after the other into one row, whether by one call or by several; rows come in the
/// order of time.
fn in_rows(mut logged: Vec<Logged>, metrics: usize) -> Vec<(i64, Vec<Option<f64>>)> {
    logged.sort_by_key(|value| (value.writer, value.seq));
    let mut rows: Vec<(i64, i64, Vec<Option<f64>>)> = Vec::new();
    let mut before = None;
    for value in logged {
        let is_same = before == Some((value.writer, value.step));
        if !is_same || rows.last().is_none_or(|(_, _, values)| values[value.metric].is_some()) {
            rows.push((value.time, value.step, vec![None; metrics]));
            before = Some((value.writer, value.step));
        }
        if let Some((_, _, values)) = rows.last_mut() {
            values[value.metric] = Some(value.value);
        }
    }
    // Stable: rows of one time stay in their order.
    rows.sort_by_key(|(time, ..)| *time);
    rows.into_iter().map(|(_, step, values)| (step, values)).collect()
}

/// The rows of a segment, which is compared with its hash before.
fn read_segment(segment: &SegmentInfo) -> Result<Vec<RecordBatch>> {
    let path = &segment.path;
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let actual = ContentHash::from(blake3::hash(&bytes));
    if actual != segment.blake3 {
        let (expected, actual) = (segment.blake3.to_string(), actual.to_string());
        return Err(EngineError::HashMismatch { path: path.clone(), expected, actual }.into());
    }
    let failed = |source| Error::Parquet { action: "read", path: path.clone(), source };
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).and_then(|builder| builder.build());
    let batches = reader.map_err(failed)?.collect::<Result<Vec<_>, _>>();
    batches.map_err(|error| Error::Parquet { action: "read", path: path.clone(), source: error.into() })
}

fn take(batch: &RecordBatch, names: &mut BTreeMap<String, usize>, logged: &mut Vec<Logged>, path: &Path) -> Result<()> {
    let failed = |fault: String| Error::Damaged { path: path.to_owned(), fault };
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| failed(format!("it has no column {name}")));
    let as_type = |name: &str, kind: &DataType| {
        column(name).and_then(|array| cast(array, kind).map_err(|error| failed(error.to_string())))
    };
    let (metric, step) = (as_type("metric", &DataType::Utf8)?, as_type("step", &DataType::Int64)?);
    let (value, seq) = (as_type("value", &DataType::Float64)?, as_type("seq", &DataType::Int64)?);
    let (rank, attempt) = (as_type("rank", &DataType::Int32)?, as_type("attempt", &DataType::Int32)?);
    let time = column("time")?
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| failed("its times are none".to_owned()))?;
    let (metric, step, seq) =
        (metric.as_string::<i32>(), step.as_primitive::<Int64Type>(), seq.as_primitive::<Int64Type>());
    let (rank, attempt) = (rank.as_primitive::<Int32Type>(), attempt.as_primitive::<Int32Type>());
    let value = value.as_primitive::<Float64Type>();
    for row in 0..batch.num_rows() {
        let next = names.len();
        let name = metric.value(row);
        let metric = match names.get(name) {
            Some(place) => *place,
            None => *names.entry(name.to_owned()).or_insert(next),
        };
        logged.push(Logged {
            writer: (rank.value(row), attempt.value(row)),
            seq: seq.value(row),
            step: step.value(row),
            time: time.value(row),
            metric,
            value: value.value(row),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(rank: i32, seq: i64, time: i64, step: i64, metric: usize) -> Logged {
        Logged { writer: (rank, 0), seq, step, time, metric, value: seq as f64 }
    }

    #[test]
    fn values_of_one_step_share_a_row_until_one_comes_twice() {
        let values = vec![
            logged(0, 0, 10, 5, 0),
            logged(0, 1, 11, 5, 1),
            logged(0, 2, 12, 5, 0),
            logged(0, 3, 14, 6, 1),
            logged(1, 0, 13, 5, 0),
        ];
        let rows = in_rows(values, 2);
        let expected =
            [(5, [Some(0.0), Some(1.0)]), (5, [Some(2.0), None]), (5, [Some(0.0), None]), (6, [None, Some(3.0)])];
        assert_eq!(rows, expected.map(|(step, values)| (step, values.to_vec())));
    }
}
