//! Which process this is, and whether another one still lives.

use std::path::Path;

use crate::error::Result;
use crate::event_log::is_locked;
use crate::events::{ProcessInfo, WriterStarted};
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::scratch::{self, Found};

/// The calling process.
pub(crate) fn current_process() -> ProcessInfo {
    let pid = std::process::id();
    ProcessInfo { host: host_name(), boot_id: boot_id(), pid, pid_start: start_of(pid).unwrap_or(0) }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether the machine was restarted since the process started on it; `false` when that was another machine.
pub(crate) fn went_down(process: &ProcessInfo) -> bool {
    process.host == host_name() && !process.boot_id.is_empty() && process.boot_id != boot_id()
}

fn boot_id() -> String {
    // A simulated power cut does not restart the machine; the campaign says what a restart would have changed.
    #[cfg(feature = "fail-points")]
    if let Ok(id) = std::env::var("STEPWELL_BOOT_ID") {
        return id;
    }
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Start time of a process in clock ticks since boot; `None` when there is no such process or no `/proc`.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses and may hold spaces; the start time is field 22.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a process runs, or ran, on this machine. The same boot is the same machine, whatever name a container gave it.
pub(crate) fn is_here(process: &ProcessInfo) -> bool {
    process.host == host_name() || (!process.boot_id.is_empty() && process.boot_id == boot_id())
}

/// Whether a writer lives, as far as this machine can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It lives.
    Alive,
    /// It is gone; what it left can be recovered here.
    Dead,
    /// It cannot be told, and its journals cannot be read here: they are in the scratch of another machine or user. It counts
    /// as alive: taken for dead, it would be recovered without its records, and its event log written by two.
    OutOfReach,
}

/// One writer, as far as its life is concerned.
pub(crate) struct WriterPlace<'a> {
    pub run: RunId,
    pub writer: WriterId,
    pub process: &'a ProcessInfo,
    /// What its first event says about the folder of its journals.
    pub journals: Option<&'a Path>,
}

impl<'a> WriterPlace<'a> {
    pub(crate) fn of(started: &'a WriterStarted) -> Self {
        let WriterStarted { run_id, writer, process, journals, .. } = started;
        Self { run: *run_id, writer: *writer, process, journals: journals.as_deref() }
    }
}

/// Whether a writer is alive.
///
/// A lock decides, which the kernel releases with the process, however it died: that on the event log, or on the folder of
/// the journals when that is in scratch. A network file system may not carry locks across; there, a writer on another host
/// never counts as dead, so a shared folder errs towards "running".
///
/// A log that was pulled from a remote before its writer had ended has no lock, and says nothing of the writer's death: its
/// journals are where it ran, see [`Layout::pulled`].
pub(crate) fn life_of(layout: &Layout, place: &WriterPlace<'_>) -> Result<Life> {
    match life_by_locks(layout, place)? {
        Life::Dead if layout.storage().exists(&layout.pulled(place.run, place.writer)) => Ok(Life::OutOfReach),
        life => Ok(life),
    }
}

fn life_by_locks(layout: &Layout, place: &WriterPlace<'_>) -> Result<Life> {
    let WriterPlace { run, writer, process, journals } = place;
    let log = layout.events(*run, *writer);
    let is_remote = || layout.storage().file_system(&log).is_remote;
    let Some(folder) = journals else {
        let alive = is_locked(layout, &log)? || (process.host != host_name() && is_remote());
        return Ok(if alive { Life::Alive } else { Life::Dead });
    };
    if !is_here(process) {
        return Ok(Life::OutOfReach);
    }
    Ok(match scratch::look(folder, *run, *writer)? {
        Found::Held => Life::Alive,
        Found::Free => Life::Dead,
        Found::Closed => Life::OutOfReach,
        Found::Gone if is_locked(layout, &log)? => Life::Alive,
        // It did not survive a restart, or a local store says that the writer is gone.
        Found::Gone if went_down(process) || !is_remote() => Life::Dead,
        // A container may have scratch of its own that is not seen from here.
        Found::Gone => Life::OutOfReach,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_start_time() {
        let process = current_process();
        assert!(process.pid_start > 0 && !process.boot_id.is_empty() && !process.host.is_empty());
        assert_eq!(start_of(process.pid), Some(process.pid_start));
        assert_eq!(start_of(u32::MAX), None);
    }
}
