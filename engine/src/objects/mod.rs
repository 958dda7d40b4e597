//! Artifacts by content: hashing, taking files and folders in, writing them out again, and removing what nobody needs.
//!
//! The content of an artifact is an *object*: a file below `objects/` whose name is the BLAKE3 of its bytes. A folder is an
//! object too, its [`Manifest`], and each of its files is one. `docs/ARTIFACTS.md` is the guide to it.

mod dvc;
mod garbage;
mod hash;
mod keep;
mod manifest;
mod publish;
mod restore;
mod stat_cache;
mod take;
mod walk;

#[cfg(test)]
mod tests;

pub use dvc::dvc_md5;
pub use garbage::{DEFAULT_GRACE, Fate, GarbageReport, GcOptions, UnreferencedObject, collect_garbage};
pub use hash::Hashes;
pub use manifest::{Manifest, ManifestFile};
pub(crate) use publish::{ABANDONED_AFTER, remove_abandoned};
pub use restore::{CheckedOut, CheckoutOptions, ContentKind, Overwrite, checkout};
pub use take::{Keep, Kept, TakeOptions, Taken, take_in};
pub use walk::Links;
