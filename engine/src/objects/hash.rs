//! BLAKE3 of a file, on several threads where it is large; MD5 in the same pass where it is asked for.
//!
//! Files are read by system calls and not through a mapping: a mapped file that somebody truncates ends the process by
//! SIGBUS, and the guard of `signals/` stands in for pages that are stored to, which here would go into the hash as zeros.
//! What makes it fast is not the mapping but the threads: each hashes whole subtrees of BLAKE3's tree (O'Connor and others,
//! "BLAKE3: one function, fast everywhere", 2020, section 2.1), and the subtrees are merged at the end.
//! The threads live as long as the call: a pool would not be there any more in a forked child.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use md5::{Digest, Md5};

use crate::ids::ContentHash;

/// Bytes of one subtree: a power of two, as BLAKE3's tree wants it.
pub(super) const BLOCK_BYTES: usize = 1 << 20;
const _: () = assert!(BLOCK_BYTES.is_power_of_two() && BLOCK_BYTES >= blake3::CHUNK_LEN);
/// Size from which a file is worth more than one thread.
pub(super) const PARALLEL_FROM: u64 = 16 << 20;
/// Most threads that hash at once.
const THREADS_MAX: usize = 16;

/// Which hashes are computed, in one pass over the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hashes {
    /// BLAKE3: the identity of content in a store.
    #[default]
    Blake3,
    /// BLAKE3, and MD5 in DVC's manner. MD5 cannot be computed on several threads: a large file takes several times as long.
    WithMd5,
}

/// Hashes of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hashed {
    pub blake3: ContentHash,
    pub md5: Option<[u8; 16]>,
    pub bytes: u64,
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// How many threads the machine has for hashing.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX))
}

/// Hashes a file of which `bytes` are known to be there, and copies it to `copy` on the way. Its length is what was read.
pub(super) fn hash_file(
    source: &File,
    copy: Option<&File>,
    bytes: u64,
    hashes: Hashes,
    threads: usize,
) -> Result<Hashed, CopyError> {
    if bytes >= PARALLEL_FROM && threads > 1 && hashes == Hashes::Blake3 {
        return hash_blocks(source, copy, bytes, threads);
    }
    let mut hasher = Hasher::new(hashes);
    let mut buffer = vec![0; usize::try_from(bytes).unwrap_or(BLOCK_BYTES).saturating_add(1).clamp(4096, BLOCK_BYTES)];
    loop {
        let offset = hasher.bytes;
        let read = read_once(source, &mut buffer, offset).map_err(CopyError::Read)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        if let Some(copy) = copy {
            copy.write_all_at(&buffer[..read], offset).map_err(CopyError::Write)?;
        }
    }
}

