//! `stepwell push`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use indicatif::ProgressBar;
use stepwell_engine::{Access, RunId, with_causes};
use stepwell_remote::{Progress, PushOptions, Remote, Report, entries};

use crate::args::{Format, OutputArgs};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::remote_args::PushArgs;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Sends what is committed to a remote.
///
/// # Errors
/// [`CliError::NotMoved`] when something could not be sent.
pub fn run(path: &Path, args: &PushArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let store = super::open(path, Access::Write)?;
    let runs = args.run.iter().map(|run| store.find_run(run)).collect::<stepwell_engine::Result<Vec<RunId>>>()?;
    let remote = Remote::open(&entries::find(path, args.remote.as_deref())?)?;
    let options = PushOptions {
        runs,
        pipeline: args.pipeline.clone(),
        jobs: args.jobs.into(),
        dry_run: args.dry_run,
        check: args.check,
    };
    let bar = messages::bar("pushing", "logs", 0);
    let report = remote.push(&store, &options, &|progress| show(&bar, progress));
    bar.finish_and_clear();
    let report = report?;
    for open in &report.uncommitted {
        let rows = text::plural(open.rows, "row");
        messages::say(&format!("run {}: {rows} not committed yet, and not pushed", open.run));
    }
    finish(&report, &args.output, if args.dry_run { "to push" } else { "pushed" }, out)
}

/// Shows how far a push or pull is.
pub fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.writers);
    bar.set_position(progress.writers_done);
    bar.set_message(text::bytes(progress.bytes));
}

/// Prints what was moved, and says what was not.
///
/// # Errors
/// [`CliError::NotMoved`] when there is something.
pub fn finish(report: &Report, output: &OutputArgs, done: &'static str, out: &mut Out) -> Result<()> {
    let printed = print(report, output, out);
    for failure in &report.failures {
        let whose = failure.run.map(|run| format!("run {run}: ")).unwrap_or_default();
        messages::say(&format!("{whose}{}", with_causes(&failure.error)));
    }
    if let Some(kind) = report.failure() {
        return Err(CliError::NotMoved { failures: report.failures.len(), kind });
    }
    printed?;
    let moved = report.segments + report.objects + report.parts;
    messages::say(&format!("{done}: {}, {}", text::plural(moved, "file"), text::bytes(report.bytes)));
    Ok(())
}

fn print(report: &Report, output: &OutputArgs, out: &mut Out) -> Result<()> {
    let counts = [
        ("runs", report.runs),
        ("writers", report.writers),
        ("segments", report.segments),
        ("objects", report.objects),
        ("log_parts", report.parts),
        ("bytes", report.bytes),
        ("present", report.present),
        ("failures", report.failures.len() as u64),
        ("rows_not_committed", report.uncommitted.iter().map(|open| open.rows).sum()),
    ];
    if output.format() == Format::Table && output.output.is_none() {
        let mut table = TextTable::new(&counts.map(|(name, _)| (name, Side::Right)));
        table.row(counts.map(|(_, count)| text::count(count)));
        out.write_all(table.lines(0).as_bytes())?;
    } else {
        let column = |count| Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])) as ArrayRef;
        let columns = counts.map(|(name, count)| (name, column(count), false));
        let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
        sql::print(&batch.schema(), &[batch], output, out)?;
    }
    Ok(out.flush()?)
}
