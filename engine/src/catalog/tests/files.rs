//! Files that are torn, damaged, deleted, foreign or not to be written.

use super::*;
use crate::catalog::{CatalogSnapshot, RefreshReport};
use crate::error::Error;
use crate::snapshot::RunState;

#[test]
fn a_line_that_is_cut_off_is_ignored_until_it_is_whole() {
    let store = TestStore::new();
    let log = sample().remove(1);
    let text = log.text();
    let (head, tail) = text.split_at(text.len() - 20);
    store.append(&log, head.as_bytes());
    let mut catalog = store.refreshed();
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    assert_eq!(snapshot.runs().expect("runs")[0].state, RunState::Running);
    assert!(snapshot.gaps().expect("gaps").is_empty(), "a line being written is no damage");
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes").runs_changed, 0, "nothing new, nothing written");
    store.append(&log, tail.as_bytes());
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes").runs_changed, 1);
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    assert_eq!(snapshot.runs().expect("runs")[0].state, RunState::Finished);
}

#[test]
fn a_cut_line_replaced_by_one_of_the_same_length_is_noticed() {
    let store = TestStore::new();
    let log = Log::new(1, writer(0, 0), 0, "p", "s");
    let whole = log.clone().then(1, params(&[("a", 1.into())]));
    let line = whole.lines[1].encode();
    store.append(&log, log.text().as_bytes());
    store.append(&log, &line.as_bytes()[..line.len() - 1]);
    store.append(&log, b"x");
    let mut catalog = store.refreshed();
    let file = OpenOptions::new().write(true).open(store.layout.events(log.run, log.writer)).expect("log");
    file.set_len(log.text().len() as u64).expect("cut");
    store.append(&log, line.as_bytes());
    catalog.refresh(&store.layout).expect("refreshes");
    let runs = catalog.snapshot(&store.layout).expect("snapshot").runs().expect("runs");
    assert_eq!(runs[0].params["a"], ParamValue::Int(1));
}

#[test]
fn a_damaged_line_is_told_and_the_rest_is_read() {
    let store = TestStore::new();
    let log = sample().remove(1);
    let mut text = log.text().into_bytes();
    let offset = log.lines[0].encode().len();
    text[offset + 10] ^= 1;
    store.append(&log, &text);
    let mut catalog = store.open();
    let report = catalog.refresh(&store.layout).expect("refreshes");
    assert_eq!(report.damaged.len(), 1);
    assert_eq!(report.damaged[0].path, store.layout.events(log.run, log.writer));
    assert_eq!(report.damaged[0].offset, offset as u64);
    assert!(report.damaged[0].fault.contains("checksum"), "{:?}", report.damaged);
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    let gaps = snapshot.gaps().expect("gaps");
    assert_eq!((gaps.len(), gaps[0].gap.kind), (1, GapKind::DamagedEvent));
    assert!(gaps[0].gap.detail.contains(&format!("byte {offset} of {}", log.writer)), "{}", gaps[0].gap.detail);
    assert_eq!(snapshot.segments().expect("segments").len(), 2);
    let report = Catalog::rebuild(&store.layout).expect("rebuilds");
    assert_eq!(report.damaged.len(), 1);
}

#[test]
fn a_run_whose_first_line_is_lost_is_still_there() {
    let store = TestStore::new();
    let log = sample().remove(1);
    let text = log.text().replacen("\"pipeline\":\"digits\"", "\"pipeline\":\"digitz\"", 1);
    store.append(&log, text.as_bytes());
    let mut catalog = store.open();
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes").damaged.len(), 1);
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    assert_eq!(snapshot.runs().expect("runs")[0].pipeline, "(unknown)");
    assert_eq!(snapshot.segments().expect("segments").len(), 2);
}

#[test]
fn logs_that_lie_are_not_believed() {
    let store = TestStore::new();
    let log = Log::new(1, writer(0, 0), 0, "p", "s").finish();
    store.write(std::slice::from_ref(&log));
    // A copy of the log in another run's folder.
    let copy = Log { run: run_id(2), ..log.clone() };
    store.append(&copy, log.text().as_bytes());
    // A segment outside the run folder, and an event that is told twice.
    let Event::Segments(mut outside) = segments(3, writer(0, 0), 0) else { unreachable!() };
    outside.segments[0].file = "../../../etc/passwd".to_owned();
    let mut liar = Log::new(3, writer(0, 0), 0, "p", "s").then(1, Event::Segments(outside));
    liar.lines.push(liar.lines[1].clone());
    store.write(&[liar]);
    let mut catalog = store.open();
    let report = catalog.refresh(&store.layout).expect("refreshes");
    let faults: Vec<_> = report.damaged.iter().map(|line| line.fault.as_str()).collect();
    assert_eq!(faults.len(), 3, "{faults:?}");
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    assert_eq!(snapshot.runs().expect("runs").len(), 2);
    assert!(snapshot.segments().expect("segments").is_empty());
    assert_eq!(snapshot.gaps().expect("gaps").len(), 3);
}

