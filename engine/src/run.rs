//! A run: one execution of a stage, and what is logged to it.

pub(crate) mod metadata;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::compaction::{CompactedAtFinish, CompactedName, compact_at_finish};
use crate::error::{Error, Result};
use crate::event_log::Durability;
use crate::events::{
    ArtifactEvent, ArtifactKey, Direction, Event, ExecutionRecord, FinishState, GapEvent, ParamValue, Properties,
};
use crate::ids::{ContentHash, RunId, WriterId};
use crate::names::{NameKind, check_name};
use crate::objects::{self, Keep, TakeOptions};
use crate::store::Store;
use crate::writer::WriterCore;

pub use metadata::{ContextLevel, MetadataIds};

pub use crate::writer::{Logger, Metric, RoomOutcome, RoomWaiter, Row, WhenFull};

/// How a run is started.
#[derive(Clone, Debug)]
pub struct RunOptions {
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) name: Option<String>,
    pub(crate) params: BTreeMap<String, ParamValue>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) rank: i32,
    pub(crate) run_id: Option<RunId>,
    pub(crate) when_full: WhenFull,
    pub(crate) command: Option<String>,
    pub(crate) execution: ExecutionRecord,
    pub(crate) pipeline_properties: Properties,
    pub(crate) stage_properties: Properties,
}

impl RunOptions {
    /// A run of `stage` in `pipeline`. Names are checked when the run is started.
    pub fn new(pipeline: impl Into<String>, stage: impl Into<String>) -> Self {
        Self {
            pipeline: pipeline.into(),
            stage: stage.into(),
            name: None,
            params: BTreeMap::new(),
            tags: BTreeMap::new(),
            rank: 0,
            run_id: None,
            when_full: WhenFull::default(),
            command: None,
            execution: ExecutionRecord::default(),
            pipeline_properties: Properties::new(),
            stage_properties: Properties::new(),
        }
    }

    /// Gives the run a display name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets a parameter.
    #[must_use]
    pub fn param(mut self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.params.insert(key.into(), value.into());
        self
    }

    /// Sets a tag.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// Rank of this process in a distributed run, 0 or more; 0 by default.
    #[must_use]
    pub fn rank(mut self, rank: i32) -> Self {
        self.rank = rank;
        self
    }

    /// Writes to the run with this id: as another rank, or as the same rank resumed, which is another attempt. The run is
    /// created when it does not exist yet, so that all ranks can agree on an id beforehand.
    #[must_use]
    pub fn run_id(mut self, run: RunId) -> Self {
        self.run_id = Some(run);
        self
    }

    /// What a log call does when the ring is full; [`WhenFull::Wait`] by default.
    #[must_use]
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Command line to record for the run; that of the process by default.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// ML Metadata type of the run's execution; the stage by default.
    #[must_use]
    pub fn execution_type(mut self, execution_type: impl Into<String>) -> Self {
        self.execution.execution_type = Some(execution_type.into());
        self
    }

    /// Name of the run's execution in ML Metadata, where it has to be unique within its type; none by default. Of several runs that
    /// claim one name, the first by its id has it there.
    #[must_use]
    pub fn execution_name(mut self, name: impl Into<String>) -> Self {
        self.execution.name = Some(name.into());
        self
    }

    /// CMF's `Execution_uuid`; the run id by default.
    #[must_use]
    pub fn execution_uuid(mut self, uuid: impl Into<String>) -> Self {
        self.execution.declared.insert("Execution_uuid".to_owned(), ParamValue::Text(uuid.into()));
        self
    }

    /// Sets a property of the pipeline, which all its runs share.
    #[must_use]
    pub fn pipeline_property(mut self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.pipeline_properties.insert(key.into(), value.into());
        self
    }

    /// Sets a property of the stage, which all its runs share.
    #[must_use]
    pub fn stage_property(mut self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.stage_properties.insert(key.into(), value.into());
        self
    }
}

/// A file or folder to be linked to a run.
#[derive(Clone, Debug)]
pub struct ArtifactSpec {
    artifact_type: String,
    path: PathBuf,
    name: String,
    properties: BTreeMap<String, ParamValue>,
    store: bool,
}

