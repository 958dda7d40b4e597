//! A file is never trusted: a segment's length and BLAKE3 are compared with what was registered before it is read.
//!
//! A process reads each file whole once for that. A file whose length and time of change are still the same is not
//! hashed again by the same process, and the footers of verified files are kept, so that repeated queries are cheap.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use stepwell_engine::batch::segment_schema;
use stepwell_engine::packs::{PackContents, PackFile, list};
use stepwell_engine::{ContentHash, RunId, SegmentInfo};

use crate::error::{DamagedSegment, SegmentFault};
use crate::per_process::PerProcess;

/// Files remembered as verified; beyond it the memory is started anew. About 200 bytes each.
const VERIFIED_FILES_MAX: usize = 200_000;
/// Bytes of footers that are kept; beyond it the memory is started anew.
const FOOTER_BYTES_MAX: usize = 128 << 20;

/// Packs whose contents are kept; beyond it the memory is started anew.
const PACKS_MAX: usize = 256;

/// What to do with a segment whose file is missing or is not what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagedPolicy {
    /// The query has no answer; the error names the file.
    #[default]
    Refuse,
    /// The query is answered from the other segments; a warning names each file that was left out.
    Skip,
}

/// What identifies the bytes of a file.
#[derive(Clone, Debug)]
pub(crate) struct RegisteredFile {
    path: PathBuf,
    bytes: u64,
    blake3: ContentHash,
    rows: u64,
}

/// A segment's file.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) file: RegisteredFile,
    run: RunId,
}

impl SegmentFile {
    pub(crate) fn new(segment: &SegmentInfo) -> Self {
        let file = RegisteredFile {
            path: segment.path.clone(),
            bytes: segment.bytes,
            blake3: segment.blake3,
            // As the event log counts them, metric by metric.
            rows: segment.metrics.iter().map(|metric| metric.count).sum(),
        };
        Self { file, run: segment.run_id }
    }

    pub(crate) fn damaged(&self, fault: SegmentFault) -> DamagedSegment {
        DamagedSegment { path: self.file.path.clone(), run: self.run, fault }
    }
}

impl RegisteredFile {
    /// A pack, whose length is what it is now: its hash says the rest.
    pub(crate) fn of_pack(pack: &PackFile) -> io::Result<Self> {
        let bytes = std::fs::metadata(&pack.path)?.len();
        Ok(Self { path: pack.path.clone(), bytes, blake3: pack.blake3, rows: pack.rows })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file when this process has compared it before, which takes no more than a look at its length and times;
    /// `None` when it has to be read for that.
    pub(crate) fn open_verified(&self) -> Option<OpenSegment> {
        let file = File::open(&self.path).ok()?;
        let stamp = self.stamp(&file.metadata().ok()?);
        let footer = {
            let memory = lock(&SHARED.get().memory);
            memory.has_verified(&self.path, stamp.as_ref()).then(|| memory.footers.get(&self.blake3).cloned())??
        };
        let is_whole = rows_of(footer.metadata()) == self.rows;
        is_whole.then(|| OpenSegment { file: Arc::new(file), footer, hashed_bytes: 0 })
    }

    /// Whether this process has compared the file before, and its length and times are still the same.
    pub(crate) fn is_verified(&self) -> bool {
        let stamp = std::fs::metadata(&self.path).ok().and_then(|metadata| self.stamp(&metadata));
        lock(&SHARED.get().memory).has_verified(&self.path, stamp.as_ref())
    }

    /// Tells a state of the file from another; `None` of one that is not as registered, and where the file system keeps no
    /// time of change: every query hashes anew there.
    fn stamp(&self, metadata: &Metadata) -> Option<Stamp> {
        let modified = metadata.modified().ok()?;
        (metadata.len() == self.bytes).then_some(Stamp { modified, blake3: self.blake3 })
    }

    /// Opens the file after comparing it with what was registered. Blocks for as long as reading it takes once.
    pub(crate) fn open_blocking(&self) -> Result<OpenSegment, SegmentFault> {
        let mut file = File::open(&self.path).map_err(|error| cannot_open(&error))?;
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if metadata.len() != self.bytes {
            return Err(SegmentFault::WrongSize { expected: self.bytes, actual: metadata.len() });
        }
        let stamp = self.stamp(&metadata);
        // A scan reads a large file in several parts at once: one of them hashes, the others wait for it.
        let turn = lock(&SHARED.get().turns[self.turn()]);
        let known = lock(&SHARED.get().memory).has_verified(&self.path, stamp.as_ref());
        if !known {
            self.verify(&mut file)?;
            if let Some(stamp) = stamp {
                lock(&SHARED.get().memory).remember_file(self.path.clone(), stamp);
            }
        }
        drop(turn);
        let hashed_bytes = if known { 0 } else { self.bytes };
        let footer = self.footer(&file)?;
        match rows_of(footer.metadata()) {
            rows if rows == self.rows => Ok(OpenSegment { footer, file: Arc::new(file), hashed_bytes }),
            rows => Err(SegmentFault::WrongRows { expected: self.rows, actual: rows }),
        }
    }

    fn turn(&self) -> usize {
        usize::from(self.blake3.as_bytes()[0]) % SHARED.get().turns.len()
    }

    fn verify(&self, file: &mut File) -> Result<(), SegmentFault> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file).map_err(|error| unreadable(&error))?;
        let actual = ContentHash::from(hasher.finalize());
        if actual == self.blake3 {
            Ok(())
        } else {
            Err(SegmentFault::WrongHash { expected: self.blake3.to_string(), actual: actual.to_string() })
        }
    }

    fn footer(&self, file: &File) -> Result<ArrowReaderMetadata, SegmentFault> {
        if let Some(footer) = lock(&SHARED.get().memory).footers.get(&self.blake3) {
            return Ok(footer.clone());
        }
        let not_parquet = |error: parquet::errors::ParquetError| SegmentFault::NotParquet { fault: error.to_string() };
        let footer = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(file)
            .map_err(not_parquet)?;
        stepwell_engine::segment::check_format(&footer, &self.path).map_err(|_| SegmentFault::NewerFormat)?;
        let options = ArrowReaderOptions::new().with_schema(segment_schema());
        let footer = ArrowReaderMetadata::try_new(Arc::new(footer), options).map_err(not_parquet)?;
        lock(&SHARED.get().memory).remember_footer(self.blake3, footer.clone());
        Ok(footer)
    }
}

