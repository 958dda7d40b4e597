//! `stepwell doctor`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use stepwell_engine::EngineConfig;
use stepwell_engine::doctor::{self, DoctorReport, Finding, RepairReport, Severity};

use crate::args::{DoctorArgs, Format};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Examines the store, which need not open, and prints what is wrong; with `--repair`, does something about it.
///
/// # Errors
/// [`CliError::Unhealthy`] when something is wrong, [`CliError::NotRepaired`] when something stays wrong.
pub fn run(store: &Path, args: &DoctorArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let only = args.run.as_deref().map(|run| doctor::find_run(store, run)).transpose()?;
    let bar = messages::byte_bar("examining", 0);
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let repaired = if args.repair {
        doctor::repair(store, only, &EngineConfig::from_env()?, &mut progress)
    } else {
        let found = doctor::examine(store, only, &mut progress);
        found.map(|found| RepairReport { found, ..RepairReport::default() })
    };
    bar.finish_and_clear();
    let report = repaired?;
    let printed = print(store, &report.found, args, out);
    tell(&report);
    // That something is wrong is told by the exit code, also when nobody reads the list.
    if args.repair && !report.is_complete() {
        return Err(CliError::NotRepaired { left: report.left().count() + report.failed.len() });
    }
    if !args.repair && !report.found.is_healthy() {
        let wrong = report.found.findings.iter().filter(|finding| finding.severity != Severity::Note);
        let repairable = wrong.clone().filter(|finding| finding.repair.is_some()).count();
        return Err(CliError::Unhealthy { findings: wrong.count(), repairable });
    }
    printed
}

/// Says on stderr what was looked at and what was done.
fn tell(report: &RepairReport) {
    for done in &report.done {
        messages::say(&format!("{}: {}", done.path.display(), done.what));
    }
    for failed in &report.failed {
        messages::say(&format!("{}: could not be repaired: {}", failed.path.display(), failed.why));
    }
    for writer in &report.recovered {
        for gap in &writer.gaps {
            messages::tell_loss(writer.run_id, gap);
        }
    }
    let found = &report.found;
    let looked = format!("{}, {}", text::plural(found.files, "file"), text::bytes(found.bytes));
    let told: u64 = found.told.iter().map(|gap| gap.gap.records).sum();
    if !found.told.is_empty() {
        messages::say(&format!(
            "{} told as lost in the event logs; `stepwell sql \"SELECT * FROM gaps\"` says why",
            text::plural(told, "record")
        ));
    }
    match found.findings.len() {
        0 => messages::say(&format!("{looked}: nothing is wrong")),
        _ if found.is_healthy() => messages::say(&format!("{looked}: nothing is wrong but what a crash leaves")),
        _ => {
            let lost = text::plural(found.records_lost(), "record");
            messages::say(&format!("{looked}: {lost} lost that the event logs did not tell of"));
        }
    }
}

fn print(store: &Path, report: &DoctorReport, args: &DoctorArgs, out: &mut Out) -> Result<()> {
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !report.findings.is_empty() {
            out.write_all(table(store, &report.findings).lines(0).as_bytes())?;
        }
    } else {
        let batch = batch(&report.findings)?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}

fn table(store: &Path, findings: &[Finding]) -> TextTable {
    use Side::{Left, Right};
    let columns =
        [("severity", Left), ("kind", Left), ("file", Left), ("lost", Right), ("what", Left), ("repair", Left)];
    let mut table = TextTable::new(&columns);
    let root = std::path::absolute(store).unwrap_or_else(|_| store.to_owned());
    for finding in findings {
        let lost = match finding.records_max {
            Some(most) => format!("{} to {}", text::count(finding.records_lost), text::count(most)),
            None => text::count(finding.records_lost),
        };
        table.row([
            finding.severity.as_str().to_owned(),
            finding.kind.as_str().to_owned(),
            finding.path.strip_prefix(&root).unwrap_or(&finding.path).display().to_string(),
            lost,
            finding.what.clone(),
            finding.repair.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

fn batch(findings: &[Finding]) -> Result<RecordBatch> {
    let text = |of: &dyn Fn(&Finding) -> Option<String>| -> ArrayRef {
        Arc::new(findings.iter().map(of).collect::<StringArray>())
    };
    let whole = |of: &dyn Fn(&Finding) -> Option<u64>| -> ArrayRef {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Arc::new(findings.iter().map(|finding| of(finding).map(signed)).collect::<Int64Array>())
    };
    let columns = [
        ("path", text(&|finding| Some(finding.path.display().to_string())), false),
        ("run_id", text(&|finding| finding.run.map(|run| run.to_string())), true),
        ("writer", text(&|finding| finding.writer.map(|writer| writer.to_string())), true),
        ("kind", text(&|finding| Some(finding.kind.as_str().to_owned())), false),
        ("severity", text(&|finding| Some(finding.severity.as_str().to_owned())), false),
        ("what", text(&|finding| Some(finding.what.clone())), false),
        ("records_lost", whole(&|finding| Some(finding.records_lost)), false),
        ("records_max", whole(&|finding| finding.records_max), true),
        ("repair", text(&|finding| finding.repair.clone()), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
