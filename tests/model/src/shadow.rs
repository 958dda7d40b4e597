//! A plain word beside each slot, which belongs to whom the slot belongs.
//!
//! The slots are atomics, so no two accesses to them are a data race. The shadow makes the protocol's promise visible to
//! the checkers: the producer writes the word between its look at the gate and the commit word, the sealer reads it after
//! the commit word and resets it before it hands the slot back. Where the protocol does not order these, loom,
//! ThreadSanitizer and Miri see a race on the word, and all see a wrong value in it.
//!
//! Invariant: a word is accessed by the side alone that the protocol gives the slot to. That it holds is what is checked.
#![allow(unsafe_code)]

use crate::sync::UnsafeCell;

pub(crate) struct Shadow {
    words: Box<[UnsafeCell<u64>]>,
}

// SAFETY: the invariant above.
unsafe impl Send for Shadow {}
// SAFETY: as above.
unsafe impl Sync for Shadow {}

impl Shadow {
    pub(crate) fn new(slots: u64) -> Self {
        Self { words: (0..slots).map(|_| UnsafeCell::new(0)).collect() }
    }

    fn word(&self, index: u64) -> &UnsafeCell<u64> {
        &self.words[(index % self.words.len() as u64) as usize]
    }

    fn replace(&self, index: u64, value: u64) -> u64 {
        // SAFETY: the invariant of the file.
        self.word(index).with_mut(|word| unsafe { word.replace(value) })
    }

    /// The producer is about to write the slot of `index`.
    pub(crate) fn claim(&self, index: u64) {
        assert_eq!(self.replace(index, index + 1), 0, "slot of record {index} is written before it was handed back");
    }

    /// The sealer has found the record of `index`.
    pub(crate) fn look(&self, index: u64) {
        // SAFETY: the invariant of the file.
        let found = self.word(index).with(|word| unsafe { word.read() });
        assert_eq!(found, index + 1, "slot of record {index} holds another one");
    }

    /// The sealer is about to clear the slot of `index`.
    pub(crate) fn release(&self, index: u64) {
        assert_eq!(self.replace(index, 0), index + 1, "slot of record {index} is cleared while another uses it");
    }
}
