//! Stores as CMF reads them.

use std::collections::BTreeSet;
use std::path::Path;

use rusqlite::Connection;
use stepwell_engine::{Access, ArtifactRecord, ArtifactSpec, Direction, EngineConfig, ParamValue, RunOptions, Store};
use stepwell_exchange::cmf::{View, document, read_metrics_file};
use stepwell_exchange::mlmd::{MlmdStore, Value, declared_text, property};
use stepwell_exchange::{CmfOptions, Error, export_cmf, import_cmf, mirror_of};

use crate::sample::rare_store;
use crate::support::{dump, names, sample, schema};

fn imported(folder: &Path, path: &Path) -> Store {
    let store = Store::open(folder.join("store")).expect("store");
    import_cmf(&store, path, &CmfOptions::default()).expect("import");
    store
}

#[test]
fn what_was_imported_comes_out_row_for_row() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    let out = folder.path().join("out/mlmd");
    let report = export_cmf(&store, &out).expect("export");
    assert_eq!((report.executions, report.artifacts, report.files.len()), (2, 10, 2), "{:?}", report.notes);
    assert_eq!(dump(&out), dump(&sample().join("mlmd")));
    assert_eq!(schema(&out), schema(&sample().join("mlmd")));
    for file in &report.files {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).expect("read");
        assert_eq!(bytes(&folder.path().join("out")), bytes(&sample()), "{file}");
    }
    assert!(matches!(export_cmf(&store, &out), Err(Error::Exists { .. })), "nothing is overwritten");
}

#[test]
fn a_rare_store_comes_out_row_for_row() {
    let folder = tempfile::tempdir().expect("folder");
    let source = folder.path().join("mlmd");
    rare_store(&source);
    let store = imported(folder.path(), &source);
    let out = folder.path().join("out/mlmd");
    let report = export_cmf(&store, &out).expect("export");
    let (ours, theirs) = (dump(&out), dump(&source));
    for (table, rows) in &theirs {
        assert_eq!(&ours[table], rows, "{table}: {:?}", report.notes);
    }
}

#[test]
fn a_store_that_may_only_be_read_is_exported_too() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    drop(store);
    std::fs::remove_file(folder.path().join("store/catalog.db")).expect("removed");
    let config = EngineConfig::default();
    let store = Store::open_with(folder.path().join("store"), Access::Read, config).expect("open");
    let out = folder.path().join("mlmd");
    export_cmf(&store, &out).expect("export");
    assert_eq!(dump(&out), dump(&sample().join("mlmd")));
    assert!(!names(&folder.path().join("store")).contains(&"catalog.db".to_owned()));
}

/// A run of Stepwell that goes on where CMF's stopped.
fn log_own_run(store: &Store, folder: &Path) -> stepwell_engine::RunId {
    let options = RunOptions::new("demo-pipeline", "evaluate").param("lr", 0.5).param("large", 1_i64 << 40);
    let run = store.start_run(options).expect("run");
    let row = run.row("own_metrics", &["loss", "acc"]).expect("row");
    let mut log = run.logger().expect("logger");
    for step in 0..10 {
        log.log_row(&row, step * 5, &[1.0 / (step + 1) as f64, f64::NAN]).expect("logged");
    }
    drop(log);
    let data = folder.join("model.bin");
    std::fs::write(&data, b"weights").expect("write");
    let spec = ArtifactSpec::new("Model", &data).name("model.bin").property("depth", 3_i64);
    run.log_artifact(Direction::Output, spec).expect("artifact");
    let values = [("auc".to_owned(), ParamValue::Float(0.5))].into();
    run.log_execution_metrics("final", values).expect("metrics");
    run.finish().expect("finished");
    run.id()
}

#[test]
fn own_runs_follow_by_cmf_s_rules_after_what_was_imported() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    let run = log_own_run(&store, folder.path());
    let out = folder.path().join("out/mlmd");
    let report = export_cmf(&store, &out).expect("export");
    assert!(report.notes.iter().any(|note| note.contains("large")), "{:?}", report.notes);
    let mirror = MlmdStore::read(&out).expect("read");
    let source = MlmdStore::read(&sample().join("mlmd")).expect("read");
    assert_eq!(mirror.artifacts[..10], source.artifacts[..]);
    assert_eq!(mirror.executions[..2], source.executions[..]);
    assert_eq!(mirror.contexts[..3], source.contexts[..]);
    let own = &mirror.executions[2];
    assert_eq!((own.id, declared_text(&own.properties, "Execution_uuid")), (3, run.to_string().as_str()));
    assert_eq!(property(&own.properties, "Context_ID", false), Some(&Value::Int(4)));
    assert_eq!(property(&own.properties, "Pipeline_id", false), Some(&Value::Int(1)));
    assert_eq!(property(&own.properties, "lr", true), Some(&Value::Double(0.5)));
    let ids: BTreeSet<i64> = mirror.artifacts.iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=13).collect(), "small ids, as CMF's server needs them");
    let view = View::new(&mirror);
    let stages = document(&view, "demo-pipeline", None).expect("document")["Pipeline"][0]["stages"].clone();
    assert_eq!(stages.as_array().map(Vec::len), Some(3));
    let metrics =
        mirror.artifacts.iter().find(|row| row.name.as_ref().is_some_and(|name| name.contains("own_metrics")));
    let metrics = metrics.expect("step metrics");
    let file = format!("cmf_artifacts/{run}/metrics/own_metrics");
    let (name, uri) = (metrics.name.clone().expect("name"), metrics.uri.clone().expect("uri"));
    assert!(name.starts_with(&format!("{file}:{uri}:3:")), "{name}");
    let bytes = std::fs::read(folder.path().join("out").join(&file)).expect("file");
    let rows = read_metrics_file(bytes.into(), Path::new(&file)).expect("read");
    assert_eq!((rows.metrics.len(), rows.rows.len()), (3, 10), "step, acc, loss: {:?}", rows.metrics);
    let place = |name: &str| rows.metrics.iter().position(|metric| metric == name).expect(name);
    assert_eq!(rows.rows[9].1[place("step")], Some(45.0));
    assert_eq!(rows.rows[9].1[place("loss")], Some(0.1));
    assert!(rows.rows[9].1[place("acc")].is_some_and(f64::is_nan), "NaN was logged and is there");
    let members: Vec<i64> = mirror.attributions.iter().map(|row| row.member_id).collect();
    assert!(members.is_sorted(), "ML Metadata lists them in this order: {members:?}");
    let links = mirror.associations.iter().filter(|row| row.member_id == 3).count();
    assert_eq!(links, 1);
    let attributed: BTreeSet<i64> = mirror.attributions.iter().map(|row| row.member_id).collect();
    assert_eq!(attributed.len(), 13, "every artifact is attributed");
}

