//! Artifacts taken in, found again, written out and removed, on real files.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::hash::PARALLEL_FROM;
use super::publish::store_bytes;
use super::take::take_at;
use super::*;
use crate::clock::wall_nanos;
use crate::error::Error;
use crate::layout::{Layout, TEMP_PREFIX};

/// A store and a folder of the user's beside it.
struct Place {
    folder: TempDir,
    layout: Layout,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir(folder.path().join("store")).expect("store");
        std::fs::create_dir(folder.path().join("data")).expect("data");
        let layout = Layout::new(folder.path().join("store"));
        Self { folder, layout }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, content).expect("written");
        path
    }

    fn take(&self, path: &Path, keep: Keep) -> crate::Result<Taken> {
        take_in(&self.layout, path, &TakeOptions::keep(keep))
    }

    /// Takes in as if the last change were longer ago than it is.
    fn take_later(&self, path: &Path, options: &TakeOptions) -> Taken {
        let later = wall_nanos() + 3_000_000_000;
        take_at(Some(&self.layout), path, options, later).expect("taken")
    }

    fn objects(&self) -> usize {
        let found = |path: &Path| std::fs::read_dir(path).map_or(0, Iterator::count);
        let folders = std::fs::read_dir(self.layout.objects()).expect("objects");
        folders.map(|entry| found(&entry.expect("entry").path())).sum()
    }

    fn no_temporaries(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let name = entry.expect("entry").file_name();
            assert!(!name.to_string_lossy().starts_with(TEMP_PREFIX), "{name:?} was left in {folder:?}");
        }
    }
}

fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|index| (index.wrapping_mul(2_654_435_761) >> 9) as u8 ^ seed).collect()
}

fn fault(result: crate::Result<impl std::fmt::Debug>) -> String {
    let error = result.expect_err("it must be refused");
    assert!(error.is_invalid_input(), "{error:?}");
    error.to_string()
}

#[test]
fn a_folder_becomes_a_manifest_and_one_object_for_each_content() {
    let place = Place::new();
    place.write("data/b/2", "same");
    place.write("data/b/1", "same");
    place.write("data/a", "other");
    std::fs::create_dir(place.path("data/empty")).expect("folder");
    let taken = place.take(&place.path("data"), Keep::Copy).expect("taken");
    let manifest = taken.manifest.clone().expect("manifest");
    let paths: Vec<_> = manifest.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a", "b/1", "b/2"], "an empty folder is no part of it");
    assert_eq!((taken.bytes, taken.kept.read, place.objects()), (13, 3, 3));
    assert_eq!(Manifest::read(&place.layout, taken.hash).expect("read back"), manifest);
    let text = std::fs::read_to_string(place.layout.object(taken.hash)).expect("text");
    let first = format!("{{\"path\":\"a\",\"bytes\":5,\"blake3\":\"{}\"}}\n", blake3::hash(b"other"));
    assert!(text.starts_with(&first), "{text}");
    assert_eq!(place.take(&place.path("data"), Keep::Copy).expect("again").hash, taken.hash);
    assert_eq!(place.take(&place.path("data"), Keep::Reference).expect("by reference").hash, taken.hash);
    place.no_temporaries(&place.layout.objects());
}

#[test]
fn many_files_are_all_there_and_right() {
    let place = Place::new();
    let count = 1500;
    for number in 0..count {
        place.write(&format!("data/{}/{number}", number % 7), bytes(number, 3));
    }
    let taken = place.take(&place.path("data"), Keep::Copy).expect("taken");
    assert_eq!(taken.manifest.as_ref().map(|manifest| manifest.files().len()), Some(count));
    let out = place.path("out");
    let done = checkout(&place.layout, taken.hash, &out, &CheckoutOptions::default()).expect("checked out");
    assert_eq!((done.files, done.bytes), (count as u64, taken.bytes));
    for number in 0..count {
        let back = std::fs::read(out.join(format!("{}/{number}", number % 7))).expect("back");
        assert!(back == bytes(number, 3), "file {number}");
    }
    assert_eq!(place.take(&out, Keep::Reference).expect("the same").hash, taken.hash);
}

