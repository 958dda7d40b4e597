//! What the crash campaigns share: how a writer acknowledges, what it logs, and how its rows are read back.

pub mod acknowledge;
pub mod board;
pub mod control;
pub mod damage;
pub mod forks;
pub mod fuse;
pub mod fuzz;
pub mod lanes;
pub mod mirror;
pub mod random;
pub mod rows;
pub mod settings;
pub mod storm;
pub mod tally;
pub mod volume;

use std::path::Path;
use std::time::Duration;

use stepwell_engine::EngineConfig;

/// The variable that says how much the end of a run compacts.
pub const COMPACT_AT_FINISH: &str = "STEPWELL_COMPACT_AT_FINISH_ROWS";

/// Metrics name of everything the crash writer logs.
pub const METRICS_NAME: &str = "crash";

/// Name of the metric of one thread.
pub fn metric_of(thread: usize) -> String {
    format!("thread{thread:02}")
}

/// The value that a thread logs at a step: one that cannot be right by accident.
pub fn value_of(thread: usize, step: i64) -> f64 {
    (step as f64).sin() * (thread as f64 + 1.5)
}

/// A folder in memory, where there is a file system in it: for what is not about the device.
///
/// # Panics
/// When no folder can be made.
pub fn memory_folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.expect("folder")
}

/// Settings with rings so small that sealing, publishing and recycling go on all the time. The end of a run compacts nothing, unless
/// the environment says so.
pub fn tight_config(ring_records: u64) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.ring_records = ring_records;
    config.segment_rows_max = ring_records;
    config.segment_age = Duration::from_millis(15);
    config.sync_interval = Duration::from_millis(10);
    config.wait_limit = Duration::from_secs(60);
    config.compact_at_finish_rows_max = settings::number(COMPACT_AT_FINISH, 0);
    config.journal_folder = std::env::var_os("STEPWELL_JOURNAL_DIR").map(Into::into);
    config
}
