//! What became of an import.

use std::fmt;

use stepwell_engine::RunId;

use crate::cmf::NotFound;

/// What an import found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportReport {
    /// Runs that are in the store now and were not before.
    pub new: Vec<RunId>,
    /// Runs that were there before, and are as they were.
    pub known: Vec<RunId>,
    /// Pipelines of these runs.
    pub pipelines: u64,
    /// Stages of these runs.
    pub stages: u64,
    /// Artifacts of the source.
    pub artifacts: u64,
    /// Events of the source.
    pub events: u64,
    /// Values of metrics in the new runs.
    pub records: u64,
    /// Files whose content is kept in the store.
    pub files: u64,
    /// What a user should know.
    pub notes: Vec<Note>,
}

/// Something that did not go as one might expect. No note means that something of the source is lost, unless it says so.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// A file of an artifact was not taken.
    NoFile {
        /// Its path.
        path: String,
        /// Why.
        why: NotFound,
    },
    /// Columns of step metrics are no numbers: they are in the file, which is kept, and not in SQL.
    NotNumbers {
        /// Path of the file.
        path: String,
        /// Columns with their types.
        columns: Vec<(String, String)>,
    },
    /// A file of step metrics has the right hash and could not be understood; it is kept as it is.
    NotMetrics {
        /// Path of the file.
        path: String,
        /// What is wrong with it.
        fault: String,
    },
    /// Something the store's own model has no place for. It is kept in the record of the import, and in an export again.
    OnlyInRecord {
        /// What it is.
        what: String,
    },
    /// Something that no ML Metadata store has. It is lost.
    Foreign {
        /// What it is.
        what: String,
    },
    /// The run was imported before, and the source says more or something else of it now. It was left as it is.
    Changed {
        /// The run.
        run: RunId,
    },
    /// A stage of DVC that did not run yet, so there is nothing to import of it.
    NotRun {
        /// Its name.
        stage: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { path, why } => write!(f, "{path:?} {why}"),
            Self::NotNumbers { path, columns } => {
                let columns = columns.iter().map(|(name, kind)| format!("{name} ({kind})"));
                let columns = columns.collect::<Vec<_>>().join(", ");
                write!(f, "{path:?}: no numbers, kept in the file and not in SQL: {columns}")
            }
            Self::NotMetrics { path, fault } => {
                write!(f, "{path:?} is kept, and holds no metrics in CMF's form: {fault}")
            }
            Self::OnlyInRecord { what } => write!(f, "kept for an export, and not in SQL: {what}"),
            Self::Foreign { what } => write!(f, "not ML Metadata's, and not imported: {what}"),
            Self::Changed { run } => {
                write!(f, "run {run} was imported before, and is left as it was; the source has changed since")
            }
            Self::NotRun { stage } => write!(f, "the stage {stage:?} did not run yet"),
        }
    }
}
