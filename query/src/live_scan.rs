//! The plan that reads rows still in journals: batches that are in memory already.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use stepwell_engine::LiveRows;

use crate::facts::{Runs, constant_text};
use crate::metrics_table::projected;

/// Reads `live` in batches of up to `batch_rows`. No row is copied.
pub(crate) fn live_scan(
    live: &[&LiveRows],
    runs: &Runs<'_>,
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
    batch_rows: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    let columns: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
    let schema = projected(schema, Some(&columns))?;
    let mut batches = Vec::new();
    for rows in live {
        let batch = with_run_columns(rows, runs, &schema, &columns)?;
        let mut start = 0;
        while start < batch.num_rows() {
            let length = batch_rows.max(1).min(batch.num_rows() - start);
            batches.push(batch.slice(start, length));
            start += length;
        }
    }
    Ok(DataSourceExec::from_data_source(MemorySourceConfig::try_new(&[batches], schema, None)?))
}

fn with_run_columns(live: &LiveRows, runs: &Runs<'_>, schema: &SchemaRef, columns: &[usize]) -> Result<RecordBatch> {
    let rows = live.batch.num_rows();
    let stored = live.batch.num_columns();
    let run = runs.columns(live.run_id);
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns.len());
    for column in columns {
        arrays.push(match column.checked_sub(stored) {
            None => Arc::clone(live.batch.column(*column)),
            Some(index) => constant_text(run[index], rows)?,
        });
    }
    // COUNT(*) asks for no column at all, and still wants to know how many rows there are.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}
