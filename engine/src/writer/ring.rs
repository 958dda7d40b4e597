//! One ring of a writer: the journal, and the two positions that producer and sealer share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use crate::fail_point;
use crate::journal::JournalFile;
use crate::ring::{Gate, SlotArray, next_gate};

/// The producer is stopped this many times a lap, to wake the sealer.
const GATES_PER_LAP: u64 = 8;

/// A ring with its journal.
pub(crate) struct Ring {
    pub number: u32,
    pub journal: JournalFile,
    pub slots: Arc<SlotArray>,
    pub gate: Arc<Gate>,
    /// Every lower index is in a segment, and its slot cleared: the producer may write up to `tail + capacity`.
    tail: CachePadded<AtomicU64>,
}

/// A ring and where its producer stands: what one logger leaves to the next.
pub(crate) struct RingPlace {
    pub ring: Arc<Ring>,
    /// Index of the next record.
    pub index: u64,
    /// Metrics defined in the journal.
    pub defined: u64,
}

impl Ring {
    pub(crate) fn new(journal: JournalFile) -> Self {
        let slots = Arc::new(journal.slots());
        let stride = slots.capacity() / GATES_PER_LAP;
        let gate = Arc::new(Gate::new(next_gate(0, 0, slots.capacity(), stride)));
        Self { number: journal.header().ring, journal, slots, gate, tail: CachePadded::new(AtomicU64::new(0)) }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    pub(crate) fn salt(&self) -> u64 {
        self.journal.header().salt
    }

    /// Records between two stops of the producer.
    pub(crate) fn stride(&self) -> u64 {
        self.capacity() / GATES_PER_LAP
    }

    /// The tail, for the producer: what lies below may be overwritten once this was read.
    pub(crate) fn tail(&self) -> u64 {
        // Acquire: pairs with the Release in `recycle`; the slots below were cleared before.
        self.tail.load(Ordering::Acquire)
    }

    /// Clears the slots below `committed` and hands them back to the producer. Only the sealer calls it, after the rows
    /// below `committed` are in segments that the event log names.
    pub(crate) fn recycle(&self, committed: u64) {
        fail_point::reach("recycle.begin");
        let mut from = self.tail.load(Ordering::Relaxed);
        while from < committed {
            let until_wrap = self.capacity() - from % self.capacity();
            let count = until_wrap.min(committed - from);
            // Clearing also makes the pages present and writable again after they were synced.
            self.slots.clear(from, count);
            from += count;
            fail_point::reach("recycle.middle");
        }
        self.tail.store(committed, Ordering::Release);
        fail_point::reach("recycle.end");
    }

    /// First index from `from` on that holds no record yet.
    pub(crate) fn head_from(&self, from: u64) -> u64 {
        let end = self.tail.load(Ordering::Relaxed) + self.capacity();
        let mut head = from;
        while head < end && self.slots.is_written(head) {
            head += 1;
        }
        head
    }
}
