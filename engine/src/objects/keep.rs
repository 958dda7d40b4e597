//! How the bytes of a file come into the store: cloned, linked or copied. The hash is that of what was kept.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hash::{CopyError, Hashed, Hashes, hash_file};
use super::publish::{Pending, TempObject};
use super::stat_cache::FileStat;
use super::take::Keep;
use super::walk::check_regular;
use crate::error::{Error, Result};
use crate::layout::Layout;

/// How often a file that changes while it is read is read again.
const TRIES_MAX: u32 = 3;

/// What became of one file.
#[derive(Debug)]
pub(super) struct Read {
    pub hashed: Hashed,
    /// What `stat` said before and after, if it said the same.
    pub stat: Option<FileStat>,
    /// What is to be published, and how it came there; `None` when it was only hashed.
    pub pending: Option<(Pending, How)>,
}

/// How the bytes came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Cloned,
    Linked,
    Copied,
}

/// Reads files, and keeps them as told.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// Where they are kept.
    pub store: Option<&'a Layout>,
    pub keep: Keep,
    pub hashes: Hashes,
    /// The file system does not clone: it is not asked again.
    cannot_clone: AtomicBool,
}

impl<'a> Reader<'a> {
    pub fn new(store: Option<&'a Layout>, keep: Keep, hashes: Hashes) -> Self {
        Self { store, keep, hashes, cannot_clone: AtomicBool::new(false) }
    }

    /// Hashes the file at `path` on `threads` threads, and keeps it. A file that changes meanwhile is read again.
    pub fn read(&self, path: &Path, threads: usize) -> Result<Read> {
        for _ in 0..TRIES_MAX {
            let source = open(path)?;
            let read = match (self.keep, self.store) {
                (Keep::Reference, _) | (_, None) => self.only_hash(&source, path, threads)?,
                (Keep::Copy, Some(store)) => self.copy(store, &source, path, threads)?,
                (Keep::HardLink, Some(store)) => match self.link(store, &source, path, threads)? {
                    Linked::Done(read) => read,
                    Linked::Impossible => self.copy(store, &source, path, threads)?,
                },
            };
            if let Some(read) = read {
                return Ok(read);
            }
        }
        Err(Error::ArtifactChanged { path: path.to_owned() })
    }

    fn only_hash(&self, source: &File, path: &Path, threads: usize) -> Result<Option<Read>> {
        let before = stat(source, path)?;
        let Some(hashed) = self.hash(source, None, before.bytes, path, threads)? else { return Ok(None) };
        let unchanged = stat(source, path)? == before;
        Ok(unchanged.then_some(Read { hashed, stat: Some(before), pending: None }))
    }

    fn copy(&self, store: &Layout, source: &File, path: &Path, threads: usize) -> Result<Option<Read>> {
        let (temp, file) = TempObject::create(store)?;
        let before = stat(source, path)?;
        if self.clones(&file, source) {
            // Taken at one moment: whatever happens to the user's file from here on, what is hashed is what is kept.
            let unchanged = stat(source, path)? == before;
            let bytes = file.metadata().map_err(Error::io("read", temp.path()))?.len();
            let hashed = self.hash(&file, None, bytes, temp.path(), threads)?;
            let read = hashed.map(|hashed| {
                let pending = Pending { temp, hash: hashed.blake3, bytes: hashed.bytes };
                Read { hashed, stat: unchanged.then_some(before), pending: Some((pending, How::Cloned)) }
            });
            return Ok(read);
        }
        let Some(hashed) = self.hash(source, Some((&file, temp.path())), before.bytes, path, threads)? else {
            return Ok(None);
        };
        // What is kept is what was hashed in any case. But when the file was changed in between, it is partly the old one.
        if stat(source, path)? != before {
            return Ok(None);
        }
        let pending = Pending { temp, hash: hashed.blake3, bytes: hashed.bytes };
        Ok(Some(Read { hashed, stat: Some(before), pending: Some((pending, How::Copied)) }))
    }

    fn link(&self, store: &Layout, source: &File, path: &Path, threads: usize) -> Result<Linked> {
        let before = stat(source, path)?;
        let Some(hashed) = self.hash(source, None, before.bytes, path, threads)? else { return Ok(Linked::Done(None)) };
        if stat(source, path)? != before {
            return Ok(Linked::Done(None));
        }
        // Another file system, one without links, or a file of somebody else.
        let Ok(temp) = TempObject::link(store, path)? else { return Ok(Linked::Impossible) };
        let metadata = std::fs::symlink_metadata(temp.path()).map_err(Error::io("read", temp.path()))?;
        let is_same = source.metadata().is_ok_and(|source| {
            let of = |metadata: &std::fs::Metadata| {
                (metadata.ino(), metadata.dev(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
            };
            of(&source) == of(&metadata)
        });
        if !is_same {
            return Ok(Linked::Done(None));
        }
        let mut permissions = metadata.permissions();
        permissions.set_mode(permissions.mode() & !0o222);
        std::fs::set_permissions(temp.path(), permissions).map_err(Error::io("make read-only", temp.path()))?;
        let pending = Pending { temp, hash: hashed.blake3, bytes: hashed.bytes };
        // Linking and the change of its mode gave the inode another time: what it says now holds.
        let stat = Some(stat(source, path)?);
        Ok(Linked::Done(Some(Read { hashed, stat, pending: Some((pending, How::Linked)) })))
    }

    fn clones(&self, target: &File, source: &File) -> bool {
        if self.cannot_clone.load(Ordering::Relaxed) {
            return false;
        }
        let cloned = clone(target, source);
        if !cloned {
            self.cannot_clone.store(true, Ordering::Relaxed);
        }
        cloned
    }

    /// `None` when the file became shorter meanwhile.
    fn hash(
        &self,
        source: &File,
        copy: Option<(&File, &Path)>,
        bytes: u64,
        path: &Path,
        threads: usize,
    ) -> Result<Option<Hashed>> {
        match hash_file(source, copy.map(|(file, _)| file), bytes, self.hashes, threads) {
            Ok(hashed) => Ok(Some(hashed)),
            Err(CopyError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(CopyError::Read(error)) => Err(Error::io("read the artifact", path)(error)),
            Err(CopyError::Write(error)) => {
                Err(Error::io("store the artifact as", copy.map_or(path, |(_, path)| path))(error))
            }
        }
    }
}

enum Linked {
    Done(Option<Read>),
    Impossible,
}

/// Opens a file for reading; not one that was exchanged for a pipe since it was looked at.
pub(super) fn open(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(Error::io("read the artifact", path))?;
    let metadata = file.metadata().map_err(Error::io("read the artifact", path))?;
    check_regular(path, &metadata)?;
    Ok(file)
}

fn stat(file: &File, path: &Path) -> Result<FileStat> {
    file.metadata().map(|metadata| FileStat::of(&metadata)).map_err(Error::io("read the artifact", path))
}

/// Lets two files share their blocks until one of them is changed (xfs, btrfs, bcachefs).
#[cfg(all(target_os = "linux", not(any(target_arch = "sparc", target_arch = "sparc64"))))]
pub(super) fn clone(target: &File, source: &File) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

#[cfg(not(all(target_os = "linux", not(any(target_arch = "sparc", target_arch = "sparc64")))))]
pub(super) fn clone(_target: &File, _source: &File) -> bool {
    false
}
