//! What is damaged, and how: the cases of a campaign, in groups of one kind each.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::damage::samples::{INDEX_BITS, Key, METRICS, Row, SLOT_BYTES, Sample};

/// Bytes of a journal's header that describe all its records (docs/FORMAT.md).
pub const HEADER_FIXED: usize = 96;
/// Offset of the definitions in the journals of the samples, whose block table fits into one page.
pub const DEFINITIONS: usize = 8192;
/// Offset of the slots in the journals of the samples, whose definitions have one page.
pub const SLOTS: usize = 12288;
/// The end of a journal that is damaged byte by byte.
pub const TAIL_BYTES: usize = 64 << 10;

/// A change to one file.
#[derive(Clone, Debug)]
pub enum Change {
    /// The file ends here.
    Cut(usize),
    /// These bytes stand at this offset.
    Set(usize, Vec<u8>),
    /// The file has this content.
    Whole(Vec<u8>),
    /// Another file lies beside it: suffix and content.
    Beside(&'static str, Vec<u8>),
}

impl Change {
    /// Writes the file, damaged.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn apply(&self, path: &Path, sound: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Cut(length) => std::fs::write(path, &sound[..*length]),
            Self::Set(offset, bytes) => {
                let mut damaged = sound.to_vec();
                damaged[*offset..offset + bytes.len()].copy_from_slice(bytes);
                std::fs::write(path, damaged)
            }
            Self::Whole(bytes) => std::fs::write(path, bytes),
            Self::Beside(suffix, bytes) => {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                std::fs::write(name, bytes)
            }
        }
    }

    /// The bytes of the file that are not what they were.
    fn touched(&self, length: usize) -> Range<usize> {
        match self {
            Self::Cut(end) => *end..length,
            Self::Set(offset, bytes) => *offset..offset + bytes.len(),
            Self::Whole(_) => 0..length,
            Self::Beside(..) => 0..0,
        }
    }
}

/// What a file holds, which decides what damage to it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The journal of a ring.
    Journal(u32),
    /// A segment: its records.
    Segment,
    /// No record: an event log, the marker, an object.
    NoRecord,
    /// The index, which can be rebuilt.
    Catalog,
}

/// Which changes a stratum makes.
#[derive(Clone, Debug)]
pub enum Changes {
    /// Every length in the range.
    Cuts(Range<usize>),
    /// Every byte in the range, set to 0x00, to 0xFF, and with one bit flipped.
    Bytes(Range<usize>),
    /// These.
    List(Vec<Change>),
}

/// Cases of one kind: changes to one file of one sample.
#[derive(Clone, Debug)]
pub struct Stratum {
    /// Name, for the report.
    pub name: &'static str,
    /// The store.
    pub sample: Arc<Sample>,
    /// Number of the file.
    pub file: usize,
    /// What it holds.
    pub role: Role,
    /// The records of a segment.
    pub own: BTreeSet<Key>,
    /// What the sound store says of runs, and whether it has to go on saying it or tell of the damage.
    pub facts: String,
    /// Whether what is said of runs may not change without being told.
    pub facts_stay: bool,
    /// The file alone says that others were removed because their records are elsewhere. Where that is damaged, files that are
    /// named seem to be lost, and only the doctor may give them up.
    pub takes_doctor: bool,
    /// What is done to it.
    pub changes: Changes,
}

impl Stratum {
    /// Number of cases.
    pub fn cases(&self) -> u64 {
        match &self.changes {
            Changes::Cuts(lengths) => lengths.len() as u64,
            Changes::Bytes(offsets) => offsets.len() as u64 * 3,
            Changes::List(list) => list.len() as u64,
        }
    }

    /// The content of the file while it is sound.
    pub fn sound(&self) -> &[u8] {
        &self.sample.image.files[self.file].bytes
    }

    /// One case. A byte that has the value already gets its complement, so that each case is a damage.
    pub fn case(&self, number: u64) -> Change {
        match &self.changes {
            Changes::Cuts(lengths) => Change::Cut(lengths.start + number as usize),
            Changes::Bytes(offsets) => {
                let offset = offsets.start + number as usize / 3;
                let sound = self.sound()[offset];
                let value = match number % 3 {
                    0 => 0x00,
                    1 => 0xff,
                    _ => sound ^ (1 << (offset % 8)),
                };
                Change::Set(offset, vec![if value == sound { !sound } else { value }])
            }
            Changes::List(list) => list[number as usize].clone(),
        }
    }

    /// Whether the change may cost the record: whether it touched bytes that the record is made of.
    pub fn may_cost(&self, change: &Change, row: &Row) -> bool {
        let touched = change.touched(self.sound().len());
        match self.role {
            Role::Journal(ring) => self.is_in_journal(ring, &row.0) && self.is_touched(&touched, &row.0),
            Role::Segment => self.own.contains(&row.0),
            Role::NoRecord | Role::Catalog => false,
        }
    }

    fn is_in_journal(&self, ring: u32, key: &Key) -> bool {
        let index = key.2 as u64 & ((1 << INDEX_BITS) - 1);
        (key.2 >> INDEX_BITS) as u32 == ring && (ring > 0 || index >= self.sample.committed)
    }

    fn is_touched(&self, touched: &Range<usize>, key: &Key) -> bool {
        let meets = |part: Range<usize>| part.start < touched.end && touched.start < part.end;
        // The n-th definition defines number n: behind a damaged one, numbers mean nothing. Ring 1 of the sample defines the
        // first two metrics as well.
        let chain = DEFINITIONS..definition_of(key.1).end;
        let is_undefined = usize::from(key.1) >= 2 && meets(chain);
        let slot = (key.2 as u64 & ((1 << INDEX_BITS) - 1)) % self.sample.capacity;
        let slot = SLOTS + slot as usize * SLOT_BYTES;
        meets(0..HEADER_FIXED) || is_undefined || meets(slot..slot + SLOT_BYTES)
    }
}

/// Where the definition of a metric is.
fn definition_of(metric: u16) -> Range<usize> {
    let bytes = |(name, metric): &(&str, &str)| (8 + name.len() + metric.len()).next_multiple_of(8);
    let start: usize = DEFINITIONS + METRICS[..usize::from(metric)].iter().map(bytes).sum::<usize>();
    start..start + bytes(&METRICS[usize::from(metric)])
}
