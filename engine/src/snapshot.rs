//! What a store holds at one moment: committed segments and the rows still in journals, each row in exactly one place.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::batch::merge;
use crate::catalog::{CatalogSnapshot, Committed, run_state};
use crate::compaction::Pin;
use crate::error::Result;
use crate::events::{ArtifactKey, Direction, FinishState, GapEvent, MetricStats, ParamValue, ProcessInfo};
use crate::ids::{ContentHash, RunId, WriterId};
use crate::index;
use crate::layout::Layout;
use crate::live::{LiveWriter, read_writer};
use crate::manifest::Manifest;
use crate::stats::Counters;
use crate::store::Access;

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
    /// What it is in ML Metadata's terms, and what was started.
    pub execution: ExecutionInfo,
}

/// A run as ML Metadata's execution, and what was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionInfo {
    /// Id in ML Metadata's tables.
    pub id: i64,
    /// ML Metadata type.
    pub execution_type: String,
    /// Name that it claims in ML Metadata.
    pub name: Option<String>,
    /// Command line, as text.
    pub command: String,
    /// The Git repository it was started in.
    pub git: GitInfo,
    /// Id in the store that it was imported from.
    pub source_id: Option<i64>,
}

/// A Git repository, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitInfo {
    /// Address of the remote.
    pub remote: Option<String>,
    /// Commit that was checked out.
    pub commit: Option<String>,
    /// Branch that was checked out.
    pub branch: Option<String>,
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
#[derive(Clone, Debug, Default, PartialEq)]
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
    /// Of a record, the properties that its type declares; of others none: those follow from the rest.
    pub declared: BTreeMap<String, ParamValue>,
    /// What identifies it.
    pub key: ArtifactKey,
    /// Id in the store that it was imported from.
    pub source_id: Option<i64>,
}

/// One artifact came of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The run that said so.
    pub run_id: RunId,
    /// Id of the artifact it came from.
    pub source: i64,
    /// Id of the artifact that came of it.
    pub target: i64,
    /// What the link means, such as `derived`.
    pub relation: String,
}

/// A movable name for a version of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasInfo {
    /// Name the artifact was logged under.
    pub name: String,
    /// The alias.
    pub alias: String,
    /// Id of the artifact that has it.
    pub artifact_id: i64,
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

/// What a store holds at one moment. Rows are in a segment or live, never both.
///
/// The files that it names are there for as long as it lives, as far as this process goes: compaction removes none of them. Another
/// process that compacts keeps them for [`EngineConfig::replaced_grace`](crate::EngineConfig); see [`segment::retired`](crate::segment::retired).
pub struct Snapshot {
    layout: Layout,
    runs: Arc<Vec<RunInfo>>,
    /// The segments, whose files this process keeps for as long as this lives.
    pin: Arc<Pin>,
    live: Vec<LiveRows>,
    /// Of writers whose journals were read.
    counters: HashMap<(RunId, WriterId), Counters>,
    /// Losses that the journals of dead writers show and no event tells of yet.
    gaps: Vec<GapInfo>,
    catalog: CatalogSnapshot,
}

impl RunInfo {
    /// Says what follows from the writers. `last_record` is the time of the last record in their journals.
    pub(crate) fn settle(&mut self, last_record: Option<i64>) {
        self.state = run_state(&self.writers);
        if self.state != RunState::Running {
            let last_event = self.writers.iter().map(|writer| writer.last_event).max();
            self.ended = self.ended.or(last_event.max(last_record));
        }
    }
}

impl Snapshot {
    /// `pin` was begun before `catalog` was taken: what it names is not removed meanwhile.
    pub(crate) fn read(layout: &Layout, catalog: CatalogSnapshot, pin: Arc<Pin>) -> Result<Self> {
        let Committed { mut runs, mut segments } = catalog.committed()?;
        let (mut live, mut gaps) = (Vec::new(), Vec::new());
        let mut counted = HashMap::new();
        let mut open: HashMap<(RunId, WriterId), Manifest> = HashMap::new();
        let is_running = |run: &RunInfo| run.writers.iter().any(|writer| writer.state == RunState::Running);
        let running: Vec<usize> = (0..runs.len()).filter(|place| is_running(&runs[*place])).collect();
        for place in running {
            let run = &mut Arc::make_mut(&mut runs)[place];
            let mut last_record = None;
            for writer in run.writers.iter_mut().filter(|writer| writer.state == RunState::Running) {
                let (run_id, id, time) = (run.run_id, writer.writer, writer.last_event);
                let LiveWriter { manifest, alive, rows, counters, gaps: lost } = read_writer(layout, run_id, id)?;
                gaps.extend(lost.into_iter().map(|gap| GapInfo { run_id, writer: id, time, gap }));
                let times =
                    rows.iter().flat_map(|part| &part.metrics).map(|stats| stats.last.time.saturating_mul(1000));
                last_record = last_record.max(times.max());
                live.extend(rows);
                writer.state = match manifest.finished {
                    Some(FinishState::Finished) => RunState::Finished,
                    Some(FinishState::Failed) => RunState::Failed,
                    None if alive => RunState::Running,
                    None => RunState::Died,
                };
                counted.insert((run.run_id, writer.writer), counters);
                open.insert((run.run_id, writer.writer), manifest);
            }
            run.settle(last_record);
        }
        if !open.is_empty() {
            // Of a writer that goes on, the segments are those of the manifest that its live rows were read against.
            let of_others = segments.iter().filter(|segment| !open.contains_key(&(segment.run_id, segment.writer)));
            let mut all: Vec<SegmentInfo> = of_others.cloned().collect();
            all.extend(open.into_iter().flat_map(|((run, writer), manifest)| infos(layout, run, writer, manifest)));
            all.sort_by_key(|segment| (segment.run_id, segment.writer, segment.n));
            segments = Arc::new(all);
        }
        pin.set(segments);
        Ok(Self { layout: layout.clone(), runs, pin, live, counters: counted, gaps, catalog })
    }

