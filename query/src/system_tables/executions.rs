//! Table `executions`: the runs as ML Metadata has them, and what was started.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `id` | Int64 | no | id in ML Metadata's tables |
//! | `type` | Dictionary(Int32, Utf8) | no | type in ML Metadata: the stage, or what the run was given |
//! | `name` | Utf8 | yes | name that it was given there |
//! | `command` | Utf8 | no | command line |
//! | `git_remote` | Utf8 | yes | Git repository it was started in |
//! | `git_commit` | Utf8 | yes | commit that was checked out |
//! | `git_branch` | Utf8 | yes | branch that was checked out |
//! | `source_id` | Int64 | yes | id in the store that it was imported from |
//!
//! Ordered by start, then run.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        int_field("id"),
        key_field("type"),
        nullable(text_field("name")),
        text_field("command"),
        nullable(text_field("git_remote")),
        nullable(text_field("git_commit")),
        nullable(text_field("git_branch")),
        nullable(int_field("source_id")),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let executions = || snapshot.runs().iter().map(|run| &run.execution);
    Ok(vec![
        keys(snapshot.runs().iter().map(|run| run.run_id.to_string()))?,
        ints(executions().map(|execution| execution.id)),
        keys(executions().map(|execution| &execution.execution_type))?,
        optional_texts(executions().map(|execution| execution.name.as_ref())),
        texts(executions().map(|execution| &execution.command)),
        optional_texts(executions().map(|execution| execution.git.remote.as_ref())),
        optional_texts(executions().map(|execution| execution.git.commit.as_ref())),
        optional_texts(executions().map(|execution| execution.git.branch.as_ref())),
        optional_ints(executions().map(|execution| execution.source_id)),
    ])
}
