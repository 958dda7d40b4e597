//! Segments that hold no row of the answer are not opened.

use std::fs;

use stepwell_engine::{ParamValue, WriterId};
use stepwell_query::{QueryOptions, Session};

use crate::support::{Fixture, PLACEMENTS, Placement, ask, picked};

/// Ten runs of two stages; each has a segment for `loss` (steps 0 to 99) and one for `late` (steps 1000 to 1099).
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.segment_per_metric = true;
    for index in 0..10_i32 {
        let stage = if index % 2 == 0 { "train" } else { "eval" };
        let name = format!("run {index}");
        let name = (index != 9).then_some(name.as_str());
        let run =
            fixture.run(&format!("pipeline {}", index / 5), stage, name, &[("index", ParamValue::Int(index.into()))]);
        let loss: Vec<f64> = (0..100).map(|step| f64::from(index * 100 + step)).collect();
        fixture.log(run, "training", "loss", &loss);
        let writer = WriterId { rank: index % 3, attempt: 0, nonce: 4 };
        for step in 0..100 {
            fixture.log_as(writer, run, "other", "late", 1000 + step, f64::NAN);
        }
    }
    fixture
}

#[test]
fn segments_are_left_out_before_any_is_opened() {
    let fixture = fixture();
    let first = fixture.runs[0].run_id;
    let committed = fixture.session(Placement::Committed);
    let live = fixture.session(Placement::Live);
    let cases: [(String, usize); 24] = [
        ("true".into(), 20),
        (format!("run_id = '{first}'"), 2),
        (format!("run_id <> '{first}'"), 18),
        (format!("run_id IN ('{first}', 'nothing')"), 2),
        (format!("run_id LIKE '{}%'", &first.to_string()[..2]), 20),
        ("metrics_name = 'training'".into(), 10),
        ("upper(metrics_name) = 'TRAINING'".into(), 10),
        ("metric = 'loss'".into(), 10),
        ("metric IN ('loss', 'x')".into(), 10),
        ("metric NOT IN ('loss')".into(), 10),
        ("metric = 'nothing'".into(), 0),
        ("step < 50".into(), 10),
        ("step BETWEEN 100 AND 999".into(), 0),
        ("metric = 'loss' AND step > 99".into(), 0),
        ("stage = 'eval'".into(), 10),
        ("pipeline = 'pipeline 1' AND stage = 'eval'".into(), 6),
        ("run_name IS NULL".into(), 2),
        ("run_name = 'run 3'".into(), 2),
        ("rank = 1".into(), 3),
        ("attempt > 0".into(), 0),
        ("value < 50 AND metric = 'loss'".into(), 1),
        ("value >= 950 AND metric = 'loss'".into(), 1),
        ("value = 5".into(), 11),
        ("run_name = 'run 3' AND metric = 'loss' AND step >= 98".into(), 1),
    ];
    for (filter, expected) in cases {
        let sql = format!("SELECT sum(value) FROM metrics WHERE {filter}");
        assert_eq!(picked(&committed, &sql), [expected, 20, 0, 0], "{filter}");
        assert_eq!(picked(&live, &sql), [0, 0, expected, 20], "{filter}");
        assert_eq!(ask(&committed, &sql), ask(&live, &sql), "{filter}");
    }
}

#[test]
fn a_bound_on_time_leaves_segments_out() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let sql = "SELECT * FROM metrics WHERE time > '2026-01-02T03:04:07Z'";
    assert_eq!(picked(&session, sql), [0, 20, 0, 0]);
    let sql = "SELECT * FROM metrics WHERE time > '2026-01-02T03:04:06Z'";
    assert_eq!(picked(&session, sql), [20, 20, 0, 0]);
}

/// Nothing of a file that is left out is needed, not even its being there.
#[test]
fn what_is_left_out_is_not_opened() {
    let fixture = fixture();
    let data = fixture.snapshot(Placement::Committed);
    for segment in data.segments.iter().filter(|segment| segment.metrics[0].metric == "late") {
        fs::remove_file(&segment.path).expect("removed");
    }
    let session = crate::support::session_of(data, Default::default());
    assert_eq!(ask(&session, "SELECT count(*) FROM metrics WHERE metric = 'loss' AND step < 10"), ["100"]);
}

#[test]
fn a_join_leaves_out_the_files_of_other_runs() {
    let fixture = fixture();
    let data = fixture.snapshot(Placement::Committed);
    let wanted = fixture.runs[3].run_id;
    for segment in data.segments.iter().filter(|segment| segment.run_id != wanted) {
        fs::remove_file(&segment.path).expect("removed");
    }
    let session = crate::support::session_of(data, Default::default());
    let sql = "SELECT count(*), max(m.value) FROM metrics m JOIN runs r ON m.run_id = r.run_id WHERE r.params['index'] = 3 AND m.metric = 'loss'";
    assert_eq!(ask(&session, sql), ["100|399.0"]);
}

