//! SIGBUS: what a store to a mapped file comes to when the page is gone: the file was cut off, or its file system went
//! down, or has no room for a page that has to be copied first (btrfs, or xfs with a reflink to the file).
//!
//! The handler puts a page of memory in the place of the one that faulted, with its content where that can still be read,
//! marks the mapping as lost, and lets the program go on. The sealer sees the mark and tells what was lost.
//!
//! Invariants:
//!
//! 1. The handler makes system calls and reaches static or pinned memory through atomics; it allocates nothing, and no
//!    instruction of it can fault.
//! 2. A page is replaced by whoever holds `Pages::busy`, once, unless the memory in its place fails too. Nobody can have
//!    stored to it in between: stores to it are what faults.
//! 3. Faults outside the guarded mappings go where they went before.
//! 4. A mapping is marked as lost before a page of it is replaced. `msync` passes over memory in the place of a page, and returns
//!    without an error; whoever then finds no mark knows that every page was that of the file.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use libc::{c_int, c_void, siginfo_t};

use super::table::{self, Pages};
use crate::fork::without_forks;

/// What the signal did before; set before the handler is.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// Thread that is inside the handler that was there before; 0 when none is.
static CHAINING: AtomicI32 = AtomicI32::new(0);

/// A mapping of a file that may lose pages without ending the program. To be dropped before the mapping is.
pub(crate) struct Guard {
    pages: Arc<Pages>,
    place: usize,
}

impl Guard {
    /// Guards `bytes` bytes at `start`, a mapping; installs the handler first where it is not. `None` when it cannot be
    /// installed, or more mappings are guarded already than the table holds.
    pub(crate) fn new(start: *mut u8, bytes: usize) -> Option<Self> {
        install()?;
        let page_bytes = PAGE_BYTES.load(Ordering::Acquire);
        let pages = Arc::new(Pages::new(start.addr(), bytes, page_bytes));
        let place = table::insert(start.addr(), bytes.next_multiple_of(page_bytes), Arc::as_ptr(&pages).cast_mut())?;
        Some(Self { pages, place })
    }

    /// Whether a page was lost: what is stored to it does not reach the file.
    pub(crate) fn is_lost(&self) -> bool {
        self.pages.lost.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        table::remove(self.place);
    }
}

/// Installs the handler, once per process and its forked children.
fn install() -> Option<()> {
    without_forks(|| {
        if PREVIOUS.get().is_some() {
            return Some(());
        }
        let mut previous = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: all zeros is a valid `sigaction`; the first call fills in `previous` when it returns 0. INV-1, INV-3.
        unsafe {
            let page_bytes = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).ok().filter(|bytes| *bytes > 0)?;
            if libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) != 0 {
                return None;
            }
            PAGE_BYTES.store(page_bytes, Ordering::Release);
            PREVIOUS.get_or_init(|| previous.assume_init());
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_bus_error;
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            // NODEFER: a fault inside the handler that was there before must end the program, and not hang it.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut());
        }
        Some(())
    })
}

/// In a forked child: no other thread is there any more that could be at work in the handler.
pub(crate) fn after_fork_in_child() {
    table::release_all();
    CHAINING.store(0, Ordering::Release);
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: INV-1; `errno` belongs to the interrupted code, and `info` is valid for a handler with SA_SIGINFO.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        let is_memory_error = (*info).si_code == libc::BUS_MCEERR_AR;
        let replaced = (is_memory_error || (*info).si_code == libc::BUS_ADRERR)
            && table::find((*info).si_addr().addr())
                .is_some_and(|pages| replace_once(pages, (*info).si_addr().addr(), is_memory_error));
        if !replaced {
            chain(signal, info, context);
        }
        *errno = saved;
    }
}

/// Replaces the page of `address`, unless another thread has meanwhile; `false` when it cannot be.
fn replace_once(pages: &Pages, address: usize, is_memory_error: bool) -> bool {
    while pages.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        // SAFETY: a system call without arguments.
        unsafe { libc::sched_yield() };
    }
    let page = address & !(pages.page_bytes - 1);
    // INV-4.
    pages.lost.store(true, Ordering::Release);
    let replaced = pages.is_replaced(page) && !is_memory_error || replace(page, pages.page_bytes);
    if replaced {
        pages.set_replaced(page);
    }
    pages.busy.store(false, Ordering::Release);
    replaced
}

/// Puts memory in the place of the page, holding what can still be read of it, or zeros.
fn replace(page: usize, bytes: usize) -> bool {
    // SAFETY: the page belongs to a guarded mapping, which nobody unmaps now (INV-1 of the table). The kernel reads it on
    // our behalf, and says so when it cannot; the new page takes its place in one step (INV-2).
    unsafe {
        let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let fresh = libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, anonymous, -1, 0);
        if fresh == libc::MAP_FAILED {
            return false;
        }
        let to = libc::iovec { iov_base: fresh, iov_len: bytes };
        let from = libc::iovec { iov_base: ptr::without_provenance_mut(page), iov_len: bytes };
        libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0);
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let place = ptr::without_provenance_mut::<c_void>(page);
        if libc::mremap(fresh, bytes, bytes, flags, place) == libc::MAP_FAILED {
            libc::munmap(fresh, bytes);
            return false;
        }
    }
    true
}

/// Does what would have been done without this handler.
unsafe fn chain(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: INV-3; the previous handler is called with what the kernel gave, in the form that it was installed for.
    unsafe {
        let thread = libc::gettid();
        let by_default = PREVIOUS.get().is_none_or(|previous| previous.sa_sigaction == libc::SIG_DFL);
        let is_ignored = PREVIOUS.get().is_some_and(|previous| previous.sa_sigaction == libc::SIG_IGN);
        // Sent by a program, and not by a fault.
        let is_sent = (*info).si_code <= 0;
        // A handler that was there before may restore what it had found and raise the signal again: us.
        let is_nested = CHAINING.load(Ordering::Acquire) == thread;
        if is_ignored && is_sent {
            return;
        }
        if by_default || is_ignored || is_nested {
            // A fault comes again when the handler returns, and ends the program; what was sent does not.
            libc::signal(signal, libc::SIG_DFL);
            if is_sent {
                libc::raise(signal);
            }
            return;
        }
        let Some(previous) = PREVIOUS.get() else { return };
        CHAINING.store(thread, Ordering::Release);
        if previous.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(previous.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(previous.sa_sigaction);
            handler(signal);
        }
        CHAINING.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
