//! Compacting the segments of one writer, under the lock on its event log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::merge::Merge;
use super::plan::Size;
use super::removal::Mark;
use super::{CompactFailure, CompactOptions, CompactReport, CompactedName, NotCompacted};
use crate::catalog::CatalogSnapshot;
use crate::clock::wall_nanos;
use crate::error::{Error, Result, with_causes};
use crate::event_log::{Durability, EventLog};
use crate::events::{EVENT_FORMAT, Event, SegmentRecord, SegmentsReplaced, WriterStarted};
use crate::fail_point;
use crate::ids::{ContentHash, RunId, WriterId};
use crate::layout::{Layout, TEMP_PREFIX, parse_compaction_mark};
use crate::manifest::Manifest;
use crate::orphans::{self, KnownRows};
use crate::recovery::{Taken, journals_of, take_over};
use crate::segment::{Identity, PendingSegment, SegmentContext, identity_of_segments, write_segment};
use crate::snapshot::{RunState, SegmentInfo};
use crate::storage::{list_if_there, remove_file};
use crate::verify::check_on;

/// What is told how many of how many bytes are merged.
type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Compacts what the catalog says is due. What cannot be compacted is told in the report, and the others go on.
///
/// # Errors
/// The catalog cannot be read, or a run folder not be listed.
pub(crate) fn compact_due(
    layout: &Layout,
    catalog: &CatalogSnapshot,
    options: &CompactOptions,
    progress: Progress<'_>,
) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    let is_wanted = |run: RunId| options.runs.is_empty() || options.runs.contains(&run);
    let segments: Vec<SegmentInfo> =
        catalog.segments()?.into_iter().filter(|segment| is_wanted(segment.run_id)).collect();
    let mut writers: BTreeMap<(RunId, WriterId), BTreeSet<String>> = BTreeMap::new();
    for (run, writer, name) in options.due(segments.iter().map(|segment| (key_of(segment), size_of(segment)))) {
        writers.entry((run, writer)).or_default().insert(name.to_owned());
    }
    let mut open = BTreeSet::new();
    for run in catalog.runs()?.into_iter().filter(|run| is_wanted(run.run_id)) {
        let running = run.writers.iter().filter(|writer| writer.state == RunState::Running);
        open.extend(running.map(|writer| (run.run_id, writer.writer)));
        // What a compaction left that was cut short.
        for entry in list_if_there(layout.storage(), &layout.run(run.run_id))? {
            if let Some(writer) = parse_compaction_mark(&entry.name) {
                writers.entry((run.run_id, writer)).or_default();
            }
        }
    }
    let is_due = |segment: &&SegmentInfo| {
        let names = writers.get(&(segment.run_id, segment.writer));
        names.is_some_and(|names| names.contains(&segment.metrics_name))
    };
    let total = segments.iter().filter(is_due).map(|segment| segment.bytes).sum();
    let mut done = 0;
    for ((run_id, writer), names) in &writers {
        let (run_id, writer) = (*run_id, *writer);
        let of_writer = || segments.iter().filter(|segment| (segment.run_id, segment.writer) == (run_id, writer));
        if open.contains(&(run_id, writer)) {
            let why = "its writer is alive, or was not recovered".to_owned();
            report.skipped.push(NotCompacted { run_id, writer, why });
        } else if options.dry_run {
            report.compacted.extend(names.iter().map(|name| would_do(options, run_id, writer, name, of_writer())));
        } else if let Err(error) = compact_writer(layout, options, (run_id, writer), names, &mut report) {
            report.failures.push(failure(run_id, writer, &error));
        }
        done += of_writer().filter(is_due).map(|segment| segment.bytes).sum::<u64>();
        progress(done, total);
    }
    Ok(report)
}

fn key_of(segment: &SegmentInfo) -> (RunId, WriterId, &str) {
    (segment.run_id, segment.writer, &segment.metrics_name)
}

fn size_of(segment: &SegmentInfo) -> Size {
    Size { bytes: segment.bytes, rows: segment.rows }
}

fn failure(run_id: RunId, writer: WriterId, error: &Error) -> CompactFailure {
    let is_missing = matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound);
    CompactFailure { run_id, writer, why: with_causes(error), is_corruption: error.is_corruption() || is_missing }
}

fn would_do<'a>(
    options: &CompactOptions,
    run_id: RunId,
    writer: WriterId,
    name: &str,
    segments: impl Iterator<Item = &'a SegmentInfo>,
) -> CompactedName {
    let mut compacted = CompactedName {
        run_id,
        writer,
        metrics_name: name.to_owned(),
        rows: 0,
        segments_before: 0,
        segments_after: 0,
        bytes_before: 0,
        bytes_after: None,
    };
    for segment in segments.filter(|segment| segment.metrics_name == name) {
        compacted.rows += segment.rows;
        compacted.segments_before += 1;
        compacted.bytes_before += segment.bytes;
    }
    compacted.segments_after = options.segments_of(compacted.rows);
    compacted
}

