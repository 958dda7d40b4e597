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
    for (path, fault) in &report.damaged {
        messages::print_error(&Error::Damaged { path: path.clone(), fault: fault.clone() });
    }
    if report.damaged.is_empty() { Ok(()) } else { Err(CliError::Damaged { files: report.damaged.len() }) }
}
