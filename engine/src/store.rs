//! A store: the folder of all runs.

use std::path::{Path, PathBuf};

use crate::catalog::ReindexReport;
use crate::error::Result;
use crate::ids::RunId;
use crate::layout::Layout;
use crate::recovery::RecoveryReport;
use crate::run::{MetricsArtifact, Run, RunOptions};
use crate::snapshot::{ArtifactInfo, GapInfo, LineageEdge, LiveRows, RunInfo, SegmentInfo, SummaryRow};
use crate::config::EngineConfig;
use crate::verify::VerifyReport;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For logging: the folder is created when it is missing, dead writers' journals are recovered.
    Create,
    /// Like `Create`, but a missing store is an error.
    Write,
    /// Nothing is written: no recovery, and the catalog is brought up to date in memory when its file is behind.
    Read,
}

/// A store: the folder of all runs. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens the store at `path` for logging, creating it when missing ([`Access::Create`]) with the configuration of the environment.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> { unimplemented!() }
    /// Opens a store.
    pub fn open_with(path: impl AsRef<Path>, access: Access, config: EngineConfig) -> Result<Self> { unimplemented!() }
    /// The layout of its files.
    pub fn layout(&self) -> &Layout { unimplemented!() }
    /// How it was opened.
    pub fn access(&self) -> Access { unimplemented!() }
    /// What opening it recovered from dead writers.
    pub fn recovery(&self) -> &RecoveryReport { unimplemented!() }
    /// Starts a run, or attaches another writer to one.
    pub fn start_run(&self, options: RunOptions) -> Result<Run> { unimplemented!() }
    /// What the store holds at this moment.
    pub fn snapshot(&self) -> Result<Snapshot> { unimplemented!() }
    /// The run that `text` names: a run id, a prefix of one that fits a single run, or the name of a single run.
    pub fn find_run(&self, text: &str) -> Result<RunId> { unimplemented!() }
    /// Commits what dead writers of `run` left: journals become segments, and each metrics name a metrics artifact.
    /// With `metrics_name`, only that name's artifact is registered.
    pub fn commit(&self, run: RunId, metrics_name: Option<&str>) -> Result<Vec<MetricsArtifact>> { unimplemented!() }
    /// Reads every segment and object and compares its BLAKE3 with its name and the catalog.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> { unimplemented!() }
    /// Deletes the catalog and builds it anew from the event logs.
    pub fn reindex(&self) -> Result<ReindexReport> { unimplemented!() }
}

/// What a store holds at one moment. Rows are in a segment or live, never both.
pub struct Snapshot {}

impl Snapshot {
    /// All runs, ordered by start time, then id.
    pub fn runs(&self) -> &[RunInfo] { unimplemented!() }
    /// Committed segments, ordered by (run, writer, number).
    pub fn segments(&self) -> &[SegmentInfo] { unimplemented!() }
    /// Rows still in journals.
    pub fn live(&self) -> &[LiveRows] { unimplemented!() }
    /// One row per run, metrics name and metric over committed and live rows, from stored statistics; ordered so.
    pub fn summary(&self) -> Result<Vec<SummaryRow>> { unimplemented!() }
    /// All artifacts, ordered by creation time, then id.
    pub fn artifacts(&self) -> Result<Vec<ArtifactInfo>> { unimplemented!() }
    /// All edges between runs and artifacts, ordered by time, run, artifact.
    pub fn lineage(&self) -> Result<Vec<LineageEdge>> { unimplemented!() }
    /// All losses that were told, ordered by run, writer, time.
    pub fn gaps(&self) -> Result<Vec<GapInfo>> { unimplemented!() }
    /// Layout of the store.
    pub fn layout(&self) -> &Layout { unimplemented!() }
}
