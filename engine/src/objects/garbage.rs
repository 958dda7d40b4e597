//! Objects that nobody needs: no event log names them, nor does a manifest that is needed.
//!
//! What is needed is found by text: every run of 64 hex digits in an event log counts as the name of an object, in events that
//! this version does not know as well. So it may keep too much, and never too little.
//!
//! No lock is taken. Whoever stores or finds an object makes it young first ([`super::publish::is_there`]) and names it in an
//! event afterwards; what is younger than the grace period is left alone. An object is renamed before it is removed, and gets
//! its name back when it was made young in between: whoever looks later does not find it, and stores it again.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::publish::{age, read_object};
use super::restore::begins_as_manifest;
use crate::error::{Error, Result};
use crate::event_log::LOG_BYTES_MAX;
use crate::events::EventLine;
use crate::ids::{ContentHash, random_u64};
use crate::layout::{EVENTS_SUFFIX, Layout, TEMP_PREFIX};
use crate::storage::{Disk, list_if_there, read_file};

/// Age from which an object that nobody names is garbage, unless told otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);
/// Digits of a hash as text.
const DIGITS: usize = 64;
/// Deepest folder of `quarantine/` that is looked into.
const DEPTH_MAX: usize = 16;

/// What counts as garbage, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// Objects stored, or found to be there already, within so long are left alone: the event that names them may be still to
    /// come. Below two hours it is safe only while nobody writes to the store.
    pub grace: Duration,
    /// Only say what would be removed.
    pub dry_run: bool,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { grace: DEFAULT_GRACE, dry_run: true }
    }
}

/// An object that nobody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreferencedObject {
    /// Its hash.
    pub hash: ContentHash,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long ago it was stored or last found to be there.
    pub age: Duration,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an object that nobody names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It would have been removed, had it not been a dry run.
    Removable,
    /// It was removed.
    Removed,
    /// It is kept: younger than the grace period, or used again meanwhile.
    Young,
    /// It could not be removed, because of this.
    Failed(String),
}

