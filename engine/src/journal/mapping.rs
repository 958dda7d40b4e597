//! The only place that maps a file.
//!
//! Invariants:
//!
//! 1. `map` covers `len` bytes of a file that was reserved in full (`fallocate`), so that storing to any page cannot
//!    fail for want of space.
//! 2. Memory of the mapping is only reached through atomics, through `write` (whose callers own the range: the header
//!    and definitions are written by the one producer under `&mut`), or through slots (`ring/slot.rs`).
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

use crate::error::{Error, Result};

/// A shared, writable mapping of a whole file.
pub(crate) struct Mapping {
    map: MmapRaw,
}

impl Mapping {
    /// Reserves `bytes` for an empty file and maps them.
    pub(crate) fn create(file: &File, path: &Path, bytes: u64) -> Result<Self> {
        reserve(file, bytes).map_err(Error::io("reserve room for the journal", path))?;
        let map = MmapOptions::new().len(bytes as usize).map_raw(file).map_err(Error::io("map the journal", path))?;
        Ok(Self { map })
    }

    /// Pointer to `bytes` bytes at `offset`, checked against the mapping and `align`.
    pub(crate) fn pointer(&self, offset: usize, bytes: usize, align: usize) -> NonNull<u8> {
        self.check(offset, bytes);
        // SAFETY: the range was just checked to be inside the mapping.
        let pointer = unsafe { self.map.as_mut_ptr().add(offset) };
        assert_eq!(pointer.addr() % align, 0);
        NonNull::new(pointer).unwrap_or_else(|| unreachable!("a mapping does not start at address 0"))
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
        if bytes == 0 { Ok(()) } else { self.map.flush_range(offset, bytes) }
    }

    /// Makes the pages of a range present and writable, so that storing to them takes no page fault. Best effort.
    pub(crate) fn populate(&self, offset: usize, bytes: usize) {
        self.check(offset, bytes);
        #[cfg(target_os = "linux")]
        {
            let start = offset & !4095;
            // SAFETY: populating changes no content; the range is inside the mapping, which starts at a page.
            let _ = unsafe {
                rustix::mm::madvise(
                    self.map.as_mut_ptr().add(start).cast(),
                    offset + bytes - start,
                    rustix::mm::Advice::LinuxPopulateWrite,
                )
            };
        }
    }

    fn check(&self, offset: usize, bytes: usize) {
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= self.map.len()));
    }
}

/// Reserves room so that later stores cannot meet a full disk; writes zeros where the file system cannot reserve.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    let zeros = vec![0_u8; 1 << 16];
    let mut left = bytes;
    let mut writer = file;
    while left > 0 {
        let chunk = left.min(zeros.len() as u64);
        io::Write::write_all(&mut writer, &zeros[..chunk as usize])?;
        left -= chunk;
    }
    Ok(())
}
