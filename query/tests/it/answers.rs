//! The same question has the same answer wherever the rows lie.

use stepwell_engine::{ParamValue, WriterId};

use crate::support::{Fixture, PLACEMENTS, Placement, ask};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    for (seed, lr) in [(0, 0.1), (1, 0.1), (2, 0.5)] {
        let params = [("lr", ParamValue::Float(lr)), ("seed", ParamValue::Int(seed))];
        let name = (seed != 2).then(|| format!("run {seed}"));
        let run = fixture.run("digits", "train", name.as_deref(), &params);
        let loss: Vec<f64> = (0..500).map(|step| lr / f64::from(step + 1) + seed as f64).collect();
        let accuracy: Vec<f64> = (0..500).map(|step| 1.0 - 1.0 / f64::from(step + 2)).collect();
        fixture.log(run, "training_metrics", "loss", &loss);
        fixture.log(run, "training_metrics", "acc", &accuracy);
        fixture.log(run, "validation", "loss", &[3.0, 2.0, 1.0]);
    }
    let other = fixture.run("speedrun", "train", Some("second rank"), &[("optimizer", "muon".into())]);
    for rank in 0..2 {
        let writer = WriterId { rank, attempt: 1, nonce: 9 };
        // A step that repeats and goes back is kept as it was logged.
        for step in [5, 5, 3, 10] {
            fixture.log_as(writer, other, "training_metrics", "loss", step, f64::from(rank) + step as f64);
        }
    }
    fixture
}

const QUESTIONS: [&str; 22] = [
    "SELECT count(*) FROM metrics",
    "SELECT count(*), count(run_name), count(DISTINCT run_id), count(DISTINCT metric) FROM metrics",
    "SELECT * FROM metrics ORDER BY run_id, metrics_name, metric, step, rank, seq",
    "SELECT run_id, metrics_name, metric, count(*), min(value), max(value), round(avg(value), 12) FROM metrics GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    "SELECT step, value FROM metrics WHERE metric = 'loss' AND step BETWEEN 120 AND 130 ORDER BY run_id, step",
    "SELECT value FROM metrics WHERE metric IN ('acc', 'nothing') AND step > 495 ORDER BY value, run_id",
    "SELECT count(*) FROM metrics WHERE metrics_name = 'validation'",
    "SELECT count(*) FROM metrics WHERE run_name IS NULL",
    "SELECT count(*) FROM metrics WHERE run_name IS NOT NULL AND rank = 0",
    "SELECT count(*) FROM metrics WHERE run_name LIKE 'run%' OR pipeline = 'speedrun'",
    "SELECT rank, attempt, step, seq, value FROM metrics WHERE attempt = 1 ORDER BY rank, seq",
    "SELECT count(*) FROM metrics WHERE value > 2.0 AND metric <> 'acc'",
    "SELECT count(*) FROM metrics WHERE time >= '2026-01-02T03:04:06.000500Z'",
    "SELECT metric, count(*) FROM metrics WHERE time < '2026-01-02T03:04:06.000500Z' GROUP BY metric ORDER BY metric",
    "SELECT DISTINCT pipeline, stage, run_name FROM metrics ORDER BY 1, 2, 3",
    "SELECT r.params['lr'] AS lr, round(avg(m.value), 12), round(stddev(m.value), 12) FROM metrics m JOIN runs r ON r.run_id = m.run_id WHERE m.metric = 'loss' AND m.metrics_name = 'training_metrics' GROUP BY 1 ORDER BY 1",
    "SELECT r.name, min(m.step) FROM metrics m JOIN runs r USING (run_id) WHERE r.params['seed'] = 1 AND m.value < 1.01 AND m.metric = 'loss' GROUP BY r.name",
    "SELECT step, value FROM metrics WHERE metric = 'acc' ORDER BY value DESC, run_id LIMIT 4",
    "WITH last AS (SELECT run_id, max(step) AS step FROM metrics WHERE metric = 'loss' GROUP BY run_id) SELECT m.value FROM metrics m JOIN last ON m.run_id = last.run_id AND m.step = last.step WHERE m.metric = 'loss' ORDER BY 1",
    "SELECT step, avg(value) OVER (PARTITION BY run_id ORDER BY step ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM metrics WHERE metrics_name = 'validation' ORDER BY run_id, step",
    "SELECT count(*) FROM metrics WHERE run_id IN (SELECT run_id FROM runs WHERE params['lr'] = 0.5)",
    "SELECT count(*) FROM metrics WHERE metric = 'loss' AND metric = 'acc'",
];

