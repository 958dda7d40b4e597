//! Makes stores of plain data: the same rows as segments, as live rows, or as both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringDictionaryBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use stepwell_engine::batch::segment_schema;
use stepwell_engine::events::{Extreme, MetricStats, PlacedValue, ProcessInfo};
use stepwell_engine::{
    ContentHash, ExecutionInfo, LiveRows, ParamValue, RunId, RunInfo, RunState, SegmentInfo, SummaryRow, WriterId,
    WriterInfo,
};
use stepwell_query::{QueryOptions, QueryResult, Session, SnapshotData};

/// Start of all runs: 2026-01-02T03:04:05.000006789 UTC, in nanoseconds.
pub const START: i64 = 1_767_323_045_000_006_789;
/// Time of the record with sequence number 0, in microseconds.
pub const TIME: i64 = 1_767_323_046_000_000;

/// One logged value.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub run: RunId,
    pub writer: WriterId,
    pub metrics_name: &'static str,
    pub metric: String,
    pub step: i64,
    pub value: f64,
    pub seq: i64,
}

/// Where rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Committed,
    Live,
    /// The first half of each writer's records committed, in two segments, the rest live.
    Split,
}

pub const PLACEMENTS: [Placement; 3] = [Placement::Committed, Placement::Live, Placement::Split];

/// Runs and records of a store to be.
pub struct Fixture {
    folder: Arc<tempfile::TempDir>,
    pub runs: Vec<RunInfo>,
    pub records: Vec<Record>,
    /// Whether each metric has a segment of its own.
    pub segment_per_metric: bool,
    /// Sequence numbers that come next.
    next: BTreeMap<(RunId, WriterId), i64>,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("temporary folder"));
        Self { folder, runs: Vec::new(), records: Vec::new(), segment_per_metric: false, next: BTreeMap::new() }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn run(&mut self, pipeline: &str, stage: &str, name: Option<&str>, params: &[(&str, ParamValue)]) -> RunId {
        let run_id = RunId::generate();
        let index = self.runs.len() as i64;
        let writer = WriterId { rank: 0, attempt: 0, nonce: 1 };
        let started = START + index * 1_000_000_000;
        self.runs.push(RunInfo {
            run_id,
            pipeline: pipeline.to_owned(),
            stage: stage.to_owned(),
            name: name.map(str::to_owned),
            state: RunState::Finished,
            started,
            ended: Some(started + 1_500_000_000),
            params: params.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            tags: BTreeMap::from([("team".to_owned(), "vision".to_owned())]),
            writers: vec![WriterInfo {
                writer,
                process: ProcessInfo { host: "node-1".to_owned(), boot_id: "b".to_owned(), pid: 77, pid_start: 5 },
                state: RunState::Finished,
                started,
                last_event: started + 1_500_000_000,
                version: "0.1.0".to_owned(),
                waits: 2,
                drops: 0,
                journal_folder: None,
            }],
            execution: ExecutionInfo::default(),
        });
        run_id
    }

    /// Logs one value per step, from step 0.
    pub fn log(&mut self, run: RunId, metrics_name: &'static str, metric: &str, values: &[f64]) {
        let writer = WriterId { rank: 0, attempt: 0, nonce: 1 };
        for (step, value) in values.iter().enumerate() {
            self.log_as(writer, run, metrics_name, metric, step as i64, *value);
        }
    }

    pub fn log_as(
        &mut self,
        writer: WriterId,
        run: RunId,
        metrics_name: &'static str,
        metric: &str,
        step: i64,
        value: f64,
    ) {
        let next = self.next.entry((run, writer)).or_default();
        let seq = *next;
        *next += 1;
        self.records.push(Record { run, writer, metrics_name, metric: metric.to_owned(), step, value, seq });
    }

    pub fn session(&self, placement: Placement) -> Session {
        self.session_with(placement, QueryOptions::default().with_parallelism(2))
    }

    pub fn session_with(&self, placement: Placement, options: QueryOptions) -> Session {
        // The session keeps the folder, so that it may outlive the fixture.
        let folder = Arc::clone(&self.folder);
        let data = Arc::new(self.snapshot(placement));
        let take = move || {
            assert!(folder.path().exists());
            Ok(Arc::clone(&data) as Arc<_>)
        };
        Session::from_snapshots(take, options)
    }

    pub fn snapshot(&self, placement: Placement) -> SnapshotData {
        let mut data =
            SnapshotData { root: self.root().to_owned(), runs: self.runs.clone(), ..SnapshotData::default() };
        let mut n = 0;
        for (_, records) in self.groups() {
            let (parts, live): (Vec<&[Record]>, &[Record]) = match placement {
                Placement::Committed => (vec![&records], &[]),
                Placement::Live => (vec![], &records),
                Placement::Split => {
                    let half = records.len() / 2;
                    let quarter = half / 2;
                    (vec![&records[..quarter], &records[quarter..half]], &records[half..])
                }
            };
            for part in parts.into_iter().filter(|part| !part.is_empty()) {
                data.segments.push(write_segment(self.root(), n, part));
                n += 1;
            }
            if !live.is_empty() {
                data.live.push(LiveRows {
                    run_id: live[0].run,
                    writer: live[0].writer,
                    metrics_name: live[0].metrics_name.to_owned(),
                    batch: batch(live),
                    metrics: stats(live),
                });
            }
        }
        data.summary = self.summary();
        data
    }

    fn groups(&self) -> BTreeMap<(RunId, String, WriterId, String), Vec<Record>> {
        let mut groups: BTreeMap<_, Vec<Record>> = BTreeMap::new();
        for record in &self.records {
            let part = if self.segment_per_metric { record.metric.clone() } else { String::new() };
            groups
                .entry((record.run, record.metrics_name.to_owned(), record.writer, part))
                .or_default()
                .push(record.clone());
        }
        groups
    }

    fn summary(&self) -> Vec<SummaryRow> {
        let mut groups: BTreeMap<(RunId, &str), Vec<Record>> = BTreeMap::new();
        for record in &self.records {
            groups.entry((record.run, record.metrics_name)).or_default().push(record.clone());
        }
        let rows = groups.into_iter().flat_map(|((run_id, metrics_name), records)| {
            stats(&records).into_iter().map(move |stats| SummaryRow {
                run_id,
                metrics_name: metrics_name.to_owned(),
                stats,
            })
        });
        rows.collect()
    }
}