    /// All runs, ordered by start time, then id.
    pub fn runs(&self) -> &[RunInfo] {
        &self.runs
    }

    /// Committed segments, ordered by run, writer and number.
    pub fn segments(&self) -> &[SegmentInfo] {
        self.pin.segments()
    }

    /// Rows that are in a journal and in no segment, one batch per writer and metrics name.
    pub fn live(&self) -> &[LiveRows] {
        &self.live
    }

    /// One row per run, metrics name and metric, ordered so, over committed and live rows; from stored statistics,
    /// without reading a segment.
    ///
    /// # Errors
    /// None today; reserved for catalogs that hold summaries of compacted runs.
    pub fn summary(&self) -> Result<Vec<SummaryRow>> {
        self.summary_where(&|_, _, _| true)
    }

    /// The rows of [`Snapshot::summary`] whose run, metrics name and metric fit; it takes time for those alone.
    ///
    /// # Errors
    /// As [`Snapshot::summary`].
    pub fn summary_where(&self, fits: &dyn Fn(RunId, &str, &str) -> bool) -> Result<Vec<SummaryRow>> {
        let mut merged: BTreeMap<(RunId, &str, &str), MetricStats> = BTreeMap::new();
        let committed = self.segments().iter().map(|part| (part.run_id, &part.metrics_name, &part.metrics));
        let live = self.live.iter().map(|part| (part.run_id, &part.metrics_name, &part.metrics));
        for (run, name, metrics) in committed.chain(live) {
            for stats in metrics.iter().filter(|stats| fits(run, name, &stats.metric)) {
                merged
                    .entry((run, name, &stats.metric))
                    .and_modify(|known| merge(known, stats))
                    .or_insert_with(|| stats.clone());
            }
        }
        let rows = merged.into_iter().map(|((run_id, name, _), stats)| SummaryRow {
            run_id,
            metrics_name: name.to_owned(),
            stats,
        });
        Ok(rows.collect())
    }

    /// All artifacts, ordered by creation time, then id.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::Error::Catalog).
    pub fn artifacts(&self) -> Result<Vec<ArtifactInfo>> {
        self.indexed(CatalogSnapshot::artifacts)
    }

    /// All edges between runs and artifacts, ordered by time, run and artifact.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::Error::Catalog).
    pub fn lineage(&self) -> Result<Vec<LineageEdge>> {
        self.indexed(CatalogSnapshot::lineage)
    }

    /// All links between artifacts, ordered by time, run and writer.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::Error::Catalog).
    pub fn links(&self) -> Result<Vec<LinkInfo>> {
        self.indexed(CatalogSnapshot::links)
    }

    /// All aliases that stand for a version, ordered by name and alias.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::Error::Catalog).
    pub fn aliases(&self) -> Result<Vec<AliasInfo>> {
        self.indexed(CatalogSnapshot::aliases)
    }

    /// All losses that were told, and those that the journals of dead writers show before recovery tells of them; ordered by
    /// run, writer and time.
    ///
    /// # Errors
    /// [`Error::Catalog`](crate::Error::Catalog).
    pub fn gaps(&self) -> Result<Vec<GapInfo>> {
        let mut gaps = self.indexed(CatalogSnapshot::gaps)?;
        gaps.extend(self.gaps.iter().cloned());
        gaps.sort_by_key(|gap| (gap.run_id, gap.writer, gap.time));
        Ok(gaps)
    }

    /// What the catalog says; where it turns out to be damaged, what the event logs say now.
    pub(crate) fn indexed<T>(&self, read: impl Fn(&CatalogSnapshot) -> Result<T>) -> Result<T> {
        match read(&self.catalog) {
            Err(error) if index::is_damaged(&self.layout, &error) => {
                read(&index::open_anew(&self.layout, Access::Read, &error)?.snapshot(&self.layout)?)
            }
            other => other,
        }
    }

    /// Where the files of the store lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Name of the file system the store lies on, as [`Store::file_system`](crate::Store::file_system).
    pub fn file_system(&self) -> &'static str {
        self.layout.file_system().name
    }

    /// What the journals of a writer counted; `None` of one that has ended.
    pub(crate) fn counters(&self, writer: (RunId, WriterId)) -> Option<Counters> {
        self.counters.get(&writer).copied()
    }
}

fn infos(layout: &Layout, run: RunId, writer: WriterId, manifest: Manifest) -> Vec<SegmentInfo> {
    let folder = layout.run(run);
    let segments = manifest.segments.into_iter().map(|segment| SegmentInfo {
        run_id: run,
        writer,
        n: segment.n,
        metrics_name: segment.metrics_name,
        path: folder.join(segment.file),
        blake3: segment.blake3,
        bytes: segment.bytes,
        rows: segment.rows,
        time_min: segment.time_min,
        time_max: segment.time_max,
        metrics: segment.metrics,
    });
    segments.collect()
}
