//! Table `artifacts`: datasets, models, metrics and other files that runs read and wrote.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `id` | Int64 | no | id in the catalog, also in ML Metadata's tables |
//! | `type` | Dictionary(Int32, Utf8) | no | `Dataset`, `Model`, `Metrics`, `Step_Metrics`, ... |
//! | `name` | Utf8 | no | name, as in ML Metadata's table |
//! | `uri` | Utf8 | no | content hash |
//! | `bytes` | Int64 | yes | size of the content |
//! | `version` | Int64 | yes | of a metrics artifact |
//! | `created` | Timestamp(us, UTC) | no | when it was registered |
//! | `properties` | Utf8 | no | properties the caller gave it, a JSON object |
//!
//! Ordered by creation, then id.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;

use super::RowsError;
use super::columns::*;
use crate::source::SnapshotSource;

pub(super) fn fields() -> Vec<Field> {
    vec![
        int_field("id"),
        key_field("type"),
        text_field("name"),
        text_field("uri"),
        nullable(int_field("bytes")),
        nullable(int_field("version")),
        time_field("created"),
        text_field("properties"),
    ]
}

pub(super) fn rows(snapshot: &dyn SnapshotSource) -> Result<Vec<ArrayRef>, RowsError> {
    let all = snapshot.artifacts()?;
    let properties: Vec<String> =
        all.iter().map(|artifact| serde_json::to_string(&artifact.properties)).collect::<Result<_, _>>()?;
    Ok(vec![
        ints(all.iter().map(|artifact| artifact.id)),
        keys(all.iter().map(|artifact| &artifact.artifact_type))?,
        texts(all.iter().map(|artifact| &artifact.name)),
        texts(all.iter().map(|artifact| &artifact.uri)),
        optional_counts(all.iter().map(|artifact| artifact.bytes)),
        optional_counts(all.iter().map(|artifact| artifact.version.map(u64::from))),
        times(all.iter().map(|artifact| micros_of_millis(artifact.created_millis))),
        texts(properties.iter()),
    ])
}
