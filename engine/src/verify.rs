//! Verification: every file is what it was registered as. A part of what [`crate::doctor`] does.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::ids::ContentHash;
use crate::storage::{Disk, Storage, read_up_to};

/// Bytes hashed at a time.
const HASH_BYTES: usize = 1 << 18;

/// What [`crate::Store::verify`] found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Segments and objects that were read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Metrics artifacts whose identity was computed anew from the rows.
    pub artifacts: u64,
    /// What is not as registered.
    pub damaged: Vec<DamagedFile>,
}

/// A file that is not what it was registered as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedFile {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, in words.
    pub fault: String,
}

/// BLAKE3 and size of a file.
///
/// # Errors
/// The error of the file system.
pub fn hash_file(path: &Path) -> io::Result<(ContentHash, u64)> {
    hash_on(&Disk, path)
}

fn hash_on(storage: &dyn Storage, path: &Path) -> io::Result<(ContentHash, u64)> {
    let file = storage.open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BYTES];
    let mut bytes = 0;
    // Read by system calls: a file that is truncated meanwhile is an error, where a mapping would end the process.
    loop {
        let read = read_up_to(&*file, &mut buffer, bytes)?;
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        if read < buffer.len() {
            return Ok((hasher.finalize().into(), bytes));
        }
    }
}

/// Reads a file and compares its BLAKE3 with the registered one.
///
/// # Errors
/// [`Error::HashMismatch`], [`Error::Io`].
pub fn check_file(path: &Path, expected: ContentHash) -> Result<u64> {
    check_on(&Disk, path, expected)
}

pub(crate) fn check_on(storage: &dyn Storage, path: &Path, expected: ContentHash) -> Result<u64> {
    let (actual, bytes) = hash_on(storage, path).map_err(Error::io("read", path))?;
    if actual == expected {
        return Ok(bytes);
    }
    Err(Error::HashMismatch { path: path.to_owned(), expected: expected.to_string(), actual: actual.to_string() })
}
