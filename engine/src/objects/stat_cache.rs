//! What files were found to hash to, by what `stat` says of them: an unchanged folder is not read again.
//!
//! `<store>/stat-cache` is a log of records of 76 bytes, appended in one write by whoever hashed something, without a lock:
//!
//! ```text
//! magic "SWH1" | flags u32 | key 16 | BLAKE3 32 | MD5 16, if flag 1 is set | CRC-32C of the 72 bytes before u32
//! ```
//!
//! The key is the first half of a BLAKE3 of host, device, inode, size, time of the last change of the content and of the
//! inode. Whoever reads it skips what has no valid checksum, byte by byte until a record begins again. A later record counts.
//! Past [`BYTES_MAX`] the newer half is written anew and renamed into place; what others append to the old file meanwhile is
//! lost, which costs them time and nothing else. So does deleting it.

use std::collections::{HashMap, HashSet};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ids::{ContentHash, random_u64};
use crate::layout::TEMP_PREFIX;

const MAGIC: [u8; 4] = *b"SWH1";
const CRC_AT: usize = 72;
/// Size of a record.
pub(super) const RECORD_BYTES: usize = CRC_AT + 4;
const HAS_MD5: u32 = 1;
/// Largest file: two million records.
pub(super) const BYTES_MAX: u64 = (RECORD_BYTES as u64) << 21;
/// Changes that lie so near to the reading are not trusted: another within the same tick of the file system's clock would leave
/// the same times.
const SETTLED_AFTER_NANOS: i64 = 2_000_000_000;

/// What `stat` says that changes with the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStat {
    device: u64,
    inode: u64,
    pub bytes: u64,
    modified_nanos: i64,
    changed_nanos: i64,
}

impl FileStat {
    pub fn of(metadata: &Metadata) -> Self {
        let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_nanos: nanos(metadata.mtime(), metadata.mtime_nsec()),
            changed_nanos: nanos(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether its last change lies far enough before `now` that any later one has other times.
    pub fn is_settled(&self, now_nanos: i64) -> bool {
        self.modified_nanos.max(self.changed_nanos) <= now_nanos.saturating_sub(SETTLED_AFTER_NANOS)
    }

    pub fn key(&self, host: &str) -> Key {
        let mut hasher = blake3::Hasher::new();
        for number in [self.device, self.inode, self.bytes] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.modified_nanos.to_le_bytes()).update(&self.changed_nanos.to_le_bytes());
        hasher.update(host.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Key(key)
    }
}

/// A file in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

/// What it hashes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub blake3: ContentHash,
    pub md5: Option<[u8; 16]>,
}

/// The cache file of a store.
#[derive(Clone, Debug)]
pub(super) struct StatCache {
    path: PathBuf,
}

impl StatCache {
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Size of the file, in bytes: what looking something up costs to read.
    pub fn bytes(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// What is known of `wanted`. Never fails: what cannot be read is not known.
    pub fn look_up(&self, wanted: &HashSet<Key>) -> HashMap<Key, Known> {
        let mut found: HashMap<Key, Known> = HashMap::new();
        for (key, known) in Records(&self.read()) {
            if wanted.contains(&key) {
                // One that knows more is not forgotten for one that knows less.
                let md5 = known.md5.or_else(|| found.get(&key).filter(|old| old.blake3 == known.blake3)?.md5);
                found.insert(key, Known { md5, ..known });
            }
        }
        found
    }

    /// Adds what was found. Best effort.
    pub fn add(&self, found: &[(Key, Known)]) {
        if found.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(found.len() * RECORD_BYTES);
        found.iter().for_each(|(key, known)| bytes.extend_from_slice(&encode(*key, *known)));
        let written = OpenOptions::new().append(true).create(true).open(&self.path).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.metadata()
        });
        if written.is_ok_and(|metadata| metadata.len() > BYTES_MAX) {
            let _ = self.halve();
        }
    }

    fn read(&self) -> Vec<u8> {
        // One that grew far past its bound was written by somebody else.
        if self.bytes() > 2 * BYTES_MAX { Vec::new() } else { std::fs::read(&self.path).unwrap_or_default() }
    }

    /// Writes the newer half anew.
    pub(super) fn halve(&self) -> io::Result<()> {
        let bytes = self.read();
        let records: Vec<_> = Records(&bytes).collect();
        let mut seen = HashSet::new();
        let newest = records.iter().rev().filter(|(key, _)| seen.insert(*key)).take(records.len() / 2);
        let mut kept: Vec<_> = newest.collect();
        kept.reverse();
        let text: Vec<u8> = kept.iter().flat_map(|(key, known)| encode(*key, *known)).collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let temp = folder.join(format!("{TEMP_PREFIX}{:016x}", random_u64()));
        let renamed = std::fs::write(&temp, text).and_then(|()| std::fs::rename(&temp, &self.path));
        renamed.inspect_err(|_| drop(std::fs::remove_file(&temp)))
    }
}

