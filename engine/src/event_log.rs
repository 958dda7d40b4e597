//! The event log of one writer: append-only checksummed lines, held under a lock for as long as the writer lives.

use std::path::{Path, PathBuf};

use crate::clock::wall_nanos;
use crate::error::{Error, Result};
use crate::events::{Event, EventLine};
use crate::fail_point;
use crate::fork::LockFile;
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, TEMP_PREFIX, parse_events_file};
use crate::scratch::Scratch;
use crate::storage::{LockKind, StorageFile, append_all, read_file, read_up_to, remove_file, sync_folder};

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
pub(crate) fn read_log(layout: &Layout, path: &Path) -> Result<LogContents> {
    let bytes = read_file(layout.storage(), path, LOG_BYTES_MAX).map_err(Error::io("read the event log", path))?;
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
    let entries = layout.storage().list(&folder).map_err(Error::io("list the run folder", &folder))?;
    let mut writers: Vec<_> = entries.iter().filter_map(|entry| parse_events_file(&entry.name)).collect();
    writers.sort_unstable();
    Ok(writers)
}

/// Writes what a file holds over itself. When a sync of the dead writer failed, its lines may be in the page cache alone: they
/// can be read, and no later sync writes them, because the kernel took them for written (Rebello et al., "Can Applications
/// Recover from fsync Failures?", USENIX ATC 2020). Written again, they are part of the next sync.
fn write_again(file: &dyn StorageFile, bytes: u64) -> std::io::Result<()> {
    let mut content = vec![0; bytes as usize];
    let read = read_up_to(file, &mut content, 0)?;
    file.write_at(&content[..read], 0)
}

/// Whether a line must be on the device before `append` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the page cache: survives the death of the process.
    Process,
    /// Synced: survives power loss.
    Device,
}

/// The writing end of an event log. The lock on the file says that the writer is alive; it goes with the process. Where the
/// journals are in scratch, the lock on their folder says it, and is held beside.
#[derive(Debug)]
pub struct EventLog {
    file: LockFile,
    scratch: Option<Scratch>,
    layout: Layout,
    path: PathBuf,
    next_n: u64,
    last_time: i64,
    /// Lines were appended since the last sync.
    unsynced: bool,
    /// A sync failed; the kernel may have dropped the error with the data, so no later one can be believed.
    sync_failed: bool,
    /// A line was written in part and could not be taken back: where it begins.
    torn_from: Option<u64>,
}

