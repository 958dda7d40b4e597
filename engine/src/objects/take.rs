//! Files and folders become artifacts: hashed, and kept in the store if wanted.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::dvc;
use super::hash::{Hashes, PARALLEL_FROM, on_threads, threads};
use super::keep::{How, Reader, open};
use super::manifest::{Manifest, ManifestFile};
use super::publish::{Batch, Pending, is_there, store_bytes};
use super::stat_cache::{FileStat, Key, Known, StatCache};
use super::walk::{FoundFile, Links, check_regular, walk};
use crate::clock::wall_nanos;
use crate::error::{Error, Result};
use crate::ids::ContentHash;
use crate::layout::Layout;
use crate::storage::{Disk, Storage};

/// Files that are kept and synced together.
const GROUP_FILES: usize = 1024;
/// Bytes below which hashing is cheaper than asking what is known.
const CACHE_FROM_BYTES: u64 = 4 << 20;
/// Asking costs as much as hashing so many bytes for each byte of the cache.
const CACHE_WORTH: u64 = 4;
/// Small files for each thread, so that a few of them start none.
const FILES_PER_THREAD: usize = 16;

/// Whether and how content is kept in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Only its hash is: the content stays where it is, and may be gone later.
    Reference,
    /// The store has it: cloned where the file system can (xfs, btrfs), else copied.
    #[default]
    Copy,
    /// The store has another name of the same file, where the file system can; else as `Copy`. The user's file becomes
    /// read-only, and a program that writes to it all the same changes the object.
    HardLink,
}

/// How something is taken in.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakeOptions {
    /// Whether its content is kept.
    pub keep: Keep,
    /// Which hashes are computed.
    pub hashes: Hashes,
    /// Which links in a folder are followed.
    pub links: Links,
}

impl TakeOptions {
    /// Kept as told, by BLAKE3 alone, without links out of the folder.
    pub fn keep(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }
}

/// What was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Taken {
    /// BLAKE3 of a file; of a folder, that of its manifest.
    pub hash: ContentHash,
    /// Size: of a folder, the sum of its files; bytes.
    pub bytes: u64,
    /// MD5 in DVC's manner, where it was asked for: `<md5>`, or `<md5>.dir` of a folder.
    pub md5: Option<String>,
    /// The files of a folder; `None` of a file.
    pub manifest: Option<Manifest>,
    /// What it cost.
    pub kept: Kept,
}

/// How files were taken in. A file counts once in `known` or `read`; what came into the store, once in the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// Files whose hash was known from what `stat` says.
    pub known: u64,
    /// Files that were read.
    pub read: u64,
    /// Bytes of the files that were read.
    pub bytes_read: u64,
    /// Files whose blocks the store now shares.
    pub cloned: u64,
    /// Files that the store has another name of.
    pub linked: u64,
    /// Files that were copied. What the store had already is copied, but not kept twice.
    pub copied: u64,
}

/// Hashes the file or folder at `path`, and keeps it as `options` say. A folder becomes a manifest and one object per file.
///
/// # Durability
/// What is kept is on the device when it returns; nothing of it has a name in the store before it is.
///
/// # Cost
/// Files are read by all cores. A file that was read more than 2 s after its last change is known the next time, by device,
/// inode, size and times, and not read again.
///
/// # Errors
/// [`Error::Io`] when something cannot be read or stored; [`Error::InvalidPath`] for a name that is not UTF-8, a link that
/// leads out of the folder, or a folder that holds the store; [`Error::ArtifactChanged`]; [`Error::SyncFailed`].
pub fn take_in(layout: &Layout, path: &Path, options: &TakeOptions) -> Result<Taken> {
    take_for(Some(layout), path, options)
}

/// Like [`take_in`]; without a store, content is only hashed.
pub(super) fn take_for(store: Option<&Layout>, path: &Path, options: &TakeOptions) -> Result<Taken> {
    take_at(store, path, options, wall_nanos())
}

