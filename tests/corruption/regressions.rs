//! Defects that the campaign found, each with its story.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use stepwell_engine::{Access, CompactOptions, RunState, Store, doctor};
use stepwell_tests::damage::judge::judge;
use stepwell_tests::damage::look::{Look, look};
use stepwell_tests::damage::samples::quiet_config;
use stepwell_tests::damage::strata::{Change, DEFINITIONS, SLOTS, Stratum};
use stepwell_tests::memory_folder;
use stepwell_tests::random::Random;
use stepwell_tests::tally::Tally;

use crate::kinds;

fn stratum(name: &str) -> &'static Stratum {
    static STRATA: OnceLock<Vec<Stratum>> = OnceLock::new();
    let strata = STRATA.get_or_init(|| kinds::all(memory_folder().path(), &mut Random::new(1)));
    strata.iter().find(|stratum| stratum.name == name).expect("a stratum")
}

/// The engine does right by each of the changes; returns what became of the records.
fn assert_right(name: &str, changes: impl IntoIterator<Item = Change>) -> Tally {
    let (folder, stratum) = (memory_folder(), stratum(name));
    let mut tally = Tally::default();
    for change in changes {
        let verdict = judge(stratum, &change, &folder.path().join("store"), true).expect("a case");
        assert!(verdict.faults.is_empty(), "{change:?}: {:?}", verdict.faults);
        tally.add(&verdict.tally);
    }
    assert_eq!((tally.lost_beyond, tally.invented), (0, 0));
    tally
}

/// A journal that was shorter than its header says was refused whole: one byte cut off cost all 3,500 records of the ring
/// that were in no segment.
#[test]
fn a_cut_journal_keeps_the_records_that_are_left_of_it() {
    let length = stratum("journal tail, cut").sound().len();
    assert_eq!(assert_right("journal tail, cut", [Change::Cut(length - 1)]).lost_within, 1);
    assert_eq!(assert_right("journal tail, cut", [Change::Cut(length - 33)]).lost_within, 2);
}

/// Whoever opened a store for reading was not told of damage in the journal of a dead writer: a record was missing, and
/// neither `gaps` nor `verify` said so.
#[test]
fn damage_in_a_journal_is_told_to_readers() {
    let stratum = stratum("journal tail, bytes");
    assert_eq!(assert_right("journal tail, bytes", [stratum.case(100)]).lost_within, 1);
}

/// Opening a store panicked inside the Parquet reader when a committed segment of a dead writer was damaged, because
/// recovery read it without comparing its BLAKE3; and where the damage could be decoded, the identity of damaged rows was
/// registered.
#[test]
fn a_damaged_segment_of_a_dead_writer_is_told_and_does_not_end_the_process() {
    let stratum = stratum("segment of a dead writer, bytes");
    assert_right(
        "segment of a dead writer, bytes",
        (2768..stratum.cases()).step_by(203).map(|case| stratum.case(case)),
    );
}

/// When the first line of one event log was damaged, no run of the store could be read; and the journal of its writer was
/// recovered by nobody.
#[test]
fn a_writer_whose_first_event_is_damaged_is_recovered_all_the_same() {
    let tally = assert_right("event log of a dead writer, bytes", [Change::Set(20, b"x".to_vec())]);
    assert_eq!(tally.kept, tally.acknowledged);
}

/// An event log that a power cut left empty: its run was in no list, and its journal and segments were read by nobody.
#[test]
fn a_writer_whose_event_log_is_empty_is_recovered_all_the_same() {
    let tally = assert_right("event log of a dead writer, cut", [Change::Cut(0)]);
    assert_eq!(tally.kept, tally.acknowledged);
}

/// A damaged version number in the header of one journal was taken for a newer format before the checksum was looked at,
/// and kept the whole store from being read.
#[test]
fn a_damaged_version_in_a_journal_does_not_hide_the_store() {
    assert_right("journal header, bytes", [Change::Set(8, vec![77])]);
}

/// A damaged catalog kept the store from being opened, also by `stepwell reindex`, which the error asked for.
#[test]
fn a_damaged_catalog_is_built_anew_by_whoever_opens_the_store_for_logging() {
    let stratum = stratum("catalog");
    let folder = memory_folder();
    let root = folder.path().join("store");
    for change in [Change::Cut(5000), Change::Whole(b"this is no database\n".to_vec())] {
        stratum.sample.image.write(&root).expect("the store");
        change.apply(&root.join("catalog.db"), stratum.sound()).expect("damage");
        let damaged = std::fs::read(root.join("catalog.db")).expect("the damaged catalog");
        for access in [Access::Read, Access::Write] {
            let store = Store::open_with(&root, access, quiet_config(4096)).expect("opened");
            assert_eq!(store.snapshot().expect("snapshot").runs().len(), 3);
        }
        assert_eq!(std::fs::read(root.join("quarantine/catalog.db")).expect("a copy"), damaged);
    }
    assert_right("catalog", [Change::Cut(5000)]);
}

