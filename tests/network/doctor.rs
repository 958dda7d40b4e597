//! The doctor, at a store whose journals are in scratch.

use std::path::{Path, PathBuf};

use stepwell_engine::{Access, RunId, RunState};

use crate::mount::{Mount, Worker, command, command_elsewhere};
use crate::{is_empty, open, state_of, steps};

/// A run with 1,000 records, committed or in the journal alone, whose writer was killed, and its event log.
fn dead_writer(mount: &Mount, commits: bool) -> (RunId, PathBuf) {
    let run = RunId::generate();
    let mut writer = Worker::start(command(&mount.store(), &mount.scratch()));
    assert_eq!(writer.ask(&format!("start {run}")), "started");
    assert_eq!(writer.ask("log 1000"), "logged 1000");
    if commits {
        assert_eq!(writer.ask("commit"), "committed 1000");
    }
    writer.kill();
    (run, log_of(mount, run))
}

fn log_of(mount: &Mount, run: RunId) -> PathBuf {
    let entries = std::fs::read_dir(mount.store().join(format!("runs/{run}"))).expect("list");
    let mut paths = entries.map(|entry| entry.expect("entry").path());
    paths.find(|path| path.to_string_lossy().ends_with(".events.jsonl")).expect("an event log")
}

/// The journal below a folder.
fn journal_below(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("list").map(|entry| entry.expect("entry").path());
    let paths: Vec<_> = entries.collect();
    let is_journal = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "journal");
    match paths.iter().find(is_journal) {
        Some(journal) => journal.clone(),
        None => journal_below(paths.iter().find(|path| path.is_dir()).expect("a folder")),
    }
}

/// Changes a byte in the middle of a line.
fn damage_line(path: &Path, line: usize) {
    let mut bytes = std::fs::read(path).expect("read");
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len).collect();
    let at = lines[..line].iter().sum::<usize>() + lines[line] / 2;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).expect("write");
}

#[test]
fn a_damaged_event_log_is_written_anew_and_the_journals_it_named_are_found() {
    for (has_locks, commits, line) in [(true, true, 0), (true, false, 0), (false, true, 1), (false, true, 0)] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let (run, log) = dead_writer(&mount, commits);
        damage_line(&log, line);
        let mut doctor = Worker::start(command(&mount.store(), &mount.scratch()));
        let found = doctor.ask("examine");
        assert!(found.starts_with("0 alive, ") && found.contains("log_damaged_line"), "{found}");
        let mut elsewhere = Worker::start(command_elsewhere(&mount.store(), &mount.local("nothing")));
        let found = elsewhere.ask("examine");
        assert!(found.starts_with("1 alive, 0 repairs "), "another machine leaves it alone: {found}");
        assert_eq!(doctor.ask("repair"), "0 left, [] failed");
        assert_eq!(doctor.ask("examine"), "0 alive, 0 repairs of []");
        let store = open(&mount, Access::Create);
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!((state_of(&snapshot, run), steps(&snapshot, run).len()), (RunState::Died, 1000), "line {line}");
        let kept = PathBuf::from(format!("{}.damaged", log.display()));
        assert!(kept.exists() && is_empty(&mount.scratch()));
    }
}

#[test]
fn a_journal_in_scratch_that_cannot_be_read_is_told_and_kept_in_the_quarantine_of_the_store() {
    let Some(mount) = Mount::new(true) else { return };
    let (run, log) = dead_writer(&mount, true);
    let journal = journal_below(&mount.scratch());
    let bytes = vec![0xaa; std::fs::metadata(&journal).expect("journal").len() as usize];
    std::fs::write(&journal, &bytes).expect("write");
    let mut doctor = Worker::start(command(&mount.store(), &mount.scratch()));
    let found = doctor.ask("examine");
    assert!(found.contains("journal_unreadable"), "{found}");
    assert_eq!(doctor.ask("repair"), "0 left, [] failed");
    assert_eq!(doctor.ask("examine"), "0 alive, 0 repairs of []");
    let writer = log.file_name().expect("name").to_string_lossy().replace(".events.jsonl", "");
    let kept = mount.store().join(format!("quarantine/runs/{run}/{writer}/0.journal"));
    assert_eq!(std::fs::read(kept).expect("kept"), bytes);
    let snapshot = open(&mount, Access::Read).snapshot().expect("snapshot");
    assert_eq!(steps(&snapshot, run).len(), 1000);
    assert_eq!(snapshot.gaps().expect("gaps").len(), 1);
    assert!(is_empty(&mount.scratch()));
}

#[test]
fn journals_that_a_restart_took_are_a_loss_until_it_is_told() {
    let Some(mount) = Mount::new(true) else { return };
    let (run, _) = dead_writer(&mount, true);
    std::fs::remove_dir_all(mount.scratch()).expect("the machine forgets");
    let mut restarted = command(&mount.store(), &mount.scratch());
    restarted.env("STEPWELL_BOOT_ID", "after-the-restart");
    let mut doctor = Worker::start(restarted);
    let found = doctor.ask("examine");
    assert!(found.contains("journals_gone"), "{found}");
    assert_eq!(doctor.ask("repair"), "0 left, [] failed");
    assert_eq!(doctor.ask("examine"), "0 alive, 0 repairs of []");
    assert_eq!(doctor.ask(&format!("look {run}")), "died 1000 [(\"lost_journal\", 0)]");
}

#[test]
fn the_doctor_of_a_copy_leaves_the_journals_to_the_store_they_were_written_for() {
    let Some(mount) = Mount::new(true) else { return };
    let (run, _) = dead_writer(&mount, false);
    let copied = std::process::Command::new("cp").arg("-r").args([mount.store(), mount.local("copy")]).status();
    assert!(copied.expect("cp").success());
    for store in [mount.local("copy"), mount.local("copy"), mount.store()] {
        let mut doctor = Worker::start(command(&store, &mount.scratch()));
        assert_eq!(doctor.ask("repair"), "0 left, [] failed");
        assert_eq!(doctor.ask(&format!("look {run}")), "died 1000 []", "{store:?}");
    }
    assert!(is_empty(&mount.scratch()));
}