#[test]
fn an_export_can_be_imported_elsewhere() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path().join("store")).expect("store");
    log_own_run(&store, folder.path());
    export_cmf(&store, &folder.path().join("out/mlmd")).expect("export");
    let other = Store::open(folder.path().join("other")).expect("store");
    let report = import_cmf(&other, &folder.path().join("out"), &CmfOptions::default()).expect("import");
    assert_eq!((report.new.len(), report.records), (1, 30), "loss, acc and step: {:?}", report.notes);
    let again = folder.path().join("again/mlmd");
    export_cmf(&other, &again).expect("export");
    assert_eq!(dump(&again), dump(&folder.path().join("out/mlmd")));
}

#[test]
fn two_sources_are_kept_apart_and_share_what_is_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    let second = folder.path().join("second");
    std::fs::copy(sample().join("mlmd"), &second).expect("copy");
    let connection = Connection::open(&second).expect("open");
    let other = "UPDATE ExecutionProperty SET string_value = replace(string_value, 'e6eb', 'ffff') WHERE name = 'Execution_uuid';
                 UPDATE Context SET name = replace(name, 'demo', 'other');
                 UPDATE Artifact SET name = replace(name, 'raw.csv', 'new.csv') WHERE id = 2;";
    connection.execute_batch(other).expect("changed");
    import_cmf(&store, &second, &CmfOptions::default()).expect("import");
    let mirror = mirror_of(&store).expect("mirror");
    assert_eq!((mirror.executions.len(), mirror.artifacts.len(), mirror.contexts.len()), (4, 11, 6));
    assert_eq!((mirror.events.len(), mirror.types.len()), (24, 20));
    let ids: BTreeSet<i64> = mirror.executions.iter().map(|row| row.id).collect();
    assert_eq!(ids, (1..=4).collect());
}

#[test]
fn what_changed_since_the_import_is_exported_or_named() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    let run = store.start_run(RunOptions::new("demo-pipeline", "label")).expect("run");
    let source = MlmdStore::read(&sample().join("mlmd")).expect("read");
    let data = &source.artifacts[1];
    let record = ArtifactRecord {
        direction: Some(Direction::Input),
        artifact_type: "Dataset".to_owned(),
        name: data.name.clone().expect("name"),
        uri: data.uri.clone().expect("uri"),
        properties: [("rows".to_owned(), ParamValue::Int(101)), ("new".to_owned(), ParamValue::from("x"))].into(),
        attributed: true,
        ..ArtifactRecord::default()
    };
    run.log_record(record).expect("record");
    run.finish().expect("finished");
    let resumed = store.snapshot().expect("snapshot").runs()[0].clone();
    let options = RunOptions::new(resumed.pipeline, resumed.stage).run_id(resumed.run_id);
    store.start_run(options).expect("resumed").finish().expect("finished");
    let out = folder.path().join("mlmd");
    let report = export_cmf(&store, &out).expect("export");
    assert!(report.notes.iter().any(|note| note.contains(&resumed.run_id.to_string())), "{:?}", report.notes);
    let mirror = MlmdStore::read(&out).expect("read");
    assert_eq!((mirror.executions.len(), mirror.artifacts.len(), mirror.events.len()), (3, 10, 13));
    let data = &mirror.artifacts[1];
    assert_eq!(property(&data.properties, "rows", true), Some(&Value::Int(101)));
    assert_eq!(property(&data.properties, "new", true), Some(&Value::Text("x".to_owned())));
    assert_eq!(property(&data.properties, "source", true), Some(&Value::Text("synthetic".to_owned())));
    assert_eq!(mirror.executions[..2], source.executions[..]);
}

#[cfg(unix)]
#[test]
fn an_export_goes_through_no_link_and_over_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let store = imported(folder.path(), &sample());
    let (out, elsewhere) = (folder.path().join("out"), folder.path().join("elsewhere"));
    std::fs::create_dir(&out).expect("folder");
    std::fs::create_dir(&elsewhere).expect("folder");
    std::os::unix::fs::symlink(&elsewhere, out.join("cmf_artifacts")).expect("link");
    assert!(matches!(export_cmf(&store, &out.join("mlmd")), Err(Error::Unsafe { .. })));
    assert!(names(&elsewhere).is_empty() && names(&out) == ["cmf_artifacts"]);
    let path = folder.path().join("taken/cmf_artifacts/598635fc-e6eb-11f1-b6c0-02fc00000001/metrics/training_metrics");
    std::fs::create_dir_all(path.parent().expect("folder")).expect("folder");
    std::fs::write(&path, b"mine").expect("write");
    assert!(matches!(export_cmf(&store, &folder.path().join("taken/mlmd")), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read(&path).expect("read"), b"mine");
}
