//! Compaction: many segments of an ended writer become few, of the same rows.
//!
//! # Which
//!
//! A metrics name of a writer is due when it has more than [`CompactOptions::segments_max`] small segments and its writer has
//! ended: it finished, or it died and was recovered. All segments of the name are merged then, into files of
//! [`CompactOptions::segment_rows_max`] rows that are sorted by (metric, step, sequence number) one after another.
//!
//! # Why a crash cannot lose a row or show one twice
//!
//! Under the lock on the writer's event log, as recovery holds it:
//!
//! 1. Each old segment is read whole and compared with its BLAKE3; the identity of the merged rows must be that of the last
//!    metrics artifact.
//! 2. The new segments are written, hashed and synced under temporary names, and read back: their identity must be the same.
//! 3. They are renamed to their names, and the folder is synced.
//! 4. One line of the event log names the new segments and the old ones, whose place they take. It is appended with one write and
//!    has a checksum, so it is there or not: before it the old segments count and the new ones are files that no event names, after
//!    it the new ones count and the old ones are files that may be removed. No state in between can be read.
//! 5. The log is synced. No old file is removed before that, so a power cut that takes the line back finds the old segments.
//! 6. The catalog is brought up to date.
//! 7. At the end of a run at once, otherwise after [`EngineConfig::replaced_grace`](crate::EngineConfig), counted from the time of the line, whoever opens the store for
//!    logging or compacts it compares the new segments with their hashes once more, and removes the old files.
//!
//! # When
//!
//! By [`Store::compact`](crate::Store::compact), and by itself at the end of a run ([`Run::finish`](crate::Run::finish)): once the
//! run is finished on the device and its event log was let go, what its own writer left is compacted by the same code under the same
//! locks, as far as [`EngineConfig::compact_at_finish_rows_max`](crate::EngineConfig) allows. Whatever happens to that, the run is
//! finished. It is left out on network and FUSE file systems, where nobody can say how long it would take, and where a file that
//! another machine reads from cannot be removed under its eyes.
//!
//! # Who may still need an old file
//!
//! A [`Snapshot`](crate::Snapshot) of this process keeps the files it names for as long as it lives: they are not removed. One of
//! another process has the grace period; locks could not tell, as some network file systems have none. After that, a file
//! that is gone is [`Error::SegmentRetired`](crate::Error::SegmentRetired): asked again, the store answers from the new segments.
//!
//! At the end of a run there is no grace period, so that whoever reads the Parquet files by a pattern does not find each row twice:
//! old files go at once, unless a snapshot of this process names them. A reader of another process that has one open reads on, as
//! the file systems of one machine keep what is open; one that comes too late is told `SegmentRetired`, and SQL asks again over a new
//! snapshot by itself.

mod at_finish;
mod merge;
mod pins;
mod plan;
mod removal;
mod writer;

pub(crate) use at_finish::{CompactedAtFinish, LeftName, compact_at_finish};
pub(crate) use pins::Pin;
pub(crate) use removal::{Age, Mark, mark_owner, open_elsewhere, remove_due, remove_of_writer, retired};
pub(crate) use writer::{compact_due, compact_writer};

use std::time::Instant;

use crate::ids::{RunId, WriterId};

/// What to compact.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactOptions {
    /// These runs; all when empty.
    pub runs: Vec<RunId>,
    /// Only say what is due; nothing is written.
    pub dry_run: bool,
    /// Remove replaced files at once, also those whose grace period has not passed. Refused while another process is known to
    /// have the store open.
    pub remove_now: bool,
    /// A metrics name of a writer with more small segments than this is due; default 8.
    pub segments_max: usize,
    /// A segment below this size is small, unless it holds half of `segment_rows_max` rows; default 1 MiB.
    pub small_bytes: u64,
    /// Most rows of a new segment, about; default 1,048,576. Bounds the memory: about 150 bytes a row.
    pub segment_rows_max: u64,
    /// So many small segments of ended runs that share a metrics name and are in no pack become one, see [`crate::packs`]; default 64.
    pub pack_segments_min: usize,
    /// Most rows of a pack; default 2,097,152. Bounds the memory: about 60 bytes a row.
    pub pack_rows_max: u64,
    /// Whether many small packs become one.
    pub(crate) merges_packs: bool,
    /// Names whose segments have not been read by then are left alone.
    pub(crate) until: Option<Instant>,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            dry_run: false,
            remove_now: false,
            segments_max: 8,
            small_bytes: 1 << 20,
            segment_rows_max: 1 << 20,
            pack_segments_min: 64,
            pack_rows_max: 1 << 21,
            merges_packs: true,
            until: None,
        }
    }
}

/// What a compaction did.
#[derive(Clone, Debug, Default)]
pub struct CompactReport {
    /// One entry per writer and metrics name that was compacted, or would be.
    pub compacted: Vec<CompactedName>,
    /// What was due and was left alone, with the reason.
    pub skipped: Vec<NotCompacted>,
    /// What was due and failed: nothing of it was changed.
    pub failures: Vec<CompactFailure>,
    /// Files of replaced segments that were removed, and their bytes.
    pub removed: (u64, u64),
    /// Files of replaced segments that wait for their grace period, or for a snapshot of this process, and their bytes.
    pub waiting: (u64, u64),
    /// Packs that were made, or would be.
    pub packed: Vec<Packed>,
    /// Packs that were removed, because others have their rows or nobody needs them any more.
    pub packs_removed: u64,
    /// Why packing ended before everything that was due was packed.
    pub not_packed: Option<String>,
}

/// A pack that was made, see [`crate::packs`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The metrics name of its rows.
    pub metrics_name: String,
    /// Segments whose rows it has.
    pub segments: u64,
    /// Its rows.
    pub rows: u64,
    /// Bytes of those segments.
    pub bytes_of_segments: u64,
    /// Its own bytes; `None` of one that would be made.
    pub bytes: Option<u64>,
}

/// A metrics name of one writer that was compacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactedName {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// The metrics name.
    pub metrics_name: String,
    /// Its rows.
    pub rows: u64,
    /// Segments before.
    pub segments_before: u64,
    /// Segments after; of what would be done, about.
    pub segments_after: u64,
    /// Bytes of the segments before.
    pub bytes_before: u64,
    /// Bytes of the segments after; `None` of what would be done.
    pub bytes_after: Option<u64>,
}

/// A writer that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCompacted {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Why.
    pub why: String,
}

/// A writer, or one metrics name of it, that could not be compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactFailure {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// What failed, with its causes.
    pub why: String,
    /// A segment is missing or damaged.
    pub is_corruption: bool,
}
