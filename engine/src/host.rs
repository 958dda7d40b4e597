//! Which process this is, and whether another one still lives.

use std::path::Path;

use crate::error::Result;
use crate::event_log::is_locked;
use crate::events::ProcessInfo;
use crate::layout::Layout;

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

/// Whether the writer of the event log at `log` is alive.
///
/// The lock on the log decides: the kernel releases it with the process, however it died. A network file system may not
/// carry locks across; there, a writer on another host always counts as alive, so a shared folder errs towards "running".
pub(crate) fn is_alive(layout: &Layout, process: &ProcessInfo, log: &Path) -> Result<bool> {
    if is_locked(layout, log)? {
        return Ok(true);
    }
    Ok(process.host != host_name() && layout.storage().file_system(log).is_remote)
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
