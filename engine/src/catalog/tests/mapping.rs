//! What the rows say.

use super::*;
use crate::catalog::{CatalogSnapshot, run_state};
use crate::snapshot::{RunInfo, RunState, WriterInfo};

fn sample_catalog() -> (TestStore, Catalog) {
    let store = TestStore::new();
    store.write(&sample());
    let catalog = store.refreshed();
    (store, catalog)
}

fn sample_snapshot() -> (TestStore, CatalogSnapshot) {
    let (store, catalog) = sample_catalog();
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    (store, snapshot)
}

#[test]
fn an_empty_catalog_is_a_store_of_ml_metadata_with_cmfs_types() {
    let catalog = Catalog::open_in_memory().expect("opens");
    assert_eq!(one::<i64>(&catalog, "SELECT schema_version FROM MLMDEnv"), 10);
    let types = all(&catalog, "SELECT id || ' ' || name || ' ' || type_kind FROM Type ORDER BY id");
    assert_eq!(types.len(), 19);
    assert_eq!(types[0], "1 mlmd.Dataset 1");
    assert_eq!(types[9], "10 Parent_Context 2");
    assert_eq!(types[15], "16 Step_Metrics 1");
    let sequence = all(&catalog, "SELECT name || ' ' || seq FROM sqlite_sequence ORDER BY name");
    assert_eq!(sequence.len(), 7);
    assert!(sequence.iter().all(|line| line.ends_with(" 4503599627370496")), "{sequence:?}");
}

#[test]
fn no_property_is_empty_and_none_is_nan() {
    let (_store, catalog) = sample_catalog();
    for (table, least) in [("ArtifactProperty", 30), ("ExecutionProperty", 70), ("ContextProperty", 7)] {
        let count: i64 = one(&catalog, &format!("SELECT count(*) FROM {table}"));
        assert!(count >= least, "{table} has {count} rows");
        let wrong: i64 = one(
            &catalog,
            &format!(
                "SELECT count(*) FROM {table} WHERE (int_value IS NOT NULL) + (double_value IS NOT NULL)
                     + (string_value IS NOT NULL) <> 1 OR byte_value IS NOT NULL OR proto_value IS NOT NULL
                     OR bool_value IS NOT NULL"
            ),
        );
        assert_eq!(wrong, 0, "{table}");
    }
    // NaN became text, a boolean an integer, a float a float.
    let of_run =
        "SELECT coalesce(string_value, double_value, int_value) || ' ' || typeof(int_value) FROM ExecutionProperty
         WHERE is_custom_property AND name = '{}' AND execution_id =
             (SELECT execution_id FROM stepwell_run WHERE started = (SELECT max(started) FROM stepwell_run))";
    let value = |name: &str| one::<String>(&catalog, &of_run.replace("{}", name));
    assert_eq!(value("nan"), "NaN null");
    assert_eq!(value("flag"), "1 integer");
    assert_eq!(value("lr"), "0.1 null");
    assert_eq!(value("stepwell:tag:team"), "vision 4 null");
    assert_eq!(value("stepwell:name"), "name 120 null");
}

#[test]
fn executions_contexts_and_events_are_in_cmfs_form() {
    let (_store, catalog) = sample_catalog();
    let contexts = all(
        &catalog,
        "SELECT type.name || ' ' || context.name || coalesce(' < ' || (
             SELECT group_concat(parent.name, ' and ' ORDER BY parent.name) FROM ParentContext JOIN Context AS parent
                 ON parent.id = parent_context_id WHERE context_id = context.id), '')
         FROM Context AS context JOIN Type AS type ON type.id = type_id ORDER BY 1",
    );
    assert_eq!(
        contexts,
        [
            "Parent_Context a",
            "Parent_Context a/b",
            "Parent_Context digits",
            "Parent_Context other",
            "Pipeline_Stage a/b/c < a and a/b",
            "Pipeline_Stage digits/prepare < digits",
            "Pipeline_Stage digits/train < digits",
            "Pipeline_Stage other/train < other",
        ]
    );
    let executions = all(
        &catalog,
        "SELECT type.name || ' ' || last_known_state || ' ' || (execution.create_time_since_epoch - 1795403358000) || ' ' ||
             substr(execution.external_id, -1) || ' ' || coalesce(execution.name, 'no name') || ' ' || context.name
         FROM Execution AS execution JOIN Type AS type ON type.id = execution.type_id
         JOIN Association ON execution_id = execution.id JOIN Context AS context ON context.id = context_id ORDER BY 1",
    );
    assert_eq!(
        executions,
        [
            "b/c 3 25 7 no name a/b/c",
            "c 3 30 6 no name a/b/c",
            "prepare 3 0 1 no name digits/prepare",
            "train 2 120 4 no name digits/train",
            "train 3 100 2 no name digits/train",
            "train 3 50 3 no name digits/train",
            "train 4 20 5 no name other/train",
        ]
    );
    let declared: i64 = one(&catalog, "SELECT count(*) FROM ExecutionProperty WHERE NOT is_custom_property");
    assert_eq!(declared, 7 * 10);
    let undeclared: i64 = one(
        &catalog,
        "SELECT count(*) FROM ExecutionProperty AS property JOIN Execution AS execution ON execution.id = execution_id
         WHERE NOT is_custom_property AND NOT EXISTS (SELECT 1 FROM TypeProperty AS declared
             WHERE declared.type_id = execution.type_id AND declared.name = property.name)",
    );
    assert_eq!(undeclared, 0);
    // The same data set was logged twice by one run, and a model read and written: two events, not four.
    assert_eq!(one::<i64>(&catalog, "SELECT count(*) FROM Event WHERE milliseconds_since_epoch = 1795403358001"), 1);
    let model = "SELECT group_concat(event.type) FROM Event JOIN Artifact ON artifact_id = Artifact.id WHERE name LIKE 'model%'";
    assert_eq!(one::<String>(&catalog, model), "3,4");
}

