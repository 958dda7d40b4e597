//! The part of the kernel's FUSE protocol that a small file system needs (`include/uapi/linux/fuse.h`, version 7.31):
//! requests are read from a device, and answered on it. Written out here because it is little, and a crate for it would
//! change the features that the whole workspace builds `libc` with.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libc::{EAGAIN, EINTR, EIO, ENODEV, ENOENT, EPERM};

/// Bytes of one write that the kernel hands over at most.
const WRITE_BYTES_MAX: u32 = 128 << 10;
const REQUEST_BYTES_MAX: usize = WRITE_BYTES_MAX as usize + (64 << 10);
const IN_HEADER_BYTES: usize = 40;
const OUT_HEADER_BYTES: usize = 16;
const VERSION: (u32, u32) = (7, 31);
const BIG_WRITES: u32 = 1 << 5;
const FLOCK_LOCKS: u32 = 1 << 10;

/// What the kernel asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the names of the protocol")]
pub enum Operation {
    Lookup,
    Forget,
    GetAttr,
    SetAttr,
    MkDir,
    Unlink,
    RmDir,
    Rename,
    Open,
    Read,
    Write,
    StatFs,
    Release,
    FSync,
    Flush,
    Init,
    OpenDir,
    ReadDir,
    ReleaseDir,
    FSyncDir,
    SetLock,
    Access,
    Create,
    Interrupt,
    Link,
    Other(u32),
}

impl Operation {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Lookup,
            2 | 42 => Self::Forget,
            3 => Self::GetAttr,
            4 => Self::SetAttr,
            9 => Self::MkDir,
            10 => Self::Unlink,
            11 => Self::RmDir,
            12 => Self::Rename,
            13 => Self::Link,
            14 => Self::Open,
            15 => Self::Read,
            16 => Self::Write,
            17 => Self::StatFs,
            18 => Self::Release,
            20 => Self::FSync,
            25 => Self::Flush,
            26 => Self::Init,
            27 => Self::OpenDir,
            28 => Self::ReadDir,
            29 => Self::ReleaseDir,
            30 => Self::FSyncDir,
            32 | 33 => Self::SetLock,
            34 => Self::Access,
            35 => Self::Create,
            36 => Self::Interrupt,
            other => Self::Other(other),
        }
    }

    /// Whether the kernel waits for no answer.
    pub fn has_no_answer(self) -> bool {
        matches!(self, Self::Forget | Self::Interrupt)
    }
}

/// One request: its operation, the node it is about, and its fields in order.
pub struct Request<'a> {
    /// What is asked for.
    pub operation: Operation,
    /// Number that the answer repeats.
    pub unique: u64,
    /// Node that it is about.
    pub node: u64,
    fields: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads the header; the fields are read on demand.
    pub fn of(bytes: &'a [u8]) -> Self {
        let (header, fields) = bytes.split_at(IN_HEADER_BYTES);
        let mut header = Request { operation: Operation::Init, unique: 0, node: 0, fields: header };
        let _bytes = header.u32();
        let operation = Operation::of(header.u32());
        Self { operation, unique: header.u64(), node: header.u64(), fields }
    }

    /// The next bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.fields.split_at(count);
        self.fields = rest;
        bytes
    }

    /// The next field of four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes(4).try_into().expect("4 bytes"))
    }

    /// The next field of eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes(8).try_into().expect("8 bytes"))
    }

    /// The next name.
    pub fn name(&mut self) -> &'a str {
        let end = self.fields.iter().position(|byte| *byte == 0).expect("a name ends in a zero");
        let name = self.bytes(end + 1);
        std::str::from_utf8(&name[..end]).expect("the tests use names in UTF-8")
    }
}

