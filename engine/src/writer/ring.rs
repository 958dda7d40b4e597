//! One ring of a writer: the journal, and what producer and sealer share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::journal::JournalFile;
use crate::ring::{GateState, RingCore};

/// The producer is stopped this many times a lap, to wake the sealer.
const GATES_PER_LAP: u64 = 8;

/// A producer that has not left its ring.
const NOT_LEFT: u64 = u64::MAX;

/// A ring with its journal.
pub(crate) struct Ring {
    pub number: u32,
    pub journal: JournalFile,
    pub core: Arc<RingCore>,
    /// The ring that takes its place, because its journal no longer keeps what is stored to it.
    successor: OnceLock<Arc<Ring>>,
    /// Records that its producer had written when it left for good.
    left_at: AtomicU64,
}

/// A ring and where its producer stands: what one logger leaves to the next.
pub(crate) struct RingPlace {
    pub ring: Arc<Ring>,
    /// Index of the next record.
    pub index: u64,
    /// Metrics defined in the journal.
    pub defined: u64,
}

impl RingPlace {
    /// The beginning of a ring.
    pub(crate) fn beginning(ring: Arc<Ring>) -> Self {
        Self { ring, index: 0, defined: 0 }
    }

    /// The place to go on from: in the ring that took this one's place, where one did.
    pub(crate) fn newest(self) -> Self {
        let Some(successor) = self.ring.successor() else { return self };
        self.ring.leave(self.index);
        Self::beginning(Arc::clone(successor)).newest()
    }
}

impl Ring {
    pub(crate) fn new(journal: JournalFile) -> Self {
        let core = Arc::new(RingCore::new(journal.slots(), journal.header().salt, GATES_PER_LAP));
        let left_at = AtomicU64::new(NOT_LEFT);
        Self { number: journal.header().ring, journal, core, successor: OnceLock::new(), left_at }
    }

    /// Sends the producer to another ring, at the next call that meets the gate.
    pub(crate) fn move_to(&self, successor: Arc<Self>) {
        // Before the gate is closed: who finds it closed for this reason finds the successor.
        if self.successor.set(successor).is_ok() {
            self.core.close(GateState::Moved);
        }
    }

    /// The ring that takes its place.
    pub(crate) fn successor(&self) -> Option<&Arc<Self>> {
        self.successor.get()
    }

    /// Says that no record follows those below `index`.
    pub(crate) fn leave(&self, index: u64) {
        // Release: who knows the end sees the records.
        self.left_at.store(index, Ordering::Release);
    }

    /// Index behind its last record, once its producer has left for good.
    pub(crate) fn end(&self) -> Option<u64> {
        Some(self.left_at.load(Ordering::Acquire)).filter(|index| *index != NOT_LEFT)
    }

    /// Whether no record follows, and all are on the device, or were told as lost.
    pub(crate) fn is_settled(&self) -> bool {
        self.end().is_some_and(|end| self.journal.synced().load(Ordering::Acquire) >= end)
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.core.capacity()
    }
}
