//! Table `writers`: the processes that wrote to each run.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `writer` | Utf8 | no | id of the writer |
//! | `rank`, `attempt` | Int32 | no | rank of the process; how often that rank was resumed |
//! | `host` | Dictionary(Int32, Utf8) | no | where it ran |
//! | `pid` | Int64 | no | process id there |
//! | `state` | Utf8 | no | `running`, `finished`, `failed` or `died` |
//! | `started`, `last_event` | Timestamp(us, UTC) | no | first and last event in its log |
//! | `version` | Utf8 | no | of Stepwell |
//! | `waits` | Int64 | no | calls that waited for room in a ring; told at the end |
//! | `drops` | Int64 | no | records dropped because a ring was full; told at the end |
//!
//! Ordered by run, rank, attempt, writer.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::{RunId, WriterInfo};

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        text_field("writer"),
        small_field("rank"),
        small_field("attempt"),
        key_field("host"),
        int_field("pid"),
        text_field("state"),
        time_field("started"),
        time_field("last_event"),
        text_field("version"),
        int_field("waits"),
        int_field("drops"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all: Vec<(RunId, &WriterInfo)> =
        snapshot.runs().iter().flat_map(|run| run.writers.iter().map(move |writer| (run.run_id, writer))).collect();
    let writers = || all.iter().map(|(_, writer)| *writer);
    Ok(vec![
        keys(all.iter().map(|(run, _)| run.to_string()))?,
        texts(writers().map(|writer| writer.writer.to_string())),
        smalls(writers().map(|writer| writer.writer.rank)),
        smalls(writers().map(|writer| writer.writer.attempt)),
        keys(writers().map(|writer| &writer.process.host))?,
        ints(writers().map(|writer| i64::from(writer.process.pid))),
        texts(writers().map(|writer| writer.state.as_str())),
        times(writers().map(|writer| micros_of_nanos(writer.started))),
        times(writers().map(|writer| micros_of_nanos(writer.last_event))),
        texts(writers().map(|writer| &writer.version)),
        counts(writers().map(|writer| writer.waits)),
        counts(writers().map(|writer| writer.drops)),
    ])
}