/// Fields of an answer.
#[derive(Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    /// Adds fields of four bytes.
    #[must_use]
    pub fn u32s(mut self, fields: &[u32]) -> Self {
        fields.iter().for_each(|field| self.0.extend(field.to_ne_bytes()));
        self
    }

    /// Adds fields of eight bytes.
    #[must_use]
    pub fn u64s(mut self, fields: &[u64]) -> Self {
        fields.iter().for_each(|field| self.0.extend(field.to_ne_bytes()));
        self
    }

    /// Adds bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Adds the fields of another answer.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.bytes(&other.0)
    }

    /// What is known of a file, under the number of its node; the kernel keeps it for no time.
    #[must_use]
    pub fn attributes(self, node: u64, metadata: &std::fs::Metadata) -> Self {
        let seconds = |time: i64| time as u64;
        self.u64s(&[node, metadata.size(), metadata.blocks()])
            .u64s(&[metadata.atime(), metadata.mtime(), metadata.ctime()].map(seconds))
            .u32s(&[metadata.atime_nsec(), metadata.mtime_nsec(), metadata.ctime_nsec()].map(|nanos| nanos as u32))
            .u32s(&[metadata.mode(), metadata.nlink() as u32, metadata.uid(), metadata.gid(), 0, 4096, 0])
    }

    /// One name of a folder; `next` is where reading goes on behind it.
    #[must_use]
    pub fn name(self, next: u64, name: &str) -> Self {
        let padding = name.len().next_multiple_of(8) - name.len();
        let any_node = u64::MAX;
        self.u64s(&[any_node, next]).u32s(&[name.len() as u32, 0]).bytes(name.as_bytes()).bytes(&[0; 8][..padding])
    }

    /// Bytes in it so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to `Init`. With `asks_for_locks`, `flock` is asked of the file system too, instead of being the kernel's.
    pub fn to_init(asks_for_locks: bool) -> Self {
        let flags = BIG_WRITES | if asks_for_locks { FLOCK_LOCKS } else { 0 };
        let background = 16 | 12 << 16;
        let of_one_nanosecond = 1;
        Self::default()
            .u32s(&[VERSION.0, VERSION.1, 0, flags, background, WRITE_BYTES_MAX, of_one_nanosecond])
            .u32s(&[0; 9])
    }
}

/// A file system: answers requests.
pub trait FileSystem {
    /// Answers a request.
    ///
    /// # Errors
    /// What the caller of the system call gets; an error without a number of the system's becomes EIO.
    fn answer(&mut self, request: Request<'_>) -> io::Result<Answer>;
}

/// The kernel's end of a mount.
pub struct Device(File);

impl Device {
    /// Opens the device and has `mount` mount it; wait for the child once requests are served.
    ///
    /// # Errors
    /// Those of opening the device and of starting `mount`.
    pub fn mount(folder: &Path) -> io::Result<(Self, Child)> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        // The device is the child's standard input: a descriptor that need not be inherited otherwise.
        let child = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0", "stepwell-tests"])
            .arg(folder)
            .stdin(Stdio::from(device.try_clone()?))
            .spawn()?;
        Ok((Self(device), child))
    }

    /// Serves requests until the mount is gone.
    ///
    /// # Errors
    /// That of reading a request.
    pub fn serve(mut self, system: &mut dyn FileSystem) -> io::Result<()> {
        let mut buffer = vec![0; REQUEST_BYTES_MAX];
        loop {
            let bytes = match self.0.read(&mut buffer) {
                Ok(bytes) => &buffer[..bytes],
                Err(error) => match error.raw_os_error() {
                    // Not mounted yet; a request that was interrupted.
                    Some(EPERM) => {
                        std::thread::yield_now();
                        continue;
                    }
                    Some(ENOENT | EINTR | EAGAIN) => continue,
                    Some(ENODEV) => return Ok(()),
                    _ => return Err(error),
                },
            };
            let request = Request::of(bytes);
            let (unique, silent) = (request.unique, request.operation.has_no_answer());
            let answer = system.answer(request);
            if !silent {
                let (error, fields) = match answer {
                    Ok(Answer(fields)) => (0, fields),
                    Err(error) => (-error.raw_os_error().unwrap_or(EIO), Vec::new()),
                };
                let bytes = (OUT_HEADER_BYTES + fields.len()) as u32;
                let header = Answer::default().u32s(&[bytes, error as u32]).u64s(&[unique]);
                // Whoever asked may have been killed meanwhile.
                let _ = self.0.write(&header.bytes(&fields).0);
            }
        }
    }
}
