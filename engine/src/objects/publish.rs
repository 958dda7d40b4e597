//! Objects on their way into the store: a temporary file, synced, then renamed to its hash, then its folder synced.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::hash::{Hashed, hash_reader};
use crate::error::{Error, Result};
use crate::ids::{ContentHash, random_u64};
use crate::layout::{Layout, TEMP_PREFIX};
use crate::storage::{Disk, create_folder, create_folder_unsynced, list, publish, remove_file};

/// Age at which a temporary file cannot belong to a copy that goes on.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Age from which an object that is used again is made young, so that no removal of garbage takes it for forgotten before the
/// event that names it is written.
const RENEWED_AFTER: Duration = Duration::from_secs(3600);
/// Files from which one sync of the whole file system is cheaper than one of each.
const SYNC_ALL_FROM: usize = 16;
/// First kernel whose sync of a file system tells that something could not be written.
const SYNC_ALL_TELLS_SINCE: (u32, u32) = (5, 8);

/// A file in `objects/` that has no name yet; removed unless published.
#[derive(Debug)]
pub(super) struct TempObject {
    path: PathBuf,
}

impl TempObject {
    /// Creates an empty one, for reading and writing.
    pub fn create(layout: &Layout) -> Result<(Self, File)> {
        let temp = Self::name(layout)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&temp.path);
        let file = file.map_err(Error::io("store the artifact as", &temp.path))?;
        Ok((temp, file))
    }

    /// Another name for the file `source`.
    pub fn link(layout: &Layout, source: &Path) -> Result<io::Result<Self>> {
        let temp = Self::name(layout)?;
        Ok(std::fs::hard_link(source, &temp.path).map(|()| temp))
    }

    fn name(layout: &Layout) -> Result<Self> {
        let folder = layout.objects();
        create_folder(&Disk, &folder)?;
        Ok(Self { path: folder.join(format!("{TEMP_PREFIX}{:016x}", random_u64())) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempObject {
    fn drop(&mut self) {
        let _ = remove_file(&Disk, &self.path);
    }
}

/// Content that was written and hashed, and has no name yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub temp: TempObject,
    pub hash: ContentHash,
    pub bytes: u64,
}

/// Where a group of objects is published together, so that it is synced together.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    layout: &'a Layout,
    /// Opened before the first of them was written: a sync reports what failed since then.
    folder: Option<File>,
}

impl<'a> Batch<'a> {
    pub fn begin(layout: &'a Layout) -> Self {
        let _ = create_folder(&Disk, &layout.objects());
        let folder = if syncs_all() { File::open(layout.objects()).ok() } else { None };
        Self { layout, folder }
    }

    /// Gives all of them their names; they are on the device when it returns.
    pub fn publish(&self, pending: Vec<Pending>) -> Result<()> {
        let mut new: Vec<Pending> = Vec::new();
        let mut seen = BTreeSet::new();
        for one in pending {
            // Content that is there already is the same, or the hash would differ.
            if seen.insert(one.hash) && !is_there(self.layout, one.hash, one.bytes) {
                new.push(one);
            }
        }
        if new.len() < SYNC_ALL_FROM || self.folder.is_none() {
            return new.into_iter().try_for_each(|one| publish_one(self.layout, &one));
        }
        self.sync_all()?;
        for one in &new {
            let target = self.layout.object(one.hash);
            create_folder_unsynced(&Disk, target.parent().unwrap_or(&target))?;
            std::fs::rename(one.temp.path(), &target).map_err(Error::io("publish", &target))?;
        }
        self.sync_all()
    }

    fn sync_all(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let failed = |source| Error::SyncFailed { path: self.layout.objects(), source };
        rustix::io::retry_on_intr(|| rustix::fs::syncfs(folder)).map_err(|errno| failed(errno.into()))
    }
}

#[cfg(target_os = "linux")]
fn syncs_all() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= SYNC_ALL_TELLS_SINCE)
}

#[cfg(not(target_os = "linux"))]
fn syncs_all() -> bool {
    false
}

fn publish_one(layout: &Layout, one: &Pending) -> Result<()> {
    let target = layout.object(one.hash);
    create_folder(&Disk, target.parent().unwrap_or(&target))?;
    let synced = File::open(one.temp.path()).and_then(|file| file.sync_all());
    synced.map_err(|source| Error::SyncFailed { path: one.temp.path().to_owned(), source })?;
    publish(&Disk, one.temp.path(), &target)
}

/// Stores `bytes` as an object.
pub(super) fn store_bytes(layout: &Layout, bytes: &[u8]) -> Result<()> {
    let hash: ContentHash = blake3::hash(bytes).into();
    if is_there(layout, hash, bytes.len() as u64) {
        return Ok(());
    }
    let (temp, mut file) = TempObject::create(layout)?;
    file.write_all(bytes).map_err(Error::io("store the artifact as", temp.path()))?;
    publish_one(layout, &Pending { temp, hash, bytes: bytes.len() as u64 })
}

/// Whether an object is there, in its full length, and will not be taken for garbage by a removal that begins now.
pub(super) fn is_there(layout: &Layout, hash: ContentHash, bytes: u64) -> bool {
    let path = layout.object(hash);
    let Ok(metadata) = std::fs::symlink_metadata(&path) else { return false };
    // One of another length was cut off by a power loss or a bad disk: it is stored again.
    metadata.is_file() && metadata.len() == bytes && (age(&metadata) < RENEWED_AFTER || renew(&path, &metadata))
}

/// Makes an object young. `false` when it cannot be: it belongs to somebody else, or is a file of the user's, whose time is not
/// ours to change. It is stored anew then.
fn renew(path: &Path, metadata: &Metadata) -> bool {
    if metadata.nlink() > 1 {
        return false;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// How long ago a file was written, linked or made young; zero when that lies ahead.
pub(super) fn age(metadata: &Metadata) -> Duration {
    let changed = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).max(changed(metadata));
    changed.elapsed().unwrap_or_default()
}

fn changed(metadata: &Metadata) -> SystemTime {
    let since = |seconds, nanos| Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?));
    since(metadata.ctime(), metadata.ctime_nsec())
        .map_or(SystemTime::UNIX_EPOCH, |since| SystemTime::UNIX_EPOCH + since)
}

/// Removes what processes that died while storing an artifact left: files without a name that are a day old.
pub(crate) fn remove_abandoned(layout: &Layout) {
    let folder = layout.objects();
    for entry in list(&folder).unwrap_or_default().iter().filter(|entry| entry.name.starts_with(TEMP_PREFIX)) {
        let path = folder.join(&entry.name);
        if std::fs::symlink_metadata(&path).is_ok_and(|metadata| age(&metadata) >= ABANDONED_AFTER) {
            let _ = remove_file(&Disk, &path);
        }
    }
}

/// The bytes of an object, compared with its hash.
pub(super) fn read_object(layout: &Layout, hash: ContentHash) -> Result<Vec<u8>> {
    let path = layout.object(hash);
    let bytes = std::fs::read(&path).map_err(Error::io("read the object", &path))?;
    check(&path, hash, hash_reader(&*bytes).map_err(Error::io("read the object", &path))?)?;
    Ok(bytes)
}

/// Compares what an object hashes to with its name.
pub(super) fn check(path: &Path, hash: ContentHash, hashed: Hashed) -> Result<()> {
    if hashed.blake3 == hash {
        return Ok(());
    }
    let (expected, actual) = (hash.to_string(), hashed.blake3.to_string());
    Err(Error::HashMismatch { path: path.to_owned(), expected, actual })
}
