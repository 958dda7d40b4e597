//! The threads that run queries: started with the first query, shared by all sessions of the process.
//!
//! A query that is stopped in the middle of an operator that does not yield keeps its thread until it gets to the end, and
//! what is queued behind it on that thread waits as long. So the threads of a stopped query are given up: the next query
//! starts new ones, and the old ones end with their work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::context::SessionContext;
use stepwell_engine::without_forks;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::per_process::PerProcess;

/// Planning and evaluating deep queries recurses, and an unoptimised build needs many times the stack of a release.
const STACK_BYTES: usize = 16 << 20;
/// One thread would let a query that waits for a file hold up all others.
const WORKERS_MIN: usize = 2;
/// Threads that may read and hash files at the same time.
const BLOCKING_MAX: usize = 64;

/// The threads. After a fork they exist in the parent only; waiting for them in the child would never end.
static RUNTIME: PerProcess<Mutex<Option<Arc<Threads>>>> = PerProcess::new();

/// Threads that run queries. Dropping them waits for nothing.
pub(crate) struct Threads {
    runtime: Option<Runtime>,
}

impl Threads {
    /// Starts a task; `None` never happens while somebody holds the threads.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<JoinHandle<()>> {
        self.runtime.as_ref().map(|runtime| runtime.spawn(task))
    }

    /// Gives the threads up: no later query runs on them.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let mut slot = RUNTIME.get().lock().unwrap_or_else(PoisonError::into_inner);
        let given_up = slot.take_if(|current| Arc::ptr_eq(current, self));
        drop(slot);
        drop(given_up);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The threads that run queries.
pub(crate) fn runtime() -> Result<Arc<Threads>> {
    let mut slot = RUNTIME.get().lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = slot.as_ref() {
        return Ok(Arc::clone(runtime));
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores().max(WORKERS_MIN))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("stepwell-sql")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|source| Error::Runtime { source })?;
    let runtime = Arc::new(Threads { runtime: Some(runtime) });
    *slot = Some(Arc::clone(&runtime));
    Ok(runtime)
}

/// Creates what DataFusion has once in a process: its functions, some milliseconds of work. Forks wait for it, as a child that
/// inherited one of them half made would wait for ever.
pub(crate) fn initialise_process() {
    static INITIALISED: AtomicBool = AtomicBool::new(false);
    if !INITIALISED.load(Ordering::Acquire) {
        without_forks(|| drop(SessionContext::new()));
        INITIALISED.store(true, Ordering::Release);
    }
}

/// Processors this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
