//! Reading a run back: what is in segments and what is still in journals.

use std::collections::BTreeMap;
use std::fs::File;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::{RunId, Snapshot};

/// Step and value bits of each row, by metric and sequence number.
pub type Rows = BTreeMap<(String, i64), (i64, u64)>;

/// All rows of a run.
///
/// # Errors
/// A segment that cannot be read, and a row that is there twice, in words.
pub fn rows_of(snapshot: &Snapshot, run: RunId) -> Result<Rows, String> {
    let mut rows = Rows::new();
    for segment in snapshot.segments().iter().filter(|segment| segment.run_id == run) {
        let say = |error: &dyn std::fmt::Display| format!("{:?}: {error}", segment.path);
        let file = File::open(&segment.path).map_err(|error| say(&error))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
        for batch in reader.map_err(|error| say(&error))? {
            add(&mut rows, &batch.map_err(|error| say(&error))?)?;
        }
    }
    for live in snapshot.live().iter().filter(|live| live.run_id == run) {
        add(&mut rows, &live.batch)?;
    }
    Ok(rows)
}

fn add(rows: &mut Rows, batch: &RecordBatch) -> Result<(), String> {
    let metric = batch.column(2).as_dictionary::<Int32Type>();
    let names = metric.values().as_string::<i32>();
    let step = batch.column(3).as_primitive::<Int64Type>();
    let value = batch.column(5).as_primitive::<Float64Type>();
    let seq = batch.column(8).as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let key = (names.value(metric.keys().value(row) as usize).to_owned(), seq.value(row));
        if let Some(known) = rows.insert(key.clone(), (step.value(row), value.value(row).to_bits())) {
            return Err(format!("{key:?} is there twice, as {known:?} and again"));
        }
    }
    Ok(())
}
