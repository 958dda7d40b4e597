//! What a push or pull did.

use stepwell_engine::{RunId, WriterId};

use crate::error::Error;

/// What a push or pull did, or with `dry_run` would have done.
#[derive(Debug, Default)]
pub struct Report {
    /// Runs that were looked at.
    pub runs: u64,
    /// Writers whose log, or what it names, was moved.
    pub writers: u64,
    /// Segments that were moved.
    pub segments: u64,
    /// Objects that were moved.
    pub objects: u64,
    /// Parts of event logs that were moved.
    pub parts: u64,
    /// Bytes that were moved.
    pub bytes: u64,
    /// Files that were needed and there already.
    pub present: u64,
    /// What could not be moved; the rest was.
    pub failures: Vec<Failure>,
    /// Runs with rows that are in a journal and not committed: those are not pushed.
    pub uncommitted: Vec<Uncommitted>,
}

/// What could not be moved.
#[derive(Debug)]
pub struct Failure {
    /// The run, where it is known.
    pub run: Option<RunId>,
    /// The writer, where it is known.
    pub writer: Option<WriterId>,
    /// Why.
    pub error: Error,
}

/// What the failures of a report have in common, for an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Data here or at the remote is damaged, or a name was refused.
    Damaged,
    /// Logs were continued in two ways.
    Diverged,
    /// Anything else: the network, a disk, a permission.
    Other,
}

impl Report {
    /// The worst kind of failure; `None` when there was none.
    pub fn failure(&self) -> Option<FailureKind> {
        let kinds: Vec<_> = self.failures.iter().map(Failure::kind).collect();
        let has = |kind| kinds.contains(&kind).then_some(kind);
        has(FailureKind::Damaged).or(has(FailureKind::Diverged)).or(has(FailureKind::Other))
    }
}

impl Failure {
    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        match &self.error {
            error if error.is_corruption() => FailureKind::Damaged,
            Error::Engine(error) if error.is_corruption() => FailureKind::Damaged,
            Error::Diverged { .. } => FailureKind::Diverged,
            _ => FailureKind::Other,
        }
    }
}

/// Rows of a run that are not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncommitted {
    /// The run.
    pub run: RunId,
    /// Rows in its journals.
    pub rows: u64,
}

/// How far a push or pull is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Writers that are done.
    pub writers_done: u64,
    /// Writers in all.
    pub writers: u64,
    /// Bytes moved so far.
    pub bytes: u64,
}