/// Like [`take_for`], at a given time: what changed within 2 s before it is not known the next time.
pub(super) fn take_at(store: Option<&Layout>, path: &Path, options: &TakeOptions, now_nanos: i64) -> Result<Taken> {
    let metadata = std::fs::metadata(path).map_err(Error::io("read the artifact", path))?;
    let taker = Taker::new(store, path, options, now_nanos);
    if metadata.is_dir() {
        return taker.folder(path, options.links);
    }
    check_regular(path, &metadata)?;
    let found = FoundFile { relative: String::new(), path: path.to_owned(), stat: FileStat::of(&metadata) };
    let (files, kept) = taker.files(&[found])?;
    let file = files.first().ok_or_else(|| Error::ArtifactChanged { path: path.to_owned() })?;
    let md5 = file.md5.map(dvc::file_text);
    Ok(Taken { hash: file.hash, bytes: file.bytes, md5, manifest: None, kept })
}

/// One file that was taken in.
#[derive(Clone, Copy, Debug)]
struct TakenFile {
    hash: ContentHash,
    md5: Option<[u8; 16]>,
    bytes: u64,
}

/// One file, with what is left to do for it.
struct Done {
    index: usize,
    file: TakenFile,
    pending: Option<(Pending, How)>,
    learned: Option<(Key, Known)>,
    was_known: bool,
}

struct Taker<'a> {
    reader: Reader<'a>,
    cache: Option<StatCache>,
    host: String,
    now_nanos: i64,
    /// What `stat` says may be older than the file: it is asked of the open file.
    is_remote: bool,
}

impl<'a> Taker<'a> {
    fn new(store: Option<&'a Layout>, path: &Path, options: &TakeOptions, now_nanos: i64) -> Self {
        Self {
            reader: Reader::new(store, options.keep, options.hashes),
            cache: store.map(|layout| StatCache::at(layout.stat_cache())),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            now_nanos,
            is_remote: Disk.file_system(path).is_remote,
        }
    }

    fn folder(&self, path: &Path, links: Links) -> Result<Taken> {
        let found = walk(path, self.reader.store.map(Layout::root), links)?;
        let (files, kept) = self.files(&found)?;
        let md5 = (self.reader.hashes == Hashes::WithMd5).then(|| {
            let md5s = found.iter().zip(&files);
            dvc::folder_text(md5s.map(|(found, file)| (found.relative.as_str(), file.md5.unwrap_or_default())))
        });
        let lines = found.into_iter().zip(&files);
        let lines =
            lines.map(|(found, file)| ManifestFile { path: found.relative, bytes: file.bytes, blake3: file.hash });
        let manifest = Manifest::new(lines.collect());
        let text = manifest.to_text();
        if let (Some(layout), true) = (self.reader.store, self.keeps()) {
            store_bytes(layout, text.as_bytes())?;
        }
        let hash = blake3::hash(text.as_bytes()).into();
        Ok(Taken { hash, bytes: manifest.bytes(), md5, manifest: Some(manifest), kept })
    }

    fn keeps(&self) -> bool {
        self.reader.keep != Keep::Reference
    }

    /// Takes the files in; one for each, in the same order.
    fn files(&self, found: &[FoundFile]) -> Result<(Vec<TakenFile>, Kept)> {
        let cache = self.cache.as_ref().filter(|cache| is_worth(cache, found));
        let known = cache.map_or_else(HashMap::new, |cache| {
            cache.look_up(&found.iter().map(|file| file.stat.key(&self.host)).collect::<HashSet<Key>>())
        });
        let (mut files, mut kept) = (Vec::with_capacity(found.len()), Kept::default());
        for group in found.chunks(GROUP_FILES) {
            let batch = self.reader.store.filter(|_| self.keeps()).map(Batch::begin);
            let mut done = self.group(group, &known)?;
            done.sort_unstable_by_key(|done| done.index);
            let (mut pending, mut learned) = (Vec::new(), Vec::new());
            for done in done {
                kept.count(&done);
                files.push(done.file);
                pending.extend(done.pending.map(|(pending, _)| pending));
                learned.extend(done.learned);
            }
            if let Some(batch) = batch {
                batch.publish(pending)?;
            }
            if let Some(cache) = cache {
                cache.add(&learned);
            }
        }
        Ok((files, kept))
    }

