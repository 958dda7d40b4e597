//! Event logs written by hand, and what the catalog makes of them.

mod files;
mod mapping;
mod same_rows;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::Catalog;
use crate::events::{
    ArtifactEvent, Direction, EVENT_FORMAT, Event, EventLine, Extreme, FinishState, GapEvent, GapKind, MetricStats,
    MetricsCommitted, ParamValue, PlacedValue, ProcessInfo, SegmentRecord, SegmentsEvent, Watermark, WriterStarted,
};
use crate::ids::{ContentHash, RunId, WriterId};
use crate::layout::Layout;

/// 2026-11-23, in nanoseconds.
const T0: i64 = 1_795_403_358_000_000_000;
const MILLI: i64 = 1_000_000;

/// A store with nothing but event logs.
struct TestStore {
    folder: tempfile::TempDir,
    layout: Layout,
}

impl TestStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.runs()).expect("runs");
        Self { folder, layout }
    }

    /// Appends bytes to a log.
    fn append(&self, log: &Log, bytes: &[u8]) {
        std::fs::create_dir_all(self.layout.run(log.run)).expect("run folder");
        let path = self.layout.events(log.run, log.writer);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("log");
        file.write_all(bytes).expect("written");
    }

    fn write(&self, logs: &[Log]) {
        for log in logs {
            self.append(log, log.text().as_bytes());
        }
    }

    fn open(&self) -> Catalog {
        Catalog::open(&self.layout).expect("opens")
    }

    /// Opens the catalog and brings it up to date.
    fn refreshed(&self) -> Catalog {
        let mut catalog = self.open();
        catalog.refresh(&self.layout).expect("refreshes");
        catalog
    }

    /// Makes all run folders look as if they had not changed for an hour.
    fn let_folders_settle(&self) {
        let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
        for entry in std::fs::read_dir(self.layout.runs()).expect("runs") {
            let folder = std::fs::File::open(entry.expect("entry").path()).expect("folder");
            folder.set_modified(hour_ago).expect("time");
        }
    }
}

/// An event log to be written.
#[derive(Clone)]
struct Log {
    run: RunId,
    writer: WriterId,
    lines: Vec<EventLine>,
}

impl Log {
    /// A log whose first line is at `start` milliseconds after [`T0`].
    fn new(run: u128, writer: WriterId, start: i64, pipeline: &str, stage: &str) -> Self {
        let run = run_id(run);
        let time = T0 + start * MILLI;
        let started = WriterStarted {
            format: EVENT_FORMAT,
            run_id: run,
            writer,
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
            name: (writer.attempt == 0).then(|| format!("name {start}")),
            started: time,
            process: ProcessInfo { host: "host".to_owned(), boot_id: "boot".to_owned(), pid: 7, pid_start: 11 },
            version: "0.1.0".to_owned(),
            command: "train.py --fast".to_owned(),
            git_repo: Some("https://example.org/repo.git".to_owned()),
            git_commit: Some("abc".to_owned()),
            git_branch: None,
            journals: (writer.attempt == 1).then(|| "/scratch/journals".into()),
        };
        Self { run, writer, lines: vec![EventLine { n: 0, time, event: Event::WriterStarted(Box::new(started)) }] }
    }

    /// Adds an event, `after` milliseconds after the one before.
    fn then(mut self, after: i64, event: Event) -> Self {
        let last = self.lines.last().expect("a first line");
        let line = EventLine { n: last.n + 1, time: last.time + after * MILLI, event };
        self.lines.push(line);
        self
    }

    fn finish(self) -> Self {
        self.then(1, Event::WriterFinished { state: FinishState::Finished, rows: 30, waits: 2, drops: 1 })
    }

    fn text(&self) -> String {
        self.lines.iter().map(EventLine::encode).collect()
    }
}

fn run_id(n: u128) -> RunId {
    uuid::Uuid::from_u128(0x0190_b2f4_6f1e_7000_8000_0000_0000_0000 + n).to_string().parse().expect("run id")
}

fn writer(rank: i32, attempt: i32) -> WriterId {
    WriterId { rank, attempt, nonce: 0xABC }
}

fn hash(text: &str) -> ContentHash {
    blake3::hash(text.as_bytes()).into()
}

