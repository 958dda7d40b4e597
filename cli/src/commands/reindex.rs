//! `stepwell reindex`.

use stepwell_engine::{Error, Store};

use crate::error::{CliError, Result};
use crate::messages;
use crate::text;

/// Builds the catalog anew; damaged event lines are named.
///
/// # Errors
/// [`CliError::Engine`]; [`CliError::Damaged`] when an event log is damaged.
pub fn run(store: &Store) -> Result<()> {
    let spinner = messages::spinner("reading event logs");
    let report = store.reindex();
    spinner.finish_and_clear();
    let report = report?;
    messages::say(&format!(
        "indexed {} from {}",
        text::plural(report.runs, "run"),
        text::plural(report.events, "event")
    ));
    if report.in_memory {
        let file_system = store.file_system();
        messages::say(&format!("there is no catalog file: on {file_system}, each process keeps the catalog in memory"));
    }
    for (path, fault) in &report.damaged {
        messages::print_error(&Error::Damaged { path: path.clone(), fault: fault.clone() });
    }
    if report.damaged.is_empty() { Ok(()) } else { Err(CliError::Damaged { files: report.damaged.len() }) }
}
