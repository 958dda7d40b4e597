//! The catalog: an SQLite index of all event logs, in ML Metadata's schema 10 with `stepwell_*` tables beside it.
/// What `reindex` did.
#[derive(Clone, Debug, Default)]
pub struct ReindexReport { /// Runs indexed.
 pub runs: u64, /// Event lines read.
 pub events: u64, /// Lines that could not be read: file and fault.
 pub damaged: Vec<(std::path::PathBuf, String)> }
