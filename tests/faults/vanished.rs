//! Files that go away under a live writer.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use stepwell_tests::board::{CALLS_MAX, Signal};
use stepwell_tests::volume::memory_folder;

use crate::training::Training;

/// All journals below a folder.
fn journals(folder: &Path) -> Vec<PathBuf> {
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

#[test]
fn a_store_removed_under_its_writer_is_told_and_does_not_end_training() {
    let folder = memory_folder();
    let mut training = Training::start(&folder.path().join("store"), CALLS_MAX, 20, &[]);
    training.go();
    training.wait_for_taken(6_000);
    std::fs::remove_dir_all(&training.store).expect("removed");
    training.wait_until("a full ring", |board| board.get(Signal::Refused) > 100);
    let report = training.end_well();
    assert!(report.text.contains("warning: ") && report.text.contains("No such file or directory"), "{report:?}");
    assert!(report.stderr.contains("stepwell: "), "{report:?}");
    let drops = report.finished.expect("a report").1;
    assert_eq!(drops, training.board.get(Signal::Refused));
}

#[test]
#[ignore = "a journal truncated by another process is SIGBUS: the engine gets a guard"]
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
