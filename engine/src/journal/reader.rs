//! Reading a journal without mapping it: by recovery, and by queries while its writer is alive. Never writes.
//!
//! System calls read the page cache that the writer's mapping shares, so a record is visible the moment its call
//! returned; a file truncated under the reader is an error here, where a mapping would be a signal.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::events::WriterStarted;
use crate::journal::definitions::{self, Definition};
use crate::journal::header::{
    BLOCK_ENTRY_BYTES, BLOCK_SLOTS, DROPS_OFFSET, HEADER_BYTES, Header, SYNCED_OFFSET, WAITS_OFFSET, u32_at, u64_at,
};
use crate::layout::{Layout, journal_in};
use crate::ring::{RECORD_BYTES, Record, SlotContent};
use crate::storage::{Storage, StorageFile, read_up_to};

/// Laps that are looked back to tell a stale slot from a damaged one.
const OLDER_LAPS_MAX: u64 = 1024;
/// Slots read with one system call.
const CHUNK_SLOTS: u64 = 8192;

/// A journal opened for reading.
pub(crate) struct JournalImage {
    pub header: Header,
    pub definitions: Vec<Definition>,
    /// Records dropped because the ring was full.
    pub drops: u64,
    /// Calls that waited for room.
    pub waits: u64,
    /// First index that is not known to be on the device.
    pub synced: u64,
    path: PathBuf,
    file_bytes: u64,
    file: Box<dyn StorageFile>,
}

/// Records found by a scan, and what was not a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Index and record, by rising index.
    pub records: Vec<(u64, Record)>,
    /// Slots with a commit word that does not fit them.
    pub damaged: u64,
    /// Empty slots in front of the last record: pages that a power cut lost.
    pub missing: u64,
    /// Slots that the file is too short for: it was cut off. They may have held records.
    pub cut_off: u64,
    /// First index behind the last record.
    pub end: u64,
}

impl JournalImage {
    /// Opens the journal of a ring and reads its header and definitions. `Ok(None)` when the file is gone.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NewerFormat`]; [`Error::Damaged`], also when the file is a copy of another ring's journal.
    pub(crate) fn open_ring(layout: &Layout, started: &WriterStarted, ring: u32) -> Result<Option<Self>> {
        let WriterStarted { run_id: run, writer, .. } = *started;
        let path = journal_in(&started.journal_folder(layout), ring);
        let image = Self::open(layout.storage(), &path)?;
        if image
            .as_ref()
            .is_some_and(|image| (image.header.run, image.header.writer, image.header.ring) != (run, writer, ring))
        {
            return Err(Error::Damaged { path, fault: "it is the journal of another writer or ring".to_owned() });
        }
        Ok(image)
    }

