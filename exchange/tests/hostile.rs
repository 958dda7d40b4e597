//! Files that mean harm, or are not what they seem.

use std::path::Path;

use rusqlite::Connection;
use stepwell_engine::Store;
use stepwell_exchange::cmf::NotFound;
use stepwell_exchange::mlmd::MlmdStore;
use stepwell_exchange::{CmfOptions, Error, Note, import_cmf};

use crate::support::{names, sample, sample_copy};

fn refused(path: &Path) -> Error {
    MlmdStore::read(path).expect_err("refused")
}

#[test]
fn what_is_no_store_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("none");
    assert!(matches!(refused(&path), Error::NoFile { .. }));
    assert!(names(folder.path()).is_empty(), "no file is made");
    assert!(matches!(refused(folder.path()), Error::NotMlmd { .. }));
    for (name, bytes) in [("empty", &b""[..]), ("text", &[b'x'; 200][..]), ("magic", b"SQLite format 3\0")] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        assert!(matches!(refused(&path), Error::NotMlmd { .. }), "{name}");
    }
    let other = folder.path().join("other");
    Connection::open(&other).expect("open").execute_batch("CREATE TABLE Artifact (id)").expect("table");
    assert!(refused(&other).to_string().contains("it has no table Type"));
}

#[test]
fn truncated_files_are_refused_at_every_page() {
    let folder = tempfile::tempdir().expect("folder");
    let whole = std::fs::read(sample().join("mlmd")).expect("read");
    let path = folder.path().join("mlmd");
    for end in (0..whole.len()).step_by(4096).chain([99, 100, 5000, whole.len() - 1]) {
        std::fs::write(&path, &whole[..end]).expect("write");
        let error = refused(&path);
        assert!(error.is_corruption() || error.is_invalid_input(), "{end}: {error}");
    }
    assert_eq!(names(folder.path()), ["mlmd"]);
}

#[test]
fn schema_versions_outside_of_8_to_10_are_refused_by_number() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("mlmd");
    for (version, is_read) in [(7, false), (8, true), (9, true), (10, true), (11, false)] {
        std::fs::copy(sample().join("mlmd"), &path).expect("copy");
        let connection = Connection::open(&path).expect("open");
        connection.execute("UPDATE MLMDEnv SET schema_version = ?1", [version]).expect("version");
        if version < 10 {
            let older = "DROP INDEX idx_artifact_external_id; ALTER TABLE ArtifactProperty DROP COLUMN proto_value;
                         ALTER TABLE ArtifactProperty DROP COLUMN bool_value;";
            connection.execute_batch(older).expect("older");
        }
        connection.close().expect("closed");
        match MlmdStore::read(&path) {
            Ok(store) => assert!(is_read && store.artifacts.len() == 10, "{version}"),
            Err(error) => assert!(!is_read && error.to_string().contains(&format!("version {version}")), "{error}"),
        }
    }
}

/// A view in the place of a table could go on forever.
#[test]
fn views_and_foreign_rows_are_not_followed() {
    let folder = tempfile::tempdir().expect("folder");
    let change = |name: &str, sql: &str| {
        let path = folder.path().join(name);
        std::fs::copy(sample().join("mlmd"), &path).expect("copy");
        let connection = Connection::open(&path).expect("open");
        connection.execute_batch(sql).expect(sql);
        path
    };
    let view = change(
        "view",
        "DROP TABLE EventPath; CREATE VIEW EventPath AS WITH RECURSIVE r(event_id, is_index_step, step_index, step_key) AS
             (SELECT 1, 0, 0, 'x' UNION ALL SELECT 1, 0, step_index + 1, 'x' FROM r) SELECT * FROM r;",
    );
    assert!(refused(&view).to_string().contains("EventPath is not a table"));
    let orphan =
        change("orphan", "INSERT INTO ArtifactProperty (artifact_id, name, is_custom_property) VALUES (77, 'x', 1)");
    assert!(refused(&orphan).to_string().contains("artifact 77"));
    let event = change("event", "INSERT INTO Event VALUES (77, 1, 88, 3, 0)");
    assert!(refused(&event).to_string().contains("event 77"));
    let value = change("value", "UPDATE ArtifactProperty SET int_value = 'seven' WHERE name = 'rows'");
    assert!(refused(&value).is_corruption());
    let foreign = change("foreign", "CREATE TABLE mine (x); ALTER TABLE Artifact ADD COLUMN colour TEXT");
    assert_eq!(MlmdStore::foreign_parts(&foreign).expect("read"), ["column colour of table Artifact", "table mine"]);
}

