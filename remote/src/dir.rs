//! A folder whose files are reached without following a symbolic link: step by step from its root, by open folders.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Prefix of files that have no name yet.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";

/// The root of a store or of a folder remote.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
}

/// A file being written: it gets its name by [`Temp::publish`], and is removed otherwise.
pub(crate) struct Temp {
    folder: OwnedFd,
    name: String,
    target: String,
    path: PathBuf,
    pub(crate) file: File,
    is_named: bool,
}

impl Root {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the folder of `segments` below the root. `None` when it is not there and not to be made.
    fn enter<'a>(&self, segments: impl Iterator<Item = &'a str>, create: bool) -> Result<Option<OwnedFd>> {
        if create {
            std::fs::create_dir_all(&self.path).map_err(Error::io("create", &self.path))?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = match rustix::fs::open(&self.path, flags, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::io("open", &self.path)(errno.into())),
        };
        let mut path = self.path.clone();
        for segment in segments {
            path.push(segment);
            if create {
                match rustix::fs::mkdirat(&at, segment, Mode::from_raw_mode(0o777)) {
                    // A name that does not reach the device would take its file with it.
                    Ok(()) => rustix::fs::fsync(&at).map_err(|errno| Error::io("sync", &path)(errno.into()))?,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Error::io("create", &path)(errno.into())),
                }
            }
            at = match rustix::fs::openat(&at, segment, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(failed("open", &path, errno)),
            };
        }
        Ok(Some(at))
    }

    fn place<'a>(&self, name: &'a str, create: bool) -> Result<Option<(OwnedFd, &'a str)>> {
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let segments = folders.split('/').filter(|segment| !segment.is_empty());
        Ok(self.enter(segments, create)?.map(|folder| (folder, file)))
    }

    /// Opens a file for reading; `None` when it is not there.
    pub(crate) fn open(&self, name: &str) -> Result<Option<File>> {
        let Some((folder, file)) = self.place(name, false)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match rustix::fs::openat(&folder, file, flags, Mode::empty()) {
            Ok(opened) => {
                let opened = File::from(opened);
                let metadata = opened.metadata().map_err(Error::io("read", self.path.join(name)))?;
                if !metadata.is_file() {
                    let fault = io::Error::other("it is no regular file");
                    return Err(Error::io("read", self.path.join(name))(fault));
                }
                Ok(Some(opened))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("open", &self.path.join(name), errno)),
        }
    }

    /// Size of a file; `None` when it is not there.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        Ok(Some(file.metadata().map_err(Error::io("read", self.path.join(name)))?.len()))
    }

    /// Begins a file that shall have this name.
    pub(crate) fn create(&self, name: &str) -> Result<Temp> {
        let path = self.path.join(name);
        let Some((folder, target)) = self.place(name, true)? else {
            return Err(Error::io("create", path)(io::ErrorKind::NotFound.into()));
        };
        let temp = format!("{TEMP_PREFIX}{}", uuid::Uuid::now_v7().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&folder, &temp, flags, Mode::from_raw_mode(0o666));
        let file = file.map_err(|errno| Error::io("create", &path)(errno.into()))?.into();
        Ok(Temp { folder, name: temp, target: target.to_owned(), path, file, is_named: false })
    }

    /// Writes a small file whole.
    pub(crate) fn write(&self, name: &str, content: &[u8], replace: bool) -> Result<bool> {
        let mut temp = self.create(name)?;
        temp.file.write_all(content).map_err(Error::io("write", self.path.join(name)))?;
        temp.publish(replace)
    }

    /// Removes a file, if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let Some((folder, file)) = self.place(name, false)? else { return Ok(()) };
        match rustix::fs::unlinkat(&folder, file, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::io("remove", self.path.join(name))(errno.into())),
        }
    }

    /// Names of all files below a folder, as paths from the root; temporary ones are left out.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if let Some(opened) = self.enter(folder.split('/'), false)? {
            self.collect(&opened, folder, &mut found)?;
        }
        Ok(found)
    }

    fn collect(&self, folder: &OwnedFd, path: &str, found: &mut Vec<String>) -> Result<()> {
        let failed = |errno: Errno| Error::io("list", self.path.join(path))(errno.into());
        for entry in rustix::fs::Dir::read_from(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." || name.starts_with(TEMP_PREFIX) {
                continue;
            }
            let inner = format!("{path}/{name}");
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat =
                        rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            match kind {
                FileType::Directory => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                    let next = rustix::fs::openat(folder, entry.file_name(), flags, Mode::empty()).map_err(failed)?;
                    self.collect(&next, &inner, found)?;
                }
                FileType::Symlink => return Err(Error::Symlink { path: self.path.join(inner) }),
                _ => found.push(inner),
            }
        }
        Ok(())
    }
}

