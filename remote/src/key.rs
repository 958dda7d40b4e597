//! Names at a remote. All are built and parsed here; nothing that a remote says becomes a path in any other way.

use std::fmt;

use stepwell_engine::layout::{EVENTS_SUFFIX, SegmentFile};
use stepwell_engine::{ContentHash, RunId, WriterId};

use crate::error::{Error, Result};

/// Folder of the parts of event logs.
pub(crate) const LOGS: &str = "logs";
const MARKER: &str = "stepwell-remote.json";

/// The name of one file at a remote: segments joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn marker() -> Self {
        Self(MARKER.to_owned())
    }

    /// Entry `n` of the list that remotes without listing keep.
    pub(crate) fn index(n: u64) -> Self {
        Self(format!("index/{n:016}.json"))
    }

    pub(crate) fn object(hash: ContentHash) -> Self {
        let hex = hash.to_string();
        Self(format!("objects/{}/{hex}", &hex[..2]))
    }

    /// A segment; `folder` is that of its metrics name, checked by the caller.
    pub(crate) fn segment(run: RunId, folder: &str, file: SegmentFile) -> Self {
        Self(format!("runs/{run}/{folder}/{}", file.file_name()))
    }

    pub(crate) fn part(part: &PartName) -> Self {
        let PartName { run, writer, start, end, log, content } = part;
        Self(format!("{LOGS}/{run}/{writer}/{start:012}-{end:012}-{log}-{content}{EVENTS_SUFFIX}"))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the name of a part says: the bytes `start..end` of a log are in it, and the log up to `end` has the hash `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartName {
    pub run: RunId,
    pub writer: WriterId,
    pub start: u64,
    pub end: u64,
    /// BLAKE3 of the log's first `end` bytes.
    pub log: ContentHash,
    /// BLAKE3 of the part.
    pub content: ContentHash,
}

impl PartName {
    /// Reads the name of a part as a remote lists it.
    ///
    /// # Errors
    /// [`Error::RefusedName`] of anything else.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let refused = |fault| Error::RefusedName { name: name.escape_debug().to_string(), fault };
        let part = parse(name).ok_or_else(|| refused("it is no part of an event log, and only those lie there"))?;
        // Only one spelling names a part: no `%2e`, upper case, or leading zeros.
        if Key::part(&part).as_str() != name || part.start >= part.end {
            return Err(refused("it is not spelled as names of parts are"));
        }
        Ok(part)
    }
}

fn parse(name: &str) -> Option<PartName> {
    let mut segments = name.split('/');
    if segments.next()? != LOGS {
        return None;
    }
    let (run, writer, file) = (segments.next()?.parse().ok()?, segments.next()?.parse().ok()?, segments.next()?);
    let mut fields = file.strip_suffix(EVENTS_SUFFIX)?.split('-');
    let part = PartName {
        run,
        writer,
        start: fields.next()?.parse().ok()?,
        end: fields.next()?.parse().ok()?,
        log: fields.next()?.parse().ok()?,
        content: fields.next()?.parse().ok()?,
    };
    (fields.next().is_none() && segments.next().is_none()).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_round_trip_and_nothing_else_is_one() {
        let hash = ContentHash::from(blake3::hash(b"x"));
        let writer = WriterId { rank: 0, attempt: 1, nonce: 7 };
        let part = PartName { run: RunId::generate(), writer, start: 10, end: 200, log: hash, content: hash };
        let name = Key::part(&part).to_string();
        assert_eq!(PartName::parse(&name).expect("parses"), part);
        let run = part.run.to_string();
        for bad in [
            name.replace("logs/", "logs/../"),
            name.replace("logs/", "/logs/"),
            name.replace("logs/", "logs//"),
            name.replace(&run, &run.to_uppercase()),
            name.replace(&run, &run.replace('-', "")),
            name.replace(&run, ".."),
            name.replace(&run, "%2e%2e"),
            name.replace("w-0-1", "w-00-1"),
            name.replace('/', "\\"),
            name.replace("-000000000200-", "-200-"),
            name.replace("000000000010-", "000000000300-"),
            format!("{name}/x"),
            format!("{name}\0"),
            "C:\\logs".to_owned(),
            String::new(),
        ] {
            assert!(PartName::parse(&bad).is_err(), "{bad}");
        }
    }
}
