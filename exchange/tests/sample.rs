//! The sample, in and out.

use std::path::Path;

use rusqlite::Connection;
use stepwell_engine::{ParamValue, Store};
use stepwell_exchange::cmf::{
    View, document, document_text, list_artifacts, list_executions, list_pipelines, show_artifacts,
};
use stepwell_exchange::mlmd::{MlmdStore, Value};
use stepwell_exchange::{CmfOptions, Note, import_cmf};

use crate::support::{dump, names, rows, sample, sample_copy, schema};

fn store_with_sample(folder: &Path) -> Store {
    let store = Store::open(folder.join("store")).expect("store");
    let report = import_cmf(&store, &sample(), &CmfOptions::default()).expect("import");
    assert_eq!((report.new.len(), report.known.len()), (2, 0));
    store
}

#[test]
fn every_row_that_is_read_is_written_again() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("mlmd");
    let mirror = MlmdStore::read(&sample().join("mlmd")).expect("read");
    mirror.write(&path).expect("written");
    assert_eq!(MlmdStore::read(&path).expect("read again"), mirror);
    assert_eq!(dump(&path), dump(&sample().join("mlmd")));
    assert_eq!(schema(&path), schema(&sample().join("mlmd")));
    assert_eq!(names(folder.path()), ["mlmd"], "no temporary file is left");
    mirror.write(&path).expect_err("an existing file is not overwritten");
}

#[test]
fn a_rare_store_keeps_every_kind_of_value() {
    let folder = tempfile::tempdir().expect("folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    rare_store(&from);
    let mirror = MlmdStore::read(&from).expect("read");
    mirror.write(&to).expect("written");
    assert_eq!(dump(&to), dump(&from));
    let kinds: Vec<_> = mirror.artifacts[1].properties.iter().map(|property| property.value.clone()).collect();
    assert!(kinds.contains(&Value::Bool(true)) && kinds.contains(&Value::Proto(vec![1, 0, 255])));
    assert!(kinds.contains(&Value::Double(f64::INFINITY)), "{kinds:?}");
}

/// The sample with what CMF never writes: all kinds of values and events, paths of several steps, parent types, contexts
/// without executions, artifacts without events, ids that are gone.
pub fn rare_store(path: &Path) {
    std::fs::copy(sample().join("mlmd"), path).expect("copy");
    let connection = Connection::open(path).expect("open");
    let more = "
        INSERT INTO Type VALUES (30, 'Odd', 'v2', 1, 'odd things', NULL, NULL, 'ext-type');
        INSERT INTO TypeProperty VALUES (30, 'flag', 6), (30, 'proto', 5), (30, 'nothing', NULL);
        INSERT INTO ParentType VALUES (30, 1);
        INSERT INTO Type VALUES (31, 'Workspace', NULL, 2, NULL, NULL, NULL, NULL);
        UPDATE Artifact SET state = 2, external_id = 'ext-artifact' WHERE id = 2;
        INSERT INTO ArtifactProperty VALUES (2, 'flag', 1, NULL, NULL, NULL, NULL, NULL, 1),
            (2, 'proto', 1, NULL, NULL, NULL, NULL, x'0100ff', NULL), (2, 'bytes', 1, NULL, NULL, NULL, x'00', NULL, NULL),
            (2, 'most', 1, 9223372036854775807, NULL, NULL, NULL, NULL, NULL),
            (2, 'inf', 1, NULL, 9e999, NULL, NULL, NULL, NULL);
        INSERT INTO Artifact VALUES (40, 30, NULL, NULL, NULL, NULL, 1, 2), (41, 30, 'u', 5, 'alone', NULL, 3, 4);
        INSERT INTO Event VALUES (50, 40, 1, 5, NULL), (51, 41, 1, 7, 1795403399999);
        INSERT INTO EventPath VALUES (50, 1, 3, NULL), (50, 0, NULL, 'key');
        INSERT INTO Artifact VALUES (42, 14, 'nobody', NULL, 'nobody:nobody', NULL, 5, 6);
        INSERT INTO Context VALUES (60, 31, 'workspace', 'ext-context', 7, 8), (61, 10, 'empty-pipeline', NULL, 9, 10);
        INSERT INTO ContextProperty VALUES (61, 'Pipeline', 0, NULL, NULL, 'empty-pipeline', NULL, NULL, NULL),
            (61, 'note', 1, NULL, 0.5, NULL, NULL, NULL, NULL);
        INSERT INTO Association VALUES (70, 60, 1);
        INSERT INTO Attribution VALUES (71, 60, 2);
        UPDATE Execution SET last_known_state = 4, name = 'named' WHERE id = 2;
        UPDATE sqlite_sequence SET seq = 99 WHERE name = 'Event';";
    connection.execute_batch(more).expect("rare rows");
}

#[test]
fn the_document_is_what_cmf_exports() {
    let mirror = MlmdStore::read(&sample().join("mlmd")).expect("read");
    let view = View::new(&mirror);
    let text = std::fs::read_to_string(sample().join("metadata-export.json")).expect("read");
    let theirs: serde_json::Value = serde_json::from_str(&text).expect("json");
    assert_eq!(document(&view, "demo-pipeline", None).expect("document"), theirs);
    let ours = document_text(&view, "demo-pipeline", None).expect("text");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&ours).expect("json"), theirs);
    let one = document(&view, "demo-pipeline", Some("598635fc-e6eb-11f1-b6c0-02fc00000001")).expect("document");
    assert_eq!(one["Pipeline"][0]["stages"][0]["executions"].as_array().map(Vec::len), Some(0));
    assert_eq!(one["Pipeline"][0]["stages"][1]["executions"].as_array().map(Vec::len), Some(1));
    assert!(document(&view, "none", None).expect_err("refused").is_not_found());
}

