//! Journals: recovery and live reading of any bytes.
//!
//! An input is one byte of what to put right (1: the header, 2: the check of every slot), the fixed part of the header, 8
//! bytes for the counter of drops, 128 bytes of definitions, and slots. The journal ends with the last of them.

use crate::damage::look::View;
use crate::damage::samples::SLOT_BYTES;
use crate::fuzz::place::{Place, put};

const HEADER: usize = 96;
const DEFINITIONS: usize = 128;
/// Offset of the counter of dropped records (docs/FORMAT.md).
const DROPS_AT: usize = 1032;
const PAGE: usize = 4096;

/// Reads and recovers a journal. Every slot whose check fits is a row or counted as one without a definition, and nothing
/// else is a row.
///
/// # Panics
/// When it is not so.
pub fn journal(data: &[u8]) {
    let Some((flags, rest)) = data.split_first() else { return };
    let place = Place::new();
    let mut header = rest[..HEADER.min(rest.len())].to_vec();
    if flags & 1 != 0 && header.len() == HEADER {
        // Magic, version, ring, run, writer and slots of a block are those of the writer; geometry, salt and time are not.
        header[..48].copy_from_slice(&place.header[..48]);
        let crc = crc32c::crc32c(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    let (capacity, definitions) = geometry(&header);
    let Some(slots_at) = (definitions as usize).checked_next_multiple_of(PAGE).map(|bytes| table(capacity) + bytes)
    else {
        return;
    };
    // Larger ones are for machines with the memory for them.
    if slots_at > 1 << 20 {
        return;
    }
    let rest = &rest[header.len()..];
    let (drops, rest) = rest.split_at(8.min(rest.len()));
    let (names, slots) = rest.split_at(DEFINITIONS.min(rest.len()));
    let mut slots = slots[..slots.len().min(capacity as usize * SLOT_BYTES)].to_vec();
    let salt = word(&header, 64);
    if flags & 2 != 0 {
        slots.chunks_exact_mut(SLOT_BYTES).enumerate().for_each(|(index, slot)| commit(slot, index as u64, salt));
    }
    let mut file = vec![0; slots_at];
    for (offset, part) in [(0, header.as_slice()), (DROPS_AT, drops), (table(capacity), names)] {
        file[offset..offset + part.len()].copy_from_slice(part);
    }
    file.extend(&slots);
    put(&place.journal(), &file);
    let valid = slots.chunks_exact(SLOT_BYTES).enumerate();
    let valid = valid.filter(|(index, slot)| is_valid(slot, *index as u64, salt)).count() as u64;
    for view in place.views().into_iter().flatten() {
        check(&view, &slots, salt, valid);
    }
}

/// An input made from the bytes of a journal whose block table and definitions have one page each.
pub fn journal_input(flags: u8, journal: &[u8], slots: usize) -> Vec<u8> {
    let part = |offset: usize, bytes: usize| journal[offset..offset + bytes].iter().copied();
    let mut input = vec![flags];
    for (offset, bytes) in [(0, HEADER), (DROPS_AT, 8), (2 * PAGE, DEFINITIONS), (3 * PAGE, slots * SLOT_BYTES)] {
        input.extend(part(offset, bytes));
    }
    input
}

fn check(view: &View, slots: &[u8], salt: u64, valid: u64) {
    let mut rows = 0;
    for ((_, _, seq), step, value) in view.parts.iter().flat_map(|part| &part.rows) {
        let index = *seq as usize;
        let slot = &slots[index * SLOT_BYTES..][..SLOT_BYTES];
        assert!(is_valid(slot, index as u64, salt), "row {seq} was never logged");
        assert_eq!((word(slot, 16) as i64, word(slot, 24)), (*step, *value), "row {seq}");
        rows += 1;
    }
    let is_untold = view.told.is_empty() && view.damaged.as_ref().is_none_or(std::collections::BTreeMap::is_empty);
    assert!(rows == valid || !is_untold, "{rows} rows of {valid} valid slots, and nothing is told");
    let unreadable = view.told.iter().any(|(records, _)| *records == 0);
    let undefined: u64 =
        view.told.iter().filter(|told| told.1.contains("without a definition")).map(|told| told.0).sum();
    assert!(
        unreadable || rows + undefined == valid,
        "{rows} rows and {undefined} undefined of {valid}: {:?}",
        view.told
    );
}

fn geometry(header: &[u8]) -> (u64, u64) {
    let (capacity, definitions) = if header.len() == HEADER { (word(header, 48), word(header, 56)) } else { (0, 0) };
    let is_sound = capacity.is_power_of_two() && (2048..=1 << 32).contains(&capacity) && definitions <= 1 << 32;
    if is_sound { (capacity, definitions.max(PAGE as u64)) } else { (4096, PAGE as u64) }
}

/// Offset behind the block table.
fn table(capacity: u64) -> usize {
    PAGE + (capacity as usize / 2048 * 16).next_multiple_of(PAGE)
}

fn word(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..offset + 8).map_or(0, |word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
}

/// The commit word as docs/FORMAT.md has it, written down a second time.
fn commit_word(slot: &[u8], id: u64, index: u64, salt: u64) -> u64 {
    let place = salt.wrapping_add(index.wrapping_mul(0xc2b2_ae3d_27d4_eb4f));
    let left = (word(slot, 8) ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let right = word(slot, 24) ^ word(slot, 16).rotate_left(32) ^ id;
    let right = right.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    let mixed = (left ^ right.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed & 0xffff_ffff_0000_0000) | id
}

fn commit(slot: &mut [u8], index: u64, salt: u64) {
    let id = word(slot, 0) & 0xffff_ffff;
    if id != 0 {
        let commit = commit_word(slot, id, index, salt);
        slot[..8].copy_from_slice(&commit.to_le_bytes());
    }
}

fn is_valid(slot: &[u8], index: u64, salt: u64) -> bool {
    let commit = word(slot, 0);
    let id = commit & 0xffff_ffff;
    id != 0 && commit_word(slot, id, index, salt) == commit
}
