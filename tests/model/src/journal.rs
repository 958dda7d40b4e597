//! Plain memory in the place of the mapped file.
//!
//! Invariant: `slots` came from a box and goes back into one when the mapping is dropped; in between it is only reached
//! through shared references.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::ring::Slot;

/// The slots of one ring.
pub(crate) struct Mapping {
    slots: NonNull<[Slot]>,
}

// SAFETY: slots are atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(slots: u64) -> Self {
        let slots: Box<[Slot]> = (0..slots).map(|_| Slot::default()).collect();
        Self { slots: NonNull::from(Box::leak(slots)) }
    }

    /// As the engine's, for the range of all slots.
    pub(crate) fn pointer(&self, offset: usize, bytes: usize, align: usize) -> NonNull<u8> {
        assert_eq!((offset, bytes, align), (0, self.slots.len() * size_of::<Slot>(), align_of::<Slot>()));
        self.slots.cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and whoever used the pointer holds an `Arc` of the mapping.
        drop(unsafe { Box::from_raw(self.slots.as_ptr()) });
    }
}
