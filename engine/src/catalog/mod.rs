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
mod artifacts;
mod compare;
mod connection;
mod contexts;
mod digest;
mod executions;
mod ids;
mod mlmd;
mod reader;
mod references;
mod refresh;
mod segments;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use compare::{CatalogFault, fault_of, files_of};
pub use connection::Catalog;
pub(crate) use connection::{WAL_BYTES_LEFT, WAL_BYTES_MAX, belongs_to_another as is_foreign, is_older};
pub use digest::run_state;
pub use reader::{CatalogSnapshot, MetricsCommitInfo};
pub(crate) use reader::{Committed, ReplacedSegment};
pub use refresh::{DamagedLine, RefreshReport, ReindexReport};

use crate::events::ArtifactKey;
use crate::ids::RunId;

/// Ids of a catalog in which no two of them met: the usual case.
const USUAL: ids::Ids = ids::Ids { salt: 0, bits: ids::ID_BITS };

/// `Artifact.id` of an artifact, in a catalog in which no two ids met.
pub(crate) fn artifact_id(key: &ArtifactKey) -> i64 {
    USUAL.artifact(&key.artifact_type, &key.uri, &key.scope)
}

/// `Execution.id` of a run, likewise.
pub(crate) fn execution_id(run: RunId) -> i64 {
    USUAL.execution(run)
}

/// `Context.id` of a pipeline, likewise.
pub(crate) fn pipeline_id(pipeline: &str) -> i64 {
    USUAL.pipeline(pipeline)
}

/// `Context.id` of a stage, likewise.
pub(crate) fn stage_id(pipeline: &str, stage: &str) -> i64 {
    USUAL.stage(&format!("{pipeline}/{stage}"))
}