impl EventLog {
    /// Creates the log of a new writer: locked and with its first event in it before it gets its name, so that a log
    /// without a first event, or one whose living writer does not hold the lock, is never seen.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(layout: &Layout, path: &Path, first: Event, scratch: Option<Scratch>) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = path.with_file_name(format!("{TEMP_PREFIX}{name}"));
        let storage = layout.storage();
        fail_point::reach("log.create.begin");
        let file = LockFile::open(|| storage.create_new(&temp)).map_err(Error::io("create the event log", path))?;
        let create = || {
            if !lock(&*file, scratch.as_ref()).map_err(Error::io("lock the event log", path))? {
                let held = std::io::Error::other("another process holds the lock of a file that was just created");
                return Err(Error::io("lock the event log", path)(held));
            }
            let mut log = Self::of(layout, file, path, scratch);
            log.append(first, Durability::Process)?;
            fail_point::reach("log.create.written");
            storage.rename(&temp, path).map_err(Error::io("create the event log", path))?;
            fail_point::reach("log.create.end");
            Ok(log)
        };
        create().inspect_err(|_| drop(remove_file(storage, &temp)))
    }

    /// Takes over the log of a dead writer: `None` when its lock is held, so its writer lives. A line that was cut off
    /// in the middle of writing is removed; what it said had not been confirmed to anyone. The caller has claimed the folder
    /// of the journals when that is in scratch.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NewerFormat`].
    pub fn take_over(layout: &Layout, path: &Path, scratch: Option<Scratch>) -> Result<Option<(Self, LogContents)>> {
        let storage = layout.storage();
        let file = LockFile::open(|| storage.open_write(path)).map_err(Error::io("open the event log", path))?;
        let take = || lock(&*file, scratch.as_ref()).map_err(Error::io("lock the event log", path));
        if !take_from_readers(take, || is_locked(layout, path))? {
            return Ok(None);
        }
        let contents = read_log(layout, path)?;
        if contents.has_torn_tail() {
            file.set_len(contents.complete_bytes).map_err(Error::io("cut the torn line off", path))?;
        }
        write_again(&*file, contents.complete_bytes).map_err(Error::io("write the event log again", path))?;
        let mut log = Self::of(layout, file, path, scratch);
        log.next_n = contents.lines.last().map_or(0, |line| line.n + 1);
        log.last_time = contents.lines.last().map_or(0, |line| line.time);
        Ok(Some((log, contents)))
    }

    fn of(layout: &Layout, file: LockFile, path: &Path, scratch: Option<Scratch>) -> Self {
        Self {
            file,
            scratch,
            layout: layout.clone(),
            path: path.to_owned(),
            next_n: 0,
            last_time: 0,
            unsynced: true,
            sync_failed: false,
            torn_from: None,
        }
    }

    /// Appends one event with a single write.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::SyncFailed`].
    pub fn append(&mut self, event: Event, durability: Durability) -> Result<()> {
        let time = wall_nanos().max(self.last_time);
        let line = EventLine { n: self.next_n, time, event };
        self.write_line(line.encode().as_bytes()).map_err(Error::io("append to the event log", &self.path))?;
        self.next_n += 1;
        self.last_time = time;
        self.unsynced = true;
        match durability {
            Durability::Process => Ok(()),
            Durability::Device => self.sync(),
        }
    }

    /// Writes a line, or nothing: a disk that fills up in the middle must not leave half of it in front of the next one.
    fn write_line(&mut self, line: &[u8]) -> std::io::Result<()> {
        if let Some(torn_from) = self.torn_from {
            self.file.set_len(torn_from)?;
            self.torn_from = None;
        }
        let before = self.file.len()?;
        fail_point::reach("event.append.begin");
        // With fail points, a line is written in two parts, so that a kill can fall between them.
        let middle = if cfg!(feature = "fail-points") { line.len() / 2 } else { 0 };
        let written = append_all(&*self.file, &line[..middle]).and_then(|()| {
            fail_point::reach("event.append.middle");
            append_all(&*self.file, &line[middle..])
        });
        fail_point::reach("event.append.end");
        written.inspect_err(|_| {
            if self.file.set_len(before).is_err() {
                self.torn_from = Some(before);
            }
        })
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
        fail_point::reach("event.sync.begin");
        if let Err(source) = self.file.sync() {
            self.sync_failed = true;
            return Err(failed(source));
        }
        sync_folder(self.layout.storage(), self.path.parent().unwrap_or(Path::new(".")))?;
        self.unsynced = false;
        fail_point::reach("event.sync.end");
        Ok(())
    }

    /// The folder of the journals, when it is in scratch.
    pub(crate) fn scratch(&self) -> Option<&Scratch> {
        self.scratch.as_ref()
    }
}

/// Takes a lock over. A reader that asks whether the writer lives holds a shared one for a moment; that is no sign of life.
/// `false` when `is_held` says that somebody holds it for longer.
pub(crate) fn take_from_readers(take: impl Fn() -> Result<bool>, is_held: impl Fn() -> Result<bool>) -> Result<bool> {
    let mut asks = 0;
    while !take()? {
        asks += 1;
        if asks > READER_ASKS_MAX || is_held()? {
            return Ok(false);
        }
        std::thread::yield_now();
    }
    Ok(true)
}

/// Takes the lock of a log. Some file systems have none; the lock on the folder of the journals is enough then.
pub(crate) fn lock(file: &dyn StorageFile, scratch: Option<&Scratch>) -> std::io::Result<bool> {
    match file.try_lock(LockKind::Exclusive) {
        Err(error) if scratch.is_some() && has_no_locks(&error) => Ok(true),
        other => other,
    }
}

/// Whether the file system does not know locks, rather than refuse this one.
pub(crate) fn has_no_locks(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Whether the writer of the log at `path` still holds its lock.
///
/// # Errors
/// [`Error::Io`] when the log cannot be opened.
pub(crate) fn is_locked(layout: &Layout, path: &Path) -> Result<bool> {
    let storage = layout.storage();
    let file = LockFile::open(|| storage.open(path)).map_err(Error::io("open the event log", path))?;
    // A shared lock is enough to ask, and two readers that ask at once do not take each other for the writer.
    match file.try_lock(LockKind::Shared) {
        // Nobody can hold what does not exist.
        Err(error) if has_no_locks(&error) => Ok(false),
        free => Ok(!free.map_err(Error::io("ask for the lock of the event log", path))?),
    }
}