#[test]
fn lists_have_cmf_s_columns() {
    let mirror = MlmdStore::read(&sample().join("mlmd")).expect("read");
    let view = View::new(&mirror);
    assert_eq!(list_pipelines(&view).rows, [["demo-pipeline", "2", "2"]]);
    let executions = list_executions(&view, "demo-pipeline").expect("list");
    let uuid = "45c7056e-e6eb-11f1-bd79-02fc00000001";
    let repo = "/srv/demo/remote.git";
    let first = ["1", "demo-pipeline/prepare", "['src/prepare.py']", uuid, "", "demo-pipeline", repo];
    assert_eq!((executions.rows.len(), &executions.rows[0][..]), (2, &first.map(str::to_owned)[..]));
    assert_eq!(list_artifacts(&view, "demo-pipeline").expect("list").rows.len(), 10);
    assert_eq!(show_artifacts(&view, "demo-pipeline", "model.pkl").expect("shown").len(), 1);
    assert_eq!(show_artifacts(&view, "demo-pipeline", "none").expect("shown").len(), 0);
}

#[test]
fn every_execution_becomes_a_run_with_all_that_it_had() {
    let folder = tempfile::tempdir().expect("folder");
    let store = store_with_sample(folder.path());
    let snapshot = store.snapshot().expect("snapshot");
    let runs = snapshot.runs();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1].run_id.to_string(), "598635fc-e6eb-11f1-b6c0-02fc00000001");
    assert_eq!((runs[1].pipeline.as_str(), runs[1].stage.as_str()), ("demo-pipeline", "train"));
    assert_eq!(runs[1].params.get("lr"), Some(&ParamValue::from("0.01")), "CMF made it text, and text it stays");
    assert_eq!(runs[1].params.get("epochs"), Some(&ParamValue::Int(3)));
    assert_eq!((runs[1].started, runs[1].ended), (1_795_403_391_856_000_000, Some(1_795_403_400_360_000_000)));
    let summary = snapshot.summary().expect("summary");
    let metrics: Vec<_> = summary
        .iter()
        .map(|row| (row.metrics_name.as_str(), row.stats.metric.as_str(), row.stats.count, row.stats.last.value))
        .collect();
    assert_eq!(metrics, [("training_metrics", "epoch", 3, 2.0), ("training_metrics", "train_loss", 3, 1.0 / 3.0)]);
    assert_eq!((summary[0].stats.first.step, summary[0].stats.last.step), (1, 3), "CMF's SequenceNumber is the step");
}

/// Whatever CMF's tables have must be in the catalog's tables of the same names, ids aside.
#[test]
fn the_catalog_has_every_row_of_the_sample() {
    let folder = tempfile::tempdir().expect("folder");
    let store = store_with_sample(folder.path());
    drop(store.snapshot().expect("indexed"));
    let ours = Connection::open(store.layout().catalog()).expect("open");
    let theirs = Connection::open(sample().join("mlmd")).expect("open");
    for sql in QUESTIONS {
        let mut ours = rows(&ours, sql);
        let mut missing = rows(&theirs, sql);
        missing.retain(|row| match ours.iter().position(|own| own == row) {
            Some(place) => {
                ours.remove(place);
                false
            }
            None => true,
        });
        assert!(missing.is_empty(), "{sql}: missing {missing:#?}; left over {ours:#?}");
    }
}

