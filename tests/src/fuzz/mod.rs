//! Bodies of the fuzz targets. libFuzzer runs them in `tests/fuzz`; the tests of `tests/corruption` replay its corpus with
//! the same functions.
//!
//! Checksums would keep a fuzzer from what lies behind them, so the first byte of an input says which of them are put right
//! before the engine sees the bytes. A function panics when the engine did wrong.

mod event_log;
mod journal;
mod place;
mod segment;

pub use event_log::{RUN, WRITER, event_log};
pub use journal::{journal, journal_input};
pub use segment::segment;

/// The body of a target.
pub type Target = fn(&[u8]);

/// The targets by name.
pub const TARGETS: [(&str, Target); 3] = [("journal", journal), ("event_log", event_log), ("segment", segment)];
