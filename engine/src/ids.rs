//! Identifiers of runs, writers, journals and segments, and the file names they become.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fork::without_forks;

/// Identity of a run: a UUIDv7, so that ids sort by the time the run was started.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// A new id that sorts after every id made earlier on this machine.
    pub fn generate() -> Self {
        Self(new_uuid())
    }

    /// The id with these 16 bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The id as a plain UUID.
    pub fn as_uuid(&self) -> uuid::Uuid {
        self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        uuid::Uuid::parse_str(text).map(Self).map_err(|_| Error::InvalidRunId { text: text.to_owned() })
    }
}

/// Identity of one process attached to a run. As text: `w-<rank>-<attempt>-<8 hex digits>`.
///
/// The hex digits are drawn at random when the writer starts, so that two processes that claim the same rank and
/// attempt still never share a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId {
    /// Rank of the process in a distributed run; 0 when there is one process.
    pub rank: i32,
    /// 0 for the first start of this rank, one more each time the run is resumed.
    pub attempt: i32,
    /// Random number that makes the id unique.
    pub nonce: u32,
}

impl WriterId {
    /// A new id for `rank` and `attempt`.
    pub fn generate(rank: i32, attempt: i32) -> Self {
        Self { rank, attempt, nonce: random_u64() as u32 }
    }
}

/// A new UUID. The crate has a lock around the last one it made, which a fork in the middle would leave locked in the child.
pub(crate) fn new_uuid() -> uuid::Uuid {
    without_forks(uuid::Uuid::now_v7)
}

/// A random number, from the random half of a new UUID.
pub(crate) fn random_u64() -> u64 {
    // The top two bits of that half are the variant; multiplying by an odd number spreads the other 62.
    new_uuid().as_u64_pair().1.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w-{}-{}-{:08x}", self.rank, self.attempt, self.nonce)
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriterId({self})")
    }
}

impl FromStr for WriterId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse_writer(text).ok_or_else(|| Error::InvalidWriterId { text: text.to_owned() })
    }
}

fn parse_writer(text: &str) -> Option<WriterId> {
    let mut parts = text.strip_prefix("w-")?.split('-');
    let writer = WriterId {
        rank: parts.next()?.parse().ok().filter(|rank| *rank >= 0)?,
        attempt: parts.next()?.parse().ok().filter(|attempt| *attempt >= 0)?,
        nonce: u32::from_str_radix(parts.next()?, 16).ok()?,
    };
    // Only the canonical spelling is an id, so that a file name and its id stand for each other.
    (parts.next().is_none() && writer.to_string() == text).then_some(writer)
}

impl Serialize for WriterId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WriterId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// BLAKE3 of a file's or a record stream's content: 32 bytes, 64 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl FromStr for ContentHash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| Error::InvalidHash { text: text.to_owned() })?;
        // Only lower case is canonical: a hash is part of file names.
        if hash.to_hex().as_str() == text { Ok(hash.into()) } else { Err(Error::InvalidHash { text: text.to_owned() }) }
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_through_their_text() {
        let run = RunId::generate();
        assert_eq!(run.to_string().parse::<RunId>().expect("run id"), run);
        let writer = WriterId { rank: 12, attempt: 3, nonce: 0xab };
        assert_eq!(writer.to_string(), "w-12-3-000000ab");
        assert_eq!("w-12-3-000000ab".parse::<WriterId>().expect("writer id"), writer);
        let hash = ContentHash::from(blake3::hash(b"x"));
        assert_eq!(hash.to_string().parse::<ContentHash>().expect("hash"), hash);
    }

    #[test]
    fn only_canonical_spellings_are_ids() {
        for bad in ["", "w-1-2", "w--1-0-00000000", "w-01-0-00000000", "w-1-0-0000000A", "w-1-0-00000000-x", "training"]
        {
            assert!(bad.parse::<WriterId>().is_err(), "{bad}");
        }
        assert!("ABCD".parse::<ContentHash>().is_err());
        assert!("not a run".parse::<RunId>().is_err());
    }
}
