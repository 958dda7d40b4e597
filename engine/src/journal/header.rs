//! First page of a journal: who wrote it and how it is laid out.

use std::path::Path;

use crate::error::{Error, Result};
use crate::ids::{RunId, WriterId};
use crate::ring::RECORD_BYTES;

/// Version of the journal format written by this build, and the newest it reads.
pub(crate) const JOURNAL_FORMAT: u32 = 1;
/// First bytes of a journal.
pub(crate) const MAGIC: [u8; 8] = *b"STEPWELJ";
/// Size of the header page.
pub(crate) const HEADER_BYTES: usize = 4096;
/// Bytes of the header that its checksum covers.
pub(crate) const FIXED_BYTES: usize = 96;
/// Slots of a block: 64 KiB of records.
pub(crate) const BLOCK_SLOTS: u64 = 2048;
/// Bytes of one entry of the block table: first index of the block, CRC-32C, number of slots.
pub(crate) const BLOCK_ENTRY_BYTES: usize = 16;
/// Offset of a second copy of the fixed part, in another sector: one damaged byte must not cost a whole journal.
pub(crate) const COPY_OFFSET: usize = 3072;
/// Offset of the counter of calls that waited.
pub(crate) const WAITS_OFFSET: usize = 1024;
/// Offset of the counter of dropped records.
pub(crate) const DROPS_OFFSET: usize = 1032;
/// Offset of the first index that is not known to be on the device.
pub(crate) const SYNCED_OFFSET: usize = 2048;

const PAGE: usize = 4096;

/// Sizes and offsets of the parts of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Slots in the ring; a power of two, at least one block.
    pub capacity: u64,
    /// Bytes for metric definitions.
    pub definitions_bytes: u64,
}

impl Geometry {
    pub(crate) fn blocks(&self) -> u64 {
        self.capacity / BLOCK_SLOTS
    }

    pub(crate) fn table_offset(&self) -> usize {
        HEADER_BYTES
    }

    pub(crate) fn definitions_offset(&self) -> usize {
        self.table_offset() + (self.blocks() as usize * BLOCK_ENTRY_BYTES).next_multiple_of(PAGE)
    }

    pub(crate) fn slots_offset(&self) -> usize {
        self.definitions_offset() + (self.definitions_bytes as usize).next_multiple_of(PAGE)
    }

    pub(crate) fn slots_bytes(&self) -> usize {
        self.capacity as usize * RECORD_BYTES
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        (self.slots_offset() + self.slots_bytes()) as u64
    }
}

/// The header of one journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub run: RunId,
    pub writer: WriterId,
    pub ring: u32,
    pub geometry: Geometry,
    /// Random number mixed into every slot's check.
    pub salt: u64,
    /// When the journal was created; nanoseconds since the Unix epoch.
    pub created: i64,
}