impl ArtifactSpec {
    /// The file or folder at `path` as an artifact of ML Metadata type `artifact_type` (`Dataset`, `Model`, or a name of
    /// your own), named by its path and copied to `objects/`.
    pub fn new(artifact_type: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.to_string_lossy().into_owned();
        Self { artifact_type: artifact_type.into(), path, name, properties: BTreeMap::new(), store: true }
    }

    /// Another name than the path.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, key: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.properties.insert(key.into(), value.into());
        self
    }

    /// Only hashes the content and does not copy it: for data too large to keep twice.
    #[must_use]
    pub fn reference_only(mut self) -> Self {
        self.store = false;
        self
    }
}

/// An artifact that was linked to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedArtifact {
    /// BLAKE3 of the content; of a folder, of its manifest.
    pub hash: ContentHash,
    /// Size of the content in bytes.
    pub bytes: u64,
    /// Its name.
    pub name: String,
    /// Its ML Metadata type.
    pub artifact_type: String,
}

impl LinkedArtifact {
    /// What identifies it, for [`Run::link`] and [`Run::set_alias`].
    pub fn key(&self) -> ArtifactKey {
        let uri = self.hash.to_string();
        ArtifactKey { artifact_type: self.artifact_type.clone(), uri, scope: String::new() }
    }
}

/// A versioned metrics artifact: everything a writer logged under one metrics name up to a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsArtifact {
    /// The metrics name.
    pub metrics_name: String,
    /// 1 for the writer's first commit of this name, then 2, 3, ...
    pub version: u32,
    /// BLAKE3 of the records in canonical order: does not depend on how they lie in files.
    pub identity: ContentHash,
    /// Records in it.
    pub rows: u64,
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
}

/// What [`Run::finish`] tells.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The run.
    pub run_id: RunId,
    /// Records logged by this writer.
    pub rows: u64,
    /// Calls that waited for room in a ring.
    pub waits: u64,
    /// Records dropped because a ring was full.
    pub drops: u64,
    /// The metrics artifacts, one per metrics name.
    pub artifacts: Vec<MetricsArtifact>,
    /// What this writer lost, by kind and ring, as the event log tells it; empty when nothing was lost.
    pub gaps: Vec<GapEvent>,
    /// What the end of the run compacted: metrics names with many small segments before, and few after.
    pub compacted: Vec<CompactedName>,
    /// What went wrong, in words; empty when nothing did.
    pub warnings: Vec<String>,
}

/// Counters of a run in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunStats {
    /// Records logged.
    pub rows_logged: u64,
    /// Records in segments.
    pub rows_committed: u64,
    /// Calls that waited for room in a ring.
    pub waits: u64,
    /// Records dropped because a ring was full.
    pub drops: u64,
    /// Syncs of journals to the device.
    pub syncs: u64,
    /// Segments written.
    pub segments: u64,
}

/// One run, in the process that writes to it. Clones share the run; it can be used from any thread.
///
/// # Durability
/// | after | survives the end of the process | survives power loss |
/// |---|---|---|
/// | [`Logger::log`] | yes | after the sync interval and the seal deadline (1.1 s) |
/// | [`Run::sync`] | yes | yes |
/// | [`Run::commit`], [`Run::finish`] | yes, as Parquet | yes |
///
/// # Signals
/// A failing disk tells a program so by signals that would end it:
///
/// - SIGBUS, when a page of a journal cannot be stored to: its file was cut off, its file system went down, or a full disk
///   has no room to copy a page that a snapshot shares. The first [`Run::logger`] of the process installs a handler for it;
///   logging goes on in a new journal, and what was lost is in `gaps`. A SIGBUS that is not of a journal goes where it went
///   before. A handler that the program installs later gets the signal first.
/// - SIGXFSZ, when a file would grow past the limit on its size (`ulimit -f`). A store that is opened for logging gives it a
///   handler that does nothing, so that the write fails instead; unless the program has chosen what the signal does.
///
/// # Ends
/// A run that is dropped without [`Run::finish`] counts as died; its records are kept all the same, and become segments
/// when the store is opened next.
#[derive(Clone)]
pub struct Run {
    core: Arc<WriterCore>,
    store: Store,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("id", &self.id()).field("writer", &self.writer()).finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn new(core: Arc<WriterCore>, store: Store) -> Self {
        Self { core, store }
    }

