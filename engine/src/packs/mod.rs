//! Packs: the rows of many small segments of ended runs once more, in one file.
//!
//! A question over ten thousand short runs would open ten thousand files. A pack has the rows of their segments of one metrics name,
//! sorted by (metric, run, segment) and by step within, so that one metric of all runs is one range of one file.
//!
//! A pack is derived, as the catalog is: it repeats rows and replaces none. The segments stay where they are, so that the folder of a run
//! is whole by itself: it can be copied, pushed, verified and deleted without a look at any other, and no fault of a pack can cost a row. A
//! file of a few hundred rows is footer for the most part, so the pack of many takes a small share of their bytes.
//!
//! [`Store::compact`](crate::Store::compact) makes packs, and the end of a run does once 256 small segments are in none.
//!
//! A pack names the segments it has by the BLAKE3 of their files. A query takes rows from it only for segments that its snapshot has,
//! and reads the segments themselves where that is less work, or where the pack is gone or damaged. So nothing has to happen to a
//! pack when a run is resumed, compacted again or deleted.

mod at_finish;
mod build;
mod contents;

use std::path::{Path, PathBuf};

pub(crate) use at_finish::{looks_at, pack_at_finish};
pub(crate) use build::{Candidates, build};
pub use contents::PackContents;

use crate::compaction::{CompactOptions, CompactReport};
use crate::error::Result;
use crate::ids::ContentHash;
use crate::layout::{Layout, SEGMENT_SUFFIX};
use crate::snapshot::SegmentInfo;
use crate::storage::{Storage, list_if_there};

/// A pack, by its name: `<segments>-<rows>-<blake3>.parquet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackFile {
    /// The file.
    pub path: PathBuf,
    /// BLAKE3 of the file.
    pub blake3: ContentHash,
    /// Segments whose rows it has.
    pub segments: u64,
    /// Its rows.
    pub rows: u64,
}

impl PackFile {
    fn new(folder: &Path, blake3: ContentHash, segments: u64, rows: u64) -> Self {
        let path = folder.join(format!("{segments}-{rows}-{blake3}{SEGMENT_SUFFIX}"));
        Self { path, blake3, segments, rows }
    }

    /// Reads the name of a file in `folder`; `None` when it is not a pack's.
    fn parse(folder: &Path, name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(SEGMENT_SUFFIX)?.splitn(3, '-');
        let (segments, rows) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let pack = Self::new(folder, parts.next()?.parse().ok()?, segments, rows);
        (pack.path.file_name()?.to_str()? == name).then_some(pack)
    }
}

/// Packs those of `segments` that are small, in the store at `root`, as [`Store::compact`](crate::Store::compact) does with those of ended
/// runs.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::SyncFailed`], [`crate::Error::Parquet`]. Segments that are damaged are left out, and told in the
/// report.
pub fn pack(root: &Path, segments: &[SegmentInfo], options: &CompactOptions) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    build(&Layout::new(root), &Candidates::among(segments.to_vec(), options), options, &mut report)?;
    Ok(report)
}

/// The packs of the store at `root`, in the order of their names. None is opened.
///
/// # Errors
/// [`crate::Error::Io`] when the folder cannot be listed.
pub fn list(root: &Path) -> Result<Vec<PackFile>> {
    let layout = Layout::new(root);
    list_on(layout.storage(), &layout.packs())
}

pub(crate) fn list_on(storage: &dyn Storage, folder: &Path) -> Result<Vec<PackFile>> {
    let entries = list_if_there(storage, folder)?;
    let mut packs: Vec<PackFile> = entries.iter().filter_map(|entry| PackFile::parse(folder, &entry.name)).collect();
    packs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packs_round_trip() {
        let folder = Path::new("/store/packs");
        let pack = PackFile::new(folder, blake3::hash(b"x").into(), 64, 12_800);
        let name = pack.path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert_eq!(PackFile::parse(folder, name), Some(pack.clone()));
        assert_eq!(PackFile::parse(folder, &format!("0{name}")), None);
        assert_eq!(PackFile::parse(folder, "lock"), None);
    }
}
