//! ML Metadata's numbers and CMF's properties.

use rusqlite::types::{ToSqlOutput, Type as SqlType, Value, ValueRef};
use rusqlite::{Connection, params};

use crate::events::{Direction, ParamValue};
use crate::snapshot::RunState;

/// `Type.id` of pipelines.
pub(super) const PARENT_CONTEXT_TYPE: i64 = 10;
/// `Type.id` of stages.
pub(super) const PIPELINE_STAGE_TYPE: i64 = 11;
/// Types up to here are made by the migration and always there.
pub(super) const FIXED_TYPE_MAX: i64 = 19;

/// `Artifact.state`: LIVE.
pub(super) const ARTIFACT_LIVE: i64 = 2;

/// Custom property of an execution with the run's display name.
pub(super) const NAME_PROPERTY: &str = "stepwell:name";
/// Prefix of the custom properties of an execution with the run's tags.
pub(super) const TAG_PROPERTY_PREFIX: &str = "stepwell:tag:";

/// Artifact type of the metrics of all steps.
pub(super) const STEP_METRICS: &str = "Step_Metrics";
/// Artifact type of the final metrics of an execution.
pub(super) const METRICS: &str = "Metrics";
/// Artifact type of models.
pub(super) const MODEL: &str = "Model";
/// Artifact type of validation outputs.
pub(super) const VALIDATION_OUTPUT: &str = "Validation_output";

const PROPERTY_INT: i64 = 1;
const PROPERTY_STRING: i64 = 3;

/// What a type describes: `Type.type_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TypeKind {
    Execution = 0,
    Artifact = 1,
}

impl TypeKind {
    /// Declared properties of a type that the migration does not make, with their data types.
    pub fn properties(self) -> &'static [(&'static str, i64)] {
        match self {
            Self::Execution => &[
                ("Execution_uuid", PROPERTY_STRING),
                ("Context_Type", PROPERTY_STRING),
                ("Context_ID", PROPERTY_INT),
                ("Execution", PROPERTY_STRING),
                ("Execution_type_name", PROPERTY_STRING),
                ("Pipeline_Type", PROPERTY_STRING),
                ("Pipeline_id", PROPERTY_INT),
                ("Git_Repo", PROPERTY_STRING),
                ("Git_Start_Commit", PROPERTY_STRING),
                ("Git_End_Commit", PROPERTY_STRING),
            ],
            Self::Artifact => &[("git_repo", PROPERTY_STRING), ("Commit", PROPERTY_STRING), ("url", PROPERTY_STRING)],
        }
    }
}

/// `Execution.last_known_state`: 2 RUNNING, 3 COMPLETE, 4 FAILED.
pub(super) fn execution_state(state: RunState) -> i64 {
    match state {
        RunState::Running => 2,
        RunState::Finished => 3,
        RunState::Failed | RunState::Died => 4,
    }
}

/// `Event.type`: 3 INPUT, 4 OUTPUT, 6 INTERNAL_OUTPUT.
pub(super) fn event_type(direction: Direction) -> i64 {
    match direction {
        Direction::Input => 3,
        Direction::Output => 4,
        Direction::InternalOutput => 6,
    }
}

/// The direction of an `Event.type`.
pub(super) fn direction(event_type: i64) -> Direction {
    match event_type {
        3 => Direction::Input,
        6 => Direction::InternalOutput,
        _ => Direction::Output,
    }
}

/// Milliseconds of a time in nanoseconds.
pub(super) fn millis(nanos: i64) -> i64 {
    nanos.div_euclid(1_000_000)
}

/// The three value columns a property can fill: integer, float, text. One of them is always filled: a row of NULLs ends the
/// process of an `ml-metadata` that reads it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PropertyValue {
    Int(i64),
    Float(f64),
    Text(String),
}

impl PropertyValue {
    /// `TypeProperty.data_type`: 1 integer, 2 float, 3 text.
    pub fn data_type(&self) -> i64 {
        match self {
            Self::Int(_) => PROPERTY_INT,
            Self::Float(_) => 2,
            Self::Text(_) => PROPERTY_STRING,
        }
    }
}

impl From<&ParamValue> for PropertyValue {
    /// Booleans become integers, as CMF writes them; floats that are not finite become text, as SQL has no NaN.
    fn from(value: &ParamValue) -> Self {
        match value {
            ParamValue::Bool(value) => Self::Int((*value).into()),
            ParamValue::Int(value) => Self::Int(*value),
            ParamValue::Float(value) if value.is_finite() => Self::Float(*value),
            ParamValue::Float(value) => Self::Text(value.to_string()),
            ParamValue::Text(value) => Self::Text(value.clone()),
        }
    }
}

impl From<&str> for PropertyValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// What a property belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Artifact,
    Execution,
    Context,
}

impl Owner {
    /// Writes one property.
    pub fn write_property(
        self,
        connection: &Connection,
        id: i64,
        name: &str,
        custom: bool,
        value: &PropertyValue,
    ) -> rusqlite::Result<()> {
        let (column, value) = match value {
            PropertyValue::Int(value) => ("int_value", ToSqlOutput::from(*value)),
            PropertyValue::Float(value) => ("double_value", ToSqlOutput::from(*value)),
            PropertyValue::Text(value) => ("string_value", ToSqlOutput::from(value.as_str())),
        };
        let (table, key) = self.table_and_key();
        let sql = format!("INSERT INTO {table} ({key}, name, is_custom_property, {column}) VALUES (?1, ?2, ?3, ?4)");
        connection.prepare_cached(&sql)?.execute(params![id, name, custom, value])?;
        Ok(())
    }

    /// Removes all properties of one entity.
    pub fn remove_properties(self, connection: &Connection, id: i64) -> rusqlite::Result<()> {
        let (table, key) = self.table_and_key();
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE {key} = ?1"))?.execute([id])?;
        Ok(())
    }

    fn table_and_key(self) -> (&'static str, &'static str) {
        match self {
            Self::Artifact => ("ArtifactProperty", "artifact_id"),
            Self::Execution => ("ExecutionProperty", "execution_id"),
            Self::Context => ("ContextProperty", "context_id"),
        }
    }
}

/// Columns `kind` and `value` of a typed value in Stepwell's own tables.
pub(super) fn typed_columns(value: &ParamValue) -> (&'static str, Value) {
    match value {
        ParamValue::Bool(value) => ("bool", Value::Integer((*value).into())),
        ParamValue::Int(value) => ("int", Value::Integer(*value)),
        ParamValue::Float(value) if value.is_finite() => ("float", Value::Real(*value)),
        ParamValue::Float(value) => ("float", Value::Text(value.to_string())),
        ParamValue::Text(value) => ("text", Value::Text(value.clone())),
    }
}

/// Reads back what [`typed_columns`] gave; `column` is the index of `kind`, `value` follows it.
pub(super) fn typed_value(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<ParamValue> {
    let kind: String = row.get(column)?;
    let value = row.get_ref(column + 1)?;
    let typed = match (kind.as_str(), value) {
        ("bool", ValueRef::Integer(value)) => Some(ParamValue::Bool(value != 0)),
        ("int", ValueRef::Integer(value)) => Some(ParamValue::Int(value)),
        ("float", ValueRef::Real(value)) => Some(ParamValue::Float(value)),
        ("float", ValueRef::Text(_)) => value.as_str()?.parse().ok().map(ParamValue::Float),
        ("text", ValueRef::Text(_)) => Some(ParamValue::Text(value.as_str()?.to_owned())),
        _ => None,
    };
    typed.ok_or_else(|| rusqlite::Error::InvalidColumnType(column + 1, kind, SqlType::Null))
}
