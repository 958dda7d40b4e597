//! Errors of the query crate, with DataFusion's messages cleaned so that the user reads each fact once.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError, Span};
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;
use stepwell_engine::RunId;

use crate::suggest::nearest;
use crate::unnested::without_marks;

/// Result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in the text of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Line, counted from 1.
    pub line: u64,
    /// Column, counted from 1.
    pub column: u64,
}

impl From<Span> for Position {
    fn from(span: Span) -> Self {
        Self { line: span.start.line, column: span.start.column }
    }
}

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentFault {
    /// The file is not there.
    Missing,
    /// The file has another length than was registered.
    WrongSize {
        /// Registered length in bytes.
        expected: u64,
        /// Length found in bytes.
        actual: u64,
    },
    /// The bytes do not have the BLAKE3 that was registered.
    WrongHash {
        /// Registered hash, hex.
        expected: String,
        /// Hash of the bytes found, hex.
        actual: String,
    },
    /// The bytes are those registered, and yet no Parquet this version reads.
    NotParquet {
        /// What the reader said.
        fault: String,
    },
    /// It has another number of rows than the event log tells of, metric by metric.
    WrongRows {
        /// Rows the event log tells of.
        expected: u64,
        /// Rows in the file.
        actual: u64,
    },
    /// A newer Stepwell wrote it in a form this version does not know.
    NewerFormat,
    /// The operating system refused to read it.
    Unreadable {
        /// What the operating system said.
        fault: String,
    },
}

impl fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the file is missing"),
            Self::WrongSize { expected, actual } => {
                write!(f, "it has {actual} bytes, and {expected} are registered")
            }
            Self::WrongHash { expected, actual } => {
                write!(f, "its BLAKE3 is {actual}, and {expected} is registered")
            }
            Self::NotParquet { fault } => write!(f, "it cannot be read as Parquet ({fault})"),
            Self::WrongRows { expected, actual } => {
                write!(f, "it has {actual} rows, and the event log tells of {expected}")
            }
            Self::NewerFormat => write!(f, "a newer Stepwell wrote it; install that version to read it"),
            Self::Unreadable { fault } => write!(f, "it cannot be read ({fault})"),
        }
    }
}

/// A segment that cannot be trusted, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the segment {path:?} of run {run} cannot be used: {fault}")]
pub struct DamagedSegment {
    /// The file.
    pub path: PathBuf,
    /// The run it belongs to.
    pub run: RunId,
    /// What is wrong with it.
    pub fault: SegmentFault,
}

