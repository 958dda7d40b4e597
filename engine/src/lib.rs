//! Stepwell's engine: every metric of every training step, logged in nanoseconds and kept through any crash.
//!
//! The engine is the part without SQL: the ring that is the journal, the sealer that turns journals into Parquet
//! segments, recovery, the event logs and the catalog. `stepwell-query` asks SQL over it.
//!
//! ```
//! use stepwell_engine::{RunOptions, Store};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("store");
//! let store = Store::open(&path)?;
//! let run = store.start_run(RunOptions::new("digits", "train").param("lr", 0.1))?;
//! let row = run.row("training_metrics", &["loss", "accuracy"])?;
//! let mut log = run.logger()?; // one per thread
//! for step in 0..1000 {
//!     log.log_row(&row, step, &[0.5, 0.9])?; // one clock read for both
//! }
//! let artifact = run.commit("training_metrics")?;
//! assert_eq!((artifact.version, artifact.rows), (1, 2000));
//! run.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Durability
//!
//! | level | reached when | survives |
//! |---|---|---|
//! | L0 logged | the log call returned | death of the process: SIGKILL, out of memory, a segmentation fault |
//! | L1 sealed | its block of 2,048 records is full and checksummed | the same |
//! | L2 synced | the sync interval passed (1 s by default), or [`Run::sync`] returned | power loss |
//! | L3 committed | its segment is renamed into place, file and folder synced | power loss; the journal is no longer needed |
//!
//! # Words
//!
//! A *store* is a folder of runs. A *run* is one execution of a *stage* of a *pipeline*; a *writer* is one process
//! attached to it. A *metric* is one series, such as `loss`, under a *metrics name*; a *record* is one value of it at a
//! *step*. The *journal* is the mapped file that is a logger's ring; a *segment* is an immutable Parquet file of one run
//! and metrics name; the *catalog* is an SQLite index that can be deleted and rebuilt.

pub mod batch;
pub mod catalog;
mod claim;
mod clock;
mod compaction;
pub mod config;
pub mod doctor;
pub mod environment;
pub mod error;
mod event_log;
pub mod events;
pub mod fail_point;
mod fork;
pub mod git;
mod host;
pub mod ids;
pub mod import;
mod index;
mod journal;
pub mod layout;
mod live;
mod manifest;
pub mod names;
pub mod objects;
mod orphans;
pub mod packs;
pub mod recovery;
mod ring;
pub mod run;
mod scratch;
pub mod segment;
mod signals;
pub mod snapshot;
mod stats;
mod storage;
pub mod store;
mod sync;
pub mod verify;
mod writer;

#[cfg(test)]
mod format_doc;
#[cfg(test)]
mod simulation;

pub use compaction::{CompactFailure, CompactOptions, CompactReport, CompactedName, NotCompacted, Packed};
pub use config::EngineConfig;
pub use error::{Error, LogError, Result, with_causes};
pub use events::{ArtifactKey, ArtifactRecord, ContextRecord, Direction, ExecutionRecord, FinishState, ParamValue};
pub use fork::without_forks;
pub use ids::{ContentHash, RunId, WriterId};
pub use import::{Imported, ImportedMetrics, ImportedRow, ImportedRun};
pub use run::{
    ArtifactSpec, ContextLevel, LinkedArtifact, Logger, MetadataIds, Metric, MetricsArtifact, RoomOutcome, RoomWaiter,
    Row, Run, RunOptions, RunReport, RunStats, WhenFull,
};
pub use snapshot::{
    AliasInfo, ArtifactInfo, ExecutionInfo, GapInfo, GitInfo, LineageEdge, LinkInfo, LiveRows, RunInfo, RunState,
    SegmentInfo, Snapshot, SummaryRow, WriterInfo,
};
pub use stats::WriterStats;
pub use store::{Access, Store};
