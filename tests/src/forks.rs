//! `fork`, for campaigns that need a child of a process with many threads.
//!
//! Invariants:
//!
//! 1. The child runs one closure and leaves by `_exit`: it never returns into frames that belong to the parent's work.
//! 2. The C library keeps its allocator usable in such a child (glibc does); everything else that a thread of the parent
//!    may have locked is what the campaigns are about.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use crate::lanes::Fault;

/// Exit status of a child whose closure panicked.
pub const PANICKED: i32 = 101;
/// Exit status of a child whose closure failed.
pub const FAILED: i32 = 102;
/// A child that takes longer than this hangs: SIGALRM ends it.
const CHILD_SECS_MAX: u32 = 30;

/// Process id of a child.
pub type Pid = i32;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit status.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
}

/// Forks; the child does `work` and exits with 0 when it went well.
///
/// # Errors
/// The error of the system call.
pub fn fork(work: impl FnOnce() -> Result<(), Fault>) -> std::io::Result<Pid> {
    // SAFETY: INV-1 and INV-2.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()),
        0 => {
            // SAFETY: a plain system call.
            unsafe { libc::alarm(CHILD_SECS_MAX) };
            let status = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(Ok(())) => 0,
                Ok(Err(fault)) => {
                    let fault: &(dyn std::error::Error + 'static) = &*fault;
                    eprintln!("forked child: {}", stepwell_engine::with_causes(fault));
                    FAILED
                }
                Err(_) => PANICKED,
            };
            exit_at_once(status)
        }
        pid => Ok(pid),
    }
}

/// `_exit`: no handler runs, nothing is dropped.
pub fn exit_at_once(status: i32) -> ! {
    // SAFETY: a plain system call that does not return.
    unsafe { libc::_exit(status) }
}

/// Ends the calling process by a signal.
pub fn end_by(signal: i32) -> ! {
    // SAFETY: plain system calls.
    unsafe { libc::kill(libc::getpid(), signal) };
    wait_for_the_end()
}

/// Sleeps until a signal ends the process.
pub fn wait_for_the_end() -> ! {
    loop {
        // SAFETY: a plain system call.
        unsafe { libc::pause() };
    }
}

/// Lives on without a limit of time, until the campaign ends the process.
pub fn live_on() -> ! {
    // SAFETY: a plain system call.
    unsafe { libc::alarm(0) };
    wait_for_the_end()
}

/// Has a program started by `fork` and `exec`, not by `posix_spawn`.
pub fn spawn_by_fork(command: &mut Command) {
    // SAFETY: the closure does nothing, so nothing that a forked child must not do.
    unsafe { command.pre_exec(|| Ok(())) };
}

/// Sends a signal to a process of the campaign.
pub fn send(pid: Pid, signal: i32) {
    // SAFETY: a plain system call.
    unsafe { libc::kill(pid, signal) };
}

/// Waits for the end of a child.
///
/// # Errors
/// The error of the system call.
pub fn wait(pid: Pid) -> std::io::Result<Ended> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(if libc::WIFSIGNALED(status) {
        Ended::Signalled(libc::WTERMSIG(status))
    } else {
        Ended::Exited(libc::WEXITSTATUS(status))
    })
}

/// Waits until a child was stopped by a signal.
///
/// # Errors
/// The error of the system call, and a child that ended instead.
pub fn wait_until_stopped(pid: Pid) -> std::io::Result<()> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    if unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    if libc::WIFSTOPPED(status) { Ok(()) } else { Err(std::io::Error::other("it ended instead")) }
}

/// Has the calling process's next children live in a process namespace of their own, where the first of them has number 1.
///
/// # Errors
/// The error of the system call: it takes root.
pub fn new_process_namespace() -> std::io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Makes orphans among the descendants of this process its own children, so that it can wait for them.
///
/// # Errors
/// The error of the system call.
pub fn adopt_orphans() -> std::io::Result<()> {
    // SAFETY: a plain system call.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