/// Compacts the metrics names of a writer that are due, and clears away what an earlier compaction left that was cut short.
pub(crate) fn compact_writer(
    layout: &Layout,
    options: &CompactOptions,
    (run_id, writer): (RunId, WriterId),
    names: &BTreeSet<String>,
    report: &mut CompactReport,
) -> Result<()> {
    let mut skip = |why: &str| report.skipped.push(NotCompacted { run_id, writer, why: why.to_owned() });
    let Some(Taken { log, manifest, .. }) = take_over(layout, run_id, writer)? else {
        skip("another process is at work on it, or it is out of reach");
        return Ok(());
    };
    if manifest.finished.is_none() && !manifest.recovered || !journals_of(layout, &manifest.started)?.is_empty() {
        skip("its journals are not in segments yet");
        return Ok(());
    }
    if (manifest.started.run_id, manifest.started.writer) != (run_id, writer) || manifest.is_anonymous {
        skip("its event log does not say whose it is; `stepwell doctor` tells more");
        return Ok(());
    }
    fail_point::reach("compact.begin");
    let next_segment = manifest.next_segment();
    let mut work = Compaction { layout, options, run_id, writer, log, manifest, next_segment };
    work.clear_away()?;
    for name in names {
        // Another process may have done it since the catalog was read.
        let sizes = work.manifest.segments.iter().filter(|segment| segment.metrics_name == *name);
        if !options.is_due(sizes.map(|segment| Size { bytes: segment.bytes, rows: segment.rows })) {
            continue;
        }
        match work.compact(name) {
            Ok(Some(compacted)) => report.compacted.push(compacted),
            Ok(None) => {
                let why = format!("reading the segments of {name:?} takes too long");
                report.skipped.push(NotCompacted { run_id, writer, why });
            }
            Err(error) => report.failures.push(failure(run_id, writer, &error)),
        }
    }
    Ok(())
}

struct Compaction<'a> {
    layout: &'a Layout,
    options: &'a CompactOptions,
    run_id: RunId,
    writer: WriterId,
    /// Under its lock.
    log: EventLog,
    manifest: Manifest,
    next_segment: u64,
}

