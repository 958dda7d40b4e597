//! Table `runs`: one row a run.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run, a UUID as text |
//! | `pipeline`, `stage` | Dictionary(Int32, Utf8) | no | names |
//! | `name` | Utf8 | yes | display name |
//! | `state` | Utf8 | no | `running`, `finished`, `failed` or `died` |
//! | `started` | Timestamp(us, UTC) | no | start of the first writer |
//! | `ended` | Timestamp(us, UTC) | yes | end of the last writer; null while running |
//! | `duration_seconds` | Float64 | yes | from `started` to `ended`; null while running |
//! | `params` | Struct, a field for each key of any run | yes | `params['lr']`: a number, boolean or text as logged |
//! | `tags` | Struct of Utf8, a field for each key of any run | yes | `tags['team']` |
//!
//! A key that a run does not have is null. Ordered by start, then id.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field};
use stepwell_engine::{ParamValue, RunInfo};

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields(snapshot: &dyn SnapshotSource) -> Vec<Field> {
    let (params, tags) = types(snapshot.runs());
    vec![
        key_field("run_id"),
        key_field("pipeline"),
        key_field("stage"),
        nullable(text_field("name")),
        text_field("state"),
        time_field("started"),
        nullable(time_field("ended")),
        nullable(float_field("duration_seconds")),
        Field::new("params", params, true),
        Field::new("tags", tags, true),
    ]
}

fn types(runs: &[RunInfo]) -> (DataType, DataType) {
    (struct_type(runs.iter().map(|run| &run.params)), text_struct_type(runs.iter().map(|run| &run.tags)))
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let runs = snapshot.runs();
    let (params, tags) = types(runs);
    Ok(vec![
        keys(runs.iter().map(|run| run.run_id.to_string()))?,
        keys(runs.iter().map(|run| &run.pipeline))?,
        keys(runs.iter().map(|run| &run.stage))?,
        optional_texts(runs.iter().map(|run| run.name.as_deref())),
        texts(runs.iter().map(|run| run.state.as_str())),
        times(runs.iter().map(|run| micros_of_nanos(run.started))),
        optional_times(runs.iter().map(|run| run.ended.map(micros_of_nanos))),
        optional_floats(runs.iter().map(duration_seconds)),
        structs(&params, runs, |run, key| run.params.get(key).cloned())?,
        structs(&tags, runs, |run, key| run.tags.get(key).cloned().map(ParamValue::Text))?,
    ])
}

fn duration_seconds(run: &RunInfo) -> Option<f64> {
    let nanos = run.ended?.saturating_sub(run.started).max(0);
    Some(std::time::Duration::from_nanos(nanos.unsigned_abs()).as_secs_f64())
}