    /// Id of the run.
    pub fn id(&self) -> RunId {
        self.core.started().run_id
    }

    /// The store that the run belongs to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// This process as a writer of the run.
    pub fn writer(&self) -> WriterId {
        self.core.started().writer
    }

    /// Interns a metric; calling again with the same names gives the same handle.
    ///
    /// # Errors
    /// [`crate::Error::InvalidName`], [`crate::Error::TooManyMetrics`], [`crate::Error::RunClosed`],
    /// [`crate::Error::Forked`].
    pub fn metric(&self, metrics_name: &str, metric: &str) -> Result<Metric> {
        self.core.metric(metrics_name, metric)
    }

    /// Interns metrics of one metrics name that are logged together.
    ///
    /// # Errors
    /// As [`Run::metric`].
    pub fn row(&self, metrics_name: &str, metrics: &[&str]) -> Result<Row> {
        self.core.check_open()?;
        self.core.row(metrics_name, metrics)
    }

    /// A logger with a ring of its own, for one thread. Reserves the ring's journal on disk; a dropped logger's ring is
    /// used again.
    ///
    /// # Errors
    /// [`crate::Error::Io`], a full disk among them; [`crate::Error::RunClosed`], [`crate::Error::Forked`].
    pub fn logger(&self) -> Result<Logger> {
        self.core.logger()
    }

    /// Sets parameters; a later value replaces an earlier one.
    ///
    /// # Errors
    /// [`crate::Error::InvalidName`], [`crate::Error::RunClosed`], [`crate::Error::Io`].
    pub fn set_params(&self, params: BTreeMap<String, ParamValue>) -> Result<()> {
        self.core.check_open()?;
        params.keys().try_for_each(|key| check_name(NameKind::Param, key))?;
        self.append_unless(params.is_empty(), Event::Params { params })
    }

    /// Sets tags; a later value replaces an earlier one.
    ///
    /// # Errors
    /// As [`Run::set_params`].
    pub fn set_tags(&self, tags: BTreeMap<String, String>) -> Result<()> {
        self.core.check_open()?;
        tags.keys().try_for_each(|key| check_name(NameKind::Tag, key))?;
        self.append_unless(tags.is_empty(), Event::Tags { tags })
    }

    fn append_unless(&self, empty: bool, event: Event) -> Result<()> {
        if empty { Ok(()) } else { self.core.append(event, Durability::Process) }
    }

    /// Links a file or folder to the run, by the BLAKE3 of its content. Blocks while the content is read.
    ///
    /// # Errors
    /// [`crate::Error::Io`] when it cannot be read or stored, [`crate::Error::InvalidName`],
    /// [`crate::Error::RunClosed`].
    pub fn log_artifact(&self, direction: Direction, spec: ArtifactSpec) -> Result<LinkedArtifact> {
        self.core.check_open()?;
        check_name(NameKind::Artifact, &spec.name)?;
        check_name(NameKind::Artifact, &spec.artifact_type)?;
        spec.properties.keys().try_for_each(|key| check_name(NameKind::Param, key))?;
        if direction == Direction::InternalOutput {
            return Err(Error::InvalidSetting {
                setting: "direction",
                value: direction.as_str().to_owned(),
                fault: "only records have it: use Run::log_record".to_owned(),
            });
        }
        let keep = if spec.store { Keep::Copy } else { Keep::Reference };
        let content = objects::take_in(self.core.layout(), &spec.path, &TakeOptions::keep(keep))?;
        let linked = LinkedArtifact {
            hash: content.hash,
            bytes: content.bytes,
            name: spec.name,
            artifact_type: spec.artifact_type,
        };
        let event = ArtifactEvent {
            direction,
            artifact_type: linked.artifact_type.clone(),
            name: linked.name.clone(),
            hash: linked.hash,
            bytes: linked.bytes,
            stored: spec.store,
            properties: spec.properties,
        };
        self.core.append(Event::Artifact(Box::new(event)), Durability::Device)?;
        Ok(linked)
    }