#[test]
fn a_log_of_a_newer_version_is_refused() {
    let store = TestStore::new();
    let mut log = Log::new(1, writer(0, 0), 0, "p", "s");
    let Event::WriterStarted(started) = &mut log.lines[0].event else { unreachable!() };
    started.format = EVENT_FORMAT + 1;
    store.write(&[log]);
    let error = store.open().refresh(&store.layout).expect_err("refused");
    assert!(matches!(error, Error::NewerFormat { .. }), "{error}");
}

#[test]
fn a_closed_run_is_looked_at_again_only_when_its_folder_changed() {
    let store = TestStore::new();
    let logs = sample();
    store.write(&logs[1..2]);
    let mut catalog = store.refreshed();
    let folder_time = "SELECT folder_time FROM stepwell_scan";
    assert_eq!(one::<i64>(&catalog, folder_time), 0, "it changed a moment ago");
    store.let_folders_settle();
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes").runs_changed, 0);
    assert_ne!(one::<i64>(&catalog, folder_time), 0);
    // Another rank.
    store.write(&logs[2..3]);
    assert_eq!(catalog.refresh(&store.layout).expect("refreshes").runs_changed, 1);
    assert_eq!(one::<i64>(&catalog, "SELECT count(*) FROM stepwell_writer"), 2);
}

#[test]
fn a_damaged_catalog_says_what_to_do_and_is_rebuilt() {
    let store = TestStore::new();
    store.write(&sample());
    let expected = dump(&store.refreshed());
    let path = store.layout.catalog();
    for damage in ["text", "pages"] {
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
        let mut bytes = std::fs::read(&path).expect("catalog");
        if damage == "text" {
            bytes = b"This is not a database, although it has its name and is long enough to be one. ".repeat(20);
        } else {
            let start = bytes.len() / 8;
            bytes[start..].fill(0x5A);
        }
        std::fs::write(&path, bytes).expect("damaged");
        let error =
            Catalog::open(&store.layout).and_then(|mut catalog| catalog.refresh(&store.layout).map(|_| catalog));
        if damage == "text" {
            let error = error.expect_err("damaged");
            assert!(error.is_corruption() && error.to_string().contains("stepwell reindex"), "{error}");
        }
        let report = Catalog::rebuild(&store.layout).expect("rebuilds");
        assert_eq!(report.runs, 7);
        assert_eq!(dump(&store.open()), expected, "{damage}");
    }
}

#[test]
fn another_applications_database_is_left_alone() {
    let store = TestStore::new();
    let path = store.layout.catalog();
    let foreign = rusqlite::Connection::open(&path).expect("opens");
    foreign.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").expect("filled");
    for result in [Catalog::open(&store.layout).map(drop), Catalog::rebuild(&store.layout).map(drop)] {
        let error = result.expect_err("refused");
        assert!(error.to_string().contains("another application"), "{error}");
    }
    let rows: i64 = foreign.query_row("SELECT count(*) FROM precious", [], |row| row.get(0)).expect("still there");
    assert_eq!(rows, 1);
}

#[test]
fn a_newer_catalog_is_refused() {
    let store = TestStore::new();
    let catalog = store.open();
    catalog.with(|connection| connection.execute_batch("PRAGMA user_version = 7")).expect("set");
    for result in [
        Catalog::open(&store.layout).map(drop),
        Catalog::open_read_only(&store.layout).map(drop),
        Catalog::rebuild(&store.layout).map(drop),
    ] {
        assert!(matches!(result, Err(Error::NewerFormat { found: 7, .. })), "{result:?}");
    }
}

#[test]
fn a_catalog_deleted_while_it_is_open_is_made_again() {
    let store = TestStore::new();
    let logs = sample();
    store.write(&logs[..3]);
    let mut catalog = store.refreshed();
    let before = catalog.snapshot(&store.layout).expect("snapshot");
    // Only the file itself: its write-ahead log stays behind, and must not be taken for one of the new file.
    std::fs::remove_file(store.layout.catalog()).expect("removed");
    store.write(&logs[3..]);
    catalog.refresh(&store.layout).expect("refreshes");
    assert_eq!(before.runs().expect("runs").len(), 2, "a snapshot keeps what it saw");
    drop(before);
    assert_eq!(catalog.snapshot(&store.layout).expect("snapshot").runs().expect("runs").len(), 7);
    drop(catalog);
    let catalog = store.open();
    assert_eq!(one::<String>(&catalog, "PRAGMA integrity_check"), "ok");
    assert_eq!(one::<i64>(&catalog, "SELECT count(*) FROM stepwell_run"), 7);
}