/// A segment whose bytes are those registered.
pub(crate) struct OpenSegment {
    /// The file that was hashed: reading goes on in it, so that nothing can be put in its place.
    pub(crate) file: Arc<File>,
    /// Its footer, with page indexes.
    pub(crate) footer: ArrowReaderMetadata,
    /// Bytes hashed now; 0 when this process had verified the file before.
    pub(crate) hashed_bytes: u64,
}

/// Rows of a segment, by its footer.
pub(crate) fn rows_of(footer: &ParquetMetaData) -> u64 {
    u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default()
}

/// A file that is gone is told apart: others may have taken its place.
fn cannot_open(error: &io::Error) -> SegmentFault {
    if error.kind() == io::ErrorKind::NotFound { SegmentFault::Missing } else { unreadable(error) }
}

fn unreadable(error: &io::Error) -> SegmentFault {
    SegmentFault::Unreadable { fault: error.to_string() }
}

/// What this process knows about files it verified.
#[derive(Default)]
struct Memory {
    verified: HashMap<PathBuf, Stamp>,
    footers: HashMap<ContentHash, ArrowReaderMetadata>,
    footer_bytes: usize,
    /// What packs have.
    packs: HashMap<ContentHash, Arc<PackContents>>,
}

#[derive(PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    blake3: ContentHash,
}

/// What the queries of a process share.
static SHARED: PerProcess<Shared> = PerProcess::new();

struct Shared {
    memory: Mutex<Memory>,
    /// What the last count found in packs.
    packed: Mutex<PackedRows>,
    /// Locks held while a file is hashed, shared out by hash.
    turns: [Mutex<()>; 64],
}

