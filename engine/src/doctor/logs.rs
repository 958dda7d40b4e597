//! Event logs: what they say, and what is wrong with them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{DoctorReport, Finding, FindingKind, Severity, fault_of, is_missing, is_newer, rebuild};
use crate::error::Result;
use crate::event_log::{LogContents, is_locked, read_log, writers_of};
use crate::events::{Event, EventLine, WriterStarted};
use crate::host::{Life, WriterPlace, life_of};
use crate::ids::{ContentHash, RunId, WriterId};
use crate::layout::{Layout, SegmentFile};
use crate::manifest::Manifest;
use crate::snapshot::GapInfo;
use crate::storage::list_if_there;

/// What a repair does with a log that lacks lines.
const REBUILD: &str =
    "write it anew from what is sound, tell the loss in it, and keep what is there as `.damaged` beside it";

/// One writer, as its files show it.
pub(super) struct WriterView {
    pub run: RunId,
    pub writer: WriterId,
    /// Its event log.
    pub path: PathBuf,
    /// It lives, so that its files are left alone.
    pub alive: bool,
    /// What the log says; of one without its first line, with what could be found out elsewhere in the place of it. `None`
    /// when the log can neither be read nor be written anew.
    pub manifest: Option<Manifest>,
    /// Contents of artifacts that the log says were stored.
    pub stored: Vec<ContentHash>,
    /// The log is to be written anew.
    pub is_broken: bool,
    /// The last line of the log is cut off.
    pub is_torn: bool,
}

impl WriterView {
    /// Whether the event log says how the writer ended.
    pub fn has_ended(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.finished.is_some() || manifest.recovered)
    }

    pub fn watermark(&self, ring: u32) -> u64 {
        self.manifest.as_ref().map_or(0, |manifest| manifest.watermark(ring))
    }
}

/// The writers of a run: those with an event log, and those whose journals or segments are there; sorted. Not those that a pull
/// brings just now, or was cut short over: it puts their event log there last, and the next pull goes on.
pub(super) fn writers_in(layout: &Layout, run: RunId) -> Result<Vec<WriterId>> {
    let mut writers: BTreeSet<WriterId> = writers_of(layout, run)?.into_iter().collect();
    let folder = layout.run(run);
    for entry in list_if_there(layout.storage(), &folder)?.iter().filter(|entry| entry.is_folder) {
        if let Ok(writer) = entry.name.parse::<WriterId>() {
            writers.insert(writer);
            continue;
        }
        let files = list_if_there(layout.storage(), &folder.join(&entry.name))?;
        writers.extend(files.iter().filter_map(|file| SegmentFile::parse(&file.name)).map(|file| file.writer));
    }
    let exists = |path: &Path| layout.storage().exists(path);
    let is_on_its_way = |writer: WriterId| exists(&layout.pulled(run, writer)) && !exists(&layout.events(run, writer));
    Ok(writers.into_iter().filter(|writer| !is_on_its_way(*writer)).collect())
}

/// Whether a writer of the run gave it this display name.
pub(super) fn is_named(layout: &Layout, run: RunId, name: &str) -> bool {
    let writers = writers_of(layout, run).unwrap_or_default().into_iter();
    let logs = writers.filter_map(|writer| read_log(layout, &layout.events(run, writer)).ok());
    let mut names = logs.filter_map(|log| started_in(&log)?.name.clone());
    names.any(|found| found == name)
}

pub(super) fn started_in(contents: &LogContents) -> Option<&WriterStarted> {
    contents.lines.iter().find_map(|line| match &line.event {
        Event::WriterStarted(started) => Some(&**started),
        _ => None,
    })
}

