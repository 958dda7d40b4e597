//! Queries that would take the whole machine end with a clear error within their limits, and the next query is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stepwell_query::{Error, QueryOptions, Session, SnapshotSource};

use crate::support::{Fixture, Placement, ask, fail};

const LIMIT: usize = 256 << 20;
/// For what has to come to an end, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(300);

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "loss", &vec![0.5; 3000]);
    fixture
}

fn session() -> Session {
    let options = QueryOptions::default().with_memory_limit_bytes(LIMIT).with_timeout(Some(PATIENCE));
    fixture().session_with(Placement::Split, options)
}

/// Whether a query was stopped by one of its limits.
fn is_limit(error: &Error) -> bool {
    matches!(error, Error::Timeout { .. } | Error::MemoryLimit { .. })
}

// An aggregate over a join of tables with themselves was told as stopped, and went on: its threads took the processor from
// training for hours, and queries of other sessions that were queued behind it waited as long.
#[test]
fn endless_queries_are_stopped_and_leave_nothing_running() {
    let fixture = fixture();
    let options = QueryOptions::default().with_memory_limit_bytes(LIMIT).with_timeout(Some(Duration::from_millis(300)));
    for sql in [
        "SELECT count(*) FROM metrics a, metrics b, metrics c, metrics d",
        "SELECT * FROM metrics a, metrics b, metrics c",
        "SELECT a.value FROM metrics a, metrics b, metrics c ORDER BY a.value + b.value * c.value",
        "SELECT count(DISTINCT a.seq * 3000 + b.seq) FROM metrics a, metrics b, metrics c",
        "SELECT array_agg(a.value) FROM metrics a, metrics b, metrics c",
        "SELECT string_agg(a.metric, ',') FROM metrics a, metrics b, metrics c",
        "SELECT count(*) FROM metrics, generate_series(1, 1000000000000)",
        "SELECT sum(step) FROM (SELECT a.step, unnest(range(100000)) FROM metrics a, metrics b)",
        "SELECT sum(value) FROM generate_series(1, 1000000000000) WHERE CAST(value AS VARCHAR) ~ '^(1+)+2$'",
        "SELECT value, sum(value) OVER (ORDER BY value DESC) FROM generate_series(1, 1000000000000)",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t, metrics",
        "SELECT count(*) FROM metrics a JOIN metrics b ON a.value = b.value JOIN metrics c ON b.value = c.value",
    ] {
        // The plan holds the snapshot for as long as anything of it runs.
        let snapshot: Arc<dyn SnapshotSource> = Arc::new(fixture.snapshot(Placement::Split));
        let taken = Arc::clone(&snapshot);
        let session = Session::from_snapshots(move || Ok(Arc::clone(&taken)), options.clone());
        let error = fail(&session, sql);
        assert!(is_limit(&error), "{sql}: {error:?}");
        drop(session);
        let start = Instant::now();
        while Arc::strong_count(&snapshot) > 1 {
            assert!(start.elapsed() < PATIENCE, "still running: {sql}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

// `replace` and `regexp_replace` asked the allocator for 13 GB, and the process ended when it had none; `lpad` and `range`
// of times took whatever there was. No memory pool sees what a function makes in one call.
#[test]
fn functions_that_make_much_of_little_are_held_to_the_memory_limit() {
    let session = session();
    for (function, sql) in [
        ("lpad", "SELECT length(lpad('x', 2000000000, 'y'))"),
        ("rpad", "SELECT length(rpad(metric, 1000000)) FROM metrics"),
        ("repeat", "SELECT length(repeat(metric, 100000)) FROM metrics"),
        ("replace", "SELECT length(replace(repeat('x', 100000), 'x', repeat('y', 100000)))"),
        ("regexp_replace", "SELECT length(regexp_replace(repeat('x', 100000), 'x', repeat('y', 100000), 'g'))"),
        ("concat", "SELECT length(concat(s, s, s, s, s)) FROM (SELECT repeat('x', 15000000) AS s)"),
        ("concat_ws", "SELECT length(concat_ws(s, s, s, s, s)) FROM (SELECT repeat('x', 15000000) AS s)"),
        ("range", "SELECT array_length(range(0, 1000000000000))"),
        (
            "range",
            "SELECT array_length(range(timestamp '1970-01-01', timestamp '2026-01-01', interval '1 microsecond'))",
        ),
        ("range", "SELECT array_length(range(0, step * 100000)) FROM metrics"),
        ("generate_series", "SELECT array_length(generate_series(100000000000, 1, -1))"),
        ("array_repeat", "SELECT array_length(array_repeat(1, 1000000000))"),
        ("array_resize", "SELECT array_length(array_resize([1], 1000000000, 0))"),
    ] {
        let error = fail(&session, sql);
        let text = error.to_string();
        assert!(matches!(error, Error::MemoryLimit { .. }) && text.contains(&format!("{function} ")), "{sql}: {text}");
    }
}

#[test]
fn the_same_functions_work_within_the_limit() {
    let session = session();
    for (sql, answer) in [
        ("SELECT lpad('x', 3, 'ab')", "abx"),
        ("SELECT rpad(metric, 6, '.') FROM metrics LIMIT 1", "loss.."),
        ("SELECT repeat(metric, 2) FROM metrics LIMIT 1", "lossloss"),
        ("SELECT repeat('x', -1) || repeat(NULL, 2) IS NULL", "true"),
        ("SELECT replace('abcabc', 'bc', 'x')", "axax"),
        ("SELECT regexp_replace('abcabc', '[bc]+', 'x', 'g')", "axax"),
        ("SELECT concat('a', 1, NULL, 'b')", "a1b"),
        ("SELECT concat_ws('-', 'a', 'b')", "a-b"),
        ("SELECT range(3)", "[0, 1, 2]"),
        ("SELECT range(10, 0, -4)", "[10, 6, 2]"),
        ("SELECT generate_series(1, 3)", "[1, 2, 3]"),
        ("SELECT array_length(range(date '2026-01-01', date '2026-02-01', interval '1 day'))", "31"),
        ("SELECT array_repeat('ab', 2)", "[ab, ab]"),
        ("SELECT array_resize([1, 2], 3, 0)", "[1, 2, 0]"),
    ] {
        assert_eq!(ask(&session, sql), [answer], "{sql}");
    }
}

#[test]
fn deep_and_long_texts_are_answered_or_refused() {
    let session = session();
    let nested = |depth: usize| format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(ask(&session, &nested(20)), ["1"]);
    for depth in [200, 10_000] {
        let error = fail(&session, &nested(depth));
        assert!(error.is_invalid_input() && error.to_string().len() < 1000, "{error:?}");
    }
    let selects = (0..300).fold("SELECT 1 AS x".to_owned(), |inner, _| format!("SELECT x FROM ({inner})"));
    assert!(fail(&session, &selects).is_invalid_input());
    let cases = |count: usize| {
        let nested =
            (0..count).fold("0".to_owned(), |inner, n| format!("CASE WHEN step = {n} THEN {n} ELSE {inner} END"));
        format!("SELECT count({nested}) FROM metrics")
    };
    assert_eq!(ask(&session, &cases(20)), ["3000"]);
    assert!(fail(&session, &cases(500)).is_invalid_input());
    for text in ["(".repeat(64 << 10), "SELECT ".repeat(10 << 10), "'".repeat((64 << 10) + 1), "a.".repeat(32 << 10)] {
        let error = fail(&session, &text);
        assert!(error.is_invalid_input() && error.to_string().len() < 1000, "{error:?}");
    }
    let long = format!("SELECT length('{}')", "x".repeat(64 << 10));
    assert_eq!(ask(&session, &long), ["65536"]);
    let listed: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let listed = format!("SELECT count(*) FROM metrics WHERE step IN ({})", listed.join(", "));
    assert_eq!(ask(&session, &listed), ["3000"]);
}
