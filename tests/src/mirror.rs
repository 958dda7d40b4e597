//! A file system that shows a folder as a network file system would: without mappings, without hard links, without a sync
//! of folders, and if asked to without locks.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use libc::{EBADF, EINVAL, ENOENT, ENOLCK, ENOSYS, EPERM};

use crate::fuse::{Answer, FileSystem, Operation, Request};

const ROOT: u64 = 1;
/// The kernel passes reads and writes on as they come, and refuses shared mappings with ENODEV.
const DIRECT_IO: u32 = 1;
/// Flags of `open` that say which of reading and writing is meant, and that a file is to be emptied.
const ACCESS_MODE: u32 = 3;
const TRUNCATE: u32 = 0o1000;
const SET_MODE: u32 = 1;
const SET_SIZE: u32 = 8;
const BY_HANDLE: u32 = 64;

/// The file system.
pub struct Mirror {
    has_locks: bool,
    nodes: HashMap<u64, PathBuf>,
    numbers: HashMap<PathBuf, u64>,
    files: HashMap<u64, File>,
    folders: HashMap<u64, Vec<String>>,
    next: u64,
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Mirror {
    /// Shows the folder at `root`.
    pub fn new(root: &Path, has_locks: bool) -> Self {
        Self {
            has_locks,
            nodes: HashMap::from([(ROOT, root.to_owned())]),
            numbers: HashMap::from([(root.to_owned(), ROOT)]),
            files: HashMap::new(),
            folders: HashMap::new(),
            next: ROOT + 1,
        }
    }

    fn path(&self, node: u64) -> io::Result<&Path> {
        self.nodes.get(&node).map(PathBuf::as_path).ok_or_else(|| errno(ENOENT))
    }

    fn child(&self, request: &mut Request<'_>) -> io::Result<PathBuf> {
        Ok(self.path(request.node)?.join(request.name()))
    }

    fn file(&self, handle: u64) -> io::Result<&File> {
        self.files.get(&handle).ok_or_else(|| errno(EBADF))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn entry(&mut self, path: PathBuf) -> io::Result<Answer> {
        let metadata = std::fs::symlink_metadata(&path)?;
        let node = match self.numbers.get(&path) {
            Some(node) => *node,
            None => {
                let node = self.number();
                self.numbers.insert(path.clone(), node);
                self.nodes.insert(node, path);
                node
            }
        };
        Ok(Answer::default().u64s(&[node, 0, 0, 0, 0]).attributes(node, &metadata))
    }

    fn attributes(node: u64, metadata: &Metadata) -> Answer {
        Answer::default().u64s(&[0, 0]).attributes(node, metadata)
    }

    fn get_attributes(&self, mut request: Request<'_>) -> io::Result<Answer> {
        let (flags, _, handle) = (request.u32(), request.u32(), request.u64());
        let metadata = match self.files.get(&handle) {
            Some(file) if flags & 1 != 0 => file.metadata()?,
            _ => std::fs::symlink_metadata(self.path(request.node)?)?,
        };
        Ok(Self::attributes(request.node, &metadata))
    }

    fn set_attributes(&self, mut request: Request<'_>) -> io::Result<Answer> {
        let (valid, _, handle, size) = (request.u32(), request.u32(), request.u64(), request.u64());
        let _lock_and_times = request.bytes(8 * 4 + 4 * 3);
        let mode = request.u32();
        let path = self.path(request.node)?;
        if valid & SET_SIZE != 0 {
            match self.files.get(&handle) {
                Some(file) if valid & BY_HANDLE != 0 => file.set_len(size)?,
                _ => OpenOptions::new().write(true).open(path)?.set_len(size)?,
            }
        }
        if valid & SET_MODE != 0 {
            std::fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))?;
        }
        let metadata = match self.files.get(&handle) {
            Some(file) if valid & BY_HANDLE != 0 => file.metadata()?,
            _ => std::fs::symlink_metadata(path)?,
        };
        Ok(Self::attributes(request.node, &metadata))
    }

    fn open(&mut self, path: &Path, flags: u32, create_mode: Option<u32>) -> io::Result<Answer> {
        let mut options = OpenOptions::new();
        options.read(flags & ACCESS_MODE != 1).write(flags & ACCESS_MODE != 0);
        options.truncate(flags & TRUNCATE != 0 && flags & ACCESS_MODE != 0);
        if let Some(mode) = create_mode {
            // The kernel looked the name up before: it was not there.
            options.write(true).create(true).mode(mode & 0o7777);
        }
        let file = options.open(path)?;
        let handle = self.number();
        self.files.insert(handle, file);
        Ok(Answer::default().u64s(&[handle]).u32s(&[DIRECT_IO, 0]))
    }

