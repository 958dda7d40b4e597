//! Uses of artifacts, as the events of a run tell them.

use std::collections::BTreeMap;

use super::digest::clamp;
use super::ids::{Ids, stable_uuid};
use super::mlmd::{METRICS, STEP_METRICS, millis};
use crate::events::{
    ArtifactEvent, ArtifactRecord, Direction, EventLine, MetricsCommitted, Origin, ParamValue, Properties,
};
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::names::MetricsName;

/// Property of a metrics artifact: numbers of the segments that hold its rows.
pub(super) const SEGMENTS_PROPERTY: &str = "segments";

/// One use of an artifact by a run. (artifact_type, uri, scope) identifies the artifact.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reference {
    pub writer: String,
    pub n: i64,
    pub time: i64,
    pub artifact_type: String,
    pub uri: String,
    /// Empty for content, which all runs share; otherwise what keeps artifacts of different runs apart.
    pub scope: String,
    /// `None` makes no event.
    pub direction: Option<Direction>,
    /// Name as ML Metadata has it.
    pub name: String,
    /// Where the content lies: below the store folder, or the name when it was not stored.
    pub location: String,
    pub bytes: Option<i64>,
    pub version: Option<i64>,
    pub properties: Properties,
    /// Of a record, what else it says; `None` for what follows Stepwell's own rules.
    pub record: Option<RecordFacts>,
}

impl Reference {
    /// `Event.milliseconds_since_epoch`.
    pub fn event_millis(&self) -> i64 {
        self.record.as_ref().and_then(|record| record.event_time).unwrap_or_else(|| millis(self.time))
    }

    /// Key of the event's path. An artifact keeps the name of its first use; of content, the path is the name in this one.
    pub fn event_path(&self) -> Option<&str> {
        match &self.record {
            Some(record) => record.path.as_deref(),
            None => self.scope.is_empty().then_some(&self.name),
        }
    }
}

/// What a record says of an artifact beside its names and custom properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RecordFacts {
    pub declared: Properties,
    /// Key of the event's path.
    pub path: Option<String>,
    pub attributed: bool,
    /// Milliseconds since the Unix epoch; the time of the line where it is `None`.
    pub event_time: Option<i64>,
    pub origin: Origin,
}

pub(super) fn content_reference(writer: WriterId, line: &EventLine, event: &ArtifactEvent) -> Reference {
    let location = if event.stored {
        Layout::new("").object(event.hash).to_string_lossy().into_owned()
    } else {
        event.name.clone()
    };
    Reference {
        writer: writer.to_string(),
        n: clamp(line.n),
        time: line.time,
        artifact_type: event.artifact_type.clone(),
        uri: event.hash.to_string(),
        scope: String::new(),
        direction: Some(event.direction),
        name: format!("{}:{}", event.name, event.hash),
        location,
        bytes: Some(clamp(event.bytes)),
        version: None,
        properties: event.properties.clone(),
        record: None,
    }
}

/// CMF's form: a set of final values is an artifact of its own, named `<name>:<uuid>:<execution id>`.
pub(super) fn metrics_reference(
    run_id: RunId,
    writer: WriterId,
    line: &EventLine,
    name: &str,
    metrics: &BTreeMap<String, ParamValue>,
    ids: Ids,
) -> Reference {
    let uri = stable_uuid("metrics", &[&run_id.to_string(), &writer.to_string(), &line.n.to_string()]);
    Reference {
        writer: writer.to_string(),
        n: clamp(line.n),
        time: line.time,
        artifact_type: METRICS.to_owned(),
        name: format!("{name}:{uri}:{}", ids.execution(run_id)),
        location: name.to_owned(),
        uri,
        scope: run_id.to_string(),
        direction: Some(Direction::Output),
        bytes: None,
        version: None,
        properties: metrics.clone(),
        record: None,
    }
}

/// Numbers of segments, as text.
pub(super) fn numbers(segments: &[u64]) -> String {
    segments.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// CMF's form: `<path>:<hash>:<execution id>:<uuid>`. A commit that adds no record is the same artifact again.
pub(super) fn commit_reference(
    run_id: RunId,
    writer: WriterId,
    line: &EventLine,
    commit: &MetricsCommitted,
    ids: Ids,
) -> Reference {
    let layout = Layout::new("");
    let folder = match MetricsName::try_new(&commit.metrics_name) {
        Ok(name) => layout.segments(run_id, &name),
        Err(_) => layout.run(run_id).join(&commit.metrics_name),
    };
    let location = folder.to_string_lossy().into_owned();
    let identity = commit.identity;
    let uuid = stable_uuid("step metrics", &[&run_id.to_string(), &writer.to_string(), &line.n.to_string()]);
    let properties = BTreeMap::from([
        ("metrics_name".to_owned(), ParamValue::Text(commit.metrics_name.clone())),
        ("version".to_owned(), ParamValue::Int(commit.version.into())),
        ("rows".to_owned(), ParamValue::Int(clamp(commit.rows))),
        ("writer".to_owned(), ParamValue::Text(writer.to_string())),
        (SEGMENTS_PROPERTY.to_owned(), ParamValue::Text(numbers(&commit.segments))),
    ]);
    Reference {
        writer: writer.to_string(),
        n: clamp(line.n),
        time: line.time,
        artifact_type: STEP_METRICS.to_owned(),
        uri: identity.to_string(),
        scope: format!("{run_id}/{}", commit.metrics_name),
        direction: Some(Direction::Output),
        name: format!("{location}:{identity}:{}:{uuid}", ids.execution(run_id)),
        location,
        bytes: None,
        version: Some(commit.version.into()),
        properties,
        record: None,
    }
}

/// A record is identified by type, name and uri, so that its name keeps it apart from content that is logged by Stepwell's rules.
pub(super) fn record_reference(writer: WriterId, line: &EventLine, record: &ArtifactRecord) -> Reference {
    let location = match record.content {
        Some(hash) => Layout::new("").object(hash).to_string_lossy().into_owned(),
        None => String::new(),
    };
    Reference {
        writer: writer.to_string(),
        n: clamp(line.n),
        time: line.time,
        artifact_type: record.artifact_type.clone(),
        uri: record.uri.clone(),
        scope: record.name.clone(),
        direction: record.direction,
        name: record.name.clone(),
        location,
        bytes: record.bytes.map(clamp),
        version: None,
        properties: record.properties.clone(),
        record: Some(RecordFacts {
            declared: record.declared.clone(),
            path: record.path.clone(),
            attributed: record.attributed,
            event_time: record.time_millis,
            origin: record.origin.clone(),
        }),
    }
}