/// Why a query has no answer, with what to do about it in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine could not take a snapshot or read the catalog.
    #[error(transparent)]
    Engine(#[from] stepwell_engine::Error),
    /// The text holds no statement.
    #[error("there is no SQL to run; try SELECT * FROM runs")]
    Empty,
    /// The text holds several statements.
    #[error("one query at a time: the text holds {count} statements separated by ';'")]
    ManyStatements {
        /// How many.
        count: usize,
    },
    /// The statement would change something.
    #[error("{statement} is refused: SQL here only reads; use SELECT, WITH, VALUES, EXPLAIN, SHOW or DESCRIBE")]
    NotReadOnly {
        /// Kind of statement, such as `DROP`.
        statement: String,
    },
    /// The text is not SQL.
    #[error("the SQL does not parse: {message}")]
    Syntax {
        /// What the parser said; holds line and column.
        message: String,
    },
    /// A table does not exist.
    #[error("there is no table {name:?}{}; tables: {}", did_you_mean(.suggestion), .tables.join(", "))]
    UnknownTable {
        /// What was asked for.
        name: String,
        /// A table with a similar name.
        suggestion: Option<String>,
        /// All tables.
        tables: Vec<String>,
    },
    /// A column does not exist.
    #[error("there is no column {name:?}{}{}; columns: {}", at(.position), did_you_mean(.suggestion), .columns.join(", "))]
    UnknownColumn {
        /// What was asked for.
        name: String,
        /// A column with a similar name.
        suggestion: Option<String>,
        /// Columns of the tables the query names.
        columns: Vec<String>,
        /// Where it is in the query.
        position: Option<Position>,
    },
    /// The statement chains more operators than can be planned.
    #[error(
        "the SQL chains {operators} operators, and at most {operators_max} are taken; write IN (...) for many ORs, or join a table of values"
    )]
    TooDeep {
        /// Operators in the statement.
        operators: usize,
        /// Most that are taken.
        operators_max: usize,
    },
    /// The query takes the name of a metric for a column.
    #[error("{name:?}{} is a metric, and metrics are rows; write SELECT step, value FROM metrics WHERE metric = '{name}'", at(.position))]
    MetricIsNoColumn {
        /// The metric.
        name: String,
        /// Where it is in the query.
        position: Option<Position>,
    },
    /// No run has a parameter or tag of this name.
    #[error("no run has a parameter or tag {name:?}{}; there are: {}", did_you_mean(.suggestion), .keys.join(", "))]
    UnknownKey {
        /// What was asked for.
        name: String,
        /// A parameter or tag with a similar name.
        suggestion: Option<String>,
        /// Parameters and tags of all runs.
        keys: Vec<String>,
    },
    /// The text names a parameter that was given no value.
    #[error("the query asks for ${name}, and no value was given for it{}{}", did_you_mean(.suggestion), listed(.given))]
    MissingParameter {
        /// The name, without its `$`.
        name: String,
        /// A parameter with a similar name that was given.
        suggestion: Option<String>,
        /// The parameters that were given.
        given: Vec<String>,
    },
    /// A value was given for a parameter that the text does not name.
    #[error("a value was given for ${name}, and the query does not ask for it; write ${name} where it belongs")]
    UnusedParameter {
        /// The name, without its `$`.
        name: String,
    },
    /// A column name fits several tables of the query.
    #[error("the column {name:?}{} is in several tables of this query; write table.column", at(.position))]
    AmbiguousColumn {
        /// The name.
        name: String,
        /// Where it is in the query.
        position: Option<Position>,
    },
    /// The query cannot be planned: unknown functions, wrong types, unsupported SQL.
    #[error("the query cannot be run{}: {message}", at(.position))]
    Planning {
        /// What the planner said.
        message: String,
        /// Where it is in the query.
        position: Option<Position>,
    },
    /// The query failed while it ran, such as by a division by zero.
    #[error("the query failed: {message}")]
    Execution {
        /// What failed.
        message: String,
    },
    /// A segment is damaged, and the query was not asked to go on without it.
    #[error("{segment}; restore the file, or ask to skip damaged segments")]
    Damaged {
        /// The segment and its fault.
        segment: DamagedSegment,
    },
    /// The query needed more memory than it may use.
    #[error(
        "the query needs more than its {limit_bytes} bytes of memory ({message}); select fewer columns or rows, aggregate, or raise the limit"
    )]
    MemoryLimit {
        /// The limit in bytes.
        limit_bytes: usize,
        /// What asked for more.
        message: String,
    },
    /// The query took longer than it was given.
    #[error("the query was stopped after {} ms, the time it was given", .timeout.as_millis())]
    Timeout {
        /// The time it was given.
        timeout: Duration,
    },
    /// The caller stopped the query.
    #[error("the query was cancelled")]
    Cancelled,
    /// The threads that run queries could not be started.
    #[error("could not start the threads that run queries")]
    Runtime {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A defect in this program.
    #[error("the query stopped because of a defect: {message}; please report it with the query")]
    Internal {
        /// What was seen.
        message: String,
    },
    /// Writing the result failed.
    #[error("could not write the result as {format}")]
    Output {
        /// Name of the format.
        format: &'static str,
        /// Why it failed.
        #[source]
        source: OutputError,
    },
    /// The name of an output format is not known.
    #[error("there is no output format {name:?}; formats: {}", crate::output::Format::NAMES.join(", "))]
    UnknownFormat {
        /// The name.
        name: String,
    },
}

/// Why writing a result failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// The destination refused the bytes.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The rows do not fit the format.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The rows do not fit Parquet.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; given: {}", names.join(", ")) }
}

