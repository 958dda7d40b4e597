//! The tree of a commit, from the object store: loose, packed, or in the store of another repository.

use std::fs::File;
use std::io::{Read, Take};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::index::{ID_BYTES, Id, variable};

/// Largest object that is read: a commit with its message and signatures.
const BYTES_MAX: u64 = 16 << 20;
/// Most objects that one is told as a difference of.
const DEPTH_MAX: u32 = 256;
/// Most stores that are looked into.
const STORES_MAX: usize = 16;
/// Where the names begin in a pack's index of version 2: behind its header and 256 counts.
const NAMES_AT: u64 = 8 + 256 * 4;

/// Name of the tree of a commit; `None` when it cannot be found or read.
pub(super) fn tree_of_commit(common: &Path, commit: &str) -> Option<Id> {
    let content = Stores::of(common).read(parse_id(commit)?, 0)?;
    let text = content.strip_prefix(b"tree ")?.get(..2 * ID_BYTES)?;
    parse_id(std::str::from_utf8(text).ok()?)
}

fn parse_id(text: &str) -> Option<Id> {
    let mut id = [0; ID_BYTES];
    if text.len() != 2 * ID_BYTES || !text.is_ascii() {
        return None;
    }
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(id)
}

/// The stores of a repository: its own, and those it names as further ones.
struct Stores {
    folders: Vec<PathBuf>,
}

impl Stores {
    fn of(common: &Path) -> Self {
        let mut folders = vec![common.join("objects")];
        let mut looked = 0;
        while let Some(folder) = folders.get(looked).cloned() {
            let named = std::fs::read_to_string(folder.join("info/alternates")).unwrap_or_default();
            let named = named.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            folders.extend(named.map(|line| folder.join(line)));
            folders.truncate(STORES_MAX);
            looked += 1;
        }
        Self { folders }
    }

    fn read(&self, id: Id, depth: u32) -> Option<Vec<u8>> {
        if depth > DEPTH_MAX {
            return None;
        }
        self.folders.iter().find_map(|folder| loose(folder, id).or_else(|| self.packed(folder, id, depth)))
    }

    fn packed(&self, folder: &Path, id: Id, depth: u32) -> Option<Vec<u8>> {
        for entry in std::fs::read_dir(folder.join("pack")).ok()?.flatten() {
            let index = entry.path();
            if index.extension().is_some_and(|extension| extension == "idx")
                && let Some(offset) = find(&index, id)
            {
                let pack = File::open(index.with_extension("pack")).ok()?;
                return self.unpack(&pack, offset, depth);
            }
        }
        None
    }

    /// The object at `offset` of a pack.
    fn unpack(&self, pack: &File, offset: u64, depth: u32) -> Option<Vec<u8>> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut head = [0; 64];
        let read = pack.read_at(&mut head, offset).ok()?;
        let head = &head[..read];
        let mut at = 0;
        let kind = (*head.first()? >> 4) & 7;
        while head.get(at)? & 0x80 != 0 {
            at += 1;
        }
        at += 1;
        let content = |at: usize| inflate(ReadAt { file: pack, offset: offset + at as u64 });
        match kind {
            1 => content(at),
            6 => {
                let (back, at) = variable(head, at)?;
                let base = self.unpack(pack, offset.checked_sub(back as u64)?, depth + 1)?;
                apply(&base, &content(at)?)
            }
            7 => {
                let base = self.read(*head.get(at..)?.first_chunk()?, depth + 1)?;
                apply(&base, &content(at + ID_BYTES)?)
            }
            _ => None,
        }
    }
}

fn loose(folder: &Path, id: Id) -> Option<Vec<u8>> {
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let content = inflate(File::open(folder.join(&hex[..2]).join(&hex[2..])).ok()?)?;
    let end = content.iter().position(|byte| *byte == 0)?;
    content.starts_with(b"commit ").then(|| content[end + 1..].to_vec())
}

fn inflate(source: impl Read) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let mut reader: Take<_> = ZlibDecoder::new(source).take(BYTES_MAX + 1);
    reader.read_to_end(&mut content).ok()?;
    (content.len() as u64 <= BYTES_MAX).then_some(content)
}

struct ReadAt<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for ReadAt<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Where a pack has an object, by its index of version 2.
fn find(index: &Path, id: Id) -> Option<u64> {
    let file = File::open(index).ok()?;
    let number = |offset: u64| {
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    if (number(0)?, number(4)?) != (0xff74_4f63, 2) {
        return None;
    }
    let below = |first: u8| number(8 + u64::from(first) * 4).map(u64::from);
    let count = below(255)?;
    let mut low = if id[0] == 0 { 0 } else { below(id[0] - 1)? };
    let mut high = below(id[0])?;
    while low < high {
        let middle = low.midpoint(high);
        let mut found: Id = [0; ID_BYTES];
        file.read_exact_at(&mut found, NAMES_AT + middle * ID_BYTES as u64).ok()?;
        match found.cmp(&id) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let offsets = NAMES_AT + count * (ID_BYTES as u64 + 4);
                let offset = number(offsets + middle * 4)?;
                if offset & 0x8000_0000 == 0 {
                    return Some(u64::from(offset));
                }
                // Packs above 2 GiB: a place in the table of long offsets.
                let long = offsets + count * 4 + u64::from(offset & 0x7fff_ffff) * 8;
                return Some((u64::from(number(long)?) << 32) | u64::from(number(long + 4)?));
            }
        }
    }
    None
}

/// Applies a difference to the object it is told of.
fn apply(base: &[u8], delta: &[u8]) -> Option<Vec<u8>> {
    let mut at = 0;
    let mut size = || {
        let (mut value, mut shift) = (0_u64, 0);
        loop {
            let byte = *delta.get(at)?;
            at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    };
    let (from, to) = (size()?, size()?);
    if from != base.len() as u64 || to > BYTES_MAX {
        return None;
    }
    let mut content = Vec::new();
    while let Some(code) = delta.get(at) {
        at += 1;
        if code & 0x80 == 0 {
            let end = at + usize::from(*code);
            content.extend_from_slice(delta.get(at..end)?);
            at = end;
            continue;
        }
        let (mut offset, mut length) = (0_usize, 0_usize);
        for bit in 0..7 {
            if code & (1 << bit) != 0 {
                let byte = usize::from(*delta.get(at)?);
                at += 1;
                if bit < 4 { offset |= byte << (8 * bit) } else { length |= byte << (8 * (bit - 4)) }
            }
        }
        let length = if length == 0 { 0x1_0000 } else { length };
        content.extend_from_slice(base.get(offset..offset.checked_add(length)?)?);
        if content.len() as u64 > to {
            return None;
        }
    }
    (content.len() as u64 == to).then_some(content)
}
