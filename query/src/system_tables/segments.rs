//! Table `segments`: the committed Parquet files.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `writer` | Utf8 | no | writer |
//! | `n` | Int64 | no | number of the segment, counted by its writer |
//! | `metrics_name` | Dictionary(Int32, Utf8) | no | metrics name of its rows |
//! | `metrics` | Int64 | no | different metrics in it |
//! | `rows`, `bytes` | Int64 | no | rows; size of the file |
//! | `step_min`, `step_max` | Int64 | yes | lowest and highest step; null when it has no rows |
//! | `time_min`, `time_max` | Timestamp(us, UTC) | no | first and last time |
//! | `blake3` | Utf8 | no | hash of the file |
//! | `path` | Utf8 | no | the file, below the store folder |
//!
//! Ordered by run, writer, number.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::metrics::facts::Facts;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        text_field("writer"),
        int_field("n"),
        key_field("metrics_name"),
        int_field("metrics"),
        int_field("rows"),
        int_field("bytes"),
        nullable(int_field("step_min")),
        nullable(int_field("step_max")),
        time_field("time_min"),
        time_field("time_max"),
        text_field("blake3"),
        text_field("path"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.segments();
    let root = snapshot.root();
    let steps = || all.iter().enumerate().map(|(place, segment)| Facts::of_segment(place, segment).steps());
    Ok(vec![
        keys(all.iter().map(|segment| segment.run_id.to_string()))?,
        texts(all.iter().map(|segment| segment.writer.to_string())),
        counts(all.iter().map(|segment| segment.n)),
        keys(all.iter().map(|segment| &segment.metrics_name))?,
        counts(all.iter().map(|segment| segment.metrics.len() as u64)),
        counts(all.iter().map(|segment| segment.rows)),
        counts(all.iter().map(|segment| segment.bytes)),
        optional_ints(steps().map(|steps| steps.map(|(low, _)| low))),
        optional_ints(steps().map(|steps| steps.map(|(_, high)| high))),
        times(all.iter().map(|segment| segment.time_min)),
        times(all.iter().map(|segment| segment.time_max)),
        texts(all.iter().map(|segment| segment.blake3.to_string())),
        texts(all.iter().map(|segment| segment.path.strip_prefix(root).unwrap_or(&segment.path).to_string_lossy())),
    ])
}
