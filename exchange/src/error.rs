//! Errors of moving metadata in and out.

use std::io;
use std::path::PathBuf;

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with what to do about it in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] stepwell_engine::Error),
    /// There is no file of this name.
    #[error("there is no file {path:?}; give the `mlmd` file that CMF wrote, or the folder it lies in")]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is no ML Metadata store.
    #[error("{path:?} is no ML Metadata store: {fault}")]
    NotMlmd {
        /// The file.
        path: PathBuf,
        /// What tells so.
        fault: String,
    },
    /// The schema of the store is one that is not read.
    #[error(
        "{path:?} has ML Metadata's schema version {found}, and versions {first} to {last} are read; open it once with an ml-metadata of version 1.15 to 1.21, which upgrades it"
    )]
    SchemaVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The oldest that is read.
        first: i64,
        /// The newest that is read.
        last: i64,
    },
    /// A file is not what its format asks for.
    #[error("{path:?} is damaged: {fault}; nothing was taken from it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A file in YAML cannot be used.
    #[error("{path:?}, line {line}: {fault}; nothing was imported")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 when it concerns all of the file.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// A path of an imported file leads out of its folder.
    #[error("{path:?}: the path {name:?} leads out of its folder; nothing was imported")]
    PathLeadsOut {
        /// The file that has it.
        path: PathBuf,
        /// The path in it.
        name: String,
    },
    /// There is nothing to import.
    #[error("there is nothing to import in {path:?}: {why}")]
    Nothing {
        /// The file or folder.
        path: PathBuf,
        /// What was looked for.
        why: &'static str,
    },
    /// There is no pipeline of this name.
    #[error("there is no pipeline {name:?}; `stepwell pipeline list` names them")]
    NoPipeline {
        /// The name.
        name: String,
    },
    /// A file would be overwritten.
    #[error("{path:?} exists and is left as it is; give another name, or move it away")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written at its place.
    #[error("{path:?} cannot be written: {fault}")]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: &'static str,
    },
    /// An operation on a file failed.
    #[error("could not {action} {path:?}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Writing an ML Metadata store failed.
    #[error("could not write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: rusqlite::Error,
    },
    /// Rows of metrics could not be read or written.
    #[error("could not {action} the metrics in {path:?}")]
    Parquet {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: parquet::errors::ParquetError,
    },
}

impl Error {
    /// Whether data on disk is not what was written.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_corruption(),
            Self::Damaged { .. } | Self::Parquet { action: "read", .. } => true,
            _ => false,
        }
    }

    /// Whether the caller's input was at fault: a path, a name, a file of another kind.
    pub fn is_invalid_input(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_invalid_input(),
            Self::NotMlmd { .. }
            | Self::SchemaVersion { .. }
            | Self::Yaml { .. }
            | Self::PathLeadsOut { .. }
            | Self::Nothing { .. } => true,
            _ => false,
        }
    }

    /// Whether what was named does not exist.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoFile { .. } | Self::NoPipeline { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether something that is there is in the way.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Exists { .. } | Self::Unsafe { .. })
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
