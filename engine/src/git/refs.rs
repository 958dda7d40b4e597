//! Which commit is checked out.

use std::path::Path;

use super::repository::Repository;

/// Most references that lead to another one, before a commit.
const DEPTH_MAX: u32 = 5;

/// What is checked out in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit, as hex digits.
    pub commit: String,
    /// The branch; `None` when a commit is checked out and no branch.
    pub branch: Option<String>,
    /// Address of the remote `origin`, else of the first one, without the credentials in it.
    pub remote: Option<String>,
}

/// The repository around the current folder; `None` outside of one, or before its first commit.
pub(crate) fn head_of_current_folder() -> Option<Head> {
    head_of(&std::env::current_dir().ok()?)
}

/// What is checked out in the repository around a folder. `None` outside of one, before its first commit, and where
/// references are kept in a form that is not read (reftable).
///
/// # Cost
/// A few small files are read.
pub fn head_of(folder: &Path) -> Option<Head> {
    let repository = Repository::around(folder)?;
    let head = std::fs::read_to_string(repository.own.join("HEAD")).ok()?;
    let branch = head.trim().strip_prefix("ref: refs/heads/").map(str::to_owned);
    let commit = resolve(&repository, head.trim(), 0)?;
    let remote = repository.config.remote().map(without_credentials);
    Some(Head { commit, branch, remote })
}

/// The commit that the content of a reference stands for.
fn resolve(repository: &Repository, content: &str, depth: u32) -> Option<String> {
    let Some(name) = content.strip_prefix("ref: ") else {
        let is_hash = matches!(content.len(), 40 | 64) && content.bytes().all(|byte| byte.is_ascii_hexdigit());
        return is_hash.then(|| content.to_owned());
    };
    let is_name = name.starts_with("refs/") && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if depth >= DEPTH_MAX || !is_name {
        return None;
    }
    for folder in [&repository.own, &repository.common] {
        if let Ok(text) = std::fs::read_to_string(folder.join(name)) {
            return resolve(repository, text.trim(), depth + 1);
        }
    }
    packed(&repository.common, name)
}

fn packed(common: &Path, name: &str) -> Option<String> {
    let refs = std::fs::read_to_string(common.join("packed-refs")).ok()?;
    let line = refs.lines().find(|line| line.split_once(' ').is_some_and(|(_, known)| known == name))?;
    line.split_once(' ').map(|(commit, _)| commit.to_owned())
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold an `@` of its own.
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => url.to_owned(),
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
        let (packed, loose) = ("01".repeat(20), "45".repeat(20));
        write("HEAD", "ref: refs/heads/main\n");
        assert_eq!(head_of(folder.path()), None, "no commit yet");
        write("packed-refs", &format!("# pack-refs\n{packed} refs/heads/main\n"));
        write("config", "[core]\n\tbare = false\n[remote \"origin\"]\n\turl = https://me:s@cret@host.example/x.git\n");
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).expect("create");
        let head = head_of(&below).expect("head");
        assert_eq!((&head.commit, head.remote.as_deref()), (&packed, Some("https://host.example/x.git")));
        assert_eq!(head.branch.as_deref(), Some("main"));
        write("refs/heads/main", &format!("{loose}\n"));
        assert_eq!(head_of(folder.path()).expect("head").commit, loose);
        write("HEAD", &format!("{packed}\n"));
        let head = head_of(folder.path()).expect("head");
        assert_eq!((head.commit, head.branch), (packed, None), "no branch is checked out");
        write("HEAD", "ref: ../../outside\n");
        assert_eq!(head_of(folder.path()), None);
    }

    #[test]
    fn addresses_lose_their_credentials_and_nothing_else() {
        for (url, without) in [
            ("https://u:p@h/x@1.git", "https://h/x@1.git"),
            ("ssh://git@h:22/x", "ssh://h:22/x"),
            ("git@h:x.git", "git@h:x.git"),
            ("/srv/x.git", "/srv/x.git"),
        ] {
            assert_eq!(without_credentials(url), without);
        }
    }
}
