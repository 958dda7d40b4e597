//! The event log of one writer: append-only checksummed lines, held under a lock for as long as the writer lives.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::clock::wall_nanos;
use crate::error::{Error, Result};
use crate::events::{Event, EventLine};
use crate::fork::LockFile;
use crate::fsutil::sync_folder;
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, TEMP_PREFIX, parse_events_file};

/// Largest event log read: a guard against a file that is no event log.
pub const LOG_BYTES_MAX: u64 = 1 << 32;

/// Most times that a lock which only readers hold is tried again.
const READER_ASKS_MAX: u32 = 100_000;

/// An event log as read from disk.
#[derive(Clone, Debug, Default)]
pub struct LogContents {
    /// The valid lines, in order.
    pub lines: Vec<EventLine>,
    /// Length of the file when it was read.
    pub file_bytes: u64,
    /// Offset after the last complete line; what lies behind it is a line cut off in the middle of writing.
    pub complete_bytes: u64,
    /// Complete lines that are damaged.
    pub faults: Vec<LogFault>,
}

impl LogContents {
    /// Whether the last line was cut off in the middle of writing: by a crash, or because it is being written now.
    pub fn has_torn_tail(&self) -> bool {
        self.complete_bytes < self.file_bytes
    }
}

/// A damaged line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFault {
    /// Byte offset of the line.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: String,
}

/// Reads an event log. Never writes; damaged lines are reported, not skipped silently.
///
/// # Errors
/// [`Error::Io`]; [`Error::NewerFormat`] when a newer Stepwell wrote it.
pub fn read_log(path: &Path) -> Result<LogContents> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LOG_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(Error::io("read the event log", path))?;
    let mut contents = LogContents { file_bytes: bytes.len() as u64, ..LogContents::default() };
    let mut offset = 0;
    while let Some(length) = bytes[offset..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[offset..offset + length];
        let decoded = std::str::from_utf8(line)
            .map_err(|_| "it is not UTF-8".to_owned())
            .and_then(|text| EventLine::decode(text).map_err(|error| error.fault));
        match decoded {
            Ok(line) => {
                if let Event::WriterStarted(started) = &line.event
                    && started.format > crate::events::EVENT_FORMAT
                {
                    return Err(Error::NewerFormat {
                        path: path.to_owned(),
                        found: started.format,
                        supported: crate::events::EVENT_FORMAT,
                    });
                }
                contents.lines.push(line);
            }
            Err(fault) => contents.faults.push(LogFault { offset: offset as u64, fault }),
        }
        offset += length + 1;
    }
    contents.complete_bytes = offset as u64;
    Ok(contents)
}

/// The writers of a run, from the names of their event logs; sorted.
///
/// # Errors
/// [`Error::Io`] when the run folder cannot be listed.
pub fn writers_of(layout: &Layout, run: RunId) -> Result<Vec<WriterId>> {
    let folder = layout.run(run);
    let entries = std::fs::read_dir(&folder).map_err(Error::io("list the run folder", &folder))?;
    let mut writers = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list the run folder", &folder))?;
        writers.extend(entry.file_name().to_str().and_then(parse_events_file));
    }
    writers.sort_unstable();
    Ok(writers)
}

/// Whether a line must be on the device before `append` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache: survives the death of the process.
    Process,
    /// Synced: survives power loss.
    Device,
}

/// The writing end of an event log. The lock on the file says that the writer is alive; it goes with the process.
#[derive(Debug)]
pub struct EventLog {
    file: LockFile,
    path: PathBuf,
    next_n: u64,
    last_time: i64,
    /// Lines were appended since the last sync.
    unsynced: bool,
    /// A sync failed; the kernel may have dropped the error with the data, so no later one can be believed.
    sync_failed: bool,
}