#[test]
fn content_used_by_many_runs_is_one_artifact_that_keeps_its_first_name() {
    let (store, catalog) = sample_catalog();
    let digits = hash("digits").to_string();
    let snapshot = catalog.snapshot(&store.layout).expect("snapshot");
    let artifacts = snapshot.artifacts().expect("artifacts");
    let shared: Vec<_> = artifacts.iter().filter(|artifact| artifact.uri == digits).collect();
    assert_eq!(shared.len(), 1);
    let shared = shared[0];
    assert_eq!(shared.name, format!("data/stored.csv:{digits}"));
    assert_eq!((shared.bytes, shared.created_millis), (Some(6), T0 / MILLI + 1));
    let later: BTreeMap<_, _> = properties(&[("rows", "many".into()), ("by", "4".into())]);
    assert_eq!(shared.properties, later, "a later use replaces what an earlier one said");
    let url = format!("SELECT string_value FROM ArtifactProperty WHERE name = 'url' AND artifact_id = {}", shared.id);
    let urls: String = one(&catalog, &url);
    assert!(urls.starts_with(&format!("digits:objects/{}/{digits},other:earlier name,", &digits[..2])), "{urls}");
    let names =
        "SELECT step_key FROM EventPath JOIN Event ON id = event_id WHERE type = 3 ORDER BY milliseconds_since_epoch";
    assert_eq!(all(&catalog, names)[0], format!("earlier name:{digits}"));

    // Once in each pipeline, with the stage that used it first there.
    let homes = format!(
        "SELECT name FROM Attribution JOIN Context ON Context.id = context_id WHERE artifact_id = {} ORDER BY name",
        shared.id
    );
    assert_eq!(all(&catalog, &homes), ["digits/prepare", "other/train"]);

    // The run that saw it first goes, and with it the name; when all go, so do artifact and type.
    std::fs::remove_dir_all(store.layout.run(run_id(1))).expect("removed");
    let catalog = store.refreshed();
    assert_eq!(one::<i64>(&catalog, "SELECT count(*) FROM Type WHERE name = 'Parquet file'"), 0);
    let name = format!("SELECT name FROM Artifact WHERE uri = '{digits}'");
    assert_eq!(one::<String>(&catalog, &name), format!("earlier name:{digits}"));
    assert_eq!(all(&catalog, &homes), ["digits/train", "other/train"]);
}

#[test]
fn metrics_become_artifacts() {
    let (store, snapshot) = sample_snapshot();
    let artifacts = snapshot.artifacts().expect("artifacts");
    let finals: Vec<_> = artifacts.iter().filter(|artifact| artifact.artifact_type == "Metrics").collect();
    assert_eq!(finals.len(), 1);
    assert_eq!(finals[0].properties, properties(&[("inf", f64::INFINITY.into())]));
    let commits = snapshot.metrics_commits().expect("commits");
    let last = commits.iter().filter(|commit| commit.run_id == run_id(2)).nth(1).expect("the second commit");
    assert_eq!(Event::MetricsCommitted(last.commit.clone()), committed(2, 2));
    let artifact = artifacts.iter().find(|artifact| artifact.id == last.artifact_id).expect("its artifact");
    assert_eq!((artifact.artifact_type.as_str(), artifact.version), ("Step_Metrics", Some(2)));
    assert_eq!(artifact.uri, last.commit.identity.to_string());
    assert_eq!(artifact.properties["segments"], "0,1".into());
    assert!(artifact.name.starts_with(&format!("runs/{}/training_metrics:{}:", run_id(2), artifact.uri)));
    let edges = snapshot.lineage().expect("lineage");
    let of_artifact: Vec<_> = edges.iter().filter(|edge| edge.artifact_id == artifact.id).collect();
    assert_eq!(of_artifact.len(), 1);
    assert_eq!((of_artifact[0].run_id, of_artifact[0].direction), (run_id(2), Direction::Output));
    assert!(edges.is_sorted_by_key(|edge| (edge.time_millis, edge.run_id, edge.artifact_id)));
    drop(store);
}

