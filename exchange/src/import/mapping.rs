//! One execution of ML Metadata as a run of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stepwell_engine::events::{Origin, Properties};
use stepwell_engine::names::{NameKind, check_name};
use stepwell_engine::{
    ArtifactRecord, ContentHash, ContextRecord, Direction, ExecutionRecord, FinishState, ImportedMetrics, ImportedRow,
    ImportedRun, ParamValue, RunId,
};

use super::TakenFile;
use super::record::{Record, TAG, tag_of};
use super::report::Note;
use crate::cmf::{ArtifactName, CONTEXT_PIPELINE, CONTEXT_STAGE, View, read_metrics_file, stage_of};
use crate::mlmd::{ArtifactRow, ContextRow, EventRow, ExecutionRow, Property, Value, declared_text};

/// Longest text that the store takes.
const TEXT_BYTES_MAX: usize = 4096;
/// States of executions that are a failure: FAILED and CANCELED.
const FAILED_STATES: [i64; 2] = [4, 6];

/// Makes runs of executions.
pub(super) struct Mapper<'s> {
    view: &'s View<'s>,
    files: &'s BTreeMap<i64, TakenFile>,
    record: &'s Record,
    hash: ContentHash,
    /// Pipeline of what has none.
    fallback: String,
    attributed: BTreeSet<(i64, i64)>,
    pipelines: BTreeSet<String>,
    stages: BTreeSet<String>,
    /// What belongs to no execution, until a run carries it.
    left_over: Option<LeftOver>,
}

/// Contexts without executions and artifacts without events.
struct LeftOver {
    contexts: Vec<i64>,
    artifacts: Vec<i64>,
}

