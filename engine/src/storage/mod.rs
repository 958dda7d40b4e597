//! What the engine asks of a file system: the operations whose order decides what a crash leaves.
//!
//! Everything that belongs to a run goes through [`Storage`]: event logs, journals, segments. In use it is [`Disk`]; the
//! simulation (`simulation/`) puts a disk in its place that counts operations, stops after any of them, and loses,
//! keeps or reorders what was not synced. The catalog is not part of it: it is an index that SQLite keeps, and can be
//! rebuilt. Neither is the content of artifacts, which is copied from files of the user.

mod disk;

pub(crate) use disk::{Disk, FileSystem, for_names, list};

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::path::Path;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::fail_point;

/// A file system, as far as the engine uses one. All paths are absolute.
pub(crate) trait Storage: Debug + Send + Sync {
    /// Creates a file that must not exist, for reading and appending.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Creates a file for appending; one that exists is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Opens a file for reading, writing and appending.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>>;
    /// Gives a file another name in the same folder; a file that has it is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name; fails when a file has it.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Creates a folder below an existing one.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// What a folder holds, in no particular order. Names that are not UTF-8 are none of ours and left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    fn exists(&self, path: &Path) -> bool;
    /// Makes the names created, changed and removed in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
    /// The kind of file system that `path` lies on.
    fn file_system(&self, path: &Path) -> FileSystem;
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub is_folder: bool,
}

/// An open file.
pub(crate) trait StorageFile: Debug + Send + Sync {
    /// Writes at the end; how many bytes were taken.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Reads from `offset` on; how many bytes were read, 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    fn len(&self) -> io::Result<u64>;
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes the content durable; a failure is final for what was written before it.
    fn sync(&self) -> io::Result<()>;
    /// Takes the lock on the file without waiting; `false` when somebody else holds one that excludes it. It is let go
    /// when the file is closed.
    fn try_lock(&self, kind: LockKind) -> io::Result<bool>;
    /// How many names the file has; 0 once it was deleted.
    fn links(&self) -> io::Result<u64>;
    /// Reserves room for `bytes` in an empty file and maps them, so that storing to them cannot meet a full disk.
    fn map(&self, bytes: u64) -> io::Result<Box<dyn Region>>;
    /// The descriptor, where there is one: a forked child has to let it go.
    fn descriptor(&self) -> Option<RawFd>;
}

/// Who else may hold a lock on the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// Nobody.
    Exclusive,
    /// Others that ask for a shared one.
    Shared,
}

/// Memory that is a file's content; see `journal/mapping.rs` for who may touch which part of it.
pub(crate) trait Region: Send + Sync {
    /// Start of the memory, aligned to a page; it stays where it is for as long as the region lives.
    fn base(&self) -> NonNull<u8>;
    fn len(&self) -> usize;
    /// Makes a range durable, rounded out to whole pages.
    fn sync(&self, offset: usize, bytes: usize) -> io::Result<()>;
    /// Makes the pages of a range present and writable, so that storing to them takes no page fault. Best effort.
    fn populate(&self, offset: usize, bytes: usize);
    /// Whether a page was lost: what is stored to it stays in the memory of this process.
    fn is_lost(&self) -> bool {
        false
    }
}

/// Appends all of `bytes`.
pub(crate) fn append_all(file: &dyn StorageFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.append(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads from `offset` on until `bytes` are full or the file ends; how many were read.
pub(crate) fn read_up_to(file: &dyn StorageFile, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Fills `bytes` from `offset` on.
pub(crate) fn read_exact_at(file: &dyn StorageFile, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let whole = read_up_to(file, bytes, offset)? == bytes.len();
    if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads a file up to `most` bytes.
pub(crate) fn read_file(storage: &dyn Storage, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(most)).unwrap_or(usize::MAX)];
    // It may have been cut meanwhile: an event that could not be written in full is taken back.
    let read = read_up_to(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Syncs a folder, so that names created, renamed or removed in it are on the device.
pub(crate) fn sync_folder(storage: &dyn Storage, path: &Path) -> Result<()> {
    storage.sync_folder(path).map_err(|source| match source.kind() {
        // It is not the sync that failed.
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Error::io("open", path)(source),
        _ => Error::SyncFailed { path: path.to_owned(), source },
    })
}

/// Creates a folder below an existing one; the parent is synced when it did not exist before.
pub(crate) fn create_folder(storage: &dyn Storage, path: &Path) -> Result<()> {
    let created = create_folder_unsynced(storage, path)?;
    if created { sync_folder(storage, path.parent().unwrap_or(Path::new("."))) } else { Ok(()) }
}

/// Creates a folder below an existing one; whether it did not exist before.
pub(crate) fn create_folder_unsynced(storage: &dyn Storage, path: &Path) -> Result<bool> {
    match storage.create_folder(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("create the folder", path)(error)),
    }
}

/// Gives a finished, synced temporary file its final name in the same folder, and syncs the folder.
pub(crate) fn publish(storage: &dyn Storage, temp: &Path, target: &Path) -> Result<()> {
    fail_point::reach("segment.rename.begin");
    storage.rename(temp, target).map_err(Error::io("publish", target))?;
    fail_point::reach("segment.rename.end");
    sync_folder(storage, target.parent().unwrap_or(Path::new(".")))
}

/// Removes a file; one that is gone already is no error.
pub(crate) fn remove_file(storage: &dyn Storage, path: &Path) -> Result<()> {
    match storage.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// What a folder holds; nothing when there is no such folder.
pub(crate) fn list_if_there(storage: &dyn Storage, folder: &Path) -> Result<Vec<Entry>> {
    match storage.list(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        other => other.map_err(Error::io("list the folder", folder)),
    }
}
