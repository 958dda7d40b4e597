//! Runs from elsewhere: written in one go, ended, with the times they had.
//!
//! A run is made below a temporary folder of the store, synced, and renamed into place: it is there as a whole or not at all.
//! Nothing is left behind but, after a crash, a folder `.tmp-import-*` that nobody reads.

use std::path::Path;

use crate::batch::{MetricColumns, NamedRows, summarise};
use crate::error::{Error, Result};
use crate::events::{
    ArtifactRecord, ContextRecord, EVENT_FORMAT_FIRST, Event, EventLine, ExecutionRecord, FinishState,
    MetricsCommitted, ParamValue, ProcessInfo, SegmentsEvent, WriterStarted,
};
use crate::ids::{ContentHash, RunId, WriterId, new_uuid};
use crate::layout::{Layout, TEMP_PREFIX};
use crate::names::{MetricsName, NameKind, check_name};
use crate::run::metadata::{check_properties, check_record, check_text};
use crate::segment::{SegmentContext, identity_of_segments, write_segment};
use crate::storage::{append_all, create_folder, sync_folder};
use crate::store::Store;

use std::collections::BTreeMap;

/// Rows of one segment of an import.
const SEGMENT_ROWS_MAX: usize = 4 << 20;

/// An ended run from elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedRun {
    /// Id of the run; importing it again changes nothing.
    pub run_id: RunId,
    /// Pipeline of the run.
    pub pipeline: String,
    /// Stage of the run.
    pub stage: String,
    /// Display name.
    pub name: Option<String>,
    /// Parameters, which are custom properties of the execution in ML Metadata.
    pub params: BTreeMap<String, ParamValue>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Command line, as text.
    pub command: String,
    /// Git repository it was started in.
    pub git_repo: Option<String>,
    /// Commit checked out there.
    pub git_commit: Option<String>,
    /// Where it comes from, in a word: shown as the host of its writer.
    pub source: String,
    /// When it started; nanoseconds since the Unix epoch.
    pub started: i64,
    /// When it ended; nanoseconds since the Unix epoch.
    pub ended: i64,
    /// How it ended.
    pub state: FinishState,
    /// What its execution is called in ML Metadata.
    pub execution: ExecutionRecord,
    /// What is known of pipelines and stages, that of the run or others.
    pub contexts: Vec<ContextRecord>,
    /// Artifacts that it read and wrote. Their content, where there is any, is in `objects/` before.
    pub artifacts: Vec<ArtifactRecord>,
    /// What it logged.
    pub metrics: Vec<ImportedMetrics>,
}

/// All rows of one metrics name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportedMetrics {
    /// The metrics name.
    pub metrics_name: String,
    /// The metrics, one column each.
    pub metrics: Vec<String>,
    /// Rows in the order in which they were logged.
    pub rows: Vec<ImportedRow>,
}

/// Values of several metrics at one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportedRow {
    /// The step.
    pub step: i64,
    /// When it was logged; microseconds since the Unix epoch.
    pub time: i64,
    /// One value per metric; `None` where none was logged.
    pub values: Vec<Option<f64>>,
}

/// What became of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The run is in the store, with this many records.
    New {
        /// Records of all metrics names.
        records: u64,
    },
    /// A run of this id was there; nothing was changed.
    AlreadyThere,
}

