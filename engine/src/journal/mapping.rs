//! The memory of a journal: what is stored to it is in the file.
//!
//! Invariants:
//!
//! 1. The region covers `len` bytes of a file that was reserved in full, so that storing to any page does not fail for want
//!    of space on most file systems; where a page fails all the same, memory takes its place (`signals/bus.rs`). The region
//!    stays where it is for as long as the mapping lives.
//! 2. Memory of the mapping is only reached through atomics, through `write` (whose callers own the range: the header
//!    and definitions are written by the one producer under `&mut`), or through slots (`ring/slot.rs`).
#![allow(unsafe_code)]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::storage::Region;

/// A shared, writable mapping of a whole file.
pub(crate) struct Mapping {
    region: Box<dyn Region>,
}

impl Mapping {
    pub(crate) fn new(region: Box<dyn Region>) -> Self {
        Self { region }
    }

    /// Pointer to `bytes` bytes at `offset`, checked against the mapping and `align`.
    pub(crate) fn pointer(&self, offset: usize, bytes: usize, align: usize) -> NonNull<u8> {
        self.check(offset, bytes);
        // SAFETY: the range was just checked to be inside the mapping.
        let pointer = unsafe { self.region.base().add(offset) };
        assert_eq!(pointer.addr().get() % align, 0);
        pointer
    }

    /// A counter in the header.
    pub(crate) fn counter(&self, offset: usize) -> &AtomicU64 {
        let pointer = self.pointer(offset, 8, 8);
        // SAFETY: INV-2: aligned, inside the mapping, and reached through atomics only; lives as long as `self`.
        unsafe { AtomicU64::from_ptr(pointer.as_ptr().cast()) }
    }

    /// Stores bytes. The caller owns the range (INV-2).
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        let target = self.pointer(offset, bytes.len(), 1);
        // SAFETY: the range is inside the mapping; INV-2: nobody else touches it now.
        unsafe { target.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// CRC-32C of a range whose slots are all written: nobody stores to it any more.
    pub(crate) fn crc(&self, offset: usize, bytes: usize) -> u32 {
        let start = self.pointer(offset, bytes, 1);
        // SAFETY: the range is inside the mapping; a sealed block is not written until it is recycled, which the
        // calling sealer itself does.
        crc32c::crc32c(unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes) })
    }

    /// Syncs a range to the device; rounds out to whole pages.
    pub(crate) fn sync(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.check(offset, bytes);
        if bytes == 0 { Ok(()) } else { self.region.sync(offset, bytes) }
    }

    /// Whether a page was lost, and what is stored to it does not reach the file.
    pub(crate) fn is_lost(&self) -> bool {
        self.region.is_lost()
    }

    /// Makes the pages of a range present and writable, so that storing to them takes no page fault. Best effort.
    pub(crate) fn populate(&self, offset: usize, bytes: usize) {
        self.check(offset, bytes);
        self.region.populate(offset, bytes);
    }

    fn check(&self, offset: usize, bytes: usize) {
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.region.len()));
    }
}

/// Makes the pages of a range of mapped memory present and writable. The caller has checked the range against the mapping
/// that starts at `base`.
pub(crate) fn populate(base: NonNull<u8>, offset: usize, bytes: usize) {
    #[cfg(target_os = "linux")]
    {
        let start = offset & !4095;
        // SAFETY: populating changes no content; the range is inside the mapping, which starts at a page.
        let _ = unsafe {
            rustix::mm::madvise(
                base.add(start).as_ptr().cast(),
                offset + bytes - start,
                rustix::mm::Advice::LinuxPopulateWrite,
            )
        };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (base, offset, bytes);
}
