//! Nodes and relations as CMF's graph has them.

use std::collections::{BTreeMap, BTreeSet};

use stepwell_engine::{ArtifactInfo, RunInfo};

use super::links;
use crate::lineage::facts;
use crate::lineage::graph::NodeId;
use crate::lineage::labels::short_name;
use crate::lineage::select::Lineage;

/// Labels of artifacts that are one node per content, whose other properties are lists that grow.
const BY_CONTENT: [&str; 5] = ["Dataset", "Environment", "Dataslice", "Model", "Label"];

/// A property.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// A text, which replaces an earlier one.
    Text(String),
    /// Texts that are added to those that are there.
    List(Vec<String>),
}

/// A label and what identifies a node among those that have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// The label.
    pub label: String,
    /// Properties that no other node of the label has.
    pub key: BTreeMap<String, String>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyNode {
    /// What it is known by.
    pub end: End,
    /// Other properties.
    pub properties: BTreeMap<String, Value>,
}

/// A relation from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// Its type.
    pub kind: String,
    /// Where it begins.
    pub from: End,
    /// Where it ends.
    pub to: End,
    /// Properties that tell it from others of its type between the same nodes.
    pub key: BTreeMap<String, String>,
    /// Other properties.
    pub properties: BTreeMap<String, String>,
}

/// Nodes and relations, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyGraph {
    /// Nodes: pipelines, stages, executions, artifacts.
    pub nodes: Vec<PropertyNode>,
    /// Relations, ordered by type and ends.
    pub relations: Vec<Relation>,
}

/// The graph of a lineage in CMF's terms.
///
/// | node | identity | relations |
/// |---|---|---|
/// | Pipeline | uri | -contains-> Stage |
/// | Stage | uri | -runs-> Execution |
/// | Execution | uri | -output-> artifact; -linked-> the Execution that read it |
/// | Dataset, Environment, Dataslice, Model, Label | uri | -input-> Execution; Dataset -contains- or -derived-> Dataslice, -has_label-> Label |
/// | Metrics, Step_Metrics and types of the user's own | uri, Name | -input-> Execution |
///
/// Between each input and each output of an execution there is a relation too, named after the type of the execution.
pub fn property_graph(lineage: &Lineage<'_>) -> PropertyGraph {
    let mut builder = Builder::default();
    lineage.runs().for_each(|(_, run)| builder.run(run));
    for (id, artifact) in lineage.artifacts() {
        builder.artifact(lineage, id, artifact);
    }
    for (id, run) in lineage.runs() {
        links::of_run(lineage, id, run, &mut builder.relations);
    }
    links::between_artifacts(lineage, &mut builder.relations);
    let nodes = builder.nodes.into_iter().map(|(end, properties)| PropertyNode { end, properties });
    PropertyGraph { nodes: nodes.collect(), relations: builder.relations.into_iter().collect() }
}

#[derive(Default)]
struct Builder {
    nodes: BTreeMap<End, BTreeMap<String, Value>>,
    relations: BTreeSet<Relation>,
}

impl Builder {
    fn run(&mut self, run: &RunInfo) {
        let graph_of = || [("pipeline_id", run.pipeline.clone()), ("pipeline_name", run.pipeline.clone())];
        let (pipeline, stage, execution) = (pipeline_end(run), stage_end(run), execution_end(run));
        let name = |name: &str| [("Name", name.to_owned())].into_iter().chain(graph_of());
        self.texts(&pipeline, name(&run.pipeline));
        self.texts(&stage, name(&format!("{}/{}", run.pipeline, run.stage)));
        let own = execution_properties(run);
        self.texts(&execution, own.iter().map(|(key, value)| (key.as_str(), value.clone())));
        self.texts(&execution, name(&execution_name(run)));
        let rest = [("run_id", run.run_id.to_string()), ("state", run.state.as_str().to_owned())];
        self.texts(&execution, rest.into_iter().chain([("Command", facts::command(run).to_owned())]));
        self.relations.insert(relation("contains", &pipeline, &stage));
        self.relations.insert(relation("runs", &stage, &execution));
    }

