//! The tables of a snapshot, as DataFusion finds them. A table is made when a query names it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::Result;

use crate::integrity::Guard;
use crate::metrics::MetricsTable;
use crate::source::SnapshotSource;
use crate::system_tables;

/// Name of the catalog. Nobody needs to write it.
pub(crate) const CATALOG: &str = "stepwell";
/// Name of the schema. Nobody needs to write it.
pub(crate) const SCHEMA: &str = "public";

const METRICS: &str = "metrics";

/// Names of all tables.
pub fn table_names() -> Vec<String> {
    std::iter::once(METRICS).chain(system_tables::names()).map(str::to_owned).collect()
}

/// The tables of one query.
pub(crate) struct StoreTables {
    pub(crate) snapshot: Arc<dyn SnapshotSource>,
    pub(crate) guard: Arc<Guard>,
}

impl fmt::Debug for StoreTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreTables").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for StoreTables {
    fn table_names(&self) -> Vec<String> {
        table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if name == METRICS {
            return Ok(Some(Arc::new(MetricsTable::new(Arc::clone(&self.snapshot), Arc::clone(&self.guard)))));
        }
        Ok(system_tables::table(name, &self.snapshot))
    }

    fn table_exist(&self, name: &str) -> bool {
        name == METRICS || system_tables::names().any(|table| table == name)
    }
}

/// The one catalog with the one schema.
#[derive(Debug)]
pub(crate) struct StoreCatalog {
    pub(crate) tables: Arc<StoreTables>,
}

impl CatalogProvider for StoreCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::clone(&self.tables) as Arc<dyn SchemaProvider>)
    }
}