#[test]
fn nothing_is_stored_by_reference() {
    let place = Place::new();
    place.write("data/a", "a");
    place.take(&place.path("data"), Keep::Reference).expect("taken");
    place.take(&place.path("data/a"), Keep::Reference).expect("taken");
    assert_eq!(std::fs::read_dir(place.layout.root()).expect("store").count(), 0);
}

#[test]
fn an_unchanged_folder_is_known_and_a_changed_file_is_read() {
    let place = Place::new();
    for number in 0..6 {
        place.write(&format!("data/{number}"), bytes(1 << 20, number));
    }
    let data = place.path("data");
    let options = TakeOptions { hashes: Hashes::WithMd5, ..TakeOptions::default() };
    let first = place.take_later(&data, &options);
    assert_eq!((first.kept.known, first.kept.read), (0, 6));
    let second = place.take_later(&data, &options);
    assert_eq!((second.kept.known, second.kept.read, second.kept.bytes_read), (6, 0, 0));
    assert_eq!((second.hash, &second.md5), (first.hash, &first.md5));
    place.write("data/3", bytes(1 << 20, 99));
    let changed = place.take_later(&data, &options);
    assert_eq!((changed.kept.known, changed.kept.read), (5, 1));
    assert_ne!((changed.hash, &changed.md5), (first.hash, &first.md5));
    // An object that went away is stored again, although the hash of the file is known.
    let hash = changed.manifest.as_ref().expect("manifest").files()[0].blake3;
    std::fs::remove_file(place.layout.object(hash)).expect("removed");
    assert_eq!(place.take_later(&data, &options).kept.read, 1);
    assert_eq!(std::fs::read(place.layout.object(hash)).expect("object"), bytes(1 << 20, 0));
    // Deleting the cache costs the time to read all of it.
    std::fs::remove_file(place.layout.stat_cache()).expect("removed");
    let again = place.take_later(&data, &options);
    assert_eq!((again.kept.read, again.hash), (6, changed.hash));
}

#[test]
fn what_was_changed_just_now_is_not_known_the_next_time() {
    let place = Place::new();
    let file = place.write("data/file", bytes(5 << 20, 1));
    for _ in 0..2 {
        let taken = take_at(Some(&place.layout), &file, &TakeOptions::default(), wall_nanos()).expect("taken");
        assert_eq!((taken.kept.known, taken.kept.read), (0, 1));
    }
}

#[test]
fn large_files_are_kept_whole() {
    let place = Place::new();
    let content = bytes(PARALLEL_FROM as usize + 12_345, 5);
    let file = place.write("data/large", &content);
    let taken = place.take(&file, Keep::Copy).expect("taken");
    assert_eq!((taken.hash, taken.bytes), (blake3::hash(&content).into(), content.len() as u64));
    assert!(std::fs::read(place.layout.object(taken.hash)).expect("object") == content);
    let out = place.path("out");
    checkout(&place.layout, taken.hash, &out, &CheckoutOptions::default()).expect("checked out");
    assert!(std::fs::read(out).expect("out") == content);
}

#[test]
fn an_object_that_was_cut_off_is_stored_again() {
    let place = Place::new();
    let file = place.write("data/file", "content");
    let hash = place.take(&file, Keep::Copy).expect("taken").hash;
    std::fs::write(place.layout.object(hash), "cont").expect("cut");
    place.take(&file, Keep::Copy).expect("taken");
    assert_eq!(std::fs::read(place.layout.object(hash)).expect("object"), b"content");
}