fn at(position: &Option<Position>) -> String {
    position.map(|at| format!(" (line {}, column {})", at.line, at.column)).unwrap_or_default()
}

impl Error {
    /// Whether data on disk is not what was written.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Damaged { segment } => !matches!(segment.fault, SegmentFault::Unreadable { .. }),
            Self::Engine(error) => error.is_corruption(),
            _ => false,
        }
    }

    /// Whether the text of the query, or the name of a format, was at fault.
    pub fn is_invalid_input(&self) -> bool {
        match self {
            Self::Empty
            | Self::ManyStatements { .. }
            | Self::NotReadOnly { .. }
            | Self::Syntax { .. }
            | Self::UnknownTable { .. }
            | Self::UnknownColumn { .. }
            | Self::MetricIsNoColumn { .. }
            | Self::TooDeep { .. }
            | Self::UnknownKey { .. }
            | Self::AmbiguousColumn { .. }
            | Self::MissingParameter { .. }
            | Self::UnusedParameter { .. }
            | Self::Planning { .. }
            | Self::UnknownFormat { .. } => true,
            Self::Engine(error) => error.is_invalid_input(),
            _ => false,
        }
    }

    /// Whether the query was stopped before its end: by the caller or by its time limit.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Timeout { .. })
    }

    /// Whether the same query may have an answer later, or with a higher limit, without a change to the store.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::MemoryLimit { .. } | Self::Runtime { .. } => true,
            Self::Engine(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the reader of the output went away, as `head` does.
    pub fn is_broken_pipe(&self) -> bool {
        let Self::Output { source, .. } = self else { return false };
        let cause = match source {
            OutputError::Io(error) | OutputError::Arrow(ArrowError::IoError(_, error)) => Some(error),
            OutputError::Arrow(ArrowError::ExternalError(error))
            | OutputError::Parquet(ParquetError::External(error)) => error.downcast_ref::<io::Error>(),
            _ => None,
        };
        cause.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The error a user should see for one of DataFusion's.
pub(crate) fn from_datafusion(error: DataFusionError, memory_limit_bytes: usize) -> Error {
    Cleaner { memory_limit_bytes }.clean(error, None)
}

/// The key that a query looked for in `params` or `tags` in vain.
///
/// DataFusion says so in words only. Should it word it anew, the user reads its words instead of the list of keys.
pub(crate) fn missing_key(error: &Error) -> Option<&str> {
    match error {
        Error::Planning { message, .. } => message.strip_prefix("Field ")?.strip_suffix(" not found in struct"),
        _ => None,
    }
}

struct Cleaner {
    memory_limit_bytes: usize,
}

impl Cleaner {
    fn clean(&self, error: DataFusionError, position: Option<Position>) -> Error {
        match error {
            DataFusionError::Diagnostic(diagnostic, inner) => {
                self.clean(*inner, position.or(diagnostic.span.map(Position::from)))
            }
            DataFusionError::Context(_, inner) => self.clean(*inner, position),
            // Planning goes on after the first error to find more; the first is the one to mend first.
            DataFusionError::Collection(mut errors) if !errors.is_empty() => {
                self.clean(errors.swap_remove(0), position)
            }
            DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(inner) => self.clean(inner, position),
                Err(shared) => match shared.find_root() {
                    DataFusionError::ResourcesExhausted(message) => self.memory_limit(message),
                    _ => Error::Execution { message: plain(&shared.strip_backtrace()) },
                },
            },
            DataFusionError::SQL(error, _) => Error::Syntax { message: plain(&error.to_string()) },
            DataFusionError::SchemaError(error, _) => schema_error(*error, position),
            DataFusionError::Plan(message)
            | DataFusionError::NotImplemented(message)
            | DataFusionError::Configuration(message) => Error::Planning { message: plain(&message), position },
            DataFusionError::ResourcesExhausted(message) => self.memory_limit(&message),
            DataFusionError::External(inner) => self.clean_boxed(inner, position),
            DataFusionError::ArrowError(inner, _) => match *inner {
                ArrowError::ExternalError(inner) => self.clean_boxed(inner, position),
                inner => Error::Execution { message: plain(&inner.to_string()) },
            },
            DataFusionError::ParquetError(inner) => match *inner {
                ParquetError::External(inner) => self.clean_boxed(inner, position),
                inner => Error::Execution { message: plain(&inner.to_string()) },
            },
            DataFusionError::Execution(message) => Error::Execution { message: plain(&message) },
            DataFusionError::Internal(message) => Error::Internal { message: plain(&message) },
            DataFusionError::ExecutionJoin(inner) => Error::Internal { message: plain(&inner.to_string()) },
            other => Error::Execution { message: plain(&other.strip_backtrace()) },
        }
    }

    fn memory_limit(&self, message: &str) -> Error {
        Error::MemoryLimit { limit_bytes: self.memory_limit_bytes, message: plain(message) }
    }

    fn clean_boxed(&self, error: Box<dyn StdError + Send + Sync>, position: Option<Position>) -> Error {
        let error = match error.downcast::<DamagedSegment>() {
            Ok(segment) => return Error::Damaged { segment: *segment },
            Err(error) => error,
        };
        let error = match error.downcast::<stepwell_engine::Error>() {
            Ok(error) => return Error::Engine(*error),
            Err(error) => error,
        };
        match error.downcast::<DataFusionError>() {
            Ok(error) => self.clean(*error, position),
            Err(error) => Error::Execution { message: plain(&stepwell_engine::with_causes(error.as_ref())) },
        }
    }
}

fn schema_error(error: SchemaError, position: Option<Position>) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let columns = column_names(&valid_fields);
            let suggestion = nearest(&field.name, columns.iter().map(String::as_str));
            Error::UnknownColumn { name: written(&field), suggestion, columns, position }
        }
        SchemaError::AmbiguousReference { field } => Error::AmbiguousColumn { name: written(&field), position },
        other => Error::Planning { message: plain(&other.to_string()), position },
    }
}

