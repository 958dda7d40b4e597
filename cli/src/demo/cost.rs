//! What one log call costs: measured here and now, in a store of its own, at the pace of a fast training loop rather than
//! faster than the sealer can make room.

use std::path::Path;
use std::time::{Duration, Instant};

use stepwell_engine::{Access, EngineConfig, RunOptions, Store};

use super::train::{ROW, STEP_METRICS};
use crate::error::{CliError, Result};

/// Calls timed together: the clock costs as much as a call, so it is read once per batch.
const BATCH_CALLS: i64 = 1000;
/// Batches timed.
const BATCHES: i64 = 200;
/// Pause between two batches: together they make some 500,000 calls a second.
const PAUSE: Duration = Duration::from_millis(2);

/// Cost of one call, the median over the batches.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Calls made.
    pub calls: u64,
    /// Nanoseconds for one value.
    pub log_nanos: f64,
    /// Nanoseconds for a row of three values.
    pub row_nanos: f64,
}

/// Measures, and deletes the store it measured in. Journal and syncing are as in training.
///
/// # Errors
/// [`CliError::Incomplete`] when a record is missing afterwards, for then the figures would be worth nothing.
pub fn measure(folder: &Path) -> Result<Cost> {
    let path = folder.join("cost");
    let store = Store::open_with(&path, Access::Create, EngineConfig::from_env()?)?;
    let run = store.start_run(RunOptions::new("cost", "measure"))?;
    let name = "measure";
    let refused = |source| CliError::Log { run: name.to_owned(), source };
    let loss = run.metric(STEP_METRICS, ROW[0])?;
    let row = run.row(STEP_METRICS, &ROW)?;
    let mut logger = run.logger()?;
    let log_nanos = median(|step| logger.log(loss, step, step as f64).map_err(refused))?;
    let row_nanos = median(|step| logger.log_row(&row, step, &[step as f64, 0.5, 0.25]).map_err(refused))?;
    drop(logger);
    let kept = run.finish()?.rows;
    drop((run, store));
    std::fs::remove_dir_all(&path).map_err(CliError::io("delete", &path))?;
    let calls = (2 * BATCHES * BATCH_CALLS) as u64;
    let logged = (BATCHES * BATCH_CALLS) as u64 * (1 + ROW.len() as u64);
    if kept != logged {
        return Err(CliError::Incomplete { run: name.to_owned(), logged, kept });
    }
    Ok(Cost { calls, log_nanos, row_nanos })
}

fn median(mut call: impl FnMut(i64) -> Result<()>) -> Result<f64> {
    let mut nanos = Vec::with_capacity(BATCHES as usize);
    for batch in 0..BATCHES {
        let start = Instant::now();
        for step in batch * BATCH_CALLS..(batch + 1) * BATCH_CALLS {
            call(step)?;
        }
        nanos.push(start.elapsed().as_nanos() as f64 / BATCH_CALLS as f64);
        std::thread::sleep(PAUSE);
    }
    nanos.sort_unstable_by(f64::total_cmp);
    Ok(nanos[nanos.len() / 2])
}