fn failed(action: &'static str, path: &Path, errno: Errno) -> Error {
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if is_link && matches!(errno, Errno::LOOP | Errno::NOTDIR) {
        return Error::Symlink { path: path.to_owned() };
    }
    Error::io(action, path)(errno.into())
}

impl Temp {
    /// Syncs the file and gives it its name; `false` when something has the name already and is not to be replaced.
    pub(crate) fn publish(mut self, replace: bool) -> Result<bool> {
        self.file.sync_all().map_err(Error::io("sync", &self.path))?;
        let named = if replace {
            rustix::fs::renameat(&self.folder, &self.name, &self.folder, &self.target)
        } else {
            self.name_if_absent()
        };
        match named {
            Ok(()) => self.is_named = true,
            Err(Errno::EXIST) if !replace => return Ok(false),
            Err(errno) => return Err(Error::io("name", &self.path)(errno.into())),
        }
        rustix::fs::fsync(self.folder.as_fd())
            .map_err(|errno| Error::io("sync the folder of", &self.path)(errno.into()))?;
        Ok(true)
    }

    fn name_if_absent(&self) -> rustix::io::Result<()> {
        let Self { folder, name, target, .. } = self;
        match rustix::fs::renameat_with(folder, name, folder, target, RenameFlags::NOREPLACE) {
            // A file system without it, such as an older network mount.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                rustix::fs::linkat(folder, name, folder, target, AtFlags::empty())?;
                rustix::fs::unlinkat(folder, name, AtFlags::empty())
            }
            other => other,
        }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.is_named {
            // What cannot be removed carries a temporary name.
            let _ = rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_or_written_through_a_link() {
        let folder = tempfile::tempdir().expect("folder");
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        std::fs::create_dir_all(&inside).expect("create");
        std::fs::create_dir_all(&outside).expect("create");
        std::fs::write(outside.join("x"), "secret").expect("write");
        std::os::unix::fs::symlink(&outside, inside.join("link")).expect("link");
        std::os::unix::fs::symlink(outside.join("x"), inside.join("file")).expect("link");
        let root = Root::new(&inside);
        assert!(matches!(root.open("link/x"), Err(Error::Symlink { .. })));
        assert!(matches!(root.open("file"), Err(Error::Symlink { .. })));
        assert!(matches!(root.write("link/y", b"y", true), Err(Error::Symlink { .. })));
        assert!(matches!(root.write("link/deep/y", b"y", true), Err(Error::Symlink { .. })));
        std::fs::create_dir(inside.join("logs")).expect("create");
        std::os::unix::fs::symlink(&outside, inside.join("logs/l")).expect("link");
        assert!(matches!(root.list("logs"), Err(Error::Symlink { .. })));
        assert_eq!(std::fs::read_dir(&outside).expect("list").count(), 1);
    }

    #[test]
    fn a_name_is_given_once_and_an_abandoned_file_leaves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let root = Root::new(folder.path().join("new"));
        assert!(root.write("a/b", b"1", false).expect("write"));
        assert!(!root.write("a/b", b"2", false).expect("write"));
        assert_eq!(std::fs::read(root.path().join("a/b")).expect("read"), b"1");
        assert!(root.write("a/b", b"3", true).expect("write"));
        drop(root.create("a/c").expect("create"));
        assert_eq!(root.list("a").expect("list"), ["a/b"]);
        assert_eq!(std::fs::read_dir(root.path().join("a")).expect("list").count(), 1);
        assert_eq!(root.size("a/none").expect("size"), None);
    }
}
