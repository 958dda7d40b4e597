//! Removing the files of segments that others took the place of.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pins::is_pinned;
use super::{CompactFailure, CompactReport};
use crate::catalog::{CatalogSnapshot, ReplacedSegment};
use crate::clock::wall_nanos;
use crate::error::{Error, Result, with_causes};
use crate::event_log::{Durability, read_log};
use crate::events::Event;
use crate::fail_point;
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, SegmentFile, compaction_mark, parse_compaction_mark};
use crate::manifest::{Manifest, Replaced};
use crate::recovery::{Taken, take_over};
use crate::storage::{remove_file, sync_folder};
use crate::verify::check_on;

/// A file in the run folder that says that lines are about to be added to the log of a writer that has ended. The catalog
/// looks at the logs of a closed run only when its folder has changed, which an appended line does not do; while there is a mark,
/// it looks each time.
#[derive(Debug)]
pub(crate) struct Mark<'a> {
    layout: &'a Layout,
    path: PathBuf,
}

impl<'a> Mark<'a> {
    pub(crate) fn set(layout: &'a Layout, run: RunId, writer: WriterId) -> Result<Self> {
        let path = compaction_mark(layout, run, writer);
        layout.storage().create(&path).map(drop).map_err(Error::io("create", &path))?;
        let mark = Self { layout, path };
        // Before the lines: a power cut that kept them and not the mark would hide them from the catalog.
        match sync_folder(layout.storage(), &layout.run(run)) {
            Ok(()) => Ok(mark),
            Err(error) => {
                let _ = mark.remove();
                Err(error)
            }
        }
    }

    pub(crate) fn remove(self) -> Result<()> {
        remove_file(self.layout.storage(), &self.path)
    }

    /// Removes one that was left. The caller has the lock of the log.
    pub(crate) fn remove_left(layout: &Layout, run: RunId, writer: WriterId) -> Result<()> {
        let path = compaction_mark(layout, run, writer);
        if layout.storage().exists(&path) { remove_file(layout.storage(), &path) } else { Ok(()) }
    }
}

/// The writer that a mark belongs to; `None` when the file is none.
pub(crate) fn mark_owner(path: &Path) -> Option<WriterId> {
    parse_compaction_mark(path.file_name()?.to_str()?)
}

/// Which files are removed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Age {
    /// Those that others took the place of so long ago.
    Grace(Duration),
    /// All.
    Any,
}

impl Age {
    /// Whether a file goes that others took the place of at `time`, nanoseconds since the Unix epoch. A clock that was set back
    /// makes it wait.
    pub(crate) fn is_due(self, time: i64) -> bool {
        match self {
            Self::Grace(grace) => {
                let age = wall_nanos().saturating_sub(time);
                age >= 0 && i64::try_from(grace.as_nanos()).is_ok_and(|grace| age >= grace)
            }
            Self::Any => true,
        }
    }
}

/// What was removed of one writer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Removed {
    pub files: u64,
    pub bytes: u64,
}

/// Removes the files that are due, of the runs in `runs` or all; of as many writers as have `bytes_max` bytes of segments to be
/// compared with their hashes first.
///
/// # Errors
/// The catalog cannot be read. What cannot be removed is told in the report.
pub(crate) fn remove_due(
    layout: &Layout,
    catalog: &CatalogSnapshot,
    runs: &[RunId],
    age: Age,
    bytes_max: u64,
    report: &mut CompactReport,
) -> Result<()> {
    let mut replaced = catalog.replaced()?;
    replaced.retain(|segment| runs.is_empty() || runs.contains(&segment.run_id));
    let due = replaced.iter().filter(|segment| age.is_due(segment.time));
    let writers: BTreeSet<_> = due.map(|segment| (segment.run_id, segment.writer)).collect();
    let mut left = bytes_max;
    for (run_id, writer) in writers {
        // What took their place holds the same rows, in about as many bytes.
        let of_writer = |segment: &&ReplacedSegment| (segment.run_id, segment.writer) == (run_id, writer);
        let bytes = replaced.iter().filter(of_writer).map(|segment| segment.bytes).sum();
        let Some(rest) = left.checked_sub(bytes) else { break };
        left = rest;
        match remove_of_writer(layout, run_id, writer, age) {
            Ok(removed) => {
                report.removed.0 += removed.files;
                report.removed.1 += removed.bytes;
            }
            Err(error) => report.failures.push(CompactFailure {
                run_id,
                writer,
                why: with_causes(&error),
                is_corruption: error.is_corruption(),
            }),
        }
    }
    report.waiting.0 += (replaced.len() as u64).saturating_sub(report.removed.0);
    let bytes: u64 = replaced.iter().map(|segment| segment.bytes).sum();
    report.waiting.1 += bytes.saturating_sub(report.removed.1);
    Ok(())
}