fn properties(values: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn artifact(
    direction: Direction,
    artifact_type: &str,
    name: &str,
    content: &str,
    given: &[(&str, ParamValue)],
) -> Event {
    Event::Artifact(Box::new(ArtifactEvent {
        direction,
        artifact_type: artifact_type.to_owned(),
        name: name.to_owned(),
        hash: hash(content),
        bytes: content.len() as u64,
        stored: name.contains("stored"),
        properties: properties(given),
    }))
}

fn params(values: &[(&str, ParamValue)]) -> Event {
    Event::Params { params: properties(values) }
}

fn stats(metric: &str, first: f64, last: f64) -> MetricStats {
    let placed = |step, value| PlacedValue { step, time: 5 + step, seq: step, value };
    MetricStats {
        metric: metric.to_owned(),
        count: 10,
        non_finite: 1,
        min: Some(Extreme { value: -0.0, step: 3 }),
        max: None,
        first: placed(-4, first),
        last: placed(9, last),
        sum: 0.1,
    }
}

/// The publication of one segment.
fn segments(run: u128, writer: WriterId, n: u64) -> Event {
    let file = format!("training_metrics/{writer}-{n}-{}.parquet", hash("segment"));
    let record = SegmentRecord {
        n,
        metrics_name: "training_metrics".to_owned(),
        file,
        blake3: hash(&format!("{run} {n}")),
        bytes: 1000 + n,
        rows: 10,
        time_min: 5,
        time_max: 15,
        metrics: vec![stats("acc", 0.0, f64::INFINITY), stats("loss", f64::NAN, -0.0)],
    };
    let watermarks = vec![Watermark { ring: 0, committed: 10 * (n + 1) }, Watermark { ring: 1, committed: n }];
    Event::Segments(Box::new(SegmentsEvent { segments: vec![record], watermarks }))
}

fn committed(run: u128, version: u32) -> Event {
    Event::MetricsCommitted(MetricsCommitted {
        metrics_name: "training_metrics".to_owned(),
        version,
        identity: hash(&format!("records {run} {version}")),
        rows: 10 * u64::from(version),
        segments: (0..u64::from(version)).collect(),
    })
}

fn gap(records: u64) -> Event {
    Event::Gap(GapEvent::ring_full(1, records))
}

/// Logs that hold every event: two pipelines, shared artifacts, several writers, a run that died and was resumed.
fn sample() -> Vec<Log> {
    use Direction::{Input, Output};
    let float = ParamValue::Float;
    let text = |text: &str| ParamValue::Text(text.to_owned());
    let prepare = Log::new(1, writer(0, 0), 0, "digits", "prepare")
        .then(1, artifact(Output, "Dataset", "data/stored.csv", "digits", &[("rows", ParamValue::Int(1797))]))
        .then(0, artifact(Output, "Dataset", "data/stored.csv", "digits", &[]))
        .then(3, artifact(Output, "Parquet file", "odd type", "odd", &[("nan", float(f64::NAN))]))
        .finish();
    let train = |run: u128, rank: i32, attempt: i32, start: i64| {
        Log::new(run, writer(rank, attempt), start, "digits", "train")
            .then(1, params(&[("lr", float(0.1)), ("nan", float(f64::NAN)), ("flag", true.into()), ("n", 3.into())]))
            .then(1, Event::Tags { tags: BTreeMap::from([("team".to_owned(), format!("vision {run}"))]) })
            .then(
                1,
                artifact(Input, "Dataset", &format!("copy {run}.csv"), "digits", &[("by", text(&run.to_string()))]),
            )
            .then(5, segments(run, writer(rank, attempt), 0))
            .then(0, committed(run, 1))
    };
    let first = train(2, 0, 0, 100)
        .then(5, segments(2, writer(0, 0), 1))
        .then(1, committed(2, 2))
        .then(
            1,
            Event::ExecutionMetrics { name: "final".to_owned(), metrics: properties(&[("inf", float(f64::INFINITY))]) },
        )
        .then(1, artifact(Output, "Model", "model.bin", "weights", &[("model_name", text("mlp")), ("size", 5.into())]))
        .then(1, artifact(Input, "Model", "model.bin", "weights", &[]))
        .finish();
    let rank_1 = train(2, 1, 0, 101).then(1, params(&[("lr", float(0.2))])).then(1, gap(4)).finish();
    let died = train(3, 0, 0, 50).then(9, Event::Recovered { host: "host".to_owned(), pid: 8, rows: 5 });
    let resumed = train(3, 0, 1, 90).finish();
    let running = train(4, 0, 0, 120);
    let other = Log::new(5, writer(0, 0), 20, "other", "train")
        .then(1, artifact(Input, "Dataset", "earlier name", "digits", &[("rows", text("many"))]))
        .then(1, Event::WriterFinished { state: FinishState::Failed, rows: 0, waits: 0, drops: 0 });
    let slash = Log::new(6, writer(0, 0), 30, "a/b", "c").finish();
    let slash_too = Log::new(7, writer(0, 0), 25, "a", "b/c").finish();
    vec![prepare, first, rank_1, died, resumed, running, other, slash, slash_too]
}

/// Every row of every table but the cache of folder times, and the versions: `table|value|...`, sorted.
fn dump(catalog: &Catalog) -> Vec<String> {
    let mut dump = catalog.with(dump_connection);
    dump.sort();
    dump
}

fn dump_connection(connection: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    for table in super::connection::tables(connection).expect("tables") {
        if table == "stepwell_scan" {
            continue;
        }
        let mut select = connection.prepare(&format!("SELECT * FROM {table}")).expect("select");
        let columns = select.column_count();
        let mut rows = select.query([]).expect("query");
        while let Some(row) = rows.next().expect("row") {
            let values: Vec<Value> = (0..columns).map(|column| row.get(column).expect("value")).collect();
            lines.push(format!("{table}|{values:?}"));
        }
    }
    lines
}

/// The single value of a query.
fn one<T: rusqlite::types::FromSql>(catalog: &Catalog, sql: &str) -> T {
    catalog.with(|connection| connection.query_row(sql, [], |row| row.get(0)).expect(sql))
}

/// The first column of all rows of a query.
fn all(catalog: &Catalog, sql: &str) -> Vec<String> {
    catalog.with(|connection| {
        let mut select = connection.prepare(sql).expect(sql);
        select.query_map([], |row| row.get(0)).expect(sql).collect::<Result<_, _>>().expect(sql)
    })
}
