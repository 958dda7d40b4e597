//! SIGXFSZ: a write past the limit on the size of files (`ulimit -f`) ends a program that does not expect the signal.
//!
//! Invariant 1: the handler does nothing, so it may interrupt anything.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

extern "C" fn do_nothing(_signal: libc::c_int) {}

/// Has writes past the limit fail with `EFBIG`, like on a full disk, instead of ending the program; unless the program has
/// chosen for itself what the signal does. CPython ignores it too. A handler, and not `SIG_IGN`, because programs that
/// this one starts would inherit that.
pub(crate) fn let_writes_fail() {
    let mut known = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: asks for the disposition, which the call fills in when it returns 0.
    let is_default = unsafe {
        libc::sigaction(libc::SIGXFSZ, std::ptr::null(), known.as_mut_ptr()) == 0
            && known.assume_init().sa_sigaction == libc::SIG_DFL
    };
    if is_default {
        let handler: extern "C" fn(libc::c_int) = do_nothing;
        // SAFETY: all zeros is a valid `sigaction`; INV-1.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
        }
    }
}
