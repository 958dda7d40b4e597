//! What a store holds at one moment: committed segments and the rows still in journals, each row in exactly one place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::record_batch::RecordBatch;

use crate::events::{Direction, GapEvent, MetricStats, ParamValue, ProcessInfo};
use crate::ids::{ContentHash, RunId, WriterId};

/// State of a run, told from its writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// A writer is alive.
    Running,
    /// Every writer finished.
    Finished,
    /// A writer ended with a failure.
    Failed,
    /// A writer is gone without having finished: killed, crashed, or its machine went down.
    Died,
}

impl RunState {
    /// The word used in SQL and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Died => "died",
        }
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunInfo {
    /// The run.
    pub run_id: RunId,
    /// Its pipeline.
    pub pipeline: String,
    /// Its stage.
    pub stage: String,
    /// Display name, when one was given.
    pub name: Option<String>,
    /// State at the time of the snapshot.
    pub state: RunState,
    /// When the first writer started; nanoseconds since the Unix epoch.
    pub started: i64,
    /// When the last writer ended; of a run that died, the time of the last event in its logs. `None` while running.
    pub ended: Option<i64>,
    /// Parameters by name.
    pub params: BTreeMap<String, ParamValue>,
    /// Tags by name.
    pub tags: BTreeMap<String, String>,
    /// Its writers, ordered by (rank, attempt, id).
    pub writers: Vec<WriterInfo>,
}

/// One process that wrote to a run.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterInfo {
    /// The writer.
    pub writer: WriterId,
    /// Where it ran.
    pub process: ProcessInfo,
    /// Its own state.
    pub state: RunState,
    /// When it started; nanoseconds since the Unix epoch.
    pub started: i64,
    /// Time of its last event; nanoseconds since the Unix epoch.
    pub last_event: i64,
    /// Version of Stepwell it ran.
    pub version: String,
    /// Calls that waited for room in a ring, as told at the end; 0 before.
    pub waits: u64,
    /// Records dropped because a ring was full, as told at the end; 0 before.
    pub drops: u64,
    /// Folder of its journals on its machine; `None` when they are in the store.
    pub journal_folder: Option<PathBuf>,
}

/// One committed segment.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentInfo {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Number of the segment, counted by its writer.
    pub n: u64,
    /// Metrics name of its rows.
    pub metrics_name: String,
    /// The Parquet file.
    pub path: PathBuf,
    /// Its BLAKE3.
    pub blake3: ContentHash,
    /// Its size in bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Lowest time in microseconds since the Unix epoch.
    pub time_min: i64,
    /// Highest time in microseconds since the Unix epoch.
    pub time_max: i64,
    /// What it holds of each metric: `first.step` and `last.step` bound its steps. Sorted by metric.
    pub metrics: Vec<MetricStats>,
}

/// Rows of one writer and metrics name that are in a journal and in no segment yet.
#[derive(Clone, Debug)]
pub struct LiveRows {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Metrics name of the rows.
    pub metrics_name: String,
    /// The rows, in the schema of segments ([`crate::batch::segment_schema`]), sorted by (metric, step, seq).
    pub batch: RecordBatch,
    /// What they hold of each metric, sorted by metric.
    pub metrics: Vec<MetricStats>,
}

/// An artifact that a run read or wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct ArtifactInfo {
    /// Id in the catalog, also in ML Metadata's tables.
    pub id: i64,
    /// ML Metadata type: `Dataset`, `Model`, `Metrics`, `Step_Metrics`, ...
    pub artifact_type: String,
    /// Name, as in ML Metadata's table.
    pub name: String,
    /// Content hash as text: BLAKE3, or for `Step_Metrics` the identity of the records.
    pub uri: String,
    /// Size of the content in bytes, where it has one.
    pub bytes: Option<u64>,
    /// Version, for metrics artifacts.
    pub version: Option<u32>,
    /// When it was registered; milliseconds since the Unix epoch.
    pub created_millis: i64,
    /// Properties the caller gave it.
    pub properties: BTreeMap<String, ParamValue>,
}

/// An edge between a run and an artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct LineageEdge {
    /// The run.
    pub run_id: RunId,
    /// Id of the artifact.
    pub artifact_id: i64,
    /// Direction of the edge.
    pub direction: Direction,
    /// When the event happened; milliseconds since the Unix epoch.
    pub time_millis: i64,
}

/// One row of `summary`: what a run holds of one metric, committed and live rows together.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryRow {
    /// The run.
    pub run_id: RunId,
    /// The metrics name.
    pub metrics_name: String,
    /// The merged statistics.
    pub stats: MetricStats,
}

/// A loss, told by a writer.
#[derive(Clone, Debug, PartialEq)]
pub struct GapInfo {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// When it was told; nanoseconds since the Unix epoch.
    pub time: i64,
    /// What was lost.
    pub gap: GapEvent,
}
