//! Pipelines, stages, executions and artifacts of a store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::names::ArtifactName;
use crate::error::{Error, Result};
use crate::mlmd::{ArtifactRow, ContextRow, EventRow, ExecutionRow, MlmdStore, Property, Value, declared_text};

/// Type of the contexts that are pipelines.
pub const CONTEXT_PIPELINE: &str = "Parent_Context";
/// Type of the contexts that are stages.
pub const CONTEXT_STAGE: &str = "Pipeline_Stage";
/// Type of artifacts that are the metrics of all steps.
pub const STEP_METRICS: &str = "Step_Metrics";
/// Type of artifacts that are final metrics.
pub const METRICS: &str = "Metrics";
/// Type of artifacts that are lists of files of a data set.
pub const DATASLICE: &str = "Dataslice";
/// Type of artifacts that are lists of Python packages.
pub const ENVIRONMENT: &str = "Environment";

/// A store with its rows by id, read as CMF reads it.
#[derive(Clone, Debug)]
pub struct View<'s> {
    /// The rows.
    pub store: &'s MlmdStore,
    types: HashMap<i64, &'s str>,
    artifacts: HashMap<i64, &'s ArtifactRow>,
    executions: HashMap<i64, &'s ExecutionRow>,
    contexts: HashMap<i64, &'s ContextRow>,
    children: BTreeMap<i64, Vec<i64>>,
    parents: BTreeMap<i64, Vec<i64>>,
    in_context: BTreeMap<i64, Vec<i64>>,
    of_execution: BTreeMap<i64, Vec<i64>>,
    events: BTreeMap<i64, Vec<&'s EventRow>>,
}

impl<'s> View<'s> {
    /// Indexes the rows of `store`.
    pub fn new(store: &'s MlmdStore) -> Self {
        let mut view = Self {
            store,
            types: store.types.iter().map(|row| (row.id, row.name.as_str())).collect(),
            artifacts: store.artifacts.iter().map(|row| (row.id, row)).collect(),
            executions: store.executions.iter().map(|row| (row.id, row)).collect(),
            contexts: store.contexts.iter().map(|row| (row.id, row)).collect(),
            children: BTreeMap::new(),
            parents: BTreeMap::new(),
            in_context: BTreeMap::new(),
            of_execution: BTreeMap::new(),
            events: BTreeMap::new(),
        };
        for (child, parent) in &store.parent_contexts {
            view.children.entry(*parent).or_default().push(*child);
            view.parents.entry(*child).or_default().push(*parent);
        }
        for link in &store.associations {
            view.in_context.entry(link.context_id).or_default().push(link.member_id);
            view.of_execution.entry(link.member_id).or_default().push(link.context_id);
        }
        for event in &store.events {
            view.events.entry(event.execution_id).or_default().push(event);
        }
        view
    }

    /// Name of a type; empty where there is none.
    pub fn type_name(&self, id: i64) -> &'s str {
        self.types.get(&id).copied().unwrap_or_default()
    }

    /// Pipelines in the order of their ids.
    pub fn pipelines(&self) -> Vec<&'s ContextRow> {
        self.contexts_of_type(self.store.contexts.iter(), CONTEXT_PIPELINE)
    }

    /// The pipeline of this name.
    ///
    /// # Errors
    /// [`Error::NoPipeline`].
    pub fn pipeline(&self, name: &str) -> Result<&'s ContextRow> {
        let found = self.pipelines().into_iter().find(|row| row.name == name);
        found.ok_or_else(|| Error::NoPipeline { name: name.to_owned() })
    }

    /// Stages of a pipeline in the order of their ids.
    pub fn stages(&self, pipeline: i64) -> Vec<&'s ContextRow> {
        let children = self.children.get(&pipeline).into_iter().flatten();
        self.contexts_of_type(children.filter_map(|id| self.contexts.get(id).copied()), CONTEXT_STAGE)
    }

    fn contexts_of_type(&self, rows: impl Iterator<Item = &'s ContextRow>, of: &str) -> Vec<&'s ContextRow> {
        let mut found: Vec<_> = rows.filter(|row| self.type_name(row.type_id) == of).collect();
        found.sort_by_key(|row| row.id);
        found
    }

    /// Executions of a context in the order of their ids.
    pub fn executions_in(&self, context: i64) -> Vec<&'s ExecutionRow> {
        let members = self.in_context.get(&context).into_iter().flatten();
        let mut found: Vec<_> = members.filter_map(|id| self.executions.get(id).copied()).collect();
        found.sort_by_key(|row| row.id);
        found
    }

    /// Contexts of an execution.
    pub fn contexts_of(&self, execution: i64) -> Vec<&'s ContextRow> {
        let ids = self.of_execution.get(&execution).into_iter().flatten();
        ids.filter_map(|id| self.contexts.get(id).copied()).collect()
    }

    /// Parents of a context.
    pub fn parents_of(&self, context: i64) -> Vec<&'s ContextRow> {
        let ids = self.parents.get(&context).into_iter().flatten();
        ids.filter_map(|id| self.contexts.get(id).copied()).collect()
    }

    /// Events of an execution with their artifacts, in the order of the events' ids.
    pub fn events_of(&self, execution: i64) -> Vec<(&'s EventRow, &'s ArtifactRow)> {
        let events = self.events.get(&execution).into_iter().flatten();
        let mut found: Vec<_> =
            events.filter_map(|event| Some((*event, *self.artifacts.get(&event.artifact_id)?))).collect();
        found.sort_by_key(|(event, _)| event.id);
        found
    }

    /// Executions of a pipeline, stage by stage.
    pub fn executions_of(&self, pipeline: &ContextRow) -> Vec<&'s ExecutionRow> {
        let mut seen = BTreeSet::new();
        let stages = self.stages(pipeline.id).into_iter();
        stages.flat_map(|stage| self.executions_in(stage.id)).filter(|row| seen.insert(row.id)).collect()
    }

    /// Artifacts of a pipeline's executions, in the order of their ids.
    pub fn artifacts_of(&self, pipeline: &ContextRow) -> Vec<&'s ArtifactRow> {
        let executions = self.executions_of(pipeline);
        let events = executions.iter().flat_map(|row| self.events_of(row.id));
        let found: BTreeMap<i64, &ArtifactRow> = events.map(|(_, artifact)| (artifact.id, artifact)).collect();
        found.into_values().collect()
    }
}

