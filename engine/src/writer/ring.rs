//! One ring of a writer: the journal, and what producer and sealer share.

use std::sync::Arc;

use crate::journal::JournalFile;
use crate::ring::RingCore;

/// The producer is stopped this many times a lap, to wake the sealer.
const GATES_PER_LAP: u64 = 8;

/// A ring with its journal.
pub(crate) struct Ring {
    pub number: u32,
    pub journal: JournalFile,
    pub core: Arc<RingCore>,
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
        let core = Arc::new(RingCore::new(journal.slots(), journal.header().salt, GATES_PER_LAP));
        Self { number: journal.header().ring, journal, core }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.core.capacity()
    }
}