/// Reads the event log of a writer.
pub(super) fn look(layout: &Layout, run: RunId, writer: WriterId, report: &mut DoctorReport) -> Result<WriterView> {
    let path = layout.events(run, writer);
    let mut view = WriterView {
        run,
        writer,
        alive: false,
        manifest: None,
        stored: Vec::new(),
        is_broken: false,
        is_torn: false,
        path,
    };
    let mut find = |finding: Finding| report.findings.push(finding.of(run, writer));
    let finding = |kind, severity, what: String| Finding::new(&view.path, kind, severity, what);
    // Asked before the log is read: what is behind the last line of a living writer is being written.
    let locked = match is_locked(layout, &view.path) {
        Err(error) if !is_missing(&error) => {
            find(finding(FindingKind::LogUnreadable, Severity::Damage, fault_of(&error)));
            return Ok(view);
        }
        locked => locked.unwrap_or_else(|_| rebuild::is_mapped(layout, run, writer)),
    };
    let mut contents = match read_log(layout, &view.path) {
        Ok(contents) => contents,
        Err(error) if is_missing(&error) => {
            let what = "there is no event log of this writer, and there are files of it".to_owned();
            find(finding(FindingKind::LogMissing, Severity::Damage, what).repair_of_dead(locked, REBUILD));
            view.is_broken = true;
            LogContents::default()
        }
        Err(error) => {
            let kind = if is_newer(&error) { FindingKind::LogNewer } else { FindingKind::LogUnreadable };
            find(finding(kind, Severity::Damage, fault_of(&error)));
            return Ok(view);
        }
    };
    let started = match started_in(&contents) {
        Some(started) => started.clone(),
        None => rebuild::started_of(layout, run, writer)?.0,
    };
    let alive = locked || is_alive(layout, run, writer, &started, &contents);
    faults(&finding, &contents, alive, &mut find);
    view.is_broken |= !contents.faults.is_empty();
    match started_in(&contents) {
        Some(started) if (started.run_id, started.writer) != (run, writer) => {
            let what = format!("it is the log of {}", super::name_of(started.run_id, started.writer));
            find(finding(FindingKind::LogMisplaced, Severity::Damage, what));
            view.alive = alive;
            return Ok(view);
        }
        Some(_) => {}
        None => {
            if !view.is_broken || contents.file_bytes > 0 {
                find(headless(&finding, &contents).repair_of_dead(alive, REBUILD));
            }
            view.is_broken = true;
            let event = Event::WriterStarted(Box::new(started));
            contents.lines.insert(0, EventLine { n: 0, time: 0, event });
        }
    }
    view.is_torn = !alive && contents.has_torn_tail();
    if view.is_torn && !view.is_broken {
        let what = "its last line was cut off in the middle of writing; nobody was told of it".to_owned();
        find(finding(FindingKind::LogTorn, Severity::Note, what).repair("cut it off"));
    }
    let manifest = Manifest::of(&contents, &view.path)?;
    if !alive && manifest.finished.is_none() && !manifest.recovered {
        let process = &manifest.started.process;
        let what = format!("its writer, process {} on {}, is gone without having finished", process.pid, process.host);
        let repair = "make segments of its journals, and say that it died";
        find(finding(FindingKind::WriterDied, Severity::Note, what).repair(repair));
    }
    tell(&contents, run, writer, &mut report.told, &mut view.stored);
    view.alive = alive;
    view.manifest = Some(manifest);
    Ok(view)
}

/// Whether a writer counts as alive, by what is known of it.
fn is_alive(layout: &Layout, run: RunId, writer: WriterId, started: &WriterStarted, log: &LogContents) -> bool {
    let WriterStarted { process, journals, .. } = started;
    match life_of(layout, &WriterPlace { run, writer, process, journals: journals.as_deref() }) {
        // Its journals are removed once it has finished or was recovered: that they cannot be seen is no sign of life then.
        Ok(Life::OutOfReach) => !log.lines.iter().any(|line| is_end(&line.event)),
        Ok(life) => life == Life::Alive,
        // Of a log that is gone, another machine may know more.
        Err(error) if is_missing(&error) => layout.file_system().is_remote,
        Err(_) => true,
    }
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::WriterFinished { .. } | Event::Recovered { .. })
}

fn faults(
    finding: &impl Fn(FindingKind, Severity, String) -> Finding,
    contents: &LogContents,
    alive: bool,
    find: &mut impl FnMut(Finding),
) {
    for fault in &contents.faults {
        let what = format!("the line at byte {} is damaged: {}", fault.offset, fault.fault);
        find(finding(FindingKind::LogDamagedLine, Severity::Damage, what).repair_of_dead(alive, REBUILD));
    }
}

fn headless(finding: &impl Fn(FindingKind, Severity, String) -> Finding, contents: &LogContents) -> Finding {
    if contents.file_bytes == 0 {
        let what = "it has no bytes: a power cut before the first sync kept its name and not its content";
        finding(FindingKind::LogEmpty, Severity::Loss, what.to_owned())
    } else {
        let what = "the event that says who its writer was is missing";
        finding(FindingKind::LogHeadless, Severity::Damage, what.to_owned())
    }
}

/// Notes the losses that a log tells of, and the contents it says were stored.
fn tell(
    contents: &LogContents,
    run_id: RunId,
    writer: WriterId,
    told: &mut Vec<GapInfo>,
    stored: &mut Vec<ContentHash>,
) {
    for line in &contents.lines {
        match &line.event {
            Event::Gap(gap) => told.push(GapInfo { run_id, writer, time: line.time, gap: gap.clone() }),
            Event::Artifact(artifact) if artifact.stored => stored.push(artifact.hash),
            Event::Record(record) => stored.extend(record.content),
            _ => {}
        }
    }
}
