//! The index: what Git knows of every tracked file (Documentation/gitformat-index, versions 2 to 4).

use sha1::{Digest, Sha1};

/// Length of a SHA-1.
pub(super) const ID_BYTES: usize = 20;
/// Name of an object.
pub(super) type Id = [u8; ID_BYTES];

const HEADER_BYTES: usize = 12;
/// The fields of an entry before its name, less the extended flags.
const ENTRY_BYTES: usize = 62;

const FLAG_ASSUME_UNCHANGED: u16 = 0x8000;
const FLAG_EXTENDED: u16 = 0x4000;
const FLAG_STAGE: u16 = 0x3000;
const EXTENDED_SKIP_WORKTREE: u16 = 0x4000;
const EXTENDED_INTENT_TO_ADD: u16 = 0x2000;

/// A tracked file, as Git last saw it. Times, sizes and numbers are cut to 32 bits.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub changed_secs: u32,
    pub modified: (u32, u32),
    pub inode: u32,
    pub mode: u32,
    pub bytes: u32,
    pub id: Id,
    pub path: Vec<u8>,
    /// The user said that it does not change.
    pub assume_unchanged: bool,
    /// It is not checked out.
    pub skip_worktree: bool,
    pub intent_to_add: bool,
    /// A merge left it undecided.
    pub is_conflict: bool,
}

/// The files of an index, sorted by path.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub entries: Vec<Entry>,
}

impl Index {
    /// Reads an index; `None` when it is damaged, of a version that is not read, larger than `most` files, or a part of what
    /// another file holds.
    pub fn parse(bytes: &[u8], most: usize) -> Option<Self> {
        let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(ID_BYTES)?)?;
        // Git leaves the checksum out where it is told to (index.skipHash).
        if checksum.iter().any(|byte| *byte != 0) && Sha1::digest(content).as_slice() != checksum {
            return None;
        }
        let (version, count) = (number(content, 4)?, number(content, 8)? as usize);
        if !content.starts_with(b"DIRC") || !(2..=4).contains(&version) || count > most {
            return None;
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(count.min(content.len() / ENTRY_BYTES));
        let mut offset = HEADER_BYTES;
        for _ in 0..count {
            let before = entries.last().map_or(&[][..], |entry: &Entry| &entry.path);
            let (entry, end) = entry(content, offset, version, before)?;
            entries.push(entry);
            offset = end;
        }
        while offset + 8 <= content.len() {
            // Files in another index, or folders in the place of their files.
            if matches!(&content[offset..offset + 4], b"link" | b"sdir") {
                return None;
            }
            offset = offset.checked_add(8)?.checked_add(number(content, offset + 4)? as usize)?;
        }
        Some(Self { entries })
    }

    /// Name of the tree that a commit of this index would have.
    pub fn tree(&self) -> Id {
        tree_of(&self.entries, 0)
    }
}

fn number(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The entry at `offset`, and where the next one begins.
fn entry(bytes: &[u8], offset: usize, version: u32, before: &[u8]) -> Option<(Entry, usize)> {
    let at = |field: usize| number(bytes, offset + field * 4);
    let flags = u16::from_be_bytes(*bytes.get(offset + 60..)?.first_chunk()?);
    let mut name_at = offset + ENTRY_BYTES;
    let mut extended = 0;
    if version >= 3 && flags & FLAG_EXTENDED != 0 {
        extended = u16::from_be_bytes(*bytes.get(name_at..)?.first_chunk()?);
        name_at += 2;
    }
    let mut path = Vec::new();
    if version == 4 {
        let (dropped, begin) = variable(bytes, name_at)?;
        path.extend_from_slice(&before[..before.len().checked_sub(dropped)?]);
        name_at = begin;
    }
    let rest = bytes.get(name_at..)?;
    let length = rest.iter().position(|byte| *byte == 0)?;
    path.extend_from_slice(&rest[..length]);
    let end = name_at + length + 1;
    // Up to version 3 an entry is filled up with NULs to a multiple of eight bytes.
    let end = if version == 4 { end } else { offset + (end - offset).next_multiple_of(8) };
    let entry = Entry {
        changed_secs: at(0)?,
        modified: (at(2)?, at(3)?),
        inode: at(5)?,
        mode: at(6)?,
        bytes: at(9)?,
        id: *bytes.get(offset + 40..)?.first_chunk()?,
        path,
        assume_unchanged: flags & FLAG_ASSUME_UNCHANGED != 0,
        skip_worktree: extended & EXTENDED_SKIP_WORKTREE != 0,
        intent_to_add: extended & EXTENDED_INTENT_TO_ADD != 0,
        is_conflict: flags & FLAG_STAGE != 0,
    };
    Some((entry, end))
}

/// A number of variable length in which no two spellings mean the same; it, and where it ends.
pub(super) fn variable(bytes: &[u8], mut offset: usize) -> Option<(usize, usize)> {
    let mut byte = *bytes.get(offset)?;
    let mut value = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        offset += 1;
        byte = *bytes.get(offset)?;
        value = value.checked_add(1)?.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
    }
    Some((value, offset + 1))
}

/// Name of the tree of `entries`, which share the first `begin` bytes of their paths.
fn tree_of(entries: &[Entry], begin: usize) -> Id {
    let mut text = Vec::new();
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let name = &first.path[begin.min(first.path.len())..];
        let count = match name.iter().position(|byte| *byte == b'/') {
            None => {
                text.extend_from_slice(format!("{:o} ", first.mode).as_bytes());
                text.extend_from_slice(name);
                text.push(0);
                text.extend_from_slice(&first.id);
                1
            }
            Some(slash) => {
                let folder = &first.path[..begin + slash + 1];
                let count = rest.iter().take_while(|entry| entry.path.starts_with(folder)).count();
                text.extend_from_slice(b"40000 ");
                text.extend_from_slice(&name[..slash]);
                text.push(0);
                text.extend_from_slice(&tree_of(&rest[..count], folder.len()));
                count
            }
        };
        rest = &rest[count..];
    }
    object_id("tree", &text)
}

/// Name of an object with this content.
pub(super) fn object_id(kind: &str, content: &[u8]) -> Id {
    let mut hasher = Sha1::new();
    hasher.update(format!("{kind} {}\0", content.len()).as_bytes());
    hasher.update(content);
    hasher.finalize().into()
}
