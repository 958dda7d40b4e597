//! `stepwell doctor`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use stepwell_engine::EngineConfig;
use stepwell_engine::doctor::{self, Finding, RepairReport, Severity};

use crate::args::{DoctorArgs, Format};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::sql;
use crate::table::{Side, TextTable};
use crate::{messages, text};

/// Examines the store, prints what is not as it should be, and with `--repair` puts right what can be.
///
/// # Errors
/// [`CliError::Unwell`] when something is wrong, or stays wrong after the repair.
pub fn run(store: &Path, args: &DoctorArgs, out: &mut Out) -> Result<()> {
    let only = args.run.as_deref().map(|text| doctor::find_run(store, text)).transpose()?;
    let bar = messages::byte_bar("examining", 0);
    let progress = &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    if args.repair {
        let report = doctor::repair(store, only, &EngineConfig::from_env()?, progress);
        bar.finish_and_clear();
        return tell_repair(&report?, args, out);
    }
    let report = doctor::examine(store, only, progress);
    bar.finish_and_clear();
    let report = report?;
    let printed = print(&report.findings, args, out);
    // What is wrong is told by the exit code, also when nobody reads the list.
    if !report.is_healthy() {
        let repairable = report.findings.iter().filter(|finding| finding.repair.is_some()).count();
        return Err(CliError::Unwell { findings: serious(&report.findings), repairable });
    }
    printed?;
    messages::say(&format!(
        "{}, {}, {}: nothing is wrong",
        text::plural(report.writers, "writer"),
        text::plural(report.files, "file"),
        text::bytes(report.bytes)
    ));
    Ok(())
}

fn serious(findings: &[Finding]) -> usize {
    findings.iter().filter(|finding| finding.severity != Severity::Note).count()
}

fn tell_repair(report: &RepairReport, args: &DoctorArgs, out: &mut Out) -> Result<()> {
    let printed = print(&report.found.findings, args, out);
    for done in &report.done {
        messages::say(&format!("{}: {}", done.path.display(), done.what));
    }
    for writer in &report.recovered {
        messages::say(&format!("recovered {} rows of run {}", text::count(writer.rows_recovered), writer.run_id));
    }
    for failed in &report.failed {
        messages::say(&format!("{} could not be repaired: {}", failed.path.display(), failed.why));
    }
    if !report.is_complete() {
        return Err(CliError::Unwell { findings: report.failed.len() + report.left().count(), repairable: 0 });
    }
    printed?;
    messages::say(&format!("{} made", text::plural(report.done.len() as u64, "repair")));
    Ok(())
}

fn print(findings: &[Finding], args: &DoctorArgs, out: &mut Out) -> Result<()> {
    let paths: Vec<String> = findings.iter().map(|finding| finding.path.display().to_string()).collect();
    let repairs: Vec<&str> = findings.iter().map(|finding| finding.repair.as_deref().unwrap_or("")).collect();
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !findings.is_empty() {
            let columns = ["severity", "file", "what is wrong", "what --repair does"];
            let mut table = TextTable::new(&columns.map(|name| (name, Side::Left)));
            for ((finding, path), repair) in findings.iter().zip(&paths).zip(&repairs) {
                table.row([finding.severity.as_str(), path, &finding.what, repair]);
            }
            out.write_all(table.lines(0).as_bytes())?;
        }
    } else {
        let texts = |value: fn(&Finding) -> &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(findings.iter().map(value)))
        };
        let most = findings.iter().map(|finding| finding.records_max.and_then(|most| i64::try_from(most).ok()));
        let lost = findings.iter().map(|finding| i64::try_from(finding.records_lost).unwrap_or(i64::MAX));
        let columns: [(&str, ArrayRef, bool); 7] = [
            ("path", Arc::new(StringArray::from_iter_values(&paths)), false),
            ("kind", texts(|finding| finding.kind.as_str()), false),
            ("severity", texts(|finding| finding.severity.as_str()), false),
            ("what", texts(|finding| &finding.what), false),
            ("records_lost", Arc::new(Int64Array::from_iter_values(lost)), false),
            ("records_max", Arc::new(Int64Array::from_iter(most)), true),
            ("repair", Arc::new(StringArray::from_iter(findings.iter().map(|finding| finding.repair.clone()))), true),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}
