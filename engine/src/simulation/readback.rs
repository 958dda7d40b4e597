//! The records of a run, read back from its files.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::event_log::read_log;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::live::read_writer;
use crate::manifest::Manifest;
use crate::segment::{SegmentSource, identity_of_segments};

/// Metric, step and value bits of each record, by sequence number.
pub(super) type Rows = BTreeMap<i64, (String, i64, u64)>;

/// The records in the segments that the event log names, and how many losses it tells: gaps, and lines of its own that
/// are damaged. Checks the metrics artifacts.
pub(super) fn stored_rows(layout: &Layout, run: RunId, writer: WriterId) -> (Rows, usize) {
    let path = layout.events(run, writer);
    let contents = read_log(layout, &path).expect("the event log is there");
    let mut rows = Rows::new();
    let Ok(manifest) = Manifest::of(&contents, &path) else { return (rows, contents.faults.len()) };
    for segment in &manifest.segments {
        add_segment(&mut rows, layout, run, &segment.file).expect("a segment that is named is there, and whole");
    }
    for commit in manifest.commits.values() {
        let segments = manifest.segments.iter().filter(|segment| commit.segments.contains(&segment.n));
        let paths: Vec<_> = segments.map(|segment| layout.run(run).join(&segment.file)).collect();
        let (rows, identity) = identity_of_segments(layout, writer, &paths).expect("segments are whole");
        assert_eq!((rows, identity), (commit.rows, commit.identity), "the identity of {}", commit.metrics_name);
    }
    (rows, manifest.gaps.len() + contents.faults.len())
}

/// The records as another process sees them now; `None` when the disk stops meanwhile.
pub(super) fn live_rows(layout: &Layout, run: RunId, writer: WriterId) -> Option<Rows> {
    let live = read_writer(layout, run, writer).ok()?;
    let mut rows = Rows::new();
    for segment in &live.manifest.segments {
        add_segment(&mut rows, layout, run, &segment.file).ok()?;
    }
    for part in &live.rows {
        add(&mut rows, &part.batch);
    }
    Some(rows)
}

fn add_segment(rows: &mut Rows, layout: &Layout, run: RunId, file: &str) -> Result<(), ParquetError> {
    let source = SegmentSource::open(layout, &layout.run(run).join(file))?;
    for batch in ParquetRecordBatchReaderBuilder::try_new(source)?.build()? {
        add(rows, &batch?);
    }
    Ok(())
}

fn add(rows: &mut Rows, batch: &RecordBatch) {
    let names = batch.column(1).as_dictionary::<Int32Type>();
    let metrics = batch.column(2).as_dictionary::<Int32Type>();
    let text = |column: &arrow::array::DictionaryArray<Int32Type>, row: usize| {
        column.values().as_string::<i32>().value(column.keys().value(row) as usize).to_owned()
    };
    let step = batch.column(3).as_primitive::<Int64Type>();
    let value = batch.column(5).as_primitive::<Float64Type>();
    let seq = batch.column(8).as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let metric = format!("{} {}", text(names, row), text(metrics, row));
        let known = rows.insert(seq.value(row), (metric, step.value(row), value.value(row).to_bits()));
        assert!(known.is_none(), "a record is there twice: {known:?}");
    }
}
