//! What the benchmarks of Stepwell share: where they ran, what they log, how a call is timed, how results are told.
//!
//! `METHOD.md` says what is measured, how, and with which known bias.

pub mod callgrind;
pub mod cpu;
pub mod dead;
pub mod environment;
pub mod limit;
pub mod report;
pub mod timing;
pub mod workload;

/// A benchmark ends with the first thing that goes wrong; its numbers would mean nothing.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Fails unless a count is what it has to be: a benchmark that loses records measures nothing.
///
/// # Errors
/// When `found` and `expected` differ.
pub fn check_count(what: &str, found: u64, expected: u64) -> Result<()> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found} instead of {expected}").into()) }
}
