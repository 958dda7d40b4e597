//! What real repositories, made by `git`, are said to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::*;

/// A repository with a commit of three files.
struct Place {
    folder: TempDir,
}

impl Place {
    /// `None`, with a line that says so, where there is no `git`.
    fn new(init: &[&str]) -> Option<Self> {
        if Command::new("git").arg("--version").output().is_err() {
            println!("skipped: there is no `git` to make repositories with");
            return None;
        }
        let place = Self { folder: tempfile::tempdir().expect("folder") };
        std::fs::create_dir(place.path()).expect("folder");
        if !place.try_git(&[&["init", "-q", "-b", "main"], init].concat()) {
            println!("skipped: this `git` cannot `init {}`", init.join(" "));
            return None;
        }
        Some(place)
    }

    fn committed(init: &[&str]) -> Option<Self> {
        let place = Self::new(init)?;
        for (name, text) in [("a.txt", "one\n"), ("sub/b.txt", "two\n"), ("sub-x", "three\n")] {
            place.write(name, text);
        }
        place.git(&["add", "."]);
        place.git(&["commit", "-qm", "first"]);
        Some(place)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(path, text).expect("written");
    }

    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=n", "-c", "user.email=e@x", "-c", "protocol.file.allow=always"]);
        command.args(arguments).current_dir(folder);
        // Not the settings of whoever runs the tests.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            command.env_remove(variable);
        }
        command
    }

    fn try_git(&self, arguments: &[&str]) -> bool {
        self.command(&self.path(), arguments).output().expect("git").status.success()
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.git_in(&self.path(), arguments)
    }

    fn git_in(&self, folder: &Path, arguments: &[&str]) -> String {
        let output = self.command(folder, arguments).output().expect("git");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn changed(&self) -> Option<bool> {
        is_changed(&self.path(), &Limits::default())
    }

    /// What is said, which must be what `git status` says.
    #[track_caller]
    fn agrees(&self, expected: bool, what: &str) {
        assert_eq!(self.changed(), Some(expected), "{what}");
        let status = self.git(&["status", "--porcelain", "--untracked-files=no"]);
        assert_eq!(!status.is_empty(), expected, "{what}: git says {status:?}");
    }
}

/// Content and time of everything below a folder.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("listed") {
        let path = entry.expect("entry").path();
        let metadata = path.symlink_metadata().expect("stat");
        let content = metadata.is_file().then(|| std::fs::read(&path).expect("read"));
        if metadata.is_dir() {
            found.append(&mut everything(&path));
        }
        found.insert(path, (content, metadata.modified().expect("time")));
    }
    found
}

#[test]
fn changes_are_seen_as_git_status_sees_them() {
    let Some(place) = Place::committed(&[]) else { return };
    place.agrees(false, "just committed");
    place.write("untracked", "x");
    place.agrees(false, "a file that is not tracked");
    place.write("a.txt", "ONE\n");
    place.agrees(true, "content of the same length");
    place.write("a.txt", "one\n");
    assert_eq!(place.changed(), Some(false), "touched, with the same content, before git looked at it");
    place.agrees(false, "touched, with the same content");
    place.write("a.txt", "longer\n");
    place.agrees(true, "content of another length");
    place.git(&["add", "a.txt"]);
    place.agrees(true, "staged");
    place.git(&["commit", "-qm", "second"]);
    place.agrees(false, "committed");
    std::fs::remove_file(place.path().join("sub/b.txt")).expect("removed");
    place.agrees(true, "removed");
    place.git(&["checkout", "-q", "."]);
    place.git(&["rm", "-q", "--cached", "sub-x"]);
    place.agrees(true, "removed from the index");
    place.git(&["reset", "-q"]);
    place.write("new", "x");
    place.git(&["add", "-N", "new"]);
    place.agrees(true, "intended to be added");
    place.git(&["reset", "-q"]);
    Command::new("chmod").arg("+x").arg(place.path().join("a.txt")).status().expect("chmod");
    place.agrees(true, "became executable");
    place.git(&["config", "core.fileMode", "false"]);
    place.agrees(false, "modes do not count");
}

#[test]
fn links_and_many_files_in_every_version_of_the_index() {
    for version in ["2", "3", "4"] {
        let Some(place) = Place::committed(&[]) else { return };
        for number in 0..300 {
            place.write(&format!("deep/{}/{}/file-{number}", number % 7, number % 3), &number.to_string());
        }
        std::os::unix::fs::symlink("a.txt", place.path().join("link")).expect("link");
        place.git(&["add", "."]);
        place.git(&["commit", "-qm", "many"]);
        place.git(&["update-index", "--index-version", version]);
        place.agrees(false, version);
        std::fs::remove_file(place.path().join("link")).expect("removed");
        std::os::unix::fs::symlink("b.txt", place.path().join("link")).expect("link");
        place.agrees(true, version);
    }
}

