//! The little of DVC's configuration that matters here: remotes that are folders of this machine.

use std::path::{Path, PathBuf};

/// Folders of remotes on this machine that `config` and `config.local` of a `.dvc` folder name. One that names none, or cannot be
/// read, has none.
pub(crate) fn local_remotes(dvc_folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in ["config", "config.local"] {
        let text = std::fs::read_to_string(dvc_folder.join(file)).unwrap_or_default();
        let urls = text.lines().filter_map(|line| {
            let (key, value) = line.trim().split_once('=')?;
            (key.trim() == "url").then(|| value.trim())
        });
        // A relative one is relative to the file that has it.
        found.extend(urls.filter(|url| !url.contains("://")).map(|url| dvc_folder.join(url)));
    }
    found
}

/// Address of the remote that `core.remote` names, or of the only one.
pub(super) fn default_remote(dvc_folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dvc_folder.join("config")).ok()?;
    let (mut section, mut chosen, mut urls) = (String::new(), None, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').trim_matches('\'').clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            match (section.as_str(), key.trim()) {
                ("core", "remote") => chosen = Some(value.trim().to_owned()),
                (section, "url") => urls.push((section.to_owned(), value.trim().to_owned())),
                _ => {}
            }
        }
    }
    let is_chosen = |section: &str| chosen.as_ref().is_none_or(|name| section == format!("remote \"{name}\""));
    urls.into_iter().find(|(section, _)| is_chosen(section)).map(|(_, url)| url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_are_local_remotes() {
        let folder = tempfile::tempdir().expect("folder");
        let text = "[core]\n    remote = here\n['remote \"here\"']\n    url = /srv/store\n['remote \"up\"']\n url=../up\n\
                    ['remote \"s3\"']\n    url = s3://bucket/x\n";
        std::fs::write(folder.path().join("config"), text).expect("write");
        assert_eq!(local_remotes(folder.path()), [PathBuf::from("/srv/store"), folder.path().join("../up")]);
        assert_eq!(default_remote(folder.path()).as_deref(), Some("/srv/store"));
        assert!(local_remotes(&folder.path().join("none")).is_empty());
    }
}
