//! Moving files: a bounded number at once, each once, hashed on the way.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use stepwell_engine::ContentHash;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use crate::backend::{Backend, Chunks, Mode, Put};
use crate::dir::Root;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::report::{Progress, Report};
use crate::retry::{SILENCE_MAX, retry};
use crate::source::Source;

/// Most files that move at once.
pub(crate) const JOBS_MAX: usize = 256;

/// What kind of file moves; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    Segment,
    Object,
    Part,
}

/// Counts of what was moved.
#[derive(Default)]
struct Counts {
    segments: AtomicU64,
    objects: AtomicU64,
    parts: AtomicU64,
    bytes: AtomicU64,
    present: AtomicU64,
    writers_done: AtomicU64,
    writers: AtomicU64,
}

/// All transfers of one push or pull.
pub(crate) struct Transfers<'a> {
    pub backend: Arc<dyn Backend>,
    permits: Semaphore,
    /// Files that several writers need move once.
    once: Mutex<HashMap<Key, Arc<OnceCell<()>>>>,
    counts: Counts,
    progress: &'a (dyn Fn(Progress) + Sync),
    pub is_dry: bool,
}

/// What a file is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub hash: ContentHash,
    pub bytes: u64,
}

impl<'a> Transfers<'a> {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        jobs: usize,
        is_dry: bool,
        progress: &'a (dyn Fn(Progress) + Sync),
    ) -> Self {
        let permits = Semaphore::new(jobs.clamp(1, JOBS_MAX));
        Self { backend, permits, once: Mutex::default(), counts: Counts::default(), progress, is_dry }
    }

    /// Sends a file unless the remote has it.
    pub(crate) async fn upload(&self, thing: Thing, key: &Key, source: &Source) -> Result<()> {
        let cell = self.cell(key);
        let work = async || {
            let _permit = self.permits.acquire().await;
            let moved = retry(async |_| self.send(key, source).await).await?;
            self.count(thing, moved, source.len());
            Ok(())
        };
        cell.get_or_try_init(work).await.copied()
    }

    /// Asks before it sends, also before it sends again: a request that seemed to fail may have succeeded.
    async fn send(&self, key: &Key, source: &Source) -> Result<bool> {
        let mode = match self.backend.size(key).await? {
            Some(bytes) if bytes == source.len() => return Ok(false),
            // Left by a remote that does not write whole files. The name says what it must hold, and here that is.
            Some(_) => Mode::Overwrite,
            None => Mode::IfAbsent,
        };
        if self.is_dry {
            return Ok(true);
        }
        Ok(self.backend.put(key, source, mode).await? == Put::Created)
    }

    /// Fetches a file into the store unless it is there.
    pub(crate) async fn download(
        &self,
        thing: Thing,
        key: &Key,
        root: &Root,
        name: &str,
        expected: Expected,
    ) -> Result<()> {
        let cell = self.cell(key);
        let work = async || {
            let _permit = self.permits.acquire().await;
            if root.size(name)? == Some(expected.bytes) {
                self.count(thing, false, 0);
                return Ok(());
            }
            if !self.is_dry {
                retry(async |_| self.receive(key, root, name, expected).await).await?;
            }
            self.count(thing, true, expected.bytes);
            Ok(())
        };
        cell.get_or_try_init(work).await.copied()
    }

    async fn receive(&self, key: &Key, root: &Root, name: &str, expected: Expected) -> Result<()> {
        let chunks = self.backend.get(key).await?.ok_or_else(|| Error::Missing { key: key.to_string() })?;
        let mut temp = root.create(name)?;
        let path = root.path().join(name);
        let mut write = |chunk: &Bytes| temp.file.write_all(chunk).map_err(Error::io("write", &path));
        check(key, chunks, expected.bytes, true, expected.hash, &mut write).await?;
        tokio::task::block_in_place(|| temp.publish(true))?;
        Ok(())
    }

    /// Reads a small file of at most `bytes_max` bytes whose hash is known.
    pub(crate) async fn fetch(&self, key: &Key, bytes_max: u64, hash: ContentHash) -> Result<Bytes> {
        let _permit = self.permits.acquire().await;
        retry(async |_| {
            let chunks = self.backend.get(key).await?.ok_or_else(|| Error::Missing { key: key.to_string() })?;
            let mut content = Vec::new();
            let mut keep = |chunk: &Bytes| {
                content.extend_from_slice(chunk);
                Ok(())
            };
            check(key, chunks, bytes_max, false, hash, &mut keep).await?;
            self.count(Thing::Part, true, content.len() as u64);
            Ok(content.into())
        })
        .await
    }

    fn cell(&self, key: &Key) -> Arc<OnceCell<()>> {
        self.once.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone()
    }

    fn count(&self, thing: Thing, moved: bool, bytes: u64) {
        let counts = &self.counts;
        let counter = match thing {
            _ if !moved => &counts.present,
            Thing::Segment => &counts.segments,
            Thing::Object => &counts.objects,
            Thing::Part => &counts.parts,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if moved {
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.tell();
    }

    pub(crate) fn begin_writers(&self, writers: u64) {
        self.counts.writers.store(writers, Ordering::Relaxed);
        self.tell();
    }

    pub(crate) fn end_writer(&self) {
        self.counts.writers_done.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { writers_done, writers, bytes, .. } = &self.counts;
        (self.progress)(Progress { writers_done: read(writers_done), writers: read(writers), bytes: read(bytes) });
    }

    pub(crate) fn report(&self) -> Report {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counts { segments, objects, parts, bytes, present, .. } = &self.counts;
        Report {
            segments: read(segments),
            objects: read(objects),
            parts: read(parts),
            bytes: read(bytes),
            present: read(present),
            ..Report::default()
        }
    }
}

/// Passes chunks on while it hashes and counts them. Of a body that does not end, no more than `bytes` are read.
async fn check(
    key: &Key,
    mut chunks: Chunks,
    bytes: u64,
    is_exact: bool,
    hash: ContentHash,
    pass: &mut (dyn FnMut(&Bytes) -> Result<()> + Send),
) -> Result<()> {
    let (mut hasher, mut seen) = (blake3::Hasher::new(), 0);
    loop {
        let chunk = match timeout(SILENCE_MAX, chunks.next()).await {
            Ok(Some(chunk)) => chunk?,
            Ok(None) => break,
            Err(_) => return Err(Error::unreachable(format!("read {key}"), "the remote stopped sending")),
        };
        seen += chunk.len() as u64;
        if seen > bytes {
            return Err(Error::corrupt(key, format!("it is longer than the {bytes} bytes it can have")));
        }
        hasher.update(&chunk);
        pass(&chunk)?;
    }
    if is_exact && seen < bytes {
        // Most likely the connection broke; asked again, the rest may come.
        return Err(Error::unreachable(format!("read {key}"), format!("it ended after {seen} of {bytes} bytes")));
    }
    let actual = ContentHash::from(hasher.finalize());
    if actual != hash {
        return Err(Error::corrupt(key, format!("its BLAKE3 is {actual}, and should be {hash}")));
    }
    Ok(())
}

/// Reads a small file that has no hash in its name; `None` when it is not there.
pub(crate) async fn read_small(backend: &dyn Backend, key: &Key, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    retry(async |_| {
        let Some(mut chunks) = backend.get(key).await? else { return Ok(None) };
        let mut content = Vec::new();
        while let Ok(Some(chunk)) = timeout(SILENCE_MAX, chunks.next()).await {
            content.extend_from_slice(&chunk?);
            if content.len() > bytes_max {
                return Err(Error::corrupt(key, format!("it is longer than the {bytes_max} bytes it can have")));
            }
        }
        Ok(Some(content))
    })
    .await
}
