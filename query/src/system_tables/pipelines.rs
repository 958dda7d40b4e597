//! Table `pipelines`: one row a pipeline.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `pipeline` | Dictionary(Int32, Utf8) | no | name |
//! | `stages`, `runs` | Int64 | no | stages with a run; runs |
//! | `running` | Int64 | no | runs that are running |
//! | `first_started`, `last_started` | Timestamp(us, UTC) | no | start of the first and of the latest run |
//!
//! Ordered by name.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::{RunInfo, RunState};

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("pipeline"),
        int_field("stages"),
        int_field("runs"),
        int_field("running"),
        time_field("first_started"),
        time_field("last_started"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let mut groups: BTreeMap<&str, (BTreeSet<&str>, Group)> = BTreeMap::new();
    for run in snapshot.runs() {
        let (stages, group) = groups.entry(&run.pipeline).or_insert_with(|| (BTreeSet::new(), Group::new(run)));
        stages.insert(&run.stage);
        group.add(run);
    }
    Ok(vec![
        keys(groups.keys())?,
        counts(groups.values().map(|(stages, _)| stages.len() as u64)),
        counts(groups.values().map(|(_, group)| group.runs)),
        counts(groups.values().map(|(_, group)| group.running)),
        times(groups.values().map(|(_, group)| micros_of_nanos(group.first_started))),
        times(groups.values().map(|(_, group)| micros_of_nanos(group.last_started))),
    ])
}

/// What is told of several runs together.
pub(super) struct Group {
    pub(super) runs: u64,
    pub(super) running: u64,
    pub(super) first_started: i64,
    pub(super) last_started: i64,
}

impl Group {
    pub(super) fn new(run: &RunInfo) -> Self {
        Self { runs: 0, running: 0, first_started: run.started, last_started: run.started }
    }

    pub(super) fn add(&mut self, run: &RunInfo) {
        self.runs += 1;
        self.running += u64::from(run.state == RunState::Running);
        self.first_started = self.first_started.min(run.started);
        self.last_started = self.last_started.max(run.started);
    }
}
