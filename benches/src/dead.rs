//! Writers that die, and copies of what they leave.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use stepwell_engine::{Access, EngineConfig, RunOptions, Store};

use crate::{Result, check_count};

/// Logs `records` records to a store in `folder` and ends the process by SIGKILL; all of them are in the journal alone. A ring of
/// `ring_records` has to be twice as large, so that no segment is closed.
///
/// # Errors
/// When the process lives on.
pub fn die_after_logging(folder: &Path, records: i64, ring_records: u64) -> Result<()> {
    let mut config = EngineConfig::default();
    config.ring_records = ring_records;
    config.segment_age = Duration::from_secs(3600);
    let store = Store::open_with(folder, Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "left behind"))?;
    let metric = run.metric("training_metrics", "loss")?;
    let mut logger = run.logger()?;
    for step in 0..records {
        logger.log(metric, step, step as f64)?;
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
}

/// Has this program run with `arguments`, which have to make it die.
///
/// # Errors
/// When it ended by itself.
pub fn have_one_die(arguments: &[&str]) -> Result<()> {
    let died = Command::new(std::env::current_exe()?).args(arguments).status()?;
    if died.code().is_some() {
        return Err("the writer that is to be recovered ended by itself".into());
    }
    Ok(())
}

/// Copies a store with `cp`. Times of files and folders are kept: the catalog looks again into folders that changed just now.
///
/// # Errors
/// When that failed.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    check_count("copies that failed", u64::from(!copied.success()), 0)
}

/// Recovers the dead writer of a store.
///
/// # Errors
/// When there were not `records` in its journal.
pub fn recover(folder: &Path, records: u64) -> Result<Store> {
    let store = Store::open(folder)?;
    let rows = store.recovery().writers.iter().map(|writer| writer.rows_recovered).sum();
    check_count("records recovered", rows, records)?;
    Ok(store)
}
