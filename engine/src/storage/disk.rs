//! The real file system.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::ptr::NonNull;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{Dir, FileType, FlockOperation, Mode, OFlags};

use super::{Entry, LockKind, Region, Storage, StorageFile};
use crate::signals::Guard;

/// The file system of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Disk;

/// What matters of a kind of file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Its name, as far as it is known.
    pub name: &'static str,
    /// A mapping of a file is not coherent, or storing to it may fail: across a network, or in user space.
    pub is_remote: bool,
}

/// Magic numbers of statfs(2), with the names under which the file systems are known.
#[cfg(target_os = "linux")]
const REMOTE: [(u64, &str); 12] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xfe53_4d42, "smb2"),
    (0xff53_4d42, "cifs"),
    (0x6573_5546, "fuse"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x1983_0326, "beegfs"),
    (0x6b41_4653, "kafs"),
];

#[cfg(target_os = "linux")]
const LOCAL: [(u64, &str); 6] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
];

impl FileSystem {
    #[cfg(target_os = "linux")]
    fn of(path: &Path) -> Self {
        let unknown = Self { name: "unknown", is_remote: false };
        let Ok(info) = rustix::fs::statfs(path) else { return unknown };
        let magic = info.f_type as u64 & 0xffff_ffff;
        let named = |table: &[(u64, &'static str)], is_remote| {
            table.iter().find(|(known, _)| *known == magic).map(|(_, name)| Self { name, is_remote })
        };
        named(&REMOTE, true).or_else(|| named(&LOCAL, false)).unwrap_or(unknown)
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_path: &Path) -> Self {
        Self { name: "unknown", is_remote: false }
    }
}

impl Storage for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        // A journal is mapped, which needs a file that is open for writing and not for appending alone.
        boxed(OpenOptions::new().read(true).append(true).create_new(true).open(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        boxed(OpenOptions::new().write(true).create(true).truncate(true).open(path))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        file.seek(io::SeekFrom::End(0))?;
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StorageFile>> {
        boxed(File::open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        list(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some network file systems have no sync of folders: they keep names durable by themselves, or not at all.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => {
                Ok(())
            }
            other => other,
        }
    }

    fn file_system(&self, path: &Path) -> FileSystem {
        FileSystem::of(path)
    }
}

/// Calls `visit` with each name in a folder, its kind, and the open folder. Not by `std::fs::read_dir`, which panics when
/// the folder cannot be closed, after an error of its file system say: in a thread that serves all runs.
pub(crate) fn for_names(
    folder: &Path,
    mut visit: impl FnMut(&OsStr, FileType, BorrowedFd<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Dir::new(rustix::io::retry_on_intr(|| rustix::fs::open(folder, flags, Mode::empty()))?)?;
    while let Some(entry) = names.read() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            visit(name, entry.file_type(), names.fd()?)?;
        }
    }
    Ok(())
}

/// What a folder holds, see [`Storage::list`].
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for_names(folder, |name, kind, _| {
        let Some(name) = name.to_str() else { return Ok(()) };
        // The kind is in the entry already, mostly; only a link has to be followed.
        let is_folder = match kind {
            FileType::Symlink | FileType::Unknown => folder.join(name).is_dir(),
            kind => kind.is_dir(),
        };
        entries.push(Entry { name: name.to_owned(), is_folder });
        Ok(())
    })?;
    Ok(entries)
}

fn boxed(file: io::Result<File>) -> io::Result<Box<dyn StorageFile>> {
    file.map(|file| Box::new(file) as Box<dyn StorageFile>)
}

impl StorageFile for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)?;
        // A file that became shorter is appended to at its new end, and not behind a hole.
        let mut file = self;
        file.seek(io::SeekFrom::End(0)).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let operation = match kind {
            LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
            LockKind::Shared => FlockOperation::NonBlockingLockShared,
        };
        loop {
            return match rustix::fs::flock(self, operation) {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => Err(errno.into()),
            };
        }
    }

    fn links(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.nlink())
    }

    fn map(&self, bytes: u64) -> io::Result<Box<dyn Region>> {
        reserve(self, bytes)?;
        let map = MmapOptions::new().len(bytes as usize).map_raw(self)?;
        Ok(Box::new(MappedFile { guard: Guard::new(map.as_mut_ptr(), map.len()), map }))
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }
}

/// A mapped file. Its guard goes before the mapping does.
struct MappedFile {
    /// `None` when more files are mapped than can be guarded.
    guard: Option<Guard>,
    map: MmapRaw,
}

impl Region for MappedFile {
    fn base(&self) -> NonNull<u8> {
        NonNull::new(self.map.as_mut_ptr()).unwrap_or_else(|| unreachable!("a mapping does not start at address 0"))
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    fn sync(&self, offset: usize, bytes: usize) -> io::Result<()> {
        if bytes == 0 { Ok(()) } else { self.map.flush_range(offset, bytes) }
    }

    fn is_lost(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_lost)
    }

    fn populate(&self, offset: usize, bytes: usize) {
        crate::journal::populate(self.base(), offset, bytes);
    }
}

/// Reserves room so that later stores cannot meet a full disk; writes zeros where the file system cannot reserve.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    let zeros = vec![0_u8; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(zeros.len() as u64);
        super::append_all(file, &zeros[..chunk as usize])?;
        left -= chunk;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{append_all, read_file};

    // Recovery cut the torn last line of an event log off and appended its own behind a hole of zeros, where the old end had
    // been: the line was damaged, and the journal it stood for had been removed. The kill campaign found it.
    #[test]
    fn a_file_that_was_cut_is_appended_to_at_its_new_end() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "whole\ntorn").expect("written");
        let file = Disk.open_write(&path).expect("open");
        file.set_len(6).expect("cut");
        append_all(&*file, b"next\n").expect("appended");
        assert_eq!(read_file(&Disk, &path, 1 << 20).expect("read"), b"whole\nnext\n");
    }
}
