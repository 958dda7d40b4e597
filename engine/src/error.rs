//! Errors of the engine. Variants carry data; match on them or ask the predicates, never the text.

use std::io;
use std::path::PathBuf;

use crate::ids::RunId;
use crate::names::NameKind;

/// Result of an engine call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in the engine, with what to do about it in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name broke a rule of [`crate::names::check_name`].
    #[error("the {kind} {name:?} cannot be used: {fault}; use 1 to 200 bytes without control characters")]
    InvalidName {
        /// What the name was for.
        kind: NameKind,
        /// The name, shortened.
        name: String,
        /// The rule that was broken.
        fault: &'static str,
    },
    /// A text is not a run id.
    #[error("{text:?} is not a run id (a UUID such as 0190b2f4-6f1e-7c3a-9f6e-2d5a1c0b9e8f)")]
    InvalidRunId {
        /// The text.
        text: String,
    },
    /// A text is not a writer id.
    #[error("{text:?} is not a writer id (such as w-0-0-1a2b3c4d)")]
    InvalidWriterId {
        /// The text.
        text: String,
    },
    /// A text is not a BLAKE3 hash.
    #[error("{text:?} is not a BLAKE3 hash (64 lower-case hex digits)")]
    InvalidHash {
        /// The text.
        text: String,
    },
    /// A run, artifact or file the caller named does not exist.
    #[error("there is no {what} {name:?} in this store; {hint}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// A prefix of a run id fits several runs.
    #[error("{prefix:?} fits {count} runs; give more of the run id")]
    AmbiguousRun {
        /// The prefix.
        prefix: String,
        /// How many runs it fits.
        count: usize,
    },
    /// The store path exists and is not a folder.
    #[error("the store path {path:?} is a file; give a folder, or a path that does not exist yet")]
    StoreIsAFile {
        /// The path.
        path: PathBuf,
    },
    /// The store does not exist, and the caller did not ask to create it.
    #[error("there is no store at {path:?}; give the folder a run was logged to (--store, STEPWELL_STORE)")]
    NoStore {
        /// The path.
        path: PathBuf,
    },
    /// A write was asked of a store that was opened for reading, or that the user may not write to.
    #[error("the store {path:?} is read-only; open a store you can write to")]
    ReadOnlyStore {
        /// The path.
        path: PathBuf,
    },
    /// The store lies where a journal cannot be mapped without risk to the training process, and this machine has no
    /// folder of its own for journals.
    #[error(
        "the store {path:?} is on a network or FUSE file system, where a journal cannot be mapped safely, and neither /var/tmp nor the folder for temporary files nor /dev/shm is local and writable; set STEPWELL_JOURNAL_DIR to a folder on a disk of this machine"
    )]
    NetworkFileSystem {
        /// The path.
        path: PathBuf,
    },
    /// A file was made by a newer version of Stepwell.
    #[error("{path:?} has format version {found}, and this Stepwell reads up to {supported}; install a newer Stepwell")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this build reads.
        supported: u32,
    },
    /// A file's content does not have the form its format prescribes.
    #[error("{path:?} is damaged: {fault}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A file's content does not have the BLAKE3 it is named or registered by.
    #[error("{path:?} is damaged: its BLAKE3 is {actual}, and {expected} is registered")]
    HashMismatch {
        /// The file.
        path: PathBuf,
        /// Registered hash, hex.
        expected: String,
        /// Hash of the bytes found, hex.
        actual: String,
    },
    /// The run was finished; nothing can be added to it.
    #[error("run {run} is closed; start a new run, or resume this one")]
    RunClosed {
        /// The run.
        run: RunId,
    },
    /// The run has a writer that is still alive, in this process or another.
    #[error(
        "run {run} is still being written by process {pid} on {host}; its rows are in SQL already; commit from inside that process"
    )]
    RunStillWritten {
        /// The run.
        run: RunId,
        /// Process id of the writer.
        pid: u32,
        /// Host of the writer.
        host: String,
    },
    /// A run reached the number or size of metric definitions a journal holds.
    #[error(
        "run {run} has reached {metrics} metrics, the most one writer can define; put what varies into the step or into another run"
    )]
    TooManyMetrics {
        /// The run.
        run: RunId,
        /// Metrics defined so far.
        metrics: usize,
    },
    /// Segments of a run were committed faster than its journal could be read.
    #[error("run {run} commits segments faster than its journal can be read; ask again")]
    CommittedTooFast {
        /// The run.
        run: RunId,
    },
    /// The file of a segment was removed because compaction put others, with the same rows, in its place.
    #[error("the segment {path:?} was compacted into others of run {run} since it was asked for; ask again")]
    SegmentRetired {
        /// The file.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// Another process has the store open, and may be reading what would be removed.
    #[error(
        "process {pid} has the store {path:?} open and may be reading the files that compaction replaced; wait until it ends, or leave --remove-now out: they go by themselves after a while"
    )]
    StoreInUse {
        /// The store.
        path: PathBuf,
        /// The process.
        pid: u32,
    },
    /// A metric handle belongs to another run.
    #[error("this metric handle belongs to another run; make one with this run's metric()")]
    ForeignMetric,
    /// A value cannot be kept as it is.
    #[error("{what} cannot be logged as a metric: {fault}")]
    UnsupportedValue {
        /// Which value, as the user knows it.
        what: String,
        /// Why not, and what to use.
        fault: String,
    },
    /// The setting of a limit or path makes no sense.
    #[error("{setting} = {value} is not possible: {fault}")]
    InvalidSetting {
        /// Name of the option or environment variable.
        setting: &'static str,
        /// The value given.
        value: String,
        /// Why it is refused.
        fault: String,
    },
    /// A path cannot be taken into a store or written out of one.
    #[error("the path {path:?} cannot be used: {fault}")]
    InvalidPath {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        fault: String,
    },
    /// Something is there already where an artifact should be written.
    #[error("{path:?} is there already; give another target, or say that files may be overwritten")]
    TargetExists {
        /// What is there.
        path: PathBuf,
    },
    /// A file was changed each time that it was read, so that what was read is neither the old nor the new content.
    #[error("{path:?} changes while it is read; log it when nobody writes to it any more, or log a copy")]
    ArtifactChanged {
        /// The file.
        path: PathBuf,
    },
    /// An operation on a file failed.
    #[error("could not {action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A synchronisation to the device failed. The records are kept as long as the process and the machine live.
    #[error(
        "could not sync {path:?} to its device; records logged since the last good sync are safe from a crash of the process, not from power loss"
    )]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Writing or reading Parquet failed.
    #[error("could not {action} the segment {path:?}")]
    Parquet {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Building an Arrow batch failed.
    #[error("could not build a record batch")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The catalog refused an operation.
    #[error("could not {action} the catalog {path:?}; it is an index and can be rebuilt with `stepwell reindex`")]
    Catalog {
        /// What was being done.
        action: &'static str,
        /// The database file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// The handle was copied into a forked child, where it must not write.
    #[error(
        "this run was started by process {parent}; a forked child starts its own run or resumes this one as another rank"
    )]
    Forked {
        /// Process that owns the run.
        parent: u32,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change by the caller.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) || is_full(source)
            }
            Self::Catalog { source, .. } => {
                matches!(
                    source.sqlite_error_code(),
                    Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
                )
            }
            Self::CommittedTooFast { .. } | Self::SegmentRetired { .. } | Self::ArtifactChanged { .. } => true,
            _ => false,
        }
    }

    /// Whether there was no room left on the device or in the quota.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::SyncFailed { source, .. } => is_full(source),
            Self::Catalog { source, .. } => source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            _ => false,
        }
    }

    /// Whether data on disk is not what was written.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::HashMismatch { .. })
    }

    /// Whether the caller's input was at fault: a name, a value, a path, a closed run.
    pub fn is_invalid_input(&self) -> bool {
        matches!(
            self,
            Self::InvalidName { .. }
                | Self::InvalidRunId { .. }
                | Self::InvalidWriterId { .. }
                | Self::InvalidHash { .. }
                | Self::AmbiguousRun { .. }
                | Self::UnsupportedValue { .. }
                | Self::InvalidSetting { .. }
                | Self::InvalidPath { .. }
                | Self::TargetExists { .. }
                | Self::ForeignMetric
                | Self::TooManyMetrics { .. }
        )
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The message of an error with those of its causes: `could not open "x": permission denied`.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Why a record was not taken. Small and `Copy`: it is returned by the log call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The ring was full, and the policy was to fail or the wait timed out. The record is counted as dropped.
    #[error("the journal is full and the record was dropped; it is counted in the run's report")]
    Full,
    /// The run was finished.
    #[error("the run is closed; start a new run, or resume this one")]
    Closed,
    /// The handle was copied into a forked child.
    #[error(
        "the run belongs to the parent process; a forked child starts its own run or resumes this one as another rank"
    )]
    Forked,
    /// The metric handle belongs to another run.
    #[error("the metric handle belongs to another run; make one with this run's metric()")]
    ForeignMetric,
    /// A row was given another number of values than it has metrics.
    #[error("the row has another number of metrics than values were given")]
    WrongLength,
}
