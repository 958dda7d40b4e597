//! Objects that nobody names are found and removed, and no other.

use std::path::Path;
use std::time::Duration;

use stepwell_engine::objects::{Fate, GcOptions, Keep, Manifest, ManifestFile, TakeOptions, collect_garbage, take_in};
use stepwell_engine::{ArtifactSpec, Direction, Error, RunOptions, Store};

use crate::common::{open, small_config};

/// Without a grace period, so that a test need not wait for a day.
fn at_once() -> GcOptions {
    GcOptions { grace: Duration::ZERO, dry_run: false }
}

/// A store with a run that names a file and a folder, and three objects that nobody names.
fn place(folder: &Path) -> Store {
    let store = open(&folder.join("store"), small_config());
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        std::fs::write(&path, text).expect("written");
        path
    };
    write("tree/a", "in the folder");
    write("tree/b/c", "deeper in the folder");
    let named = write("named", "named by an event");
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &named)).expect("file");
    run.log_artifact(Direction::Output, ArtifactSpec::new("Model", folder.join("tree"))).expect("folder");
    run.finish().expect("finished");
    write("forgotten/x", "forgotten");
    write("forgotten/y", "forgotten as well");
    take_in(store.layout(), &folder.join("forgotten"), &TakeOptions::keep(Keep::Copy)).expect("taken in");
    store
}

#[test]
fn what_no_event_names_is_removed_and_the_rest_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let store = place(folder.path());
    let dry = collect_garbage(store.layout(), &GcOptions { dry_run: true, ..at_once() }).expect("dry run");
    assert_eq!((dry.referenced, dry.count(&Fate::Removable).0), (4, 3));
    let again = collect_garbage(store.layout(), &at_once()).expect("removed");
    assert_eq!(
        (again.referenced, again.count(&Fate::Removed).0, again.count(&Fate::Removed).1),
        (4, 3, dry.count(&Fate::Removable).1)
    );
    for object in &again.unreferenced {
        assert!(!store.layout().object(object.hash).exists());
    }
    assert!(collect_garbage(store.layout(), &at_once()).expect("nothing").unreferenced.is_empty());
    let verified = store.verify(&mut |_, _| {}).expect("verified");
    assert!(verified.damaged.is_empty(), "{:?}", verified.damaged);
}

#[test]
fn what_was_stored_a_moment_ago_is_left_alone_by_default() {
    let folder = tempfile::tempdir().expect("folder");
    let store = place(folder.path());
    let found = collect_garbage(store.layout(), &GcOptions { dry_run: false, ..GcOptions::default() }).expect("found");
    assert_eq!((found.count(&Fate::Young).0, found.count(&Fate::Removed).0), (3, 0));
    assert!(GcOptions::default().dry_run, "nothing is removed unless it is asked for");
}

#[test]
fn a_damaged_event_log_or_manifest_stops_it() {
    let folder = tempfile::tempdir().expect("folder");
    let store = place(folder.path());
    let runs = std::fs::read_dir(store.layout().runs()).expect("runs");
    let run = runs.map(|entry| entry.expect("entry").path()).next().expect("run");
    let names = std::fs::read_dir(&run).expect("listed").map(|entry| entry.expect("entry").path());
    let log = names.into_iter().find(|path| path.to_string_lossy().ends_with(".events.jsonl")).expect("log");
    let whole = std::fs::read(&log).expect("log");
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&log, &damaged).expect("damaged");
    assert!(matches!(collect_garbage(store.layout(), &at_once()), Err(Error::Damaged { path, .. }) if path == log));
    std::fs::write(&log, &whole).expect("whole");
    let file = |path: &str, text: &[u8]| ManifestFile {
        path: path.to_owned(),
        bytes: text.len() as u64,
        blake3: blake3::hash(text).into(),
    };
    let manifest = Manifest::new(vec![file("a", b"in the folder"), file("b/c", b"deeper in the folder")]);
    let object = store.layout().object(blake3::hash(manifest.to_text().as_bytes()).into());
    let text = std::fs::read_to_string(&object).expect("the manifest is an object");
    std::fs::write(&object, text.replace("\"a\"", "\"z\"")).expect("damaged");
    assert!(
        matches!(collect_garbage(store.layout(), &at_once()), Err(Error::HashMismatch { path, .. }) if path == object)
    );
}

#[test]
fn objects_named_by_events_of_a_newer_version_stay() {
    let folder = tempfile::tempdir().expect("folder");
    let store = place(folder.path());
    let before = collect_garbage(store.layout(), &GcOptions { dry_run: true, ..at_once() }).expect("dry run");
    let kept = before.unreferenced[0].hash;
    let body = format!(r#"{{"n":0,"time":5,"event":"teleported","to":"objects/{kept}""#);
    let line = format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes()));
    let run = store.layout().runs().join("0190b2f4-6f1e-7c3a-9f6e-2d5a1c0b9e8f");
    std::fs::create_dir(&run).expect("folder");
    std::fs::write(run.join("w-0-0-00000001.events.jsonl"), line).expect("written");
    let after = collect_garbage(store.layout(), &at_once()).expect("removed");
    assert!(store.layout().object(kept).exists());
    assert_eq!(after.count(&Fate::Removed).0 + 1, before.count(&Fate::Removable).0);
}
