use std::fs;
use std::time::{Duration, SystemTime};

use stepwell_engine::doctor::{self, FindingKind as Kind, Severity};
use stepwell_engine::{ArtifactSpec, Direction, Error, RunOptions, Store};

use super::{Place, damage_line, flip_middle, kinds, small_config, the, while_nothing_starts};

#[test]
fn a_store_that_does_not_open_can_be_examined_and_repaired() {
    let place = Place::new();
    place.finished(1000);
    place.died(1000);
    fs::write(place.layout().marker(), "not JSON").expect("write");
    fs::write(place.layout().catalog(), [b'x'; 5000]).expect("write");
    assert!(Store::open(place.path()).is_err());
    let report = place.examine();
    let found = kinds(&report);
    assert!(found.contains(&Kind::MarkerDamaged) && found.contains(&Kind::CatalogDamaged), "{found:?}");
    place.heal();
    assert_eq!(place.rows().len(), 2100 + 2000);
    assert_eq!(fs::read_to_string(place.layout().marker()).expect("marker"), "{\"format\":1}\n");
}

#[test]
fn a_marker_that_is_missing_is_written_and_a_newer_one_stops_every_repair() {
    let place = Place::new();
    place.died(100);
    fs::remove_file(place.layout().marker()).expect("removed");
    assert_eq!(the(&place.examine(), Kind::MarkerMissing).severity, Severity::Note);
    place.heal();
    let writer = place.died(100);
    fs::write(place.layout().marker(), "{\"format\":9}\n").expect("write");
    let report = place.repair();
    assert_eq!(the(&report.found, Kind::MarkerNewer).repair, None);
    assert!(report.done.is_empty() && place.journal_of(writer).exists());
}

#[test]
fn where_there_is_no_store_there_is_nothing_to_examine() {
    let place = Place::new();
    let examine = |path: &std::path::Path| doctor::examine(path, None, &mut |_, _| {}).expect_err("no store");
    assert!(matches!(examine(&place.path()), Error::NoStore { .. }));
    let file = place.folder.path().join("file");
    fs::write(&file, "").expect("write");
    assert!(matches!(examine(&file), Error::StoreIsAFile { .. }));
}

#[test]
fn temporary_files_whose_owner_is_gone_are_removed_and_others_stay() {
    let place = Place::new();
    let writer = place.finished(100);
    let (_store, run) = place.start(10);
    let layout = place.layout();
    let folder = layout.run(writer.run);
    fs::create_dir_all(layout.run(run.id()).join("m")).expect("folder");
    let old = [
        folder.join("m").join(format!(".tmp-{}-9", writer.writer)),
        folder.join(".tmp-w-0-0-00000001.events.jsonl"),
        layout.root().join(".tmp-marker-1"),
    ];
    let new =
        [layout.root().join(".tmp-marker-2"), layout.run(run.id()).join("m").join(format!(".tmp-{}-3", run.writer()))];
    for path in old.iter().chain(&new) {
        fs::write(path, "half").expect("write");
    }
    for path in &old[1..] {
        let file = fs::File::options().write(true).open(path).expect("open");
        file.set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).expect("aged");
    }
    let report = place.examine();
    assert_eq!(report.findings.iter().filter(|finding| finding.kind == Kind::TemporaryFile).count(), 3);
    place.heal();
    assert!(old.iter().all(|path| !path.exists()) && new.iter().all(|path| path.exists()));
}

#[test]
fn objects_are_compared_with_their_names() {
    let place = Place::new();
    let store = place.open();
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let content = place.folder.path().join("content");
    let mut hashes = Vec::new();
    for text in ["first", "second"] {
        fs::write(&content, text).expect("write");
        let spec = ArtifactSpec::new("Dataset", &content);
        hashes.push(run.log_artifact(Direction::Input, spec).expect("stored").hash);
    }
    run.finish().expect("finish");
    drop((store, run));
    flip_middle(&place.layout().object(hashes[0]));
    fs::remove_file(place.layout().object(hashes[1])).expect("removed");
    let misnamed = place.layout().object(hashes[0]).with_file_name("photo.png");
    fs::write(&misnamed, "x").expect("write");
    let report = place.repair();
    assert_eq!(kinds(&report.found), [Kind::ObjectMisnamed, Kind::ObjectDamaged, Kind::ObjectMissing]);
    assert!(!misnamed.exists() && !report.is_complete(), "what is missing stays missing");
    // The damaged one is out of the way: stored again, it is there again.
    let store = place.open();
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    for text in ["first", "second"] {
        fs::write(&content, text).expect("write");
        run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &content)).expect("stored");
    }
    run.finish().expect("finish");
    assert!(place.examine().is_healthy());
}

#[test]
fn one_run_can_be_examined_and_repaired_alone() {
    let place = Place::new();
    let (one, other) = (place.finished(100), place.finished(100));
    for writer in [one, other] {
        damage_line(&place.log_of(writer), "\"lr\"");
    }
    let run = doctor::find_run(&place.path(), &one.run.to_string()[..]).expect("found");
    assert_eq!(run, one.run);
    assert!(matches!(doctor::find_run(&place.path(), "best"), Err(Error::AmbiguousRun { count: 2, .. })));
    assert!(matches!(doctor::find_run(&place.path(), "worst"), Err(Error::NotFound { .. })));
    let repaired = while_nothing_starts(|| doctor::repair(&place.path(), Some(run), &small_config(), &mut |_, _| {}));
    let report = repaired.expect("repaired");
    assert!(report.is_complete() && report.found.findings.len() == 1, "{:?}", report.found.findings);
    let left: Vec<_> = place.examine().findings.into_iter().filter(|finding| finding.run.is_some()).collect();
    assert!(left.len() == 1 && left[0].run == Some(other.run), "{left:?}");
}
