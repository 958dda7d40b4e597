use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

use stepwell_engine::{Access, Error, RunOptions, RunState, Store};

use crate::common::{open, rows, small_config};
use crate::dead::{calm, starting, wait_until_gone};

/// A run whose handles are dropped is a run whose writer is gone: its lock is released, its journal stays.
fn abandoned(path: &std::path::Path, steps: i64) -> (Store, stepwell_engine::RunId) {
    let store = open(path, small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let row = run.row("m", &["x", "y"]).expect("row");
    let mut log = run.logger().expect("logger");
    for step in 0..steps {
        log.log_row(&row, step, &[step as f64, 0.5]).expect("logged");
    }
    let id = run.id();
    drop((log, run));
    wait_until_gone(&store);
    (store, id)
}

#[test]
fn opening_recovers_dead_writers_once() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (_, id) = abandoned(folder.path(), 1000);
    let reader = Store::open_with(folder.path(), Access::Read, small_config()).expect("reader");
    assert!(reader.recovery().writers.is_empty(), "reading repairs nothing");
    let snapshot = reader.snapshot().expect("snapshot");
    assert_eq!((rows(&snapshot).len(), snapshot.runs()[0].state), (2000, RunState::Died));
    let store = open(folder.path(), small_config());
    let recovered = &store.recovery().writers;
    assert_eq!((recovered.len(), recovered[0].rows_recovered, recovered[0].run_id), (1, 2000, id));
    assert!(recovered[0].gaps.is_empty());
    let snapshot = store.snapshot().expect("snapshot");
    assert!(snapshot.live().is_empty());
    assert_eq!((rows(&snapshot).len(), snapshot.runs()[0].state), (2000, RunState::Died));
    let artifacts = snapshot.artifacts().expect("artifacts");
    assert_eq!(artifacts.iter().filter(|artifact| artifact.artifact_type == "Step_Metrics").count(), 1);
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    assert!(open(folder.path(), small_config()).recovery().writers.is_empty(), "nothing is left to recover");
}

#[test]
fn resuming_is_another_attempt_of_the_same_run() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (_, id) = abandoned(folder.path(), 10);
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s").run_id(id)).expect("resumed");
    assert_eq!(run.writer().attempt, 1);
    let metric = run.metric("m", "x").expect("metric");
    run.logger().expect("logger").log(metric, 10, 0.0).expect("logged");
    run.finish().expect("finish");
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!((snapshot.runs().len(), rows(&snapshot).len()), (1, 21));
    let other = store.start_run(RunOptions::new("p", "elsewhere").run_id(id)).expect_err("another stage");
    assert!(matches!(other, Error::InvalidSetting { .. }), "{other}");
}

#[test]
fn rubbish_of_a_crash_goes_and_damage_is_told() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (store, id) = abandoned(folder.path(), 1000);
    let writer = store.snapshot().expect("snapshot").runs()[0].writers[0].writer;
    let layout = store.layout().clone();
    drop(store);
    let name_folder = layout.run(id).join("m");
    std::fs::create_dir_all(&name_folder).expect("folder");
    let temporary = name_folder.join(format!(".tmp-{writer}-0"));
    std::fs::write(&temporary, "half a segment").expect("write");
    // One slot is damaged, and a line of the event log was cut off in the middle of writing.
    let journal = File::options().write(true).open(layout.journal(id, writer, 0)).expect("journal");
    let slots = journal.metadata().expect("metadata").len() - 4096 * 32;
    journal.write_all_at(&[0xff], slots + 100 * 32 + 17).expect("damage");
    let events = layout.events(id, writer);
    let mut text = std::fs::read(&events).expect("log");
    text.extend(b"{\"n\":99,\"time\":");
    std::fs::write(&events, text).expect("write");
    let store = open(folder.path(), small_config());
    let recovered = &store.recovery().writers[0];
    assert_eq!(recovered.rows_recovered, 1999);
    assert_eq!(recovered.gaps.iter().map(|gap| gap.records).sum::<u64>(), 1);
    assert!(!temporary.exists());
    let gaps = store.snapshot().expect("snapshot").gaps().expect("gaps");
    assert_eq!(gaps.len(), 1, "{gaps:?}");
}

