//! Runs that are open: finished at the end of the interpreter, left alone in a forked child.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use pyo3::prelude::*;
use stepwell_engine::{FinishState, RunReport};

use crate::error::Class;
use crate::run::{Inner, TimeLeft};
use crate::shapes::LoggerSlot;

/// How often a wait looks whether the user pressed Ctrl-C.
pub const SIGNAL_POLL: Duration = Duration::from_millis(100);

/// The longest that the end of the interpreter waits for open runs. What is not committed then is in the journals.
const EXIT_WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs that are still open then are finished without compacting their small files: each compaction takes about a second at most.
const COMPACTION_WAIT_MAX: Duration = Duration::from_secs(10);

/// Runs of this process. Locked only by threads that hold the interpreter's lock, so a fork never finds it taken.
static OPEN: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

fn open_runs() -> MutexGuard<'static, Vec<Weak<Inner>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers a run that was started.
pub fn remember(run: &Arc<Inner>) {
    let mut open = open_runs();
    open.retain(|known| known.strong_count() > 0);
    open.push(Arc::downgrade(run));
}

/// Tells what a finished run lost or could not do as `StepwellWarning`.
///
/// # Errors
/// The warning itself, where the user turned warnings into errors.
pub fn warn_of_losses(py: Python<'_>, report: &RunReport) -> PyResult<()> {
    let mut faults = report.warnings.clone();
    if report.drops > 0 {
        faults.push(format!("{} records were dropped because the journal was full", report.drops));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let category = Class::Warning.get(py)?;
    faults.into_iter().try_for_each(|fault| {
        let text = format!("run {}: {}", report.run_id, fault.replace('\0', " "));
        let text = std::ffi::CString::new(text)?;
        PyErr::warn(py, &category, &text, 1)
    })
}

/// Finishes a run whose Python object goes away: nobody can log to it any more.
pub fn finish_dropped(run: &Arc<Inner>) {
    if run.is_foreign() {
        // The parent's threads and mapping are not this process's to touch.
        mem::forget(Arc::clone(run));
        return;
    }
    Python::try_attach(|py| {
        // An object may be freed while an exception is on its way; calls into Python must not meet it.
        let pending = PyErr::take(py);
        if !run.is_closed(py) {
            let told =
                run.finish(py, FinishState::Finished, TimeLeft::Enough).and_then(|report| warn_of_losses(py, &report));
            if let Err(fault) = told {
                fault.write_unraisable(py, None);
            }
        }
        if let Some(pending) = pending {
            pending.restore(py);
        }
    });
}

/// Finishes the runs that are still open when the interpreter ends: as failed when an uncaught exception ends it.
///
/// Never waits longer than 30 seconds, and Ctrl-C ends the wait; what is not committed by then is in the journals, and
/// the next reader of the store recovers it.
#[pyfunction]
#[pyo3(name = "_finish_open_runs")]
pub fn finish_open_runs(py: Python<'_>) -> PyResult<()> {
    let runs: Vec<Arc<Inner>> = mem::take(&mut *open_runs()).iter().filter_map(Weak::upgrade).collect();
    let runs: Vec<Arc<Inner>> = runs.into_iter().filter(|run| !run.is_foreign()).collect();
    let open: Vec<Arc<Inner>> = runs.iter().filter(|run| !run.is_closed(py)).cloned().collect();
    let told = if open.is_empty() { Ok(()) } else { finish_all(py, open) };
    py.detach(|| runs.iter().for_each(|run| run.shorten_catalog_log()));
    told
}

/// Finishes runs on a thread of its own, and waits for it as long as an exit may.
fn finish_all(py: Python<'_>, open: Vec<Arc<Inner>>) -> PyResult<()> {
    let sys = py.import("sys")?;
    let interactive = sys.hasattr("ps1")?;
    let state = if !interactive && sys.hasattr("last_type")? { FinishState::Failed } else { FinishState::Finished };
    let (sender, receiver) = bounded(open.len());
    let begin = Instant::now();
    let work = move || {
        for run in open {
            let time = if begin.elapsed() < COMPACTION_WAIT_MAX { TimeLeft::Enough } else { TimeLeft::Little };
            let told =
                Python::try_attach(|py| run.finish(py, state, time).and_then(|report| warn_of_losses(py, &report)));
            if sender.send(told.unwrap_or(Ok(()))).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("stepwell-exit".to_owned()).spawn(work)?;
    let end = begin + EXIT_WAIT_MAX;
    loop {
        match py.detach(|| receiver.recv_timeout(SIGNAL_POLL)) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => fault.write_unraisable(py, None),
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= end => {
                let text =
                    c"a run was not committed within 30 s at exit; its rows are in the journal and are recovered \
                             when the store is opened next";
                return PyErr::warn(py, Class::Warning.get(py)?.as_any(), text, 1);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        py.check_signals()?;
    }
}

/// Closes the parent's runs in a forked child. They are leaked there: dropping them would touch the parent's ring.
#[pyfunction]
#[pyo3(name = "_after_fork_in_child")]
pub fn after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    for run in mem::take(&mut *open_runs()).iter().filter_map(Weak::upgrade) {
        let slot = mem::replace(&mut run.hot.borrow_mut(py)?.logger, LoggerSlot::Forked);
        if let LoggerSlot::Ready(logger) = slot {
            mem::forget(logger);
        }
        mem::forget(run);
    }
    Ok(())
}