#[test]
fn a_log_of_writes_that_are_not_in_the_file_yet_is_read_without_touching_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("mlmd");
    std::fs::copy(sample().join("mlmd"), &path).expect("copy");
    let connection = Connection::open(&path).expect("open");
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0").expect("wal");
    connection.execute("UPDATE Context SET name = 'renamed' WHERE id = 1", []).expect("changed");
    let log = folder.path().join("mlmd-wal");
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).expect("folder");
    std::fs::copy(&path, kept.join("mlmd")).expect("copy");
    std::fs::copy(&log, kept.join("mlmd-wal")).expect("copy");
    let read = MlmdStore::read(&kept.join("mlmd")).expect("read");
    assert_eq!(read.contexts[0].name, "renamed");
    assert_eq!(names(&kept), ["mlmd", "mlmd-wal"]);
}

#[test]
fn paths_that_lead_out_are_not_read() {
    let folder = tempfile::tempdir().expect("folder");
    let cmf = sample_copy(folder.path());
    std::fs::write(folder.path().join("secret"), b"secret").expect("write");
    let md5 = "5ebe2294ecd0e0f08eab7690d2a6ee69";
    let connection = Connection::open(cmf.join("mlmd")).expect("open");
    let absolute = folder.path().join("secret");
    for (id, path) in [(8, "../secret"), (7, absolute.to_str().expect("text"))] {
        let sql = "UPDATE Artifact SET name = ?1, uri = ?2 WHERE id = ?3";
        connection.execute(sql, (format!("{path}:{md5}:2:x"), md5, id)).expect("changed");
    }
    let store = Store::open(folder.path().join("store")).expect("store");
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import");
    let out = |note: &&Note| matches!(note, Note::NoFile { why: NotFound::LeadsOut, .. });
    assert_eq!((report.files, report.notes.iter().filter(out).count()), (0, 2), "{:?}", report.notes);
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_not_followed() {
    let folder = tempfile::tempdir().expect("folder");
    let cmf = sample_copy(folder.path());
    let outside = folder.path().join("outside");
    std::fs::rename(cmf.join("cmf_artifacts"), &outside).expect("moved");
    std::os::unix::fs::symlink(&outside, cmf.join("cmf_artifacts")).expect("link");
    let store = Store::open(folder.path().join("store")).expect("store");
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import");
    let out = |note: &&Note| matches!(note, Note::NoFile { why: NotFound::LeadsOut, .. });
    assert_eq!((report.files, report.records), (0, 0));
    assert_eq!(report.notes.iter().filter(out).count(), 2, "{:?}", report.notes);
}

#[test]
fn a_file_with_another_content_is_not_taken() {
    let folder = tempfile::tempdir().expect("folder");
    let cmf = sample_copy(folder.path());
    let path = cmf.join("cmf_artifacts/598635fc-e6eb-11f1-b6c0-02fc00000001/metrics/training_metrics");
    std::fs::write(&path, b"other").expect("write");
    let store = Store::open(folder.path().join("store")).expect("store");
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import");
    let wrong = |note: &Note| matches!(note, Note::NoFile { why: NotFound::WrongHash { .. }, .. });
    assert!(report.records == 0 && report.notes.iter().any(wrong), "{:?}", report.notes);
}
