//! Verification: every file is what it was registered as.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, with_causes};
use crate::event_log::{read_log, writers_of};
use crate::events::Event;
use crate::ids::ContentHash;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::segment::identity_of_segments;
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

/// One file to be read, and the hash it has to have.
struct Expected {
    path: PathBuf,
    hash: ContentHash,
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

/// Checks every event log, segment and object of a store, and the identities of its metrics artifacts. `progress` is
/// told how many of how many files are done.
pub(crate) fn verify_store(layout: &Layout, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let mut manifests = Vec::new();
    let mut expected = expected_files(layout, &mut manifests, &mut report)?;
    expected.extend(objects(layout, &mut report)?);
    let total = expected.len() as u64;
    for file in expected {
        match check_on(layout.storage(), &file.path, file.hash) {
            Ok(bytes) => report.bytes += bytes,
            Err(error) => report.damaged.push(DamagedFile { path: file.path, fault: fault_of(&error) }),
        }
        report.files += 1;
        progress(report.files, total);
    }
    check_identities(layout, &manifests, &mut report);
    report.damaged.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(report)
}

/// What is wrong with a file, without its path: the report names it beside.
fn fault_of(error: &Error) -> String {
    match error {
        Error::HashMismatch { expected, actual, .. } => format!("its BLAKE3 is {actual}, and {expected} is registered"),
        Error::Damaged { fault, .. } => fault.clone(),
        Error::Io { action, source, .. } => format!("could not {action} it: {source}"),
        error => with_causes(error),
    }
}

/// The segments that event logs name, and the stored artifacts they refer to; damaged logs are reported on the way.
fn expected_files(layout: &Layout, manifests: &mut Vec<Manifest>, report: &mut VerifyReport) -> Result<Vec<Expected>> {
    let mut segments = BTreeMap::new();
    for run in crate::store::list_runs(layout)? {
        for writer in writers_of(layout, run)? {
            let path = layout.events(run, writer);
            let contents = read_log(layout, &path)?;
            for fault in &contents.faults {
                let fault = format!("the line at byte {} is damaged: {}", fault.offset, fault.fault);
                report.damaged.push(DamagedFile { path: path.clone(), fault });
            }
            match Manifest::of(&contents, &path) {
                Ok(manifest) => {
                    for segment in &manifest.segments {
                        segments.insert(layout.run(run).join(&segment.file), segment.blake3);
                    }
                    manifests.push(manifest);
                }
                Err(error) => report.damaged.push(DamagedFile { path, fault: fault_of(&error) }),
            }
            for line in contents.lines {
                if let Event::Artifact(artifact) = line.event
                    && artifact.stored
                {
                    segments.insert(layout.object(artifact.hash), artifact.hash);
                }
            }
        }
    }
    Ok(segments.into_iter().map(|(path, hash)| Expected { path, hash }).collect())
}

/// Objects that no event names directly: the files of folders. Their name is their hash.
fn objects(layout: &Layout, report: &mut VerifyReport) -> Result<Vec<Expected>> {
    let root = layout.root().join("objects");
    let mut found = Vec::new();
    for folder in std::fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))?.flatten() {
            let path = entry.path();
            match entry.file_name().to_str().and_then(|name| name.parse::<ContentHash>().ok()) {
                Some(hash) => found.push(Expected { path, hash }),
                None => {
                    report.damaged.push(DamagedFile { path, fault: "its name is not a BLAKE3 hash".to_owned() });
                }
            }
        }
    }
    Ok(found)
}

/// Computes the identity of the last artifact of each metrics name anew, from the rows of its segments.
fn check_identities(layout: &Layout, manifests: &[Manifest], report: &mut VerifyReport) {
    for manifest in manifests {
        let folder = layout.run(manifest.started.run_id);
        for commit in manifest.commits.values() {
            let paths: Vec<PathBuf> = manifest
                .segments
                .iter()
                .filter(|segment| commit.segments.contains(&segment.n))
                .map(|segment| folder.join(&segment.file))
                .collect();
            // Damaged segments are reported already.
            if paths.iter().any(|path| report.damaged.iter().any(|damaged| damaged.path == *path)) {
                continue;
            }
            report.artifacts += 1;
            let path = layout.events(manifest.started.run_id, manifest.started.writer);
            let fault = match identity_of_segments(layout, manifest.started.writer, &paths) {
                Ok((rows, identity)) if identity == commit.identity && rows == commit.rows => continue,
                Ok((rows, identity)) => format!(
                    "the metrics artifact {} has {} records and identity {}; its segments hold {rows} and {identity}",
                    commit.metrics_name, commit.rows, commit.identity
                ),
                Err(error) => with_causes(&error),
            };
            report.damaged.push(DamagedFile { path, fault });
        }
    }
}
