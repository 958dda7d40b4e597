//! Tests of the engine through its public surface: real files, real threads, real processes.

mod artifacts;
mod bad_input;
mod common;
mod compaction;
mod compaction_at_finish;
mod dead;
mod garbage;
mod live;
mod logging;
mod lost_journals;
mod packs;
mod processes;
mod records;
mod recovery;
mod reflink;
