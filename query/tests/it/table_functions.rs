//! Functions that stand for a table.

use stepwell_engine::{ArtifactInfo, Direction, LineageEdge, RunId, WriterId};
use stepwell_query::{QueryOptions, Session};

use crate::support::{Fixture, PLACEMENTS, Placement, ask, fail, lines, picked, session_of};

fn writer(rank: i32, attempt: i32) -> WriterId {
    WriterId { rank, attempt, nonce: 1 }
}

/// Two runs with the same metrics, one of them with two ranks, of which rank 0 was resumed.
fn resumed() -> Fixture {
    let mut fixture = Fixture::new();
    let plain = fixture.run("digits", "train", Some("plain"), &[]);
    fixture.log(plain, "m", "loss", &[3.0, 2.0, 1.0]);
    fixture.log(plain, "m", "val/acc", &[0.5]);
    fixture.log(plain, "other", "loss", &[9.0]);
    let resumed = fixture.run("speedrun", "train", Some("resumed"), &[]);
    for (rank, attempt, steps) in [(0, 0, 0..6), (0, 1, 3..5), (0, 2, 4..8), (1, 0, 0..3)] {
        for step in steps {
            let value = f64::from(rank * 1000 + attempt * 100) + step as f64;
            fixture.log_as(writer(rank, attempt), resumed, "m", "loss", step, value);
        }
    }
    fixture.log_as(writer(0, 2), resumed, "m", "loss", 7, 207.5);
    // A metric that the later attempts did not log.
    fixture.log_as(writer(0, 0), resumed, "m", "eval", 5, 1.0);
    fixture
}

#[test]
fn wide_has_a_column_for_each_metric_and_a_row_for_each_step() {
    for placement in PLACEMENTS {
        let session = resumed().session(placement);
        let sql =
            "SELECT run_name, rank, attempt, step, eval, loss, \"val/acc\" FROM wide('m') ORDER BY 1 DESC, 2, 3, 4";
        let rows = ask(&session, sql);
        assert_eq!(rows[..2], ["resumed|0|0|0|null|0.0|null", "resumed|0|0|1|null|1.0|null"], "{placement:?}");
        assert_eq!(rows[5], "resumed|0|0|5|1.0|5.0|null", "{placement:?}");
        assert_eq!(rows[11], "resumed|0|2|7|null|207.5|null", "the last record of a step wins; {placement:?}");
        assert_eq!(rows[15..], ["plain|0|0|0|null|3.0|0.5", "plain|0|0|1|null|2.0|null", "plain|0|0|2|null|1.0|null"]);
        assert_eq!(ask(&session, "SELECT count(*) FROM wide('m', 'plain')"), ["3"], "{placement:?}");
        assert_eq!(ask(&session, "SELECT loss FROM wide('other')"), ["9.0"], "{placement:?}");
        let sql = "SELECT w.loss, v.loss FROM wide('m') w JOIN wide('other') v USING (run_id, step)";
        assert_eq!(ask(&session, sql), ["3.0|9.0"], "{placement:?}");
    }
}

#[test]
fn the_columns_of_wide_are_those_of_metrics_and_then_the_metrics_by_name() {
    let mut fixture = Fixture::new();
    let run = fixture.run("digits", "train", None, &[]);
    for metric in ["step", "Loss", "b", "a.b", "rank"] {
        fixture.log(run, "m", metric, &[1.0]);
    }
    let session = fixture.session(Placement::Live);
    let columns = ask(&session, "DESCRIBE SELECT * FROM wide('m')");
    let names: Vec<&str> = columns.iter().filter_map(|row| row.split('|').next()).collect();
    let keys = ["run_id", "rank", "attempt", "step", "pipeline", "stage", "run_name", "time"];
    assert_eq!(names[..8], keys);
    assert_eq!(names[8..], ["Loss", "a.b", "b", "rank_value", "step_value"]);
    assert_eq!(ask(&session, "SELECT \"Loss\" + \"a.b\" + step_value FROM wide('m')"), ["3.0"]);
}

