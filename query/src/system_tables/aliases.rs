//! Table `aliases`: movable names of versions, as they stand.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `name` | Utf8 | no | name the artifact was logged under |
//! | `alias` | Utf8 | no | the alias |
//! | `artifact_id` | Int64 | no | `artifacts.id` of the version that has it |
//!
//! Ordered by name, alias.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![text_field("name"), text_field("alias"), int_field("artifact_id")]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.aliases()?;
    Ok(vec![
        texts(all.iter().map(|alias| &alias.name)),
        texts(all.iter().map(|alias| &alias.alias)),
        ints(all.iter().map(|alias| alias.artifact_id)),
    ])
}
