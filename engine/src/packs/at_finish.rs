//! Packing at the end of a run, once so many runs have ended that it is worth it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Candidates, build, list_on};
use crate::catalog::CatalogSnapshot;
use crate::compaction::{CompactOptions, CompactReport};
use crate::error::{Result, with_causes};
use crate::layout::Layout;

/// Small segments from which on the end of a run packs them: that takes a fraction of a second, and few runs come to it.
const SEGMENTS_MIN: usize = 256;
/// The end of a run looks for them when there are so many runs, or twice, three times as many: counting segments takes longer than most
/// runs take to end.
const LOOK_EVERY: u64 = 32;
/// Most rows that the end of a run packs at once.
const ROWS_MAX: u64 = 1 << 20;

/// Whether the end of a run is to look for segments to pack, when there are `runs` runs.
pub(crate) fn looks_at(runs: u64) -> bool {
    runs.is_multiple_of(LOOK_EVERY)
}

/// Packs small segments of ended runs, where `catalog` knows of many that are in no pack. Packs become larger ones by
/// [`Store::compact`](crate::Store::compact) alone. What fails is said; no row is touched.
pub(crate) fn pack_at_finish(layout: &Layout, catalog: &CatalogSnapshot) -> Option<String> {
    let failed = |why: &str| Some(format!("small segments were not packed, and every row is where it was: {why}"));
    match catch_unwind(AssertUnwindSafe(|| pack(layout, catalog))) {
        Ok(Ok(report)) => report.failures.first().and_then(|failure| failed(&failure.why)),
        Ok(Err(error)) => failed(&with_causes(&error)),
        Err(_) => failed("it panicked"),
    }
}

fn pack(layout: &Layout, catalog: &CatalogSnapshot) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    let options = CompactOptions {
        pack_segments_min: SEGMENTS_MIN,
        pack_rows_max: ROWS_MAX,
        merges_packs: false,
        ..CompactOptions::default()
    };
    let small = catalog.small_segments(options.small_bytes, options.small_rows())?;
    // Those of deleted runs are counted, too: then it is left to whoever compacts the store.
    let packed: u64 = list_on(layout.storage(), &layout.packs())?.iter().map(|pack| pack.segments).sum();
    if small.saturating_sub(packed) >= SEGMENTS_MIN as u64 {
        build(layout, &Candidates::of(catalog, &options)?, &options, &mut report)?;
    }
    Ok(report)
}