impl Store {
    /// Writes an ended run in one go. The catalog takes it up at the next look, or when [`Store::snapshot`] is called.
    ///
    /// # Durability
    /// On the device when it returns.
    ///
    /// # Cost
    /// Writes and syncs the run's files: about ten milliseconds on a disk, and 150 bytes of memory for each record of one metrics name.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidSetting`], [`Error::ReadOnlyStore`], [`Error::Io`], [`Error::SyncFailed`]; nothing is
    /// changed then.
    pub fn import_run(&self, run: &ImportedRun) -> Result<Imported> {
        self.check_writable()?;
        check(run)?;
        let layout = self.layout();
        let target = layout.run(run.run_id);
        if layout.storage().exists(&target) {
            return Ok(Imported::AlreadyThere);
        }
        let place = layout.root().join(format!("{TEMP_PREFIX}import-{}", new_uuid()));
        let made = write(&layout.elsewhere(&place), run).and_then(|records| {
            // A folder that is not empty is not replaced: of two imports at once, one comes first.
            match std::fs::rename(layout.elsewhere(&place).run(run.run_id), &target) {
                Ok(()) => Ok(Imported::New { records }),
                Err(_) if layout.storage().exists(&target) => Ok(Imported::AlreadyThere),
                Err(error) => Err(Error::io("put the imported run into place", &target)(error)),
            }
        });
        let _ = std::fs::remove_dir_all(&place);
        let made = made?;
        sync_folder(layout.storage(), &layout.runs())?;
        Ok(made)
    }
}

fn check(run: &ImportedRun) -> Result<()> {
    check_text("pipeline", &run.pipeline)?;
    check_text("stage", &run.stage)?;
    run.name.iter().try_for_each(|name| check_name(NameKind::Run, name))?;
    check_properties(&run.params)?;
    run.tags.keys().try_for_each(|key| check_name(NameKind::Tag, key))?;
    check_properties(&run.execution.declared)?;
    for context in &run.contexts {
        check_text("pipeline", &context.pipeline)?;
        context.stage.iter().try_for_each(|stage| check_text("stage", stage))?;
        check_properties(&context.properties)?;
    }
    run.artifacts.iter().try_for_each(check_record)?;
    for metrics in &run.metrics {
        check_name(NameKind::MetricsName, &metrics.metrics_name)?;
        metrics.metrics.iter().try_for_each(|metric| check_name(NameKind::Metric, metric))?;
        if let Some(row) = metrics.rows.iter().find(|row| row.values.len() != metrics.metrics.len()) {
            return Err(Error::InvalidSetting {
                setting: "rows",
                value: format!("step {} of {:?}", row.step, metrics.metrics_name),
                fault: format!("it has {} values for {} metrics", row.values.len(), metrics.metrics.len()),
            });
        }
    }
    Ok(())
}

/// Writes the run's folder below a layout of its own; how many records it holds.
fn write(place: &Layout, run: &ImportedRun) -> Result<u64> {
    let storage = place.storage();
    for folder in [place.root(), &place.runs(), &place.run(run.run_id)] {
        create_folder(storage, folder)?;
    }
    let started = WriterStarted {
        format: EVENT_FORMAT_FIRST,
        run_id: run.run_id,
        writer: WriterId::generate(0, 0),
        pipeline: run.pipeline.clone(),
        stage: run.stage.clone(),
        name: run.name.clone(),
        started: run.started,
        process: ProcessInfo { host: run.source.clone(), boot_id: String::new(), pid: 0, pid_start: 0 },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: run.command.clone(),
        git_repo: run.git_repo.clone(),
        git_commit: run.git_commit.clone(),
        git_branch: None,
        journals: None,
    };
    let mut log = Lines { text: Vec::new(), n: 0, time: run.started };
    log.add(None, Event::WriterStarted(Box::new(started.clone())));
    log.add_described(run);
    let records = write_metrics(place, &started, run, &mut log)?;
    let state = run.state;
    log.add(Some(run.ended), Event::WriterFinished { state, rows: records, waits: 0, drops: 0 });
    let path = place.events(run.run_id, started.writer);
    write_synced(place, &path, &log.text)?;
    sync_folder(storage, &place.run(run.run_id))?;
    Ok(records)
}

fn write_synced(place: &Layout, path: &Path, text: &[u8]) -> Result<()> {
    let file = place.storage().create_new(path).map_err(Error::io("write the event log", path))?;
    append_all(&*file, text).map_err(Error::io("write the event log", path))?;
    file.sync().map_err(|source| Error::SyncFailed { path: path.to_owned(), source })
}

