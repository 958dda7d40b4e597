//! `stepwell verify`.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use stepwell_engine::Store;
use stepwell_engine::verify::VerifyReport;

use crate::args::{Format, VerifyArgs};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::sql;
use crate::table::{Side, TextTable};
use crate::{messages, text};
use std::io::Write;

/// Reads every file of the store and prints those that are not what was written.
///
/// # Errors
/// [`CliError::Damaged`] when there is one.
pub fn run(store: &Store, args: &VerifyArgs, out: &mut Out) -> Result<()> {
    let bar = messages::byte_bar("verifying", 0);
    let report = store.verify(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report?;
    let printed = print(&report, args, out);
    // That files are damaged is told by the exit code, also when nobody reads the list.
    if !report.damaged.is_empty() {
        return Err(CliError::Damaged { files: report.damaged.len() });
    }
    printed?;
    messages::say(&format!("{}, {}: all as written", text::plural(report.files, "file"), text::bytes(report.bytes)));
    Ok(())
}

fn print(report: &VerifyReport, args: &VerifyArgs, out: &mut Out) -> Result<()> {
    let paths: Vec<String> = report.damaged.iter().map(|file| file.path.display().to_string()).collect();
    let faults: Vec<&str> = report.damaged.iter().map(|file| file.fault.as_str()).collect();
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !paths.is_empty() {
            let mut table = TextTable::new(&[("damaged file", Side::Left), ("fault", Side::Left)]);
            for (path, fault) in paths.iter().zip(&faults) {
                table.row([path.as_str(), *fault]);
            }
            out.write_all(table.lines(0).as_bytes())?;
        }
    } else {
        let columns: [(&str, ArrayRef); 2] = [
            ("path", Arc::new(StringArray::from_iter_values(&paths))),
            ("fault", Arc::new(StringArray::from_iter_values(&faults))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, false)))?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}
