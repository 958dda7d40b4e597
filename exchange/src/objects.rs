//! Content kept in a store's `objects/`, by hash.

use std::fs::OpenOptions;
use std::io::Write;

use stepwell_engine::layout::{Layout, TEMP_PREFIX};
use stepwell_engine::{ContentHash, Error as EngineError};

use crate::error::{Error, Result};

/// Puts `bytes` into the store's objects. Content that is there already stays as it is.
///
/// # Durability
/// On the device when it returns.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn put(layout: &Layout, bytes: &[u8]) -> Result<ContentHash> {
    let hash = ContentHash::from(blake3::hash(bytes));
    let target = layout.object(hash);
    if target.exists() {
        return Ok(hash);
    }
    let folder = target.parent().unwrap_or(&target);
    std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let temp = layout.objects().join(format!("{TEMP_PREFIX}{}", uuid::Uuid::now_v7()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temp, &target)?;
        std::fs::File::open(folder)?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // What cannot be removed now goes when a store is opened that finds it a day old.
        let _ = std::fs::remove_file(&temp);
    }
    written.map_err(Error::io("store", &target)).map(|()| hash)
}

/// The content of this hash.
///
/// # Errors
/// [`Error::Io`] when it is not there; the engine's [`HashMismatch`](EngineError::HashMismatch).
pub(crate) fn get(layout: &Layout, hash: ContentHash) -> Result<Vec<u8>> {
    let path = layout.object(hash);
    let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let actual = ContentHash::from(blake3::hash(&bytes));
    if actual == hash {
        return Ok(bytes);
    }
    let (expected, actual) = (hash.to_string(), actual.to_string());
    Err(EngineError::HashMismatch { path, expected, actual }.into())
}