impl EventLog {
    /// Creates the log of a new writer: locked and with its first event in it before it gets its name, so that a log
    /// without a first event, or one whose living writer does not hold the lock, is never seen.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: &Path, first: Event) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = path.with_file_name(format!("{TEMP_PREFIX}{name}"));
        let file = LockFile::open(&temp, OpenOptions::new().create_new(true).append(true).read(true))
            .map_err(Error::io("create the event log", path))?;
        rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| Error::io("lock the event log", path)(errno.into()))?;
        let mut log = Self { file, path: path.to_owned(), next_n: 0, last_time: 0, unsynced: true, sync_failed: false };
        log.append(first, Durability::Process)?;
        std::fs::rename(&temp, path).map_err(Error::io("create the event log", path))?;
        Ok(log)
    }

    /// Takes over the log of a dead writer: `None` when its lock is held, so its writer lives. A line that was cut off
    /// in the middle of writing is removed; what it said had not been confirmed to anyone.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NewerFormat`].
    pub fn take_over(path: &Path) -> Result<Option<(Self, LogContents)>> {
        let mut file = LockFile::open(path, OpenOptions::new().append(true).read(true))
            .map_err(Error::io("open the event log", path))?;
        // A reader that asks whether the writer lives holds a shared lock for a moment; that is no sign of life.
        let mut asks = 0;
        while rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive).is_err() {
            asks += 1;
            if asks > READER_ASKS_MAX || is_locked(path)? {
                return Ok(None);
            }
            std::thread::yield_now();
        }
        let contents = read_log(path)?;
        if contents.has_torn_tail() {
            file.set_len(contents.complete_bytes).map_err(Error::io("cut the torn line off", path))?;
        }
        file.seek(SeekFrom::End(0)).map_err(Error::io("open the event log", path))?;
        let next_n = contents.lines.last().map_or(0, |line| line.n + 1);
        let last_time = contents.lines.last().map_or(0, |line| line.time);
        Ok(Some((
            Self { file, path: path.to_owned(), next_n, last_time, unsynced: true, sync_failed: false },
            contents,
        )))
    }

    /// Appends one event with a single write.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::SyncFailed`].
    pub fn append(&mut self, event: Event, durability: Durability) -> Result<()> {
        let time = wall_nanos().max(self.last_time);
        let line = EventLine { n: self.next_n, time, event };
        let before = self.file.metadata().map_err(Error::io("append to the event log", &self.path))?.len();
        if let Err(source) = self.file.write_all(line.encode().as_bytes()) {
            // A disk that filled up in the middle of the line must not leave half of it in front of the next one.
            let _ = self.file.set_len(before);
            return Err(Error::io("append to the event log", &self.path)(source));
        }
        self.next_n += 1;
        self.last_time = time;
        self.unsynced = true;
        match durability {
            Durability::Process => Ok(()),
            Durability::Device => self.sync(),
        }
    }

    /// Syncs the log and its folder to the device, if anything was appended since the last time.
    ///
    /// # Errors
    /// [`Error::SyncFailed`].
    pub fn sync(&mut self) -> Result<()> {
        let failed = |source| Error::SyncFailed { path: self.path.clone(), source };
        if self.sync_failed {
            return Err(failed(std::io::Error::other("an earlier sync failed")));
        }
        if !self.unsynced {
            return Ok(());
        }
        if let Err(source) = self.file.sync_data() {
            self.sync_failed = true;
            return Err(failed(source));
        }
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))?;
        self.unsynced = false;
        Ok(())
    }
}

/// Whether the writer of the log at `path` still holds its lock.
///
/// # Errors
/// [`Error::Io`] when the log cannot be opened.
pub fn is_locked(path: &Path) -> Result<bool> {
    let file = LockFile::open(path, OpenOptions::new().read(true)).map_err(Error::io("open the event log", path))?;
    // A shared lock is enough to ask, and two readers that ask at once do not take each other for the writer.
    Ok(rustix::fs::flock(&*file, FlockOperation::NonBlockingLockShared).is_err())
}
