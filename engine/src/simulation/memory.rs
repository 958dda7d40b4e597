//! Memory in the place of a mapping.
//!
//! Invariant 1: the words are reached through atomics only, by the ring as by `bytes`.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of memory that stay where they are, aligned to 32 bytes as slots want it.
pub(super) struct Memory {
    blocks: Box<[Block]>,
    bytes: usize,
}

#[repr(C, align(4096))]
struct Block([AtomicU64; 512]);

impl Memory {
    /// `bytes` zeros.
    pub(super) fn new(bytes: usize) -> Self {
        let block = || Block(std::array::from_fn(|_| AtomicU64::new(0)));
        Self { blocks: (0..bytes.div_ceil(size_of::<Block>())).map(|_| block()).collect(), bytes }
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        NonNull::from(&*self.blocks).cast()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// `count` bytes from `from` on.
    pub(super) fn bytes(&self, from: usize, count: usize) -> Vec<u8> {
        let end = from + count;
        let (first, last) = (from / 8, end.div_ceil(8));
        let word = |index: usize| self.blocks[index / 512].0[index % 512].load(Ordering::Acquire);
        let mut bytes = Vec::with_capacity((last - first) * 8);
        for index in first..last {
            bytes.extend_from_slice(&word(index).to_le_bytes());
        }
        bytes[from - first * 8..end - first * 8].to_vec()
    }
}
