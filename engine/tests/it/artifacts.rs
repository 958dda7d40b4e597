use std::collections::BTreeMap;

use stepwell_engine::{ArtifactSpec, Direction, ParamValue, RunOptions};

use crate::common::{open, small_config};

#[test]
fn files_and_folders_are_linked_by_content() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder.path().join("store"), small_config());
    let data = folder.path().join("data.csv");
    std::fs::write(&data, "1,2,3\n").expect("write");
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("below")).expect("folder");
    std::fs::write(tree.join("below/a"), "1,2,3\n").expect("write");
    std::fs::write(tree.join("b"), "b").expect("write");
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let spec = ArtifactSpec::new("Dataset", &data).name("data.csv").property("rows", 1_i64);
    let dataset = run.log_artifact(Direction::Input, spec).expect("dataset");
    let model = run.log_artifact(Direction::Output, ArtifactSpec::new("Model", &tree).name("tree")).expect("model");
    assert_eq!((dataset.bytes, model.bytes), (6, 7));
    assert_eq!(dataset.hash.to_string(), blake3::hash(b"1,2,3\n").to_string());
    assert_eq!(std::fs::read(store.layout().object(dataset.hash)).expect("object"), b"1,2,3\n");
    let manifest = std::fs::read_to_string(store.layout().object(model.hash)).expect("manifest");
    assert_eq!(manifest.lines().count(), 2);
    let again = store.start_run(RunOptions::new("p", "t")).expect("run");
    let spec = ArtifactSpec::new("Dataset", &data).reference_only();
    assert_eq!(again.log_artifact(Direction::Input, spec).expect("same").hash, dataset.hash);
    run.log_execution_metrics("final", BTreeMap::from([("auc".to_owned(), ParamValue::Float(0.9))])).expect("metrics");
    assert!(run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", folder.path().join("none"))).is_err());
    let snapshot = store.snapshot().expect("snapshot");
    let artifacts = snapshot.artifacts().expect("artifacts");
    let dataset_rows: Vec<_> = artifacts.iter().filter(|artifact| artifact.artifact_type == "Dataset").collect();
    assert_eq!(dataset_rows.len(), 1, "the same content is one artifact");
    assert_eq!(dataset_rows[0].properties.get("rows"), Some(&ParamValue::Int(1)));
    let edges = snapshot.lineage().expect("lineage");
    assert_eq!(edges.iter().filter(|edge| edge.artifact_id == dataset_rows[0].id).count(), 2);
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    std::fs::write(store.layout().object(dataset.hash), "1,2,4\n").expect("damage");
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.iter().any(|file| file.path == store.layout().object(dataset.hash)), "{damaged:?}");
}

#[test]
fn a_deleted_catalog_comes_back() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    for number in 0..5 {
        let run = store.start_run(RunOptions::new("p", "s").param("number", i64::from(number))).expect("run");
        let metric = run.metric("m", "x").expect("metric");
        run.logger().expect("logger").log(metric, 0, f64::from(number)).expect("logged");
        run.finish().expect("finish");
    }
    let before = store.snapshot().expect("snapshot");
    let (runs, segments) = (before.runs().to_vec(), before.segments().to_vec());
    let artifacts = before.artifacts().expect("artifacts");
    drop((before, store));
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let _ = std::fs::remove_file(folder.path().join(file));
    }
    let store = open(folder.path(), small_config());
    assert_eq!(store.reindex().expect("reindex").runs, 5);
    let after = store.snapshot().expect("snapshot");
    assert_eq!((after.runs(), after.segments()), (runs.as_slice(), segments.as_slice()));
    assert_eq!(after.artifacts().expect("artifacts"), artifacts);
}