#[test]
fn a_filter_on_the_run_leaves_segments_out_below_wide_and_curves() {
    let session = resumed().session(Placement::Committed);
    let [all, of, ..] = picked(&session, "SELECT * FROM wide('m')");
    assert!(all < of, "segments of other metrics names are left out: {all} of {of}");
    for table in ["wide('m')", "curves('m')"] {
        for filter in ["run_name = 'plain'", "pipeline = 'digits'", "rank = 1", "step > 5"] {
            let sql = format!("SELECT * FROM {table} WHERE {filter}");
            let [kept, ..] = picked(&session, &sql);
            assert!(kept > 0 && kept < all, "{sql}: {kept} of {all}");
        }
    }
    let [kept, ..] = picked(&session, "SELECT * FROM wide('m', 'plain')");
    assert!(kept > 0 && kept < all, "{kept} of {all}");
}

#[test]
fn the_last_attempt_wins_in_curves() {
    for placement in PLACEMENTS {
        let session = resumed().session(placement);
        let sql = "SELECT step, value, attempt FROM curves('m') WHERE run_name = 'resumed' AND metric = 'loss' AND rank = 0 ORDER BY step";
        let expected =
            ["0|0.0|0", "1|1.0|0", "2|2.0|0", "3|103.0|1", "4|204.0|2", "5|205.0|2", "6|206.0|2", "7|207.5|2"];
        assert_eq!(ask(&session, sql), expected, "{placement:?}");
        let sql = "SELECT count(*) FROM curves() WHERE metric = 'eval'";
        assert_eq!(ask(&session, sql), ["0"], "taken back by the later attempts; {placement:?}");
        let sql = "SELECT count(*) FROM curves() WHERE rank = 1 OR run_name = 'plain'";
        assert_eq!(ask(&session, sql), ["8"], "what was not resumed stays; {placement:?}");
        let sql = "SELECT attempt FROM curves() WHERE rank = 0 AND step = 5 AND attempt = 0";
        assert!(ask(&session, sql).is_empty(), "a filter on the attempt brings no row back; {placement:?}");
        let columns = |table: &str| -> Vec<String> {
            let rows = ask(&session, &format!("DESCRIBE SELECT * FROM {table}"));
            rows.iter().map(|row| row.rsplit_once('|').map_or(row.as_str(), |(column, _)| column).to_owned()).collect()
        };
        assert_eq!(columns("metrics"), columns("curves()"), "{placement:?}");
    }
}

#[test]
fn config_diff_shows_the_parameters_that_are_not_the_same() {
    let mut fixture = Fixture::new();
    let big = 9_007_199_254_740_993_i64;
    fixture.run(
        "d",
        "t",
        Some("a"),
        &[("lr", 1.into()), ("seed", 1.into()), ("big", big.into()), ("same", "x".into())],
    );
    fixture.run(
        "d",
        "t",
        Some("b"),
        &[("lr", 1.0.into()), ("seed", 2.into()), ("big", (big - 1).into()), ("same", "x".into())],
    );
    fixture.run("d", "t", Some("c"), &[("lr", "1".into()), ("same", "x".into())]);
    let session = fixture.session(Placement::Live);
    let sql = "SELECT key, name, value, number FROM config_diff('b', 'a')";
    let expected = [
        "big|b|9007199254740992|9007199254740992.0",
        "big|a|9007199254740993|9007199254740992.0",
        "seed|b|2|2.0",
        "seed|a|1|1.0",
    ];
    assert_eq!(ask(&session, sql), expected, "1 and 1.0 are the same number");
    let sql = "SELECT key, name, value FROM config_diff() WHERE key <> 'big' ORDER BY key, name";
    assert_eq!(ask(&session, sql), ["lr|a|1", "lr|b|1", "lr|c|1", "seed|a|1", "seed|b|2", "seed|c|null"]);
    let id = fixture.runs[2].run_id;
    let sql = format!("SELECT DISTINCT key FROM config_diff('{id}', 'c', 'a') ORDER BY 1");
    assert_eq!(ask(&session, &sql), ["big", "lr", "seed"], "a run that is named twice counts once");
}