impl Compaction<'_> {
    fn folder(&self) -> PathBuf {
        self.layout.run(self.run_id)
    }

    /// Removes what an earlier compaction left that was cut short: temporary files, and segments that no event names whose rows
    /// are all in others. Other segments of no event are for recovery and the doctor to judge.
    fn clear_away(&mut self) -> Result<()> {
        let storage = self.layout.storage();
        let prefix = format!("{TEMP_PREFIX}{}-", self.writer);
        for folder in list_if_there(storage, &self.folder())?.iter().filter(|entry| entry.is_folder) {
            let folder = self.folder().join(&folder.name);
            for entry in list_if_there(storage, &folder)?.iter().filter(|entry| entry.name.starts_with(&prefix)) {
                remove_file(storage, &folder.join(&entry.name))?;
            }
        }
        let orphans = orphans::find(self.layout, self.run_id, self.writer, &self.manifest)?;
        if !orphans.is_empty() {
            let named = self.manifest.segments.iter().map(|segment| self.folder().join(&segment.file));
            let known = KnownRows::read(self.layout, named);
            for orphan in orphans {
                if orphan.read(self.layout).is_ok_and(|found| known.has_all(&found)) {
                    remove_file(storage, &orphan.path)?;
                } else {
                    // It may be taken up with its number, which no other may have then.
                    self.next_segment = self.next_segment.max(orphan.number() + 1);
                }
            }
        }
        Mark::remove_left(self.layout, self.run_id, self.writer)
    }

    /// Merges the segments of a metrics name; `None` when there is no time for it.
    fn compact(&mut self, name: &str) -> Result<Option<CompactedName>> {
        let old: Vec<SegmentRecord> =
            self.manifest.segments.iter().filter(|segment| segment.metrics_name == name).cloned().collect();
        let identity = self.registered(name, &old)?;
        for segment in &old {
            if self.options.until.is_some_and(|until| Instant::now() >= until) {
                return Ok(None);
            }
            check_on(self.layout.storage(), &self.folder().join(&segment.file), segment.blake3)?;
        }
        let mut pending = Vec::new();
        let written = self.write(&old, identity, &mut pending);
        fail_point::reach("compact.written");
        let new = match written {
            Ok(()) => self.publish(pending)?,
            Err(error) => {
                pending.into_iter().for_each(|segment| segment.discard(self.layout));
                return Err(error);
            }
        };
        fail_point::reach("compact.published");
        let sum = |segments: &[SegmentRecord], of: fn(&SegmentRecord) -> u64| segments.iter().map(of).sum::<u64>();
        let compacted = CompactedName {
            run_id: self.run_id,
            writer: self.writer,
            metrics_name: name.to_owned(),
            rows: sum(&new, |segment| segment.rows),
            segments_before: old.len() as u64,
            segments_after: new.len() as u64,
            bytes_before: sum(&old, |segment| segment.bytes),
            bytes_after: Some(sum(&new, |segment| segment.bytes)),
        };
        self.tell(SegmentsReplaced {
            metrics_name: name.to_owned(),
            replaced: old.iter().map(|segment| segment.n).collect(),
            segments: new,
        })?;
        Ok(Some(compacted))
    }

    /// The identity that the rows have, by the last metrics artifact.
    fn registered(&self, name: &str, segments: &[SegmentRecord]) -> Result<ContentHash> {
        let commit = self.manifest.commits.get(name);
        let numbers = |numbers: &mut dyn Iterator<Item = u64>| numbers.collect::<BTreeSet<u64>>();
        let held = numbers(&mut segments.iter().map(|segment| segment.n));
        let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
        match commit {
            Some(commit) if commit.rows == rows && numbers(&mut commit.segments.iter().copied()) == held => {
                Ok(commit.identity)
            }
            _ => Err(Error::Damaged {
                path: self.layout.events(self.run_id, self.writer),
                fault: format!(
                    "the last metrics artifact of {name:?} does not cover its segments; `stepwell doctor` tells more"
                ),
            }),
        }
    }

    /// Writes the merged rows under temporary names, and compares what was read and what was written with their identity.
    fn write(
        &mut self,
        old: &[SegmentRecord],
        registered: ContentHash,
        pending: &mut Vec<PendingSegment>,
    ) -> Result<()> {
        let merge = Merge::new(self.layout, &self.folder(), old, self.options.segment_rows_max)?;
        let context = SegmentContext { layout: self.layout, started: &self.manifest.started };
        let mut read = Identity::default();
        for interval in 0..merge.intervals() {
            let rows = merge.interval(interval)?;
            if rows.len() > 0 {
                read.add(&rows);
                pending.push(write_segment(&context, self.next_segment, &rows)?);
                self.next_segment += 1;
            }
        }
        let rows: u64 = old.iter().map(|segment| segment.rows).sum();
        let differs = |path: &Path, found: &str| Error::Damaged {
            path: path.to_owned(),
            fault: format!("{found} other records than the metrics artifact {registered} has; nothing was replaced"),
        };
        if read.rows() != rows || read.digest(self.layout, self.writer, &[])? != registered {
            let log = self.layout.events(self.run_id, self.writer);
            return Err(differs(&log, "its segments hold"));
        }
        let paths: Vec<PathBuf> = pending.iter().map(|segment| segment.temporary().to_owned()).collect();
        if identity_of_segments(self.layout, self.writer, &paths)? != (rows, registered) {
            return Err(differs(paths.last().map_or(Path::new(""), PathBuf::as_path), "merging gave"));
        }
        Ok(())
    }

    /// Gives all new segments their names, or none.
    fn publish(&self, pending: Vec<PendingSegment>) -> Result<Vec<SegmentRecord>> {
        let mut records: Vec<SegmentRecord> = Vec::new();
        let mut pending = pending.into_iter();
        while let Some(segment) = pending.next() {
            let names = [self.folder().join(&segment.record().file), segment.temporary().to_owned()];
            match segment.publish(self.layout) {
                Ok(record) => records.push(record),
                Err(error) => {
                    // It has either name, by whether it was the rename that failed or the sync of the folder.
                    names.iter().for_each(|name| drop(remove_file(self.layout.storage(), name)));
                    pending.for_each(|segment| segment.discard(self.layout));
                    self.remove(&records);
                    return Err(error);
                }
            }
        }
        Ok(records)
    }

    fn remove(&self, segments: &[SegmentRecord]) {
        for segment in segments {
            let _ = remove_file(self.layout.storage(), &self.folder().join(&segment.file));
        }
    }

    /// Appends the event that puts the new segments in the place of the old ones.
    fn tell(&mut self, event: SegmentsReplaced) -> Result<()> {
        let mark = Mark::set(self.layout, self.run_id, self.writer).inspect_err(|_| self.remove(&event.segments))?;
        fail_point::reach("compact.marked");
        let told = raise_format(&mut self.log, &self.manifest)
            .and_then(|()| self.log.append(Event::SegmentsReplaced(Box::new(event.clone())), Durability::Process));
        if let Err(error) = told {
            // Without the event the new files are rubbish.
            self.remove(&event.segments);
            let _ = mark.remove();
            return Err(error);
        }
        fail_point::reach("compact.event");
        // From here on they count, and whether the line survives a power cut or not, the files of either kind are there.
        self.manifest.format = EVENT_FORMAT;
        self.manifest.replace(&event, wall_nanos());
        self.log.sync()?;
        fail_point::reach("compact.synced");
        mark.remove()
    }
}

/// Says that the log holds events that a Stepwell which does not know them must not pass over.
fn raise_format(log: &mut EventLog, manifest: &Manifest) -> Result<()> {
    if manifest.format >= EVENT_FORMAT {
        return Ok(());
    }
    let started = WriterStarted { format: EVENT_FORMAT, ..manifest.started.clone() };
    log.append(Event::WriterStarted(Box::new(started)), Durability::Process)
}
