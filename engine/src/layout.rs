//! Where things lie in a store. Every path and file name is built and parsed here.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::ids::{ContentHash, RunId, WriterId};
use crate::names::MetricsName;
use crate::storage::{Disk, FileSystem, Storage};

/// Suffix of an event log.
pub const EVENTS_SUFFIX: &str = ".events.jsonl";
/// Suffix of a journal file.
pub const JOURNAL_SUFFIX: &str = ".journal";
/// Suffix of a segment.
pub const SEGMENT_SUFFIX: &str = ".parquet";
/// Suffix of the file that says that a log was pulled before its writer had ended.
pub const PULLED_SUFFIX: &str = ".pulled";
/// Prefix of files being written; whatever carries it after a crash is rubbish.
pub const TEMP_PREFIX: &str = ".tmp-";

/// The folders and files of one store.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
    storage: Arc<dyn Storage>,
}

impl Layout {
    /// Layout of the store at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), storage: Arc::new(Disk) }
    }

    /// Layout of a store that lies on another storage than the file system.
    #[cfg(test)]
    pub(crate) fn on(storage: Arc<dyn Storage>, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), storage }
    }

    /// Layout of another store on the same storage.
    pub(crate) fn elsewhere(&self, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), storage: Arc::clone(&self.storage) }
    }

    /// What the files of runs are read from and written to.
    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// The store folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The SQLite index. It may be deleted.
    pub fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// The small file that says which store format this folder has.
    pub fn marker(&self) -> PathBuf {
        self.root.join("stepwell.json")
    }

    /// Folder of damaged files that `doctor` set aside, each below the path that it had in the store.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// Folder of the content of artifacts.
    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// What files were found to hash to, see `docs/ARTIFACTS.md`. It may be deleted.
    pub fn stat_cache(&self) -> PathBuf {
        self.root.join("stat-cache")
    }

    /// Folder of packs, see [`crate::packs`]. It may be deleted.
    pub fn packs(&self) -> PathBuf {
        self.root.join("packs")
    }

    /// Folder of all runs.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Folder of one run.
    pub fn run(&self, run: RunId) -> PathBuf {
        self.runs().join(run.to_string())
    }

    /// Event log of a writer.
    pub fn events(&self, run: RunId, writer: WriterId) -> PathBuf {
        self.run(run).join(format!("{writer}{EVENTS_SUFFIX}"))
    }

    /// The file that says that the log of a writer was pulled from a remote before the writer had ended: it lives elsewhere, or
    /// died there, and is not recovered here.
    pub fn pulled(&self, run: RunId, writer: WriterId) -> PathBuf {
        self.run(run).join(format!("{writer}{PULLED_SUFFIX}"))
    }

    /// Folder of a writer's journals, when they lie in the store.
    pub fn journals(&self, run: RunId, writer: WriterId) -> PathBuf {
        self.run(run).join(writer.to_string())
    }

    /// Journal of one ring, when it lies in the store.
    pub fn journal(&self, run: RunId, writer: WriterId, ring: u32) -> PathBuf {
        journal_in(&self.journals(run, writer), ring)
    }

    /// Folder of a writer's journals, wherever they lie: `named` is what the writer's first event says.
    pub fn journal_folder(&self, run: RunId, writer: WriterId, named: Option<&Path>) -> PathBuf {
        named.map_or_else(|| self.journals(run, writer), Path::to_owned)
    }

    /// The kind of file system the store lies on.
    pub(crate) fn file_system(&self) -> FileSystem {
        self.storage.file_system(&self.root)
    }

    /// Folder of the segments of a metrics name.
    pub fn segments(&self, run: RunId, name: &MetricsName) -> PathBuf {
        self.run(run).join(name.folder())
    }

    /// Path of an artifact's content.
    pub fn object(&self, hash: ContentHash) -> PathBuf {
        let hex = hash.to_string();
        self.root.join("objects").join(&hex[..2]).join(hex)
    }
}

/// Prefix of the files that say that a compaction is about to add lines to the log of a writer.
const COMPACTION_MARK: &str = ".tmp-compact-";

/// The file in the run folder that says that a compaction is about to add lines to the log of `writer`.
pub(crate) fn compaction_mark(layout: &Layout, run: RunId, writer: WriterId) -> PathBuf {
    layout.run(run).join(format!("{COMPACTION_MARK}{writer}"))
}

/// Whether a file in a run folder has the name of a compaction's mark.
pub(crate) fn is_compaction_mark(file_name: &str) -> bool {
    parse_compaction_mark(file_name).is_some()
}

/// The writer whose log a compaction is about to add lines to; `None` when the file is no mark.
pub(crate) fn parse_compaction_mark(file_name: &str) -> Option<WriterId> {
    file_name.strip_prefix(COMPACTION_MARK)?.parse().ok()
}

/// Journal of one ring in the folder of its writer.
pub(crate) fn journal_in(folder: &Path, ring: u32) -> PathBuf {
    folder.join(format!("{ring}{JOURNAL_SUFFIX}"))
}

/// Parts of a segment's file name: `<writer>-<n>-<blake3>.parquet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The writer.
    pub writer: WriterId,
    /// Number of the segment, counted by its writer from 0.
    pub n: u64,
    /// BLAKE3 of the file.
    pub blake3: ContentHash,
}

impl SegmentFile {
    /// The file name.
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}{SEGMENT_SUFFIX}", self.writer, self.n, self.blake3)
    }

    /// Reads a file name; `None` when it is not a segment's.
    pub fn parse(file_name: &str) -> Option<Self> {
        let mut parts = file_name.strip_suffix(SEGMENT_SUFFIX)?.rsplitn(3, '-');
        let blake3 = parts.next()?.parse().ok()?;
        let n = parts.next()?.parse().ok()?;
        let writer = parts.next()?.parse().ok()?;
        let parsed = Self { writer, n, blake3 };
        (parsed.file_name() == file_name).then_some(parsed)
    }
}

/// Reads the name of an event log; `None` when it is not one.
pub fn parse_events_file(file_name: &str) -> Option<WriterId> {
    file_name.strip_suffix(EVENTS_SUFFIX)?.parse().ok()
}

/// Reads the name of a journal; `None` when it is not one.
pub fn parse_journal_file(file_name: &str) -> Option<u32> {
    let ring: u32 = file_name.strip_suffix(JOURNAL_SUFFIX)?.parse().ok()?;
    (format!("{ring}{JOURNAL_SUFFIX}") == file_name).then_some(ring)
}

/// Whether a path from a log can be joined to the run folder without leaving it.
pub(crate) fn stays_inside(file: &str) -> bool {
    let mut components = Path::new(file).components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip() {
        let writer = WriterId { rank: 3, attempt: 1, nonce: 7 };
        let file = SegmentFile { writer, n: 42, blake3: blake3::hash(b"x").into() };
        assert_eq!(SegmentFile::parse(&file.file_name()), Some(file));
        assert_eq!(SegmentFile::parse("x.parquet"), None);
        assert_eq!(SegmentFile::parse(&file.file_name().replace("-42-", "-042-")), None);
        assert_eq!(parse_events_file("w-3-1-00000007.events.jsonl"), Some(writer));
        assert_eq!(parse_journal_file("12.journal"), Some(12));
        assert_eq!(parse_journal_file("012.journal"), None);
    }
}
