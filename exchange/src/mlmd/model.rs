//! The rows of an ML Metadata store as plain structs.

use std::collections::BTreeMap;

/// The schema version that is written.
pub const SCHEMA_VERSION: i64 = 10;

/// Everything an ML Metadata store holds: the rows of its 15 tables, ids and times as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MlmdStore {
    /// Types, in the order of their rows, as everything here.
    pub types: Vec<TypeRow>,
    /// (type, parent type).
    pub parent_types: Vec<(i64, i64)>,
    /// Artifacts.
    pub artifacts: Vec<ArtifactRow>,
    /// Executions.
    pub executions: Vec<ExecutionRow>,
    /// Contexts: in CMF's use pipelines and stages.
    pub contexts: Vec<ContextRow>,
    /// Events.
    pub events: Vec<EventRow>,
    /// (context, parent context).
    pub parent_contexts: Vec<(i64, i64)>,
    /// Executions in contexts.
    pub associations: Vec<LinkRow>,
    /// Artifacts in contexts.
    pub attributions: Vec<LinkRow>,
    /// The highest id that each table has ever given, where it is above the highest id that is there.
    pub sequences: BTreeMap<String, i64>,
}

/// What a type describes: `Type.type_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeKind {
    /// Of executions.
    Execution = 0,
    /// Of artifacts.
    Artifact = 1,
    /// Of contexts.
    Context = 2,
}

impl TypeKind {
    /// The kind of a number in the table.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Execution, Self::Artifact, Self::Context].into_iter().find(|kind| *kind as i64 == number)
    }
}

/// A row of `Type`, with its rows of `TypeProperty`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeRow {
    /// Its id.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Version.
    pub version: Option<String>,
    /// What it describes.
    pub kind: TypeKind,
    /// Description.
    pub description: Option<String>,
    /// Signature of executions.
    pub input_type: Option<String>,
    /// Signature of executions.
    pub output_type: Option<String>,
    /// Id in another system.
    pub external_id: Option<String>,
    /// Declared properties with their data type: 1 INT, 2 DOUBLE, 3 STRING, 4 STRUCT, 5 PROTO, 6 BOOLEAN.
    pub properties: Vec<(String, Option<i64>)>,
}

/// A row of `Artifact`, with its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct ArtifactRow {
    /// Its id.
    pub id: i64,
    /// Its type.
    pub type_id: i64,
    /// Content hash, in CMF's use.
    pub uri: Option<String>,
    /// 0 UNKNOWN, 1 PENDING, 2 LIVE, 3 MARKED_FOR_DELETION, 4 DELETED, 5 ABANDONED, 6 REFERENCE.
    pub state: Option<i64>,
    /// Name.
    pub name: Option<String>,
    /// Id in another system.
    pub external_id: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_millis: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_millis: i64,
    /// Properties.
    pub properties: Vec<Property>,
}

/// A row of `Execution`, with its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutionRow {
    /// Its id.
    pub id: i64,
    /// Its type.
    pub type_id: i64,
    /// `last_known_state`: 0 UNKNOWN, 1 NEW, 2 RUNNING, 3 COMPLETE, 4 FAILED, 5 CACHED, 6 CANCELED.
    pub state: Option<i64>,
    /// Name; CMF leaves it out.
    pub name: Option<String>,
    /// Id in another system.
    pub external_id: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_millis: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_millis: i64,
    /// Properties.
    pub properties: Vec<Property>,
}

/// A row of `Context`, with its properties.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextRow {
    /// Its id.
    pub id: i64,
    /// Its type.
    pub type_id: i64,
    /// Name.
    pub name: String,
    /// Id in another system.
    pub external_id: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub created_millis: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_millis: i64,
    /// Properties.
    pub properties: Vec<Property>,
}

/// A property of an artifact, execution or context.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Name.
    pub name: String,
    /// Whether it is the caller's own and not declared by the type.
    pub is_custom: bool,
    /// Value.
    pub value: Value,
}

