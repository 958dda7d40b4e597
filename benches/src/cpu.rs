//! Processor time and memory of this process, and the cores that its threads run on.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// Processor time that this process has used so far, all its threads together.
pub fn of_process() -> Duration {
    read(ClockId::ProcessCPUTime)
}

/// Processor time that the calling thread has used so far.
pub fn of_thread() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Most memory that was resident at a time, in bytes, the pages of the mapped journals included; `None` where the
/// system does not tell.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The calling thread is pinned to a core; until this goes, which has to be in the same thread.
#[derive(Debug)]
pub struct Pinned {
    #[cfg(target_os = "linux")]
    before: rustix::thread::CpuSet,
}

impl Pinned {
    /// Pins the calling thread to one core: the last of those that it may run on, for thread 0, and so on downwards, over and over.
    /// Threads that it starts later are pinned with it.
    ///
    /// # Errors
    /// When the system refuses it, or has no such thing.
    #[cfg(target_os = "linux")]
    pub fn new(thread: usize) -> Result<Self> {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

        let before = sched_getaffinity(None)?;
        let mut cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core)).collect();
        cores.reverse();
        let mut only = CpuSet::new();
        only.set(*cores.get(thread % cores.len().max(1)).ok_or("there is no core")?);
        sched_setaffinity(None, &only)?;
        Ok(Self { before })
    }

    /// Threads are pinned on Linux only.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn new(_thread: usize) -> Result<Self> {
        Err("threads are pinned on Linux only".into())
    }
}

#[cfg(target_os = "linux")]
impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = rustix::thread::sched_setaffinity(None, &self.before);
    }
}
