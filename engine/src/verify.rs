//! Verification of hashes.
use std::path::PathBuf;
/// What `verify` found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport { /// Files checked.
 pub files: u64, /// Bytes read.
 pub bytes: u64, /// What is wrong: file and fault.
 pub damaged: Vec<DamagedFile> }
/// A file that is not what was registered.
#[derive(Clone, Debug)]
pub struct DamagedFile { /// The file.
 pub path: PathBuf, /// What is wrong, in words.
 pub fault: String }
