//! The files of a folder that becomes an artifact, and which of its links are followed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::stat_cache::FileStat;
use crate::error::{Error, Result};
use crate::storage::for_names;

/// Most files of one folder. Links that lead to folders with links can stand for any number.
const FILES_MAX: usize = 20_000_000;
/// Deepest folder that is looked into.
const DEPTH_MAX: usize = 512;

/// What becomes of symbolic links in a folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Links {
    /// One that leads to a file or folder in the same folder is followed; one that leads out of it is an error.
    #[default]
    Inside,
    /// All are followed.
    Follow,
}

/// One file of a folder.
#[derive(Clone, Debug)]
pub(super) struct FoundFile {
    /// Path below the folder, with `/`.
    pub relative: String,
    /// Where it lies, links in the folder resolved.
    pub path: PathBuf,
    pub stat: FileStat,
}

/// Refuses pipes and devices: reading one may never end.
pub(super) fn check_regular(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a folder");
    Err(Error::io("read the artifact", path)(source))
}

/// The files below `root`, sorted by their path.
///
/// `store` is refused: a folder that holds the store would hold another copy of itself each time.
pub(super) fn walk(root: &Path, store: Option<&Path>, links: Links) -> Result<Vec<FoundFile>> {
    let root = root.canonicalize().map_err(Error::io("read the artifact", root))?;
    let store = store.and_then(|store| std::fs::metadata(store).ok()).map(|metadata| identity(&metadata));
    let metadata = std::fs::metadata(&root).map_err(Error::io("read the artifact", &root))?;
    let mut walk = Walk { root: root.clone(), store, links, open: Vec::new(), files: Vec::new() };
    walk.folder(&root, "", &metadata)?;
    let mut files = walk.files;
    files.sort_unstable_by(|a, b| a.relative.cmp(&b.relative));
    Ok(files)
}

struct Walk {
    root: PathBuf,
    store: Option<(u64, u64)>,
    links: Links,
    /// The folders that lead to where the walk is.
    open: Vec<(u64, u64)>,
    files: Vec<FoundFile>,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn refused(path: &Path, fault: &str) -> Error {
    Error::InvalidPath { path: path.to_owned(), fault: fault.to_owned() }
}

impl Walk {
    fn folder(&mut self, folder: &Path, relative: &str, metadata: &Metadata) -> Result<()> {
        let id = identity(metadata);
        if self.store == Some(id) {
            return Err(refused(folder, "it is the store itself; log the folders beside it"));
        }
        if self.open.contains(&id) {
            return Err(refused(folder, "a link in it leads back to it"));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(refused(folder, "it lies too deep in the artifact"));
        }
        self.open.push(id);
        let mut names = Vec::new();
        let listed = for_names(folder, |name, _, _| {
            names.push(name.to_owned());
            Ok(())
        });
        listed.map_err(Error::io("list the artifact", folder))?;
        for name in names {
            let path = folder.join(&name);
            let Some(name) = name.to_str() else {
                return Err(refused(&path, "its name is not UTF-8, and would be another one in the store; rename it"));
            };
            let below = if relative.is_empty() { name.to_owned() } else { format!("{relative}/{name}") };
            self.entry(&path, below)?;
        }
        self.open.pop();
        Ok(())
    }

    fn entry(&mut self, path: &Path, relative: String) -> Result<()> {
        let mut path = path.to_owned();
        let mut metadata = std::fs::symlink_metadata(&path).map_err(Error::io("read the artifact", &path))?;
        if metadata.is_symlink() {
            let target = path.canonicalize().map_err(Error::io("read the artifact", &path))?;
            if self.links == Links::Inside && !target.starts_with(&self.root) {
                let fault = format!(
                    "the link leads out of the artifact, to {target:?}; put the file there itself, or allow such links"
                );
                return Err(refused(&path, &fault));
            }
            path = target;
            metadata = std::fs::metadata(&path).map_err(Error::io("read the artifact", &path))?;
        }
        if metadata.is_dir() {
            return self.folder(&path, &relative, &metadata);
        }
        check_regular(&path, &metadata)?;
        if self.files.len() >= FILES_MAX {
            return Err(refused(&self.root, "it holds more files than an artifact can have"));
        }
        self.files.push(FoundFile { relative, path, stat: FileStat::of(&metadata) });
        Ok(())
    }
}