#[test]
fn pages_and_row_groups_are_left_out() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "x", &(0..2000).map(f64::from).collect::<Vec<_>>());
    let session = fixture.session(Placement::Committed);
    let sql = "EXPLAIN ANALYZE SELECT sum(value) FROM metrics WHERE metric = 'x' AND step BETWEEN 900 AND 905";
    let plan = ask(&session, sql).join("\n");
    for counted in ["row_groups_read=1", "row_groups_skipped=4", "pages_read=1", "pages_skipped=39", "bytes_hashed="] {
        assert!(plan.contains(counted), "{counted} {plan}");
    }
}

fn plan_of(session: &Session, sql: &str) -> String {
    ask(session, &format!("EXPLAIN {sql}")).join("\n")
}

#[test]
fn rows_that_come_in_order_are_not_sorted() {
    let mut fixture = Fixture::new();
    for index in 0..3 {
        let run = fixture.run("p", "s", None, &[("index", ParamValue::Int(index))]);
        for metric in ["accuracy", "loss"] {
            fixture.log(run, "m", metric, &(0..300).map(|step| f64::from(step * 7 % 100)).collect::<Vec<_>>());
        }
    }
    let run = fixture.runs[1].run_id;
    let curve = format!("SELECT step, value FROM metrics WHERE run_id = '{run}' AND metric = 'loss' ORDER BY step");
    let windows = "SELECT run_id, step, sum(value) OVER (PARTITION BY run_id ORDER BY step) AS s FROM metrics
        WHERE metric = 'loss'";
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        // Of a split run, the second segment begins with an earlier metric than the first one ends with.
        let plan = plan_of(&session, &curve);
        assert!(!plan.contains("SortExec"), "{placement:?} {plan}");
        assert!(plan.contains("rows=300 of 1800"), "{placement:?} {plan}");
        let steps: Vec<String> = ask(&session, &curve);
        assert!(steps.iter().enumerate().all(|(step, line)| line.starts_with(&format!("{step}|"))), "{steps:?}");
        let plan = plan_of(&session, windows);
        assert!(!plan.contains("SortExec"), "{placement:?} {plan}");
        let sums = ask(&session, &format!("SELECT run_id, max(s) FROM ({windows}) GROUP BY run_id"));
        assert!(sums.len() == 3 && sums.iter().all(|line| line.ends_with("|14850.0")), "{placement:?} {sums:?}");
    }
}

/// A run that was resumed at an earlier step: its segments overlap, and nothing says that they come in order.
#[test]
fn rows_that_come_out_of_order_are_sorted() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "x", &[0.0, 1.0, 2.0, 3.0, 4.0]);
    let resumed = WriterId { rank: 0, attempt: 1, nonce: 2 };
    for step in 2..7 {
        fixture.log_as(resumed, run, "m", "x", step, 10.0 + step as f64);
    }
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        let sql = "SELECT step, value FROM metrics WHERE metric = 'x' ORDER BY step, value";
        assert!(plan_of(&session, sql).contains("SortExec"), "{placement:?}");
        let expected = ["0|0.0", "1|1.0", "2|2.0", "2|12.0", "3|3.0", "3|13.0", "4|4.0", "4|14.0", "5|15.0", "6|16.0"];
        assert_eq!(ask(&session, sql), expected, "{placement:?}");
    }
}

/// What the query itself finds out leaves out the rest: the best ten are in the first segment that is read.
#[test]
fn a_top_ten_skips_segments_that_cannot_hold_one_of_them() {
    let mut fixture = Fixture::new();
    for index in 0..20 {
        let run = fixture.run("p", "s", None, &[]);
        fixture.log(run, "m", "x", &(0..50).map(|step| f64::from(index * 100 + step)).collect::<Vec<_>>());
    }
    let data = fixture.snapshot(Placement::Committed);
    let session = crate::support::session_of(data, QueryOptions::default().with_parallelism(1));
    let sql = "SELECT value FROM metrics WHERE metric = 'x' ORDER BY value DESC LIMIT 10";
    let best: Vec<String> = (0..10).map(|place| format!("{}.0", 1949 - place)).collect();
    assert_eq!(ask(&session, sql), best);
    let smallest = "SELECT value FROM metrics WHERE metric = 'x' ORDER BY value LIMIT 10";
    let plan = ask(&session, &format!("EXPLAIN ANALYZE {smallest}")).join("\n");
    assert!(plan.contains("segments_read=1, segments_skipped=19"), "{plan}");
}