/// Names of columns as the user may write them: with their table only where several tables have the name.
fn column_names(columns: &[Column]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for column in columns {
        let shared = columns.iter().filter(|other| other.name == column.name).count() > 1;
        let name = if shared { written(column) } else { column.name.clone() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn written(column: &Column) -> String {
    match &column.relation {
        Some(table) => format!("{}.{}", table.table(), column.name),
        None => column.name.clone(),
    }
}

/// A message without the decorations of the library it comes from.
fn plain(message: &str) -> String {
    let mut text = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    const PREFIXES: [&str; 13] = [
        "Cast error: ",
        "Parser error: ",
        "Error during planning: ",
        "Schema error: ",
        "Execution error: ",
        "Arrow error: ",
        "Parquet error: ",
        "External error: ",
        "External: ",
        "Parquet argument error: ",
        "This feature is not implemented: ",
        "sql parser error: ",
        "SQL error: ",
    ];
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest;
    }
    // A function that checks its arguments itself says what is wrong; what follows its words names no types then.
    if let Some((_, words)) = text.split_once("user-defined coercion failed with: ") {
        let words = words.split(". No function matches").next().unwrap_or_default();
        return plain(words.lines().next().unwrap_or_default());
    }
    // Before this comes the list of every type that was tried, and a request to report a bug that is none.
    text = text.find("No function matches").map_or(text, |start| &text[start..]);
    // The catalog and schema are the same for every table, and no one writes them.
    without_marks(text).replace("stepwell.public.", "").trim().trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // An error that several streams of a query share was told as one of its text, and the limit was not named.
    #[test]
    fn memory_that_ran_out_is_told_as_such_however_the_error_comes() {
        let exhausted = || DataFusionError::ResourcesExhausted("no room".to_owned());
        let shared = Arc::new(exhausted().context("aggregate"));
        for error in [
            exhausted(),
            exhausted().context("sort"),
            DataFusionError::External(Box::new(exhausted())),
            DataFusionError::Shared(Arc::clone(&shared)),
            DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(exhausted()))), None),
        ] {
            let told = from_datafusion(error, 7);
            assert!(
                matches!(&told, Error::MemoryLimit { limit_bytes: 7, message } if message == "no room"),
                "{told:?}"
            );
        }
    }
}
