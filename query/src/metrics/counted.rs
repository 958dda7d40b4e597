//! Rows that are counted and not read: no column is asked for, nothing is left out, and this process has compared all files with
//! their hashes before. A count then takes a look at each file that has rows; those of small segments are in few packs.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;

use crate::integrity::{DamagedPolicy, Guard, PackedRows, SegmentFile};
use crate::source::SnapshotSource;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// As many rows without columns as the snapshot has; `None` where files have to be read first.
///
/// # Errors
/// None that is known: the batches have no columns that could be wrong.
pub(super) fn rows(snapshot: &dyn SnapshotSource, guard: &Guard) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if guard.policy != DamagedPolicy::Refuse {
        return Ok(None);
    }
    let packed = PackedRows::verified(snapshot.root());
    let mut rows = snapshot.live().iter().map(|live| live.batch.num_rows() as u64).sum::<u64>();
    for segment in snapshot.segments() {
        if !packed.has_all(segment) && !SegmentFile::new(segment).file.is_verified() {
            return Ok(None);
        }
        rows = rows.saturating_add(segment.rows);
    }
    let schema = Arc::new(Schema::empty());
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let batch = |rows| {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&schema), Vec::new(), &options)
    };
    let mut batches = vec![batch(BATCH_ROWS)?; rows / BATCH_ROWS];
    if rows % BATCH_ROWS > 0 {
        batches.push(batch(rows % BATCH_ROWS)?);
    }
    let source = MemorySourceConfig::try_new(&[batches], Arc::clone(&schema), None)?;
    Ok(Some(DataSourceExec::from_data_source(source)))
}
