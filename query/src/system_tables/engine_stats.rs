//! Table `engine_stats`: what the engine did for each writer.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `writer` | Utf8 | no | id of the writer |
//! | `rank`, `attempt` | Int32 | no | rank of the process; how often that rank was resumed |
//! | `state` | Utf8 | no | `running`, `finished`, `failed` or `died` |
//! | `records_logged` | Int64 | no | records logged |
//! | `records_committed` | Int64 | no | of them in segments |
//! | `records_live` | Int64 | no | of them in journals alone |
//! | `records_durable` | Int64 | no | of them known to be on the device |
//! | `waits` | Int64 | no | calls that waited for room in a ring |
//! | `drops` | Int64 | no | records dropped because a ring was full |
//! | `records_lost` | Int64 | no | records that `gaps` tells as lost |
//! | `journal_folder` | Utf8 | no | where its journals lie; below the store, or a whole path |
//! | `file_system` | Utf8 | no | kind of file system there |
//! | `durability` | Utf8 | no | what synced records survive: `device` (power loss) or `process` (the end of the process) |
//! | `segments` | Int64 | no | segments |
//! | `bytes` | Int64 | no | their size |
//!
//! Of a living writer the numbers come from the headers of its journals, of one that ended from its event log. Ordered by
//! run, rank, attempt, writer.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::WriterStats;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        text_field("writer"),
        small_field("rank"),
        small_field("attempt"),
        text_field("state"),
        int_field("records_logged"),
        int_field("records_committed"),
        int_field("records_live"),
        int_field("records_durable"),
        int_field("waits"),
        int_field("drops"),
        int_field("records_lost"),
        text_field("journal_folder"),
        text_field("file_system"),
        text_field("durability"),
        int_field("segments"),
        int_field("bytes"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.writer_stats()?;
    let number = |of: fn(&WriterStats) -> u64| counts(all.iter().map(of));
    let folder = |stats: &WriterStats| {
        let folder = &stats.journal_folder;
        folder.strip_prefix(snapshot.root()).unwrap_or(folder).to_string_lossy().into_owned()
    };
    Ok(vec![
        keys(all.iter().map(|stats| stats.run_id.to_string()))?,
        texts(all.iter().map(|stats| stats.writer.to_string())),
        smalls(all.iter().map(|stats| stats.writer.rank)),
        smalls(all.iter().map(|stats| stats.writer.attempt)),
        texts(all.iter().map(|stats| stats.state.as_str())),
        number(|stats| stats.records_logged),
        number(|stats| stats.records_committed),
        number(|stats| stats.records_live),
        number(|stats| stats.records_durable),
        number(|stats| stats.waits),
        number(|stats| stats.drops),
        number(|stats| stats.records_lost),
        texts(all.iter().map(folder)),
        texts(all.iter().map(|stats| stats.file_system)),
        texts(all.iter().map(|stats| stats.durability)),
        number(|stats| stats.segments),
        number(|stats| stats.bytes),
    ])
}
