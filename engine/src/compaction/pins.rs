//! Which segments the snapshots of this process may still read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crate::fork::without_forks;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::snapshot::SegmentInfo;

/// The segments of one snapshot, which are kept for as long as it lives. One that has not been read yet may come to need any.
#[derive(Debug)]
pub(crate) struct Pin {
    /// The store, by the path that all its names lead to.
    root: PathBuf,
    segments: OnceLock<Arc<Vec<SegmentInfo>>>,
}

static PINS: Mutex<Vec<Weak<Pin>>> = Mutex::new(Vec::new());

impl Pin {
    /// A pin of a snapshot that is about to be read.
    pub(crate) fn begin(layout: &Layout) -> Arc<Self> {
        let pin = Arc::new(Self { root: root_of(layout), segments: OnceLock::new() });
        with_pins(|pins| {
            pins.retain(|pin| pin.strong_count() > 0);
            pins.push(Arc::downgrade(&pin));
        });
        pin
    }

    /// Says which segments the snapshot names, in the order of (run, writer, number).
    pub(crate) fn set(&self, segments: Arc<Vec<SegmentInfo>>) {
        // A snapshot is read once.
        let _ = self.segments.set(segments);
    }

    pub(crate) fn segments(&self) -> &[SegmentInfo] {
        self.segments.get().map_or(&[], |segments| segments.as_slice())
    }

    fn has(&self, root: &Path, key: (RunId, WriterId, u64)) -> bool {
        let Some(segments) = self.segments.get() else { return self.root == root };
        segments.binary_search_by_key(&key, |segment| (segment.run_id, segment.writer, segment.n)).is_ok()
    }
}

fn root_of(layout: &Layout) -> PathBuf {
    layout.root().canonicalize().unwrap_or_else(|_| layout.root().to_owned())
}

/// Whether a snapshot of this process names a segment, or may come to.
pub(crate) fn is_pinned(layout: &Layout, run: RunId, writer: WriterId, n: u64) -> bool {
    let root = root_of(layout);
    // Outside of the lock: the last owner of a pin frees it.
    let pins: Vec<Arc<Pin>> = with_pins(|pins| pins.iter().filter_map(Weak::upgrade).collect());
    pins.iter().any(|pin| pin.has(&root, (run, writer, n)))
}

/// A child of a fork in the middle of it would find the lock held for good.
fn with_pins<T>(action: impl FnOnce(&mut Vec<Weak<Pin>>) -> T) -> T {
    without_forks(|| action(&mut PINS.lock().unwrap_or_else(PoisonError::into_inner)))
}
