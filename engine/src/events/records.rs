//! Events in ML Metadata's own terms: what a run says of an execution, a context or an artifact that Stepwell does not name by
//! its own rules. CMF's data comes in this way, and so does what is logged through CMF's interface.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Direction, ParamValue};
use crate::ids::ContentHash;

/// Typed values by name.
pub type Properties = BTreeMap<String, ParamValue>;

/// An artifact exactly as ML Metadata is to have it. (`artifact_type`, `name`, `uri`) identifies it: told again, it is another use
/// of the same artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Direction of the event; `None` makes no event, and only adds to the artifact's properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// ML Metadata type.
    pub artifact_type: String,
    /// Name in ML Metadata's table, unique among the artifacts of the type.
    pub name: String,
    /// Content hash or another identity, as text.
    pub uri: String,
    /// Properties that the type declares.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: Properties,
    /// Custom properties. A later use may add to them and replace values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
    /// Key of the event's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Size of the content in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// BLAKE3 of the content that is kept in `objects/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentHash>,
    /// Whether the artifact is attributed to the stage of the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attributed: bool,
    /// `Event.milliseconds_since_epoch`; the time of the line where it is `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_millis: Option<i64>,
    /// What another store had for the artifact, where it comes from one.
    #[serde(flatten)]
    pub origin: Origin,
}

/// What the store that something was imported from had for it. Empty for what Stepwell made itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Its id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_id: Option<i64>,
    /// State there, a number of ML Metadata; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<i64>,
    /// `create_time_since_epoch` there, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_millis: Option<i64>,
    /// `last_update_time_since_epoch` there, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_millis: Option<i64>,
}

impl Origin {
    /// Whether it comes from another store, whose state and times count then.
    pub fn is_imported(&self) -> bool {
        self.source_id.is_some()
    }
}

/// What the execution of the run is called in ML Metadata, beside or in place of what Stepwell calls it. Of several, the later ones
/// add to and replace what the earlier ones said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutionRecord {
    /// ML Metadata type; the stage where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_type: Option<String>,
    /// Name in ML Metadata's table; usually none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Declared properties in place of Stepwell's, such as `Execution_uuid`. `Context_ID` and `Pipeline_id` are always those of the
    /// catalog.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: Properties,
    /// What another store had for it. An imported execution has no declared properties but those given.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Properties of a pipeline, or of a stage of one. Later ones add to and replace earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContextRecord {
    /// The pipeline.
    pub pipeline: String,
    /// The stage; `None` for the pipeline itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Custom properties.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: Properties,
    /// What another store had for it.
    #[serde(flatten)]
    pub origin: Origin,
}

/// One artifact came of another, without a run between that would say so: a slice of a data set, for instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinkEvent {
    /// Where it came from.
    pub source: ArtifactKey,
    /// What came of it.
    pub target: ArtifactKey,
    /// What the link means, such as `derived`.
    pub relation: String,
}

/// What identifies an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ArtifactKey {
    /// ML Metadata type.
    pub artifact_type: String,
    /// BLAKE3 of the content, or the identity that was given.
    pub uri: String,
    /// Empty for content, which all runs share; of a record, its name; of metrics, what keeps those of different runs apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
}

/// A movable name for one version of what is logged under a name: `best`, `production`. The latest one counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AliasEvent {
    /// The alias.
    pub alias: String,
    /// Name the artifact was logged under.
    pub name: String,
    /// The version that it stands for; `None` takes the alias away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactKey>,
}