/// Rows of text for a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Listing {
    fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }
}

/// The pipelines.
pub fn list_pipelines(view: &View<'_>) -> Listing {
    let mut listing = Listing::new(&["pipeline", "stages", "executions"]);
    for row in view.pipelines() {
        let (stages, executions) = (view.stages(row.id).len(), view.executions_of(row).len());
        listing.rows.push(vec![row.name.clone(), stages.to_string(), executions.to_string()]);
    }
    listing
}

/// The executions of a pipeline, with the columns that CMF shows.
///
/// # Errors
/// [`Error::NoPipeline`].
pub fn list_executions(view: &View<'_>, pipeline: &str) -> Result<Listing> {
    let declared = ["Context_Type", "Execution", "Execution_uuid", "Pipeline_Type", "Git_Repo"];
    let mut listing = Listing::new(&["id", declared[0], declared[1], declared[2], "name", declared[3], declared[4]]);
    for row in view.executions_of(view.pipeline(pipeline)?) {
        let mut cells = vec![row.id.to_string()];
        cells.extend(declared.map(|name| declared_text(&row.properties, name).to_owned()));
        cells.insert(4, row.name.clone().unwrap_or_default());
        listing.rows.push(cells);
    }
    Ok(listing)
}

/// Everything on the executions of a pipeline whose `Execution_uuid` has `uuid`.
///
/// # Errors
/// [`Error::NoPipeline`].
pub fn show_executions(view: &View<'_>, pipeline: &str, uuid: &str) -> Result<Vec<Listing>> {
    let mut found = Vec::new();
    for row in view.executions_of(view.pipeline(pipeline)?) {
        if !declared_text(&row.properties, "Execution_uuid").split(',').any(|part| part == uuid) {
            continue;
        }
        let head = [
            ("id", row.id.to_string()),
            ("type", view.type_name(row.type_id).to_owned()),
            ("name", row.name.clone().unwrap_or_default()),
            ("create_time_since_epoch", row.created_millis.to_string()),
            ("last_update_time_since_epoch", row.updated_millis.to_string()),
        ];
        found.push(details(&head, &row.properties));
    }
    Ok(found)
}

/// The artifacts of a pipeline, with the columns that CMF shows.
///
/// # Errors
/// [`Error::NoPipeline`].
pub fn list_artifacts(view: &View<'_>, pipeline: &str) -> Result<Listing> {
    let columns = ["id", "name", "type", "create_time_since_epoch", "url", "Commit", "uri"];
    let mut listing = Listing::new(&columns);
    for row in view.artifacts_of(view.pipeline(pipeline)?) {
        listing.rows.push(vec![
            row.id.to_string(),
            row.name.clone().unwrap_or_default(),
            view.type_name(row.type_id).to_owned(),
            row.created_millis.to_string(),
            declared_text(&row.properties, "url").to_owned(),
            declared_text(&row.properties, "Commit").to_owned(),
            row.uri.clone().unwrap_or_default(),
        ]);
    }
    Ok(listing)
}

/// Everything on the artifacts of a pipeline that `text` means: a whole name, a path or a file name.
///
/// # Errors
/// [`Error::NoPipeline`].
pub fn show_artifacts(view: &View<'_>, pipeline: &str, text: &str) -> Result<Vec<Listing>> {
    let mut found = Vec::new();
    for row in view.artifacts_of(view.pipeline(pipeline)?) {
        let (name, uri) = (row.name.as_deref().unwrap_or_default(), row.uri.as_deref().unwrap_or_default());
        if !ArtifactName::new(name, uri).is_meant_by(name, text) {
            continue;
        }
        let head = [
            ("id", row.id.to_string()),
            ("name", name.to_owned()),
            ("type", view.type_name(row.type_id).to_owned()),
            ("uri", uri.to_owned()),
            ("create_time_since_epoch", row.created_millis.to_string()),
            ("last_update_time_since_epoch", row.updated_millis.to_string()),
        ];
        found.push(details(&head, &row.properties));
    }
    Ok(found)
}

fn details(head: &[(&str, String)], properties: &[Property]) -> Listing {
    let mut listing = Listing::new(&["property", "value"]);
    listing.rows.extend(head.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]));
    let mut sorted: Vec<_> = properties.iter().collect();
    sorted.sort_by_key(|property| (property.is_custom, &property.name));
    for property in sorted {
        let name =
            if property.is_custom { format!("custom_properties_{}", property.name) } else { property.name.clone() };
        listing.rows.push(vec![name, shown(&property.value)]);
    }
    listing
}

fn shown(value: &Value) -> String {
    match value {
        Value::Int(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Bytes(bytes) | Value::Proto(bytes) => format!("({} bytes)", bytes.len()),
        Value::Nothing => String::new(),
    }
}
