//! SQL here only reads.

use std::fs;
use std::time::{Duration, Instant};

use stepwell_query::{Error, QueryOptions};

use crate::support::{Fixture, Placement, ask, fail};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "loss", &[1.0, 2.0]);
    fixture
}

#[test]
fn statements_that_write_are_refused() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let target = fixture.root().join("stolen.csv");
    let target = target.to_str().expect("path");
    let cases = [
        ("DROP TABLE metrics".to_owned(), "DROP"),
        ("DELETE FROM metrics".to_owned(), "DELETE"),
        ("INSERT INTO metrics SELECT * FROM metrics".to_owned(), "INSERT"),
        ("UPDATE metrics SET value = 0".to_owned(), "UPDATE"),
        ("CREATE TABLE t AS SELECT 1".to_owned(), "CREATE"),
        ("CREATE VIEW v AS SELECT 1".to_owned(), "CREATE"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'".to_owned(), "CREATE"),
        (format!("COPY (SELECT * FROM metrics) TO '{target}' STORED AS CSV"), "COPY"),
        (format!("EXPLAIN ANALYZE COPY metrics TO '{target}' STORED AS CSV"), "COPY"),
        ("EXPLAIN ANALYZE INSERT INTO metrics SELECT * FROM metrics".to_owned(), "INSERT"),
        ("SET datafusion.execution.batch_size = 1".to_owned(), "SET"),
        ("RESET datafusion.execution.batch_size".to_owned(), "RESET"),
        ("TRUNCATE TABLE metrics".to_owned(), "TRUNCATE"),
        ("PREPARE p AS SELECT 1".to_owned(), "PREPARE"),
        ("BEGIN".to_owned(), "BEGIN"),
        ("SELECT * INTO t FROM metrics".to_owned(), "CREATEMEMORYTABLE"),
    ];
    for (sql, kind) in cases {
        let error = fail(&session, &sql);
        let Error::NotReadOnly { statement } = &error else { panic!("{sql}: {error:?}") };
        assert_eq!(statement, kind, "{sql}");
        assert!(error.is_invalid_input());
    }
    assert!(!fs::exists(target).expect("looked"), "nothing was written");
    assert_eq!(ask(&session, "SELECT count(*) FROM metrics"), ["2"]);
}

#[test]
fn one_statement_at_a_time() {
    let session = fixture().session(Placement::Live);
    assert!(matches!(fail(&session, "SELECT 1; SELECT 2"), Error::ManyStatements { count: 2 }));
    assert!(matches!(fail(&session, "SELECT 1; DROP TABLE metrics"), Error::ManyStatements { count: 2 }));
    for nothing in ["", "  ", ";", "-- only a comment"] {
        assert!(matches!(fail(&session, nothing), Error::Empty), "{nothing:?}");
    }
    assert_eq!(ask(&session, "SELECT 1;"), ["1"]);
}

#[test]
fn no_sql_reaches_a_file() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let segment = fixture.snapshot(Placement::Committed).segments[0].path.clone();
    for path in [segment.to_str().expect("path"), "/etc/passwd", "file:///etc/passwd"] {
        let error = fail(&session, &format!("SELECT * FROM '{path}'"));
        assert!(matches!(error, Error::UnknownTable { .. }), "{error:?}");
        let error = fail(&session, &format!("SELECT * FROM \"{path}\""));
        assert!(matches!(error, Error::UnknownTable { .. }), "{error:?}");
        for function in ["read_csv", "read_parquet", "parquet_metadata"] {
            let error = fail(&session, &format!("SELECT * FROM {function}('{path}')"));
            assert!(error.is_invalid_input(), "{error:?}");
        }
    }
}

#[test]
fn statements_that_only_read_are_answered() {
    let session = fixture().session(Placement::Split);
    for sql in [
        "VALUES (1, 'a'), (2, 'b')",
        "WITH t AS (SELECT 1 AS x) SELECT x FROM t",
        "EXPLAIN SELECT * FROM metrics",
        "EXPLAIN ANALYZE SELECT * FROM metrics",
        "EXPLAIN FORMAT TREE SELECT * FROM metrics",
        "SHOW TABLES",
        "SHOW COLUMNS FROM metrics",
        "DESCRIBE metrics",
        "DESCRIBE runs",
        "SHOW datafusion.execution.time_zone",
        "SELECT table_name FROM information_schema.tables",
        "SELECT * FROM stepwell.public.metrics",
        "SELECT * FROM METRICS",
        "(SELECT 1) UNION ALL (SELECT 2)",
    ] {
        assert!(!ask(&session, sql).is_empty(), "{sql}");
    }
    let columns = ask(&session, "SELECT column_name FROM information_schema.columns WHERE table_name = 'metrics'");
    let expected = [
        "run_id",
        "metrics_name",
        "metric",
        "step",
        "time",
        "value",
        "rank",
        "attempt",
        "seq",
        "pipeline",
        "stage",
        "run_name",
    ];
    assert_eq!(columns, expected);
}

