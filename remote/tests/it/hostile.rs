//! Remotes that lie: nothing of it enters the store, and nothing outside of it is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use stepwell_remote::{Error, FailureKind, PullOptions, PushOptions, Report};

use crate::{Place, assert_equal, files, log_run, pull, push};

fn find(folder: &Path, suffix: &str) -> PathBuf {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("list") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                return path;
            }
        }
    }
    panic!("no {suffix}");
}

fn failing(place: &Place) -> Report {
    let b = place.store("b");
    let report = place.remote().pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert_eq!(report.failure(), Some(FailureKind::Damaged), "{report:?}");
    assert!(files(&b).keys().all(|name| !name.ends_with("events.jsonl")), "no log names what is not there");
    assert!(b.snapshot().expect("snapshot").segments().is_empty());
    report
}

fn pushed() -> Place {
    let place = Place::new();
    let a = place.store("a");
    log_run(&place, &a, 1).finish().expect("finish");
    push(&place.remote(), &a);
    place
}

#[test]
fn damaged_segments_objects_and_parts_are_refused_by_name_and_a_sound_copy_heals() {
    for (suffix, folder) in [(".parquet", "runs"), ("", "objects"), ("events.jsonl", "logs")] {
        for change in ["flipped", "longer", "endless"] {
            let place = pushed();
            let path = find(&place.path("remote").join(folder), suffix);
            let sound = fs::read(&path).expect("read");
            let mut bytes = sound.clone();
            match change {
                "flipped" => bytes[sound.len() / 2] ^= 1,
                "longer" => bytes.push(b'\n'),
                _ => bytes.resize(sound.len() + (80 << 20), 0),
            }
            fs::write(&path, bytes).expect("write");
            let report = failing(&place);
            let name = path.file_name().expect("name").to_string_lossy().into_owned();
            let said = report.failures[0].error.to_string();
            assert!(said.contains(&name), "{change} {folder}: {said}");
            assert!(!files(&place.store("b")).keys().any(|known| known.ends_with(&name)), "{said}");
            fs::write(&path, sound).expect("write");
            let b = place.store("b");
            pull(&place.remote(), &b);
            assert_equal(&place.store("a"), &b);
        }
    }
}

#[test]
fn a_file_that_is_missing_is_told_and_a_checked_push_brings_it_back() {
    let place = pushed();
    let path = find(&place.path("remote/runs"), ".parquet");
    fs::remove_file(&path).expect("remove");
    assert!(matches!(failing(&place).failures[0].error, Error::Missing { .. }));
    let check = PushOptions { check: true, ..PushOptions::default() };
    let report = place.remote().push(&place.store("a"), &check, &|_| {}).expect("push");
    assert_eq!((report.segments, report.objects, report.parts), (1, 0, 0));
    pull(&place.remote(), &place.store("b"));
    assert_equal(&place.store("a"), &place.store("b"));
}

#[test]
fn names_that_are_no_parts_are_refused_and_the_rest_is_pulled() {
    let place = pushed();
    let logs = place.path("remote/logs");
    let part = find(&logs, "events.jsonl");
    let file = part.file_name().expect("name").to_string_lossy().into_owned();
    let run =
        part.parent().and_then(Path::parent).and_then(Path::file_name).expect("run").to_string_lossy().into_owned();
    for bad in [
        format!("%2e%2e/w-0-0-00000000/{file}"),
        format!("{run}/%2e%2e/{file}"),
        format!("{run}/w-0-0-00000000/..\\..\\{file}"),
        format!("{run}/w-0-0-00000000/C:{file}"),
        format!("{run}/CON/{file}"),
        format!("{run}/w-0-0-00000000/new\nline"),
        format!("{}/w-0-0-00000000/{file}", run.to_uppercase()),
    ] {
        let path = logs.join(bad);
        fs::create_dir_all(path.parent().expect("parent")).expect("create");
        fs::copy(&part, path).expect("copy");
    }
    let b = place.store("b");
    let report = place.remote().pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert_eq!(report.failures.len(), 7, "{:?}", report.failures);
    assert!(report.failures.iter().all(|failure| matches!(failure.error, Error::RefusedName { .. })));
    assert_equal(&place.store("a"), &b);
}

