//! A run: one execution of a stage, and what is logged to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{LogError, Result};
use crate::events::{Direction, FinishState, ParamValue};
use crate::ids::{ContentHash, RunId, WriterId};

/// How a run is started.
#[derive(Clone, Debug)]
pub struct RunOptions { /* pipeline, stage, name, params, tags, rank, resume, when_full */ }

impl RunOptions {
    /// A run of `stage` in `pipeline`.
    pub fn new(pipeline: impl Into<String>, stage: impl Into<String>) -> Self { unimplemented!() }
    /// Gives the run a display name.
    pub fn name(self, name: impl Into<String>) -> Self { unimplemented!() }
    /// Sets a parameter.
    pub fn param(self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self { unimplemented!() }
    /// Sets a tag.
    pub fn tag(self, key: impl Into<String>, value: impl Into<String>) -> Self { unimplemented!() }
    /// Rank of this process in a distributed run (default 0).
    pub fn rank(self, rank: i32) -> Self { unimplemented!() }
    /// Attaches to the run with this id instead of a new one: another rank, or the same rank resumed. The run is created when it does not exist, so that all ranks can agree on an id beforehand.
    pub fn run_id(self, run: RunId) -> Self { unimplemented!() }
    /// What a log call does when the ring is full.
    pub fn when_full(self, policy: WhenFull) -> Self { unimplemented!() }
}

/// What a log call does when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room; after the configured time without any, drop and count (training is never hung).
    Wait,
    /// Return [`LogError::Full`] at once, and count the record as dropped.
    Fail,
    /// Drop the record, count it, and return success.
    DropNewest,
}

/// A metric of one run, interned once. `Copy`; pass it to [`Logger::log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric { key: u64 }

/// Metrics of one metrics name that are logged together.
#[derive(Clone, Debug)]
pub struct Row { }
impl Row {
    /// Next step when the caller gives none: counts up from 0 per metrics name and writer.
    pub fn next_step(&self) -> i64 { unimplemented!() }
    /// Its metrics.
    pub fn metrics(&self) -> &[Metric] { unimplemented!() }
}

/// An artifact to be linked to a run.
#[derive(Clone, Debug)]
pub struct ArtifactSpec { /* artifact_type, path, name, properties, direction, store: bool */ }
impl ArtifactSpec {
    /// The file or folder at `path`, as ML Metadata type `artifact_type` (`Dataset`, `Model`, ...), named by its path.
    pub fn new(artifact_type: impl Into<String>, path: impl Into<PathBuf>) -> Self { unimplemented!() }
    /// Another name than the path.
    pub fn name(self, name: impl Into<String>) -> Self { unimplemented!() }
    /// Adds a property.
    pub fn property(self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self { unimplemented!() }
    /// Only hash the content, do not copy it to `objects/`.
    pub fn reference_only(self) -> Self { unimplemented!() }
}

/// An artifact that was linked.
#[derive(Clone, Debug)]
pub struct LinkedArtifact { /// hash
 pub hash: ContentHash, /// bytes
 pub bytes: u64, /// name
 pub name: String, /// type
 pub artifact_type: String }

/// A versioned metrics artifact.
#[derive(Clone, Debug)]
pub struct MetricsArtifact { /// name
 pub metrics_name: String, /// version
 pub version: u32, /// identity
 pub identity: ContentHash, /// rows
 pub rows: u64, /// run
 pub run_id: RunId, /// writer
 pub writer: WriterId }

/// What finish says.
#[derive(Clone, Debug)]
pub struct RunReport { /// run
 pub run_id: RunId, /// records logged
 pub rows: u64, /// waits
 pub waits: u64, /// drops
 pub drops: u64, /// artifacts
 pub artifacts: Vec<MetricsArtifact>, /// problems in words
 pub warnings: Vec<String> }

/// Counters of a running run.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunStats { /// records logged
 pub rows_logged: u64, /// committed
 pub rows_committed: u64, /// waits
 pub waits: u64, /// drops
 pub drops: u64, /// syncs
 pub syncs: u64, /// segments
 pub segments: u64 }

/// One run, as seen by the process that writes to it. `Send + Sync`; clones share the run.
#[derive(Clone)]
pub struct Run {}

impl Run {
    /// Its id.
    pub fn id(&self) -> RunId { unimplemented!() }
    /// The writer.
    pub fn writer(&self) -> WriterId { unimplemented!() }
    /// Interns a metric. Checked names; [`crate::Error::TooManyMetrics`] past the limit.
    pub fn metric(&self, metrics_name: &str, metric: &str) -> Result<Metric> { unimplemented!() }
    /// Interns several metrics of one name that are logged together.
    pub fn row(&self, metrics_name: &str, metrics: &[&str]) -> Result<Row> { unimplemented!() }
    /// A logger for the calling thread: one per thread, each with its own ring.
    pub fn logger(&self) -> Result<Logger> { unimplemented!() }
    /// Sets parameters.
    pub fn set_params(&self, params: BTreeMap<String, ParamValue>) -> Result<()> { unimplemented!() }
    /// Sets tags.
    pub fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<()> { unimplemented!() }
    /// Links a file or folder.
    pub fn log_artifact(&self, direction: Direction, spec: ArtifactSpec) -> Result<LinkedArtifact> { unimplemented!() }
    /// Final values of the run (CMF's `log_execution_metrics`).
    pub fn log_execution_metrics(&self, name: &str, metrics: BTreeMap<String, ParamValue>) -> Result<()> { unimplemented!() }
    /// Publishes everything logged under `metrics_name` as a versioned metrics artifact.
    pub fn commit(&self, metrics_name: &str) -> Result<MetricsArtifact> { unimplemented!() }
    /// Syncs everything logged so far to the device (durability level L2).
    pub fn sync(&self) -> Result<()> { unimplemented!() }
    /// Counters.
    pub fn stats(&self) -> RunStats { unimplemented!() }
    /// Whether it was finished.
    pub fn is_closed(&self) -> bool { unimplemented!() }
    /// Commits the rest and closes the run.
    pub fn finish(&self) -> Result<RunReport> { unimplemented!() }
    /// Like `finish`, with the final state given.
    pub fn finish_as(&self, state: FinishState) -> Result<RunReport> { unimplemented!() }
}

/// Logs from one thread. `Send`, not `Sync`. Dropping it hands its ring back.
pub struct Logger { _not_sync: std::marker::PhantomData<std::cell::Cell<()>> }

impl Logger {
    /// Logs one value: about 10 ns, no lock, no allocation, no system call. When it returns `Ok`, the record survives the death of the process.
    pub fn log(&mut self, metric: Metric, step: i64, value: f64) -> Result<(), LogError> { unimplemented!() }
    /// Logs several values under one clock read and one step.
    pub fn log_row(&mut self, row: &Row, step: i64, values: &[f64]) -> Result<(), LogError> { unimplemented!() }
    /// Like `log_row` for metrics given one by one, all under one clock read; never waits: [`LogError::Full`] leaves nothing written and counts nothing.
    pub fn try_log_pairs(&mut self, step: i64, pairs: &[(Metric, f64)]) -> Result<(), LogError> { unimplemented!() }
    /// Waits until a ring that was full has room, at most the configured time; applies and counts the policy for `records` records. `true`: call again. Touches no state that `try_log_pairs` uses, so the interpreter's lock may be released around it.
    pub fn wait_for_room(&self, records: u64) -> RoomOutcome { unimplemented!() }
}

/// Outcome of waiting for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOutcome { /// Room: log again.
 Room, /// The policy dropped the records silently (counted).
 Dropped, /// The policy refuses: raise.
 Refused(LogError) }
