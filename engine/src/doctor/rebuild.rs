//! Writing an event log anew whose first line, or others, are lost.

use std::path::Path;

use super::{logs, quarantine};
use crate::catalog::Catalog;
use crate::clock::wall_nanos;
use crate::error::{Error, Result};
use crate::event_log::{LOG_BYTES_MAX, LogContents, has_no_locks, lock, read_log, writers_of};
use crate::events::{Event, EventLine, GapEvent, GapKind, WriterStarted};
use crate::fork::LockFile;
use crate::host::current_process;
use crate::ids::{RunId, WriterId};
use crate::journal::JournalImage;
use crate::layout::{Layout, SegmentFile, TEMP_PREFIX};
use crate::manifest::{UNKNOWN, unknown_writer};
use crate::recovery::journals_of;
use crate::scratch::{self, Scratch, Takeover};
use crate::segment::writer_of;
use crate::snapshot::{RunInfo, WriterInfo};
use crate::storage::{LockKind, StorageFile, append_all, list_if_there, read_file, sync_folder};
use crate::verify::check_on;

/// Ending of the name that a damaged log is kept under; such files are not read.
const KEPT_SUFFIX: &str = ".damaged";
/// Between the prefix of temporary files and the name of the log.
const TEMP_MARK: &str = "repair-";

/// Who a writer was, when its log does not say, and what told it: the footer of a segment has the lost event as it was; the
/// catalog, other writers of the run and the header of a journal know parts of it.
pub(super) fn started_of(layout: &Layout, run: RunId, writer: WriterId) -> Result<(WriterStarted, &'static str)> {
    if let Some(started) = in_footers(layout, run, writer)? {
        return Ok((started, "from the footer of a segment"));
    }
    let mut source = "from the name of its file alone";
    let mut started = unknown_writer(run, writer);
    if let Some(folder) = scratch::find(run, writer) {
        // It is a folder of this machine, and so was the writer a process of it.
        started.process.host = current_process().host;
        started.journals = Some(folder);
    }
    if let Some(created) = created(layout, &started)? {
        started.started = created;
        source = "from the header of a journal";
    }
    if let Some(other) = in_other_logs(layout, run, writer)? {
        (started.pipeline, started.stage, started.name) = (other.pipeline, other.stage, other.name);
        source = "from another writer of the run";
    }
    if let Some((info, known)) = in_catalog(layout, run, writer) {
        (started.pipeline, started.stage, started.name) = (info.pipeline, info.stage, info.name);
        source = "from the catalog";
        if let Some(known) = known.filter(|known| known.process.host != UNKNOWN) {
            (started.process, started.version) = (known.process, known.version);
            started.journals = known.journal_folder;
            started.started = known.started;
        }
    }
    Ok((started, source))
}

fn in_footers(layout: &Layout, run: RunId, writer: WriterId) -> Result<Option<WriterStarted>> {
    let folder = layout.run(run);
    for entry in list_if_there(layout.storage(), &folder)?.iter().filter(|entry| entry.is_folder) {
        for file in list_if_there(layout.storage(), &folder.join(&entry.name))? {
            let Some(segment) = SegmentFile::parse(&file.name).filter(|segment| segment.writer == writer) else {
                continue;
            };
            let path = folder.join(&entry.name).join(&file.name);
            let footer = check_on(layout.storage(), &path, segment.blake3).and_then(|_| writer_of(layout, &path));
            if let Ok(started) = footer
                && (started.run_id, started.writer) == (run, writer)
            {
                return Ok(Some(started));
            }
        }
    }
    Ok(None)
}

fn created(layout: &Layout, started: &WriterStarted) -> Result<Option<i64>> {
    let rings = journals_of(layout, started)?.into_iter();
    let images = rings.filter_map(|ring| JournalImage::open_ring(layout, started, ring).ok()?);
    Ok(images.map(|image| image.header.created).min())
}

fn in_other_logs(layout: &Layout, run: RunId, writer: WriterId) -> Result<Option<WriterStarted>> {
    let others = writers_of(layout, run)?.into_iter().filter(|other| *other != writer);
    let mut logs = others.filter_map(|other| read_log(layout, &layout.events(run, other)).ok());
    Ok(logs.find_map(|log| logs::started_in(&log).filter(|started| started.run_id == run).cloned()))
}

/// What the catalog has kept. It is asked as it is: brought up to date, it would know no more than the logs.
fn in_catalog(layout: &Layout, run: RunId, writer: WriterId) -> Option<(RunInfo, Option<WriterInfo>)> {
    let catalog = Catalog::open_read_only(layout).ok()?;
    let runs = catalog.snapshot(layout).ok()?.runs().ok()?;
    let mut info = runs.into_iter().find(|info| info.run_id == run && info.pipeline != UNKNOWN)?;
    let known = info.writers.iter().position(|known| known.writer == writer).map(|at| info.writers.swap_remove(at));
    Some((info, known))
}

/// Whether a process has a journal of the writer mapped: then it lives, although its event log was deleted.
pub(super) fn is_mapped(layout: &Layout, run: RunId, writer: WriterId) -> bool {
    let Ok(folder) = std::fs::canonicalize(layout.journals(run, writer)) else { return false };
    let folder = format!("{}/", folder.to_string_lossy());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut maps = processes.filter_map(|process| std::fs::read(process.path().join("maps")).ok());
    maps.any(|maps| String::from_utf8_lossy(&maps).contains(&folder))
}

