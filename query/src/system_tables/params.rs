//! Table `params`: one row for each parameter of each run.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `key` | Dictionary(Int32, Utf8) | no | name of the parameter |
//! | `value` | Utf8 | no | the value as text |
//! | `number` | Float64 | yes | the value, when it is an integer or a float |
//! | `kind` | Utf8 | no | `bool`, `int`, `float` or `text` |
//!
//! Ordered by run, then key.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::{ParamValue, RunId};

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        key_field("key"),
        text_field("value"),
        nullable(float_field("number")),
        text_field("kind"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all: Vec<(RunId, &String, &ParamValue)> = snapshot
        .runs()
        .iter()
        .flat_map(|run| run.params.iter().map(move |(key, value)| (run.run_id, key, value)))
        .collect();
    Ok(vec![
        keys(all.iter().map(|(run, _, _)| run.to_string()))?,
        keys(all.iter().map(|(_, key, _)| key))?,
        texts(all.iter().map(|(_, _, value)| value.to_display())),
        optional_floats(all.iter().map(|(_, _, value)| number(value))),
        texts(all.iter().map(|(_, _, value)| kind(value))),
    ])
}

fn kind(value: &ParamValue) -> &'static str {
    match value {
        ParamValue::Bool(_) => "bool",
        ParamValue::Int(_) => "int",
        ParamValue::Float(_) => "float",
        ParamValue::Text(_) => "text",
    }
}
