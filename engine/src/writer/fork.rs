//! Forked children: they inherit the parent's mappings and descriptors, and must use neither.
//!
//! `fork` runs the handlers below (POSIX.1, `pthread_atfork`). In the child every gate is closed, so that the next log
//! call is refused instead of writing over the parent's slots; and the descriptors of event logs, which carry the lock
//! that says the writer lives, are pointed to `/dev/null`, so that the lock goes with the parent and not with its last child.
//!
//! Invariant: `GUARD` is held by the forking thread from before the fork until after it, in both processes, so the
//! registry is whole in the child and nobody else has it locked.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use crate::ring::{Gate, GateState};
use crate::storage::StorageFile;

static GUARD: AtomicBool = AtomicBool::new(false);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { gates: Vec::new(), logs: Vec::new() });
static HANDLERS: Once = Once::new();

struct Registry {
    gates: Vec<Weak<Gate>>,
    logs: Vec<RawFd>,
}

fn acquire() {
    while GUARD.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::thread::yield_now();
    }
}

fn release() {
    GUARD.store(false, Ordering::Release);
}

/// Runs `action` so that no fork happens in the middle of it.
pub(crate) fn undisturbed<T>(action: impl FnOnce() -> T) -> T {
    struct Release;
    impl Drop for Release {
        fn drop(&mut self) {
            release();
        }
    }
    acquire();
    let _release = Release;
    action()
}

fn with_registry<T>(action: impl FnOnce(&mut Registry) -> T) -> T {
    HANDLERS.call_once(|| {
        // SAFETY: the handlers are functions of this program without arguments; they allocate nothing and take no lock
        // that another thread may hold at the fork.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    });
    undisturbed(|| action(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Has the gate closed in forked children.
pub(crate) fn register_gate(gate: &Arc<Gate>) {
    with_registry(|registry| {
        registry.gates.retain(|gate| gate.strong_count() > 0);
        registry.gates.push(Arc::downgrade(gate));
    });
}

/// Has the descriptor of an event log let go in forked children.
pub(crate) fn register_log(file: &dyn StorageFile) {
    let Some(descriptor) = file.descriptor() else { return };
    with_registry(|registry| registry.logs.push(descriptor));
}

/// Forgets the descriptor before it is closed.
pub(crate) fn forget_log(file: &dyn StorageFile) {
    let Some(descriptor) = file.descriptor() else { return };
    with_registry(|registry| registry.logs.retain(|fd| *fd != descriptor));
}

extern "C" fn before() {
    acquire();
}

extern "C" fn after_in_parent() {
    release();
}

extern "C" fn after_in_child() {
    if let Ok(mut registry) = REGISTRY.try_lock() {
        for gate in registry.gates.iter().filter_map(Weak::upgrade) {
            gate.close(GateState::Forked);
        }
        // SAFETY: plain system calls on descriptors that this process owns a copy of; async-signal-safe (POSIX.1).
        unsafe {
            let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
            for fd in &registry.logs {
                libc::dup3(null, *fd, libc::O_CLOEXEC);
            }
            libc::close(null);
        }
        registry.logs.clear();
    }
    release();
}
