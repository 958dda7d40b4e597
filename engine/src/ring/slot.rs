//! One record in the ring: 32 bytes, the commit word stored last.
//!
//! ```text
//! offset  bytes  field
//!      0      8  commit word: metric number + 1 in the low 32 bits, check in the high 32 bits; 0 while empty
//!      8      8  time, nanoseconds since the Unix epoch
//!     16      8  step
//!     24      8  value, the bits of an f64
//! ```
//!
//! Invariants of this file, the only one beside `journal/mapping.rs` with unsafe code on mapped memory:
//!
//! 1. A `SlotArray` points at `len` slots, a power of two, inside a mapping that its `Arc` keeps alive; the pointer is
//!    aligned to 32 bytes.
//! 2. Slots are only touched through atomics; `Mapping::crc` alone reads those of a full block as bytes, while nobody
//!    stores to them. (Other processes read the file by system calls and check every slot.)
#![allow(unsafe_code)]

use std::ptr::NonNull;

use crate::journal::Mapping;
use crate::sync::{Arc, AtomicU64, Ordering};

/// Records between the one written and the one whose memory is asked for: far enough for a miss to be over by then.
const EXPECTED_AHEAD: u64 = 32;
/// Size of a slot.
pub(crate) const RECORD_BYTES: usize = 32;

/// One slot of the ring.
#[derive(Default)]
#[repr(C, align(32))]
pub(crate) struct Slot {
    commit: AtomicU64,
    time: AtomicU64,
    step: AtomicU64,
    value: AtomicU64,
}

/// A record as found in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Number of the metric in this journal's definitions.
    pub metric: u32,
    /// Nanoseconds since the Unix epoch.
    pub time: i64,
    /// The caller's step.
    pub step: i64,
    /// Bits of the value.
    pub value_bits: u64,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotContent {
    /// All zero: never written in this lap.
    Empty,
    /// Payload without commit word: the call had not returned.
    Pending,
    /// A record whose check fits its position.
    Valid(Record),
    /// A commit word that fits neither payload nor position: of another lap, torn by a power cut, or damaged.
    Mismatch,
}

impl Record {
    /// The commit word of this record at `index` of the ring with `salt`.
    ///
    /// The check is a multiply-mix of all fields with the position, so that a slot of an earlier lap, of another file's
    /// old blocks, or one whose 512-byte sectors are of two generations does not pass: 1 in 2^32 of such slots would.
    /// It guards against tearing, not against an adversary; files carry BLAKE3 for that.
    ///
    /// The position is spread over all bits first. As it is, it would cancel out against times that rise as it does: a slot half
    /// overwritten, with the time of this lap and all else of the one before, would pass.
    #[inline(always)]
    fn commit_word(&self, index: u64, salt: u64) -> u64 {
        const A: u64 = 0x9e37_79b9_7f4a_7c15;
        const B: u64 = 0xc2b2_ae3d_27d4_eb4f;
        let id = u64::from(self.metric) + 1;
        let left = (self.time as u64 ^ salt.wrapping_add(index.wrapping_mul(B))).wrapping_mul(A);
        let right = (self.value_bits ^ (self.step as u64).rotate_left(32) ^ id).wrapping_mul(B);
        let mixed = (left ^ right.rotate_left(29)).wrapping_mul(A);
        (mixed & 0xffff_ffff_0000_0000) | id
    }

    /// Reads the 32 bytes of a slot at `index`.
    pub(crate) fn read(words: [u64; 4], index: u64, salt: u64) -> SlotContent {
        let [commit, time, step, value_bits] = words;
        if commit == 0 {
            return if time | step | value_bits == 0 { SlotContent::Empty } else { SlotContent::Pending };
        }
        let id = commit as u32;
        if id == 0 {
            return SlotContent::Mismatch;
        }
        let record = Self { metric: id - 1, time: time as i64, step: step as i64, value_bits };
        if record.commit_word(index, salt) == commit { SlotContent::Valid(record) } else { SlotContent::Mismatch }
    }
}

/// The slots of one ring.
pub(crate) struct SlotArray {
    slots: NonNull<Slot>,
    mask: u64,
    _mapping: Arc<Mapping>,
}

// SAFETY: INV-2: slots are atomics; the mapping lives as long as the array (INV-1).
unsafe impl Send for SlotArray {}
// SAFETY: as above.
unsafe impl Sync for SlotArray {}

impl SlotArray {
    /// The `len` slots that begin `offset` bytes into the mapping.
    pub(crate) fn new(mapping: Arc<Mapping>, offset: usize, len: u64) -> Self {
        assert!(len.is_power_of_two());
        let start = mapping.pointer(offset, len as usize * size_of::<Slot>(), align_of::<Slot>());
        Self { slots: start.cast(), mask: len - 1, _mapping: mapping }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.mask + 1
    }

    #[inline(always)]
    fn slot(&self, index: u64) -> &Slot {
        // SAFETY: INV-1: the masked index is below `len`, so the pointer is inside the mapping and aligned; INV-2.
        unsafe { self.slots.add((index & self.mask) as usize).as_ref() }
    }

    /// Writes a record. The producer calls it, for indices between `tail` and `tail + capacity` only.
    #[inline(always)]
    pub(crate) fn write(&self, index: u64, salt: u64, record: &Record) {
        let slot = self.slot(index);
        slot.time.store(record.time as u64, Ordering::Relaxed);
        slot.step.store(record.step as u64, Ordering::Relaxed);
        slot.value.store(record.value_bits, Ordering::Relaxed);
        // Release: whoever sees the commit word sees the payload. This store is the moment the record exists.
        slot.commit.store(record.commit_word(index, salt), Ordering::Release);
        self.expect(index + EXPECTED_AHEAD);
    }

