//! Objects and folders written out again: verified while they are written, and never outside of where they were asked for.
//!
//! Every part of a path is opened below the folder before it, without following links, so that neither a manifest nor a link
//! in the target leads anywhere else. A file gets its name when its hash is known to be right.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::hash::{CopyError, Hashes, hash_file, threads};
use super::keep::clone;
use super::manifest::{LINE_BEGIN, Manifest};
use super::publish::check;
use crate::error::{Error, Result};
use crate::ids::{ContentHash, random_u64};
use crate::layout::{Layout, TEMP_PREFIX};

/// What an object is to be taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentKind {
    /// A folder if it reads as a manifest, else a file. An empty folder has the manifest without a line: it comes out as an
    /// empty file.
    #[default]
    Detect,
    /// A file, whatever it holds.
    File,
    /// A manifest: the folder that it stands for.
    Folder,
}

/// What becomes of files that are in the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overwrite {
    /// Nothing is written if one is.
    #[default]
    Never,
    /// They are replaced. Files that the artifact does not have stay.
    Files,
}

/// How something is written out.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckoutOptions {
    /// What the object is to be taken for.
    pub kind: ContentKind,
    /// What becomes of files that are in the way.
    pub overwrite: Overwrite,
}

/// What was written out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckedOut {
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes the object `hash`, or the folder whose manifest it is, to `target`.
///
/// # Durability
/// None: the files are the user's, and not synced.
///
/// # Cost
/// A file is cloned where the file system can, else copied; it is read once.
///
/// # Errors
/// [`Error::NotFound`] when the store does not have the content; [`Error::HashMismatch`] when it is damaged: the file it was
/// meant for is not there then; [`Error::TargetExists`]; [`Error::InvalidPath`] when a link in the target is in the way;
/// [`Error::Damaged`] when it is no manifest and was said to be; [`Error::Io`].
pub fn checkout(layout: &Layout, hash: ContentHash, target: &Path, options: &CheckoutOptions) -> Result<CheckedOut> {
    check_there(layout, hash, None)?;
    let as_folder = match options.kind {
        ContentKind::File => None,
        ContentKind::Folder => Some(Manifest::read(layout, hash)?),
        ContentKind::Detect => detect(layout, hash)?,
    };
    match as_folder {
        Some(manifest) => folder(layout, &manifest, target, options.overwrite),
        None => file(layout, hash, target, options.overwrite),
    }
}

fn detect(layout: &Layout, hash: ContentHash) -> Result<Option<Manifest>> {
    if !begins_as_manifest(layout, hash)? {
        return Ok(None);
    }
    match Manifest::read(layout, hash) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(Error::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an object may be a manifest, by its first bytes.
pub(super) fn begins_as_manifest(layout: &Layout, hash: ContentHash) -> Result<bool> {
    use std::os::unix::fs::FileExt;
    let path = layout.object(hash);
    let mut begin = [0; LINE_BEGIN.len()];
    let read = File::open(&path).and_then(|file| file.read_at(&mut begin, 0));
    Ok(read.map_err(Error::io("read the object", &path))? == begin.len() && begin == LINE_BEGIN)
}

fn check_there(layout: &Layout, hash: ContentHash, bytes: Option<u64>) -> Result<()> {
    let path = layout.object(hash);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if bytes.is_some_and(|bytes| bytes != metadata.len()) => Err(Error::Damaged {
            path,
            fault: format!("it has {} bytes, and {} are registered", metadata.len(), bytes.unwrap_or_default()),
        }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound {
            what: "content",
            name: hash.to_string(),
            hint: "it was logged by reference only, or in another store: pull it from there",
        }),
        Err(error) => Err(Error::io("read the object", path)(error)),
    }
}

fn file(layout: &Layout, hash: ContentHash, target: &Path, overwrite: Overwrite) -> Result<CheckedOut> {
    let Some(name) = target.file_name() else {
        let fault = "it does not end with the name of a file".to_owned();
        return Err(Error::InvalidPath { path: target.to_owned(), fault });
    };
    check_free(target, overwrite)?;
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = open_folder(parent)?;
    let bytes = write(layout, hash, &Place { folder: folder.as_fd(), name: Path::new(name), path: target }, overwrite)?;
    Ok(CheckedOut { files: 1, bytes })
}

fn folder(layout: &Layout, manifest: &Manifest, target: &Path, overwrite: Overwrite) -> Result<CheckedOut> {
    // All that can be known beforehand is, so that seldom a part of it is written.
    for file in manifest.files() {
        check_there(layout, file.blake3, Some(file.bytes))?;
        check_free(&target.join(&file.path), overwrite)?;
    }
    std::fs::create_dir_all(target).map_err(Error::io("create the folder", target))?;
    let mut tree = Tree { root: open_folder(target)?, path: target.to_owned(), open: Vec::new() };
    let mut done = CheckedOut::default();
    for file in manifest.files() {
        let path = target.join(&file.path);
        let (folders, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let folder = tree.enter(folders)?;
        done.bytes += write(layout, file.blake3, &Place { folder, name: Path::new(name), path: &path }, overwrite)?;
        done.files += 1;
    }
    Ok(done)
}

fn check_free(target: &Path, overwrite: Overwrite) -> Result<()> {
    match std::fs::symlink_metadata(target) {
        Ok(metadata) if overwrite == Overwrite::Never || metadata.is_dir() => {
            Err(Error::TargetExists { path: target.to_owned() })
        }
        _ => Ok(()),
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::io("open the folder", path)(errno.into()))
}

/// The folders below a target, the innermost ones open.
struct Tree {
    root: OwnedFd,
    path: PathBuf,
    open: Vec<(String, OwnedFd)>,
}

impl Tree {
    /// Opens the folder below the root, creating what is missing on the way.
    fn enter(&mut self, folders: &str) -> Result<BorrowedFd<'_>> {
        let parts: Vec<_> = folders.split('/').filter(|part| !part.is_empty()).collect();
        let shared = self.open.iter().zip(&parts).take_while(|((open, _), part)| open == *part).count();
        self.open.truncate(shared);
        for part in &parts[shared..] {
            let parent = self.open.last().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd());
            let next = enter_one(parent, part).map_err(|errno| self.in_the_way(part, errno))?;
            self.open.push(((*part).to_owned(), next));
        }
        Ok(self.open.last().map_or(self.root.as_fd(), |(_, folder)| folder.as_fd()))
    }

    fn in_the_way(&self, part: &str, errno: Errno) -> Error {
        let mut path = self.path.clone();
        path.extend(self.open.iter().map(|(name, _)| name));
        path.push(part);
        if matches!(errno, Errno::LOOP | Errno::NOTDIR) {
            let fault = "a link or a file is there where the artifact has a folder; remove it".to_owned();
            return Error::InvalidPath { path, fault };
        }
        Error::io("open the folder", path)(errno.into())
    }
}