/// raw -> prepare -> clean -> train -> model -> label -> clean: a cycle.
fn cycle() -> Session {
    let mut fixture = Fixture::new();
    let runs: Vec<RunId> = ["prepare", "train", "label"].map(|name| fixture.run("p", "s", Some(name), &[])).into();
    let artifact = |id: i64, kind: &str, name: &str| ArtifactInfo {
        id,
        artifact_type: kind.to_owned(),
        name: format!("{name}:{id}aaaaaaaaa"),
        uri: format!("{id}aaaaaaaaa"),
        ..ArtifactInfo::default()
    };
    let edge =
        |run: usize, artifact_id, direction| LineageEdge { run_id: runs[run], artifact_id, direction, time_millis: 0 };
    let mut data = fixture.snapshot(Placement::Live);
    data.artifacts =
        vec![artifact(1, "Dataset", "raw"), artifact(2, "Dataset", "clean"), artifact(3, "Model", "model")];
    data.lineage = vec![
        edge(0, 1, Direction::Input),
        edge(0, 2, Direction::Output),
        edge(1, 2, Direction::Input),
        edge(1, 3, Direction::Output),
        edge(2, 3, Direction::Input),
        edge(2, 2, Direction::Output),
    ];
    session_of(data, QueryOptions::default())
}

#[test]
fn ancestors_and_descendants_come_to_an_end_on_a_cycle() {
    let session = cycle();
    let back = [
        "0|artifact|model|model",
        "1|run|train|model <- train",
        "2|artifact|clean|model <- train <- clean",
        "3|run|label|model <- train <- clean <- label",
        "3|run|prepare|model <- train <- clean <- prepare",
        "4|artifact|raw|model <- train <- clean <- prepare <- raw",
    ];
    for start in ["'model'", "'model:3aaaaaaaaa'", "'3aaaaaaaaa'", "'3'", "3"] {
        assert_eq!(ask(&session, &format!("SELECT depth, kind, name, path FROM ancestors({start})")), back, "{start}");
    }
    let forth = ["0|run|train|p/s", "1|artifact|model|Model", "2|run|label|p/s", "3|artifact|clean|Dataset"];
    assert_eq!(ask(&session, "SELECT depth, kind, name, type FROM descendants('train')"), forth);
    let sql = "SELECT r.name FROM ancestors('model') a JOIN runs r ON r.run_id = a.id ORDER BY 1";
    assert_eq!(ask(&session, sql), ["label", "prepare", "train"]);
}

#[test]
fn a_long_chain_has_short_paths() {
    let mut fixture = Fixture::new();
    let mut data = fixture.snapshot(Placement::Live);
    for index in 0..2000_i64 {
        let run_id = fixture.run("p", "s", Some(&format!("run-{index:04}")), &[]);
        let artifact = |id: i64| ArtifactInfo {
            id,
            artifact_type: "Model".to_owned(),
            name: format!("model-{id:04}"),
            ..ArtifactInfo::default()
        };
        data.artifacts.push(artifact(index));
        let edge = |artifact_id, direction| LineageEdge { run_id, artifact_id, direction, time_millis: 0 };
        data.lineage.push(edge(index, Direction::Input));
        data.lineage.push(edge(index + 1, Direction::Output));
    }
    data.runs.clone_from(&fixture.runs);
    let session = session_of(data, QueryOptions::default());
    let sql = "SELECT max(depth), count(*), max(length(path)) < 1100 FROM descendants('model-0000')";
    assert_eq!(ask(&session, sql), ["3999|4000|true"]);
    let sql = "SELECT path FROM descendants('model-0000') ORDER BY depth DESC LIMIT 1";
    let path = ask(&session, sql).join("");
    assert!(path.starts_with("model-0000 -> run-0000") && path.ends_with(" ... -> run-1999"), "{path}");
}

