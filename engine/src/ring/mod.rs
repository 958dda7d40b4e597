//! The ring: one producer, one sealer, no lock. Its memory is the journal file.
//!
//! ```text
//!            tail                    committed            sealed          index
//!  ──────────┴───────────────────────┴────────────────────┴───────────────┴──────────────────────
//!  may be    │ in segments, not yet  │ full blocks,       │ open block    │ empty, zeroed
//!  rewritten │ cleared               │ checksummed        │ being filled  │
//! ```
//!
//! A record's *index* counts the records of its ring from 0; slot `index % capacity` holds it. The producer owns
//! `index`, the sealer owns `tail`. The producer passes `gate` only through its slow path, where it looks at `tail`;
//! closing the ring sets `gate` to 0, so that the next call ends up in the slow path too. One load and one compare per
//! record serve full rings, closed runs and forked children alike.
//!
//! Everything that the two threads share is in this folder, and it reaches for nothing else of the engine but `crate::sync`
//! and the `Mapping` that keeps the slots alive. So `tests/model` compiles these very files and has them checked by loom,
//! shuttle, ThreadSanitizer and Miri; keep it so.

mod gate;
mod positions;
mod producer;
mod shared;
mod slot;

pub(crate) use gate::{Gate, GateState};
pub(crate) use producer::Producer;
pub(crate) use shared::{NoRoom, RingCore};
pub(crate) use slot::{RECORD_BYTES, Record, Slot, SlotArray, SlotContent};

use positions::{next_gate, room};

/// Bits of a sequence number that count the records of a ring; the bits above are the ring's number.
pub(crate) const SEQ_INDEX_BITS: u32 = 44;
/// Most rings of one writer.
pub(crate) const RINGS_MAX: u32 = 1 << 18;

/// Sequence number of a record: unique within its writer, rising within its ring.
pub(crate) fn sequence(ring: u32, index: u64) -> i64 {
    debug_assert!(ring < RINGS_MAX && index < 1 << SEQ_INDEX_BITS);
    ((u64::from(ring) << SEQ_INDEX_BITS) | index) as i64
}
