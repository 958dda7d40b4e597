//! Damage to the catalog, an SQLite database.

use crate::damage::strata::Change;
use crate::random::Random;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Offsets in the header of an SQLite database ("Database File Format", sqlite.org).
const USER_VERSION: usize = 60;
const APPLICATION_ID: usize = 68;
const SCHEMA_FORMAT: usize = 44;

/// Every page zeroed, every cut at a multiple of 512 bytes, every byte of the header, `flips` random bytes, and files that
/// are no catalog of this version.
pub fn changes(sound: &[u8], flips: usize, random: &mut Random) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    changes.extend((0..sound.len() / PAGE).map(|page| Change::Set(page * PAGE, vec![0; PAGE])));
    changes.extend((0..sound.len()).step_by(512).map(Change::Cut));
    for (offset, byte) in sound.iter().enumerate().take(100) {
        for value in [0x00, 0xff, byte ^ 1] {
            changes.push(Change::Set(offset, vec![if value == *byte { !byte } else { value }]));
        }
    }
    for _ in 0..flips {
        let offset = random.below(sound.len() as u64) as usize;
        changes.push(Change::Set(offset, vec![sound[offset] ^ (1 << random.below(8))]));
    }
    let version = |version: u32| version.to_be_bytes().to_vec();
    changes.extend([0, 2, 77, u32::MAX].map(|number| Change::Set(USER_VERSION, version(number))));
    changes.extend([0, 1].map(|number| Change::Set(APPLICATION_ID, version(number))));
    changes.extend([0, 5, 9].map(|number| Change::Set(SCHEMA_FORMAT, version(number))));
    for length in [1, 100, PAGE, 20 * PAGE] {
        changes.push(Change::Whole(garbage(length, random)));
        changes.push(Change::Beside("-wal", garbage(length, random)));
        changes.push(Change::Beside("-shm", garbage(length, random)));
    }
    changes.push(Change::Whole(b"this is no database\n".to_vec()));
    changes.push(Change::Whole(vec![0; PAGE]));
    changes
}

fn garbage(length: usize, random: &mut Random) -> Vec<u8> {
    (0..length).map(|_| random.number() as u8).collect()
}
