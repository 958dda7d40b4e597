//! The threads that run queries: started with the first query, shared by all sessions of the process.
//!
//! A query that is stopped in the middle of an operator that does not yield keeps its thread until it gets to the end, and
//! what is queued behind it on that thread waits as long. So the threads of a stopped query are given up: the next query
//! starts new ones, and the old ones end with their work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datafusion::execution::context::SessionContext;
use stepwell_engine::without_forks;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::functions;
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
    let runtime = start_threads().map_err(|source| Error::Runtime { source })?;
    let runtime = Arc::new(Threads { runtime: Some(runtime) });
    *slot = Some(Arc::clone(&runtime));
    Ok(runtime)
}

/// A query that makes planning and execution come to most of what they have once in a process.
const FIRST_QUERY: &str = "WITH t(a, b, s) AS (VALUES (1, 1.5, 'x'), (2, 2.5, 'y')) \
    SELECT t.s, count(DISTINCT t.a), avg(t.b), max(u.w), CAST(max(u.d) AS VARCHAR) FROM t JOIN ( \
        SELECT s, row_number() OVER (PARTITION BY s ORDER BY a) AS w, CAST('2026-01-01' AS TIMESTAMP) AS d FROM t \
    ) u ON t.s = u.s WHERE t.a < 9.5 AND t.s LIKE '%x%' AND t.s ~ 'x' AND t.a IN (SELECT a FROM t) \
    GROUP BY t.s HAVING count(*) > 0 ORDER BY 2 DESC LIMIT 5";

/// Has Tokio, DataFusion and the functions added to it create what they have once in a process, some milliseconds of work. Forks of other threads wait for it:
/// a child that inherited one of these half made would wait for it for ever.
pub(crate) fn initialise_process() {
    static INITIALISED: AtomicBool = AtomicBool::new(false);
    if INITIALISED.load(Ordering::Acquire) {
        return;
    }
    without_forks(|| {
        // Another thread may have done it meanwhile. What cannot be done here is tried again by the query itself.
        if !INITIALISED.load(Ordering::Acquire)
            && let Ok(threads) = start_threads()
        {
            let (done, when_done) = sync_channel::<()>(0);
            let first = async move {
                let _done = done;
                let context = SessionContext::new();
                functions::register(&context);
                if let Ok(frame) = context.sql(FIRST_QUERY).await {
                    let _rows = frame.collect().await;
                }
            };
            let _task = threads.spawn(first);
            // Nothing is sent: the other end goes with the task.
            let _gone = when_done.recv();
            threads.shutdown_background();
            INITIALISED.store(true, Ordering::Release);
        }
    });
}

fn start_threads() -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(cores().max(WORKERS_MIN))
        .max_blocking_threads(BLOCKING_MAX)
        .thread_name("stepwell-sql")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
}

/// Processors this process could use when it was first asked: to ask means to read files of the system.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_query_has_an_answer() {
        let threads = start_threads().expect("threads");
        let first = threads.spawn(async { SessionContext::new().sql(FIRST_QUERY).await?.collect().await });
        let batches = threads.block_on(first).expect("no panic").expect("an answer");
        assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
    }
}
