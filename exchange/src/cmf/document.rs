//! The document that `metadata export` writes and that CMF's clients and servers exchange.

use serde_json::{Map, Value as Json, json};

use super::view::View;
use crate::error::Result;
use crate::mlmd::{ArtifactRow, ContextRow, ExecutionRow, Property, Value, declared_text};

/// The document of a pipeline. With `execution_uuid`, only the execution that has it.
///
/// Values are what they are in the store; CMF itself writes 0.0 for a boolean of ML Metadata, which it never makes. What JSON has no
/// number for is text: `inf`, and bytes in hexadecimal digits.
///
/// # Errors
/// [`crate::Error::NoPipeline`].
pub fn document(view: &View<'_>, pipeline: &str, execution_uuid: Option<&str>) -> Result<Json> {
    let row = view.pipeline(pipeline)?;
    let stages = view.stages(row.id).into_iter().map(|stage| {
        let executions = view.executions_in(stage.id).into_iter();
        let executions = executions.filter(|row| execution_uuid.is_none_or(|uuid| has_uuid(row, uuid)));
        let executions: Vec<Json> = executions.map(|row| of_execution(view, row)).collect();
        let mut json = of_context(view, stage);
        json.insert("executions".to_owned(), executions.into());
        json
    });
    let stages: Vec<Json> = stages.map(Json::Object).collect();
    let mut json = of_context(view, row);
    json.insert("stages".to_owned(), stages.into());
    Ok(json!({ "Pipeline": [json] }))
}

/// The document as CMF's command writes it: with an indent of two spaces.
///
/// # Errors
/// As [`document`].
pub fn document_text(view: &View<'_>, pipeline: &str, execution_uuid: Option<&str>) -> Result<String> {
    // A document of maps, lists, texts and numbers always has a text.
    Ok(format!("{:#}", document(view, pipeline, execution_uuid)?))
}

fn has_uuid(row: &ExecutionRow, uuid: &str) -> bool {
    declared_text(&row.properties, "Execution_uuid").split(',').any(|part| part == uuid)
}

fn of_context(view: &View<'_>, row: &ContextRow) -> Map<String, Json> {
    let times = (row.created_millis, row.updated_millis);
    let mut json = entity(row.id, (row.type_id, view.type_name(row.type_id)), times, &row.properties);
    put_text(&mut json, "name", &row.name);
    json
}

fn of_execution(view: &View<'_>, row: &ExecutionRow) -> Json {
    let times = (row.created_millis, row.updated_millis);
    let mut json = entity(row.id, (row.type_id, view.type_name(row.type_id)), times, &row.properties);
    json.insert("name".to_owned(), row.name.clone().unwrap_or_default().into());
    let events = view.events_of(row.id).into_iter();
    let events: Vec<Json> = events
        .map(|(event, artifact)| json!({ "type": event.kind, "artifact": of_artifact(view, artifact) }))
        .collect();
    json.insert("events".to_owned(), events.into());
    json.into()
}

fn of_artifact(view: &View<'_>, row: &ArtifactRow) -> Json {
    let times = (row.created_millis, row.updated_millis);
    let mut json = entity(row.id, (row.type_id, view.type_name(row.type_id)), times, &row.properties);
    put_text(&mut json, "name", row.name.as_deref().unwrap_or_default());
    put_text(&mut json, "uri", row.uri.as_deref().unwrap_or_default());
    json.into()
}

fn entity(
    id: i64,
    (type_id, type_name): (i64, &str),
    (created, updated): (i64, i64),
    properties: &[Property],
) -> Map<String, Json> {
    let mut json = Map::new();
    json.insert("id".to_owned(), id.into());
    json.insert("type_id".to_owned(), type_id.into());
    put_text(&mut json, "type", type_name);
    json.insert("create_time_since_epoch".to_owned(), created.into());
    json.insert("last_update_time_since_epoch".to_owned(), updated.into());
    json.insert("properties".to_owned(), of_properties(properties, false));
    json.insert("custom_properties".to_owned(), of_properties(properties, true));
    json
}

fn put_text(json: &mut Map<String, Json>, key: &str, text: &str) {
    if !text.is_empty() {
        json.insert(key.to_owned(), text.into());
    }
}

/// In custom properties `type` is called `user_type`: the document has another use for it.
fn of_properties(properties: &[Property], is_custom: bool) -> Json {
    let chosen = properties.iter().filter(|property| property.is_custom == is_custom);
    let pairs = chosen.map(|property| {
        let name = if is_custom && property.name == "type" { "user_type" } else { &property.name };
        (name.to_owned(), of_value(&property.value))
    });
    Json::Object(pairs.collect())
}

fn of_value(value: &Value) -> Json {
    match value {
        Value::Int(value) => (*value).into(),
        Value::Double(value) if value.is_finite() => (*value).into(),
        Value::Double(value) => value.to_string().into(),
        Value::Text(value) => value.as_str().into(),
        Value::Bool(value) => (*value).into(),
        Value::Bytes(bytes) | Value::Proto(bytes) => {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
        }
        Value::Nothing => Json::Null,
    }
}
