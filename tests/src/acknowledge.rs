//! A page that writer and observer share: per thread, how many log calls have returned.
//!
//! The page outlives the writer, as a pipe would, at a cost that does not slow the log call down to the speed of a
//! system call.
//!
//! Invariant 1: the mapping covers [`THREADS_MAX`] counters and is only reached through atomics.
#![allow(unsafe_code)]

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// Most threads of a writer.
pub const THREADS_MAX: usize = 16;

/// The shared counters.
pub struct Acknowledgements {
    page: MmapRaw,
}

impl Acknowledgements {
    /// Opens the page at `path`, creating it with all counters at 0.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let bytes = THREADS_MAX * 8;
        file.set_len(bytes as u64)?;
        Ok(Self { page: MmapOptions::new().len(bytes).map_raw(&file)? })
    }

    fn counter(&self, thread: usize) -> &AtomicU64 {
        assert!(thread < THREADS_MAX);
        // SAFETY: INV-1: the counter is inside the mapping, aligned to 8, and reached through atomics only.
        unsafe { AtomicU64::from_ptr(self.page.as_mut_ptr().cast::<u64>().add(thread)) }
    }

    /// Says that `count` log calls of `thread` have returned.
    pub fn acknowledge(&self, thread: usize, count: u64) {
        self.counter(thread).store(count, Ordering::Release);
    }

    /// How many log calls of `thread` have returned.
    pub fn of(&self, thread: usize) -> u64 {
        self.counter(thread).load(Ordering::Acquire)
    }
}
