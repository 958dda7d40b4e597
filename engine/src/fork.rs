//! Forked children: they inherit the parent's mappings and descriptors, and must use neither.
//!
//! `fork` runs the handlers below (POSIX.1, `pthread_atfork`), which are registered when the program or library is loaded. In
//! the child every gate is closed, so that the next log call is refused instead of writing over the parent's slots; and the
//! descriptors of event logs, which carry the lock that says the writer lives, are pointed to `/dev/null`, so that the lock
//! goes with the parent and not with its last child.
//! The same goes for the locks by which recovery takes a log over and readers ask for a sign of life.
//!
//! SQLite's own locks are held across a fork too: a thread that allocates memory in the parent would leave them locked in the
//! child for good.
//!
//! Invariant: `GUARD` is held by the forking thread from before the fork until after it, in both processes, so the
//! registry is whole in the child and nobody else has it locked.
#![allow(unsafe_code)]

use std::io;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rusqlite::ffi;

use crate::ring::{Gate, GateState};
use crate::signals;
use crate::storage::StorageFile;

/// Forks between this process and the one that registered the handlers.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static GUARD: AtomicBool = AtomicBool::new(false);
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { gates: Vec::new(), logs: Vec::new() });
/// SQLite's static mutexes in the order in which it nests them: main, open, three of the file system, random numbers, page
/// cache, its memory, memory (sqlite.org/c3ref/c_mutex_fast.html).
const SQLITE_MUTEXES: [i32; 9] = [
    ffi::SQLITE_MUTEX_STATIC_MAIN,
    ffi::SQLITE_MUTEX_STATIC_OPEN,
    ffi::SQLITE_MUTEX_STATIC_VFS1,
    ffi::SQLITE_MUTEX_STATIC_VFS2,
    ffi::SQLITE_MUTEX_STATIC_VFS3,
    ffi::SQLITE_MUTEX_STATIC_PRNG,
    ffi::SQLITE_MUTEX_STATIC_LRU,
    ffi::SQLITE_MUTEX_STATIC_PMEM,
    ffi::SQLITE_MUTEX_STATIC_MEM,
];

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

/// Runs `action` so that no fork of this process happens in the middle of it: other threads' forks wait until it ends. For what
/// a process initialises once, such as a `LazyLock`: a child that inherits one half done waits for it for ever, as the thread
/// that would finish it exists in the parent alone.
///
/// Not to be nested. Cost: nanoseconds beside `action`; other callers wait for it as forks do.
pub fn without_forks<T>(action: impl FnOnce() -> T) -> T {
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
    without_forks(|| action(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Registers the handlers while the program or the library is loaded. Later would be too late for a fork that another thread has
/// begun: its child would inherit what this library was doing meanwhile, and no handler would run in it.
#[used]
#[cfg_attr(target_vendor = "apple", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_vendor = "apple"), unsafe(link_section = ".init_array"))]
static REGISTER: extern "C" fn() = {
    extern "C" fn register() {
        // SAFETY: the handlers are functions of this program without arguments; they allocate nothing and take no lock
        // that another thread may hold at the fork.
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    }
    register
};

/// Identity of a process among those that share its past. The number alone does not do: the first child in a new process
/// namespace has number 1, and so may its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMark {
    pub pid: u32,
    generation: u32,
}

impl ProcessMark {
    /// That of the calling process.
    pub(crate) fn own() -> Self {
        Self { pid: std::process::id(), generation: GENERATION.load(Ordering::Acquire) }
    }

    /// Whether the calling process is another one: a forked child of this one.
    pub(crate) fn is_foreign(self) -> bool {
        self != Self::own()
    }
}

/// Has the gate closed in forked children.
pub(crate) fn register_gate(gate: &Arc<Gate>) {
    with_registry(|registry| {
        registry.gates.retain(|gate| gate.strong_count() > 0);
        registry.gates.push(Arc::downgrade(gate));
    });
}

/// A file opened to be locked; let go in forked children, which would otherwise keep the lock.
#[derive(Debug)]
pub(crate) struct LockFile(Box<dyn StorageFile>);

impl LockFile {
    /// Opens the file by `open`. No fork happens between its opening and its registration.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<Box<dyn StorageFile>>) -> io::Result<Self> {
        with_registry(|registry| {
            let file = open()?;
            registry.logs.extend(file.descriptor());
            Ok(Self(file))
        })
    }
}

impl Deref for LockFile {
    type Target = dyn StorageFile;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Forgotten before it is closed: afterwards the number may be that of another file.
        if let Some(descriptor) = self.0.descriptor() {
            with_registry(|registry| registry.logs.retain(|fd| *fd != descriptor));
        }
    }
}

extern "C" fn before() {
    acquire();
    for id in SQLITE_MUTEXES {
        // SAFETY: SQLite's static mutexes exist always, and nobody who holds one waits for `GUARD`.
        unsafe { ffi::sqlite3_mutex_enter(ffi::sqlite3_mutex_alloc(id)) };
    }
}

fn release_all() {
    for id in SQLITE_MUTEXES.iter().rev() {
        // SAFETY: this thread took them before the fork, in the child as well.
        unsafe { ffi::sqlite3_mutex_leave(ffi::sqlite3_mutex_alloc(*id)) };
    }
    release();
}

extern "C" fn after_in_parent() {
    release_all();
}

extern "C" fn after_in_child() {
    GENERATION.fetch_add(1, Ordering::AcqRel);
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
    signals::after_fork_in_child();
    release_all();
}
