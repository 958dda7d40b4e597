//! What an event log says about its writer: committed segments, watermarks, commits, how it ended.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::event_log::LogContents;
use crate::events::{Event, FinishState, GapEvent, MetricsCommitted, SegmentRecord, WriterStarted};

/// One writer as its event log tells it.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub started: WriterStarted,
    pub segments: Vec<SegmentRecord>,
    /// Segments that were missing or damaged, and are no longer read.
    pub set_aside: Vec<SegmentRecord>,
    /// Per ring: records with lower indices are in segments.
    pub watermarks: BTreeMap<u32, u64>,
    /// Last commit of each metrics name.
    pub commits: BTreeMap<String, MetricsCommitted>,
    pub gaps: Vec<GapEvent>,
    pub finished: Option<FinishState>,
    /// Another process read the journals after this writer died.
    pub recovered: bool,
}

impl Manifest {
    /// Reads the events of a log.
    ///
    /// # Errors
    /// [`Error::Damaged`] when the first event is missing: nothing is known of the writer then.
    pub(crate) fn of(contents: &LogContents, path: &Path) -> Result<Self> {
        let started = contents.lines.iter().find_map(|line| match &line.event {
            Event::WriterStarted(started) => Some((**started).clone()),
            _ => None,
        });
        let Some(started) = started else {
            return Err(Error::Damaged {
                path: path.to_owned(),
                fault: "the event that says who its writer was is missing".to_owned(),
            });
        };
        let mut manifest = Self {
            started,
            segments: Vec::new(),
            set_aside: Vec::new(),
            watermarks: BTreeMap::new(),
            commits: BTreeMap::new(),
            gaps: Vec::new(),
            finished: None,
            recovered: false,
        };
        for line in &contents.lines {
            match &line.event {
                Event::Segments(event) => {
                    manifest.segments.extend(event.segments.iter().cloned());
                    for watermark in &event.watermarks {
                        let known = manifest.watermarks.entry(watermark.ring).or_default();
                        *known = watermark.committed.max(*known);
                    }
                }
                Event::SegmentSetAside { file, .. } => {
                    let is_gone = |segment: &mut SegmentRecord| segment.file == *file;
                    manifest.set_aside.extend(manifest.segments.extract_if(.., is_gone));
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

    /// First index of a ring that is in no segment.
    pub(crate) fn watermark(&self, ring: u32) -> u64 {
        self.watermarks.get(&ring).copied().unwrap_or(0)
    }

    /// Number of the next segment.
    pub(crate) fn next_segment(&self) -> u64 {
        self.segments.iter().chain(&self.set_aside).map(|segment| segment.n + 1).max().unwrap_or(0)
    }
}