#[test]
fn runs_are_read_back_with_their_types() {
    let (_store, snapshot) = sample_snapshot();
    let runs = snapshot.runs().expect("runs");
    assert_eq!(runs.len(), 7);
    assert!(runs.is_sorted_by_key(|run| (run.started, run.run_id)));
    let run = |n| -> &RunInfo { runs.iter().find(|run| run.run_id == run_id(n)).expect("run") };
    let trained = run(2);
    assert_eq!((trained.pipeline.as_str(), trained.stage.as_str()), ("digits", "train"));
    assert_eq!((trained.started, trained.state), (T0 + 100 * MILLI, RunState::Finished));
    assert_eq!(trained.params["lr"], ParamValue::Float(0.2), "rank 1 said so later");
    assert!(matches!(trained.params["nan"], ParamValue::Float(value) if value.is_nan()));
    assert_eq!((&trained.params["flag"], &trained.params["n"]), (&ParamValue::Bool(true), &ParamValue::Int(3)));
    assert_eq!(trained.tags["team"], "vision 2");
    assert_eq!(trained.name.as_deref(), Some("name 100"));
    let ranks: Vec<_> = trained.writers.iter().map(|writer| (writer.writer.rank, writer.waits, writer.drops)).collect();
    assert_eq!(ranks, [(0, 2, 1), (1, 2, 1)]);
    assert_eq!(trained.ended, trained.writers.iter().map(|writer| writer.last_event).max());
    let states: Vec<_> = run(3).writers.iter().map(|writer| writer.state).collect();
    assert_eq!((states, run(3).state), (vec![RunState::Died, RunState::Finished], RunState::Finished));
    assert_eq!((run(4).state, run(4).ended), (RunState::Running, None));
    assert_eq!(run(5).state, RunState::Failed);
    assert_eq!(run(5).writers[0].process.pid_start, 11);
}

#[test]
fn segments_gaps_and_watermarks_are_read_back_bit_for_bit() {
    let (store, snapshot) = sample_snapshot();
    let all = snapshot.segments().expect("segments");
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by_key(|segment| (segment.run_id, segment.writer, segment.n)));
    let segment = &all[1];
    assert_eq!((segment.run_id, segment.writer, segment.n, segment.bytes), (run_id(2), writer(0, 0), 1, 1001));
    assert!(segment.path.starts_with(store.layout.run(run_id(2)).join("training_metrics")));
    assert_eq!(segment.metrics.len(), 2);
    let loss = &segment.metrics[1];
    assert!(loss.first.value.is_nan());
    let negative_zero = (-0.0_f64).to_bits();
    assert_eq!(loss.last.value.to_bits(), negative_zero);
    assert_eq!(loss.min.map(|min| (min.value.to_bits(), min.step)), Some((negative_zero, 3)));
    let expected = MetricStats { first: loss.first, ..stats("loss", 0.0, -0.0) };
    assert_eq!(format!("{loss:?}"), format!("{expected:?}"));
    assert_eq!(segment.metrics[0], stats("acc", 0.0, f64::INFINITY));

    let gaps = snapshot.gaps().expect("gaps");
    assert_eq!(gaps.len(), 1);
    assert_eq!(Event::Gap(gaps[0].gap.clone()), gap(4));
    let watermarks = snapshot.watermarks().expect("watermarks");
    let expected = vec![Watermark { ring: 0, committed: 20 }, Watermark { ring: 1, committed: 1 }];
    assert_eq!(watermarks[&(run_id(2), writer(0, 0))], expected);
}

/// The reader had a list of kinds of its own, and the kinds that were added with the bounds of losses were not in it: a single
/// such gap, told after a power cut, made `gaps` of the whole store an error.
#[test]
fn every_kind_of_gap_is_read_back() {
    let store = TestStore::new();
    let gaps = GapKind::ALL.map(|kind| Event::Gap(GapEvent::exact(kind, 0, 1, "d")));
    store.write(&[gaps.into_iter().fold(Log::new(1, writer(0, 0), 0, "p", "s"), |log, gap| log.then(1, gap))]);
    let snapshot = store.refreshed().snapshot(&store.layout).expect("snapshot");
    let kinds: Vec<_> = snapshot.gaps().expect("gaps").into_iter().map(|gap| gap.gap.kind).collect();
    assert_eq!(kinds, GapKind::ALL);
}

#[test]
fn the_last_attempt_of_each_rank_decides_the_state() {
    let info = |rank, attempt, state| WriterInfo {
        writer: writer(rank, attempt),
        process: ProcessInfo { host: String::new(), boot_id: String::new(), pid: 0, pid_start: 0 },
        state,
        started: 0,
        last_event: 0,
        version: String::new(),
        waits: 0,
        drops: 0,
        journal_folder: None,
    };
    use RunState::{Died, Failed, Finished, Running};
    let state = |writers: &[WriterInfo]| run_state(writers);
    assert_eq!(state(&[info(0, 0, Died), info(0, 1, Finished)]), Finished);
    assert_eq!(state(&[info(0, 0, Finished), info(0, 1, Died)]), Died);
    assert_eq!(state(&[info(0, 0, Failed), info(1, 0, Died)]), Died);
    assert_eq!(state(&[info(0, 0, Failed), info(1, 0, Finished)]), Failed);
    assert_eq!(state(&[info(0, 0, Died), info(1, 0, Running)]), Running);
}