impl<'s> Mapper<'s> {
    pub fn new(
        view: &'s View<'s>,
        runs: &BTreeMap<i64, RunId>,
        files: &'s BTreeMap<i64, TakenFile>,
        (record, hash): (&'s Record, ContentHash),
        path: &Path,
    ) -> Self {
        let store = view.store;
        let mut used: BTreeSet<i64> = store.associations.iter().map(|row| row.context_id).collect();
        let parents = store.parent_contexts.iter().filter(|(child, _)| used.contains(child)).map(|(_, parent)| *parent);
        used.extend(parents.collect::<Vec<_>>());
        let contexts = store.contexts.iter().map(|row| row.id).filter(|id| !used.contains(id)).collect();
        let used: BTreeSet<i64> = store.events.iter().map(|row| row.artifact_id).collect();
        let artifacts = store.artifacts.iter().map(|row| row.id).filter(|id| !used.contains(id)).collect();
        debug_assert_eq!(runs.len(), store.executions.len());
        let fallback = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Self {
            view,
            files,
            record,
            hash,
            fallback: fallback.filter(|name| !name.is_empty()).unwrap_or_else(|| "imported".to_owned()),
            attributed: store.attributions.iter().map(|row| (row.context_id, row.member_id)).collect(),
            pipelines: BTreeSet::new(),
            stages: BTreeSet::new(),
            left_over: Some(LeftOver { contexts, artifacts }),
        }
    }

    /// How many pipelines and stages the runs have.
    pub fn counts(&self) -> (u64, u64) {
        (self.pipelines.len() as u64, self.stages.len() as u64)
    }

    /// The run of an execution.
    pub fn run(&mut self, row: &ExecutionRow, run_id: RunId, notes: &mut Vec<Note>) -> ImportedRun {
        let (pipeline, stage, context) = self.place(row, notes);
        self.pipelines.insert(pipeline.clone());
        self.stages.insert(format!("{pipeline}/{stage}"));
        let events = self.view.events_of(row.id);
        let last = events.iter().filter_map(|(event, _)| event.time_millis).max();
        let ended = row.updated_millis.max(last.unwrap_or(row.updated_millis)).max(row.created_millis);
        let of = format!("execution {}", row.id);
        let (declared, params) =
            (properties(&row.properties, false, &of, notes), properties(&row.properties, true, &of, notes));
        let text = |name: &str| Some(declared_text(&row.properties, name).to_owned()).filter(|text| !text.is_empty());
        let state = if row.state.is_some_and(|state| FAILED_STATES.contains(&state)) {
            FinishState::Failed
        } else {
            FinishState::Finished
        };
        let mut artifacts: Vec<ArtifactRecord> = events
            .iter()
            .filter_map(|(event, artifact)| self.use_of(event, artifact, context.map(|row| row.id), notes))
            .collect();
        artifacts.extend(self.record.keepers(self.hash));
        let mut contexts: Vec<ContextRecord> = self.contexts_of(context, notes);
        self.add_left_over(&mut contexts, &mut artifacts, notes);
        if row.external_id.is_some() {
            notes.push(Note::OnlyInRecord { what: format!("the external id of {of}") });
        }
        ImportedRun {
            run_id,
            metrics: self.metrics(&events, notes),
            pipeline,
            stage,
            name: row.name.clone().filter(|name| check_name(NameKind::Run, name).is_ok()),
            params,
            tags: BTreeMap::from([(TAG.to_owned(), tag_of(self.hash))]),
            command: text("Execution").unwrap_or_default(),
            git_repo: text("Git_Repo"),
            git_commit: text("Git_Start_Commit"),
            source: "cmf".to_owned(),
            started: nanos(row.created_millis),
            ended: nanos(ended),
            state,
            execution: ExecutionRecord {
                execution_type: Some(self.view.type_name(row.type_id).to_owned()).filter(|name| !name.is_empty()),
                name: row.name.clone(),
                declared,
                origin: origin(row.id, row.state, row.created_millis, row.updated_millis),
            },
            contexts,
            artifacts,
        }
    }

    /// Pipeline and stage of an execution, and the context it takes them from.
    fn place(&self, row: &ExecutionRow, notes: &mut Vec<Note>) -> (String, String, Option<&'s ContextRow>) {
        let contexts = self.view.contexts_of(row.id);
        let is_stage = |context: &&&ContextRow| self.view.type_name(context.type_id) == CONTEXT_STAGE;
        let context = contexts.iter().find(is_stage).or(contexts.first()).copied();
        if contexts.len() > 1 {
            let others = contexts.iter().filter(|other| Some(other.id) != context.map(|row| row.id));
            let names = others.map(|other| format!("{:?}", other.name)).collect::<Vec<_>>().join(", ");
            notes.push(Note::OnlyInRecord { what: format!("that execution {} is in {names} too", row.id) });
        }
        let parents = context.map(|context| self.view.parents_of(context.id)).unwrap_or_default();
        let parent = parents.iter().find(|parent| self.view.type_name(parent.type_id) == CONTEXT_PIPELINE);
        let named = declared_text(&row.properties, "Pipeline_Type");
        let pipeline = parent.or(parents.first()).map(|parent| parent.name.as_str());
        let pipeline = pipeline.unwrap_or(if named.is_empty() { &self.fallback } else { named });
        let stage = context.map(|context| stage_of(pipeline, &context.name));
        let stage = stage.unwrap_or_else(|| self.view.type_name(row.type_id));
        let stage = if stage.is_empty() { "execution" } else { stage };
        (shortened(pipeline.to_owned()), shortened(stage.to_owned()), context)
    }

    /// What is known of a run's stage and pipeline.
    fn contexts_of(&self, context: Option<&ContextRow>, notes: &mut Vec<Note>) -> Vec<ContextRecord> {
        let Some(context) = context else { return Vec::new() };
        let parents = self.view.parents_of(context.id);
        let rows = parents.into_iter().chain([context]);
        rows.filter_map(|row| self.context_record(row, notes)).collect()
    }

    fn context_record(&self, row: &ContextRow, notes: &mut Vec<Note>) -> Option<ContextRecord> {
        let of = format!("context {:?}", row.name);
        let (pipeline, stage) = match self.view.type_name(row.type_id) {
            CONTEXT_PIPELINE => (row.name.clone(), None),
            CONTEXT_STAGE => {
                let parents = self.view.parents_of(row.id);
                let pipeline = parents.first().map_or(self.fallback.clone(), |parent| parent.name.clone());
                let stage = stage_of(&pipeline, &row.name).to_owned();
                (pipeline, Some(stage))
            }
            other => {
                notes.push(Note::OnlyInRecord { what: format!("the {of}, of type {other:?}") });
                return None;
            }
        };
        if pipeline.is_empty() || stage.as_ref().is_some_and(String::is_empty) {
            return None;
        }
        let repeated = if stage.is_some() { "Pipeline_Stage" } else { "Pipeline" };
        for property in row.properties.iter().filter(|property| !property.is_custom && property.name != repeated) {
            notes.push(Note::OnlyInRecord { what: format!("the declared property {:?} of {of}", property.name) });
        }
        let properties = properties(&row.properties, true, &of, notes);
        let origin = origin(row.id, None, row.created_millis, row.updated_millis);
        let (pipeline, stage) = (shortened(pipeline), stage.map(shortened));
        Some(ContextRecord { pipeline, stage, properties, origin })
    }

    /// Gives what belongs to no execution to the first run that is made.
    fn add_left_over(
        &mut self,
        contexts: &mut Vec<ContextRecord>,
        artifacts: &mut Vec<ArtifactRecord>,
        notes: &mut Vec<Note>,
    ) {
        let Some(LeftOver { contexts: rows, artifacts: alone }) = self.left_over.take() else { return };
        let store = self.view.store;
        let rows = store.contexts.iter().filter(|row| rows.contains(&row.id));
        contexts.extend(rows.filter_map(|row| self.context_record(row, notes)));
        let alone = store.artifacts.iter().filter(|row| alone.contains(&row.id));
        artifacts.extend(alone.map(|row| self.artifact_record(row, notes)));
    }

    fn artifact_record(&self, row: &ArtifactRow, notes: &mut Vec<Note>) -> ArtifactRecord {
        let of = format!("artifact {}", row.id);
        let text = |text: &Option<String>, otherwise: &str| {
            let text = text.clone().filter(|text| !text.is_empty());
            text.unwrap_or_else(|| format!("{otherwise} {}", row.id))
        };
        if row.name.is_none() || row.uri.as_ref().is_none_or(String::is_empty) {
            notes.push(Note::OnlyInRecord { what: format!("that {of} has no name or no uri: it is given one in SQL") });
        }
        if row.external_id.is_some() {
            notes.push(Note::OnlyInRecord { what: format!("the external id of {of}") });
        }
        let artifact_type = Some(self.view.type_name(row.type_id)).filter(|name| !name.is_empty());
        let kept = self.files.get(&row.id).map(|file| &file.kept);
        ArtifactRecord {
            direction: None,
            artifact_type: artifact_type.unwrap_or("Artifact").to_owned(),
            name: shortened(text(&row.name, "artifact")),
            uri: shortened(text(&row.uri, "uri")),
            declared: properties(&row.properties, false, &of, notes),
            properties: properties(&row.properties, true, &of, notes),
            path: None,
            bytes: kept.map(|kept| kept.bytes),
            content: kept.map(|kept| kept.content),
            attributed: false,
            time_millis: None,
            origin: origin(row.id, row.state, row.created_millis, row.updated_millis),
        }
    }

    /// An event, as the use of an artifact.
    fn use_of(
        &self,
        event: &EventRow,
        artifact: &ArtifactRow,
        context: Option<i64>,
        notes: &mut Vec<Note>,
    ) -> Option<ArtifactRecord> {
        let mut record = self.artifact_record(artifact, notes);
        let direction = match event.kind {
            3 | 2 | 5 => Direction::Input,
            6 => Direction::InternalOutput,
            _ => Direction::Output,
        };
        if ![3, 4, 6].contains(&event.kind) {
            let what = format!("that event {} is of type {}: it is an input or output in SQL", event.id, event.kind);
            notes.push(Note::OnlyInRecord { what });
        }
        let keys: Vec<&String> = event.path.iter().filter_map(|step| step.key.as_ref()).collect();
        if event.path.len() > 1 || keys.len() != event.path.len() {
            notes.push(Note::OnlyInRecord { what: format!("the whole path of event {}", event.id) });
        }
        record.direction = Some(direction);
        record.path =
            keys.first().filter(|key| !key.is_empty() && key.len() <= TEXT_BYTES_MAX).map(|key| (*key).clone());
        record.attributed = context.is_some_and(|context| self.attributed.contains(&(context, artifact.id)));
        record.time_millis = event.time_millis;
        Some(record)
    }

    /// Metrics of all steps, of the last commit of each name.
    fn metrics(&self, events: &[(&EventRow, &ArtifactRow)], notes: &mut Vec<Note>) -> Vec<ImportedMetrics> {
        let mut by_name: BTreeMap<String, ImportedMetrics> = BTreeMap::new();
        for (event, artifact) in events {
            let Some(file) = self.files.get(&artifact.id) else { continue };
            let Some(found) = &file.found else { continue };
            let path = &file.kept.path;
            let name = ArtifactName { path, rest: None }.file_name().to_owned();
            let not_metrics = |fault: String| Note::NotMetrics { path: path.clone(), fault };
            if let Err(error) = check_name(NameKind::MetricsName, &name) {
                notes.push(not_metrics(error.to_string()));
                continue;
            }
            match read_metrics_file(found.bytes.clone(), &found.path) {
                Err(error) => notes.push(not_metrics(error.to_string())),
                Ok(mut read) => {
                    let mut others = std::mem::take(&mut read.others);
                    let time = event.time_millis.unwrap_or(artifact.created_millis).saturating_mul(1_000);
                    by_name.insert(name.clone(), imported(name, read, time, &mut others));
                    if !others.is_empty() {
                        notes.push(Note::NotNumbers { path: path.clone(), columns: others });
                    }
                }
            }
        }
        by_name.into_values().collect()
    }
}

/// Rows as the store takes them. Columns whose name it does not take go to `others`.
fn imported(
    metrics_name: String,
    read: crate::cmf::MetricsFile,
    time: i64,
    others: &mut Vec<(String, String)>,
) -> ImportedMetrics {
    let taken = |name: &str| check_name(NameKind::Metric, name).is_ok();
    let places: Vec<usize> = (0..read.metrics.len()).filter(|place| taken(&read.metrics[*place])).collect();
    let left = read.metrics.iter().filter(|name| !taken(name));
    others.extend(left.map(|name| (name.clone(), "its name cannot be a metric's".to_owned())));
    let metrics = places.iter().map(|place| read.metrics[*place].clone()).collect();
    let rows = read.rows.into_iter().map(|(step, values)| {
        let values = places.iter().map(|place| values[*place]).collect();
        ImportedRow { step, time, values }
    });
    ImportedMetrics { metrics_name, metrics, rows: rows.collect() }
}

/// Properties that the store has a place for, by name.
fn properties(rows: &[Property], is_custom: bool, of: &str, notes: &mut Vec<Note>) -> Properties {
    let mut found = Properties::new();
    for row in rows.iter().filter(|row| row.is_custom == is_custom) {
        let value = match &row.value {
            Value::Int(value) => Some(ParamValue::Int(*value)),
            Value::Double(value) => Some(ParamValue::Float(*value)),
            Value::Text(value) => Some(ParamValue::Text(value.clone())),
            Value::Bool(value) => Some(ParamValue::Bool(*value)),
            Value::Bytes(_) | Value::Proto(_) | Value::Nothing => None,
        };
        let has_name = !row.name.is_empty() && row.name.len() <= TEXT_BYTES_MAX && !row.name.contains('\0');
        match value.filter(|_| has_name) {
            Some(value) => {
                found.insert(row.name.clone(), value);
            }
            None => {
                let column = row.value.column().unwrap_or("no value, which an export leaves out");
                notes.push(Note::OnlyInRecord { what: format!("the property {:?} of {of} ({column})", row.name) });
            }
        }
    }
    found
}

fn origin(id: i64, state: Option<i64>, created: i64, updated: i64) -> Origin {
    Origin { source_id: Some(id), state, created_millis: Some(created), updated_millis: Some(updated) }
}

fn nanos(millis: i64) -> i64 {
    millis.saturating_mul(1_000_000)
}

fn shortened(text: String) -> String {
    let text = text.replace('\0', "?");
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}
