//! The ranges of memory that the SIGBUS handler knows: a fixed table that is read without a lock.
//!
//! Invariants:
//!
//! 1. A range is in the table from after it was mapped until before it is unmapped. Whoever faults in a range keeps its
//!    mapping alive by using it, so an entry that holds the faulting address stays, and with it its `Pages`.
//! 2. An entry is changed by one thread at a time, the one inside `without_forks`, and read under an even version that is the
//!    same before and after.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::fork::without_forks;

/// Most mappings that are guarded at a time: one per logger.
const MAPPINGS_MAX: usize = 1024;

static TABLE: Table<MAPPINGS_MAX> = Table::new();

/// All ranges.
struct Table<const N: usize>([Entry; N]);

/// One range; a start of 0 says that the entry is free.
struct Entry {
    version: AtomicU32,
    start: AtomicUsize,
    bytes: AtomicUsize,
    pages: AtomicPtr<Pages>,
}

/// What became of the pages of one mapping.
pub(super) struct Pages {
    pub start: usize,
    pub page_bytes: usize,
    /// Held by a handler at work; nobody else takes it.
    pub busy: AtomicBool,
    /// A bit for each page that memory took the place of.
    replaced: Box<[AtomicU64]>,
    /// A page is being replaced, or was.
    pub lost: AtomicBool,
}

impl Pages {
    pub(super) fn new(start: usize, bytes: usize, page_bytes: usize) -> Self {
        let words = bytes.div_ceil(page_bytes).div_ceil(64);
        let replaced = (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { start, page_bytes, busy: AtomicBool::new(false), replaced, lost: AtomicBool::new(false) }
    }

    fn bit(&self, page: usize) -> (&AtomicU64, u64) {
        let number = (page - self.start) / self.page_bytes;
        (&self.replaced[number / 64], 1 << (number % 64))
    }

    /// Whether the page that starts at `page` was replaced.
    pub(super) fn is_replaced(&self, page: usize) -> bool {
        let (word, bit) = self.bit(page);
        word.load(Ordering::Acquire) & bit != 0
    }

    /// Says that it was.
    pub(super) fn set_replaced(&self, page: usize) {
        let (word, bit) = self.bit(page);
        word.fetch_or(bit, Ordering::AcqRel);
    }
}

impl Entry {
    const fn new() -> Self {
        Self {
            version: AtomicU32::new(0),
            start: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            pages: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Changes the entry; by one thread at a time.
    fn set(&self, start: usize, bytes: usize, pages: *mut Pages) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // Nothing of what follows is seen before the odd version.
        fence(Ordering::Release);
        self.start.store(start, Ordering::Release);
        self.bytes.store(bytes, Ordering::Release);
        self.pages.store(pages, Ordering::Release);
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// The pages of this range, if `address` is in it.
    fn holding(&self, address: usize) -> Option<*mut Pages> {
        let version = self.version.load(Ordering::Acquire);
        let (start, bytes) = (self.start.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire));
        let pages = self.pages.load(Ordering::Acquire);
        fence(Ordering::Acquire);
        let is_whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (is_whole && start != 0 && address.checked_sub(start).is_some_and(|offset| offset < bytes)).then_some(pages)
    }
}

impl<const N: usize> Table<N> {
    const fn new() -> Self {
        Self([const { Entry::new() }; N])
    }

    fn insert(&self, start: usize, bytes: usize, pages: *mut Pages) -> Option<usize> {
        without_forks(|| {
            let place = self.0.iter().position(|entry| entry.start.load(Ordering::Relaxed) == 0)?;
            self.0[place].set(start, bytes, pages);
            Some(place)
        })
    }

    fn remove(&self, place: usize) {
        without_forks(|| self.0[place].set(0, 0, ptr::null_mut()));
    }

    fn find(&self, address: usize) -> Option<*mut Pages> {
        self.0.iter().find_map(|entry| entry.holding(address))
    }
}

/// Enters a range, whose `pages` live until [`remove`]; its place, or `None` when the table is full.
pub(super) fn insert(start: usize, bytes: usize, pages: *mut Pages) -> Option<usize> {
    TABLE.insert(start, bytes, pages)
}

/// Takes a range out.
pub(super) fn remove(place: usize) {
    TABLE.remove(place);
}

/// The pages of the mapping that holds `address`. Async-signal-safe: a few thousand loads.
pub(super) fn find(address: usize) -> Option<&'static Pages> {
    let pages = TABLE.find(address)?;
    // SAFETY: INV-1: the caller is the handler of a fault at `address`, or alone in its process; INV-2: the pointer belongs
    // to the range.
    unsafe { pages.as_ref() }
}

/// In a forked child: lets go what handlers of other threads, which exist in the parent alone, held at the fork.
pub(super) fn release_all() {
    for entry in &TABLE.0 {
        let start = entry.start.load(Ordering::Relaxed);
        if let Some(pages) = (start != 0).then(|| find(start)).flatten() {
            pages.busy.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_takes_no_more_and_finds_each_range() {
        let table = Table::<4>::new();
        let mut pages: Vec<_> = (0..4).map(|n| Pages::new(n * 100 + 100, 50, 10)).collect();
        let pages: Vec<_> = pages.iter_mut().map(ptr::from_mut).collect();
        let places: Vec<_> = (0..4).map(|n| table.insert(n * 100 + 100, 50, pages[n]).expect("room")).collect();
        assert_eq!(table.insert(900, 50, pages[0]), None);
        for (start, pages) in [100, 200, 300, 400].into_iter().zip(&pages) {
            assert_eq!(table.find(start), Some(*pages));
            assert_eq!(table.find(start + 49), Some(*pages));
            assert_eq!(table.find(start + 50), None);
        }
        table.remove(places[2]);
        assert_eq!(table.find(300), None);
        assert_eq!(table.insert(900, 50, pages[2]), Some(places[2]), "the place is used again");
        assert_eq!(table.find(920), Some(pages[2]));
    }
}
