//! Table `lineage`: which run read and wrote which artifact.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `artifact_id` | Int64 | no | `artifacts.id` |
//! | `type` | Dictionary(Int32, Utf8) | no | of the artifact |
//! | `name`, `uri` | Utf8 | no | of the artifact |
//! | `direction` | Dictionary(Int32, Utf8) | no | `input` or `output` of the run |
//! | `time` | Timestamp(us, UTC) | no | when it was read or written |
//!
//! Ordered by time, run, artifact.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use stepwell_engine::{ArtifactInfo, LineageEdge};

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        key_field("run_id"),
        int_field("artifact_id"),
        key_field("type"),
        text_field("name"),
        text_field("uri"),
        key_field("direction"),
        time_field("time"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let artifacts = snapshot.artifacts()?;
    let by_id: HashMap<i64, &ArtifactInfo> = artifacts.iter().map(|artifact| (artifact.id, artifact)).collect();
    let edges = snapshot.lineage()?;
    let text = |edge: &LineageEdge, get: fn(&ArtifactInfo) -> &String| {
        by_id.get(&edge.artifact_id).map_or(String::new(), |artifact| get(artifact).clone())
    };
    Ok(vec![
        keys(edges.iter().map(|edge| edge.run_id.to_string()))?,
        ints(edges.iter().map(|edge| edge.artifact_id)),
        keys(edges.iter().map(|edge| text(edge, |artifact| &artifact.artifact_type)))?,
        texts(edges.iter().map(|edge| text(edge, |artifact| &artifact.name))),
        texts(edges.iter().map(|edge| text(edge, |artifact| &artifact.uri))),
        keys(edges.iter().map(|edge| edge.direction.as_str()))?,
        times(edges.iter().map(|edge| micros_of_millis(edge.time_millis))),
    ])
}