    /// Records final values of the run under a name (CMF's `log_execution_metrics`).
    ///
    /// # Durability
    /// As [`Run::log_record`]: power loss takes at most those of the last second.
    ///
    /// # Errors
    /// As [`Run::set_params`].
    pub fn log_execution_metrics(&self, name: &str, metrics: BTreeMap<String, ParamValue>) -> Result<()> {
        self.core.check_open()?;
        check_name(NameKind::MetricsName, name)?;
        metrics.keys().try_for_each(|key| check_name(NameKind::Metric, key))?;
        self.core.append(Event::ExecutionMetrics { name: name.to_owned(), metrics }, Durability::Process)
    }

    /// Publishes everything logged so far as segments, and what was logged under `metrics_name` as a versioned metrics
    /// artifact, and indexes them in the catalog. Without new records, the last artifact is returned.
    ///
    /// # Errors
    /// [`crate::Error::NotFound`] when nothing was logged under that name; [`crate::Error::Io`] and the like when a
    /// segment cannot be written: the records stay in the journal then.
    pub fn commit(&self, metrics_name: &str) -> Result<MetricsArtifact> {
        let artifact = self.core.commit(metrics_name)?;
        self.store.index_commit(self.id());
        Ok(artifact)
    }

    /// Syncs everything logged so far to the device (level L2).
    ///
    /// # Errors
    /// [`crate::Error::SyncFailed`].
    pub fn sync(&self) -> Result<()> {
        self.core.sync()
    }

    /// Counters of the run in this process.
    pub fn stats(&self) -> RunStats {
        self.core.stats()
    }

    /// Whether the run was finished.
    pub fn is_closed(&self) -> bool {
        self.core.is_closed()
    }

    /// Commits every metrics name and closes the run as finished. Many small segments become few then, see
    /// [`EngineConfig::compact_at_finish_rows_max`](crate::EngineConfig); that is left out where a [`Logger`] still exists. Each time that 256 small segments of
    /// ended runs are in no pack, they become one, see [`crate::packs`].
    ///
    /// # Durability
    /// The run is finished, on the device, before anything is compacted: a crash of the process then leaves each row in exactly one
    /// segment that counts.
    ///
    /// # Cost
    /// What is in no segment yet is written and synced. Compacting takes about a second at most by default, and 150 bytes of memory for each row of one
    /// new segment; on a slow disk it is given up after 5 s of reading.
    ///
    /// # Errors
    /// [`crate::Error::RunClosed`] when it was closed before, [`crate::Error::Forked`]. What could not be written is no
    /// error but a warning in the report: it is kept in the journal.
    pub fn finish(&self) -> Result<RunReport> {
        self.finish_as(FinishState::Finished)
    }

    /// Like [`Run::finish`], with the final state given.
    ///
    /// # Errors
    /// As [`Run::finish`].
    pub fn finish_as(&self, state: FinishState) -> Result<RunReport> {
        let mut report = self.end(state)?;
        if !self.store.is_remote() {
            let (layout, rows_max) = (self.core.layout(), self.core.config().compact_at_finish_rows_max);
            let CompactedAtFinish { compacted, warnings } =
                compact_at_finish(layout, rows_max, (self.id(), self.writer()), self.core.left());
            report.compacted = compacted;
            report.warnings.extend(warnings);
        }
        self.store.index_commit(self.id());
        report.warnings.extend(self.store.pack_if_due());
        Ok(report)
    }

    /// Like [`Run::finish_as`], but compacts nothing: for a process that has little time left.
    ///
    /// # Errors
    /// As [`Run::finish`].
    pub fn close_as(&self, state: FinishState) -> Result<RunReport> {
        let report = self.end(state)?;
        self.store.index_commit(self.id());
        Ok(report)
    }

    fn end(&self, state: FinishState) -> Result<RunReport> {
        let outcome = self.core.finish(state)?;
        Ok(RunReport {
            run_id: self.id(),
            rows: outcome.rows,
            waits: outcome.waits,
            drops: outcome.drops,
            artifacts: outcome.artifacts,
            gaps: outcome.gaps,
            compacted: Vec::new(),
            warnings: outcome.warnings,
        })
    }
}
