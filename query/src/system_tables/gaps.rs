//! Table `gaps`: records that were lost, each loss once. An empty table says that nothing was.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `writer` | Utf8 | no | writer |
//! | `time` | Timestamp(us, UTC) | no | when the loss was told |
//! | `kind` | Utf8 | no | `ring_full`, `damaged_slot`, `missing_slots`, `undefined_metric`, `damaged_event`, `cut_journal`, `lost_journal`, `machine_down` or `damaged_segment` |
//! | `ring` | Int64 | no | ring it happened in |
//! | `records` | Int64 | no | how many records are known to be lost |
//! | `records_max` | Int64 | yes | how many may be lost at most, where the number cannot be known |
//! | `detail` | Utf8 | no | in words |
//!
//! Ordered by run, writer, time.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        text_field("writer"),
        time_field("time"),
        text_field("kind"),
        int_field("ring"),
        int_field("records"),
        nullable(int_field("records_max")),
        text_field("detail"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.gaps()?;
    Ok(vec![
        keys(all.iter().map(|gap| gap.run_id.to_string()))?,
        texts(all.iter().map(|gap| gap.writer.to_string())),
        times(all.iter().map(|gap| micros_of_nanos(gap.time))),
        texts(all.iter().map(|gap| gap.gap.kind.as_str())),
        ints(all.iter().map(|gap| i64::from(gap.gap.ring))),
        counts(all.iter().map(|gap| gap.gap.records)),
        optional_counts(all.iter().map(|gap| gap.gap.records_max)),
        texts(all.iter().map(|gap| &gap.gap.detail)),
    ])
}
