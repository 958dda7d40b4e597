//! Whether something that is tracked differs from the commit that is checked out.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::attributes::may_convert;
use super::index::{Entry, Index, object_id};
use super::refs::head_of;
use super::repository::Repository;
use super::store::tree_of_commit;

/// Largest index that is read, in bytes for each file that is allowed.
const INDEX_BYTES_PER_FILE: usize = 512;
/// Files looked at between two looks at the clock.
const FILES_PER_LOOK: usize = 64;

const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const SUBMODULE: u32 = 0o160_000;
const FILE: u32 = 0o100_000;
const EXECUTABLE: u32 = 0o100;

/// How much may be spent on the answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time; looked at between files.
    pub time: Duration,
    /// Tracked files.
    pub files: usize,
    /// Bytes of files that have to be read, because `stat` does not tell whether they changed.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(2), files: 200_000, bytes: 256 << 20 }
    }
}

/// Whether a tracked file of the repository around `folder` differs from the commit that is checked out, in the folder or in
/// the index: what `git status --untracked-files=no` lists. Files that are not tracked do not count.
///
/// `None` when it is not known: no repository, no commit yet, a submodule or a file that is not checked out (where nothing
/// else is changed), an index or a store in a form that is not read (SHA-256, reftable, split or sparse), a file that
/// differs by what a filter or a conversion of line ends may have done, or a limit that was reached.
///
/// # Cost
/// One `stat` for each tracked file, as `git status`; files whose times changed are read. Call it on a thread that nobody
/// waits for. Nothing is written: the index keeps its times, unlike with `git status`.
pub fn is_changed(folder: &Path, limits: &Limits) -> Option<bool> {
    let deadline = Instant::now() + limits.time;
    let repository = Repository::around(folder)?;
    if !repository.is_understood() || repository.config.is_on("core", "bare", false) {
        return None;
    }
    // A folder of files elsewhere than around its `.git`.
    if repository.own == repository.common && repository.config.get("core", "worktree").is_some() {
        let named = repository.own.join(repository.config.get("core", "worktree")?);
        if named.canonicalize().ok()? != repository.worktree.canonicalize().ok()? {
            return None;
        }
    }
    let tree = tree_of_commit(&repository.common, &head_of(folder)?.commit)?;
    let path = repository.own.join("index");
    let (index, written) = match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > (limits.files as u64).saturating_mul(INDEX_BYTES_PER_FILE as u64) => {
            return None;
        }
        Ok(metadata) => {
            let written = (seconds(metadata.mtime()), seconds(metadata.mtime_nsec()));
            (Index::parse(&std::fs::read(&path).ok()?, limits.files)?, written)
        }
        Err(_) => (Index::default(), (0, 0)),
    };
    if index.entries.iter().any(|entry| entry.is_conflict || entry.intent_to_add) || index.tree() != tree {
        return Some(true);
    }
    let mut look = Look { repository: &repository, index: &index, written, bytes_left: limits.bytes, converts: None };
    let mut answer = Some(false);
    for (number, entry) in index.entries.iter().enumerate() {
        if number % FILES_PER_LOOK == 0 && Instant::now() >= deadline {
            return None;
        }
        match look.is_changed(entry) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    answer
}

/// Cut to 32 bits, as in the index.
fn seconds(value: i64) -> u32 {
    value as u32
}

struct Look<'a> {
    repository: &'a Repository,
    index: &'a Index,
    /// When the index was written: a file changed since, or in the same moment, may differ with the same times.
    written: (u32, u32),
    bytes_left: u64,
    converts: Option<bool>,
}

impl Look<'_> {
    fn is_changed(&mut self, entry: &Entry) -> Option<bool> {
        if entry.mode & KIND == SUBMODULE || entry.skip_worktree {
            return None;
        }
        if entry.assume_unchanged {
            return Some(false);
        }
        let path = self.repository.worktree.join(std::ffi::OsStr::from_bytes(&entry.path));
        let Ok(metadata) = std::fs::symlink_metadata(&path) else { return Some(true) };
        match entry.mode & KIND {
            LINK if metadata.is_symlink() => {
                let target = std::fs::read_link(&path).ok()?;
                Some(object_id("blob", target.as_os_str().as_bytes()) != entry.id)
            }
            // Where links are not supported, a file holds what they lead to.
            LINK if metadata.is_file() && !self.repository.config.is_on("core", "symlinks", true) => None,
            FILE if metadata.is_file() => self.is_file_changed(entry, &path, &metadata),
            _ => Some(true),
        }
    }

    fn is_file_changed(&mut self, entry: &Entry, path: &Path, metadata: &Metadata) -> Option<bool> {
        let is_executable = |mode: u32| mode & EXECUTABLE != 0;
        let counts_mode = self.repository.config.is_on("core", "filemode", true);
        if counts_mode && is_executable(metadata.mode()) != is_executable(entry.mode) {
            return Some(true);
        }
        // Git writes a size of 0 for what it could not tell by its times.
        if entry.bytes != metadata.len() as u32 && entry.bytes != 0 {
            return Some(true);
        }
        if entry.bytes == metadata.len() as u32 && self.is_as_seen(entry, metadata) {
            return Some(false);
        }
        self.bytes_left = self.bytes_left.checked_sub(metadata.len())?;
        if object_id("blob", &std::fs::read(path).ok()?) == entry.id {
            return Some(false);
        }
        let converts = *self.converts.get_or_insert_with(|| may_convert(self.repository, self.index));
        if converts { None } else { Some(true) }
    }

    fn is_as_seen(&self, entry: &Entry, metadata: &Metadata) -> bool {
        let modified = (seconds(metadata.mtime()), seconds(metadata.mtime_nsec()));
        let is_same_time = entry.modified.0 == modified.0 && (entry.modified.1 == 0 || entry.modified.1 == modified.1);
        is_same_time
            && entry.changed_secs == seconds(metadata.ctime())
            && (entry.inode == 0 || entry.inode == metadata.ino() as u32)
            && modified < self.written
    }
}
