//! The one place where this crate asks `stepwell-query`, and prints what it answers.

use arrow::array::{Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use stepwell_engine::Store;
use stepwell_query::output::{self, Format as QueryFormat};
use stepwell_query::{QueryOptions, QueryResult, Session};

use crate::args::{Format, OutputArgs};
use crate::error::{CliError, Result};
use crate::out::{self, Out};

/// SQL over one store.
pub struct Database {
    session: Session,
}

impl Database {
    /// A session on `store`.
    pub fn open(store: &Store) -> Self {
        Self { session: Session::new(store) }
    }

    /// Answers one statement; a damaged segment is an error.
    ///
    /// # Errors
    /// [`CliError::Query`].
    pub fn query(&self, statement: &str) -> Result<QueryResult> {
        Ok(self.session.sql(statement)?)
    }

    /// Answers one statement within the limits and with the parameters of `options`.
    ///
    /// # Errors
    /// [`CliError::Query`].
    pub fn query_with(&self, statement: &str, options: &QueryOptions) -> Result<QueryResult> {
        Ok(self.session.sql_with(statement, options)?)
    }
}

/// Refuses to write a binary format to a terminal, before any work is done.
///
/// # Errors
/// [`CliError::BinaryToTerminal`].
pub fn check_target(output: &OutputArgs, out: &Out) -> Result<()> {
    let format = QueryFormat::from(output.format());
    if format.is_binary() && output.output.is_none() && out.is_terminal() {
        return Err(CliError::BinaryToTerminal { format: format.as_str() });
    }
    Ok(())
}

/// Prints rows as the user asked for them.
///
/// # Errors
/// [`CliError::Query`] or [`CliError::Io`] when the destination refuses them.
pub fn print(schema: &SchemaRef, batches: &[RecordBatch], output: &OutputArgs, out: &mut Out) -> Result<()> {
    let format = QueryFormat::from(output.format());
    match &output.output {
        Some(path) => out::write_file(path, |file| Ok(output::write_batches(schema, batches, format, file)?)),
        None => {
            check_target(output, out)?;
            Ok(output::write_batches(schema, batches, format, out)?)
        }
    }
}

impl From<Format> for QueryFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Csv => Self::Csv,
            Format::Json => Self::Json,
            Format::Ndjson => Self::NdJson,
            Format::Arrow => Self::Arrow,
            Format::Parquet => Self::Parquet,
        }
    }
}

/// A text as an SQL literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A column as texts.
///
/// # Errors
/// [`CliError::Arrow`] when it is none.
pub fn texts(column: &dyn Array) -> Result<StringArray> {
    Ok(StringArray::from(cast(column, &DataType::Utf8)?.to_data()))
}

/// A column as 64-bit integers.
///
/// # Errors
/// [`CliError::Arrow`] when it is none.
pub fn integers(column: &dyn Array) -> Result<Int64Array> {
    Ok(Int64Array::from(cast(column, &DataType::Int64)?.to_data()))
}

/// A column as 64-bit floats.
///
/// # Errors
/// [`CliError::Arrow`] when it is none.
pub fn floats(column: &dyn Array) -> Result<Float64Array> {
    Ok(Float64Array::from(cast(column, &DataType::Float64)?.to_data()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_literals_are_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
    }

    #[test]
    fn columns_are_read_whatever_their_encoding() {
        let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let encoded = cast(&StringArray::from(vec!["a", "b", "a"]), &text).unwrap();
        let plain = texts(&encoded).unwrap();
        assert_eq!(plain.iter().flatten().collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(floats(&Int64Array::from(vec![1, 2])).unwrap().value(1), 2.0);
    }
}
