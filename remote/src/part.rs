//! A part of an event log as it lies at a remote: one line of JSON that lists the objects behind its lines, then the lines.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stepwell_engine::{ContentHash, RunId, WriterId};

use crate::key::PartName;

/// Format of parts.
const FORMAT: u32 = 1;
/// Lines are gathered into parts of about this size.
const PART_BYTES: usize = 8 << 20;
/// Largest first line that is read.
pub(crate) const HEAD_BYTES_MAX: u64 = 64 << 20;

/// An object that the lines of a part name, or that a folder among those holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ObjectRecord {
    pub blake3: ContentHash,
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    objects: Vec<ObjectRecord>,
}

/// What a part holds.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub objects: Vec<ObjectRecord>,
    pub lines: Bytes,
}

/// Makes the parts that hold `log[base..]`; the first of them lists the objects.
pub(crate) fn make(
    run: RunId,
    writer: WriterId,
    log: &[u8],
    base: usize,
    objects: &[ObjectRecord],
) -> Vec<(PartName, Bytes)> {
    let mut parts = Vec::new();
    let mut start = base;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&log[..base]);
    while start < log.len() {
        let least = (start + PART_BYTES).min(log.len());
        let end = log[least - 1..].iter().position(|byte| *byte == b'\n').map_or(log.len(), |at| least + at);
        let objects = if start == base { objects.to_vec() } else { Vec::new() };
        // A record of plain numbers and texts always serialises.
        let mut content = serde_json::to_vec(&Head { format: FORMAT, objects }).unwrap_or_default();
        content.push(b'\n');
        content.extend_from_slice(&log[start..end]);
        hasher.update(&log[start..end]);
        let (log, content_hash) = (hasher.finalize().into(), blake3::hash(&content).into());
        let (from, to) = (start as u64, end as u64);
        let name = PartName { run, writer, start: from, end: to, log, content: content_hash };
        parts.push((name, content.into()));
        start = end;
    }
    parts
}

/// Reads a part whose hash was checked.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn read(name: &PartName, content: &Bytes) -> Result<Part, String> {
    let head = content.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let Head { format, objects } =
        serde_json::from_slice(&content[..head]).map_err(|error| format!("its first line is wrong: {error}"))?;
    if format > FORMAT {
        return Err(format!("it has format {format}, and this Stepwell reads up to {FORMAT}"));
    }
    let lines = content.slice(head + 1..);
    if lines.len() as u64 != name.end - name.start || !lines.ends_with(b"\n") {
        return Err("it does not hold the lines that its name says".to_owned());
    }
    Ok(Part { objects, lines })
}