#[test]
fn hard_links_share_the_file_and_make_it_read_only() {
    let place = Place::new();
    let file = place.write("data/file", "content");
    let taken = place.take(&file, Keep::HardLink).expect("taken");
    let (object, user) = (place.layout.object(taken.hash), std::fs::metadata(&file).expect("stat"));
    assert_eq!(std::fs::metadata(object).expect("object").ino(), user.ino());
    assert_eq!((taken.kept.linked, user.permissions().mode() & 0o222), (1, 0));
    let again = place.take(&file, Keep::HardLink).expect("again");
    assert_eq!(again.hash, taken.hash);
    place.no_temporaries(&place.layout.objects());
}

#[test]
fn links_are_followed_inside_and_refused_outside() {
    let place = Place::new();
    let outside = place.write("outside/secret", "secret");
    place.write("data/sub/file", "x");
    symlink("sub/file", place.path("data/link")).expect("link");
    symlink("sub", place.path("data/folder")).expect("link");
    let data = place.path("data");
    let taken = place.take(&data, Keep::Copy).expect("taken").manifest.expect("manifest");
    let paths: Vec<_> = taken.files().iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["folder/file", "link", "sub/file"]);
    symlink(&outside, data.join("out")).expect("link");
    let text = fault(place.take(&data, Keep::Copy));
    assert!(text.contains("leads out of the artifact") && text.contains("secret"), "{text}");
    let options = TakeOptions { links: Links::Follow, ..TakeOptions::default() };
    let followed = take_in(&place.layout, &data, &options).expect("followed").manifest.expect("manifest");
    assert_eq!(followed.files().len(), 4);
    std::fs::remove_file(data.join("out")).expect("removed");
    symlink("../..", data.join("sub/up")).expect("link");
    assert!(fault(place.take(&data, Keep::Copy)).contains("leads out"));
    std::fs::remove_file(data.join("sub/up")).expect("removed");
    symlink("..", data.join("sub/up")).expect("link");
    assert!(fault(place.take(&data, Keep::Copy)).contains("leads back"));
    std::fs::remove_file(data.join("sub/up")).expect("removed");
    symlink("nowhere", data.join("dangling")).expect("link");
    assert!(matches!(place.take(&data, Keep::Copy), Err(Error::Io { path, .. }) if path.ends_with("dangling")));
}

#[test]
fn names_that_are_not_utf8_pipes_and_the_store_itself_are_refused() {
    let place = Place::new();
    let data = place.path("data");
    let odd = data.join(std::ffi::OsStr::from_bytes(b"a\xff"));
    std::fs::write(&odd, "x").expect("written");
    assert!(fault(place.take(&data, Keep::Copy)).contains("not UTF-8"));
    std::fs::remove_file(&odd).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, data.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("pipe");
    assert!(place.take(&data, Keep::Copy).expect_err("pipe").to_string().contains("pipe"));
    assert!(place.take(&data.join("pipe"), Keep::Copy).is_err());
    std::fs::remove_file(data.join("pipe")).expect("removed");
    assert!(fault(place.take(place.folder.path(), Keep::Copy)).contains("store itself"));
}

#[test]
fn what_is_in_the_way_is_overwritten_only_when_told() {
    let place = Place::new();
    place.write("data/a", "new a");
    place.write("data/b", "new b");
    let hash = place.take(&place.path("data"), Keep::Copy).expect("taken").hash;
    let out = place.path("out");
    place.write("out/b", "mine");
    let never = CheckoutOptions::default();
    assert!(fault(checkout(&place.layout, hash, &out, &never)).contains("there already"));
    assert!(!out.join("a").exists(), "nothing is written when something is in the way");
    assert_eq!(std::fs::read(out.join("b")).expect("b"), b"mine");
    let files = CheckoutOptions { overwrite: Overwrite::Files, ..never };
    checkout(&place.layout, hash, &out, &files).expect("overwritten");
    assert_eq!(std::fs::read(out.join("b")).expect("b"), b"new b");
    place.no_temporaries(&out);
}

