//! Looking after a store.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stepwell_engine::{Access, CompactOptions, CompactedName, EngineConfig, Store};

use crate::error::{self, Class};
use crate::start::store_path;

/// Merges many small segments of ended runs into few; the rows stay the same, bit by bit.
///
/// A metrics name of a writer with more than `segments` small files is due. Runs that are being written are left alone,
/// and readers are not held up: the files that were merged are removed ten minutes later (STEPWELL_GRACE_SECS), by the next
/// call or by whoever opens the store for logging. `dry_run=True` only says what is due. Returns a dict with `names` (metrics
/// names of writers that were merged), `rows`, `segments_before`, `segments_after`, `packs` (files that repeat the rows of
/// `packed_segments` small files, for questions over many runs), `removed_packs`, `removed_files`, `waiting_files`, and
/// `skipped` (what was left alone, and why). A crash at any moment leaves each row once.
///
/// Raises CorruptionError when segments that should be merged are damaged, after the others were merged; NotFoundError,
/// ReadOnlyError, StorageError.
#[pyfunction]
#[pyo3(signature = (store = None, *, segments = 8, dry_run = false))]
pub fn compact(py: Python<'_>, store: Option<PathBuf>, segments: usize, dry_run: bool) -> PyResult<Bound<'_, PyDict>> {
    let store = store_path(store);
    let mut options = CompactOptions::default();
    options.segments_max = segments;
    options.dry_run = dry_run;
    let report = py
        .detach(|| {
            let store = Store::open_with(store, Access::Write, EngineConfig::from_env()?)?;
            store.compact(&options, &mut |_, _| {})
        })
        .map_err(|fault| error::engine(py, &fault))?;
    if let Some(failure) = report.failures.first() {
        let class = if failure.is_corruption { Class::Corruption } else { Class::Storage };
        let text = format!("run {}, writer {}: not compacted: {}", failure.run_id, failure.writer, failure.why);
        return Err(class.error(py, text));
    }
    if let Some(why) = report.not_packed {
        return Err(Class::Storage.error(py, format!("small segments were not packed: {why}")));
    }
    let sum = |of: fn(&CompactedName) -> u64| report.compacted.iter().map(of).sum::<u64>();
    let told = PyDict::new(py);
    told.set_item("names", report.compacted.len())?;
    told.set_item("rows", sum(|name| name.rows))?;
    told.set_item("segments_before", sum(|name| name.segments_before))?;
    told.set_item("segments_after", sum(|name| name.segments_after))?;
    told.set_item("packed_segments", report.packed.iter().map(|packed| packed.segments).sum::<u64>())?;
    told.set_item("packs", report.packed.len())?;
    told.set_item("removed_packs", report.packs_removed)?;
    told.set_item("removed_files", report.removed.0)?;
    told.set_item("waiting_files", report.waiting.0)?;
    let skipped =
        report.skipped.iter().map(|left| format!("run {}, writer {}: {}", left.run_id, left.writer, left.why));
    told.set_item("skipped", skipped.collect::<Vec<_>>())?;
    Ok(told)
}

/// Brings the catalog of a store up to date and returns the path of its SQLite file, which has ML Metadata's tables. Raises
/// NotFoundError, StorageError, ReadOnlyError.
#[pyfunction]
#[pyo3(signature = (store = None))]
pub fn catalog_path(py: Python<'_>, store: Option<PathBuf>) -> PyResult<PathBuf> {
    let path = store_path(store);
    py.detach(|| Store::open_with(path, Access::Write, EngineConfig::from_env()?)?.catalog_file())
        .map_err(|fault| error::engine(py, &fault))
}
