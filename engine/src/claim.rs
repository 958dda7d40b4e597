//! Claims: which attempt of a rank a starting writer is.
//!
//! Writers of a run share nothing, so two processes may start the same rank at the same moment, each before it sees the other.
//! A claim is a file named by rank and attempt, under a lock for as long as its writer is starting. Nobody waits for one:
//! whoever finds an attempt claimed takes the next. What a dead process left behind is told by the free lock. Some network file
//! systems have no locks: there the one that creates the file has the claim, and what a dead process left behind costs a number.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::event_log::{has_no_locks, writers_of};
use crate::ids::RunId;
use crate::layout::{Layout, TEMP_PREFIX};
use crate::storage::{Disk, LockKind, StorageFile, remove_file};

/// The right to be one attempt of a rank; given up when it is dropped.
pub(crate) struct Claim {
    pub attempt: i32,
    path: PathBuf,
    _file: File,
}

impl Claim {
    /// Claims the first attempt of `rank` that nobody has or had.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn next(layout: &Layout, run: RunId, rank: i32) -> Result<Self> {
        let mut attempt = free_attempt(layout, run, rank)?;
        loop {
            let path = layout.run(run).join(format!("{TEMP_PREFIX}claim-{rank}-{attempt}"));
            if let Some(file) = lock(&path)? {
                let claim = Self { attempt, path, _file: file };
                // Another one may have made its event log, and let its claim go, after the look above.
                let free = free_attempt(layout, run, rank)?;
                if free <= attempt {
                    return Ok(claim);
                }
                attempt = free;
            } else {
                attempt += 1;
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Before the lock goes with the file, so that a name always belongs to whoever has its lock.
        let _ = remove_file(&Disk, &self.path);
    }
}

fn free_attempt(layout: &Layout, run: RunId, rank: i32) -> Result<i32> {
    let writers = writers_of(layout, run)?;
    let attempts = writers.iter().filter(|writer| writer.rank == rank).map(|writer| writer.attempt + 1);
    Ok(attempts.max().unwrap_or(0))
}

/// The file at `path` under a lock; `None` when another process has it.
fn lock(path: &Path) -> Result<Option<File>> {
    let fail = || Error::io("claim an attempt of the run", path);
    let (file, is_new) = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => match OpenOptions::new().write(true).open(path) {
            // Its owner let it go in between.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => (other.map_err(fail())?, false),
        },
        other => (other.map_err(fail())?, true),
    };
    match StorageFile::try_lock(&file, LockKind::Exclusive) {
        Ok(true) => {}
        Err(error) if has_no_locks(&error) => return Ok(is_new.then_some(file)),
        Ok(false) => return Ok(None),
        Err(error) => return Err(fail()(error)),
    }
    // The one that had it may have removed it between the opening and the lock.
    let own = file.metadata().map_err(fail())?.ino();
    Ok(std::fs::metadata(path).is_ok_and(|named| named.ino() == own).then_some(file))
}
