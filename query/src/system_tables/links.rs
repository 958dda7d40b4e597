//! Table `links`: artifacts that came of others without a run between that says so.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run that said so |
//! | `source_id` | Int64 | no | `artifacts.id` it came from |
//! | `target_id` | Int64 | no | `artifacts.id` that came of it |
//! | `relation` | Utf8 | no | what the link means, such as `derived` |
//!
//! Ordered by time, run and writer.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![key_field("run_id"), int_field("source_id"), int_field("target_id"), text_field("relation")]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.links()?;
    Ok(vec![
        keys(all.iter().map(|link| link.run_id.to_string()))?,
        ints(all.iter().map(|link| link.source)),
        ints(all.iter().map(|link| link.target)),
        texts(all.iter().map(|link| &link.relation)),
    ])
}