#[test]
fn a_lost_page_is_a_gap_and_the_records_behind_it_are_kept() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (store, id) = abandoned(folder.path(), 1000);
    let writer = store.snapshot().expect("snapshot").runs()[0].writers[0].writer;
    let journal = File::options().write(true).open(store.layout().journal(id, writer, 0)).expect("journal");
    let slots = journal.metadata().expect("metadata").len() - 4096 * 32;
    journal.write_all_at(&[0; 4096], slots + 4096).expect("a page of zeros");
    let store = open(folder.path(), small_config());
    let recovered = &store.recovery().writers[0];
    assert_eq!((recovered.rows_recovered, recovered.gaps[0].records), (2000 - 128, 128));
}

// A recovery was cut short behind a segment that no event names; a power cut then took the journal's page with its rows. The
// next recovery gave the same number to another segment and took the first one up as well: artifacts named both by one number.
#[test]
fn a_segment_that_no_event_names_keeps_its_number_for_itself() {
    let _starting = starting();
    let folder = tempfile::tempdir().expect("folder");
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let store = open(&first, small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let (a, b) = (run.metric("a", "x").expect("metric"), run.metric("b", "x").expect("metric"));
    let mut log = run.logger().expect("logger");
    // A page of the journal holds 128 records.
    for (metric, steps) in [(a, 0..128), (b, 128..200)] {
        steps.for_each(|step| log.log(metric, step, 0.5).expect("logged"));
    }
    let (id, writer) = (run.id(), run.writer());
    drop((log, run, store));
    let copied = std::process::Command::new("cp").arg("-r").args([&first, &second]).status().expect("cp");
    assert!(copied.success());
    let segments = open(&second, small_config()).snapshot().expect("snapshot").segments().to_vec();
    let orphan = segments.iter().find(|segment| segment.metrics_name == "a").expect("a segment");
    let place = first.join(orphan.path.strip_prefix(&second).expect("below the store"));
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("folder");
    std::fs::copy(&orphan.path, place).expect("copied");
    let path = stepwell_engine::layout::Layout::new(first.clone()).journal(id, writer, 0);
    let journal = File::options().write(true).open(path).expect("journal");
    let slots = journal.metadata().expect("metadata").len() - 4096 * 32;
    journal.write_all_at(&[0; 4096], slots).expect("a page of zeros");

    let snapshot = open(&first, small_config()).snapshot().expect("snapshot");
    assert_eq!(rows(&snapshot).len(), 200);
    let numbers: std::collections::BTreeSet<u64> = snapshot.segments().iter().map(|segment| segment.n).collect();
    assert_eq!(numbers.len(), snapshot.segments().len(), "{:?}", snapshot.segments());
}

#[test]
fn a_newer_journal_or_store_is_refused() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (store, id) = abandoned(folder.path(), 10);
    let writer = store.snapshot().expect("snapshot").runs()[0].writers[0].writer;
    let layout = store.layout().clone();
    drop(store);
    let journal = File::options().write(true).open(layout.journal(id, writer, 0)).expect("journal");
    // The header and its copy.
    for offset in [8, 3072 + 8] {
        journal.write_all_at(&2_u32.to_le_bytes(), offset).expect("newer");
    }
    let store = open(folder.path(), small_config());
    let failures = &store.recovery().failures;
    assert!(failures[0].2.contains("format version 2"), "{failures:?}");
    std::fs::write(layout.marker(), "{\"format\":9}\n").expect("write");
    let error = Store::open(folder.path()).expect_err("newer");
    assert!(matches!(error, Error::NewerFormat { found: 9, .. }), "{error}");
}

/// The segment files of a run.
fn segments_in(store: &Store, id: stepwell_engine::RunId) -> Vec<std::path::PathBuf> {
    let folder = store.layout().run(id).join("m");
    std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()).collect()
}