impl Fate {
    /// A word for it: `removable`, `removed`, `young`, `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Removable => "removable",
            Self::Removed => "removed",
            Self::Young => "young",
            Self::Failed(_) => "failed",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct GarbageReport {
    /// Objects that somebody names.
    pub referenced: u64,
    /// Their bytes.
    pub referenced_bytes: u64,
    /// Objects that nobody names, sorted by hash.
    pub unreferenced: Vec<UnreferencedObject>,
}

impl GarbageReport {
    /// How many objects that nobody names came to this end, and their bytes.
    pub fn count(&self, fate: &Fate) -> (u64, u64) {
        let those = self.unreferenced.iter().filter(|object| object.fate.as_str() == fate.as_str());
        those.fold((0, 0), |(count, bytes), object| (count + 1, bytes + object.bytes))
    }
}

/// Finds the objects of a store that nobody names, and removes them unless it is a dry run.
///
/// # Cost
/// Every event log and every manifest is read; one `stat` for each object.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::HashMismatch`] when an event log or a manifest is damaged: it may have named objects, so
/// nothing is removed before `stepwell doctor` was asked; [`Error::Io`].
pub fn collect_garbage(layout: &Layout, options: &GcOptions) -> Result<GarbageReport> {
    let needed = needed(layout)?;
    let mut report = GarbageReport::default();
    let objects = layout.objects();
    for folder in list_if_there(&Disk, &objects)?.iter().filter(|entry| entry.is_folder) {
        for entry in list_if_there(&Disk, &objects.join(&folder.name))? {
            let Ok(hash) = entry.name.parse::<ContentHash>() else { continue };
            let path = layout.object(hash);
            // Gone since, or in a folder where it does not belong: that is for the doctor.
            let Ok(metadata) = std::fs::symlink_metadata(&path) else { continue };
            if needed.contains(&hash) {
                report.referenced += 1;
                report.referenced_bytes += metadata.len();
                continue;
            }
            let age = age(&metadata);
            let fate = match (age >= options.grace, options.dry_run) {
                (false, _) => Fate::Young,
                (true, true) => Fate::Removable,
                (true, false) => remove(layout, &path, &metadata),
            };
            report.unreferenced.push(UnreferencedObject { hash, bytes: metadata.len(), age, fate });
        }
    }
    report.unreferenced.sort_unstable_by_key(|object| object.hash);
    Ok(report)
}

fn remove(layout: &Layout, path: &Path, before: &std::fs::Metadata) -> Fate {
    let temp = layout.objects().join(format!("{TEMP_PREFIX}{:016x}", random_u64()));
    let removed = || {
        std::fs::rename(path, &temp)?;
        let now = std::fs::symlink_metadata(&temp)?;
        let of = |metadata: &std::fs::Metadata| (metadata.mtime(), metadata.mtime_nsec(), metadata.nlink());
        let is_used = of(&now) != of(before);
        if is_used {
            // Somebody may have stored it again already; then that one has the name.
            let _ = std::fs::hard_link(&temp, path);
        }
        std::fs::remove_file(&temp)?;
        Ok::<_, std::io::Error>(is_used)
    };
    match removed() {
        Ok(false) => Fate::Removed,
        Ok(true) => Fate::Young,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fate::Removed,
        Err(error) => Fate::Failed(error.to_string()),
    }
}

/// Every object that an event log names, and what the manifests among them name.
fn needed(layout: &Layout) -> Result<BTreeSet<ContentHash>> {
    let mut named = BTreeSet::new();
    for run in list_if_there(layout.storage(), &layout.runs())?.iter().filter(|entry| entry.is_folder) {
        let folder = layout.runs().join(&run.name);
        for entry in list_if_there(layout.storage(), &folder)?.iter().filter(|entry| !entry.is_folder) {
            if entry.name.contains(EVENTS_SUFFIX) {
                read_log(layout, &folder.join(&entry.name), &mut named)?;
            }
        }
    }
    // A log that was set aside is damaged; what can be read of it still counts.
    for path in set_aside(layout)? {
        hashes_in(&std::fs::read(&path).map_err(Error::io("read the event log", &path))?, &mut named);
    }
    let mut below = BTreeSet::new();
    for hash in &named {
        // Most hashes in a log are those of segments, and not of objects.
        if layout.object(*hash).exists() && begins_as_manifest(layout, *hash)? {
            hashes_in(&read_object(layout, *hash)?, &mut below);
        }
    }
    named.append(&mut below);
    Ok(named)
}

fn read_log(layout: &Layout, path: &Path, named: &mut BTreeSet<ContentHash>) -> Result<()> {
    let bytes = match read_file(layout.storage(), path, LOG_BYTES_MAX) {
        // A temporary file that got its name meanwhile, under which its run is looked at the next time: its objects are young.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("read the event log", path))?,
    };
    hashes_in(&bytes, named);
    // A log beside which the doctor wrote a good one is damaged, as told by its name.
    if !path.to_string_lossy().ends_with(EVENTS_SUFFIX) {
        return Ok(());
    }
    // The last part is empty, or a line that is still being written.
    let mut lines = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    lines.pop();
    for (index, line) in lines.iter().enumerate() {
        let decoded = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned());
        decoded.and_then(|line| EventLine::decode(line).map_err(|error| error.fault)).map_err(|fault| {
            let fault = format!(
                "line {}: {fault}; it may have named objects, so none is removed before `stepwell doctor --repair`",
                index + 1
            );
            Error::Damaged { path: path.to_owned(), fault }
        })?;
    }
    Ok(())
}

/// The event logs in `quarantine/`.
fn set_aside(layout: &Layout) -> Result<Vec<PathBuf>> {
    let (mut logs, mut folders) = (Vec::new(), vec![(layout.quarantine(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        for entry in list_if_there(&Disk, &folder)? {
            let path = folder.join(&entry.name);
            if !entry.is_folder && entry.name.contains(EVENTS_SUFFIX) {
                logs.push(path);
            } else if entry.is_folder && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            }
        }
    }
    Ok(logs)
}

/// Adds every hash that `bytes` hold as text.
fn hashes_in(bytes: &[u8], named: &mut BTreeSet<ContentHash>) {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    for digits in bytes.split(|byte| !is_digit(byte)).filter(|digits| digits.len() >= DIGITS) {
        // Digits that stand in front of it or behind it do not hide it.
        let windows =
            digits.windows(DIGITS).filter_map(|window| std::str::from_utf8(window).ok()?.parse::<ContentHash>().ok());
        named.extend(windows);
    }
}
