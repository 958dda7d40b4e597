//! DVC's projects as runs.

use std::path::Path;

use stepwell_engine::{Direction, ParamValue, Store};
use stepwell_exchange::{DvcOptions, Error, Note, import_dvc};

use crate::support::sample;

const LOCK: &str = "\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - path: data/raw.csv
      hash: md5
      md5: 875a43f51910f5c8fbbface36c096611
      size: 989
    params:
      params.yaml:
        prepare.split: 0.2
        seed: 7
        names: [a, b]
      other.yaml:
        seed: true
    outs:
    - path: data/parsed
      hash: md5
      md5: bde54977a71f07f628eb767006563261.dir
      size: 30
      nfiles: 5
  train@a:
    cmd:
    - python train.py
    - python test.py
    deps:
    - path: data/parsed
      md5: bde54977a71f07f628eb767006563261.dir
    outs:
    - path: ../model.pkl
      md5: 006da6c5c1005fbf178a67e3238a911b
";
const YAML: &str = "\
stages:
  prepare:
    cmd: python prepare.py
  train:
    wdir: src
    foreach: [a]
    do: {cmd: x}
  later:
    cmd: echo later
";

fn project(folder: &Path) -> std::path::PathBuf {
    let project = folder.join("project");
    std::fs::create_dir_all(project.join(".dvc")).expect("folder");
    std::fs::create_dir_all(project.join("data")).expect("folder");
    std::fs::write(project.join("dvc.lock"), LOCK).expect("write");
    std::fs::write(project.join("dvc.yaml"), YAML).expect("write");
    std::fs::write(project.join(".dvc/config"), "[core]\n remote = a\n['remote \"a\"']\n url = s3://b/c\n")
        .expect("write");
    std::fs::copy(sample().join("dvc-files/raw.csv.dvc"), project.join("data/raw.csv.dvc")).expect("copy");
    project
}

#[test]
fn stages_and_dvc_files_become_runs_with_inputs_and_outputs() {
    let folder = tempfile::tempdir().expect("folder");
    let project = project(folder.path());
    let store = Store::open(folder.path().join("store")).expect("store");
    let report = import_dvc(&store, &project, &DvcOptions::default()).expect("import");
    assert_eq!((report.new.len(), report.artifacts, report.notes.len()), (3, 4, 1));
    assert_eq!(report.notes, [Note::NotRun { stage: "later".to_owned() }]);
    let snapshot = store.snapshot().expect("snapshot");
    let run = |stage: &str| snapshot.runs().iter().find(|run| run.stage == stage).expect(stage);
    let prepare = run("prepare");
    assert_eq!((prepare.pipeline.as_str(), prepare.execution.command.as_str()), ("project", "python prepare.py"));
    assert_eq!(prepare.params.get("prepare.split"), Some(&ParamValue::Float(0.2)));
    assert_eq!(prepare.params.get("seed"), Some(&ParamValue::Int(7)));
    assert_eq!(prepare.params.get("other.yaml:seed"), Some(&ParamValue::Bool(true)));
    assert_eq!(prepare.params.get("names"), Some(&ParamValue::from("[\"a\",\"b\"]")));
    let artifacts = snapshot.artifacts().expect("artifacts");
    let name = |id: i64| artifacts.iter().find(|row| row.id == id).map(|row| row.name.as_str()).expect("artifact");
    let uses = |stage: &str| {
        let edges = snapshot.lineage().expect("lineage");
        let mut uses: Vec<_> = edges
            .iter()
            .filter(|edge| edge.run_id == run(stage).run_id)
            .map(|edge| (edge.direction == Direction::Output, name(edge.artifact_id).to_owned()))
            .collect();
        uses.sort();
        uses
    };
    let raw = "data/raw.csv:875a43f51910f5c8fbbface36c096611".to_owned();
    let parsed = "data/parsed:bde54977a71f07f628eb767006563261.dir".to_owned();
    assert_eq!(uses("prepare"), [(false, raw.clone()), (true, parsed)]);
    assert_eq!(uses("data/raw.csv.dvc"), [(true, raw)], "the same artifact as the input of `prepare`");
    let model = "model.pkl:006da6c5c1005fbf178a67e3238a911b".to_owned();
    assert_eq!(uses("train@a")[1], (true, model), "paths are relative to the stage's folder");
    assert_eq!(run("train@a").execution.command, "python train.py\npython test.py");
    let url = artifacts.iter().find(|row| row.name.starts_with("data/raw.csv")).and_then(|row| row.declared.get("url"));
    assert_eq!(url, Some(&ParamValue::from("project:s3://b/c/files/md5/87/5a43f51910f5c8fbbface36c096611")));
    let report = import_dvc(&store, &project, &DvcOptions::default()).expect("import again");
    assert_eq!((report.new.len(), report.known.len()), (0, 3));
}

#[test]
fn hostile_projects_are_refused_before_anything_is_imported() {
    let folder = tempfile::tempdir().expect("folder");
    let project = project(folder.path());
    let store = Store::open(folder.path().join("store")).expect("store");
    let cases = [
        (LOCK.replace("path: data/raw.csv", "path: ../../etc/passwd"), "leads out"),
        (LOCK.replace("path: data/raw.csv", "path: /etc/passwd"), "leads out"),
        (LOCK.replace("path: data/raw.csv", "path: C:/x"), "leads out"),
        (LOCK.replace("path: data/raw.csv", "path: \"a\\0b\""), "no text"),
        (LOCK.replace("path: data/raw.csv", "path: [x]"), "no text"),
        (LOCK.replace("size: 989", "size: -1"), "whole number"),
        (LOCK.replace("md5: 875a43f51910f5c8fbbface36c096611", "md6: x"), "no md5"),
        (LOCK.replace("cmd: python prepare.py", "cmd: {a: b}"), "no text"),
        ("stages: [a]\nschema: '2.0'\n".to_owned(), "no map"),
        ("a: b\n".to_owned(), "no map"),
        ("schema: '2.0'\nstages:\n\t- x\n".to_owned(), "line"),
    ];
    for (text, fault) in cases {
        std::fs::write(project.join("dvc.lock"), &text).expect("write");
        let error = import_dvc(&store, &project, &DvcOptions::default()).expect_err("refused");
        assert!(error.is_invalid_input() && error.to_string().contains(fault), "{fault}: {error}");
        assert!(store.snapshot().expect("snapshot").runs().is_empty(), "{fault}");
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).expect("folder");
    assert!(matches!(import_dvc(&store, &empty, &DvcOptions::default()), Err(Error::Nothing { .. })));
    assert!(import_dvc(&store, &folder.path().join("none"), &DvcOptions::default()).expect_err("none").is_not_found());
}