/// A segment whose event was damaged used to be deleted by recovery, on the belief that its rows were in the journal; they
/// had been recycled, and were lost for good.
#[test]
fn a_segment_whose_event_is_damaged_is_taken_up_again() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let row = run.row("m", &["x", "y"]).expect("row");
    let mut log = run.logger().expect("logger");
    for step in 0..10_000 {
        log.log_row(&row, step, &[step as f64, 0.5]).expect("logged");
    }
    run.commit("m").expect("commit");
    let (id, writer) = (run.id(), run.writer());
    drop((log, run));
    wait_until_gone(&store);
    let events = store.layout().events(id, writer);
    let text = std::fs::read_to_string(&events).expect("log");
    let damaged = text.replacen("\"event\":\"segments\"", "\"event\":\"Segments\"", 1);
    assert_ne!(damaged, text);
    std::fs::write(&events, damaged).expect("write");
    let before = segments_in(&store, id).len();
    drop(store);
    let store = open(folder.path(), small_config());
    assert!(store.recovery().failures.is_empty(), "{:?}", store.recovery().failures);
    let snapshot = store.snapshot().expect("snapshot");
    let found = rows(&snapshot);
    crate::common::assert_distinct(&found);
    assert_eq!((found.len(), segments_in(&store, id).len()), (20_000, before));
}

/// Killed between publishing a segment and the event that names it: the rows are in the journal, and the file goes.
#[test]
fn a_segment_whose_rows_are_in_the_journal_still_goes() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (store, id) = abandoned(folder.path(), 100);
    let writer = store.snapshot().expect("snapshot").runs()[0].writers[0].writer;
    let layout = store.layout().clone();
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).expect("folder");
    std::fs::copy(layout.events(id, writer), kept.join("events")).expect("copy");
    std::fs::copy(layout.journal(id, writer, 0), kept.join("journal")).expect("copy");
    drop(store);
    drop(open(folder.path(), small_config()));
    // Back to the moment before the event was written; the segment that recovery made is there already.
    std::fs::copy(kept.join("events"), layout.events(id, writer)).expect("copy");
    std::fs::create_dir_all(layout.journals(id, writer)).expect("folder");
    std::fs::copy(kept.join("journal"), layout.journal(id, writer, 0)).expect("copy");
    let store = open(folder.path(), small_config());
    assert!(store.recovery().failures.is_empty(), "{:?}", store.recovery().failures);
    assert_eq!(store.recovery().writers[0].rows_recovered, 200);
    assert_eq!(segments_in(&store, id).len(), 1);
    assert_eq!(rows(&store.snapshot().expect("snapshot")).len(), 200);
}

#[test]
fn the_journal_of_another_ring_is_no_second_journal() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let (store, id) = abandoned(folder.path(), 100);
    let writer = store.snapshot().expect("snapshot").runs()[0].writers[0].writer;
    let layout = store.layout();
    std::fs::copy(layout.journal(id, writer, 0), layout.journal(id, writer, 7)).expect("copy");
    let store = open(folder.path(), small_config());
    assert_eq!(rows(&store.snapshot().expect("snapshot")).len(), 200);
    assert!(store.recovery().writers[0].gaps.iter().any(|gap| gap.ring == 7), "it is told");
}

/// A power cut brought the journals of a run back that had just finished, without their content. Recovery added a line to the log of
/// the closed run, and changed nothing else in its folder: the catalog never saw the line, and `verify` named it as damaged from then on.
#[test]
fn what_recovery_adds_to_the_log_of_a_finished_run_is_indexed() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let row = run.row("m", &["x"]).expect("row");
    run.logger().expect("logger").log_row(&row, 0, &[0.5]).expect("logged");
    let (id, journals) = (run.id(), store.layout().journals(run.id(), run.writer()));
    run.finish().expect("finish");
    drop((run, store));

    std::fs::create_dir(&journals).expect("the folder is back");
    std::fs::write(journals.join("0.journal"), [0; 4096]).expect("the journal is back");
    let run_folder = File::open(journals.parent().expect("the run")).expect("the folder of the run");
    run_folder.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("long ago");
    let store = open(folder.path(), small_config());
    assert_eq!(store.recovery().writers.len(), 1);
    let gaps = store.snapshot().expect("snapshot").gaps().expect("gaps");
    assert_eq!(gaps.iter().map(|gap| gap.run_id).collect::<Vec<_>>(), [id]);
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
}
