//! Files that go away under a live writer.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stepwell_engine::{Access, RunOptions, Store};
use stepwell_tests::board::{CALLS_MAX, Signal};
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::volume::memory_folder;
use stepwell_tests::{METRICS_NAME, tight_config};

use crate::training::Training;

/// All journals below a folder.
pub fn journals(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(journals(&path));
        } else if path.extension().is_some_and(|extension| extension == "journal") {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_journal_deleted_under_its_writer_costs_nothing_while_the_writer_lives() {
    let folder = memory_folder();
    let mut training = Training::start(&folder.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(6_000);
    let journals = journals(&training.store);
    assert!(!journals.is_empty());
    journals.iter().for_each(|journal| std::fs::remove_file(journal).expect("deleted"));
    training.wait_for_taken(3 * 4096);
    let report = training.end_well();
    let checked = training.check(&report).unwrap_or_else(|fault| panic!("{fault}"));
    assert_eq!(checked.tally.kept, training.board.get(Signal::Taken));
}

/// Removes a folder in which a writer still makes files: a file made between the listing of a folder and its removal
/// leaves the folder not empty, so it is listed again.
fn remove(folder: &Path) {
    while let Err(error) = std::fs::remove_dir_all(folder) {
        match error.kind() {
            ErrorKind::NotFound => return,
            ErrorKind::DirectoryNotEmpty => {}
            _ => panic!("{} was not removed: {error}", folder.display()),
        }
    }
}

// The store's removal once failed for a file that the sealer had made meanwhile, and the test with it.
#[test]
fn a_store_removed_under_its_writer_is_told_and_does_not_end_training() {
    let folder = memory_folder();
    let mut training = Training::start(&folder.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(6_000);
    remove(&training.store);
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 100);
    let report = training.end_well();
    assert!(report.text.contains("warning: ") && report.text.contains("No such file or directory"), "{report:?}");
    assert!(report.stderr.contains("stepwell: "), "{report:?}");
    let drops = report.finished.expect("a report").1;
    assert_eq!(drops, training.board.get(Signal::Refused));
}

// `sync` remembered only that a sync had failed, not that a folder could not even be opened for one, and returned `Ok`.
#[test]
fn sync_fails_when_the_folders_that_lead_to_the_journal_cannot_be_synced() {
    let folder = memory_folder();
    let mut config = tight_config(4096);
    config.sync_interval = Duration::from_secs(3600);
    let path = folder.path().join("store");
    let store = Store::open_with(&path, Access::Create, config).expect("a store");
    let run = store.start_run(RunOptions::new("fault", "sync")).expect("a run");
    let metric = run.metric(METRICS_NAME, "loss").expect("a metric");
    let mut log = run.logger().expect("a logger");
    log.log(metric, 0, 0.5).expect("room");
    std::fs::remove_dir_all(&path).expect("removed");
    run.sync().expect_err("nothing of this can be found after a power cut");
    assert_eq!(log.durable_seq(), log.next_seq() - 1, "nothing is reported as durable");
}

#[test]
fn a_journal_truncated_under_its_writer_does_not_end_training_and_is_told() {
    let folder = memory_folder();
    let mut training = Training::start(&folder.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(6_000);
    for journal in journals(&training.store) {
        OpenOptions::new().write(true).open(&journal).and_then(|file| file.set_len(8192)).expect("truncated");
    }
    let calls = training.board.get(Signal::Calls);
    training.wait_until("further calls", |board| board.get(Signal::Calls) >= calls + 10_000);
    let report = training.end_well();
    // What was in the pages is lost; each record of which a call returned is there, or is told.
    training.check(&report).unwrap_or_else(|fault| panic!("{fault}"));
}

/// Journals are cut off at random places and moments, several times a run. `STEPWELL_TRUNCATIONS` sets the number of runs.
#[test]
fn journals_truncated_at_random_cost_no_record_that_is_not_told() {
    let seed = seed("truncated journals");
    let mut total = Tally::default();
    for run in 0..number("STEPWELL_TRUNCATIONS", 5) {
        let mut random = Random::new(seed.wrapping_add(run));
        let folder = memory_folder();
        let pace = [5, 20, 100][random.below(3) as usize];
        let mut training = Training::start(&folder.path().join("store"), CALLS_MAX, pace, &[]);
        training.go();
        training.wait_for_taken(1 + random.below(6_000));
        for _ in 0..=random.below(4) {
            for journal in journals(&training.store) {
                // It may have been replaced, and removed, meanwhile.
                let Ok(file) = OpenOptions::new().write(true).open(&journal) else { continue };
                let bytes = file.metadata().expect("its length").len();
                file.set_len(random.below(bytes + 1)).expect("truncated");
            }
            training.wait_for_taken(1 + random.below(3_000));
        }
        let report = training.end_well();
        let checked = training.check(&report).unwrap_or_else(|fault| panic!("run {run}: {fault}"));
        total.add(&checked.tally);
    }
    total.close("truncated journals");
}