/// SQLite has no checksums. A flipped bit in the name of a run was shown as it was, and `verify` found nothing.
#[test]
fn a_catalog_that_is_not_what_the_logs_say_is_told_by_verify() {
    let stratum = stratum("catalog");
    let sound = stratum.sound();
    let at = sound.windows(5).rposition(|window| window == b"run 1").expect("the name of a run");
    assert_right("catalog", [Change::Set(at, b"fun 1".to_vec())]);
}

/// SQLite takes `ParentContExt` for `ParentContext`. A catalog that was built anew in place kept the damaged name, so that `doctor
/// --repair` repaired the same difference each time.
#[test]
fn a_catalog_with_a_damaged_definition_is_replaced() {
    let stratum = stratum("catalog");
    let sound = stratum.sound();
    let name = b"ParentContext";
    let places = sound.windows(name.len()).enumerate().filter(|(_, window)| *window == name).map(|(at, _)| at);
    let changes: Vec<_> = places.map(|at| Change::Set(at, b"ParentContExt".to_vec())).collect();
    assert!(changes.len() >= 3, "the name, the table's name and the text of the definition");
    assert_right("catalog", changes);
}

/// The line that names the segments of a finished run was damaged. Once the catalog was built anew, its rows were in no
/// table, and nobody took the segments up, because the run was finished.
#[test]
fn segments_of_a_finished_run_are_taken_up_when_their_event_is_damaged() {
    let stratum = stratum("event log, bytes");
    let log = String::from_utf8_lossy(stratum.sound()).into_owned();
    let at = log.find("\"event\":\"segments\"").expect("the event");
    let folder = memory_folder();
    let root = folder.path().join("store");
    stratum.sample.image.write(&root).expect("the store");
    let path = root.join(&stratum.sample.image.files[stratum.file].path);
    Change::Set(at, b"x".to_vec()).apply(&path, stratum.sound()).expect("damage");
    std::fs::remove_file(root.join("catalog.db")).expect("no catalog");
    let Look::Seen(view) = look(&root, Access::Write, &stratum.sample.runs) else { panic!("refused") };
    let rows: usize = view.parts.iter().map(|part| part.rows.len()).sum();
    assert_eq!(rows, stratum.sample.records.len());
    assert!(view.is_told());
    let store = Store::open_with(&root, Access::Read, quiet_config(4096)).expect("opened");
    assert!(store.snapshot().expect("snapshot").runs().iter().all(|run| run.state == RunState::Finished));
}

/// The event log of a run that had finished long ago was taken for one that nothing is added to: what recovery took up
/// after a line was damaged, and what `doctor --repair` said of a damaged segment, was not seen.
#[test]
fn what_is_added_to_the_log_of_a_closed_run_is_seen() {
    let (log, segment) = (stratum("event log, bytes"), stratum("segment, bytes"));
    let folder = memory_folder();
    let root = folder.path().join("store");
    log.sample.image.write(&root).expect("the store");
    let log_path = root.join(&log.sample.image.files[log.file].path);
    let at = String::from_utf8_lossy(log.sound()).find("\"event\":\"segments\"").expect("the event");
    Change::Set(at, b"x".to_vec()).apply(&log_path, log.sound()).expect("damage");
    let segment_path = root.join(&segment.sample.image.files[segment.file].path);
    segment.case(3000).apply(&segment_path, segment.sound()).expect("damage");
    std::fs::remove_file(root.join("catalog.db")).expect("no catalog");
    for run in &log.sample.runs {
        let old = SystemTime::now() - Duration::from_secs(3600);
        let folder = std::fs::File::open(root.join("runs").join(run.to_string())).expect("the run");
        folder.set_modified(old).expect("an old folder");
    }
    drop(Store::open_with(&root, Access::Read, quiet_config(4096)).expect("opened"));
    let store = Store::open_with(&root, Access::Write, quiet_config(4096)).expect("opened");
    let rows = |store: &Store| -> u64 {
        store.snapshot().expect("snapshot").segments().iter().map(|segment| segment.rows).sum()
    };
    assert_eq!(rows(&store), log.sample.records.len() as u64);
    let report = doctor::repair(&root, None, &quiet_config(4096), &mut |_, _| {}).expect("repaired");
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(rows(&store), (log.sample.records.len() - segment.own.len()) as u64);
    assert!(doctor::examine(&root, None, &mut |_, _| {}).expect("examined").is_healthy());
}

