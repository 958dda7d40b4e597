//! Content of artifacts, by hash: `objects/ab/<blake3>`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::ids::{ContentHash, random_u64};
use crate::layout::{Layout, TEMP_PREFIX};
use crate::storage::{Disk, create_folder, for_names, list, publish, remove_file};

const COPY_BYTES: usize = 1 << 20;
/// Age at which a temporary file cannot belong to a copy that goes on.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What was taken in.
pub(crate) struct Content {
    pub hash: ContentHash,
    pub bytes: u64,
}

/// One line of a folder's manifest. Fields are written in this order, lines sorted by path.
#[derive(Serialize)]
struct ManifestLine {
    path: String,
    bytes: u64,
    blake3: ContentHash,
}

/// Hashes the file or folder at `path`, and copies it to `objects/` when `store` says so. A folder becomes a manifest
/// (JSON lines of path, size and hash, sorted by path) and one object per file.
pub(crate) fn take_in(layout: &Layout, path: &Path, store: bool) -> Result<Content> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read the artifact", path))?;
    if metadata.is_dir() {
        return take_folder(layout, path, store);
    }
    check_regular(path, &metadata)?;
    take_file(layout, path, store)
}

/// Refuses pipes and devices: reading one may never end.
fn check_regular(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a folder");
    Err(Error::io("read the artifact", path)(source))
}

fn take_folder(layout: &Layout, root: &Path, store: bool) -> Result<Content> {
    let mut files = Vec::new();
    collect_files(root, &mut files)?;
    let mut lines = Vec::new();
    for file in files {
        let content = take_file(layout, &file, store)?;
        let relative = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        lines.push(ManifestLine { path: relative, bytes: content.bytes, blake3: content.hash });
    }
    lines.sort_by(|a, b| a.path.cmp(&b.path));
    let bytes = lines.iter().map(|line| line.bytes).sum();
    let manifest: String =
        lines.iter().filter_map(|line| serde_json::to_string(line).ok()).map(|line| line + "\n").collect();
    let hash = take_stream(layout, root, manifest.as_bytes(), store)?.hash;
    Ok(Content { hash, bytes })
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let mut paths = Vec::new();
    let listed = for_names(folder, |name, _, _| {
        paths.push(folder.join(name));
        Ok(())
    });
    listed.map_err(Error::io("list the artifact", folder))?;
    for path in paths {
        let metadata = std::fs::metadata(&path).map_err(Error::io("read the artifact", &path))?;
        if metadata.is_dir() {
            collect_files(&path, files)?;
        } else {
            check_regular(&path, &metadata)?;
            files.push(path);
        }
    }
    Ok(())
}

fn take_file(layout: &Layout, path: &Path, store: bool) -> Result<Content> {
    let file = File::open(path).map_err(Error::io("read the artifact", path))?;
    take_stream(layout, path, file, store)
}

/// Hashes `source`; with `store`, copies it on the way to a temporary file that is then named by the hash.
fn take_stream(layout: &Layout, path: &Path, mut source: impl Read, store: bool) -> Result<Content> {
    let mut hasher = blake3::Hasher::new();
    let mut copy = if store { Some(TempObject::create(layout)?) } else { None };
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let read = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read the artifact", path)(error)),
        };
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        if let Some(copy) = &mut copy {
            copy.file.write_all(&buffer[..read]).map_err(Error::io("store the artifact as", &copy.path))?;
        }
    }
    let hash = hasher.finalize().into();
    if let Some(copy) = copy {
        copy.publish(&layout.object(hash))?;
    }
    Ok(Content { hash, bytes })
}

/// Removes what processes that died while storing an artifact left: files without a name that are a day old.
pub(crate) fn remove_abandoned(layout: &Layout) {
    let folder = layout.root().join("objects");
    for entry in list(&folder).unwrap_or_default().iter().filter(|entry| entry.name.starts_with(TEMP_PREFIX)) {
        let path = folder.join(&entry.name);
        let changed = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
        if changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= ABANDONED_AFTER)) {
            let _ = remove_file(&Disk, &path);
        }
    }
}

/// A file in `objects/` that has no name yet; removed unless published.
struct TempObject {
    path: PathBuf,
    file: File,
}

impl TempObject {
    fn create(layout: &Layout) -> Result<Self> {
        let folder = layout.root().join("objects");
        create_folder(&Disk, &folder)?;
        let path = folder.join(format!("{TEMP_PREFIX}{:016x}", random_u64()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("store the artifact as", &path))?;
        Ok(Self { path, file })
    }

    fn publish(self, target: &Path) -> Result<()> {
        // Content that is there already is the same, or the hash would differ.
        if target.exists() {
            return Ok(());
        }
        create_folder(&Disk, target.parent().unwrap_or(target))?;
        self.file.sync_all().map_err(|source| Error::SyncFailed { path: self.path.clone(), source })?;
        publish(&Disk, &self.path, target)
    }
}

impl Drop for TempObject {
    fn drop(&mut self) {
        let _ = remove_file(&Disk, &self.path);
    }
}