/// Lines of an event log that is being made.
struct Lines {
    text: Vec<u8>,
    n: u64,
    /// Of the line before.
    time: i64,
}

impl Lines {
    /// Adds a line; its time is never lower than that of the line before.
    fn add(&mut self, time: Option<i64>, event: Event) {
        self.time = self.time.max(time.unwrap_or(self.time));
        self.text.extend(EventLine { n: self.n, time: self.time, event }.encode().into_bytes());
        self.n += 1;
    }

    fn add_described(&mut self, run: &ImportedRun) {
        if run.execution != ExecutionRecord::default() {
            self.add(None, Event::Execution(Box::new(run.execution.clone())));
        }
        for context in &run.contexts {
            self.add(None, Event::Context(Box::new(context.clone())));
        }
        if !run.params.is_empty() {
            self.add(None, Event::Params { params: run.params.clone() });
        }
        if !run.tags.is_empty() {
            self.add(None, Event::Tags { tags: run.tags.clone() });
        }
        let mut artifacts: Vec<&ArtifactRecord> = run.artifacts.iter().collect();
        artifacts.sort_by_key(|record| record.time_millis);
        for record in artifacts {
            let time = record.time_millis.map(|millis| millis.saturating_mul(1_000_000));
            self.add(time, Event::Record(Box::new(record.clone())));
        }
    }
}

/// Writes segments and registers each metrics name; how many records there are.
fn write_metrics(place: &Layout, started: &WriterStarted, run: &ImportedRun, log: &mut Lines) -> Result<u64> {
    let context = SegmentContext { layout: place, started };
    let (mut next_segment, mut next_seq, mut commits) = (0, 0, Vec::new());
    for metrics in &run.metrics {
        let mut segments = Vec::new();
        let rows_each = (SEGMENT_ROWS_MAX / metrics.metrics.len().max(1)).max(1);
        for rows in metrics.rows.chunks(rows_each) {
            let Some(named) = named_rows(metrics, rows, &mut next_seq) else { continue };
            segments.push(write_segment(&context, next_segment, &named)?.publish(place)?);
            next_segment += 1;
        }
        let Some(last) = segments.last() else { continue };
        let time = last.time_max.saturating_mul(1_000);
        let folder = place.run(run.run_id);
        let paths: Vec<_> = segments.iter().map(|segment| folder.join(&segment.file)).collect();
        let (rows, identity): (u64, ContentHash) = identity_of_segments(place, started.writer, &paths)?;
        let numbers = segments.iter().map(|segment| segment.n).collect();
        let metrics_name = metrics.metrics_name.clone();
        commits.push(MetricsCommitted { metrics_name, version: 1, identity, rows, segments: numbers });
        log.add(
            Some(time.min(run.ended)),
            Event::Segments(Box::new(SegmentsEvent { segments, watermarks: Vec::new() })),
        );
    }
    let records = commits.iter().map(|commit| commit.rows).sum();
    commits.into_iter().for_each(|commit| log.add(None, Event::MetricsCommitted(commit)));
    Ok(records)
}

/// Rows as a segment has them; `None` where no row has a value.
fn named_rows(metrics: &ImportedMetrics, rows: &[ImportedRow], next_seq: &mut i64) -> Option<NamedRows> {
    let mut columns: BTreeMap<&str, MetricColumns> = BTreeMap::new();
    for row in rows {
        for (metric, value) in metrics.metrics.iter().zip(&row.values) {
            let Some(value) = value else { continue };
            columns.entry(metric).or_default().push(row.step, *next_seq, row.time, value.to_bits());
            *next_seq += 1;
        }
    }
    if columns.is_empty() {
        return None;
    }
    columns.values_mut().for_each(MetricColumns::sort);
    let stats = columns.iter().map(|(metric, columns)| summarise(metric, columns)).collect();
    let metrics_name = MetricsName::try_new(&metrics.metrics_name).ok()?.as_str().to_owned();
    Some(NamedRows { metrics_name, metrics: stats, columns: columns.into_values().collect() })
}
