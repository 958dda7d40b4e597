//! What a user reads when a query is wrong: each fact once, and what to do.

use stepwell_engine::ParamValue;
use stepwell_query::{Error, Position};

use crate::support::{Fixture, Placement, fail};

fn message(sql: &str) -> String {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[("lr", ParamValue::Float(0.1))]);
    fixture.log(run, "m", "loss", &[1.0]);
    fail(&fixture.session(Placement::Split), sql).to_string()
}

#[test]
fn an_unknown_column_names_the_nearest_and_all() {
    assert_eq!(
        message("SELECT run_id,\n  valeu FROM metrics"),
        "there is no column \"valeu\" (line 2, column 3); did you mean \"value\"?; columns: run_id, metrics_name, \
         metric, step, time, value, rank, attempt, seq, pipeline, stage, run_name"
    );
    let text = message("SELECT m.nothing FROM metrics m JOIN runs r ON r.run_id = m.run_id");
    assert!(text.starts_with("there is no column \"m.nothing\" (line 1, column 8); columns: "), "{text}");
}

#[test]
fn an_unknown_table_names_the_nearest_and_all() {
    assert_eq!(
        message("SELECT * FROM metric"),
        "there is no table \"metric\"; did you mean \"metrics\"?; tables: metrics, runs, params, summary, artifacts, \
         lineage, links, aliases, executions, pipelines, stages, writers, segments, engine_stats, gaps"
    );
    assert!(message("SELECT * FROM elsewhere.metrics").starts_with("there is no table \"elsewhere.metrics\""));
}

#[test]
fn a_text_that_is_no_sql_says_where() {
    let text = message("SELECT value FORM metrics");
    assert!(text.starts_with("the SQL does not parse: Expected"), "{text}");
    assert!(text.contains("Line: 1, Column: "), "{text}");
    let text = message("SELECT 'abc");
    assert!(text.starts_with("the SQL does not parse: Unterminated string"), "{text}");
}

/// What the libraries below wrap around their messages.
const DECORATIONS: [&str; 7] =
    ["DataFusion", "Error during planning", "Arrow error", "Schema error", "External", "Internal", "stepwell.public"];

#[test]
fn other_faults_are_told_once() {
    let mut faults = Vec::new();
    for (sql, part) in [
        ("SELECT averge(value) FROM metrics", "averge"),
        ("SELECT value, max(step) FROM metrics", "GROUP BY"),
        ("SELECT 1 / 0", "ivide by zero"),
        ("SELECT run_id FROM metrics, runs", "run_id"),
        ("SELECT sum(metric) FROM metrics", "sum"),
        ("SELECT params['lr']['x'] FROM runs", "Float64"),
        ("SELECT value + metric FROM metrics", "coerce"),
        ("SELECT value FROM metrics WHERE step = 'abc'", "abc"),
        ("SELECT * FROM metrics WHERE time > 'yesterday'", "yesterday"),
        ("SELECT * FROM metrics WHERE value", "value"),
        ("SELECT * FROM metrics m WHERE metrics.value > 3", "metrics.value"),
        ("SELECT value FROM metrics ORDER BY nothing", "nothing"),
        ("SELECT value FROM metrics GROUP BY", "EOF"),
        ("SELECT * FROM information_schema.nothing", "nothing"),
        ("SELECT CAST(metric AS INT) FROM metrics", "loss"),
        ("SELECT loss FROM metrics", "WHERE metric = 'loss'"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
    ] {
        let text = message(sql);
        if !text.contains(part) {
            faults.push(format!("{sql}: {text}"));
        }
        for decoration in DECORATIONS {
            if text.contains(decoration) {
                faults.push(format!("{sql}: {decoration}: {text}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn variants_carry_data() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "loss", &[1.0]);
    let session = fixture.session(Placement::Live);
    match fail(&session, "SELECT stp FROM metrics") {
        Error::UnknownColumn { name, suggestion, columns, position } => {
            assert_eq!((name.as_str(), suggestion.as_deref(), columns.len()), ("stp", Some("step"), 12));
            assert_eq!(position, Some(Position { line: 1, column: 8 }));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(fail(&session, "SELECT run_id FROM metrics, runs"), Error::AmbiguousColumn { .. }));
    assert!(matches!(
        fail(&session, "SELECT CAST('x' AS INT) FROM metrics"),
        Error::Execution { .. } | Error::Planning { .. }
    ));
}

#[test]
fn an_unknown_parameter_names_those_there_are() {
    assert_eq!(
        message("SELECT params['lrr'] FROM runs"),
        "no run has a parameter or tag \"lrr\"; did you mean \"lr\"?; there are: lr, team"
    );
    assert_eq!(message("SELECT tags['nope'] FROM runs"), "no run has a parameter or tag \"nope\"; there are: lr, team");
}