fn read_once(source: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match source.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Both hashes of a stream of bytes.
pub(super) struct Hasher {
    blake3: blake3::Hasher,
    md5: Option<Md5>,
    pub bytes: u64,
}

impl Hasher {
    pub fn new(hashes: Hashes) -> Self {
        let md5 = (hashes == Hashes::WithMd5).then(Md5::new);
        Self { blake3: blake3::Hasher::new(), md5, bytes: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        self.bytes += bytes.len() as u64;
    }

    pub fn finish(self) -> Hashed {
        let md5 = self.md5.map(|md5| md5.finalize().into());
        Hashed { blake3: self.blake3.finalize().into(), md5, bytes: self.bytes }
    }
}

/// Hashes of what a reader gives.
pub(super) fn hash_reader(mut source: impl Read) -> io::Result<Hashed> {
    let mut hasher = Hasher::new(Hashes::Blake3);
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Work that several threads share: the next block to take, and whether one of them failed.
struct Blocks<'a> {
    source: &'a File,
    copy: Option<&'a File>,
    bytes: u64,
    next: AtomicU64,
    failed: AtomicBool,
    done: Mutex<Vec<(u64, ChainingValue)>>,
    error: Mutex<Option<CopyError>>,
}

fn hash_blocks(source: &File, copy: Option<&File>, bytes: u64, threads: usize) -> Result<Hashed, CopyError> {
    let blocks = Blocks {
        source,
        copy,
        bytes,
        next: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        done: Mutex::default(),
        error: Mutex::default(),
    };
    on_threads(threads, &|| blocks.work());
    if let Some(error) = blocks.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut done = blocks.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(block, _)| *block);
    let values: Vec<_> = done.into_iter().map(|(_, value)| value).collect();
    let (left, right) = values.split_at(left_of(values.len()));
    let blake3 = merge_subtrees_root(&merge(left), &merge(right), Mode::Hash).into();
    Ok(Hashed { blake3, md5: None, bytes })
}

impl Blocks<'_> {
    fn work(&self) {
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut mine = Vec::new();
        while !self.failed.load(Ordering::Relaxed) {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            let offset = block * BLOCK_BYTES as u64;
            if offset >= self.bytes {
                break;
            }
            let length = usize::try_from(self.bytes - offset).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            match self.hash_block(offset, &mut buffer[..length]) {
                Ok(value) => mine.push((block, value)),
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
    }

    fn hash_block(&self, offset: u64, buffer: &mut [u8]) -> Result<ChainingValue, CopyError> {
        // A file that became shorter meanwhile ends early: an error here, where a mapping would have been a signal.
        self.source.read_exact_at(buffer, offset).map_err(CopyError::Read)?;
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset).update(buffer);
        if let Some(copy) = self.copy {
            copy.write_all_at(buffer, offset).map_err(CopyError::Write)?;
        }
        Ok(hasher.finalize_non_root())
    }
}

/// How many of `blocks`, at least two, belong to the left half of the tree: the largest power of two below their number.
fn left_of(blocks: usize) -> usize {
    1 << (usize::BITS - 1 - (blocks - 1).leading_zeros())
}

fn merge(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [value] => *value,
        values => {
            let (left, right) = values.split_at(left_of(values.len()));
            merge_subtrees_non_root(&merge(left), &merge(right), Mode::Hash)
        }
    }
}

/// Runs `work` on the calling thread and `threads - 1` others, and waits for all. Threads that cannot be had are done without.
pub(super) fn on_threads(threads: usize, work: &(dyn Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 1..threads {
            let spawned = std::thread::Builder::new().name("stepwell-hash".to_owned()).spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("file");
        file.write_all(bytes).expect("written");
        file
    }

    fn pattern(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|index| (index.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
    }

    #[test]
    fn several_threads_give_the_hash_that_one_gives_at_every_length() {
        let whole = pattern(9 * BLOCK_BYTES + 1);
        for blocks in 2..=9 {
            for bytes in [blocks * BLOCK_BYTES - 1, blocks * BLOCK_BYTES, blocks * BLOCK_BYTES + 1] {
                let file = file_of(&whole[..bytes]);
                let copy = tempfile::tempfile().expect("copy");
                let hashed = hash_blocks(&file, Some(&copy), bytes as u64, 3).expect("hashed");
                assert_eq!(hashed.blake3, blake3::hash(&whole[..bytes]).into(), "{bytes} bytes");
                let mut back = vec![0; bytes];
                copy.read_exact_at(&mut back, 0).expect("copied");
                assert!(back == whole[..bytes], "{bytes} bytes were copied wrong");
            }
        }
    }

    #[test]
    fn both_hashes_come_from_one_pass() {
        for bytes in [0, 1, 1024, BLOCK_BYTES + 3] {
            let content = pattern(bytes);
            let hashed = hash_file(&file_of(&content), None, bytes as u64, Hashes::WithMd5, 2).expect("hashed");
            assert_eq!(hashed.blake3, blake3::hash(&content).into());
            assert_eq!(hashed.md5, Some(Md5::digest(&content).into()));
            assert_eq!(hashed.bytes, bytes as u64);
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_and_no_signal() {
        let file = file_of(&pattern(3 * BLOCK_BYTES));
        let failed = hash_blocks(&file, None, 5 * BLOCK_BYTES as u64, 2);
        assert!(matches!(failed, Err(CopyError::Read(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
    }
}
