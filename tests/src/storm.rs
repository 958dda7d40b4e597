//! What the fork campaign and its helper agree on.

use crate::forks::Ended;

/// Threads of the parent that log all the time: lanes 0 and up.
pub const THREADS: usize = 2;
/// Lane of the thread that forks.
pub const OWN_LANE: usize = THREADS;
/// Lanes of children start here.
pub const CHILD_LANES: usize = 100;
/// Records that a child with a writer of its own logs.
pub const CHILD_RECORDS: i64 = 500;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Tries everything on the parent's run, and is refused.
    Refused,
    /// Starts a writer of its own.
    OwnWriter,
    /// Is killed.
    Killed,
    /// Lives longer than its parent.
    Outlive,
    /// Drops the parent's logger, run and store.
    DropAll,
    /// Exits with exit handlers.
    Exit,
    /// Aborts.
    Abort,
    /// Forks again; the grandchild starts a writer, and may be an orphan by then.
    Grandchild,
    /// Asks the store that its parent opened.
    InheritedStore,
    /// Is another program.
    Exec,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Refused,
        Self::OwnWriter,
        Self::Killed,
        Self::Outlive,
        Self::DropAll,
        Self::Exit,
        Self::Abort,
        Self::Grandchild,
        Self::InheritedStore,
        Self::Exec,
    ];

    /// How a child that does this ends.
    pub fn expected_end(self) -> Ended {
        match self {
            Self::Killed => Ended::Signalled(libc::SIGKILL),
            Self::Abort => Ended::Signalled(libc::SIGABRT),
            _ => Ended::Exited(0),
        }
    }
}