    fn texts<'k>(&mut self, end: &End, properties: impl Iterator<Item = (&'k str, String)>) {
        let node = self.nodes.entry(end.clone()).or_default();
        for (key, value) in properties.filter(|(key, _)| !end.key.contains_key(*key)) {
            node.insert(key.to_owned(), Value::Text(value));
        }
    }

    fn artifact(&mut self, lineage: &Lineage<'_>, id: NodeId, artifact: &ArtifactInfo) {
        let end = artifact_end(artifact);
        let mut properties: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (key, value) in artifact.declared.iter().chain(&artifact.properties) {
            if let Some(key) = word(key) {
                properties.insert(key, BTreeSet::from([value.to_display()]));
            }
        }
        let mut set = |key: &str, value: String| properties.insert(key.to_owned(), BTreeSet::from([value]));
        for key in ["git_repo", "url"] {
            if let Some(value) = facts::property(artifact, key) {
                set(key, value);
            }
        }
        set("Name", artifact_name(artifact));
        set("Commit", artifact.uri.clone());
        if matches!(artifact.artifact_type.as_str(), "Dataset" | "Environment" | "Dataslice" | "Label") {
            set("Path", short_name(artifact).to_owned());
        }
        let runs = lineage.next(id, true).into_iter().chain(lineage.next(id, false));
        let pipelines: BTreeSet<String> =
            runs.filter_map(|run| lineage.graph().run(run)).map(|run| run.pipeline.clone()).collect();
        properties.insert("pipeline_id".to_owned(), pipelines.clone());
        properties.insert("pipeline_name".to_owned(), pipelines);
        let grows = BY_CONTENT.contains(&artifact.artifact_type.as_str());
        let node = self.nodes.entry(end.clone()).or_default();
        for (key, values) in properties.into_iter().filter(|(key, _)| !end.key.contains_key(key)) {
            let values: Vec<String> = values.into_iter().collect();
            if !grows {
                node.insert(key, Value::Text(values.join(",")));
            } else if let Value::List(known) = node.entry(key).or_insert_with(|| Value::List(Vec::new())) {
                let new: Vec<String> = values.into_iter().filter(|value| !known.contains(value)).collect();
                known.extend(new);
            }
        }
    }
}

fn end(label: &str, key: &[(&str, &str)]) -> End {
    let key = key.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    End { label: label.to_owned(), key }
}

fn pipeline_end(run: &RunInfo) -> End {
    end("Pipeline", &[("uri", &run.pipeline)])
}

fn stage_end(run: &RunInfo) -> End {
    end("Stage", &[("uri", &format!("{}/{}", run.pipeline, run.stage))])
}

pub(super) fn execution_end(run: &RunInfo) -> End {
    end("Execution", &[("uri", &facts::execution_id(run))])
}

pub(super) fn artifact_end(artifact: &ArtifactInfo) -> End {
    let uri = if artifact.uri.is_empty() { &artifact.name } else { &artifact.uri };
    let label = artifact.artifact_type.as_str();
    if BY_CONTENT.contains(&label) {
        return end(label, &[("uri", uri)]);
    }
    end(label, &[("uri", uri), ("Name", &artifact_name(artifact))])
}

/// What CMF's node is named: the file's name for data, ML Metadata's name for the rest.
pub(super) fn artifact_name(artifact: &ArtifactInfo) -> String {
    match artifact.artifact_type.as_str() {
        "Dataset" | "Environment" | "Dataslice" | "Label" => {
            let path = short_name(artifact).trim_end_matches('/');
            path.rsplit('/').next().unwrap_or(path).to_owned()
        }
        _ => artifact.name.clone(),
    }
}

pub(super) fn execution_name(run: &RunInfo) -> String {
    format!("{},{}", facts::execution_id(run), facts::execution_type(run))
}

/// Parameters and tags, and what git said, as texts.
pub(super) fn execution_properties(run: &RunInfo) -> BTreeMap<String, String> {
    let mut properties: BTreeMap<String, String> = BTreeMap::new();
    properties.extend(run.tags.iter().filter_map(|(key, value)| Some((word(key)?, value.clone()))));
    properties.extend(run.params.iter().filter_map(|(key, value)| Some((word(key)?, value.to_display()))));
    let git = [("git_repo", facts::git_remote(run)), ("Commit", facts::git_commit(run))];
    properties.extend(git.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))));
    properties
}

/// A key as CMF writes it: without what is no letter, digit or underscore.
pub(super) fn word(key: &str) -> Option<String> {
    let word: String = key.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    Some(word).filter(|word| !word.is_empty())
}

pub(super) fn relation(kind: &str, from: &End, to: &End) -> Relation {
    let (from, to) = (from.clone(), to.clone());
    Relation { kind: kind.to_owned(), from, to, key: BTreeMap::new(), properties: BTreeMap::new() }
}