#[test]
fn answers_do_not_depend_on_where_rows_lie() {
    let fixture = fixture();
    let sessions = PLACEMENTS.map(|placement| fixture.session(placement));
    for question in QUESTIONS {
        let [committed, live, split] = sessions.each_ref().map(|session| ask(session, question));
        assert_eq!(committed, live, "{question}");
        assert_eq!(committed, split, "{question}");
        assert!(!committed.is_empty(), "{question}");
    }
}

#[test]
fn answers_are_those_of_the_records() {
    let fixture = fixture();
    let session = fixture.session(Placement::Split);
    assert_eq!(ask(&session, "SELECT count(*) FROM metrics"), [fixture.records.len().to_string()]);
    let mut expected: Vec<(String, i64, String)> = fixture
        .records
        .iter()
        .filter(|record| record.metric == "loss" && record.step >= 490)
        .map(|record| (record.run.to_string(), record.step, format!("{:?}", record.value)))
        .collect();
    expected.sort();
    let expected: Vec<String> = expected.iter().map(|(run, step, value)| format!("{run}|{step}|{value}")).collect();
    let sql = "SELECT run_id, step, value FROM metrics WHERE metric = 'loss' AND step >= 490 ORDER BY 1, 2";
    assert_eq!(ask(&session, sql), expected);
    let sql = "SELECT step, value, seq FROM metrics WHERE pipeline = 'speedrun' AND rank = 1 ORDER BY seq";
    assert_eq!(ask(&session, sql), ["5|6.0|0", "5|6.0|1", "3|4.0|2", "10|11.0|3"]);
}

#[test]
fn an_empty_store_has_empty_tables() {
    let fixture = Fixture::new();
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        assert_eq!(ask(&session, "SELECT count(*), min(value) FROM metrics WHERE metric = 'loss'"), ["0|null"]);
        for table in stepwell_query::table_names() {
            let result = session.sql(&format!("SELECT * FROM {table}")).expect("an empty table");
            assert_eq!((result.num_rows(), result.is_empty()), (0, true), "{table}");
            assert!(!result.schema().fields().is_empty(), "{table}");
        }
    }
}

#[test]
fn a_limit_gives_so_many_rows() {
    let fixture = fixture();
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        for sql in [
            "SELECT value FROM metrics LIMIT 7",
            "SELECT value FROM metrics WHERE step > 100 AND run_name = 'run 1' LIMIT 7",
        ] {
            assert_eq!(ask(&session, sql).len(), 7, "{sql}");
        }
        assert_eq!(
            ask(&session, "SELECT value FROM metrics WHERE metrics_name = 'validation' LIMIT 7 OFFSET 5").len(),
            4
        );
    }
}

/// DataFusion turns `NOT IN ('x', NULL)` into `!= 'x' AND NULL`. The constant NULL was dropped on the way to the scan, and
/// rows came back that the query excludes.
#[test]
fn a_filter_that_is_null_keeps_nothing() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", Some("kept"), &[]);
    fixture.log(run, "m", "x", &[1.0, 2.0]);
    for placement in [Placement::Live, Placement::Committed, Placement::Split] {
        let session = fixture.session(placement);
        for filter in [
            "run_name NOT IN ('other', NULL)",
            "NOT (run_name IN ('a', NULL) OR stage = 'zz')",
            "run_name = 'kept' AND NULL",
            "step NOT IN (7, NULL)",
        ] {
            assert_eq!(ask(&session, &format!("SELECT count(*) FROM metrics WHERE {filter}")), ["0"], "{filter}");
        }
    }
}