/// A curve long enough for two streams: they are read ahead and given one after another, and a limit holds over all of them.
#[test]
fn a_long_curve_in_order_is_not_merged() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "x", &(0..90_000).map(f64::from).collect::<Vec<_>>());
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        let sql = "SELECT step, value FROM metrics WHERE metric = 'x' ORDER BY step";
        let plan = plan_of(&session, sql);
        assert!(plan.contains("read_ahead=2") && !plan.contains("Merge"), "{placement:?} {plan}");
        let lines = ask(&session, sql);
        assert_eq!(lines.len(), 90_000);
        assert!(lines.iter().enumerate().all(|(step, line)| *line == format!("{step}|{step}.0")), "{placement:?}");
        assert_eq!(ask(&session, &format!("{sql} LIMIT 70000")), lines[..70_000], "{placement:?}");
        assert_eq!(ask(&session, &format!("{sql} LIMIT 7 OFFSET 66000")), lines[66_000..66_007], "{placement:?}");
        let whole =
            ask(&session, "SELECT cardinality(m4(step, value, 10)), auc(value, step) FROM metrics WHERE metric = 'x'");
        assert_eq!(whole, ["20|4049910000.5"], "{placement:?}");
    }
}

/// A scan that reads ahead asked for one part more after the last row of a LIMIT: a damaged file behind it failed a query that
/// needs no row of it.
#[test]
fn a_limit_ends_before_a_damaged_file_that_was_read_ahead() {
    let mut fixture = Fixture::new();
    let first = fixture.run("p", "s", None, &[]);
    let second = fixture.run("p", "s", None, &[]);
    for run in [first, second] {
        fixture.log(run, "m", "x", &(0..40_000).map(f64::from).collect::<Vec<_>>());
    }
    let data = fixture.snapshot(Placement::Committed);
    let damaged = data.segments.iter().find(|segment| segment.run_id == second).expect("a segment");
    fs::write(&damaged.path, b"no longer a segment").expect("damaged");
    let session = crate::support::session_of(data, QueryOptions::default().with_parallelism(2));
    let sql = "SELECT run_id, metrics_name, metric, step FROM metrics ORDER BY run_id, step";
    assert!(plan_of(&session, &format!("{sql} LIMIT 40000")).contains("read_ahead=2"));
    assert_eq!(ask(&session, &format!("{sql} LIMIT 40000")).len(), 40_000);
    assert!(crate::support::fail(&session, &format!("{sql} LIMIT 40001")).is_corruption());
}

/// The lowest and highest values are known without reading, unless there is a value that is no number.
#[test]
fn extremes_come_from_statistics_where_these_hold_them() {
    let mut fixture = Fixture::new();
    for index in 0..4 {
        let run = fixture.run("p", if index < 2 { "train" } else { "eval" }, None, &[]);
        let mut values: Vec<f64> = (0..200).map(|step| f64::from((step * 37 + index) % 101)).collect();
        if index == 3 {
            values[7] = f64::NAN;
        }
        fixture.log(run, "m", "x", &values);
        fixture.log(run, "m", "y", &values[100..]);
    }
    let sql =
        "SELECT stage, metric, min(value), max(value), min(step), max(step) FROM metrics GROUP BY 1, 2 ORDER BY 1, 2";
    let expected =
        ["eval|x|0.0|NaN|0|199", "eval|y|0.0|100.0|0|99", "train|x|0.0|100.0|0|199", "train|y|0.0|100.0|0|99"];
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        // The first time the files are compared with their hashes.
        for _ in 0..2 {
            assert_eq!(ask(&session, sql), expected, "{placement:?}");
        }
        assert!(plan_of(&session, sql).contains("from=statistics"), "{placement:?}");
        // A row that is filtered, a value that is computed, another aggregate, half a group: rows have to be read.
        for sql in [
            "SELECT min(value) FROM metrics WHERE step > 10",
            "SELECT min(value + 1) FROM metrics",
            "SELECT min(value), sum(value) FROM metrics",
            "SELECT step, min(value) FROM metrics GROUP BY step",
            "SELECT min(value) FILTER (WHERE step > 10) FROM metrics",
            "SELECT max(time) FROM metrics",
        ] {
            assert!(!plan_of(&session, sql).contains("from=statistics"), "{placement:?} {sql}");
        }
        assert_eq!(ask(&session, "SELECT min(value) FROM metrics WHERE step > 150 AND metric = 'y'"), ["null"]);
    }
    let plan = ask(&fixture.session(Placement::Committed), &format!("EXPLAIN ANALYZE {sql}")).join("\n");
    assert!(plan.contains("segments_from_statistics="), "{plan}");
}