/// Records whose metric no journal defines any more were told, and their journal was deleted; kept by one recovery, it was
/// deleted by the next, which began above them.
#[test]
fn a_journal_with_records_that_cannot_be_named_is_kept() {
    let stratum = stratum("event log of a dead writer, bytes");
    let (image, run) = (&stratum.sample.image, stratum.sample.runs[0]);
    let folder = memory_folder();
    let root = folder.path().join("store");
    let journal = &image.files[image.only(".journal")];
    // The first of three definitions, and the last.
    for (offset, lost) in [(8, 35), (8 + 48, 12)] {
        image.write(&root).expect("the store");
        let damage = Change::Set(DEFINITIONS + offset, b"x".to_vec());
        damage.apply(&root.join(&journal.path), &journal.bytes).expect("damage");
        for _ in 0..3 {
            let store = Store::open_with(&root, Access::Write, quiet_config(4096)).expect("opened");
            let gaps = store.snapshot().expect("snapshot").gaps().expect("gaps");
            let told: Vec<_> =
                gaps.iter().map(|told| (told.run_id, told.gap.kind.as_str(), told.gap.records)).collect();
            assert_eq!(told, [(run, "undefined_metric", lost)]);
            assert!(root.join(&journal.path).exists(), "the journal is the only place of the records");
        }
        doctor::repair(&root, None, &quiet_config(4096), &mut |_, _| {}).expect("repaired");
        assert!(!root.join(&journal.path).exists());
        let kept = Path::new("quarantine").join(&journal.path);
        assert_eq!(std::fs::read(root.join(kept)).expect("set aside")[SLOTS..], journal.bytes[SLOTS..]);
    }
}

/// A marker that was not UTF-8 was an error of the file system, and a damaged one left the user without a remedy.
#[test]
fn a_damaged_marker_names_its_remedy() {
    let stratum = stratum("marker, bytes");
    let folder = memory_folder();
    let root = folder.path().join("store");
    stratum.sample.image.write(&root).expect("the store");
    std::fs::write(root.join("stepwell.json"), [0xff, 0xfe]).expect("damage");
    let Look::Refused(error) = look(&root, Access::Write, &stratum.sample.runs) else { panic!("opened") };
    assert!(error.is_corruption() && error.to_string().contains("stepwell doctor --repair"), "{error}");
    let report = doctor::repair(&root, None, &quiet_config(4096), &mut |_, _| {}).expect("repaired");
    assert!(report.is_complete(), "{report:?}");
    assert!(matches!(look(&root, Access::Write, &stratum.sample.runs), Look::Seen(_)));
}

/// A writer whose first event was damaged was recovered as one of an unknown pipeline, although the footer of its segment
/// says who it was; and the segments that recovery wrote said "(unknown)" in their footers from then on.
#[test]
fn the_first_event_of_a_damaged_log_is_found_in_a_segment() {
    let stratum = stratum("event log of a dead writer, bytes");
    let folder = memory_folder();
    let root = folder.path().join("store");
    stratum.sample.image.write(&root).expect("the store");
    let path = root.join(&stratum.sample.image.files[stratum.file].path);
    for change in [Change::Set(20, b"x".to_vec()), Change::Cut(0)] {
        stratum.sample.image.write(&root).expect("the store");
        std::fs::remove_file(root.join("catalog.db")).expect("no catalog");
        change.apply(&path, stratum.sound()).expect("damage");
        let store = Store::open_with(&root, Access::Write, quiet_config(4096)).expect("opened");
        let snapshot = store.snapshot().expect("snapshot");
        let run = &snapshot.runs()[0];
        assert_eq!((run.pipeline.as_str(), run.stage.as_str(), run.state), ("digits", "train", RunState::Died));
        let gaps = snapshot.gaps().expect("gaps");
        assert!(gaps.iter().any(|told| told.gap.detail.contains("who the writer was is lost")), "{gaps:?}");
    }
}

/// The doctor set a damaged segment aside that compaction had made. From then on nothing that counted was damaged, so that the
/// files whose place it had taken were removed after their grace period: the last copies of its rows.
#[test]
fn replaced_files_stay_when_a_segment_that_took_their_place_was_set_aside() {
    let stratum = stratum("compaction: new segment beside old files, bytes");
    let (image, run) = (&stratum.sample.image, stratum.sample.runs[0]);
    let folder = memory_folder();
    let root = folder.path().join("store");
    image.write(&root).expect("the store");
    let damaged = root.join(&image.files[stratum.file].path);
    stratum.case(3000).apply(&damaged, stratum.sound()).expect("damage");
    let mut config = quiet_config(4096);
    config.replaced_grace = Duration::ZERO;
    let report = doctor::repair(&root, None, &config, &mut |_, _| {}).expect("repaired");
    assert!(report.is_complete() && !damaged.exists(), "{report:?}");
    for _ in 0..2 {
        let store = Store::open_with(&root, Access::Write, config.clone()).expect("opened");
        let mut compact = CompactOptions::default();
        compact.remove_now = true;
        let report = store.compact(&compact, &mut |_, _| {}).expect("nothing is due");
        assert_eq!((report.removed.0, report.waiting.0), (0, 4));
    }
    let is_there = |file: &&usize| root.join(&image.files[**file].path).exists();
    let segments = image.all(".parquet");
    assert_eq!(segments.iter().filter(is_there).count(), segments.len() - 1, "{run}: all but the damaged one");
}
