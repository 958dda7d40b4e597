//! The tables other than `metrics`.

use std::collections::BTreeMap;

use stepwell_engine::events::{GapEvent, GapKind};
use stepwell_engine::{
    AliasInfo, ArtifactInfo, Direction, GapInfo, LineageEdge, LinkInfo, ParamValue, RunState, WriterId,
};
use stepwell_query::QueryOptions;

use crate::support::{Fixture, Placement, START, ask, session_of};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let first = fixture.run("digits", "prepare", None, &[("lr", ParamValue::Int(1)), ("flag", ParamValue::Bool(true))]);
    let params = [
        ("lr", ParamValue::Float(0.25)),
        ("seed", ParamValue::Int(7)),
        ("mixed", ParamValue::Int(3)),
        ("odd key'", "x".into()),
    ];
    fixture.run("digits", "train", Some("best"), &params);
    let last = fixture.run("speedrun", "train", None, &[("mixed", "text".into())]);
    fixture.log(first, "m", "loss", &[2.0, f64::NAN, 1.0]);
    fixture.log(last, "m", "loss", &[f64::INFINITY]);
    if let Some(run) = fixture.runs.last_mut() {
        run.state = RunState::Running;
        run.ended = None;
        run.tags = BTreeMap::new();
    }
    fixture
}

#[test]
fn params_and_tags_are_typed_fields() {
    let session = fixture().session(Placement::Split);
    assert_eq!(ask(&session, "SELECT name FROM runs WHERE params['lr'] < 0.5"), ["best"]);
    assert_eq!(
        ask(&session, "SELECT params['lr'] * 2, params['seed'] + 1, params['flag'], params['mixed'] FROM runs"),
        ["2.0|null|true|null", "0.5|8|null|3", "null|null|null|text"]
    );
    assert_eq!(ask(&session, "SELECT params['odd key'''] FROM runs WHERE name = 'best'"), ["x"]);
    assert_eq!(ask(&session, "SELECT count(*) FROM runs WHERE tags['team'] = 'vision'"), ["2"]);
    assert_eq!(ask(&session, "SELECT avg(params['lr']) FROM runs"), ["0.625"]);
    let types = ask(&session, "SELECT arrow_typeof(params['seed']), arrow_typeof(params['lr']) FROM runs LIMIT 1");
    assert_eq!(types, ["Int64|Float64"]);
}

#[test]
fn runs_have_their_times_and_state() {
    let session = fixture().session(Placement::Live);
    let sql = "SELECT pipeline, stage, name, state, started, ended, duration_seconds FROM runs ORDER BY started";
    assert_eq!(
        ask(&session, sql),
        [
            "digits|prepare|null|finished|2026-01-02T03:04:05.000006Z|2026-01-02T03:04:06.500006Z|1.5",
            "digits|train|best|finished|2026-01-02T03:04:06.000006Z|2026-01-02T03:04:07.500006Z|1.5",
            "speedrun|train|null|running|2026-01-02T03:04:07.000006Z|null|null",
        ]
    );
    assert_eq!(ask(&session, "SELECT count(*) FROM runs WHERE started >= '2026-01-02T03:04:06Z'"), ["2"]);
}

#[test]
fn params_are_rows_too() {
    let session = fixture().session(Placement::Live);
    assert_eq!(
        ask(&session, "SELECT key, value, number, kind FROM params ORDER BY run_id, key"),
        [
            "flag|true|null|bool",
            "lr|1|1.0|int",
            "lr|0.25|0.25|float",
            "mixed|3|3.0|int",
            "odd key'|x|null|text",
            "seed|7|7.0|int",
            "mixed|text|null|text",
        ]
    );
}

#[test]
fn summary_needs_no_file() {
    let fixture = fixture();
    let data = fixture.snapshot(Placement::Committed);
    data.segments.iter().for_each(|segment| std::fs::remove_file(&segment.path).expect("removed"));
    let session = session_of(data, QueryOptions::default());
    let sql = "SELECT metrics_name, metric, count, non_finite, min, min_step, max, max_step, first, first_step, last, last_step, mean FROM summary ORDER BY run_id";
    assert_eq!(
        ask(&session, sql),
        ["m|loss|3|1|1.0|2|2.0|0|2.0|0|1.0|2|1.5", "m|loss|1|1|null|null|null|null|inf|0|inf|0|null"]
    );
}