#[test]
fn limits_hold() {
    let session = fixture().session(Placement::Live);
    let options = session.options().clone();
    let endless = "SELECT sum(value) FROM generate_series(1, 100000000000000)";
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    let error = session.sql_with(endless, &options.clone().with_timeout(Some(timeout))).expect_err("too long");
    assert!(matches!(error, Error::Timeout { timeout: given } if given == timeout), "{error:?}");
    let mut polls = 0;
    let error = session.sql_cancellable(endless, &options, &mut || {
        polls += 1;
        polls == 3
    });
    assert!(matches!(error, Err(Error::Cancelled)));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());

    let cut = session.sql_with("SELECT * FROM generate_series(1, 100000)", &options.clone().with_rows_max(Some(10)));
    let cut = cut.expect("rows");
    assert_eq!(cut.num_rows(), 10);
    assert!(cut.warnings()[0].contains("10 rows"), "{:?}", cut.warnings());
    let whole = session.sql_with("SELECT * FROM generate_series(1, 10)", &options.clone().with_rows_max(Some(10)));
    assert!(whole.expect("rows").warnings().is_empty());

    let small = options.with_memory_limit_bytes(2 << 20);
    let error = session.sql_with("SELECT * FROM generate_series(1, 1000000)", &small).expect_err("too large");
    assert!(matches!(error, Error::MemoryLimit { limit_bytes, .. } if limit_bytes == 2 << 20), "{error:?}");
    let sorted = session.sql_with(
        "SELECT max(x) FROM (SELECT value AS x FROM generate_series(1, 300000) ORDER BY -value LIMIT 299999)",
        &QueryOptions::default(),
    );
    assert_eq!(crate::support::lines(&sorted.expect("sorted")), ["300000"]);
}

/// Queries come from inside async programs and from many threads.
#[test]
fn any_thread_may_ask() {
    let session = fixture().session(Placement::Split);
    let inside = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    inside.block_on(async { assert_eq!(ask(&session, "SELECT count(*) FROM metrics"), ["2"]) });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(ask(&session, "SELECT sum(value) FROM metrics"), ["3.0"]));
        }
    });
}

/// Chains of operators nest to the left without a bracket that the parser could count. At 3,000 of them planning overflowed
/// the stack, and with it went the process that asked, a training process perhaps.
#[test]
fn long_chains_of_operators_are_refused_before_they_overflow_the_stack() {
    let session = fixture().session(Placement::Live);
    let chains = [
        vec!["1"; 3000].join("+"),
        format!("1{}", "::int".repeat(5000)),
        vec!["'a'"; 5000].join("||"),
        format!("1 FROM metrics WHERE {}", vec!["step = 1"; 5000].join(" OR ")),
        vec!["1"; 5000].join(" UNION ALL SELECT "),
    ];
    for chain in chains {
        let error = fail(&session, &format!("SELECT {chain}"));
        assert!(matches!(error, Error::TooDeep { .. }) && error.is_invalid_input(), "{error}");
    }
    assert_eq!(ask(&session, &format!("SELECT {}", vec!["1"; 900].join("+"))), ["900"]);
    let many = (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(ask(&session, &format!("SELECT count(*) FROM metrics WHERE step IN ({many})")), ["2"]);
}

/// A stopped query keeps its thread until its operator yields. The next query was queued behind it and never answered.
#[test]
fn a_query_that_was_stopped_holds_up_no_other() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "loss", &(0..1000).map(f64::from).collect::<Vec<_>>());
    let session = fixture.session(Placement::Live);
    let slow = "SELECT count(*) FROM metrics a, metrics b, metrics c WHERE a.value + b.value > c.value";
    let mut options = QueryOptions::default();
    options.timeout = Some(Duration::from_millis(200));
    for _ in 0..2 {
        assert!(matches!(session.sql_with(slow, &options), Err(Error::Timeout { .. })));
        assert_eq!(ask(&session, "SELECT count(*) FROM metrics"), ["1000"]);
    }
}
