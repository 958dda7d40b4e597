//! Errors of remotes.

use std::io;
use std::path::PathBuf;

/// Result of an operation on a remote.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A URL names no remote.
    #[error("{url:?} is no remote: {fault}")]
    InvalidUrl {
        /// What was given, without a password.
        url: String,
        /// What is wrong with it, and what fits.
        fault: String,
    },
    /// A name, flag or setting of a remote is wrong.
    #[error("{fault}")]
    InvalidSetting {
        /// What is wrong, and what to do.
        fault: String,
    },
    /// No remote has this name.
    #[error(
        "there is no remote {name:?}; `stepwell remote list` shows those of the store, `stepwell remote add NAME URL` adds one"
    )]
    NoSuchRemote {
        /// The name.
        name: String,
    },
    /// Nothing was ever pushed there.
    #[error("{remote} holds no stepwell remote; push to it first, or look at the URL")]
    Empty {
        /// The remote.
        remote: String,
    },
    /// A newer Stepwell wrote it.
    #[error("{what} has format {found}, and this Stepwell reads up to {supported}; install a newer one")]
    NewerFormat {
        /// The remote or the log.
        what: String,
        /// Its format.
        found: u32,
        /// Newest format that is read.
        supported: u32,
    },
    /// Others could read the file of credentials.
    #[error("{path:?} may be read by others; run `chmod 600 {path:?}`")]
    OpenCredentials {
        /// The file.
        path: PathBuf,
    },
    /// The remote holds something else than its name says.
    #[error("{key} at the remote is damaged: {fault}; nothing of it was kept")]
    Corrupt {
        /// Its name at the remote.
        key: String,
        /// What is wrong.
        fault: String,
    },
    /// A file of the store is not what its name says.
    #[error("{path:?} is damaged: {fault}; `stepwell doctor` says what can be done, and it was not pushed")]
    LocalDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: String,
    },
    /// A name at the remote or in a log cannot be used.
    #[error("the name {name:?} is refused: {fault}")]
    RefusedName {
        /// The name, with control characters escaped.
        name: String,
        /// Why.
        fault: &'static str,
    },
    /// Two versions of a log say different things.
    #[error("the log of writer {writer} of run {run} was continued in two ways: {fault}")]
    Diverged {
        /// The run.
        run: String,
        /// The writer.
        writer: String,
        /// Where the two are, and what to do.
        fault: String,
    },
    /// Something that a log names is not at the remote.
    #[error("{key} is not at the remote, though a log there names it; push again from where the run was written")]
    Missing {
        /// Its name at the remote.
        key: String,
    },
    /// The remote refused.
    #[error("the remote refused {what}: {fault}")]
    Denied {
        /// What was asked.
        what: String,
        /// What it said.
        fault: String,
    },
    /// The remote did not answer as it should, after all retries.
    #[error("could not {what}: {fault}")]
    Unreachable {
        /// What was tried.
        what: String,
        /// What happened.
        fault: String,
    },
    /// A path inside a folder leads out of it.
    #[error("{path:?} is a symbolic link, which could lead out of the folder; nothing is written through it")]
    Symlink {
        /// The link.
        path: PathBuf,
    },
    /// An operation on a local file failed.
    #[error("could not {action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] stepwell_engine::Error),
}

impl Error {
    /// Whether what was read is not what was written.
    pub fn is_corruption(&self) -> bool {
        matches!(
            self,
            Self::Corrupt { .. } | Self::LocalDamaged { .. } | Self::RefusedName { .. } | Self::Missing { .. }
        )
    }

    /// Whether what the caller gave is wrong.
    pub fn is_invalid_input(&self) -> bool {
        matches!(self, Self::InvalidUrl { .. } | Self::InvalidSetting { .. })
    }

    /// Whether trying again, as it is, may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn unreachable(what: impl Into<String>, fault: impl std::fmt::Display) -> Self {
        Self::Unreachable { what: what.into(), fault: fault.to_string() }
    }

    pub(crate) fn corrupt(key: impl ToString, fault: impl Into<String>) -> Self {
        Self::Corrupt { key: key.to_string(), fault: fault.into() }
    }
}