/// Filters on the keys leave rows out before they are made; a volatile one beside them is asked of the rows alone.
#[test]
fn summary_answers_filters_as_its_rows_do() {
    let mut fixture = Fixture::new();
    let runs = ["a", "b", "c"].map(|name| fixture.run("p", name, None, &[]));
    for run in runs {
        for (metrics_name, metric) in [("train", "loss"), ("train", "accuracy"), ("eval", "loss"), ("eval", "größe")]
        {
            fixture.log(run, metrics_name, metric, &[1.0, 2.0]);
        }
    }
    let session = fixture.session(Placement::Split);
    let run = runs[1].to_string();
    for (filter, rows) in [
        ("true".to_owned(), 12),
        ("metric = 'loss'".to_owned(), 6),
        ("metric <> 'loss' AND metrics_name = 'eval'".to_owned(), 3),
        ("metric IN ('größe', 'none') OR metrics_name = 'train'".to_owned(), 9),
        ("metric NOT IN ('loss', NULL)".to_owned(), 0),
        ("upper(metric) LIKE 'A%'".to_owned(), 3),
        (format!("run_id = '{run}'"), 4),
        (format!("run_id = '{run}' AND metric = 'loss' AND count = 2"), 2),
        (format!("run_id > '{run}' AND metric = 'loss'"), 2),
        (format!("run_id <> '{run}' OR metric = 'accuracy'"), 9),
        ("run_id IN (SELECT run_id FROM runs WHERE stage = 'a')".to_owned(), 4),
        ("run_id IS NULL".to_owned(), 0),
        ("metric = metrics_name".to_owned(), 0),
    ] {
        let sql = |filter: &str| {
            format!("SELECT run_id, metrics_name, metric, count FROM summary s WHERE {filter} ORDER BY 1, 2, 3")
        };
        let found = ask(&session, &sql(&filter));
        assert_eq!(found.len(), rows, "{filter}");
        if !filter.contains("SELECT") {
            assert_eq!(found, ask(&session, &sql(&format!("CASE WHEN random() < 2 THEN {filter} END"))), "{filter}");
        }
    }
    let error = session.sql("SELECT count FROM summary WHERE CAST(metric AS INT) = 1").expect_err("no number");
    assert!(error.to_string().contains("Cannot cast"), "{error}");
}

#[test]
fn lineage_knows_its_artifacts() {
    let fixture = fixture();
    let mut data = fixture.snapshot(Placement::Live);
    data.artifacts = vec![ArtifactInfo {
        id: 4,
        artifact_type: "Dataset".to_owned(),
        name: "digits.csv".to_owned(),
        uri: "ab12".to_owned(),
        bytes: Some(10),
        version: None,
        created_millis: START / 1_000_000,
        properties: BTreeMap::from([("rows".to_owned(), ParamValue::Int(3))]),
        ..ArtifactInfo::default()
    }];
    data.lineage = vec![LineageEdge {
        run_id: fixture.runs[0].run_id,
        artifact_id: 4,
        direction: Direction::Input,
        time_millis: START / 1_000_000,
    }];
    data.links =
        vec![LinkInfo { run_id: fixture.runs[0].run_id, source: 4, target: 5, relation: "derived".to_owned() }];
    data.aliases = vec![AliasInfo { name: "digits.csv".to_owned(), alias: "best".to_owned(), artifact_id: 4 }];
    data.gaps = vec![GapInfo {
        run_id: fixture.runs[0].run_id,
        writer: WriterId { rank: 0, attempt: 0, nonce: 1 },
        time: START,
        gap: GapEvent { kind: GapKind::RingFull, ring: 2, records: 9, records_max: None, detail: "why".to_owned() },
    }];
    let session = session_of(data, QueryOptions::default());
    assert_eq!(
        ask(&session, "SELECT id, type, name, uri, bytes, version, created, properties FROM artifacts"),
        ["4|Dataset|digits.csv|ab12|10|null|2026-01-02T03:04:05Z|{\"rows\":3}"]
    );
    assert_eq!(
        ask(
            &session,
            "SELECT r.stage, l.artifact_id, l.type, l.name, l.uri, l.direction FROM lineage l JOIN runs r ON r.run_id = l.run_id"
        ),
        ["prepare|4|Dataset|digits.csv|ab12|input"]
    );
    assert_eq!(ask(&session, "SELECT source_id, target_id, relation FROM links"), ["4|5|derived"]);
    assert_eq!(ask(&session, "SELECT name, alias, artifact_id FROM aliases"), ["digits.csv|best|4"]);
    assert_eq!(
        ask(&session, "SELECT writer, kind, ring, records, detail FROM gaps"),
        ["w-0-0-00000001|ring_full|2|9|why"]
    );
}

#[test]
fn the_store_describes_itself() {
    let session = fixture().session(Placement::Committed);
    let sql = "SELECT DISTINCT id, type, name, command, git_commit FROM executions";
    assert_eq!(ask(&session, sql), ["0||null||null"]);
    assert_eq!(
        ask(&session, "SELECT pipeline, stages, runs, running FROM pipelines"),
        ["digits|2|2|0", "speedrun|1|1|1"]
    );
    assert_eq!(
        ask(&session, "SELECT pipeline, stage, runs FROM stages"),
        ["digits|prepare|1", "digits|train|1", "speedrun|train|1"]
    );
    assert_eq!(
        ask(&session, "SELECT writer, rank, host, pid, state, waits, drops FROM writers LIMIT 1"),
        ["w-0-0-00000001|0|node-1|77|finished|2|0"]
    );
    assert_eq!(
        ask(
            &session,
            "SELECT n, metrics_name, metrics, rows, step_min, step_max, path LIKE 'runs/%' FROM segments ORDER BY n"
        ),
        ["0|m|1|3|0|2|true", "1|m|1|1|0|0|true"]
    );
    let sql =
        "SELECT s.rows, count(*) FROM segments s JOIN metrics m ON s.run_id = m.run_id GROUP BY s.n, s.rows ORDER BY 1";
    assert_eq!(ask(&session, sql), ["1|1", "3|3"]);
}
