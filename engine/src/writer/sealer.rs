//! The sealer: one thread per process that looks after all its writers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::fork::{ProcessMark, without_forks};
use crate::writer::core::WriterCore;

/// Time between two looks at the rings when nobody wakes the sealer.
const TICK: Duration = Duration::from_millis(20);
/// The same while no run is open.
const IDLE_TICK: Duration = Duration::from_secs(3600);

static SEALER: Mutex<Option<(ProcessMark, Arc<Sealer>)>> = Mutex::new(None);

/// Handle of the sealer thread.
pub(crate) struct Sealer {
    writers: Mutex<Vec<Weak<WriterCore>>>,
    thread: std::sync::OnceLock<Thread>,
}

impl Sealer {
    /// The sealer of this process; started at the first call, and again in a forked child.
    pub(crate) fn of_process() -> std::io::Result<Arc<Self>> {
        let process = ProcessMark::own();
        without_forks(|| {
            let mut current = SEALER.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((owner, sealer)) = &*current
                && *owner == process
            {
                return Ok(Arc::clone(sealer));
            }
            let sealer = Arc::new(Self { writers: Mutex::new(Vec::new()), thread: std::sync::OnceLock::new() });
            let worker = Arc::clone(&sealer);
            let handle = std::thread::Builder::new().name("stepwell-sealer".to_owned()).spawn(move || worker.run())?;
            let _ = sealer.thread.set(handle.thread().clone());
            // Calibration spins; the sealer has rings to look after meanwhile. Without the thread, records take their time
            // from the operating system.
            let _ = std::thread::Builder::new().name("stepwell-clock".to_owned()).spawn(clock::calibrate);
            *current = Some((process, Arc::clone(&sealer)));
            Ok(sealer)
        })
    }

    /// Has the sealer look after a writer for as long as the writer exists.
    pub(crate) fn register(&self, writer: &Arc<WriterCore>) {
        without_forks(|| {
            self.writers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(writer));
        });
        self.wake();
    }

    /// Has it look at the rings now.
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self) {
        loop {
            let mut writers: Vec<_> = without_forks(|| {
                let mut writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
                writers.retain(|writer| writer.strong_count() > 0);
                writers.iter().filter_map(Weak::upgrade).collect()
            });
            // Outside, because dropping the last reference to a writer talks to the registry of forks.
            writers.retain(|writer| !writer.is_closed());
            for writer in &writers {
                // The thread serves all runs of the process; a fault in one must not end the others.
                if catch_unwind(AssertUnwindSafe(|| writer.tick(Instant::now()))).is_err() {
                    writer.rest_after_panic();
                }
            }
            let tick = if writers.is_empty() { IDLE_TICK } else { TICK };
            // The references are let go before waiting, so that a dropped run is gone at once.
            drop(writers);
            std::thread::park_timeout(tick);
        }
    }
}
