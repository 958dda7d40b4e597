//! The two sides of a ring as the engine uses them, with a check at every step.

use crate::journal::Mapping;
use crate::ring::{GateState, NoRoom, Producer, Record, RingCore, SlotArray, SlotContent};
use crate::shadow::Shadow;
use crate::sync::Arc;

/// A ring and the plain words beside its slots.
#[derive(Clone)]
pub(crate) struct Ring {
    number: u32,
    pub core: Arc<RingCore>,
    shadow: Arc<Shadow>,
}

impl Ring {
    pub(crate) fn new(number: u32, capacity: u64, gates_per_lap: u64) -> Self {
        let slots = SlotArray::new(Arc::new(Mapping::new(capacity)), 0, capacity);
        let core = Arc::new(RingCore::new(slots, 0x5a17_0000 + u64::from(number), gates_per_lap));
        Self { number, core, shadow: Arc::new(Shadow::new(capacity)) }
    }

    /// The record that is logged at `index`; no field is 0.
    pub(crate) fn record(&self, index: u64) -> Record {
        let number = (u64::from(self.number) + 1) << 32 | (index + 1);
        Record { metric: self.number, time: number as i64, step: -(number as i64), value_bits: !number }
    }
}

/// A logger, as `writer/logger.rs` goes about it.
pub(crate) struct Logger {
    ring: Ring,
    producer: Producer,
}

impl Logger {
    /// The logger of a ring that holds `index` records so far.
    pub(crate) fn new(ring: &Ring, index: u64) -> Self {
        Self { ring: ring.clone(), producer: Producer::new(&ring.core, index) }
    }

    /// Records written so far, by this logger and those before it.
    pub(crate) fn index(&self) -> u64 {
        self.producer.index()
    }

    /// Logs one record.
    pub(crate) fn log(&mut self) -> Result<(), NoRoom> {
        if !self.producer.has_room() {
            self.prepare(1)?;
        }
        let index = self.producer.index();
        self.ring.shadow.claim(index);
        self.producer.write(&self.ring.record(index));
        Ok(())
    }

    /// Logs a row of records.
    pub(crate) fn log_row(&mut self, records: u64) -> Result<(), NoRoom> {
        if !self.producer.has_room_for(records) {
            self.prepare(records)?;
        }
        let (ring, index) = (&self.ring, self.producer.index());
        self.producer.write_all((index..index + records).map(|index| {
            ring.shadow.claim(index);
            ring.record(index)
        }));
        Ok(())
    }

    fn prepare(&self, records: u64) -> Result<(), NoRoom> {
        match self.producer.state() {
            GateState::Open => self.producer.make_room(records).map(drop),
            state => Err(NoRoom::Closed(state)),
        }
    }
}

/// The sealer's view of one ring, as `writer/sealing.rs` goes about it.
pub(crate) struct Sealer {
    ring: Ring,
    /// Records below are "in segments": each was found once, in order, as it was logged.
    pub committed: u64,
    handed_back: u64,
}

impl Sealer {
    pub(crate) fn new(ring: &Ring) -> Self {
        Self { ring: ring.clone(), committed: 0, handed_back: 0 }
    }

    /// Commits at most `most` records, and hands no slot back.
    pub(crate) fn commit(&mut self, most: u64) {
        let head = self.ring.core.head_from(self.committed);
        assert!(head <= self.handed_back + self.ring.core.capacity());
        // A full block is checksummed as plain memory, once its commit words were seen.
        (self.committed..head).for_each(|index| self.ring.shadow.look(index));
        for index in self.committed..head.min(self.committed.saturating_add(most)) {
            let expected = SlotContent::Valid(self.ring.record(index));
            assert_eq!(self.ring.core.read(index), expected, "record {index}, seen by its commit word");
            self.committed = index + 1;
        }
    }

    /// Hands the slots of committed records back.
    pub(crate) fn hand_back(&mut self) {
        (self.handed_back..self.committed).for_each(|index| self.ring.shadow.release(index));
        self.handed_back = self.committed;
        self.ring.core.recycle(self.committed);
    }

    /// Commits what is there and hands it back.
    pub(crate) fn look(&mut self) {
        self.commit(u64::MAX);
        self.hand_back();
    }
}
