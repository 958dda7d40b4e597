//! What tests of dead writers need: that nothing in this process keeps one alive.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use stepwell_engine::{RunState, Store};

/// Held by whoever starts a process. Until it is another program, it holds the locks of all writers of this one, which pass for alive
/// for so long: tests of dead writers wait.
static STARTS: RwLock<()> = RwLock::new(());

/// Nobody starts a process for as long as this lives.
pub fn calm() -> RwLockReadGuard<'static, ()> {
    STARTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// For whoever starts one.
pub fn starting() -> RwLockWriteGuard<'static, ()> {
    STARTS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the writers of a store whose handles are dropped are gone. The sealer thread may be at work for one of them, which keeps
/// its lock until that is done.
pub fn wait_until_gone(store: &Store) {
    for _ in 0..100_000 {
        let snapshot = store.snapshot().expect("snapshot");
        if snapshot.runs().iter().all(|run| run.state != RunState::Running) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("a writer without a handle is not gone");
}
