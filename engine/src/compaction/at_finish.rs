//! Compaction at the end of a run, of what its own writer left.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{Age, CompactOptions, CompactReport, CompactedName, compact_writer, remove_of_writer};
use crate::error::with_causes;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;

/// Rows whose merging takes about as long as opening, hashing, reading and removing one more file.
const ROWS_OF_A_FILE: u64 = 2000;
/// A slow disk gets no more time than this to read the segments that are to be merged.
const TIME_MAX: Duration = Duration::from_secs(5);

/// What a writer that ends has under one metrics name.
#[derive(Clone, Debug)]
pub(crate) struct LeftName {
    pub name: String,
    pub segments: u64,
    pub rows: u64,
}

impl LeftName {
    /// The work of compacting it, in rows.
    fn work(&self) -> u64 {
        self.rows.saturating_add(self.segments.saturating_mul(ROWS_OF_A_FILE))
    }
}

/// What the compaction at the end of a run came to.
#[derive(Debug, Default)]
pub(crate) struct CompactedAtFinish {
    pub compacted: Vec<CompactedName>,
    /// What failed, in words.
    pub warnings: Vec<String>,
}

/// Compacts the metrics names of a writer that are due, those with the least work first, for as long as all of it is at most
/// `rows_max` rows; and removes the files that were replaced, unless a snapshot of this process names them. The writer has ended and
/// let go of its event log. Nothing that happens here is an error of the run.
pub(crate) fn compact_at_finish(
    layout: &Layout,
    rows_max: u64,
    (run, writer): (RunId, WriterId),
    left: Vec<LeftName>,
) -> CompactedAtFinish {
    let options = CompactOptions { until: Instant::now().checked_add(TIME_MAX), ..CompactOptions::default() };
    let names = chosen(&options, rows_max, left);
    if names.is_empty() {
        return CompactedAtFinish::default();
    }
    let mut report = CompactReport::default();
    let mut warnings = Vec::new();
    // A fault in here must not take the report of the run with it.
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let compacted = compact_writer(layout, &options, (run, writer), &names, &mut report);
        if let Err(error) = compacted {
            warnings.push(not_compacted(&with_causes(&error)));
        }
        if !report.compacted.is_empty()
            && let Err(error) = remove_of_writer(layout, run, writer, Age::Any)
        {
            let why = with_causes(&error);
            warnings.push(format!("files that compaction replaced are removed later: {why}"));
        }
    }));
    if ended.is_err() {
        warnings.push(not_compacted("it panicked"));
    }
    warnings.extend(report.failures.iter().map(|failure| not_compacted(&failure.why)));
    CompactedAtFinish { compacted: report.compacted, warnings }
}

fn not_compacted(why: &str) -> String {
    format!("small segments were not compacted, and every row is where it was: {why}")
}

/// Names that may be due, as far as the number of their segments tells, and are together not too much work.
fn chosen(options: &CompactOptions, rows_max: u64, mut left: Vec<LeftName>) -> BTreeSet<String> {
    left.retain(|name| name.segments > options.segments_max as u64);
    left.sort_by_key(LeftName::work);
    let mut rest = rows_max;
    let affordable = left.into_iter().map_while(|name| {
        rest = rest.checked_sub(name.work())?;
        Some(name.name)
    });
    affordable.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, segments: u64, rows: u64) -> LeftName {
        LeftName { name: name.to_owned(), segments, rows }
    }

    #[test]
    fn names_are_chosen_for_as_long_as_their_work_fits() {
        let left = [name("large", 10, 80_000), name("small", 10, 1_000), name("few", 8, 10), name("files", 50, 10_000)];
        let chosen =
            |rows_max| chosen(&CompactOptions::default(), rows_max, left.to_vec()).into_iter().collect::<Vec<_>>();
        assert_eq!(chosen(231_000), ["files", "large", "small"]);
        assert_eq!(chosen(230_999), ["large", "small"], "each of the 50 files counts for 2,000 rows");
        assert_eq!(chosen(120_999), ["small"]);
        assert_eq!(chosen(20_999), [""; 0]);
        assert_eq!(chosen(0), [""; 0]);
    }
}