fn encode(key: Key, known: Known) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..4].copy_from_slice(&MAGIC);
    record[4..8].copy_from_slice(&(if known.md5.is_some() { HAS_MD5 } else { 0 }).to_le_bytes());
    record[8..24].copy_from_slice(&key.0);
    record[24..56].copy_from_slice(known.blake3.as_bytes());
    record[56..CRC_AT].copy_from_slice(&known.md5.unwrap_or_default());
    let crc = crc32c::crc32c(&record[..CRC_AT]);
    record[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD_BYTES]) -> Option<(Key, Known)> {
    let (body, crc) = record.split_at(CRC_AT);
    if body[..4] != MAGIC || crc != crc32c::crc32c(body).to_le_bytes() {
        return None;
    }
    let has_md5 = body[4..8] == HAS_MD5.to_le_bytes();
    let md5 = if has_md5 { Some(body[56..CRC_AT].try_into().ok()?) } else { None };
    let blake3: [u8; 32] = body[24..56].try_into().ok()?;
    let known = Known { blake3: blake3::Hash::from_bytes(blake3).into(), md5 };
    Some((Key(body[8..24].try_into().ok()?), known))
}

/// The valid records of a log, in order.
struct Records<'a>(&'a [u8]);

impl Iterator for Records<'_> {
    type Item = (Key, Known);

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(record) = self.0.first_chunk::<RECORD_BYTES>() {
            if let Some(found) = decode(record) {
                self.0 = &self.0[RECORD_BYTES..];
                return Some(found);
            }
            self.0 = &self.0[1..];
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8, md5: bool) -> (Key, Known) {
        let md5 = md5.then_some([number; 16]);
        (Key([number; 16]), Known { blake3: blake3::hash(&[number]).into(), md5 })
    }

    fn cache() -> (tempfile::TempDir, StatCache) {
        let folder = tempfile::tempdir().expect("folder");
        let cache = StatCache::at(folder.path().join("stat-cache"));
        (folder, cache)
    }

    fn found(cache: &StatCache, numbers: std::ops::Range<u8>) -> Vec<u8> {
        let wanted: HashSet<_> = numbers.clone().map(|number| record(number, false).0).collect();
        let found = cache.look_up(&wanted);
        numbers
            .filter(|number| {
                found
                    .get(&record(*number, false).0)
                    .is_some_and(|known| known.blake3 == record(*number, false).1.blake3)
            })
            .collect()
    }

    #[test]
    fn what_was_added_is_found_and_nothing_else() {
        let (_folder, cache) = cache();
        assert!(found(&cache, 0..9).is_empty(), "there is no file yet");
        cache.add(&[record(1, false), record(2, true)]);
        cache.add(&[record(3, true), record(3, false)]);
        assert_eq!(found(&cache, 0..9), [1, 2, 3]);
        let wanted = HashSet::from([record(3, false).0]);
        assert_eq!(cache.look_up(&wanted)[&record(3, false).0].md5, Some([3; 16]), "its MD5 is not forgotten");
        assert_eq!(cache.bytes(), 4 * RECORD_BYTES as u64);
    }

    #[test]
    fn every_single_byte_change_hides_that_record_alone() {
        let (_folder, cache) = cache();
        cache.add(&[record(1, true), record(2, true), record(3, false)]);
        let whole = std::fs::read(&cache.path).expect("read");
        for index in RECORD_BYTES..2 * RECORD_BYTES {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x10;
            std::fs::write(&cache.path, &bytes).expect("damaged");
            assert_eq!(found(&cache, 0..9), [1, 3], "byte {index}");
        }
        for cut in 0..RECORD_BYTES {
            let torn = [&whole[..RECORD_BYTES], &whole[RECORD_BYTES..RECORD_BYTES + cut], &whole[2 * RECORD_BYTES..]];
            std::fs::write(&cache.path, torn.concat()).expect("torn");
            assert_eq!(found(&cache, 0..9), [1, 3], "cut at {cut}");
        }
    }

    #[test]
    fn the_newer_half_is_kept_when_it_grew_too_large() {
        let (_folder, cache) = cache();
        cache.add(&(0..100).map(|number| record(number, false)).collect::<Vec<_>>());
        cache.halve().expect("halved");
        assert_eq!(found(&cache, 0..100), (50..100).collect::<Vec<_>>());
        assert_eq!(cache.bytes(), 50 * RECORD_BYTES as u64);
    }

    #[test]
    fn many_writers_at_once_lose_nothing() {
        let (_folder, cache) = cache();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let cache = &cache;
                scope.spawn(move || (0..25).for_each(|n| cache.add(&[record(writer * 25 + n, false)])));
            }
        });
        assert_eq!(found(&cache, 0..200), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_file_changed_within_two_seconds_is_not_trusted() {
        let file = tempfile::NamedTempFile::new().expect("file");
        let stat = FileStat::of(&file.as_file().metadata().expect("stat"));
        let changed = stat.modified_nanos.max(stat.changed_nanos);
        assert!(!stat.is_settled(changed + SETTLED_AFTER_NANOS - 1));
        assert!(stat.is_settled(changed + SETTLED_AFTER_NANOS));
    }

    #[test]
    fn each_field_of_stat_makes_another_key() {
        let stat = FileStat { device: 1, inode: 2, bytes: 3, modified_nanos: 4, changed_nanos: 5 };
        let others = [
            FileStat { device: 9, ..stat },
            FileStat { inode: 9, ..stat },
            FileStat { bytes: 9, ..stat },
            FileStat { modified_nanos: 9, ..stat },
            FileStat { changed_nanos: 9, ..stat },
        ];
        let mut keys: HashSet<_> = others.iter().map(|other| other.key("host")).collect();
        keys.insert(stat.key("host"));
        keys.insert(stat.key("other host"));
        assert_eq!(keys.len(), 7);
        assert_eq!(stat.key("host"), stat.key("host"));
    }
}
