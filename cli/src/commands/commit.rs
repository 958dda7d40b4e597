//! `stepwell commit`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use stepwell_engine::{MetricsArtifact, Store};

use crate::args::{CommitArgs, Format};
use crate::error::Result;
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Publishes what the ended writers of a run left, and prints the metrics artifacts.
///
/// # Errors
/// [`crate::error::CliError::Engine`]: no such run, or one that is still being written.
pub fn run(store: &Store, args: &CommitArgs, out: &mut Out) -> Result<()> {
    let run = store.find_run(&args.run)?;
    let spinner = messages::spinner("committing");
    let artifacts = store.commit(run, args.metrics_name.as_deref());
    spinner.finish_and_clear();
    let artifacts = artifacts?;
    if artifacts.is_empty() {
        messages::say(&format!("run {run} has nothing left to commit"));
    }
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !artifacts.is_empty() {
            out.write_all(table(&artifacts).lines(0).as_bytes())?;
        }
        return Ok(());
    }
    let batch = batch(&artifacts)?;
    sql::print(&batch.schema(), &[batch], &args.output, out)
}

fn table(artifacts: &[MetricsArtifact]) -> TextTable {
    let mut table = TextTable::new(&[
        ("metrics name", Side::Left),
        ("version", Side::Right),
        ("rows", Side::Right),
        ("identity", Side::Left),
    ]);
    for artifact in artifacts {
        table.row([
            artifact.metrics_name.clone(),
            artifact.version.to_string(),
            text::count(artifact.rows),
            artifact.identity.to_string(),
        ]);
    }
    table
}

fn batch(artifacts: &[MetricsArtifact]) -> Result<RecordBatch> {
    let text = |of: fn(&MetricsArtifact) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(artifacts.iter().map(of)))
    };
    let version = artifacts.iter().map(|artifact| i32::try_from(artifact.version).unwrap_or(i32::MAX));
    let rows = artifacts.iter().map(|artifact| i64::try_from(artifact.rows).unwrap_or(i64::MAX));
    let columns = [
        ("run_id", text(|artifact| artifact.run_id.to_string())),
        ("writer", text(|artifact| artifact.writer.to_string())),
        ("metrics_name", text(|artifact| artifact.metrics_name.clone())),
        ("version", Arc::new(Int32Array::from_iter_values(version)) as ArrayRef),
        ("rows", Arc::new(Int64Array::from_iter_values(rows))),
        ("identity", text(|artifact| artifact.identity.to_string())),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, false)))?)
}