fn enter_one(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Err(errno) if errno != Errno::EXIST => return Err(errno),
                _ => {}
            }
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        other => other,
    }
}

/// Where a file is to be.
struct Place<'a> {
    folder: BorrowedFd<'a>,
    name: &'a Path,
    /// For messages.
    path: &'a Path,
}

/// Writes an object to its place; its bytes.
fn write(layout: &Layout, hash: ContentHash, place: &Place<'_>, overwrite: Overwrite) -> Result<u64> {
    let object = layout.object(hash);
    let source = File::open(&object).map_err(Error::io("read the object", &object))?;
    let bytes = source.metadata().map_err(Error::io("read the object", &object))?.len();
    let name = format!("{TEMP_PREFIX}{:016x}", random_u64());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let created = rustix::fs::openat(place.folder, &name, flags, Mode::from_raw_mode(0o666));
    let failed = |errno: Errno| Error::io("write", place.path)(errno.into());
    let temp = File::from(created.map_err(failed)?);
    let written = fill(&temp, &source, bytes, place.path, &object, hash)
        .and_then(|bytes| give_name(place, Path::new(&name), overwrite).map(|()| bytes));
    written.inspect_err(|_| {
        let _ = rustix::fs::unlinkat(place.folder, &name, AtFlags::empty());
    })
}

fn fill(temp: &File, source: &File, bytes: u64, path: &Path, object: &Path, hash: ContentHash) -> Result<u64> {
    let hashed = if clone(temp, source) {
        hash_file(temp, None, bytes, Hashes::Blake3, threads())
    } else {
        hash_file(source, Some(temp), bytes, Hashes::Blake3, threads())
    };
    let hashed = hashed.map_err(|error| match error {
        CopyError::Read(error) => Error::io("read the object", object)(error),
        CopyError::Write(error) => Error::io("write", path)(error),
    })?;
    check(object, hash, hashed)?;
    Ok(hashed.bytes)
}

fn give_name(place: &Place<'_>, temp: &Path, overwrite: Overwrite) -> Result<()> {
    let named = match overwrite {
        Overwrite::Files => rustix::fs::renameat(place.folder, temp, place.folder, place.name),
        Overwrite::Never => rename_new(place, temp),
    };
    named.map_err(|errno| match errno {
        Errno::EXIST => Error::TargetExists { path: place.path.to_owned() },
        errno => Error::io("write", place.path)(errno.into()),
    })
}

/// Renames unless something has the name.
fn rename_new(place: &Place<'_>, temp: &Path) -> Result<(), Errno> {
    #[cfg(target_os = "linux")]
    {
        let only_new = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(place.folder, temp, place.folder, place.name, only_new) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            other => return other,
        }
    }
    rustix::fs::linkat(place.folder, temp, place.folder, place.name, AtFlags::empty())?;
    rustix::fs::unlinkat(place.folder, temp, AtFlags::empty())
}
