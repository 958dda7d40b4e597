//! The catalog: an SQLite index of all event logs, in ML Metadata's schema 10 with `stepwell_*` tables beside it.
//!
//! Nothing is stored here that the event logs do not say, so the file may be deleted at any time. What it holds is a pure
//! function of the logs: neither the order in which logs are seen nor how often they are read makes a difference, and a
//! catalog that grew line by line is row for row the one rebuilt from nothing, ids included. Four rules see to that:
//!
//! 1. The unit is the run. When one of its logs has grown, all its logs are read, and all its rows are replaced in one
//!    transaction (`digest.rs` turns logs into facts, `apply.rs` facts into rows).
//! 2. What runs share - artifacts, contexts, types - is computed from all recorded uses, ordered by (time, run, writer,
//!    number), and goes with its last use (`shared.rs`).
//! 3. Ids are hashes of what they identify (`ids.rs`).
//! 4. Nothing reads the clock. Only `stepwell_scan`, a cache of folder times, depends on more than the logs.
//!
//! In ML Metadata's terms a pipeline is a context of type `Parent_Context`, a stage one of type `Pipeline_Stage` named
//! `<pipeline>/<stage>`, a run an execution whose type is named like its stage and whose `external_id` is the run id. The
//! execution's name is NULL, as CMF leaves it: a name has to be unique within its type, which display names are not. The
//! display name is the custom property `stepwell:name`, tags are `stepwell:tag:<key>`, parameters keep their names.

mod apply;
mod compare;
mod connection;
mod digest;
mod ids;
mod mlmd;
mod reader;
mod refresh;
mod segments;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use compare::{CatalogFault, fault_of, files_of};
pub use connection::Catalog;
pub(crate) use connection::belongs_to_another as is_foreign;
pub use digest::run_state;
pub use reader::{CatalogSnapshot, MetricsCommitInfo};
pub(crate) use reader::{Committed, ReplacedSegment};
pub use refresh::{DamagedLine, RefreshReport, ReindexReport};
