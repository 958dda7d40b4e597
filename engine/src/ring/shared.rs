//! What producer and sealer share, and the sealer's side of the protocol.

use crossbeam_utils::CachePadded;

use crate::ring::{Gate, GateState, SlotArray, SlotContent, next_gate, room};
use crate::sync::{Arc, AtomicU64, Ordering};

/// The slots of a ring and the positions that its two sides tell each other.
pub(crate) struct RingCore {
    pub slots: Arc<SlotArray>,
    pub gate: Arc<Gate>,
    /// Every lower index is in a segment, and its slot cleared: the producer may write up to `tail + capacity`.
    tail: CachePadded<AtomicU64>,
    /// Mixed into the check of each record.
    pub salt: u64,
    /// Records between two stops of the producer.
    stride: u64,
}

impl RingCore {
    /// A ring over empty slots whose producer is stopped `gates_per_lap` times a lap.
    pub(crate) fn new(slots: SlotArray, salt: u64, gates_per_lap: u64) -> Self {
        let stride = slots.capacity() / gates_per_lap;
        let gate = Arc::new(Gate::new(next_gate(0, 0, slots.capacity(), stride)));
        Self { slots: Arc::new(slots), gate, tail: CachePadded::new(AtomicU64::new(0)), salt, stride }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }

    /// Records for which a producer at `index` has room, once its gate is moved.
    pub(crate) fn room(&self, index: u64) -> u64 {
        room(index, self.tail(), self.capacity())
    }

    /// Closes the ring: the producer's next call is refused, while a call that is past its look at the gate is finished.
    pub(crate) fn close(&self, why: GateState) {
        self.gate.close(why);
    }

    /// The tail, for the producer: what lies below may be overwritten once this was read.
    fn tail(&self) -> u64 {
        // Acquire: pairs with the Release in `recycle`; the slots below were cleared before.
        self.tail.load(Ordering::Acquire)
    }

    /// Moves the gate for a producer at `index` that wants to write `records`. Called by the producer alone.
    pub(super) fn move_gate(&self, index: u64, records: u64) -> Result<(), NoRoom> {
        let tail = self.tail();
        if room(index, tail, self.capacity()) < records {
            return Err(NoRoom::Full);
        }
        let limit = next_gate(index, tail, self.capacity(), self.stride).max(index + records);
        self.gate.advance(limit).map_err(NoRoom::Closed)
    }

    /// First index from `from` on that holds no record yet. Called by the sealer alone, for `from` not below the tail.
    pub(crate) fn head_from(&self, from: u64) -> u64 {
        let end = self.end_of_lap();
        let mut head = from;
        while head < end && self.slots.is_written(head) {
            head += 1;
        }
        head
    }

    /// First index behind the last record, also where slots in between hold none: their memory was lost. Not below `from`.
    /// Called by the sealer alone.
    pub(crate) fn head_behind_holes(&self, from: u64) -> u64 {
        let end = self.end_of_lap();
        let last = (from..end).rev().find(|index| self.slots.is_written(*index));
        last.map_or(from, |index| index + 1)
    }

    /// First index that the producer cannot have written yet. Called by the sealer alone.
    pub(crate) fn end_of_lap(&self) -> u64 {
        // Relaxed: the sealer itself stores the tail.
        self.tail.load(Ordering::Relaxed) + self.capacity()
    }

    /// Reads the slot at `index`.
    pub(crate) fn read(&self, index: u64) -> SlotContent {
        self.slots.read(index, self.salt)
    }

    /// Clears the slots below `committed` and hands them back to the producer. Called by the sealer alone, after the rows
    /// below `committed` are in segments that the event log names.
    pub(crate) fn recycle(&self, committed: u64) {
        for index in self.tail.load(Ordering::Relaxed)..committed {
            // Clearing also makes the pages present and writable again after they were synced.
            self.slots.clear(index);
        }
        // Release: a producer that sees the new tail sees the slots below it cleared, and its own stores come after.
        self.tail.store(committed, Ordering::Release);
    }
}

/// Why a producer may not write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoRoom {
    /// The sealer has not handed back enough slots.
    Full,
    /// The ring is closed.
    Closed(GateState),
}
