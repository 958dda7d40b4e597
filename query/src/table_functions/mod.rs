//! Functions that stand for a table: `SELECT ... FROM wide('metrics')`.
//!
//! | function | rows |
//! |---|---|
//! | [`wide('metrics name' [, 'run'])`](wide) | one per step, with a column for each metric |
//! | [`curves(['metrics name'])`](curves) | `metrics` with resumed runs stitched: the last attempt wins |
//! | [`config_diff(['run', ...])`](config_diff) | parameters that differ among runs |
//! | [`ancestors('artifact or run')`](lineage), `descendants(...)` | what it came from, and what came of it |
//!
//! Arguments are literals. A run is named as on the command line: by its id, by the beginning of an id that fits a
//! single run, or by the name of a single run. One file each; `wide` and `curves` are plans over `metrics`, so that
//! what a query asks of them still leaves out segments.

mod arguments;
mod config_diff;
mod curves;
mod lineage;
mod wide;

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider, default_table_source};
use datafusion::error::Result;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::LogicalPlanBuilder;

use crate::integrity::Guard;
use crate::metrics::MetricsTable;
use crate::source::SnapshotSource;
use arguments::Arguments;

/// What the functions of one query read.
struct Store {
    snapshot: Arc<dyn SnapshotSource>,
    guard: Arc<Guard>,
}

impl Store {
    /// A plan that reads the table `metrics`.
    fn metrics(&self) -> Result<LogicalPlanBuilder> {
        let table = MetricsTable::new(Arc::clone(&self.snapshot), Arc::clone(&self.guard));
        LogicalPlanBuilder::scan("metrics", default_table_source::provider_as_source(Arc::new(table)), None)
    }
}

/// Makes the table of a call.
type Make = fn(&Arc<Store>, &Arguments) -> Result<Arc<dyn TableProvider>>;

/// A function: how it is called, and how its table is made.
struct Definition {
    name: &'static str,
    /// As in the documentation, told by every error.
    usage: &'static str,
    make: Make,
}

const DEFINITIONS: [Definition; 5] = [
    Definition { name: "wide", usage: "wide('metrics name' [, 'run'])", make: wide::table },
    Definition { name: "curves", usage: "curves(['metrics name'])", make: curves::table },
    Definition { name: "config_diff", usage: "config_diff(['run', ...])", make: config_diff::table },
    Definition { name: "ancestors", usage: "ancestors('artifact or run')", make: lineage::ancestors },
    Definition { name: "descendants", usage: "descendants('artifact or run')", make: lineage::descendants },
];

/// Names of all functions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().map(|definition| definition.name)
}

/// Name of the function `name`, and how it is called.
pub(crate) fn called_as(name: &str) -> Option<(&'static str, &'static str)> {
    DEFINITIONS.iter().find(|definition| definition.name == name).map(|definition| (definition.name, definition.usage))
}

/// Makes the functions known to the queries of `context`.
pub(crate) fn register(context: &SessionContext, snapshot: &Arc<dyn SnapshotSource>, guard: &Arc<Guard>) {
    let store = Arc::new(Store { snapshot: Arc::clone(snapshot), guard: Arc::clone(guard) });
    for definition in &DEFINITIONS {
        context.register_udtf(definition.name, Arc::new(Function { definition, store: Arc::clone(&store) }));
    }
}

struct Function {
    definition: &'static Definition,
    store: Arc<Store>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function").field("name", &self.definition.name).finish_non_exhaustive()
    }
}

impl TableFunctionImpl for Function {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let arguments = Arguments::try_new(self.definition.usage, args.exprs())?;
        (self.definition.make)(&self.store, &arguments)
    }
}
