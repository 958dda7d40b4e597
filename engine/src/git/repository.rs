//! Where the parts of a repository lie.

use std::path::{Path, PathBuf};

use super::config::Config;

/// A repository with the folder of files that belong to it.
#[derive(Debug)]
pub(super) struct Repository {
    /// The folder of files.
    pub worktree: PathBuf,
    /// What belongs to this folder alone: `HEAD`, the index.
    pub own: PathBuf,
    /// What linked worktrees share: objects, references, configuration.
    pub common: PathBuf,
    pub config: Config,
}

impl Repository {
    /// The repository that a folder lies in.
    pub fn around(folder: &Path) -> Option<Self> {
        let (worktree, own) = folder.ancestors().find_map(|above| Some((above.to_owned(), own_folder(above)?)))?;
        // A linked worktree has a folder of its own and shares the rest.
        let common = match std::fs::read_to_string(own.join("commondir")) {
            Ok(relative) => own.join(relative.trim()),
            Err(_) => own.clone(),
        };
        let config = Config::read(&common.join("config"));
        Some(Self { worktree, own, common, config })
    }

    /// Whether commits are named by SHA-1, and references are files; the other forms are not read.
    pub fn is_understood(&self) -> bool {
        let is = |key, only| self.config.get("extensions", key).is_none_or(|value| value.eq_ignore_ascii_case(only));
        is("objectformat", "sha1") && is("refstorage", "files")
    }
}

fn own_folder(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(".git");
    if path.join("HEAD").is_file() {
        return Some(path);
    }
    let link = std::fs::read_to_string(path).ok()?;
    Some(folder.join(link.trim().strip_prefix("gitdir:")?.trim_start()))
}