/// The value of a property, by the column that holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `int_value`.
    Int(i64),
    /// `double_value`; infinities occur, NaN does not.
    Double(f64),
    /// `string_value`; a STRUCT lies here too, in ML Metadata's own spelling.
    Text(String),
    /// `byte_value`.
    Bytes(Vec<u8>),
    /// `proto_value`.
    Proto(Vec<u8>),
    /// `bool_value`.
    Bool(bool),
    /// No column is filled. ML Metadata cannot read such an entity, so this is never written.
    Nothing,
}

impl Value {
    /// The text, of a text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Name of the column that holds it; `None` of [`Value::Nothing`].
    pub fn column(&self) -> Option<&'static str> {
        Some(match self {
            Self::Int(_) => "int_value",
            Self::Double(_) => "double_value",
            Self::Text(_) => "string_value",
            Self::Bytes(_) => "byte_value",
            Self::Proto(_) => "proto_value",
            Self::Bool(_) => "bool_value",
            Self::Nothing => return None,
        })
    }
}

/// The first declared or custom property of this name.
pub fn property<'a>(properties: &'a [Property], name: &str, is_custom: bool) -> Option<&'a Value> {
    properties
        .iter()
        .find(|property| property.is_custom == is_custom && property.name == name)
        .map(|found| &found.value)
}

/// The text of a declared property; empty where there is none.
pub fn declared_text<'a>(properties: &'a [Property], name: &str) -> &'a str {
    property(properties, name, false).and_then(Value::as_text).unwrap_or_default()
}

/// A row of `Event`, with its path.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// Its id.
    pub id: i64,
    /// The artifact.
    pub artifact_id: i64,
    /// The execution.
    pub execution_id: i64,
    /// 1 DECLARED_OUTPUT, 2 DECLARED_INPUT, 3 INPUT, 4 OUTPUT, 5 INTERNAL_INPUT, 6 INTERNAL_OUTPUT, 7 PENDING_OUTPUT.
    pub kind: i64,
    /// Milliseconds since the Unix epoch.
    pub time_millis: Option<i64>,
    /// Rows of `EventPath`.
    pub path: Vec<PathStep>,
}

/// A row of `EventPath`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// Which of the two is meant.
    pub is_index: bool,
    /// `step_index`.
    pub index: Option<i64>,
    /// `step_key`.
    pub key: Option<String>,
}

/// A row of `Association` or `Attribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// Its id.
    pub id: i64,
    /// The context.
    pub context_id: i64,
    /// The execution or artifact.
    pub member_id: i64,
}

/// Types that every store has, with their kind; ids 1 to 9.
pub const BUILT_IN_TYPES: [(&str, TypeKind); 9] = [
    ("mlmd.Dataset", TypeKind::Artifact),
    ("mlmd.Model", TypeKind::Artifact),
    ("mlmd.Metrics", TypeKind::Artifact),
    ("mlmd.Statistics", TypeKind::Artifact),
    ("mlmd.Train", TypeKind::Execution),
    ("mlmd.Transform", TypeKind::Execution),
    ("mlmd.Process", TypeKind::Execution),
    ("mlmd.Evaluate", TypeKind::Execution),
    ("mlmd.Deploy", TypeKind::Execution),
];

impl MlmdStore {
    /// A store as ML Metadata makes it: the nine built-in types and nothing else.
    pub fn with_built_in_types() -> Self {
        let types = BUILT_IN_TYPES.iter().zip(1..).map(|((name, kind), id)| TypeRow::new(id, *name, *kind)).collect();
        Self { types, ..Self::default() }
    }

    /// The type of this id.
    pub fn type_of(&self, id: i64) -> Option<&TypeRow> {
        self.types.iter().find(|row| row.id == id)
    }

    /// Name of the type of this id; empty where there is none.
    pub fn type_name(&self, id: i64) -> &str {
        self.type_of(id).map(|row| row.name.as_str()).unwrap_or_default()
    }
}

impl TypeRow {
    /// A type without declared properties.
    pub fn new(id: i64, name: impl Into<String>, kind: TypeKind) -> Self {
        Self {
            id,
            name: name.into(),
            version: None,
            kind,
            description: None,
            input_type: None,
            output_type: None,
            external_id: None,
            properties: Vec::new(),
        }
    }
}