pub fn session_of(data: SnapshotData, options: QueryOptions) -> Session {
    let data = Arc::new(data);
    Session::from_snapshots(move || Ok(Arc::clone(&data) as Arc<_>), options)
}

fn sorted(records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    records.sort_by(|a, b| (&a.metric, a.step, a.seq).cmp(&(&b.metric, b.step, b.seq)));
    records
}

fn batch(records: &[Record]) -> RecordBatch {
    let records = sorted(records);
    let text = |get: fn(&Record) -> String| -> ArrayRef {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for record in &records {
            builder.append(get(record)).expect("few texts");
        }
        Arc::new(builder.finish())
    };
    let times = records.iter().map(|record| TIME + record.seq);
    let columns: Vec<ArrayRef> = vec![
        text(|record| record.run.to_string()),
        text(|record| record.metrics_name.to_owned()),
        text(|record| record.metric.clone()),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.step))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(Float64Array::from_iter_values(records.iter().map(|record| record.value))),
        Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.writer.rank))),
        Arc::new(Int32Array::from_iter_values(records.iter().map(|record| record.writer.attempt))),
        Arc::new(Int64Array::from_iter_values(records.iter().map(|record| record.seq))),
    ];
    RecordBatch::try_new(segment_schema(), columns).expect("a batch")
}

