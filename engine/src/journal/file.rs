//! A journal being written: creation, definitions, sealing of blocks, syncing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::fail_point;
use crate::journal::definitions;
use crate::journal::header::{
    BLOCK_ENTRY_BYTES, BLOCK_SLOTS, COPY_OFFSET, DROPS_OFFSET, Geometry, Header, SYNCED_OFFSET, WAITS_OFFSET,
};
use crate::journal::mapping::Mapping;
use crate::layout::TEMP_PREFIX;
use crate::ring::{RECORD_BYTES, Slot, SlotArray};
use crate::storage::{Storage, StorageFile, remove_file};

// The file's records are the ring's slots.
const _: () = assert!(size_of::<Slot>() == RECORD_BYTES && align_of::<Slot>() == RECORD_BYTES);

/// The journal of one ring, mapped.
pub(crate) struct JournalFile {
    header: Header,
    path: PathBuf,
    mapping: Arc<Mapping>,
    // The descriptor stays open from before the first store, so that an error of the kernel's writeback reaches us.
    file: Box<dyn StorageFile>,
    /// Bytes of definitions written; the producer moves it.
    definitions_used: AtomicU64,
}

impl JournalFile {
    /// Creates the journal at `path`: reserved in full, header written, and only then given its name.
    pub(crate) fn create(storage: &dyn Storage, path: &Path, header: Header) -> Result<Self> {
        let temp = path.with_file_name(format!("{TEMP_PREFIX}{}", header.ring));
        fail_point::reach("journal.create.begin");
        let file = storage.create_new(&temp).map_err(Error::io("create the journal", path))?;
        let mapped = file.map(header.geometry.file_bytes()).map_err(Error::io("reserve and map the journal", path));
        let mapping = mapped.and_then(|region| {
            let mapping = Mapping::new(region);
            mapping.write(0, &header.encode());
            mapping.write(COPY_OFFSET, &header.encode());
            fail_point::reach("journal.create.written");
            // A link, unlike a rename, never takes the place of a journal that is there.
            storage.link(&temp, path).map_err(Error::io("create the journal", path))?;
            Ok(mapping)
        });
        let _ = remove_file(storage, &temp);
        let mapping = mapping?;
        fail_point::reach("journal.create.end");
        Ok(Self {
            path: path.to_owned(),
            mapping: Arc::new(mapping),
            file,
            definitions_used: AtomicU64::new(0),
            header,
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn slots(&self) -> SlotArray {
        SlotArray::new(Arc::clone(&self.mapping), self.geometry().slots_offset(), self.geometry().capacity)
    }

    /// Calls that waited for room. In the file, so that the count survives the process.
    pub(crate) fn waits(&self) -> &AtomicU64 {
        self.mapping.counter(WAITS_OFFSET)
    }

    /// Records dropped because the ring was full. In the file, so that the count survives the process.
    pub(crate) fn drops(&self) -> &AtomicU64 {
        self.mapping.counter(DROPS_OFFSET)
    }

    /// First index that is not known to be on the device.
    pub(crate) fn synced(&self) -> &AtomicU64 {
        self.mapping.counter(SYNCED_OFFSET)
    }

    /// Appends a definition; `false` when there is no room left. Only the producer calls it.
    pub(crate) fn define(&self, metrics_name: &str, metric: &str) -> bool {
        let bytes = definitions::encode(metrics_name, metric);
        let used = self.definitions_used.load(Ordering::Relaxed);
        // Eight zero bytes must remain behind the last definition.
        if used + bytes.len() as u64 + 8 > self.geometry().definitions_bytes {
            return false;
        }
        fail_point::reach("journal.define.begin");
        self.mapping.write(self.geometry().definitions_offset() + used as usize, &bytes);
        self.definitions_used.store(used + bytes.len() as u64, Ordering::Release);
        fail_point::reach("journal.define.end");
        true
    }

    /// Byte range in the file of `count` slots from `index` on, which must not wrap.
    fn slot_range(&self, index: u64, count: u64) -> (usize, usize) {
        let first = index % self.geometry().capacity;
        (self.geometry().slots_offset() + first as usize * RECORD_BYTES, count as usize * RECORD_BYTES)
    }

    /// Calls `visit` with the one or two parts of the index range that do not wrap around the end of the ring.
    fn for_parts<E>(&self, from: u64, to: u64, mut visit: impl FnMut(u64, u64) -> Result<(), E>) -> Result<(), E> {
        let mut from = from;
        while from < to {
            let until_wrap = self.geometry().capacity - from % self.geometry().capacity;
            let count = until_wrap.min(to - from);
            visit(from, count)?;
            from += count;
        }
        Ok(())
    }

    /// Makes the pages of `count` slots from `index` on present and writable.
    pub(crate) fn populate(&self, index: u64, count: u64) {
        let _ = self.for_parts(index, index + count, |index, count| {
            let (offset, bytes) = self.slot_range(index, count);
            self.mapping.populate(offset, bytes);
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Writes the block table's entry of a full block: its checksum covers all its slots.
    pub(crate) fn seal_block(&self, first_index: u64) {
        fail_point::reach("seal.begin");
        let (offset, bytes) = self.slot_range(first_index, BLOCK_SLOTS);
        let crc = self.mapping.crc(offset, bytes);
        let mut entry = [0; BLOCK_ENTRY_BYTES];
        entry[..8].copy_from_slice(&first_index.to_le_bytes());
        entry[8..12].copy_from_slice(&crc.to_le_bytes());
        entry[12..].copy_from_slice(&(BLOCK_SLOTS as u32).to_le_bytes());
        let block = first_index / BLOCK_SLOTS % self.geometry().blocks();
        self.mapping.write(self.geometry().table_offset() + block as usize * BLOCK_ENTRY_BYTES, &entry);
        fail_point::reach("seal.end");
    }

    /// Syncs what describes the slots, then the slots from `from` to `to`, to the device. The caller says with
    /// [`JournalFile::synced`] that they are safe once all that is needed to read them is.
    pub(crate) fn sync(&self, from: u64, to: u64) -> io::Result<()> {
        let used = self.definitions_used.load(Ordering::Acquire) as usize;
        self.mapping.sync(0, self.geometry().definitions_offset() + used)?;
        self.for_parts(from, to, |index, count| {
            let (offset, bytes) = self.slot_range(index, count);
            self.mapping.sync(offset, bytes)
        })
    }

    /// Whether somebody deleted the file: what is stored to it goes with the process then.
    pub(crate) fn is_deleted(&self) -> bool {
        self.file.links().is_ok_and(|links| links == 0)
    }

    /// Whether pages were lost: what is stored to them goes with the process, and what was stored may be gone.
    pub(crate) fn is_lost(&self) -> bool {
        self.mapping.is_lost()
    }

    /// Whether somebody cut the file off. No page need have been missed yet.
    pub(crate) fn is_cut(&self) -> bool {
        self.file.len().is_ok_and(|bytes| bytes < self.geometry().file_bytes())
    }

    /// Removes the file; its rows are in segments.
    pub(crate) fn remove(&self, storage: &dyn Storage) -> Result<()> {
        remove_file(storage, &self.path)
    }
}
