//! The versions of one event log: the one of this store, and those that the parts at a remote make up.
//!
//! The name of a part claims that the log up to its end has a certain hash. A claim that holds on a log which is known needs no
//! reading. The other parts are appended where their hash fits.

use std::collections::BTreeMap;

use stepwell_engine::ContentHash;

use crate::error::{Error, Result};
use crate::key::{Key, PartName};
use crate::log::core_len;
use crate::part::{ObjectRecord, Part};

/// Most versions of one log.
const VERSIONS_MAX: usize = 16;

/// One version of a log.
#[derive(Clone, Debug)]
struct Version {
    bytes: Vec<u8>,
    /// Of all its bytes.
    hasher: blake3::Hasher,
}

impl Version {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        Self { bytes: bytes.to_vec(), hasher }
    }

    /// The version up to `start` with `lines` behind, when its hash is the claimed one.
    fn with(&self, part: &PartName, lines: &[u8]) -> Option<blake3::Hasher> {
        let start = usize::try_from(part.start).ok().filter(|start| *start <= self.bytes.len())?;
        let mut hasher = if start == self.bytes.len() {
            self.hasher.clone()
        } else {
            blake3::Hasher::new().update(&self.bytes[..start]).clone()
        };
        hasher.update(lines);
        (ContentHash::from(hasher.finalize()) == part.log).then_some(hasher)
    }
}

/// Which of the parts have claims that hold on `log`.
pub(crate) fn explained(log: &[u8], parts: &[PartName]) -> Vec<bool> {
    let mut by_end: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(end) = usize::try_from(part.end).ok().filter(|end| *end <= log.len()) {
            by_end.entry(end).or_default().push(at);
        }
    }
    let mut holds = vec![false; parts.len()];
    let (mut hasher, mut from) = (blake3::Hasher::new(), 0);
    for (end, at) in by_end {
        hasher.update(&log[from..end]);
        from = end;
        let hash = ContentHash::from(hasher.finalize());
        at.into_iter().for_each(|at| holds[at] = parts[at].log == hash);
    }
    holds
}

/// The parts that have to be read: those that nothing explains and that something may lead to. Others are of a push under way.
pub(crate) fn wanted(parts: &[PartName], explained: &[bool]) -> Vec<PartName> {
    let leads = |start: u64| start == 0 || parts.iter().any(|part| part.end == start);
    let open = parts.iter().zip(explained).filter(|(part, explained)| !**explained && leads(part.start));
    open.map(|(part, _)| *part).collect()
}

/// What is known of a log after all its parts were looked at.
#[derive(Debug)]
pub(crate) struct History {
    /// The version that says most.
    pub best: Vec<u8>,
    /// The best version is that of this store.
    pub is_own: bool,
    /// Some version at the remote says as much about the run as that of this store.
    pub is_pushed: bool,
    /// Objects that the parts which were read list.
    pub objects: Vec<ObjectRecord>,
}

/// Puts the versions of a log together from that of this store and the parts that were read.
///
/// # Errors
/// [`Error::Corrupt`] when a part fits nowhere, [`Error::Diverged`] when two versions say different things about the run.
pub(crate) fn resolve(
    own: &[u8],
    parts: &[PartName],
    explained: &[bool],
    read: &BTreeMap<PartName, Part>,
) -> Result<History> {
    let mut versions = vec![Version::of(own)];
    let mut objects = Vec::new();
    let mut order: Vec<_> = read.iter().collect();
    order.sort_by_key(|(name, _)| (name.end, name.start));
    for (name, part) in order {
        let fits = versions.iter().enumerate().find_map(|(at, version)| Some((at, version.with(name, &part.lines)?)));
        let Some((at, hasher)) = fits else {
            if is_under_way(name, &versions, parts, explained) {
                continue;
            }
            return Err(Error::corrupt(Key::part(name), "it fits no version of its log"));
        };
        objects.extend_from_slice(&part.objects);
        let (start, end) = (name.start as usize, name.end as usize);
        if versions[at].bytes.get(start..end).is_some_and(|known| known == &part.lines[..]) {
            continue;
        }
        // That of this store stays as it is, to be compared.
        if at > 0 && versions[at].bytes.len() == start {
            versions[at].bytes.extend_from_slice(&part.lines);
            versions[at].hasher = hasher;
        } else if versions.len() == VERSIONS_MAX {
            return Err(Error::corrupt(Key::part(name), "its log was continued in too many ways"));
        } else {
            let bytes = [&versions[at].bytes[..start], &part.lines].concat();
            versions.push(Version { bytes, hasher });
        }
    }
    judge(versions, parts, explained, objects)
}

/// Whether what a part is to be appended to is not at the remote yet.
fn is_under_way(name: &PartName, versions: &[Version], parts: &[PartName], explained: &[bool]) -> bool {
    let is_known = |end: u64| {
        end == 0
            || parts.iter().zip(explained).any(|(part, explained)| *explained && part.end == end)
            || versions.iter().skip(1).any(|version| version.bytes.len() as u64 >= end)
    };
    !is_known(name.start)
}

fn judge(
    versions: Vec<Version>,
    parts: &[PartName],
    explained: &[bool],
    objects: Vec<ObjectRecord>,
) -> Result<History> {
    let cores: Vec<usize> = versions.iter().map(|version| core_len(&version.bytes)).collect();
    // Of two that say the same about the run, that of this store stays.
    let best = (0..versions.len()).rev().max_by_key(|at| (cores[*at], *at == 0)).unwrap_or(0);
    for (version, core) in versions.iter().zip(&cores) {
        if !versions[best].bytes.starts_with(&version.bytes[..*core]) {
            let Some(PartName { run, writer, .. }) = parts.first() else { continue };
            let common = versions[best].bytes.iter().zip(&version.bytes).take_while(|(a, b)| a == b).count();
            let fault = format!(
                "they are the same up to byte {common}; keep one store's copy and move the other's run folder away, or the part \
                 in {}/{run}/{writer} that is wrong",
                crate::key::LOGS
            );
            return Err(Error::Diverged { run: run.to_string(), writer: writer.to_string(), fault });
        }
    }
    let own = cores[0];
    let by_claim = parts.iter().zip(explained).any(|(part, explained)| *explained && part.end as usize >= own);
    let is_pushed = by_claim || cores.iter().skip(1).any(|core| *core >= own);
    let is_own = best == 0;
    let best = versions.into_iter().nth(best).map(|version| version.bytes).unwrap_or_default();
    Ok(History { best, is_own, is_pushed, objects })
}