#[test]
fn a_wrong_call_is_told_what_the_function_takes() {
    let session = resumed().session(Placement::Live);
    let cases = [
        ("wide()", "wide('metrics name' [, 'run']): it takes 1 to 2 arguments, and got 0"),
        ("wide('n')", "there is no metrics name \"n\"; did you mean \"m\"?; there are: m, other"),
        ("wide('m', 'plian')", "there is no run \"plian\"; did you mean \"plain\"?; there are: plain, resumed"),
        ("wide('other', 'resumed')", "there is no metrics name \"other\"; there are: m"),
        ("wide(1 + 1.5)", "its arguments are texts in single quotes, and no columns or expressions"),
        ("wid('m')", "there is no table \"wid\"; did you mean \"wide\"?"),
        ("wide", "wide is a function; write wide('metrics name' [, 'run'])"),
        ("runs JOIN Curves USING (run_id)", "curves is a function; write curves(['metrics name'])"),
        ("curves('others')", "curves(['metrics name']): there is no metrics name \"others\"; did you mean \"other\"?"),
        ("config_diff('plain')", "config_diff(['run', ...]): \"plain\" is a single run; name two or more, or none"),
        ("ancestors()", "ancestors('artifact or run'): it takes 1 argument, and got 0"),
        ("ancestors('resume')", "there is no artifact or run \"resume\"; did you mean \"resumed\"?"),
        ("descendants('nothing')", "descendants('artifact or run'): there is no artifact or run \"nothing\""),
    ];
    for (call, message) in cases {
        let error = fail(&session, &format!("SELECT * FROM {call}"));
        assert!(error.to_string().contains(message), "{call}: {error}");
        assert!(error.is_invalid_input(), "{call}: {error:?}");
    }
    let sql = "WITH wide AS (SELECT count(*) AS steps FROM wide('m', 'plain')) SELECT steps FROM wide";
    assert_eq!(ask(&session, sql), ["3"], "a query may have the name of a function");
    let mut fixture = Fixture::new();
    fixture.run("p", "s", Some("twice"), &[]);
    fixture.run("p", "s", Some("twice"), &[]);
    let error = fail(&fixture.session(Placement::Live), "SELECT * FROM config_diff('twice', 'twice')").to_string();
    assert!(error.contains("\"twice\" fits 2 runs") && error.contains(&fixture.runs[0].run_id.to_string()), "{error}");
}

#[test]
fn parameters_may_stand_for_arguments() {
    let session = resumed().session(Placement::Live);
    let options = QueryOptions::default().with_parameter("name", "m").with_parameter("run", "plain");
    let result = session.sql_with("SELECT count(*) FROM wide($name, $run)", &options).expect("an answer");
    assert_eq!(lines(&result), ["3"]);
}

#[test]
fn a_table_that_would_be_too_large_is_refused() {
    let mut fixture = Fixture::new();
    for run in 0..2300 {
        fixture.run("p", "s", Some(&format!("run-{run}")), &[(&format!("only-{run}"), 1.into())]);
    }
    let run = fixture.runs[0].run_id;
    for metric in 0..2001 {
        fixture.log(run, "many", &format!("m{metric:04}"), &[1.0]);
    }
    let session = fixture.session(Placement::Live);
    let message = fail(&session, "SELECT * FROM wide('many')").to_string();
    assert!(message.contains("\"many\" has 2001 metrics, and a table at most 2000 columns of them"), "{message}");
    let message = fail(&session, "SELECT * FROM config_diff()").to_string();
    assert!(message.contains("2300 parameters differ among 2300 runs"), "{message}");
    assert_eq!(ask(&session, "SELECT count(*) FROM config_diff('run-0', 'run-1')"), ["4"]);
}
