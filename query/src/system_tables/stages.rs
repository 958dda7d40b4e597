//! Table `stages`: one row a stage of a pipeline.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `pipeline`, `stage` | Dictionary(Int32, Utf8) | no | names |
//! | `runs` | Int64 | no | runs of the stage |
//! | `running` | Int64 | no | runs that are running |
//! | `first_started`, `last_started` | Timestamp(us, UTC) | no | start of the first and of the latest run |
//!
//! Ordered by pipeline, stage.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use super::pipelines::Group;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("pipeline"),
        key_field("stage"),
        int_field("runs"),
        int_field("running"),
        time_field("first_started"),
        time_field("last_started"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let mut groups: BTreeMap<(&str, &str), Group> = BTreeMap::new();
    for run in snapshot.runs() {
        groups.entry((&run.pipeline, &run.stage)).or_insert_with(|| Group::new(run)).add(run);
    }
    Ok(vec![
        keys(groups.keys().map(|(pipeline, _)| pipeline))?,
        keys(groups.keys().map(|(_, stage)| stage))?,
        counts(groups.values().map(|group| group.runs)),
        counts(groups.values().map(|group| group.running)),
        times(groups.values().map(|group| micros_of_nanos(group.first_started))),
        times(groups.values().map(|group| micros_of_nanos(group.last_started))),
    ])
}
