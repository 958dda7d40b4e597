//! The journal: the file that is a ring's memory, and what is read back from it.
//!
//! ```text
//! 0          header page: who wrote it, its geometry, counters
//! 4096       block table: for each block that was sealed, its first index and CRC-32C
//! ...        definitions: the metrics that slots refer to by number
//! ...        slots: 32 bytes each, a power of two of them
//! ```
//!
//! `docs/FORMAT.md` holds the byte tables.

mod definitions;
mod file;
mod header;
mod mapping;
mod reader;

pub(crate) use definitions::{Definition, encode as encode_definition};
pub(crate) use file::JournalFile;
pub(crate) use header::{BLOCK_SLOTS, Geometry, Header};
pub(crate) use mapping::{Mapping, populate};
pub(crate) use reader::{JournalImage, Scan};
