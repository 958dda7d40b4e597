//! Tables other than `metrics`: one file each, made from the snapshot when a query names them and not before.

mod aliases;
mod artifacts;
pub(crate) mod columns;
mod engine_stats;
mod executions;
mod gaps;
mod lineage;
mod links;
mod params;
mod pipelines;
mod runs;
mod segments;
mod stages;
mod summary;
mod writers;

use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::rows_table::{RowsTable, batch_of};
use crate::source::SnapshotSource;

/// Why the rows of a table could not be made.
type RowsError = Box<dyn std::error::Error + Send + Sync>;

/// A table of the snapshot.
struct Definition {
    name: &'static str,
    /// Its columns. Told without I/O: planning needs them.
    fields: fn(&dyn SnapshotSource) -> Vec<Field>,
    /// Its rows, one array for each of `fields`.
    rows: fn(&dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError>,
    source: Source,
}

/// What making the rows of a table takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The snapshot holds them. Planning learns how many there are, and joins accordingly.
    Memory,
    /// The engine may read files for them, so they are made when the query runs.
    Engine,
}

/// The table that makes only the rows which are asked for.
const SUMMARY: &str = "summary";

const DEFINITIONS: [Definition; 13] = [
    Definition { name: "runs", fields: runs::fields, rows: runs::rows, source: Source::Memory },
    Definition { name: "params", fields: |_| params::fields(), rows: params::rows, source: Source::Memory },
    Definition { name: "artifacts", fields: |_| artifacts::fields(), rows: artifacts::rows, source: Source::Engine },
    Definition { name: "lineage", fields: |_| lineage::fields(), rows: lineage::rows, source: Source::Engine },
    Definition { name: "links", fields: |_| links::fields(), rows: links::rows, source: Source::Engine },
    Definition { name: "aliases", fields: |_| aliases::fields(), rows: aliases::rows, source: Source::Engine },
    Definition { name: "executions", fields: |_| executions::fields(), rows: executions::rows, source: Source::Memory },
    Definition { name: "pipelines", fields: |_| pipelines::fields(), rows: pipelines::rows, source: Source::Memory },
    Definition { name: "stages", fields: |_| stages::fields(), rows: stages::rows, source: Source::Memory },
    Definition { name: "writers", fields: |_| writers::fields(), rows: writers::rows, source: Source::Memory },
    Definition { name: "segments", fields: |_| segments::fields(), rows: segments::rows, source: Source::Memory },
    Definition {
        name: "engine_stats",
        fields: |_| engine_stats::fields(),
        rows: engine_stats::rows,
        source: Source::Engine,
    },
    Definition { name: "gaps", fields: |_| gaps::fields(), rows: gaps::rows, source: Source::Engine },
];

/// Names of all system tables, in the order in which the guide has them.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let (first, rest) = DEFINITIONS.split_at(2);
    let name = |definition: &Definition| definition.name;
    first.iter().map(name).chain([SUMMARY]).chain(rest.iter().map(name))
}

/// The table `name` of `snapshot`; `None` when there is none.
pub(crate) fn table(name: &str, snapshot: &Arc<dyn SnapshotSource>) -> Option<Arc<dyn TableProvider>> {
    if name == SUMMARY {
        return Some(Arc::new(summary::SummaryTable::new(Arc::clone(snapshot))));
    }
    let definition = DEFINITIONS.iter().find(|definition| definition.name == name)?;
    let fields = (definition.fields)(snapshot.as_ref());
    let snapshot = Arc::clone(snapshot);
    Some(match definition.source {
        Source::Memory => Arc::new(MemoryTable { definition, schema: Arc::new(Schema::new(fields)), snapshot }),
        Source::Engine => Arc::new(RowsTable::new(fields, move || {
            (definition.rows)(snapshot.as_ref()).map_err(DataFusionError::External)
        })),
    })
}

/// A table whose rows the snapshot holds.
struct MemoryTable {
    definition: &'static Definition,
    schema: SchemaRef,
    snapshot: Arc<dyn SnapshotSource>,
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTable").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = (self.definition.rows)(self.snapshot.as_ref()).map_err(DataFusionError::External)?;
        let batch = batch_of(&self.schema, columns)?;
        let rows = MemorySourceConfig::try_new(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?;
        Ok(DataSourceExec::from_data_source(rows.with_limit(limit)))
    }
}