    fn open(storage: &dyn Storage, path: &Path) -> Result<Option<Self>> {
        let file = match storage.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open the journal", path)(error)),
        };
        let file_bytes = file.len().map_err(Error::io("open the journal", path))?;
        let mut page = vec![0; HEADER_BYTES];
        let read = read_up_to(&*file, &mut page, 0).map_err(Error::io("read the journal", path))?;
        let header = Header::decode_page(&page[..read], path)?;
        let mut image = Self {
            definitions: Vec::new(),
            drops: u64_at(&page, DROPS_OFFSET),
            waits: u64_at(&page, WAITS_OFFSET),
            synced: u64_at(&page, SYNCED_OFFSET),
            path: path.to_owned(),
            file_bytes,
            file,
            header,
        };
        image.read_definitions()?;
        Ok(Some(image))
    }

    /// Reads the definitions (again): the writer may have added some since.
    pub(crate) fn read_definitions(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        let total = self.header.geometry.definitions_bytes as usize;
        // Definitions are few; reading stops at the first chunk that ends in zeros.
        let mut chunk = 16 << 10;
        while bytes.len() < total {
            let from = bytes.len();
            bytes.resize((from + chunk).min(total), 0);
            let offset = (self.header.geometry.definitions_offset() + from) as u64;
            // What a file that was cut off lacks reads as zeros, the end of the definitions.
            read_up_to(&*self.file, &mut bytes[from..], offset).map_err(Error::io("read the journal", &self.path))?;
            if bytes.ends_with(&[0; 64]) {
                break;
            }
            chunk *= 4;
        }
        self.definitions = definitions::decode_all(&bytes);
        Ok(())
    }

    /// Reads the records from index `from` up to the first slot that holds none: what a live writer has logged.
    ///
    /// A slot that was recycled for a later lap ends the scan too; the caller sees from the manifest that `from` has
    /// been committed in the meantime, and scans again.
    pub(crate) fn scan_live(&self, from: u64) -> Result<Scan> {
        let mut scan = Scan { end: from, ..Scan::default() };
        self.for_slots(from, from + self.header.geometry.capacity, |index, words| match self.content(words, index) {
            SlotContent::Valid(record) => {
                scan.records.push((index, record));
                scan.end = index + 1;
                true
            }
            _ => false,
        })?;
        Ok(scan)
    }

    /// Reads every record from index `from` on, those behind holes included: what a dead writer left.
    pub(crate) fn scan_dead(&self, from: u64) -> Result<Scan> {
        let mut scan = Scan { end: from, cut_off: self.slots_cut_off(), ..Scan::default() };
        let mut empty = 0;
        self.for_slots(from, from + self.header.geometry.capacity, |index, words| {
            match self.content(words, index) {
                SlotContent::Valid(record) => {
                    scan.missing += empty;
                    empty = 0;
                    scan.records.push((index, record));
                    scan.end = index + 1;
                }
                SlotContent::Empty | SlotContent::Pending => empty += 1,
                SlotContent::Mismatch if self.is_of_older_lap(words, index) => empty += 1,
                SlotContent::Mismatch => scan.damaged += 1,
            }
            true
        })?;
        Ok(scan)
    }

    /// First indices of the blocks from index `from` on that were sealed, and whose slots do not have the checksum that the
    /// block table says; of an entry that is not possible, what it says. For the journal of a dead writer: a living one
    /// seals and clears blocks meanwhile.
    pub(crate) fn blocks_that_do_not_fit(&self, from: u64) -> Result<Vec<u64>> {
        let geometry = self.header.geometry;
        let failed = || Error::io("read the journal", &self.path);
        let mut table = vec![0; geometry.blocks() as usize * BLOCK_ENTRY_BYTES];
        let read = read_up_to(&*self.file, &mut table, geometry.table_offset() as u64).map_err(failed())?;
        let mut block = vec![0; BLOCK_SLOTS as usize * RECORD_BYTES];
        let mut misfits = Vec::new();
        for (position, entry) in (0..).zip(table[..read].chunks_exact(BLOCK_ENTRY_BYTES)) {
            let (first, crc, slots) = (u64_at(entry, 0), u32_at(entry, 8), u64::from(u32_at(entry, 12)));
            // Never sealed, or of a lap whose slots have been handed back.
            if slots == 0 && crc == 0 || first < from {
                continue;
            }
            let is_possible = slots == BLOCK_SLOTS
                && first.is_multiple_of(BLOCK_SLOTS)
                && first / BLOCK_SLOTS % geometry.blocks() == position;
            let fits = is_possible && {
                let read = read_up_to(&*self.file, &mut block, self.slot_offset(first)).map_err(failed())?;
                // That the file was cut off is told with its slots.
                read < block.len() || crc32c::crc32c(&block) == crc
            };
            if !fits {
                misfits.push(first);
            }
        }
        Ok(misfits)
    }

    fn content(&self, words: [u64; 4], index: u64) -> SlotContent {
        Record::read(words, index, self.header.salt)
    }

    /// Whether the slot of `index` holds the record of an earlier lap: committed, and cleared in a page that a power cut
    /// kept from the device.
    fn is_of_older_lap(&self, words: [u64; 4], index: u64) -> bool {
        let capacity = self.header.geometry.capacity;
        let laps = (1..=OLDER_LAPS_MAX).map_while(|lap| index.checked_sub(lap * capacity));
        laps.into_iter().any(|older| matches!(self.content(words, older), SlotContent::Valid(_)))
    }

    /// Slots that the file is too short for, in part or whole.
    fn slots_cut_off(&self) -> u64 {
        let geometry = &self.header.geometry;
        let slots = self.file_bytes.saturating_sub(geometry.slots_offset() as u64) / RECORD_BYTES as u64;
        geometry.capacity.saturating_sub(slots)
    }

    fn slot_offset(&self, index: u64) -> u64 {
        let slot = index % self.header.geometry.capacity;
        self.header.geometry.slots_offset() as u64 + slot * RECORD_BYTES as u64
    }

    fn for_slots(&self, from: u64, to: u64, mut visit: impl FnMut(u64, [u64; 4]) -> bool) -> Result<()> {
        let capacity = self.header.geometry.capacity;
        let mut bytes = vec![0; CHUNK_SLOTS.min(capacity) as usize * RECORD_BYTES];
        let mut index = from;
        while index < to {
            let count = CHUNK_SLOTS.min(to - index).min(capacity - index % capacity);
            let chunk = &mut bytes[..count as usize * RECORD_BYTES];
            let read = read_up_to(&*self.file, chunk, self.slot_offset(index))
                .map_err(Error::io("read the journal", &self.path))?;
            // What a file that was cut off lacks reads as empty slots; `slots_cut_off` counts them.
            chunk[read..].fill(0);
            for slot in chunk.chunks_exact(RECORD_BYTES) {
                if !visit(index, words(slot)) {
                    return Ok(());
                }
                index += 1;
            }
        }
        Ok(())
    }
}

fn words(slot: &[u8]) -> [u64; 4] {
    std::array::from_fn(|word| u64_at(slot, word * 8))
}