    fn create(&mut self, mut request: Request<'_>) -> io::Result<Answer> {
        let (flags, mode, _umask, _flags) = (request.u32(), request.u32(), request.u32(), request.u32());
        let path = self.child(&mut request)?;
        let opened = self.open(&path, flags, Some(mode))?;
        Ok(self.entry(path)?.join(opened))
    }

    fn make_folder(&mut self, mut request: Request<'_>) -> io::Result<Answer> {
        let (mode, _umask) = (request.u32(), request.u32());
        let path = self.child(&mut request)?;
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
        self.entry(path)
    }

    fn forget(&mut self, path: &Path) {
        self.numbers.remove(path);
    }

    fn rename(&mut self, mut request: Request<'_>) -> io::Result<Answer> {
        let folder = request.u64();
        let from = self.child(&mut request)?;
        let to = self.path(folder)?.join(request.name());
        std::fs::rename(&from, &to)?;
        self.forget(&to);
        for (node, path) in &mut self.nodes {
            if let Ok(rest) = path.strip_prefix(&from) {
                let moved = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                if self.numbers.get(path) == Some(node) {
                    self.numbers.remove(path);
                    self.numbers.insert(moved.clone(), *node);
                    *path = moved;
                }
            }
        }
        Ok(Answer::default())
    }

    fn read(&self, mut request: Request<'_>) -> io::Result<Answer> {
        let (handle, offset, size) = (request.u64(), request.u64(), request.u32());
        let mut bytes = vec![0; size as usize];
        let read = self.file(handle)?.read_at(&mut bytes, offset)?;
        Ok(Answer::default().bytes(&bytes[..read]))
    }

    fn write(&self, mut request: Request<'_>) -> io::Result<Answer> {
        let (handle, offset, size) = (request.u64(), request.u64(), request.u32());
        let _flags_and_lock = request.bytes(4 + 8 + 4 + 4);
        self.file(handle)?.write_all_at(request.bytes(size as usize), offset)?;
        Ok(Answer::default().u32s(&[size, 0]))
    }

    fn open_folder(&mut self, request: &Request<'_>) -> io::Result<Answer> {
        let entries = std::fs::read_dir(self.path(request.node)?)?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        let handle = self.number();
        self.folders.insert(handle, names);
        Ok(Answer::default().u64s(&[handle, 0]))
    }

    fn read_folder(&self, mut request: Request<'_>) -> io::Result<Answer> {
        let (handle, from, size) = (request.u64(), request.u64() as usize, request.u32() as usize);
        let names = self.folders.get(&handle).ok_or_else(|| errno(EBADF))?;
        let mut answer = Answer::default();
        for (position, name) in names.iter().enumerate().skip(from) {
            let longer = answer.len() + 24 + name.len().next_multiple_of(8);
            if longer > size {
                break;
            }
            answer = answer.name(position as u64 + 1, name);
        }
        Ok(answer)
    }
}

impl FileSystem for Mirror {
    fn answer(&mut self, mut request: Request<'_>) -> io::Result<Answer> {
        match request.operation {
            Operation::Init => Ok(Answer::to_init(!self.has_locks)),
            Operation::Lookup => {
                let path = self.child(&mut request)?;
                self.entry(path)
            }
            Operation::GetAttr => self.get_attributes(request),
            Operation::SetAttr => self.set_attributes(request),
            Operation::Open => {
                let flags = request.u32();
                let path = self.path(request.node)?.to_owned();
                self.open(&path, flags, None)
            }
            Operation::Create => self.create(request),
            Operation::MkDir => self.make_folder(request),
            Operation::Unlink | Operation::RmDir => {
                let path = self.child(&mut request)?;
                let is_file = request.operation == Operation::Unlink;
                if is_file {
                    std::fs::remove_file(&path)?
                } else {
                    std::fs::remove_dir(&path)?
                }
                self.forget(&path);
                Ok(Answer::default())
            }
            Operation::Rename => self.rename(request),
            Operation::Read => self.read(request),
            Operation::Write => self.write(request),
            Operation::OpenDir => self.open_folder(&request),
            Operation::ReadDir => self.read_folder(request),
            Operation::FSync => self.file(request.u64())?.sync_all().map(|()| Answer::default()),
            Operation::Release => {
                self.files.remove(&request.u64());
                Ok(Answer::default())
            }
            Operation::ReleaseDir => {
                self.folders.remove(&request.u64());
                Ok(Answer::default())
            }
            Operation::Flush | Operation::Access | Operation::Forget | Operation::Interrupt => Ok(Answer::default()),
            // Room enough, in blocks of 4 KiB.
            Operation::StatFs => Ok(Answer::default()
                .u64s(&[1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20])
                .u32s(&[4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0])),
            Operation::FSyncDir => Err(errno(EINVAL)),
            Operation::Link => Err(errno(EPERM)),
            Operation::SetLock => Err(errno(ENOLCK)),
            Operation::Other(_) => Err(errno(ENOSYS)),
        }
    }
}
