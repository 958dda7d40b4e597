//! `stepwell import csv`: runs from a CSV file.
//!
//! The whole file is read and checked ([`mod@read`]) before the first run is started ([`mod@write`]), so a mistake in the
//! last line leaves the store as it was.

mod read;
mod write;

pub use read::{CsvColumns, CsvData, CsvError};
pub use write::{ImportOptions, Outcome, import};

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use flate2::read::MultiGzDecoder;
use stepwell_engine::Access;

use crate::args::{Format, ImportCsvArgs};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::{commands, messages, sql, text};

/// First two bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Imports a CSV file.
///
/// # Errors
/// [`CliError::Csv`] names line and column; nothing was imported then.
pub fn run(store: &Path, args: &ImportCsvArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let columns = CsvColumns {
        run: args.run_column.clone(),
        group: args.group_column.clone(),
        step: args.step_column.clone(),
        metrics: args.metric_columns.clone(),
    };
    let data = read_file(&args.file, &columns)?;
    let options = ImportOptions {
        file: args.file.clone(),
        pipeline: args.pipeline.clone(),
        stage: args.stage.clone(),
        metrics_name: args.metrics_name.clone(),
        group_param: args.group_column.clone(),
        columns,
        is_forced: args.force,
    };
    options.check(&data)?;
    let outcome = import(&commands::open(store, Access::Create)?, &data, &options)?;
    tell(&outcome, &args.file);
    if args.output.format() == Format::Table && args.output.output.is_none() {
        for run in outcome.runs.iter().filter(|run| run.is_new) {
            writeln!(out, "{}  {}", run.run_id, run.name)?;
        }
        return Ok(());
    }
    let batch = batch(&outcome)?;
    sql::print(&batch.schema(), &[batch], &args.output, out)
}

/// Reads and checks a CSV file, plain or gzipped.
///
/// # Errors
/// [`CliError::Io`], [`CliError::Csv`].
pub fn read_file(path: &Path, columns: &CsvColumns) -> Result<CsvData> {
    let file = File::open(path).map_err(CliError::io("read", path))?;
    let metadata = file.metadata().map_err(CliError::io("read", path))?;
    // The file is read, hashed and linked: a pipe gives its content only once.
    if !metadata.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file; save the data to a file first");
        return Err(CliError::io("import", path)(source));
    }
    let bar = messages::byte_bar("reading", metadata.len());
    // Peeked at, not read apart: the reader of CSV takes a byte order mark off only when it comes in one piece.
    let mut whole = io::BufReader::new(bar.wrap_read(file));
    let is_gzip = whole.fill_buf().map_err(CliError::io("read", path))?.starts_with(&GZIP_MAGIC);
    let default_name = run_name_of(path);
    let data = if is_gzip {
        read::read(io::BufReader::new(MultiGzDecoder::new(whole)), columns, &default_name)
    } else {
        read::read(whole, columns, &default_name)
    };
    bar.finish_and_clear();
    data.map_err(|source| CliError::Csv { path: path.to_owned(), source: Box::new(source) })
}

/// The name of the single run of a file without a run column: the file's, without `.csv` and `.gz`.
fn run_name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.strip_suffix(".csv").unwrap_or(name).to_owned()
}

fn tell(outcome: &Outcome, file: &Path) {
    let new = outcome.runs.iter().filter(|run| run.is_new);
    let (count, records) = new.fold((0u64, 0), |(count, records), run| (count + 1, records + run.records));
    let known = outcome.runs.len() as u64 - count;
    if count > 0 {
        messages::say(&format!("imported {} as {}", text::plural(records, "record"), text::plural(count, "run")));
    }
    if known > 0 {
        let known = text::plural(known, "run");
        messages::say(&format!("{known} of {file:?} imported before, left as they are; --force imports them again"));
    }
}

fn batch(outcome: &Outcome) -> Result<RecordBatch> {
    let runs = || outcome.runs.iter();
    let records = runs().map(|run| i64::try_from(run.records).unwrap_or(i64::MAX));
    let columns = [
        ("run_id", Arc::new(StringArray::from_iter_values(runs().map(|run| run.run_id.to_string()))) as ArrayRef),
        ("name", Arc::new(StringArray::from_iter_values(runs().map(|run| run.name.as_str())))),
        ("records", Arc::new(Int64Array::from_iter_values(records))),
        ("is_new", Arc::new(BooleanArray::from(runs().map(|run| run.is_new).collect::<Vec<_>>()))),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, false)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: CsvColumns = CsvColumns { run: None, group: None, step: None, metrics: Vec::new() };

    #[test]
    fn plain_and_gzipped_files_read_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let text = b"loss\n0.5\n0.25\n";
        let plain = folder.path().join("a.csv");
        std::fs::write(&plain, text).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        let zipped = folder.path().join("a.csv.gz");
        std::fs::write(&zipped, encoder.finish().unwrap()).unwrap();
        let (plain, zipped) = (read_file(&plain, &COLUMNS).unwrap(), read_file(&zipped, &COLUMNS).unwrap());
        assert_eq!(plain, zipped);
        assert_eq!(plain.runs[0].name, "a");
    }

    #[test]
    fn a_damaged_gzip_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv.gz");
        std::fs::write(&path, [0x1f, 0x8b, 8, 0, 0]).unwrap();
        assert!(matches!(read_file(&path, &COLUMNS), Err(CliError::Csv { .. })));
        assert!(matches!(read_file(&folder.path().join("none"), &COLUMNS), Err(CliError::Io { .. })));
    }
}
