//! `stepwell compact`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use stepwell_engine::{CompactOptions, CompactReport, CompactedName, Store};

use crate::args::{CompactArgs, Format};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Merges the segments of ended runs, packs small ones, and prints what was merged.
///
/// # Errors
/// [`CliError::Damaged`] when segments that should be merged are damaged, [`CliError::NotCompacted`] when something else was in
/// the way; [`CliError::Engine`]: no such run, a store that is open elsewhere.
pub fn run(store: &Store, args: &CompactArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let mut options = CompactOptions::default();
    options.runs = args.runs.iter().map(|run| store.find_run(run)).collect::<Result<_, _>>()?;
    options.dry_run = args.dry_run;
    options.remove_now = args.remove_now;
    options.segments_max = args.segments as usize;
    let bar = messages::byte_bar("compacting", 0);
    let report = store.compact(&options, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report?;
    let printed = print(&report, args, out);
    tell(&report, args);
    // What failed is told by the exit code, also when nobody reads the list.
    let damaged = report.failures.iter().filter(|failure| failure.is_corruption).count();
    if damaged > 0 {
        return Err(CliError::Damaged { files: damaged });
    }
    if let Some(why) = report.not_packed {
        return Err(CliError::NotPacked { why });
    }
    if !report.failures.is_empty() {
        return Err(CliError::NotCompacted { writers: text::plural(report.failures.len() as u64, "writer") });
    }
    printed
}

/// Says on stderr what was left alone, and what became of the files that were replaced.
fn tell(report: &CompactReport, args: &CompactArgs) {
    for skipped in &report.skipped {
        messages::say(&format!("run {}, writer {}: left alone: {}", skipped.run_id, skipped.writer, skipped.why));
    }
    for failure in &report.failures {
        messages::say(&format!("run {}, writer {}: not compacted: {}", failure.run_id, failure.writer, failure.why));
    }
    let sum = |of: fn(&CompactedName) -> u64| report.compacted.iter().map(of).sum::<u64>();
    let before = text::plural(sum(|name| name.segments_before), "segment");
    let after = text::count(sum(|name| name.segments_after));
    match (report.compacted.is_empty(), args.dry_run) {
        (true, _) if report.packed.is_empty() => messages::say("nothing is due"),
        (true, _) => {}
        (false, true) => messages::say(&format!("{before} would become {after}")),
        (false, false) => messages::say(&format!("{before} became {after}")),
    }
    for packed in &report.packed {
        let (segments, rows) = (text::plural(packed.segments, "small segment"), text::count(packed.rows));
        let what =
            format!("{segments} of {:?}, {rows} rows, {}", packed.metrics_name, text::bytes(packed.bytes_of_segments));
        match packed.bytes {
            Some(bytes) => {
                messages::say(&format!("packed {what}, for questions over many runs: {}", text::bytes(bytes)))
            }
            None => messages::say(&format!("{what} would be packed")),
        }
    }
    if report.packs_removed > 0 {
        messages::say(&format!("removed {} that nobody needs any more", text::plural(report.packs_removed, "pack")));
    }
    let ((removed, removed_bytes), (waiting, waiting_bytes)) = (report.removed, report.waiting);
    if removed > 0 {
        messages::say(&format!("removed {}, {}", text::plural(removed, "replaced file"), text::bytes(removed_bytes)));
    }
    if waiting > 0 {
        let files = text::plural(waiting, "replaced file");
        messages::say(&format!("{files}, {}: kept until nobody can be reading them", text::bytes(waiting_bytes)));
    }
}

fn print(report: &CompactReport, args: &CompactArgs, out: &mut Out) -> Result<()> {
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !report.compacted.is_empty() {
            out.write_all(table(&report.compacted).lines(0).as_bytes())?;
        }
    } else {
        let batch = batch(&report.compacted)?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}

fn table(names: &[CompactedName]) -> TextTable {
    use Side::{Left, Right};
    let mut table = TextTable::new(&[
        ("run", Left),
        ("writer", Left),
        ("metrics name", Left),
        ("rows", Right),
        ("segments", Right),
        ("after", Right),
        ("size", Right),
        ("after", Right),
    ]);
    for name in names {
        table.row([
            name.run_id.to_string(),
            name.writer.to_string(),
            name.metrics_name.clone(),
            text::count(name.rows),
            text::count(name.segments_before),
            text::count(name.segments_after),
            text::bytes(name.bytes_before),
            name.bytes_after.map_or_else(|| "-".to_owned(), text::bytes),
        ]);
    }
    table
}

fn batch(names: &[CompactedName]) -> Result<RecordBatch> {
    let text = |of: fn(&CompactedName) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(names.iter().map(of)))
    };
    let whole = |of: fn(&CompactedName) -> Option<u64>| -> ArrayRef {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Arc::new(names.iter().map(|name| of(name).map(signed)).collect::<Int64Array>())
    };
    let columns = [
        ("run_id", text(|name| name.run_id.to_string()), false),
        ("writer", text(|name| name.writer.to_string()), false),
        ("metrics_name", text(|name| name.metrics_name.clone()), false),
        ("rows", whole(|name| Some(name.rows)), false),
        ("segments_before", whole(|name| Some(name.segments_before)), false),
        ("segments_after", whole(|name| Some(name.segments_after)), false),
        ("bytes_before", whole(|name| Some(name.bytes_before)), false),
        ("bytes_after", whole(|name| name.bytes_after), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