    /// Takes a group in: large files one after the other on all threads, small ones at once.
    fn group(&self, group: &[FoundFile], known: &HashMap<Key, Known>) -> Result<Vec<Done>> {
        let threads = threads();
        let (mut done, mut small) = (Vec::with_capacity(group.len()), Vec::new());
        for (index, file) in group.iter().enumerate() {
            if file.stat.bytes >= PARALLEL_FROM {
                done.push(self.one(index, file, known, threads)?);
            } else {
                small.push((index, file));
            }
        }
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let (results, error) = (Mutex::new(Vec::new()), Mutex::new(None));
        on_threads(threads.min(small.len().div_ceil(FILES_PER_THREAD)), &|| {
            let mut mine = Vec::new();
            while let Some((index, file)) = small.get(next.fetch_add(1, Ordering::Relaxed)) {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                match self.one(*index, file, known, 1) {
                    Ok(one) => mine.push(one),
                    Err(first) => {
                        failed.store(true, Ordering::Relaxed);
                        error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(first);
                    }
                }
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
        });
        if let Some(error) = error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        done.append(&mut results.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(done)
    }

    fn one(&self, index: usize, found: &FoundFile, known: &HashMap<Key, Known>, threads: usize) -> Result<Done> {
        if let Some(known) = known.get(&found.stat.key(&self.host)).filter(|known| self.is_enough(found, known)) {
            let file = TakenFile { hash: known.blake3, md5: known.md5, bytes: found.stat.bytes };
            return Ok(Done { index, file, pending: None, learned: None, was_known: true });
        }
        let read = self.reader.read(&found.path, threads)?;
        let hashed = read.hashed;
        // Files that the kernel makes up have no length, and other content each time.
        let settled = read.stat.filter(|stat| stat.is_settled(self.now_nanos) && stat.bytes == hashed.bytes);
        let learned = settled.map(|stat| (stat.key(&self.host), Known { blake3: hashed.blake3, md5: hashed.md5 }));
        let file = TakenFile { hash: hashed.blake3, md5: hashed.md5, bytes: hashed.bytes };
        Ok(Done { index, file, pending: read.pending, learned, was_known: false })
    }

    /// Whether nothing but what is known is needed.
    fn is_enough(&self, found: &FoundFile, known: &Known) -> bool {
        if self.reader.hashes == Hashes::WithMd5 && known.md5.is_none() {
            return false;
        }
        // A network file system looks at the file anew when it is opened, and not each time it is asked.
        let is_as_seen =
            || open(&found.path).and_then(|file| file.metadata().map_err(Error::io("read the artifact", &found.path)));
        if self.is_remote && !is_as_seen().is_ok_and(|metadata| FileStat::of(&metadata) == found.stat) {
            return false;
        }
        self.reader.store.filter(|_| self.keeps()).is_none_or(|layout| is_there(layout, known.blake3, found.stat.bytes))
    }
}

/// Whether the files are so large that hashing them costs more than asking what is known.
fn is_worth(cache: &StatCache, found: &[FoundFile]) -> bool {
    let bytes = found.iter().fold(0_u64, |sum, file| sum.saturating_add(file.stat.bytes));
    bytes >= CACHE_FROM_BYTES.max(cache.bytes().saturating_mul(CACHE_WORTH))
}

impl Kept {
    fn count(&mut self, done: &Done) {
        if done.was_known {
            self.known += 1;
            return;
        }
        self.read += 1;
        self.bytes_read += done.file.bytes;
        match done.pending.as_ref().map(|(_, how)| how) {
            Some(How::Cloned) => self.cloned += 1,
            Some(How::Linked) => self.linked += 1,
            Some(How::Copied) => self.copied += 1,
            None => {}
        }
    }
}
