//! What an event log says about its writer: committed segments, watermarks, commits, how it ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::event_log::LogContents;
use crate::events::{
    EVENT_FORMAT_FIRST, Event, FinishState, GapEvent, MetricsCommitted, ProcessInfo, SegmentRecord, SegmentsReplaced,
    WriterStarted,
};
use crate::ids::{RunId, WriterId};
use crate::layout::{parse_events_file, stays_inside};

/// Stands for a pipeline, stage or host that nothing tells.
pub(crate) const UNKNOWN: &str = "(unknown)";

/// One writer as its event log tells it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub started: WriterStarted,
    /// The first event is missing: of run and writer nothing is known but their ids, from the path of the log.
    pub is_anonymous: bool,
    pub segments: Vec<SegmentRecord>,
    /// Segments that were missing or damaged, and are no longer read.
    pub set_aside: Vec<SegmentRecord>,
    /// Segments that others took the place of.
    pub replaced: Vec<Replaced>,
    /// Their numbers, those that no event names among them.
    pub replaced_numbers: BTreeSet<u64>,
    /// Highest format that the log says it has.
    pub format: u32,
    /// Per ring: records with lower indices are in segments.
    pub watermarks: BTreeMap<u32, u64>,
    /// Last commit of each metrics name.
    pub commits: BTreeMap<String, MetricsCommitted>,
    pub gaps: Vec<GapEvent>,
    pub finished: Option<FinishState>,
    /// Another process read the journals after this writer died.
    pub recovered: bool,
}

/// A segment that others took the place of.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub record: SegmentRecord,
    /// When: time of the event; nanoseconds since the Unix epoch.
    pub time: i64,
    /// The log says that its file was removed.
    pub is_removed: bool,
    /// A segment of its metrics name was set aside later: it may have taken the place of this one, whose file may be the last copy.
    pub is_needed: bool,
}

impl Manifest {
    /// Reads the events of a log. One whose first event is missing still names segments and watermarks, and the journals of
    /// its writer can still be read.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the first event is missing and the path is not that of an event log.
    pub(crate) fn of(contents: &LogContents, path: &Path) -> Result<Self> {
        let started = contents.lines.iter().find_map(|line| match &line.event {
            Event::WriterStarted(started) => Some((**started).clone()),
            _ => None,
        });
        let is_anonymous = started.is_none();
        let Some(started) = started.or_else(|| of_path(path)) else {
            return Err(Error::Damaged {
                path: path.to_owned(),
                fault: "the event that says who its writer was is missing".to_owned(),
            });
        };
        let mut manifest = Self {
            started,
            is_anonymous,
            segments: Vec::new(),
            set_aside: Vec::new(),
            replaced: Vec::new(),
            replaced_numbers: BTreeSet::new(),
            format: EVENT_FORMAT_FIRST,
            watermarks: BTreeMap::new(),
            commits: BTreeMap::new(),
            gaps: Vec::new(),
            finished: None,
            recovered: false,
        };
        for line in &contents.lines {
            match &line.event {
                Event::WriterStarted(started) => manifest.format = manifest.format.max(started.format),
                Event::SegmentsReplaced(event) => manifest.replace(event, line.time),
                Event::ReplacedRemoved { segments } => {
                    let removed = manifest.replaced.iter_mut().filter(|old| segments.contains(&old.record.n));
                    removed.for_each(|old| old.is_removed = true);
                }
                Event::Segments(event) => {
                    // One outside of the run is told by the catalog, and not read.
                    let inside = event.segments.iter().filter(|segment| stays_inside(&segment.file));
                    manifest.segments.extend(inside.cloned());
                    for watermark in &event.watermarks {
                        let known = manifest.watermarks.entry(watermark.ring).or_default();
                        *known = watermark.committed.max(*known);
                    }
                }
                Event::SegmentSetAside { file, .. } => {
                    manifest.set_segment_aside(file);
                }
                Event::MetricsCommitted(commit) => {
                    manifest.commits.insert(commit.metrics_name.clone(), commit.clone());
                }
                Event::Gap(gap) => manifest.gaps.push(gap.clone()),
                Event::WriterFinished { state, .. } => manifest.finished = Some(*state),
                Event::Recovered { .. } => manifest.recovered = true,
                _ => {}
            }
        }
        Ok(manifest)
    }

    /// Puts segments in the place of others. An event that replaces what was replaced already is none: where locks do not
    /// hold, two processes may have compacted at once, and the first to say so counts.
    pub(crate) fn replace(&mut self, event: &SegmentsReplaced, time: i64) {
        if !event.is_usable(&self.replaced_numbers) {
            return;
        }
        let replaced: BTreeSet<u64> = event.replaced.iter().copied().collect();
        let old = self.segments.extract_if(.., |segment| replaced.contains(&segment.n));
        self.replaced.extend(old.map(|record| Replaced { record, time, is_removed: false, is_needed: false }));
        self.segments.extend(event.segments.iter().cloned());
        self.commits.values_mut().for_each(|commit| commit.follow(&replaced, &event.segments));
        self.replaced_numbers.extend(replaced);
    }

    fn set_segment_aside(&mut self, file: &str) {
        let gone: Vec<_> = self.segments.extract_if(.., |segment| segment.file == file).collect();
        for old in &mut self.replaced {
            old.is_needed |= gone.iter().any(|segment| segment.metrics_name == old.record.metrics_name);
        }
        self.set_aside.extend(gone);
    }

    /// First index of a ring that is in no segment.
    pub(crate) fn watermark(&self, ring: u32) -> u64 {
        self.watermarks.get(&ring).copied().unwrap_or(0)
    }

    /// Number of the next segment.
    pub(crate) fn next_segment(&self) -> u64 {
        let known = self.segments.iter().chain(&self.set_aside).map(|segment| segment.n);
        known.chain(self.replaced_numbers.last().copied()).map(|n| n + 1).max().unwrap_or(0)
    }
}

/// A first event of which nothing is known but the ids.
pub(crate) fn unknown_writer(run_id: RunId, writer: WriterId) -> WriterStarted {
    WriterStarted {
        format: EVENT_FORMAT_FIRST,
        run_id,
        writer,
        pipeline: UNKNOWN.to_owned(),
        stage: UNKNOWN.to_owned(),
        name: None,
        started: 0,
        process: ProcessInfo { host: UNKNOWN.to_owned(), boot_id: String::new(), pid: 0, pid_start: 0 },
        version: String::new(),
        command: String::new(),
        git_repo: None,
        git_commit: None,
        git_branch: None,
        journals: None,
    }
}

/// What the path of an event log says of its writer.
fn of_path(path: &Path) -> Option<WriterStarted> {
    let writer = parse_events_file(path.file_name()?.to_str()?)?;
    let run = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    Some(unknown_writer(run, writer))
}