#[test]
fn a_snapshot_does_not_see_what_comes_later() {
    let store = TestStore::new();
    let logs = sample();
    store.write(&logs[..1]);
    let mut memory = Catalog::open_in_memory().expect("opens");
    memory.refresh(&store.layout).expect("refreshes");
    for mut catalog in [store.refreshed(), memory] {
        store.write(&[]);
        let before = catalog.snapshot(&store.layout).expect("snapshot");
        let count = before.runs().expect("runs").len();
        store.write(&[Log::new(100 + count as u128, writer(0, 0), 0, "p", "s")]);
        catalog.refresh(&store.layout).expect("refreshes");
        assert_eq!(before.runs().expect("runs").len(), count);
        assert_eq!(catalog.snapshot(&store.layout).expect("snapshot").runs().expect("runs").len(), count + 1);
    }
}

#[test]
fn reading_only_writes_nothing() {
    let store = TestStore::new();
    store.write(&sample()[..2]);
    let listing = || -> Vec<_> {
        let mut names: Vec<_> = std::fs::read_dir(store.folder.path())
            .expect("lists")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        names
    };
    let before = listing();
    let mut catalog = Catalog::open_read_only(&store.layout).expect("opens");
    catalog.refresh(&store.layout).expect("refreshes");
    let expected = dump(&catalog);
    assert_eq!(listing(), before, "no catalog is made");

    drop(store.refreshed());
    let mut catalog = Catalog::open_read_only(&store.layout).expect("opens");
    catalog.refresh(&store.layout).expect("refreshes");
    assert_eq!(dump(&catalog), expected);
    let bytes = std::fs::read(store.layout.catalog()).expect("catalog");
    store.write(&sample()[2..]);
    catalog.refresh(&store.layout).expect("refreshes");
    assert_eq!(catalog.snapshot(&store.layout).expect("snapshot").runs().expect("runs").len(), 7, "goes on in memory");
    assert_eq!(std::fs::read(store.layout.catalog()).expect("catalog"), bytes);
    assert_eq!(dump(&catalog), dump(&store.refreshed()));
}

/// SQLite reads a database with a write-ahead log only where it can make its helper files, and says so with an error of its
/// own in a folder that cannot be written to. (Run as root, nothing is forbidden, and this only reads.)
#[cfg(unix)]
#[test]
fn a_catalog_in_a_folder_that_cannot_be_written_to_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let store = TestStore::new();
    store.write(&sample());
    let expected = dump(&store.refreshed());
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", store.layout.catalog().display()));
    }
    let allow = |mode| std::fs::set_permissions(store.folder.path(), std::fs::Permissions::from_mode(mode));
    allow(0o555).expect("forbidden");
    let result = Catalog::open_read_only(&store.layout).map(|catalog| dump(&catalog));
    allow(0o755).expect("allowed");
    assert_eq!(result.expect("opens"), expected);
}

/// A connection is handed on from snapshot to snapshot, and each still sees its own moment.
#[test]
fn snapshots_that_follow_one_another_see_what_is_there_when_they_begin() {
    let store = TestStore::new();
    store.write(&[Log::new(1, writer(0, 0), 0, "digits", "train").finish()]);
    let mut catalog = store.refreshed();
    let first = catalog.snapshot(&store.layout).expect("a snapshot");
    store.write(&[Log::new(2, writer(0, 0), 10, "digits", "train").finish()]);
    catalog.refresh(&store.layout).expect("refreshed");
    let second = catalog.snapshot(&store.layout).expect("a snapshot");
    let runs = |snapshot: &CatalogSnapshot| snapshot.runs().expect("runs").len();
    assert_eq!((runs(&first), runs(&second)), (1, 2));
    drop(first);
    store.write(&[Log::new(3, writer(0, 0), 20, "digits", "train").finish()]);
    catalog.refresh(&store.layout).expect("refreshed");
    // It has the connection of the first one, whose transaction is over.
    let third = catalog.snapshot(&store.layout).expect("a snapshot");
    assert_eq!((runs(&second), runs(&third)), (2, 3));
}

/// A reader cannot write down when it saw a folder; it remembers, and still notices what comes after.
#[test]
fn a_reader_that_saw_nothing_new_notices_what_comes_after() {
    let store = TestStore::new();
    store.write(&[Log::new(1, writer(0, 0), 0, "digits", "train").finish()]);
    drop(store.refreshed());
    store.let_folders_settle();
    let mut reader = Catalog::open_read_only(&store.layout).expect("a reader");
    for _ in 0..3 {
        assert_eq!(reader.refresh(&store.layout).expect("refreshed"), RefreshReport::default());
    }
    store.write(&[Log::new(1, writer(0, 1), 30, "digits", "train")]);
    assert_eq!(reader.refresh(&store.layout).expect("refreshed").runs_changed, 1);
    std::fs::remove_dir_all(store.layout.run(run_id(1))).expect("removed");
    assert_eq!(reader.refresh(&store.layout).expect("refreshed").runs_removed, 1);
}
