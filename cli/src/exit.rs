//! Exit codes: the one place where errors become numbers.

use std::io;
use std::process::ExitCode;

use crate::error::CliError;

/// Shown at the end of `stepwell --help`.
pub const HELP: &str = "\
Exit codes:
  0  done
  1  failure: input or output, a full disk, an error of the operating system
  2  the command line, a name, an SQL statement or an input file is wrong
  3  data in the store is damaged
  4  a store, run, metric or file was not found
  5  refused: SQL that would write, a read-only store, a run still being written or a store open elsewhere, a newer Stepwell's file
  6  the doctor found something wrong, or could not repair it

The store is the folder given by --store, else by the environment variable STEPWELL_STORE, else `.stepwell`.
Data goes to stdout, messages go to stderr.";

/// What the process says when it ends. [`HELP`] has the same list for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Input or output failed, or the operating system refused.
    Failure = 1,
    /// The command line, a name, an SQL statement or an input file is wrong.
    Usage = 2,
    /// Data in the store is not what was written.
    Damaged = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// The store's state does not allow it.
    Refused = 5,
    /// The doctor found something wrong, or could not repair it.
    Unhealthy = 6,
}

impl Exit {
    /// The exit code of an error.
    pub fn of(error: &CliError) -> Self {
        match error {
            CliError::Engine(error) => Self::of_engine(error),
            CliError::Query(error) => Self::of_query(error),
            CliError::Exchange(error) => Self::of_exchange(error),
            CliError::Remote(error) => Self::of_remote(error),
            CliError::NotMoved { kind: stepwell_remote::FailureKind::Damaged, .. } => Self::Damaged,
            CliError::NotMoved { kind: stepwell_remote::FailureKind::Diverged, .. } => Self::Refused,
            CliError::NotMoved { .. } => Self::Failure,
            CliError::Damaged { .. } => Self::Damaged,
            CliError::Unhealthy { .. } | CliError::NotRepaired { .. } => Self::Unhealthy,
            CliError::NoMetric { .. }
            | CliError::NoRuns { .. }
            | CliError::NoLineage(_)
            | CliError::NoneFound { .. }
            | CliError::NothingToPlot { .. } => Self::NotFound,
            CliError::Csv { .. }
            | CliError::BinaryToTerminal { .. }
            | CliError::SeveralMetricsNames { .. }
            | CliError::GraphServer { .. }
            | CliError::EmptySql { .. } => Self::Usage,
            CliError::NotADemoStore { .. } => Self::Refused,
            CliError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::NotFound,
            CliError::Io { .. }
            | CliError::Output { .. }
            | CliError::Log { .. }
            | CliError::Json { .. }
            | CliError::Arrow { .. }
            | CliError::Incomplete { .. }
            | CliError::NotCompacted { .. }
            | CliError::NotPacked { .. }
            | CliError::NotRemoved { .. }
            | CliError::Worker { .. }
            | CliError::GraphLoad { .. }
            | CliError::Render { .. } => Self::Failure,
        }
    }

    fn of_query(error: &stepwell_query::Error) -> Self {
        use stepwell_query::Error;
        match error {
            Error::Engine(error) => Self::of_engine(error),
            Error::NotReadOnly { .. } => Self::Refused,
            Error::Damaged { .. } => Self::Damaged,
            _ if error.is_corruption() => Self::Damaged,
            _ if error.is_invalid_input() => Self::Usage,
            _ => Self::Failure,
        }
    }

    fn of_exchange(error: &stepwell_exchange::Error) -> Self {
        match error {
            stepwell_exchange::Error::Engine(error) => Self::of_engine(error),
            _ if error.is_corruption() => Self::Damaged,
            _ if error.is_invalid_input() => Self::Usage,
            _ if error.is_not_found() => Self::NotFound,
            _ if error.is_refused() => Self::Refused,
            _ => Self::Failure,
        }
    }

    fn of_remote(error: &stepwell_remote::Error) -> Self {
        use stepwell_remote::Error;
        match error {
            Error::Engine(error) => Self::of_engine(error),
            _ if error.is_corruption() => Self::Damaged,
            _ if error.is_invalid_input() => Self::Usage,
            Error::NoSuchRemote { .. } | Error::Empty { .. } => Self::NotFound,
            Error::OpenCredentials { .. }
            | Error::NewerFormat { .. }
            | Error::Diverged { .. }
            | Error::Denied { .. }
            | Error::Symlink { .. } => Self::Refused,
            _ => Self::Failure,
        }
    }

    fn of_engine(error: &stepwell_engine::Error) -> Self {
        use stepwell_engine::Error;
        match error {
            _ if error.is_corruption() => Self::Damaged,
            _ if error.is_invalid_input() => Self::Usage,
            Error::NotFound { .. } | Error::NoStore { .. } => Self::NotFound,
            Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Self::NotFound,
            Error::StoreIsAFile { .. } => Self::Usage,
            Error::ReadOnlyStore { .. }
            | Error::NewerFormat { .. }
            | Error::RunClosed { .. }
            | Error::StoreInUse { .. }
            | Error::RunStillWritten { .. } => Self::Refused,
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn every_kind_of_error_has_its_code() {
        let path = PathBuf::from("x");
        let engine = |error: stepwell_engine::Error| Exit::of(&CliError::Engine(error));
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        use stepwell_engine::Error;
        assert_eq!(engine(Error::Damaged { path: path.clone(), fault: "torn".into() }), Exit::Damaged);
        assert_eq!(engine(Error::NoStore { path: path.clone() }), Exit::NotFound);
        assert_eq!(engine(Error::StoreIsAFile { path: path.clone() }), Exit::Usage);
        assert_eq!(engine(Error::ReadOnlyStore { path: path.clone() }), Exit::Refused);
        assert_eq!(engine(Error::AmbiguousRun { prefix: "01".into(), count: 2 }), Exit::Usage);
        assert_eq!(engine(Error::Io { action: "read", path: path.clone(), source: missing() }), Exit::NotFound);
        assert_eq!(Exit::of(&CliError::Io { action: "read", path: path.clone(), source: missing() }), Exit::NotFound);
        assert_eq!(Exit::of(&CliError::Damaged { files: 1 }), Exit::Damaged);
        assert_eq!(Exit::of(&CliError::Unhealthy { findings: 1, repairable: 0 }), Exit::Unhealthy);
        assert_eq!(Exit::of(&CliError::NotADemoStore { path }), Exit::Refused);
    }

    #[test]
    fn the_help_lists_every_code() {
        use Exit::{Damaged, Failure, NotFound, Refused, Success, Unhealthy, Usage};
        for code in [Success, Failure, Usage, Damaged, NotFound, Refused, Unhealthy] {
            assert!(HELP.contains(&format!("\n  {}  ", code as u8)), "{code:?} is not in the help");
        }
    }
}
