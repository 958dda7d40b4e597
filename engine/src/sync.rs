//! The atomics under the ring: the standard library's here. `tests/model` compiles the same sources of `ring/` with loom's
//! and shuttle's in their place.

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
