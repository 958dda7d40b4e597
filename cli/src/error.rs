//! Errors of the command line. [`crate::exit`] gives each its exit code, and `main` prints it once, with its causes.

use std::io;
use std::path::PathBuf;

use crate::csv_import::CsvError;

/// Result of a command or a part of one.
pub type Result<T, E = CliError> = std::result::Result<T, E>;

/// Why a command failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] stepwell_engine::Error),
    /// The query failed.
    #[error(transparent)]
    Query(#[from] stepwell_query::Error),
    /// Moving metadata in or out was refused or failed.
    #[error(transparent)]
    Exchange(#[from] stepwell_exchange::Error),
    /// There is no artifact or execution of this name.
    #[error("there is no {what} {name:?} in this pipeline")]
    NoneFound {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The remote refused or failed.
    #[error(transparent)]
    Remote(#[from] stepwell_remote::Error),
    /// Some of what was to be pushed or pulled could not be.
    #[error("{failures} {} could not be moved, as said above; the rest was", if *.failures == 1 { "log" } else { "logs or names" })]
    NotMoved {
        /// How many.
        failures: usize,
        /// What the worst of them was.
        kind: stepwell_remote::FailureKind,
    },
    /// A record was not taken.
    #[error("could not log to the run {run:?}")]
    Log {
        /// Name of the run.
        run: String,
        /// Why.
        #[source]
        source: stepwell_engine::LogError,
    },
    /// A run holds fewer records than were logged to it.
    #[error(
        "the run {run:?} was given {logged} records and kept {kept}; `stepwell sql \"SELECT * FROM gaps\"` says why"
    )]
    Incomplete {
        /// Name of the run.
        run: String,
        /// Records logged.
        logged: u64,
        /// Records kept.
        kept: u64,
    },
    /// The CSV file cannot be imported.
    #[error("nothing was imported from {path:?}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        #[source]
        source: Box<CsvError>,
    },
    /// `verify` found files that are not what was written.
    #[error("{files} damaged {}; restore what is listed from a copy, or read past it with `stepwell sql --skip-damaged`",
        if *.files == 1 { "file" } else { "files" })]
    Damaged {
        /// How many.
        files: usize,
    },
    /// `compact` could not merge the segments of some writers.
    #[error("{writers} could not be compacted; nothing of it was changed")]
    NotCompacted {
        /// How many writers, in words.
        writers: String,
    },
    /// `compact` could not pack what was due.
    #[error("small segments were not packed, and every row is where it was: {why}")]
    NotPacked {
        /// What was in the way.
        why: String,
    },
    /// `gc` could not remove what it was told to.
    #[error("{objects} could not be removed; the list says which, and stderr why")]
    NotRemoved {
        /// How many objects, in words.
        objects: String,
    },
    /// `doctor` found something wrong.
    #[error("{findings} {} wrong; `stepwell doctor --repair` does something about {repairable}",
        if *.findings == 1 { "thing is" } else { "things are" })]
    Unhealthy {
        /// How many findings are more than a note.
        findings: usize,
        /// How many of them can be repaired.
        repairable: usize,
    },
    /// `doctor --repair` left something wrong.
    #[error("{left} {} not repaired; the list says what and why", if *.left == 1 { "finding was" } else { "findings were" })]
    NotRepaired {
        /// How many findings.
        left: usize,
    },
    /// No run logged this metric.
    #[error("the run {run} has no metric {metric:?}; it has {have}")]
    NoMetric {
        /// The run, as the user knows it.
        run: String,
        /// The metric asked for.
        metric: String,
        /// What there is, in words.
        have: String,
    },
    /// A metric of this name was logged under several metrics names.
    #[error("the run {run} has {metric:?} under the metrics names {names}; choose one with --metrics-name")]
    SeveralMetricsNames {
        /// The run, as the user knows it.
        run: String,
        /// The metric asked for.
        metric: String,
        /// The metrics names.
        names: String,
    },
    /// No run was named, and a filter fits none.
    #[error("there are no runs to {action}; `stepwell runs` lists what the store holds")]
    NoRuns {
        /// What was to be done with them.
        action: &'static str,
    },
    /// Lineage was asked for of something that is not there.
    #[error(transparent)]
    NoLineage(#[from] stepwell_query::lineage::NotFound),
    /// Not enough was said about the server to load a graph into.
    #[error("{missing}")]
    GraphServer {
        /// What is missing, and how to give it.
        missing: String,
    },
    /// A graph could not be loaded into a server.
    #[error("could not load the graph into {address}; loading it again goes on where this ended")]
    GraphLoad {
        /// The server.
        address: String,
        /// Why.
        #[source]
        source: Box<neo4rs::Error>,
    },
    /// Every value is NaN, infinite or outside what a logarithmic axis can show.
    #[error("{metric:?} has no value that can be drawn: all are NaN, infinite or, with --log-y, not above zero")]
    NothingToPlot {
        /// The metric.
        metric: String,
    },
    /// An empty SQL statement.
    #[error("there is no SQL statement in {origin}; for example: stepwell sql \"SELECT * FROM runs\"")]
    EmptySql {
        /// Where it was looked for.
        origin: String,
    },
    /// A binary format would be written to a terminal.
    #[error("{format} is binary and stdout is a terminal; write it to a file with -o FILE")]
    BinaryToTerminal {
        /// The format.
        format: &'static str,
    },
    /// The demo would have to delete something it did not make.
    #[error(
        "{path:?} holds something that `stepwell demo` did not make, or a run that is being written; give another folder with --store"
    )]
    NotADemoStore {
        /// The folder.
        path: PathBuf,
    },
    /// The demo's second process did not do its part.
    #[error("the demo's training process {fault}")]
    Worker {
        /// What it did instead.
        fault: String,
    },
    /// A picture could not be made.
    #[error("could not draw the plot: {fault}")]
    Render {
        /// What the renderer said.
        fault: String,
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
    /// The result could not be written to stdout.
    #[error("could not write to stdout")]
    Output {
        /// Why.
        #[from]
        source: io::Error,
    },
    /// A value could not be written as JSON.
    #[error("could not write JSON")]
    Json {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
    /// A table could not be built.
    #[error("could not build the result")]
    Arrow {
        /// Why.
        #[from]
        source: arrow::error::ArrowError,
    },
}

impl CliError {
    /// Wraps the failure of an operation on a file.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