    /// Tells the processor that the slot at `index` will be written: its cache line was last touched by the sealer on another
    /// core, and at each new page the address has to be translated anew, which takes 100 ns and more in a virtual machine.
    #[inline(always)]
    fn expect(&self, index: u64) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            // SAFETY: a prefetch reads nothing and cannot fault; the pointer is inside the mapping all the same (INV-1).
            unsafe { _mm_prefetch::<_MM_HINT_ET0>(std::ptr::from_ref(self.slot(index)).cast()) };
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = index;
    }

    /// Whether the slot at `index` has been written in this lap.
    pub(crate) fn is_written(&self, index: u64) -> bool {
        self.slot(index).commit.load(Ordering::Acquire) != 0
    }

    /// Reads the slot at `index`.
    pub(crate) fn read(&self, index: u64, salt: u64) -> SlotContent {
        let slot = self.slot(index);
        let commit = slot.commit.load(Ordering::Acquire);
        if commit == 0 {
            // The payload may be half written; the record does not exist yet.
            return SlotContent::Empty;
        }
        let word = |field: &AtomicU64| field.load(Ordering::Relaxed);
        Record::read([commit, word(&slot.time), word(&slot.step), word(&slot.value)], index, salt)
    }

    /// Empties the slot at `index`. The sealer calls it, for indices that are in segments and not below the tail.
    ///
    /// The commit word goes first: a process killed half-way leaves a slot without a record, not one that looks damaged.
    #[inline(always)]
    pub(crate) fn clear(&self, index: u64) {
        let slot = self.slot(index);
        slot.commit.store(0, Ordering::Relaxed);
        // Release: none of them before the commit word. On x86-64 it is the same instruction as Relaxed.
        slot.time.store(0, Ordering::Release);
        slot.step.store(0, Ordering::Release);
        slot.value.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(record: &Record, index: u64, salt: u64) -> [u64; 4] {
        [record.commit_word(index, salt), record.time as u64, record.step as u64, record.value_bits]
    }

    #[test]
    fn a_slot_is_valid_at_its_own_index_only() {
        let record = Record { metric: 0, time: 1_795_403_358_728_123_456, step: -3, value_bits: f64::NAN.to_bits() };
        let slot = words(&record, 77, 5);
        assert_eq!(Record::read(slot, 77, 5), SlotContent::Valid(record));
        for (index, salt) in [(78, 5), (77 + 1024, 5), (77, 6)] {
            assert_eq!(Record::read(slot, index, salt), SlotContent::Mismatch);
        }
        assert_eq!(Record::read([0; 4], 77, 5), SlotContent::Empty);
        assert_eq!(Record::read([0, 1, 0, 0], 77, 5), SlotContent::Pending);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let record = Record { metric: 41, time: 1_795_403_358_728_123_456, step: 12, value_bits: 0.25_f64.to_bits() };
        let slot = words(&record, 9, 1);
        for word in 0..4 {
            for bit in 0..64 {
                let mut damaged = slot;
                damaged[word] ^= 1 << bit;
                assert_eq!(Record::read(damaged, 9, 1), SlotContent::Mismatch, "word {word} bit {bit}");
            }
        }
    }

    #[test]
    fn a_slot_cleared_in_part_holds_no_record() {
        let record = Record { metric: 1, time: 1_000, step: 5, value_bits: 1.0_f64.to_bits() };
        for cleared in 1..=4 {
            // In the order of `clear`.
            let left = std::array::from_fn(|word| if word < cleared { 0 } else { words(&record, 3, 9)[word] });
            let empty = if cleared == 4 { SlotContent::Empty } else { SlotContent::Pending };
            assert_eq!(Record::read(left, 3, 9), empty, "{cleared} words cleared");
        }
    }

    // A reader was given the time of one record with the step and the value of the one a lap before: the check held time and
    // position by an XOR, in which times that rise as positions do cancel out. (Found by loom.)
    #[test]
    fn torn_mixes_of_laps_whose_times_rise_as_positions_do_are_noticed() {
        for (index, lap) in [(0, 2), (5, 64), (1, 1 << 20), (12_345, 1 << 20)] {
            let record =
                |at: u64| Record { metric: 0, time: (1 << 32) + at as i64, step: -(at as i64), value_bits: !at };
            let (old, new) = (words(&record(index), index, 7), words(&record(index + lap), index + lap, 7));
            for mix in 1..15_u32 {
                let torn: [u64; 4] =
                    std::array::from_fn(|word| if mix >> word & 1 == 1 { new[word] } else { old[word] });
                let read = Record::read(torn, index + lap, 7);
                assert!(!matches!(read, SlotContent::Valid(_)), "index {index}, lap {lap}, mix {mix:04b}");
            }
        }
    }

    #[test]
    fn torn_mixes_of_two_laps_are_noticed() {
        let old = Record { metric: 1, time: 1_000, step: 5, value_bits: 1.0_f64.to_bits() };
        let new = Record { metric: 1, time: 2_000, step: 6, value_bits: 2.0_f64.to_bits() };
        let (old, new) = (words(&old, 3, 9), words(&new, 3 + 64, 9));
        for mix in 1..15_u32 {
            let torn: [u64; 4] = std::array::from_fn(|word| if mix >> word & 1 == 1 { new[word] } else { old[word] });
            assert!(!matches!(Record::read(torn, 3 + 64, 9), SlotContent::Valid(_)), "mix {mix:04b}");
        }
    }
}