const QUESTIONS: [&str; 9] = [
    "SELECT type.name, property.name, data_type FROM TypeProperty AS property JOIN Type AS type ON type.id = type_id",
    "SELECT type.name, artifact.name, uri, state, create_time_since_epoch, last_update_time_since_epoch
     FROM Artifact AS artifact JOIN Type AS type ON type.id = type_id",
    "SELECT artifact.name, property.name, is_custom_property, int_value, double_value, string_value, byte_value, bool_value
     FROM ArtifactProperty AS property JOIN Artifact AS artifact ON artifact.id = artifact_id",
    "SELECT type.name, execution.name, last_known_state, create_time_since_epoch, last_update_time_since_epoch
     FROM Execution AS execution JOIN Type AS type ON type.id = type_id",
    "SELECT create_time_since_epoch, property.name, is_custom_property, int_value, double_value, string_value
     FROM ExecutionProperty AS property JOIN Execution AS execution ON execution.id = execution_id
     WHERE property.name NOT IN ('Context_ID', 'Pipeline_id')",
    "SELECT artifact.name, execution.create_time_since_epoch, event.type, milliseconds_since_epoch, step_key
     FROM Event AS event JOIN Artifact AS artifact ON artifact.id = artifact_id
     JOIN Execution AS execution ON execution.id = execution_id LEFT JOIN EventPath ON event_id = event.id",
    "SELECT type.name, context.name, create_time_since_epoch, last_update_time_since_epoch, property.name,
         is_custom_property, int_value, double_value, string_value
     FROM Context AS context JOIN Type AS type ON type.id = type_id LEFT JOIN ContextProperty AS property
     ON context_id = context.id",
    "SELECT child.name, parent.name FROM ParentContext JOIN Context AS child ON child.id = context_id
     JOIN Context AS parent ON parent.id = parent_context_id",
    "SELECT context.name, artifact.name FROM Attribution JOIN Context AS context ON context.id = context_id
     JOIN Artifact AS artifact ON artifact.id = artifact_id",
];

#[test]
fn what_cannot_be_numbers_or_was_not_found_is_said() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("store")).expect("store");
    let report = import_cmf(&store, &sample().join("mlmd"), &CmfOptions::default()).expect("import");
    assert_eq!((report.records, report.files, report.artifacts, report.events), (6, 2, 10, 12));
    assert_eq!((report.pipelines, report.stages), (1, 2));
    let note = |what: &str| report.notes.iter().any(|note| note.to_string().contains(what));
    assert!(note("note (LargeUtf8)"), "the text column is named: {:?}", report.notes);
    assert!(note("python_env_21a8fd1831ba687c604341cdf1ec6ed4.txt"), "the missing file is named: {:?}", report.notes);
}

#[test]
fn importing_twice_changes_nothing_and_a_grown_source_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let cmf = sample_copy(folder.path());
    let store = Store::open(folder.path().join("store")).expect("store");
    import_cmf(&store, &cmf, &CmfOptions::default()).expect("import");
    let before = dump_without_scan(&store);
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import again");
    assert_eq!((report.new.len(), report.known.len(), report.records), (0, 2, 0));
    assert!(!report.notes.iter().any(|note| matches!(note, Note::Changed { .. })));
    assert_eq!(dump_without_scan(&store), before);
    let connection = Connection::open(cmf.join("mlmd")).expect("open");
    connection.execute("UPDATE ExecutionProperty SET string_value = '0.02' WHERE name = 'lr'", []).expect("changed");
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import a third time");
    let changed: Vec<_> = report.notes.iter().filter(|note| matches!(note, Note::Changed { .. })).collect();
    assert_eq!((report.new.len(), changed.len()), (0, 1));
}

fn dump_without_scan(store: &Store) -> std::collections::BTreeMap<String, Vec<String>> {
    drop(store.snapshot().expect("indexed"));
    let mut tables = dump(&store.layout().catalog());
    tables.remove("stepwell_scan");
    tables
}

#[test]
fn metrics_come_from_dvc_s_cache_when_the_file_is_gone() {
    let folder = tempfile::tempdir().expect("folder");
    let cmf = sample_copy(folder.path());
    let metrics = cmf.join("cmf_artifacts/598635fc-e6eb-11f1-b6c0-02fc00000001/metrics/training_metrics");
    let remote = folder.path().join("remote");
    std::fs::create_dir_all(remote.join("files/md5/b2")).expect("folder");
    std::fs::rename(&metrics, remote.join("files/md5/b2/e697f9131027396dc0f3f4c4cc2e44")).expect("moved");
    let store = Store::open(folder.path().join("none")).expect("store");
    let report = import_cmf(&store, &cmf, &CmfOptions::default()).expect("import");
    assert_eq!(report.records, 0, "nothing to read");
    let store = Store::open(folder.path().join("store")).expect("store");
    let options = CmfOptions { caches: vec![remote], ..CmfOptions::default() };
    assert_eq!(import_cmf(&store, &cmf, &options).expect("import").records, 6);
}