/// Whether a temporary file is a log that a repair was writing.
pub(super) fn is_temporary(name: &str) -> bool {
    name.strip_prefix(TEMP_PREFIX).is_some_and(|rest| rest.starts_with(TEMP_MARK))
}

/// Writes the event log of a dead writer anew: its first event, the lines that are sound, as they are, and what was lost.
/// What was there is kept beside it. `false` when the writer lives.
pub(crate) fn rebuild(layout: &Layout, run: RunId, writer: WriterId) -> Result<bool> {
    let storage = layout.storage();
    let path = layout.events(run, writer);
    let is_there = storage.exists(&path);
    let journals = match logs::started_in(&read_if_there(layout, &path)?) {
        Some(started) => started.journals.clone(),
        None => started_of(layout, run, writer)?.0.journals,
    };
    let scratch = match journals.map(|folder| Scratch::take_over(&folder, run, writer)).transpose()? {
        None | Some(Takeover::Gone) => None,
        Some(Takeover::Taken(scratch)) => Some(scratch),
        Some(Takeover::Refused) => return Ok(false),
    };
    let old = if is_there {
        let file = LockFile::open(|| storage.open_write(&path)).map_err(Error::io("open the event log", &path))?;
        if !lock(&*file, scratch.as_ref()).map_err(Error::io("lock the event log", &path))? {
            return Ok(false);
        }
        Some(file)
    } else {
        if is_mapped(layout, run, writer) {
            return Ok(false);
        }
        None
    };
    let contents = read_if_there(layout, &path)?;
    let started = if logs::started_in(&contents).is_none() { Some(started_of(layout, run, writer)?) } else { None };
    if started.is_none() && contents.faults.is_empty() {
        // Somebody else was here since it was examined.
        return Ok(true);
    }
    let bytes = if is_there {
        read_file(storage, &path, LOG_BYTES_MAX).map_err(Error::io("read the event log", &path))?
    } else {
        Vec::new()
    };
    let text = new_text(&contents, &bytes, started);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!("{TEMP_PREFIX}{TEMP_MARK}{name}"));
    let new = write_temp(layout, &temp, &text)?;
    if is_there {
        quarantine::keep_as(storage, &path, &path.with_file_name(format!("{name}{KEPT_SUFFIX}")))?;
    }
    storage.rename(&temp, &path).map_err(Error::io("write anew", &path))?;
    sync_folder(storage, &layout.run(run))?;
    // The locks are held up to here: of the log that was there, of the one that took its place, and of journals in scratch.
    drop((old, new, scratch));
    Ok(true)
}

fn read_if_there(layout: &Layout, path: &Path) -> Result<LogContents> {
    if layout.storage().exists(path) { read_log(layout, path) } else { Ok(LogContents::default()) }
}

/// Writes and syncs the new log under a temporary name. It is locked, so that nobody takes it for rubbish.
fn write_temp(layout: &Layout, temp: &Path, text: &[u8]) -> Result<Box<dyn StorageFile>> {
    let file = layout.storage().create(temp).map_err(Error::io("write anew", temp))?;
    let failed = || Error::io("write anew", temp);
    if let Err(error) = file.try_lock(LockKind::Exclusive)
        && !has_no_locks(&error)
    {
        return Err(failed()(error));
    }
    append_all(&*file, text).map_err(failed())?;
    file.sync().map_err(|source| Error::SyncFailed { path: temp.to_owned(), source })?;
    Ok(file)
}

fn new_text(contents: &LogContents, bytes: &[u8], started: Option<(WriterStarted, &str)>) -> Vec<u8> {
    let mut text = Vec::new();
    let (mut n, mut time) = (0, 0);
    let first_time = contents.lines.first().map_or(i64::MAX, |line| line.time);
    if let Some((started, _)) = &started {
        time = if started.started > 0 { started.started.min(first_time) } else { first_time.min(wall_nanos()) };
        let event = Event::WriterStarted(Box::new(started.clone()));
        text.extend(EventLine { n: 0, time, event }.encode().into_bytes());
        n = 1;
    }
    // Line by line as they are: an event of a newer version cannot be written by this one.
    let mut lines = contents.lines.iter();
    let mut offset = 0;
    while let Some(length) = bytes[offset..].iter().position(|byte| *byte == b'\n') {
        let is_damaged = contents.faults.iter().any(|fault| fault.offset == offset as u64);
        if let Some(line) = if is_damaged { None } else { lines.next() } {
            text.extend(&bytes[offset..=offset + length]);
            (n, time) = (n.max(line.n + 1), time.max(line.time));
        }
        offset += length + 1;
    }
    for gap in losses(contents, started.map(|(_, source)| source)) {
        let line = EventLine { n, time: time.max(wall_nanos()), event: Event::Gap(gap) };
        text.extend(line.encode().into_bytes());
        n += 1;
    }
    text
}

fn losses(contents: &LogContents, source: Option<&str>) -> Vec<GapEvent> {
    let head =
        source.map(|source| format!("the event that says who the writer was is lost; it was made anew {source}"));
    let lines = contents
        .faults
        .iter()
        .map(|fault| format!("the line at byte {} of the damaged event log is lost: {}", fault.offset, fault.fault));
    let details = head.into_iter().chain(lines);
    details.map(|detail| GapEvent::exact(GapKind::DamagedEvent, 0, 0, detail)).collect()
}
