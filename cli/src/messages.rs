//! Messages and progress bars: all of it on stderr, so that stdout holds data only.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use stepwell_engine::RunId;
use stepwell_engine::events::GapEvent;

use crate::text;

/// Tells the user something that is not data.
pub fn say(text: &str) {
    // When stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "stepwell: {text}");
}

/// Tells of records that were lost.
pub fn tell_loss(run: RunId, gap: &GapEvent) {
    let records = match gap.records_max {
        Some(most) => format!("{} to {} records", text::count(gap.records), text::count(most)),
        None => text::plural(gap.records, "record"),
    };
    say(&format!("run {run} lost {records}: {}", gap.detail));
}

/// Prints an error with its causes, once.
pub fn print_error(error: &dyn std::error::Error) {
    say(&stepwell_engine::with_causes(error));
}

/// A bar that counts up to `total` of `unit`. Not shown when stderr is no terminal.
pub fn bar(what: &str, unit: &str, total: u64) -> ProgressBar {
    let template = format!("{what} {{wide_bar}} {{human_pos}}/{{human_len}} {unit}");
    start(ProgressBar::new(total), &template)
}

/// A bar that counts bytes up to `total`. Not shown when stderr is no terminal.
pub fn byte_bar(what: &str, total: u64) -> ProgressBar {
    start(ProgressBar::new(total), &format!("{what} {{wide_bar}} {{bytes}}/{{total_bytes}}"))
}

/// A turning sign for work whose length is not known. Not shown when stderr is no terminal.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = start(ProgressBar::new_spinner(), &format!("{{spinner}} {what}"));
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn start(bar: ProgressBar, template: &str) -> ProgressBar {
    // A template that does not parse leaves the default look, which shows the same numbers.
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
