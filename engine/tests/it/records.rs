//! What runs say in ML Metadata's own terms, and runs that come from elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use stepwell_engine::events::Origin;
use stepwell_engine::{
    ArtifactRecord, ArtifactSpec, ContextLevel, ContextRecord, Direction, Error, ExecutionRecord, FinishState,
    Imported, ImportedMetrics, ImportedRow, ImportedRun, ParamValue, Run, RunId, RunOptions, RunState, Store,
};

use crate::common::{open, small_config};

fn temporary() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(&folder.path().join("store"), small_config());
    (folder, store)
}

fn record(name: &str) -> ArtifactRecord {
    ArtifactRecord {
        artifact_type: "Dataset".into(),
        name: format!("{name}:0123"),
        uri: "0123".into(),
        attributed: true,
        ..ArtifactRecord::default()
    }
}

fn text(text: &str) -> ParamValue {
    ParamValue::Text(text.into())
}

fn properties(pairs: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// All rows of a question to the catalog's SQLite file, as text.
fn ask(store: &Store, sql: &str) -> Vec<String> {
    rows(&store.catalog_file().expect("catalog"), sql)
}

fn rows(catalog: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open_with_flags(catalog, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open");
    let mut select = connection.prepare(sql).expect(sql);
    let columns = select.column_count();
    let show = |value: Value| match value {
        Value::Null => "-".to_owned(),
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => format!("{value:?}"),
        Value::Text(value) => value,
        Value::Blob(_) => "blob".to_owned(),
    };
    let found = select.query_map([], |row| {
        let cells = (0..columns).map(|column| row.get(column).map(show)).collect::<Result<Vec<_>, _>>()?;
        Ok(cells.join("|"))
    });
    found.expect(sql).collect::<Result<_, _>>().expect(sql)
}

/// Every row of every table of the catalog.
fn dump(store: &Store) -> BTreeMap<String, Vec<String>> {
    let path = store.catalog_file().expect("catalog");
    let tables =
        rows(&path, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name != 'stepwell_scan' ORDER BY name");
    let dump = |table: String| {
        let mut found = rows(&path, &format!("SELECT * FROM {table}"));
        found.sort();
        (table, found)
    };
    tables.into_iter().map(dump).collect()
}

/// The catalog says the same when it is built from the logs alone.
fn assert_rebuilt_alike(store: &Store) {
    let before = dump(store);
    let path = store.layout().root().to_owned();
    std::fs::remove_file(path.join("catalog.db")).expect("remove");
    let again = Store::open(&path).expect("open");
    for (table, rows) in dump(&again) {
        assert_eq!(Some(&rows), before.get(&table), "{table}");
    }
}

fn start(store: &Store, stage: &str) -> Run {
    store.start_run(RunOptions::new("p", stage)).expect("start")
}

#[test]
fn a_record_is_in_ml_metadata_as_it_was_given() {
    let (_folder, store) = temporary();
    let run = start(&store, "s");
    let id = run
        .log_record(ArtifactRecord {
            direction: Some(Direction::InternalOutput),
            declared: properties(&[("Commit", text("0123")), ("size", ParamValue::Int(7))]),
            properties: properties(&[("score", ParamValue::Float(0.5))]),
            path: Some("data.csv:0123".into()),
            ..record("data.csv")
        })
        .expect("record");
    let sql = "SELECT artifact.id, type.name, artifact.name, uri, state FROM Artifact JOIN Type ON type.id = type_id";
    assert_eq!(ask(&store, sql), [format!("{id}|Dataset|data.csv:0123|0123|2")]);
    let sql =
        "SELECT name, is_custom_property, int_value, double_value, string_value FROM ArtifactProperty ORDER BY name";
    assert_eq!(ask(&store, sql), ["Commit|0|-|-|0123", "score|1|-|0.5|-", "size|0|7|-|-"]);
    let sql = "SELECT event.type, execution_id, step_key FROM Event JOIN EventPath ON event_id = event.id";
    assert_eq!(ask(&store, sql), [format!("6|{}|data.csv:0123", run.metadata_ids().execution)]);
    let sql = "SELECT data_type FROM TypeProperty JOIN Type ON type.id = type_id WHERE type.name = 'Dataset' AND TypeProperty.name = 'size'";
    assert_eq!(ask(&store, sql), ["1"]);
    let sql = "SELECT context_id FROM Attribution";
    assert_eq!(ask(&store, sql), [run.metadata_ids().stage.to_string()]);
    run.finish().expect("finish");
    assert_rebuilt_alike(&store);
}

#[test]
fn a_record_told_again_is_another_use_of_the_same_artifact() {
    let (_folder, store) = temporary();
    let (one, two) = (start(&store, "one"), start(&store, "two"));
    let first = ArtifactRecord { direction: Some(Direction::Output), ..record("d") };
    let id = one.log_record(first).expect("record");
    let again = ArtifactRecord { direction: Some(Direction::Input), attributed: false, ..record("d") };
    assert_eq!(two.log_record(again).expect("record"), id);
    let more = ArtifactRecord { properties: properties(&[("labels", text("cat"))]), attributed: false, ..record("d") };
    assert_eq!(two.log_record(more).expect("record"), id);
    assert_eq!(ask(&store, "SELECT type FROM Event ORDER BY type"), ["3", "4"], "no event without a direction");
    assert_eq!(ask(&store, "SELECT count(*) FROM Attribution"), ["1"]);
    assert_eq!(ask(&store, "SELECT count(*) FROM EventPath"), ["0"]);
    let artifacts = store.snapshot().expect("snapshot").artifacts().expect("artifacts");
    assert_eq!(artifacts.len(), 1);
    assert_eq!(artifacts[0].properties, properties(&[("labels", text("cat"))]));
    assert_rebuilt_alike(&store);
}

#[test]
fn hostile_texts_of_records_are_refused() {
    let (_folder, store) = temporary();
    let run = start(&store, "s");
    let long = "x".repeat(5000);
    for name in ["", "a\0b", &long] {
        let refused = run.log_record(ArtifactRecord { name: name.to_owned(), ..record("d") });
        assert!(matches!(refused, Err(Error::InvalidSetting { .. })), "{refused:?}");
    }
    let refused = run.log_record(ArtifactRecord { properties: properties(&[("", text("x"))]), ..record("d") });
    assert!(matches!(refused, Err(Error::InvalidSetting { .. })), "{refused:?}");
    assert_eq!(ask(&store, "SELECT count(*) FROM Artifact"), ["0"]);
}

#[test]
fn executions_and_contexts_are_called_what_they_were_said_to_be() {
    let (_folder, store) = temporary();
    let options = RunOptions::new("p", "s")
        .execution_type("Train-execution")
        .execution_name("reused")
        .execution_uuid("uuid-1")
        .command("train.py")
        .pipeline_property("owner", "vision")
        .stage_property("order", 2_i64);
    let run = store.start_run(options).expect("start");
    run.set_execution_properties(properties(&[("Git_End_Commit", text("abc"))])).expect("set");
    run.set_context_properties(ContextLevel::Pipeline, properties(&[("owner", text("audio"))])).expect("set");
    let sql = "SELECT type.name, execution.name FROM Execution JOIN Type ON type.id = type_id";
    assert_eq!(ask(&store, sql), ["Train-execution|reused"]);
    let sql = "SELECT name, string_value FROM ExecutionProperty WHERE NOT is_custom_property AND name IN
               ('Execution_uuid', 'Git_End_Commit', 'Execution', 'Context_Type') ORDER BY name";
    assert_eq!(
        ask(&store, sql),
        ["Context_Type|p/s", "Execution|train.py", "Execution_uuid|uuid-1", "Git_End_Commit|abc"]
    );
    let sql = "SELECT context.name, property.name, int_value, string_value FROM ContextProperty AS property
               JOIN Context ON context.id = context_id WHERE is_custom_property ORDER BY 1, 2";
    assert_eq!(ask(&store, sql), ["p|owner|-|audio", "p/s|order|2|-"]);
    run.finish().expect("finish");
    assert_rebuilt_alike(&store);
}

/// ML Metadata has one execution of a name and type: the second row of that name would not go into the table.
#[test]
fn of_two_runs_that_claim_a_name_the_first_has_it() {
    let (_folder, store) = temporary();
    let named = || RunOptions::new("p", "s").execution_name("the one");
    let runs: Vec<Run> = (0..3).map(|_| store.start_run(named()).expect("start")).collect();
    runs.iter().rev().for_each(|run| drop(run.finish().expect("finish")));
    let first = runs.iter().map(Run::id).min().expect("a run");
    assert_eq!(ask(&store, "SELECT external_id FROM Execution WHERE name = 'the one'"), [first.to_string()]);
    assert_rebuilt_alike(&store);
}

#[test]
fn links_and_aliases_are_kept_and_the_latest_alias_counts() {
    let (folder, store) = temporary();
    let run = start(&store, "s");
    let logged = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, name).expect("write");
        run.log_artifact(Direction::Output, ArtifactSpec::new("Model", &path).name("model")).expect("log")
    };
    let (old, new) = (logged("old"), logged("new"));
    run.link(old.key(), new.key(), "derived").expect("link");
    run.set_alias("model", "best", Some(old.key())).expect("alias");
    run.set_alias("model", "best", Some(new.key())).expect("alias");
    run.set_alias("model", "gone", Some(old.key())).expect("alias");
    run.set_alias("model", "gone", None).expect("alias");
    let snapshot = store.snapshot().expect("snapshot");
    let ids: BTreeMap<String, i64> =
        snapshot.artifacts().expect("artifacts").into_iter().map(|artifact| (artifact.uri, artifact.id)).collect();
    let (old, new) = (ids[&old.hash.to_string()], ids[&new.hash.to_string()]);
    let links = snapshot.links().expect("links");
    assert_eq!((links[0].source, links[0].target, links[0].relation.as_str()), (old, new, "derived"));
    let aliases = snapshot.aliases().expect("aliases");
    assert_eq!(aliases.len(), 1);
    assert_eq!((aliases[0].name.as_str(), aliases[0].alias.as_str(), aliases[0].artifact_id), ("model", "best", new));
    run.finish().expect("finish");
    assert_rebuilt_alike(&store);
}

const NANOS: i64 = 1_700_000_000_000_000_000;

fn imported() -> ImportedRun {
    let origin = |source_id, state| Origin {
        source_id: Some(source_id),
        state,
        created_millis: Some(1_700_000_000_001),
        updated_millis: Some(1_700_000_000_002),
    };
    let rows = (1..=3_u8).map(|step| ImportedRow {
        step: step.into(),
        time: NANOS / 1_000 + i64::from(step),
        values: vec![Some(f64::from(step) / 2.0), (step == 2).then_some(f64::NAN)],
    });
    ImportedRun {
        run_id: RunId::generate(),
        pipeline: "p".into(),
        stage: "s".into(),
        name: None,
        params: properties(&[("lr", ParamValue::Float(0.1)), ("seed", ParamValue::Int(1 << 40))]),
        tags: BTreeMap::new(),
        command: "train.py".into(),
        git_repo: None,
        git_commit: None,
        source: "elsewhere".into(),
        started: NANOS,
        ended: NANOS + 5_000_000_000,
        state: FinishState::Finished,
        execution: ExecutionRecord {
            execution_type: Some("Train".into()),
            name: None,
            declared: properties(&[("Execution_uuid", text("u")), ("Context_ID", ParamValue::Int(2))]),
            origin: origin(5, None),
        },
        contexts: vec![
            ContextRecord {
                pipeline: "p".into(),
                stage: None,
                properties: properties(&[("user", text("me"))]),
                origin: origin(1, None),
            },
            ContextRecord {
                pipeline: "p".into(),
                stage: Some("empty".into()),
                origin: origin(3, None),
                ..ContextRecord::default()
            },
        ],
        artifacts: vec![ArtifactRecord {
            direction: Some(Direction::Input),
            time_millis: Some(1_700_000_000_003),
            origin: origin(9, None),
            ..record("data")
        }],
        metrics: vec![ImportedMetrics {
            metrics_name: "training".into(),
            metrics: vec!["loss".into(), "gap".into()],
            rows: rows.collect(),
        }],
    }
}

#[test]
fn an_imported_run_has_the_times_states_and_ids_it_had() {
    let (_folder, store) = temporary();
    let run = imported();
    assert_eq!(store.import_run(&run).expect("import"), Imported::New { records: 4 });
    assert_eq!(store.import_run(&run).expect("again"), Imported::AlreadyThere);
    let snapshot = store.snapshot().expect("snapshot");
    let found = &snapshot.runs()[0];
    assert_eq!((found.run_id, found.started, found.ended), (run.run_id, run.started, Some(run.ended)));
    assert_eq!((found.state, &found.params, found.execution.source_id), (RunState::Finished, &run.params, Some(5)));
    assert_eq!(snapshot.artifacts().expect("artifacts")[0].source_id, Some(9));
    let summary = snapshot.summary().expect("summary");
    let told: Vec<_> =
        summary.iter().map(|row| (row.stats.metric.as_str(), row.stats.count, row.stats.last.step)).collect();
    assert_eq!(told, [("gap", 1, 2), ("loss", 3, 3)]);
    let sql = "SELECT last_known_state, create_time_since_epoch, last_update_time_since_epoch FROM Execution";
    assert_eq!(ask(&store, sql), ["-|1700000000001|1700000000002"]);
    let sql = "SELECT state, create_time_since_epoch FROM Artifact WHERE uri = '0123'";
    assert_eq!(ask(&store, sql), ["-|1700000000001"]);
    assert_eq!(ask(&store, "SELECT milliseconds_since_epoch FROM Event WHERE type = 3"), ["1700000000003"]);
    let sql = "SELECT name FROM ExecutionProperty WHERE NOT is_custom_property ORDER BY name";
    assert_eq!(ask(&store, sql), ["Context_ID", "Execution_uuid"], "an imported execution has no property but its own");
    assert_eq!(ask(&store, "SELECT name FROM Context ORDER BY name"), ["p", "p/empty", "p/s"]);
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    assert_rebuilt_alike(&store);
}

#[test]
fn what_cannot_be_imported_changes_nothing() {
    let (folder, store) = temporary();
    let mut run = imported();
    run.metrics[0].rows[1].values.pop();
    let refused = store.import_run(&run).expect_err("refused").to_string();
    assert!(refused.contains("step 2") && refused.contains("1 values for 2 metrics"), "{refused}");
    let mut run = imported();
    run.artifacts[0].uri = String::new();
    store.import_run(&run).expect_err("refused");
    assert_eq!(store.snapshot().expect("snapshot").runs().len(), 0);
    let left: Vec<_> = std::fs::read_dir(folder.path().join("store"))
        .expect("list")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp-")), "{left:?}");
}

#[test]
fn a_catalog_of_an_older_version_is_built_anew_and_leaves_no_copy() {
    let (folder, store) = temporary();
    start(&store, "s").finish().expect("finish");
    let (path, before) = (store.catalog_file().expect("catalog"), dump(&store));
    drop(store);
    let older = Connection::open(&path).expect("open");
    older.execute_batch("PRAGMA user_version = 4; DROP TABLE stepwell_alias;").expect("older");
    drop(older);
    let store = open(&folder.path().join("store"), small_config());
    assert_eq!(dump(&store), before);
    assert!(!folder.path().join("store/quarantine").exists(), "nothing was damaged");
}
