//! What several tests need.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::{Access, EngineConfig, Snapshot, Store};

/// A row as the tests compare it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestRow {
    pub metrics_name: String,
    pub metric: String,
    pub rank: i32,
    pub attempt: i32,
    pub seq: i64,
    pub step: i64,
    pub value_bits: u64,
    pub time: i64,
}

pub fn small_config() -> EngineConfig {
    let mut config = EngineConfig::default();
    config.ring_records = 4096;
    config.segment_rows_max = 2048;
    config.wait_limit = Duration::from_secs(30);
    config
}

pub fn open(path: &Path, config: EngineConfig) -> Store {
    Store::open_with(path, Access::Create, config).expect("open the store")
}

/// All rows of a snapshot, committed and live, sorted by writer and sequence number.
pub fn rows(snapshot: &Snapshot) -> Vec<TestRow> {
    let mut rows = Vec::new();
    for segment in snapshot.segments() {
        let before = rows.len();
        read_segment(&segment.path, &mut rows);
        assert_eq!((rows.len() - before) as u64, segment.rows);
    }
    snapshot.live().iter().for_each(|live| push_rows(&mut rows, &live.batch));
    rows.sort_by_key(|row| (row.rank, row.attempt, row.seq));
    rows
}

/// Adds the rows of a segment, in their order.
pub fn read_segment(path: &Path, rows: &mut Vec<TestRow>) {
    let file = File::open(path).expect("segment");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("parquet").build().expect("reader");
    reader.for_each(|batch| push_rows(rows, &batch.expect("batch")));
}

fn push_rows(rows: &mut Vec<TestRow>, batch: &RecordBatch) {
    let text = |column: usize, row: usize| {
        let dictionary = batch.column(column).as_dictionary::<Int32Type>();
        dictionary.values().as_string::<i32>().value(dictionary.keys().value(row) as usize).to_owned()
    };
    let integers = |column: usize| batch.column(column).as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        rows.push(TestRow {
            metrics_name: text(1, row),
            metric: text(2, row),
            step: integers(3).value(row),
            time: batch.column(4).as_primitive::<TimestampMicrosecondType>().value(row),
            value_bits: batch.column(5).as_primitive::<Float64Type>().value(row).to_bits(),
            rank: batch.column(6).as_primitive::<Int32Type>().value(row),
            attempt: batch.column(7).as_primitive::<Int32Type>().value(row),
            seq: integers(8).value(row),
        });
    }
}

/// No two rows have the same identity.
pub fn assert_distinct(rows: &[TestRow]) {
    let key = |row: &TestRow| (row.rank, row.attempt, row.seq);
    for pair in rows.windows(2) {
        assert!(key(&pair[0]) < key(&pair[1]), "twice: {:?} and {:?}", pair[0], pair[1]);
    }
}
