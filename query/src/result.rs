//! The rows a query gave.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

/// Rows, their schema, and what the user should know about them.
#[derive(Clone, Debug)]
pub struct QueryResult {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    warnings: Vec<String>,
}

impl QueryResult {
    pub(crate) fn new(schema: SchemaRef, batches: Vec<RecordBatch>, warnings: Vec<String>) -> Self {
        Self { schema, batches, warnings }
    }

    /// Names and types of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The rows. No batch is empty; there is none when there are no rows.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// What the user should know: segments that were left out, a result that was cut. Empty when all is well.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Number of rows.
    pub fn num_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Schema, rows and warnings, for handing on without a copy.
    pub fn into_parts(self) -> (SchemaRef, Vec<RecordBatch>, Vec<String>) {
        (self.schema, self.batches, self.warnings)
    }
}

/// Bytes of the rows of a batch. Buffers shared with other batches count in part, which a plain sum of buffer sizes
/// would count once for each.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    let column = |column: &dyn Array| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
    batch.columns().iter().fold(0, |sum: usize, array| sum.saturating_add(column(array.as_ref())))
}
