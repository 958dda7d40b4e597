//! Remotes as they are used: two stores, a third, and real servers between them.

mod folder;
mod hostile;
mod http;
mod kill;
mod s3;
mod sftp;
mod web;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use stepwell_engine::{Access, ArtifactSpec, Direction, EngineConfig, Run, RunId, RunOptions, RunState, Store};
use stepwell_remote::{Credentials, PullOptions, PushOptions, Remote, RemoteEntry, Report};
use tempfile::TempDir;

/// A folder for one test.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn store(&self, name: &str) -> Store {
        Store::open(self.path(name)).expect("open")
    }

    fn remote(&self) -> Remote {
        open(&RemoteEntry::new("origin", self.path("remote").to_str().expect("path")))
    }
}

fn open(entry: &RemoteEntry) -> Remote {
    Remote::open_with(&entry.clone().checked().expect("entry"), &Credentials::default()).expect("remote")
}

/// A run with rows under a name that needs encoding, a stored file and a stored folder; `seed` makes it different.
fn log_run(place: &Place, store: &Store, seed: u64) -> Run {
    let data = place.path(&format!("data-{seed}"));
    fs::create_dir_all(data.join("deep")).expect("create");
    fs::write(data.join("same.txt"), "the same in all").expect("write");
    fs::write(data.join("deep/own.txt"), format!("own {seed}")).expect("write");
    let run = store.start_run(RunOptions::new("digits", "train").param("seed", seed as i64)).expect("start");
    run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &data).name("data")).expect("folder");
    let model = data.join("deep/own.txt");
    run.log_artifact(Direction::Output, ArtifactSpec::new("Model", &model).name("model")).expect("file");
    log_rows(&run, 0..100, seed);
    run.commit("train/metrics é").expect("commit");
    run
}

fn log_rows(run: &Run, steps: std::ops::Range<i64>, seed: u64) {
    let row = run.row("train/metrics é", &["loss", "accuracy"]).expect("row");
    let mut log = run.logger().expect("logger");
    for step in steps {
        log.log_row(&row, step, &[seed as f64 / (step + 1) as f64, step as f64]).expect("log");
    }
}

fn push(remote: &Remote, store: &Store) -> Report {
    let report = remote.push(store, &PushOptions::default(), &|_| {}).expect("push");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report
}

fn pull(remote: &Remote, store: &Store) -> Report {
    let report = remote.pull(store, &PullOptions::default(), &|_| {}).expect("pull");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report
}

fn moved(report: &Report) -> u64 {
    report.segments + report.objects + report.parts
}

/// Every file of runs and objects that counts, by path and content.
fn files(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let root = store.layout().root().to_owned();
    let mut found = BTreeMap::new();
    for folder in ["runs", "objects"] {
        collect(&root, &root.join(folder), &mut found);
    }
    found
}

/// Every file below a folder.
fn find_all(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() { find_all(&path, found) } else { found.push(path) }
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("entry").path();
        let name = path.strip_prefix(root).expect("inside").to_str().expect("text").to_owned();
        if path.is_dir() {
            collect(root, &path, found);
        } else if !name.ends_with(".journal") && !name.ends_with(".pulled") {
            found.insert(name, fs::read(&path).expect("read"));
        }
    }
}

/// Compares what two stores say: files, runs, segments, summaries, artifacts; and verifies the second.
fn assert_equal(a: &Store, b: &Store) {
    let (names_a, names_b) = (files(a), files(b));
    assert_eq!(names_a.keys().collect::<Vec<_>>(), names_b.keys().collect::<Vec<_>>());
    assert_eq!(names_a, names_b);
    let (a, of_b) = (a.snapshot().expect("snapshot"), b.snapshot().expect("snapshot"));
    assert_eq!(a.runs(), of_b.runs());
    assert_eq!(a.summary().expect("summary"), of_b.summary().expect("summary"));
    let names = |snapshot: &stepwell_engine::Snapshot| {
        let artifacts = snapshot.artifacts().expect("artifacts");
        let mut names: Vec<_> = artifacts.into_iter().map(|artifact| (artifact.name, artifact.uri)).collect();
        names.sort();
        names
    };
    assert_eq!(names(&a), names(&of_b));
    let verified = b.verify(&mut |_, _| {}).expect("verify");
    assert!(verified.damaged.is_empty() && verified.files > 0, "{verified:?}");
}

fn state_of(store: &Store, run: RunId) -> RunState {
    let snapshot = store.snapshot().expect("snapshot");
    snapshot.runs().iter().find(|info| info.run_id == run).expect("run").state
}

/// Opens a store anew, as another command would, and returns it with how many writers that recovered.
fn reopen(path: &Path) -> (Store, usize) {
    let store = Store::open_with(path, Access::Write, EngineConfig::default()).expect("open");
    let recovered = store.recovery().writers.len();
    (store, recovered)
}