#[test]
fn commits_are_found_in_packs_and_behind_differences() {
    let Some(place) = Place::committed(&[]) else { return };
    // Messages that share most of their text: git packs such commits as differences.
    let body = "the same words in every message, many of them. ".repeat(200);
    for number in 0..12 {
        place.git(&["commit", "-q", "--allow-empty", "-m", &format!("{number}\n\n{body}{number}")]);
    }
    place.git(&["gc", "-q", "--aggressive"]);
    place.git(&["pack-refs", "--all"]);
    assert!(!place.path().join(".git/refs/heads/main").exists(), "its references are packed");
    for back in 0..12 {
        place.git(&["checkout", "-q", &format!("main~{back}")]);
        let head = head_of(&place.path()).expect("head");
        assert_eq!((head.commit, head.branch), (place.git(&["rev-parse", "HEAD"]), None), "no branch");
        place.agrees(false, "packed");
    }
    let clone = place.folder.path().join("clone");
    place.git(&["clone", "-q", "--shared", ".", clone.to_str().expect("UTF-8")]);
    assert_eq!(is_changed(&clone, &Limits::default()), Some(false), "its objects are in another store");
}

#[test]
fn worktrees_have_a_head_and_an_index_of_their_own() {
    let Some(place) = Place::committed(&[]) else { return };
    let other = place.folder.path().join("other");
    place.git(&["worktree", "add", "-q", "-b", "side", other.to_str().expect("UTF-8")]);
    place.git(&["remote", "add", "up", "https://user:word@host.example/x.git"]);
    let head = head_of(&other.join("sub")).expect("head");
    assert_eq!(head.branch.as_deref(), Some("side"));
    assert_eq!(head.remote.as_deref(), Some("https://host.example/x.git"), "the first, where none is called origin");
    assert_eq!(is_changed(&other, &Limits::default()), Some(false));
    std::fs::write(other.join("a.txt"), "changed").expect("written");
    assert_eq!(is_changed(&other, &Limits::default()), Some(true));
    place.agrees(false, "the other folder does not count");
}

#[test]
fn what_cannot_be_told_is_not_known() {
    let Some(place) = Place::new(&[]) else { return };
    assert_eq!((head_of(&place.path()), place.changed()), (None, None), "no commit yet");
    let Some(inner) = Place::committed(&[]) else { return };
    let Some(place) = Place::committed(&[]) else { return };
    place.git(&["submodule", "add", "-q", inner.path().to_str().expect("UTF-8"), "inner"]);
    place.git(&["commit", "-qm", "submodule"]);
    assert_eq!(place.changed(), None, "a submodule");
    assert_eq!(is_changed(&place.path().join("inner"), &Limits::default()), Some(false), "inside of it");
    place.write("a.txt", "changed");
    place.agrees(true, "a change beside a submodule");

    let Some(place) = Place::committed(&[]) else { return };
    place.git(&["sparse-checkout", "set", "sub"]);
    place.git(&["sparse-checkout", "set", "--no-cone", "/sub/"]);
    assert_eq!(place.changed(), None, "files that are not checked out");

    let Some(place) = Place::committed(&[]) else { return };
    place.write(".gitattributes", "*.txt text eol=crlf\n");
    place.git(&["add", "."]);
    place.git(&["commit", "-qm", "attributes"]);
    place.agrees(false, "with attributes");
    place.write("a.txt", "ONE\n");
    assert_eq!(place.changed(), None, "a conversion may have done it");

    assert_eq!(is_changed(&place.path(), &Limits { files: 2, ..Limits::default() }), None, "too many files");
    assert_eq!(is_changed(&place.path(), &Limits { time: Duration::ZERO, ..Limits::default() }), None, "no time");
    assert_eq!(is_changed(&place.path(), &Limits { bytes: 0, ..Limits::default() }), None, "nothing may be read");
    assert_eq!(is_changed(Path::new("/"), &Limits::default()), None, "no repository");

    for init in [&["--object-format=sha256"][..], &["--ref-format=reftable"]] {
        let Some(place) = Place::committed(init) else { continue };
        assert_eq!(place.changed(), None, "{init:?}");
        let commit = head_of(&place.path()).map(|head| head.commit);
        let known = init[0].contains("sha256").then(|| place.git(&["rev-parse", "HEAD"]));
        assert_eq!(commit, known, "{init:?}");
    }
}

#[test]
fn a_damaged_repository_is_not_known_and_no_panic() {
    let Some(place) = Place::committed(&[]) else { return };
    let path = place.path().join(".git/index");
    let index = std::fs::read(&path).expect("index");
    for at in 0..index.len() {
        let mut bytes = index.clone();
        bytes[at] ^= 0xff;
        std::fs::write(&path, &bytes).expect("damaged");
        assert_eq!(place.changed(), None, "byte {at}");
        // Without its checksum, it may say anything but may not panic.
        let end = bytes.len() - 20;
        bytes[end..].fill(0);
        let _ = super::index::Index::parse(&bytes, 1000);
        let _ = super::index::Index::parse(&index[..at], 1000);
    }
}

#[test]
fn nothing_in_the_repository_is_changed_by_looking() {
    let Some(place) = Place::committed(&[]) else { return };
    // What makes `git status` write the index.
    place.write("a.txt", "one\n");
    let before = everything(&place.path());
    head_of(&place.path()).expect("head");
    assert_eq!(place.changed(), Some(false));
    assert!(everything(&place.path()) == before, "a file or its time is another one");
}
