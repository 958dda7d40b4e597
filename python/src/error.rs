//! The one place where errors become Python exceptions, the classes of `stepwell.errors`.

use pyo3::prelude::*;
use pyo3::types::PyType;
use stepwell_engine::{Error, LogError, with_causes};

/// A class of `stepwell.errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A file does not hold what was written to it.
    Corruption,
    /// A forked child used its parent's run.
    Forked,
    /// A name, value or setting that cannot be used.
    Input,
    /// A value of a type that cannot be logged.
    InputType,
    /// The journal had no room.
    JournalFull,
    /// A store, run or file does not exist.
    NotFound,
    /// SQL that cannot be answered.
    Query,
    /// A write to a store that cannot be written to.
    ReadOnly,
    /// The run was finished.
    RunClosed,
    /// Everything else.
    Stepwell,
    /// A file could not be read, written or synced.
    Storage,
    /// Something was lost and the run went on.
    Warning,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Corruption => "CorruptionError",
            Self::Forked => "ForkedError",
            Self::Input => "InputError",
            Self::InputType => "InputTypeError",
            Self::JournalFull => "JournalFullError",
            Self::NotFound => "NotFoundError",
            Self::Query => "QueryError",
            Self::ReadOnly => "ReadOnlyError",
            Self::RunClosed => "RunClosedError",
            Self::Stepwell => "StepwellError",
            Self::Storage => "StorageError",
            Self::Warning => "StepwellWarning",
        }
    }

    /// The Python class.
    pub fn get(self, py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
        Ok(py.import("stepwell.errors")?.getattr(self.name())?.cast_into()?)
    }

    /// An exception of this class.
    pub fn error(self, py: Python<'_>, message: impl Into<String>) -> PyErr {
        match self.get(py) {
            Ok(class) => PyErr::from_type(class, (message.into(),)),
            // The package is damaged; say so instead of hiding it behind the message.
            Err(import) => import,
        }
    }
}

/// The exception for an error of the engine.
pub fn engine(py: Python<'_>, error: &Error) -> PyErr {
    class_of(error).error(py, with_causes(error))
}

/// The exception for a log call that was refused.
pub fn log(py: Python<'_>, error: LogError) -> PyErr {
    let class = match error {
        LogError::Full => Class::JournalFull,
        LogError::Closed => Class::RunClosed,
        LogError::Forked => Class::Forked,
        LogError::ForeignMetric => Class::Input,
        _ => Class::Stepwell,
    };
    class.error(py, error.to_string())
}

/// The exception for an error of the query crate.
pub fn query(py: Python<'_>, error: &stepwell_query::Error) -> PyErr {
    match error {
        stepwell_query::Error::Engine(error) => engine(py, error),
        error if error.is_corruption() => Class::Corruption.error(py, with_causes(error)),
        _ => Class::Query.error(py, with_causes(error)),
    }
}

fn class_of(error: &Error) -> Class {
    match error {
        Error::RunClosed { .. } => Class::RunClosed,
        Error::Forked { .. } => Class::Forked,
        Error::NotFound { .. } | Error::NoStore { .. } => Class::NotFound,
        Error::ReadOnlyStore { .. } => Class::ReadOnly,
        Error::StoreIsAFile { .. } => Class::Input,
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Class::NotFound,
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Class::ReadOnly,
        Error::Io { .. } | Error::SyncFailed { .. } | Error::Parquet { .. } | Error::Catalog { .. } => Class::Storage,
        error if error.is_invalid_input() => Class::Input,
        error if error.is_corruption() => Class::Corruption,
        _ => Class::Stepwell,
    }
}