impl Default for Shared {
    fn default() -> Self {
        Self { memory: Mutex::default(), packed: Mutex::default(), turns: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Memory {
    /// Whether the file was compared with its hash in this state.
    fn has_verified(&self, path: &Path, stamp: Option<&Stamp>) -> bool {
        stamp.is_some() && self.verified.get(path) == stamp
    }

    fn remember_file(&mut self, path: PathBuf, stamp: Stamp) {
        if self.verified.len() >= VERIFIED_FILES_MAX {
            self.verified.clear();
        }
        self.verified.insert(path, stamp);
    }

    fn remember_footer(&mut self, blake3: ContentHash, footer: ArrowReaderMetadata) {
        let bytes = footer.metadata().memory_size();
        if self.footer_bytes + bytes > FOOTER_BYTES_MAX {
            self.footers.clear();
            self.footer_bytes = 0;
        }
        if self.footers.insert(blake3, footer).is_none() {
            self.footer_bytes += bytes;
        }
    }
}

/// The maps stay whole when a thread panics between two of their operations, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A pack that was compared with its hash.
#[derive(Clone, Debug)]
pub(crate) struct OpenPack {
    pub(crate) file: RegisteredFile,
    pub(crate) contents: Arc<PackContents>,
}

impl OpenPack {
    /// Opens a pack. Blocks for as long as reading it takes once.
    pub(crate) fn open_blocking(pack: &PackFile) -> Result<Self, SegmentFault> {
        let file = RegisteredFile::of_pack(pack).map_err(|error| cannot_open(&error))?;
        let open = file.open_blocking()?;
        if let Some(contents) = lock(&SHARED.get().memory).packs.get(&pack.blake3) {
            return Ok(Self { file, contents: Arc::clone(contents) });
        }
        let contents = PackContents::of(open.footer.metadata(), &pack.path);
        let contents = Arc::new(contents.map_err(|error| SegmentFault::NotParquet { fault: error.to_string() })?);
        let packs = &mut lock(&SHARED.get().memory).packs;
        if packs.len() >= PACKS_MAX {
            packs.clear();
        }
        packs.insert(pack.blake3, Arc::clone(&contents));
        Ok(Self { file, contents })
    }
}

/// Segments whose rows are in packs that this process has compared with their hashes, and that are as they were then.
#[derive(Clone, Debug, Default)]
pub(crate) struct PackedRows {
    /// The packs, in the order of their listing.
    packs: Vec<ContentHash>,
    /// Rows by the BLAKE3 of their segment.
    rows: Arc<HashMap<ContentHash, u64>>,
}

impl PackedRows {
    /// Those of the packs of the store at `root` that need not be read to be trusted.
    pub(crate) fn verified(root: &Path) -> Self {
        let is_verified =
            |pack: &PackFile| RegisteredFile::of_pack(pack).is_ok_and(|registered| registered.is_verified());
        let packs: Vec<ContentHash> =
            list(root).unwrap_or_default().iter().filter(|pack| is_verified(pack)).map(|pack| pack.blake3).collect();
        let known = lock(&SHARED.get().packed).clone();
        if known.packs == packs {
            return known;
        }
        let contents: Vec<Arc<PackContents>> = {
            let memory = lock(&SHARED.get().memory);
            packs.iter().filter_map(|pack| memory.packs.get(pack).cloned()).collect()
        };
        let rows_of = |contents: &Arc<PackContents>| {
            contents.segments().map(|segment| (segment, contents.rows_of_segment(segment))).collect::<Vec<_>>()
        };
        let packed = Self { rows: Arc::new(contents.iter().flat_map(rows_of).collect()), packs };
        if contents.len() == packed.packs.len() {
            lock(&SHARED.get().packed).clone_from(&packed);
        }
        packed
    }

    /// Whether all rows of a segment are in one of them.
    pub(crate) fn has_all(&self, segment: &SegmentInfo) -> bool {
        self.rows.get(&segment.blake3) == Some(&segment.rows)
    }
}

/// What one query met in the segments it opened.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) policy: DamagedPolicy,
    damaged: Mutex<Vec<DamagedSegment>>,
    /// Packs that could not be used, and why.
    packs: Mutex<BTreeMap<PathBuf, String>>,
}

impl Guard {
    pub(crate) fn new(policy: DamagedPolicy) -> Self {
        Self { policy, damaged: Mutex::default(), packs: Mutex::default() }
    }

    /// Notes a damaged segment once, however many parts of the query met it.
    pub(crate) fn note(&self, segment: &DamagedSegment) {
        let mut damaged = lock(&self.damaged);
        if !damaged.contains(segment) {
            damaged.push(segment.clone());
        }
    }

    /// Notes a pack that cannot be used. Its rows are in segments, so that the answer is the same.
    pub(crate) fn note_pack(&self, path: &Path, fault: &SegmentFault) {
        lock(&self.packs).insert(path.to_owned(), fault.to_string());
    }

    /// The packs that could not be used, and why, ordered by path.
    pub(crate) fn packs(&self) -> Vec<(PathBuf, String)> {
        lock(&self.packs).clone().into_iter().collect()
    }

    /// The damaged segments met, ordered by path.
    pub(crate) fn damaged(&self) -> Vec<DamagedSegment> {
        let mut damaged = lock(&self.damaged).clone();
        damaged.sort_by(|a, b| a.path.cmp(&b.path));
        damaged
    }
}
