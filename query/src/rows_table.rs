//! A table whose rows are made when the query runs, because the engine may read files for them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

/// The columns of a table as one batch. A table without columns that are asked for still has rows.
pub(crate) fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let rows = columns.first().map_or(0, |column| column.len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

type MakeRows = dyn Fn() -> Result<Vec<ArrayRef>> + Send + Sync;

/// Rows that a function makes.
#[derive(Clone)]
pub(crate) struct RowsTable {
    schema: SchemaRef,
    make: Arc<MakeRows>,
}

impl RowsTable {
    /// A table with `fields`; `make` gives one array for each.
    pub(crate) fn new(fields: Vec<Field>, make: impl Fn() -> Result<Vec<ArrayRef>> + Send + Sync + 'static) -> Self {
        Self { schema: Arc::new(Schema::new(fields)), make: Arc::new(make) }
    }
}

impl fmt::Debug for RowsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowsTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for RowsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = vec![Arc::new(self.clone()) as Arc<dyn PartitionStream>];
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&self.schema), rows, projection, [], false, limit)?))
    }
}

impl PartitionStream for RowsTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let table = self.clone();
        let batch = async move {
            let task = tokio::task::spawn_blocking(move || batch_of(&table.schema, (table.make)()?));
            task.await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::once(batch)))
    }
}
