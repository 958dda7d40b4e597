//! Stores that were opened for a question, kept open for the next one: opening a store looks at every run it holds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Mutex, PoisonError};

use stepwell_engine::layout::Layout;
use stepwell_engine::{Access, EngineConfig, Result, Store, without_forks};

/// Most stores that are kept open.
const STORES_MAX: usize = 8;

struct Opened {
    /// A forked child opens its own.
    process: u32,
    path: PathBuf,
    marker: Marker,
    config: EngineConfig,
    store: Store,
}

/// Tells a store from another one that was made in its place: device, inode and time of change of its marker file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Marker(u64, u64, i64, i64);

impl Marker {
    fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(Layout::new(path).marker()).ok()?;
        Some(Self(file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
    }
}

/// The last used comes last.
static STORES: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

/// A child of a fork in the middle of it would find the lock held for good.
fn with_stores<T>(action: impl FnOnce(&mut Vec<Opened>) -> T) -> T {
    without_forks(|| action(&mut STORES.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// The store at `path`, for reading.
///
/// # Errors
/// As [`Store::open_with`].
pub fn open(path: &Path) -> Result<Store> {
    let config = EngineConfig::from_env()?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let marker = Marker::of(&path);
    let known = with_stores(|stores| {
        let fits = |opened: &Opened| {
            opened.process == process::id()
                && opened.path == path
                && Some(opened.marker) == marker
                && opened.config == config
        };
        let place = stores.iter().position(fits)?;
        let opened = stores.remove(place);
        let store = opened.store.clone();
        stores.push(opened);
        Some(store)
    });
    if let Some(store) = known {
        return Ok(store);
    }
    let store = Store::open_with(&path, Access::Read, config.clone())?;
    let Some(marker) = marker else { return Ok(store) };
    // Dropped outside of the lock: closing a catalog takes a while.
    let _old = with_stores(|stores| {
        let is_old = |opened: &mut Opened| opened.process != process::id() || opened.path == path;
        let mut old: Vec<Opened> = stores.extract_if(.., is_old).collect();
        if stores.len() >= STORES_MAX {
            old.push(stores.remove(0));
        }
        stores.push(Opened { process: process::id(), path, marker, config, store: store.clone() });
        old
    });
    Ok(store)
}