impl Header {
    /// The bytes of the fixed part, checksum included.
    pub(crate) fn encode(&self) -> [u8; FIXED_BYTES] {
        let mut bytes = [0; FIXED_BYTES];
        let mut put = |offset: usize, field: &[u8]| bytes[offset..offset + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &JOURNAL_FORMAT.to_le_bytes());
        put(12, &self.ring.to_le_bytes());
        put(16, self.run.as_uuid().as_bytes());
        put(32, &self.writer.rank.to_le_bytes());
        put(36, &self.writer.attempt.to_le_bytes());
        put(40, &self.writer.nonce.to_le_bytes());
        put(44, &(BLOCK_SLOTS as u32).to_le_bytes());
        put(48, &self.geometry.capacity.to_le_bytes());
        put(56, &self.geometry.definitions_bytes.to_le_bytes());
        put(64, &self.salt.to_le_bytes());
        put(72, &self.created.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..FIXED_BYTES - 4]);
        bytes[FIXED_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header from the first page of a journal; from its copy when the first one is damaged. A damaged version may
    /// look like that of a newer format, which would not leave a whole copy of this one.
    pub(crate) fn decode_page(page: &[u8], path: &Path) -> Result<Self> {
        let copy = page.get(COPY_OFFSET..).unwrap_or_default();
        match Self::decode(page, path) {
            Err(error @ (Error::Damaged { .. } | Error::NewerFormat { .. })) => {
                Self::decode(copy, path).map_err(|_| error)
            }
            other => other,
        }
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let damaged = |fault: &str| Error::Damaged { path: path.to_owned(), fault: fault.to_owned() };
        let bytes: &[u8; FIXED_BYTES] =
            bytes.first_chunk().ok_or_else(|| damaged("it is shorter than a journal header"))?;
        if bytes[..8] != MAGIC {
            return Err(damaged("it does not begin like a journal"));
        }
        let found = u32_at(bytes, 8);
        let whole = u32_at(bytes, FIXED_BYTES - 4) == crc32c::crc32c(&bytes[..FIXED_BYTES - 4]);
        // A newer format may keep its checksum elsewhere; a version that is far off is damage.
        if found > JOURNAL_FORMAT && (whole || found < 1 << 16) {
            return Err(Error::NewerFormat { path: path.to_owned(), found, supported: JOURNAL_FORMAT });
        }
        if !whole {
            return Err(damaged("the checksum of its header does not match"));
        }
        let geometry = Geometry { capacity: u64_at(bytes, 48), definitions_bytes: u64_at(bytes, 56) };
        let sound = u64::from(u32_at(bytes, 44)) == BLOCK_SLOTS
            && geometry.capacity.is_power_of_two()
            && (BLOCK_SLOTS..=1 << 32).contains(&geometry.capacity)
            && geometry.definitions_bytes <= 1 << 32;
        if !sound {
            return Err(damaged("its geometry is not possible"));
        }
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[16..32]);
        Ok(Self {
            run: RunId::from_bytes(uuid),
            writer: WriterId {
                rank: u32_at(bytes, 32) as i32,
                attempt: u32_at(bytes, 36) as i32,
                nonce: u32_at(bytes, 40),
            },
            ring: u32_at(bytes, 12),
            geometry,
            salt: u64_at(bytes, 64),
            created: u64_at(bytes, 72) as i64,
        })
    }
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            run: RunId::generate(),
            writer: WriterId { rank: 1, attempt: 2, nonce: 3 },
            ring: 4,
            geometry: Geometry { capacity: 4096, definitions_bytes: 8192 },
            salt: 5,
            created: 6,
        }
    }

    #[test]
    fn headers_round_trip() {
        let header = header();
        let decoded = Header::decode(&header.encode(), Path::new("0.journal"));
        assert_eq!(decoded.expect("decodes"), header);
    }

    #[test]
    fn the_copy_stands_in_for_a_damaged_header() {
        let header = header();
        let mut page = vec![0; HEADER_BYTES];
        page[..FIXED_BYTES].copy_from_slice(&header.encode());
        page[COPY_OFFSET..COPY_OFFSET + FIXED_BYTES].copy_from_slice(&header.encode());
        for index in 0..FIXED_BYTES {
            let mut damaged = page.clone();
            damaged[index] ^= 0x80;
            assert_eq!(Header::decode_page(&damaged, Path::new("x")).expect("the copy"), header, "byte {index}");
        }
    }

    #[test]
    fn damage_and_newer_versions_are_refused() {
        let header = header();
        let bytes = header.encode();
        for index in 0..bytes.len() {
            let mut damaged = bytes;
            damaged[index] ^= 0x80;
            assert!(Header::decode(&damaged, Path::new("x")).is_err(), "byte {index}");
            assert!(Header::decode(&bytes[..index], Path::new("x")).is_err(), "cut at {index}");
        }
        let mut newer = bytes;
        newer[8] = 2;
        assert!(matches!(
            Header::decode(&newer, Path::new("x")),
            Err(Error::NewerFormat { found: 2, supported: 1, .. })
        ));
    }
}