/// Statistics as the engine keeps them, computed the plain way.
pub fn stats(records: &[Record]) -> Vec<MetricStats> {
    let records = sorted(records);
    let mut all: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    records.iter().for_each(|record| all.entry(&record.metric).or_default().push(record));
    let extreme = |records: &[&Record], better: fn(f64, f64) -> bool| {
        let finite = records.iter().filter(|record| record.value.is_finite());
        finite.fold(None, |best: Option<Extreme>, record| match best {
            Some(best) if !better(record.value, best.value) => Some(best),
            _ => Some(Extreme { value: record.value, step: record.step }),
        })
    };
    let placed = |record: &Record| PlacedValue {
        step: record.step,
        time: TIME + record.seq,
        seq: record.seq,
        value: record.value,
    };
    all.into_iter()
        .map(|(metric, records)| MetricStats {
            metric: metric.to_owned(),
            count: records.len() as u64,
            non_finite: records.iter().filter(|record| !record.value.is_finite()).count() as u64,
            min: extreme(&records, |a, b| a < b),
            max: extreme(&records, |a, b| a > b),
            first: placed(records[0]),
            last: placed(records[records.len() - 1]),
            sum: records.iter().map(|record| record.value).filter(|value| value.is_finite()).sum(),
        })
        .collect()
}

fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("level")))
        .set_dictionary_enabled(false)
        // Small, so that a few hundred rows have several pages and row groups to leave out.
        .set_max_row_group_row_count(Some(400))
        .set_data_page_row_count_limit(50)
        .set_write_batch_size(50);
    for name in ["run_id", "metrics_name", "metric"] {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(name), true);
    }
    for name in ["step", "time", "seq"] {
        builder = builder.set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    builder.set_column_encoding(ColumnPath::from("value"), Encoding::BYTE_STREAM_SPLIT).build()
}

pub fn write_segment(root: &Path, n: u64, records: &[Record]) -> SegmentInfo {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, segment_schema(), Some(properties())).expect("writer");
    writer.write(&batch(records)).expect("written");
    writer.close().expect("closed");
    let (run_id, writer) = (records[0].run, records[0].writer);
    let blake3 = ContentHash::from(blake3::hash(&bytes));
    let folder: PathBuf = root.join("runs").join(run_id.to_string()).join(records[0].metrics_name);
    fs::create_dir_all(&folder).expect("folder");
    let path = folder.join(format!("{writer}-{n}-{blake3}.parquet"));
    fs::write(&path, &bytes).expect("segment");
    let times = || records.iter().map(|record| TIME + record.seq);
    SegmentInfo {
        run_id,
        writer,
        n,
        metrics_name: records[0].metrics_name.to_owned(),
        path,
        blake3,
        bytes: bytes.len() as u64,
        rows: records.len() as u64,
        time_min: times().min().expect("rows"),
        time_max: times().max().expect("rows"),
        metrics: stats(records),
    }
}

/// The result as text, a line a row, fields separated by `|`.
pub fn lines(result: &QueryResult) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut lines = Vec::new();
    for batch in result.batches() {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("text")).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

/// Runs a query that must succeed without warnings.
pub fn ask(session: &Session, sql: &str) -> Vec<String> {
    let result = session.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(result.warnings(), &[] as &[String], "{sql}");
    lines(&result)
}

/// Runs a query that must fail.
pub fn fail(session: &Session, sql: &str) -> stepwell_query::Error {
    match session.sql(sql) {
        Ok(result) => panic!("{sql}: {:?}", lines(&result)),
        Err(error) => error,
    }
}

/// How many of how many segments and live batches a query's scans pick, summed over its scans.
pub fn picked(session: &Session, sql: &str) -> [usize; 4] {
    let plan = ask(session, &format!("EXPLAIN {sql}")).join("\n");
    let mut sum = [0; 4];
    for line in plan.lines().filter(|line| line.contains("MetricsScanExec")) {
        let numbers = line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<usize>().ok());
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
    sum
}
