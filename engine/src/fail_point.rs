//! Named places at which a test may have the process killed.
//!
//! With the cargo feature `fail-points`, the environment variable `STEPWELL_FAIL_POINT=name@n` sends SIGKILL to the
//! process when it reaches the point `name` for the n-th time. Without the feature, which is how Stepwell is released,
//! `reach` is an empty function.

/// Every fail point, in the order in which a run meets them.
pub const FAIL_POINTS: [&str; 54] = [
    "log.create.begin",
    "log.create.written",
    "log.create.end",
    "journal.create.begin",
    "journal.create.written",
    "journal.create.end",
    "journal.define.begin",
    "journal.define.end",
    "seal.begin",
    "seal.end",
    "sync.begin",
    "sync.log",
    "sync.journal",
    "sync.end",
    "segment.create",
    "segment.written",
    "segment.synced",
    "segment.rename.begin",
    "segment.rename.end",
    "segment.published",
    "event.append.begin",
    "event.append.middle",
    "event.append.end",
    "event.sync.begin",
    "event.sync.end",
    "recycle.begin",
    "recycle.end",
    "commit.begin",
    "commit.end",
    "finish.begin",
    "finish.event",
    "finish.journals",
    "finish.end",
    "catalog.begin",
    "catalog.end",
    "recovery.begin",
    "recovery.journals",
    "recovery.orphans",
    "recovery.end",
    "compact.begin",
    "compact.written",
    "compact.published",
    "compact.marked",
    "compact.event",
    "compact.synced",
    "compact.catalog",
    "compact.remove.begin",
    "compact.remove.file",
    "compact.remove.synced",
    "compact.remove.event",
    "pack.begin",
    "pack.written",
    "pack.published",
    "pack.removed",
];

/// Reaches a fail point.
#[cfg(not(feature = "fail-points"))]
#[inline(always)]
pub(crate) fn reach(_name: &'static str) {}

/// Reaches a fail point: the process ends here when it was asked to.
#[cfg(feature = "fail-points")]
pub(crate) fn reach(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static REACHED: AtomicU64 = AtomicU64::new(0);

    debug_assert!(FAIL_POINTS.contains(&name), "{name} is not in the list of fail points");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("STEPWELL_FAIL_POINT").ok()?;
        let (name, count) = text.split_once('@').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().ok()?))
    });
    let Some((wanted, count)) = wanted else { return };
    if wanted == name && REACHED.fetch_add(1, Ordering::Relaxed) + 1 == *count {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal has been sent; nothing may happen after it.
        loop {
            std::thread::park();
        }
    }
}
