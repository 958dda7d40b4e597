//! The producer's side of the protocol.

use crate::ring::{Gate, GateState, NoRoom, Record, RingCore, SlotArray};
use crate::sync::Arc;

/// The one producer of a ring: writes records, each after a look at the gate.
///
/// `slots`, `gate` and `salt` are those of `core`: the log call reaches them without a step in between.
pub(crate) struct Producer {
    /// Index of the next record.
    index: u64,
    slots: Arc<SlotArray>,
    gate: Arc<Gate>,
    salt: u64,
    core: Arc<RingCore>,
}

impl Producer {
    /// The producer of a ring that holds `index` records so far. The one before it is gone.
    pub(crate) fn new(core: &Arc<RingCore>, index: u64) -> Self {
        Self {
            index,
            slots: Arc::clone(&core.slots),
            gate: Arc::clone(&core.gate),
            salt: core.salt,
            core: Arc::clone(core),
        }
    }

    /// Index of the next record.
    #[inline(always)]
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// Whether one record may be written.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.index < self.gate.limit()
    }

    /// Whether `records` may be written.
    #[inline(always)]
    pub(crate) fn has_room_for(&self, records: u64) -> bool {
        self.index + records <= self.gate.limit()
    }

    /// Whether the ring is closed, and why.
    pub(crate) fn state(&self) -> GateState {
        self.gate.state()
    }

    /// Makes `records` writable; `true` when the gate had to be moved for it.
    pub(crate) fn make_room(&self, records: u64) -> Result<bool, NoRoom> {
        if self.has_room_for(records) {
            return Ok(false);
        }
        self.core.move_gate(self.index, records)?;
        Ok(true)
    }

    /// Writes a record; there is room for it.
    #[inline(always)]
    pub(crate) fn write(&mut self, record: &Record) {
        self.slots.write(self.index, self.salt, record);
        self.index += 1;
    }

    /// Writes records; there is room for all of them. The position is kept in a register: the stores in between could
    /// alias the field.
    #[inline(always)]
    pub(crate) fn write_all(&mut self, records: impl Iterator<Item = Record>) {
        let (slots, salt, mut index) = (&*self.slots, self.salt, self.index);
        for record in records {
            slots.write(index, salt, &record);
            index += 1;
        }
        self.index = index;
    }
}
