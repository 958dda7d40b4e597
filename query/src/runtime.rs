//! The threads that run queries: started with the first query, shared by all sessions of the process.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};

/// Planning and evaluating deep queries recurses, and an unoptimised build needs many times the stack of a release.
const STACK_BYTES: usize = 16 << 20;
/// One thread would let a query that waits for a file hold up all others.
const WORKERS_MIN: usize = 2;
/// Threads that may read and hash files at the same time.
const BLOCKING_MAX: usize = 64;

/// The process the threads belong to, and the threads. After a fork they exist in the parent only.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// The threads that run queries.
pub(crate) fn runtime() -> Result<Arc<Runtime>> {
    let process = std::process::id();
    let mut slot = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, runtime)) = slot.as_ref()
        && *owner == process
    {
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
    let runtime = Arc::new(runtime);
    if let Some((_, inherited)) = slot.replace((process, Arc::clone(&runtime))) {
        // A forked child: the threads stayed behind in the parent, and waiting for them would never end.
        std::mem::forget(inherited);
    }
    Ok(runtime)
}

/// Processors this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
