//! Stepwell's engine: ring, journal, segments, catalog.
#![allow(unused, missing_docs)]
pub mod batch;
pub mod catalog;
pub mod config;
pub mod error;
pub mod events;
pub mod ids;
pub mod layout;
pub mod names;
pub mod recovery;
pub mod run;
pub mod snapshot;
pub mod store;
pub mod verify;

pub use config::EngineConfig;
pub use error::{Error, LogError, Result, with_causes};
pub use events::{Direction, FinishState, ParamValue};
pub use ids::{ContentHash, RunId, WriterId};
pub use run::{ArtifactSpec, LinkedArtifact, Logger, Metric, MetricsArtifact, RoomOutcome, Row, Run, RunOptions, RunReport, RunStats, WhenFull};
pub use snapshot::{ArtifactInfo, GapInfo, LineageEdge, LiveRows, RunInfo, RunState, SegmentInfo, SummaryRow, WriterInfo};
pub use store::{Access, Snapshot, Store};
