//! Whether files may lie in the folder in another form than they are committed in.

use std::path::{Path, PathBuf};

use super::config::Config;
use super::index::Index;
use super::repository::Repository;

/// Whether line ends, filters or encodings may be converted between the folder and the commit: then a file that differs from
/// what is committed may be unchanged all the same. Converting it would need the filters to be run.
pub(super) fn may_convert(repository: &Repository, index: &Index) -> bool {
    let name = b".gitattributes";
    let is_attributes = |path: &[u8]| path == name || path.ends_with(b"/.gitattributes");
    if index.entries.iter().any(|entry| is_attributes(&entry.path)) {
        return true;
    }
    let places = [repository.worktree.join(".gitattributes"), repository.common.join("info/attributes")];
    if places.iter().any(|path| path.exists()) || converts(&repository.config) {
        return true;
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let settings = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let own = settings.map(|folder| folder.join("git"));
    let configs = [
        home.map(|home| home.join(".gitconfig")),
        own.as_ref().map(|folder| folder.join("config")),
        Some(PathBuf::from("/etc/gitconfig")),
    ];
    configs.iter().flatten().any(|path: &PathBuf| converts(&Config::read(path)))
        || own.is_some_and(|folder| folder.join("attributes").exists())
        || Path::new("/etc/gitattributes").exists()
}

fn converts(config: &Config) -> bool {
    config.is_on("core", "autocrlf", false) || config.get("core", "attributesfile").is_some() || config.includes()
}