/// A part whose hashes all fit, made by somebody who can write to the remote, and whose log names a segment outside.
#[test]
fn a_log_that_names_a_segment_elsewhere_is_refused() {
    for evil in ["../../../../outside.parquet", "/tmp/outside.parquet", "x/../../y.parquet", "C:\\y.parquet", "a\0b"] {
        let place = pushed();
        let part = find(&place.path("remote/logs"), "events.jsonl");
        let text = fs::read_to_string(&part).expect("read");
        let (head, lines) = text.split_once('\n').expect("head");
        let lines: String = lines.lines().map(|line| renamed(line, evil) + "\n").collect();
        let content = format!("{head}\n{lines}");
        let name = format!(
            "{:012}-{:012}-{}-{}.events.jsonl",
            0,
            lines.len(),
            blake3::hash(lines.as_bytes()),
            blake3::hash(content.as_bytes())
        );
        fs::write(part.with_file_name(name), content).expect("write");
        fs::remove_file(part).expect("remove");
        let report = failing(&place);
        assert!(matches!(report.failures[0].error, Error::RefusedName { .. }), "{evil:?}: {report:?}");
    }
}

fn renamed(line: &str, evil: &str) -> String {
    let mut line: stepwell_engine::events::EventLine = stepwell_engine::events::EventLine::decode(line).expect("line");
    if let stepwell_engine::events::Event::Segments(event) = &mut line.event {
        event.segments.iter_mut().for_each(|segment| evil.clone_into(&mut segment.file));
    }
    line.encode().trim_end().to_owned()
}

#[test]
fn nothing_is_written_through_links_out_of_the_store_or_the_remote() {
    let place = pushed();
    let outside = place.path("outside");
    fs::create_dir(&outside).expect("create");
    let b = place.store("b");
    symlink(&outside, b.layout().root().join("objects")).expect("link");
    let report = place.remote().pull(&b, &PullOptions::default(), &|_| {}).expect("pull");
    assert!(matches!(report.failures[0].error, Error::Symlink { .. }), "{report:?}");
    let a = place.store("a");
    fs::remove_dir_all(place.path("remote")).expect("remove");
    fs::create_dir(place.path("remote")).expect("create");
    symlink(&outside, place.path("remote/runs")).expect("link");
    let report = place.remote().push(&a, &PushOptions::default(), &|_| {}).expect("push");
    assert!(matches!(report.failures[0].error, Error::Symlink { .. }), "{report:?}");
    assert_eq!(fs::read_dir(&outside).expect("list").count(), 0);
}

#[test]
fn a_damaged_segment_of_the_store_is_not_pushed() {
    let place = Place::new();
    let a = place.store("a");
    log_run(&place, &a, 1).finish().expect("finish");
    let path = find(&place.path("a/runs"), ".parquet");
    let mut bytes = fs::read(&path).expect("read");
    bytes[10] ^= 1;
    fs::write(&path, bytes).expect("write");
    let report = place.remote().push(&a, &PushOptions::default(), &|_| {}).expect("push");
    assert!(matches!(report.failures[0].error, Error::LocalDamaged { .. }), "{report:?}");
    assert!(!place.path("remote/logs").exists(), "no log names what is not there");
    let left = fs::read_dir(path_of_segments(&place, &path)).map(Iterator::count).unwrap_or(0);
    assert_eq!(left, 0);
}

fn path_of_segments(place: &Place, path: &Path) -> PathBuf {
    let below = path.strip_prefix(place.path("a")).expect("inside");
    place.path("remote").join(below.parent().expect("folder"))
}
