//! SQL over a store: committed segments and rows still in journals, in one table.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use stepwell_engine::Store;
//! use stepwell_query::{Session, output};
//!
//! let store = Store::open(".stepwell")?;
//! let result = Session::new(&store).sql("SELECT run_id, min(value) FROM metrics WHERE metric = 'loss' GROUP BY run_id")?;
//! output::write(&result, output::Format::Table, &mut std::io::stdout())?;
//! # Ok(()) }
//! ```
//!
//! | table | rows |
//! |---|---|
//! | `metrics` | one for each record |
//! | `runs` | one for each run, with `params['lr']` and `tags['team']` |
//! | `params` | one for each parameter of each run |
//! | `summary` | one per run, metrics name and metric; answered without reading a row |
//! | `artifacts`, `lineage` | inputs and outputs, and which run they belong to |
//! | `links`, `aliases`, `executions` | what else ML Metadata and CMF keep |
//! | `pipelines`, `stages`, `writers`, `segments`, `gaps` | how the store is made up |
//! | `wide('metrics name')` | a column for each metric, a row for each step |
//! | `curves()` | `metrics` with resumed runs stitched: the last attempt wins |
//! | `config_diff('run', 'run')` | parameters that differ |
//! | `ancestors('model')`, `descendants('data.csv')` | what it came from, and what came of it |
//!
//! Functions for training runs, such as `argmin`, `ema`, `auc` and `m4`, are added to DataFusion's; `SHOW FUNCTIONS` and
//! docs/GUIDE.md list them.
//!
//! # Promises
//!
//! - One snapshot a query: a row is in a segment or live, never both, never neither.
//! - Read-only: one statement of SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE. Nothing else is even planned, and no
//!   SQL reaches a file outside the store.
//! - A file is never trusted: a segment is hashed before its first use in a process, and read through the same handle.
//! - Times are UTC.
//!
//! # Cost
//!
//! Planning opens no file. The event log says which rows of which segment belong to which metric, so a filter on runs, names, rank
//! and metric picks ranges of rows before any file is opened, one on step, time and value leaves out whole metrics, and then
//! pages by Parquet's statistics. Of what is picked, only the columns are read that differ from row to row. Rows that come in order
//! are not sorted; the lowest and highest value or step of whole metrics come from statistics. `EXPLAIN` says what was picked,
//! `EXPLAIN ANALYZE` what was read. The first use of a segment in a process reads it whole once, to hash it.

mod bounded;
mod cooperation;
mod error;
mod functions;
mod integrity;
pub mod lineage;
mod metrics;
pub mod output;
mod parameters;
mod per_process;
mod policy;
mod result;
mod rolling;
mod rows_table;
mod runtime;
mod source;
mod sql;
mod sql_catalog;
mod suggest;
mod system_tables;
mod table_functions;
mod unnested;

pub use error::{DamagedSegment, Error, OutputError, Position, Result, SegmentFault};
pub use integrity::DamagedPolicy;
pub use parameters::Parameter;
pub use result::QueryResult;
pub use source::{SnapshotData, SnapshotSource};
pub use sql::{QueryOptions, Session};
pub use sql_catalog::table_names;