#[test]
fn a_damaged_or_missing_object_is_named_and_its_file_not_written() {
    let place = Place::new();
    place.write("data/a", "content of a");
    place.write("data/b", "content of b");
    let taken = place.take(&place.path("data"), Keep::Copy).expect("taken");
    let object = place.layout.object(taken.manifest.expect("manifest").files()[1].blake3);
    std::fs::write(&object, "cOntent of b").expect("damaged");
    let (out, options) = (place.path("out"), CheckoutOptions::default());
    let damaged = checkout(&place.layout, taken.hash, &out, &options);
    assert!(matches!(damaged, Err(Error::HashMismatch { path, .. }) if path == object));
    assert!(!out.join("b").exists());
    place.no_temporaries(&out);
    std::fs::remove_file(&object).expect("removed");
    let missing = checkout(&place.layout, taken.hash, &place.path("other"), &options);
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    assert!(!place.path("other").exists(), "all are looked for before the first is written");
}

#[test]
fn nothing_is_written_outside_of_the_target() {
    let place = Place::new();
    let outside = place.path("outside");
    std::fs::create_dir(&outside).expect("folder");
    store_bytes(&place.layout, b"evil").expect("stored");
    let blake3 = blake3::hash(b"evil").into();
    for path in ["../outside/x", "/tmp/stepwell-evil", "a/../../outside/x", "", ".", "a\0b"] {
        let text = Manifest::new(vec![ManifestFile { path: path.to_owned(), bytes: 4, blake3 }]).to_text();
        store_bytes(&place.layout, text.as_bytes()).expect("stored");
        let hash = blake3::hash(text.as_bytes()).into();
        let options = CheckoutOptions { kind: ContentKind::Folder, ..CheckoutOptions::default() };
        let refused = checkout(&place.layout, hash, &place.path("out"), &options);
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{path:?}: {refused:?}");
    }
    // Names that only look dangerous are names.
    let names = ["%2e%2e", "..\\x", "C:\\x", "a/link/x"];
    let file = |path: &&str| ManifestFile { path: (*path).to_owned(), bytes: 4, blake3 };
    let text = Manifest::new(names.iter().map(file).collect()).to_text();
    store_bytes(&place.layout, text.as_bytes()).expect("stored");
    let (hash, out) = (blake3::hash(text.as_bytes()).into(), place.path("out"));
    std::fs::create_dir_all(out.join("a")).expect("folder");
    symlink(&outside, out.join("a/link")).expect("link");
    let files = CheckoutOptions { overwrite: Overwrite::Files, ..CheckoutOptions::default() };
    assert!(fault(checkout(&place.layout, hash, &out, &files)).contains("a link or a file is there"));
    std::fs::remove_file(out.join("a/link")).expect("removed");
    // What was written before the link was met.
    std::fs::remove_file(out.join("%2e%2e")).expect("removed");
    symlink(outside.join("x"), out.join("%2e%2e")).expect("link");
    checkout(&place.layout, hash, &out, &files).expect("checked out");
    assert!(out.join("%2e%2e").symlink_metadata().expect("stat").is_file(), "the link itself was replaced");
    assert_eq!(std::fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn an_object_is_a_file_or_a_folder_as_it_is_told() {
    let place = Place::new();
    place.write("data/a", "a");
    let folder = place.take(&place.path("data"), Keep::Copy).expect("taken").hash;
    let as_file = CheckoutOptions { kind: ContentKind::File, ..CheckoutOptions::default() };
    checkout(&place.layout, folder, &place.path("list"), &as_file).expect("the manifest itself");
    assert!(place.path("list").is_file());
    let file = place.take(&place.write("plain", "{\"path\":\"x\" and no manifest"), Keep::Copy).expect("taken").hash;
    checkout(&place.layout, file, &place.path("back"), &CheckoutOptions::default()).expect("a file");
    let as_folder = CheckoutOptions { kind: ContentKind::Folder, ..CheckoutOptions::default() };
    let refused = checkout(&place.layout, file, &place.path("x"), &as_folder);
    assert!(matches!(refused, Err(Error::Damaged { .. })));
}
