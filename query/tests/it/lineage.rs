//! The graph of runs and artifacts of stores that the engine wrote, picked and written in every form.

mod forms;
mod picks;

use std::path::Path;

use stepwell_engine::{ArtifactSpec, Direction, FinishState, RunId, RunOptions, Store};
use stepwell_query::SnapshotData;

/// A name that tries to end every kind of string, label and line.
pub const HOSTILE: &str = "a\"b'c\\d`e`) DETACH DELETE n //\n\u{1b}[31m<script>#35;%%{x}%% \\u0027 é\u{202e}";

fn run(store: &Store, id: &str, stage: &str, pipeline: &str, io: &[(Direction, &str, &str, &str)], end: FinishState) {
    let id: RunId = id.parse().expect("an id");
    let run = store
        .start_run(RunOptions::new(pipeline, stage).run_id(id).name(stage).param("lr", 0.5).tag("team", "vision"))
        .expect("run");
    for (direction, kind, name, content) in io {
        let path = store.layout().root().join("content");
        std::fs::write(&path, content).expect("write");
        let spec = ArtifactSpec::new(*kind, &path).name(*name).property("rows", 3_i64);
        run.log_artifact(*direction, spec).expect("artifact");
    }
    run.finish_as(end).expect("finish");
}

/// raw -> prepare -> clean -> train -> model -> label -> clean: a cycle over two pipelines.
fn made(folder: &Path) -> Store {
    use Direction::{Input, Output};
    let store = Store::open(folder).expect("store");
    let (raw, clean) = (("Dataset", "data/raw.csv", "raw\n"), ("Dataset", "data/clean.csv", "clean\n"));
    let model = ("Model", "model.pkl", "model\n");
    let of = |direction, (kind, name, content)| (direction, kind, name, content);
    let ids = ["0190b2f4", "0190b2f5", "0190b2f6"].map(|first| format!("{first}-6f1e-7c3a-9f6e-2d5a1c0b9e8f"));
    let finished = FinishState::Finished;
    run(&store, &ids[0], "prepare", "digits", &[of(Input, raw), of(Output, clean)], finished);
    run(&store, &ids[1], "train", "digits", &[of(Input, clean), of(Output, model)], finished);
    run(&store, &ids[2], "label", "review", &[of(Input, model), of(Output, clean)], FinishState::Failed);
    store
}

/// What a store says, with fixed times and the artifacts in the order of their names.
fn data(store: &Store) -> SnapshotData {
    let snapshot = store.snapshot().expect("snapshot");
    let mut data = SnapshotData {
        runs: snapshot.runs().to_vec(),
        artifacts: snapshot.artifacts().expect("artifacts"),
        lineage: snapshot.lineage().expect("lineage"),
        links: snapshot.links().expect("links"),
        ..SnapshotData::default()
    };
    data.artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    for (number, run) in data.runs.iter_mut().enumerate() {
        run.started = 1_767_323_045_000_000_000 + number as i64 * 60_000_000_000;
        run.ended = Some(run.started + 30_000_000_000);
        for edge in data.lineage.iter_mut().filter(|edge| edge.run_id == run.run_id) {
            edge.time_millis = run.started / 1_000_000 + 1_000;
        }
    }
    data.artifacts.iter_mut().for_each(|artifact| artifact.created_millis = 1_767_323_045_000);
    data
}

fn example() -> SnapshotData {
    let folder = tempfile::tempdir().expect("folder");
    data(&made(folder.path()))
}

/// A store in which every name is hostile.
fn hostile(folder: &Path) -> Store {
    use Direction::{Input, Output};
    let store = Store::open(folder).expect("store");
    let run = store
        .start_run(
            RunOptions::new("digits", "train").name("it's \"the\" one\\").param("k'e`y", HOSTILE).tag("t", HOSTILE),
        )
        .expect("run");
    for (direction, kind, name, content) in [
        (Input, "Dataset", "da'ta \"x\" \\u0027 é.csv", "one"),
        (Input, "My `type`) //", "b\\", "two"),
        (Output, "Model", "m`o'del\\", "three"),
    ] {
        let path = store.layout().root().join("content");
        std::fs::write(&path, content).expect("write");
        let spec = ArtifactSpec::new(kind, &path).name(name).property("te'xt", HOSTILE).property("nan", f64::NAN);
        run.log_artifact(direction, spec).expect("artifact");
    }
    run.finish().expect("finish");
    store
}

/// Stores for the tests in tests/lineage, which other programs run on.
#[test]
#[ignore = "makes stores for make lineage-test"]
fn lineage_stores_are_kept() {
    let folder = std::env::var_os("STEPWELL_LINEAGE_KEEP").expect("STEPWELL_LINEAGE_KEEP names a folder");
    made(&Path::new(&folder).join("example"));
    hostile(&Path::new(&folder).join("hostile"));
}
