//! Event logs as pushed and pulled: whole lines, what they name, and how two versions of one relate.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use stepwell_engine::events::{EVENT_FORMAT, Event, EventLine, SegmentRecord};
use stepwell_engine::layout::SegmentFile;
use stepwell_engine::names::MetricsName;
use stepwell_engine::{ContentHash, RunId, WriterId};

use crate::error::{Error, Result};

/// Largest log that is pushed or pulled; it is held in memory.
pub(crate) const LOG_BYTES_MAX: u64 = 1 << 30;

/// What a log says as far as remotes are concerned.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub pipeline: String,
    /// Segments that count: not replaced, not set aside.
    pub segments: Vec<SegmentRecord>,
    /// The writer finished, or was recovered: nobody logs under it any more.
    pub is_ended: bool,
    /// Objects that artifacts were stored as.
    pub stored: BTreeSet<ContentHash>,
}

/// The whole lines of the log at `path`. A line that is being written, or was cut off, is left out.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::metadata(path).map_err(Error::io("read the event log", path))?.len();
    if bytes > LOG_BYTES_MAX {
        let fault = format!("it has {bytes} bytes, and remotes take logs of up to {LOG_BYTES_MAX}");
        return Err(Error::LocalDamaged { path: path.to_owned(), fault });
    }
    let mut content = std::fs::read(path).map_err(Error::io("read the event log", path))?;
    let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    content.truncate(whole);
    Ok(content)
}

/// The lines of a log with the offsets behind them.
fn lines(log: &[u8]) -> impl Iterator<Item = (&[u8], usize)> {
    let mut end = 0;
    log.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        end += line.len();
        (line.strip_suffix(b"\n").unwrap_or(line), end)
    })
}

fn decode(line: &[u8]) -> Result<EventLine, String> {
    let text = std::str::from_utf8(line).map_err(|_| "a line is not UTF-8".to_owned())?;
    EventLine::decode(text).map_err(|error| format!("a line is damaged: {error}"))
}

/// Reads what a log says.
///
/// # Errors
/// What is wrong with it, in words; the caller knows where it is from.
pub(crate) fn facts(log: &[u8], run: RunId, writer: WriterId) -> Result<Facts, String> {
    let mut facts = Facts::default();
    let mut replaced = BTreeSet::new();
    for (at, (line, _)) in lines(log).enumerate() {
        let line = decode(line)?;
        if at == 0 && !matches!(line.event, Event::WriterStarted(_)) {
            return Err("its first line does not say who the writer was".to_owned());
        }
        match line.event {
            Event::WriterStarted(started) => {
                if (started.run_id, started.writer) != (run, writer) {
                    return Err(format!("it is the log of writer {} of run {}", started.writer, started.run_id));
                }
                if started.format > EVENT_FORMAT {
                    return Err(format!(
                        "it has format {}, and this Stepwell reads up to {EVENT_FORMAT}",
                        started.format
                    ));
                }
                facts.pipeline = started.pipeline;
            }
            Event::Segments(event) => facts.segments.extend(event.segments),
            Event::SegmentSetAside { file, .. } => facts.segments.retain(|segment| segment.file != file),
            Event::SegmentsReplaced(event) if event.replaced.iter().all(|n| !replaced.contains(n)) => {
                facts.segments.retain(|segment| !event.replaced.contains(&segment.n));
                facts.segments.extend(event.segments);
                replaced.extend(event.replaced);
            }
            Event::Artifact(artifact) if artifact.stored => drop(facts.stored.insert(artifact.hash)),
            Event::WriterFinished { .. } | Event::Recovered { .. } => facts.is_ended = true,
            _ => {}
        }
    }
    Ok(facts)
}

/// The folder and file of a segment, when it lies where segments of its writer and metrics name do.
pub(crate) fn place_of(segment: &SegmentRecord, writer: WriterId) -> Result<(String, SegmentFile)> {
    let name = MetricsName::try_new(&segment.metrics_name).ok();
    let place = name.and_then(|name| {
        let file = SegmentFile::parse(segment.file.strip_prefix(&name.folder())?.strip_prefix('/')?)?;
        Some((name.folder(), file))
    });
    let refused = || Error::RefusedName {
        name: segment.file.escape_debug().to_string(),
        fault: "it is not where a segment of its writer and metrics name lies",
    };
    place.filter(|(_, file)| file.writer == writer && file.blake3 == segment.blake3).ok_or_else(refused)
}

/// Every text in the lines that is spelled like a BLAKE3. Which of them are objects, the store says.
pub(crate) fn hashes(lines_of_json: &[u8]) -> BTreeSet<ContentHash> {
    let mut found = BTreeSet::new();
    for (line, _) in lines(lines_of_json) {
        if let Ok(value) = serde_json::from_slice(line) {
            collect(&value, &mut found);
        }
    }
    found
}

fn collect(value: &Value, found: &mut BTreeSet<ContentHash>) {
    match value {
        Value::String(text) if text.len() == 64 => found.extend(text.parse::<ContentHash>()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Length of a log without the lines at its end that only tell how the files of an ended writer are kept: those say nothing about
/// the run, and each store may have its own.
pub(crate) fn core_len(log: &[u8]) -> usize {
    let is_upkeep = |line: &EventLine| match line.event {
        Event::SegmentsReplaced(_) | Event::ReplacedRemoved { .. } => true,
        Event::WriterStarted(_) => line.n > 0,
        _ => false,
    };
    len_before(log, is_upkeep)
}

/// Length of a log without the lines at its end that tell which files this store has removed.
pub(crate) fn pushed_len(log: &[u8]) -> usize {
    len_before(log, |line| matches!(line.event, Event::ReplacedRemoved { .. }))
}

fn len_before(log: &[u8], is_left_out: impl Fn(&EventLine) -> bool) -> usize {
    let mut kept = 0;
    for (line, end) in lines(log) {
        if !decode(line).is_ok_and(|line| is_left_out(&line)) {
            kept = end;
        }
    }
    kept
}
