//! The git commit a run was started from, read from the files of the repository. Nothing is changed, no process started.

use std::path::{Path, PathBuf};

/// What is checked out in the repository around a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub commit: String,
    /// Branch that is checked out; `None` when a commit is.
    pub branch: Option<String>,
    /// Address of the remote `origin`, without credentials.
    pub remote: Option<String>,
}

/// The repository around the current folder; `None` outside of one, or before its first commit.
pub(crate) fn head_of_current_folder() -> Option<Head> {
    head_of(&std::env::current_dir().ok()?)
}

fn head_of(folder: &Path) -> Option<Head> {
    let git = folder.ancestors().find_map(git_folder)?;
    // A linked worktree keeps its HEAD in a folder of its own and shares the rest.
    let common = match std::fs::read_to_string(git.join("commondir")) {
        Ok(relative) => git.join(relative.trim()),
        Err(_) => git.clone(),
    };
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let branch = head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned);
    let commit = match head.trim().strip_prefix("ref: ") {
        None => head.trim().to_owned(),
        Some(name) => std::fs::read_to_string(common.join(name))
            .ok()
            .map(|text| text.trim().to_owned())
            .or_else(|| packed(&common, name))?,
    };
    Some(Head { commit, branch, remote: remote(&common) })
}

fn git_folder(folder: &Path) -> Option<PathBuf> {
    let path = folder.join(".git");
    if path.is_dir() {
        return Some(path);
    }
    let link = std::fs::read_to_string(path).ok()?;
    Some(folder.join(link.trim().strip_prefix("gitdir: ")?))
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let refs = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = refs.lines().find(|line| line.split_once(' ').is_some_and(|(_, known)| known == name))?;
    line.split_once(' ').map(|(commit, _)| commit.to_owned())
}

fn remote(common: &Path) -> Option<String> {
    let config = std::fs::read_to_string(common.join("config")).ok()?;
    let section = config.lines().skip_while(|line| line.trim() != "[remote \"origin\"]").skip(1);
    let url = section
        .take_while(|line| !line.trim_start().starts_with('['))
        .find_map(|line| line.trim().strip_prefix("url")?.trim_start().strip_prefix('='))?;
    Some(without_credentials(url.trim()))
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.split_once('@')?))) {
        Some((scheme, (user, host))) if !user.contains('/') => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_from_loose_and_packed_refs() {
        let folder = tempfile::tempdir().expect("folder");
        let git = folder.path().join(".git");
        std::fs::create_dir_all(git.join("refs/heads")).expect("create");
        let write = |name: &str, text: &str| std::fs::write(git.join(name), text).expect("write");
        write("HEAD", "ref: refs/heads/main\n");
        assert_eq!(head_of(folder.path()), None, "no commit yet");
        write("packed-refs", "# pack-refs\n0123 refs/heads/main\n");
        write("config", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://me:secret@host.example/x.git\n");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("create");
        let head = head_of(&below).expect("head");
        assert_eq!((head.commit.as_str(), head.remote.as_deref()), ("0123", Some("https://host.example/x.git")));
        write("refs/heads/main", "4567\n");
        assert_eq!(head_of(folder.path()).expect("head").commit, "4567");
    }
}