/// Removes the files of a writer that are due and that no snapshot of this process names, once the segments that took their place
/// have been compared with their hashes. Nothing is removed while another process has the lock of the log, and nothing whose
/// successor was damaged and set aside.
///
/// # Errors
/// A segment that took the place of others is missing or damaged: then the old ones may be the last copy, and stay.
pub(crate) fn remove_of_writer(layout: &Layout, run: RunId, writer: WriterId, age: Age) -> Result<Removed> {
    let Some(Taken { mut log, manifest, .. }) = take_over(layout, run, writer)? else { return Ok(Removed::default()) };
    let is_due = |old: &&Replaced| {
        // One that was removed may be there again, out of a backup.
        let may_be_there = !old.is_removed || layout.storage().exists(&layout.run(run).join(&old.record.file));
        age.is_due(old.time) && !old.is_needed && may_be_there && !is_pinned(layout, run, writer, old.record.n)
    };
    let due: Vec<&Replaced> = manifest.replaced.iter().filter(is_due).collect();
    if due.is_empty() {
        return Ok(Removed::default());
    }
    fail_point::reach("compact.remove.begin");
    let names: BTreeSet<&str> = due.iter().map(|old| old.record.metrics_name.as_str()).collect();
    for segment in manifest.segments.iter().filter(|segment| names.contains(segment.metrics_name.as_str())) {
        check_on(layout.storage(), &layout.run(run).join(&segment.file), segment.blake3)?;
    }
    // A line that says that they were replaced, and that a power cut takes back, must not be why they are gone.
    log.sync()?;
    let mark = Mark::set(layout, run, writer)?;
    let mut removed = Removed::default();
    let mut folders = BTreeSet::new();
    for old in &due {
        let path = layout.run(run).join(&old.record.file);
        remove_file(layout.storage(), &path)?;
        fail_point::reach("compact.remove.file");
        removed.files += 1;
        removed.bytes += old.record.bytes;
        folders.extend(path.parent().map(Path::to_owned));
    }
    for folder in folders {
        sync_folder(layout.storage(), &folder)?;
    }
    fail_point::reach("compact.remove.synced");
    let segments = due.iter().map(|old| old.record.n).collect();
    log.append(Event::ReplacedRemoved { segments }, Durability::Process)?;
    fail_point::reach("compact.remove.event");
    mark.remove()?;
    Ok(removed)
}

/// Whether the segment at `path` is gone because others took its place: [`Error::SegmentRetired`] then. For whoever finds a file
/// missing that a snapshot named.
pub(crate) fn retired(layout: &Layout, path: &Path) -> Option<Error> {
    let file = SegmentFile::parse(path.file_name()?.to_str()?)?;
    let run: RunId = path.parent()?.parent()?.file_name()?.to_str()?.parse().ok()?;
    let log = layout.events(run, file.writer);
    let manifest = Manifest::of(&read_log(layout, &log).ok()?, &log).ok()?;
    let is_it = |old: &Replaced| old.record.n == file.n && old.record.blake3 == file.blake3;
    manifest.replaced.iter().any(is_it).then(|| Error::SegmentRetired { path: path.to_owned(), run })
}

/// Another process that has the catalog of the store open, as far as the kernel tells: each connection to an SQLite database with a
/// write-ahead log holds a lock. Asked of `/proc/locks` and not by a lock of our own: closing a file lets go of all POSIX locks that
/// this process has on it, those of its own catalog too.
pub(crate) fn open_elsewhere(layout: &Layout) -> Option<u32> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let catalog = layout.catalog();
    let files = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = catalog.clone().into_os_string();
        name.push(suffix);
        std::fs::metadata(PathBuf::from(name))
    });
    // On a tmpfs, inodes of different ones have the same numbers, and the device numbers tell them apart.
    let is_tmpfs = layout.file_system().name == "tmpfs";
    let held: Vec<(u64, u64)> =
        files.into_iter().filter_map(|file| file.ok().map(|file| (file.dev(), file.ino()))).collect();
    locks.lines().find_map(|line| {
        let (pid, device, inode) = lock_of(line)?;
        let is_ours = |(dev, ino): &(u64, u64)| {
            // Some file systems show another device number to `stat`, an anonymous one.
            let is_anonymous = rustix::fs::major(*dev) == 0 && !is_tmpfs;
            *ino == inode && (is_anonymous || (rustix::fs::major(*dev), rustix::fs::minor(*dev)) == device)
        };
        (pid != std::process::id() && held.iter().any(is_ours)).then_some(pid)
    })
}

/// Process, device and inode of a line such as `1: POSIX  ADVISORY  READ 1234 08:01:5678 128 128`.
fn lock_of(line: &str) -> Option<(u32, (u32, u32), u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, _, pid, place, ..] = words.as_slice() else { return None };
    let mut parts = place.split(':');
    let mut number = |radix| u64::from_str_radix(parts.next()?, radix).ok();
    let (major, minor, inode) = (number(16)?, number(16)?, number(10)?);
    Some((pid.parse().ok()?, (u32::try_from(major).ok()?, u32::try_from(minor).ok()?), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_locks_is_read() {
        let line = "12: POSIX  ADVISORY  READ 4242 fd:01:123456 128 128";
        assert_eq!(lock_of(line), Some((4242, (0xfd, 1), 123_456)));
        assert_eq!(lock_of("12: -> FLOCK  ADVISORY  WRITE 4242 fd:01:123456 0 EOF"), None);
        assert_eq!(lock_of("rubbish"), None);
    }

    #[test]
    fn a_file_goes_after_its_grace_period_and_waits_when_the_clock_was_set_back() {
        let now = wall_nanos();
        let grace = Age::Grace(Duration::from_secs(600));
        assert!(grace.is_due(now - 601_000_000_000));
        assert!(!grace.is_due(now - 500_000_000_000));
        assert!(!grace.is_due(now + 3_600_000_000_000));
        assert!(!Age::Grace(Duration::ZERO).is_due(now + 3_600_000_000_000));
        assert!(Age::Any.is_due(now + 3_600_000_000_000));
    }
}
