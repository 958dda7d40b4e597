//! Relations that follow from what runs read and wrote.

use std::collections::{BTreeMap, BTreeSet};

use stepwell_engine::{ArtifactInfo, RunInfo};

use super::property_graph::{
    Relation, artifact_end, artifact_name, execution_end, execution_name, execution_properties, relation, word,
};
use crate::lineage::facts;
use crate::lineage::graph::{Edge, NodeId};
use crate::lineage::select::Lineage;

/// Property of a Label that names the hash of its dataset, and of a Dataset that names those of its labels.
const DATASET_URI: &str = "dataset_uri";
const LABELS_URI: &str = "labels_uri";
/// Property of a Dataslice that names the dataset that it is a part of.
const DATA_PARENT: &str = "data_parent";

/// What a run read and wrote, and the runs that it followed.
pub(super) fn of_run(lineage: &Lineage<'_>, id: NodeId, run: &RunInfo, relations: &mut BTreeSet<Relation>) {
    let execution = execution_end(run);
    // CMF ties a label to its dataset, and not to the execution.
    let is_tied = |artifact: &ArtifactInfo| is_label_of_dataset(lineage, artifact);
    for (edge, artifact) in lineage.of_run(id, true) {
        if !is_tied(artifact) {
            relations.insert(relation("input", &artifact_end(artifact), &execution));
        }
        if joins_lineage(artifact)
            && let Some(producer) = producer(lineage, edge)
        {
            let mut link = relation("linked", &execution_end(producer), &execution);
            link.key.insert("Artifact_Name".to_owned(), artifact_name(artifact));
            link.key.insert("uri".to_owned(), artifact.uri.clone());
            relations.insert(link);
        }
    }
    let mut label = execution_properties(run);
    label.insert("execution_command".to_owned(), facts::command(run).to_owned());
    for (_, output) in lineage.of_run(id, false) {
        relations.insert(relation("output", &execution, &artifact_end(output)));
        for (_, input) in lineage.of_run(id, true).filter(|(_, input)| joins_lineage(input) && input.id != output.id) {
            let kind = word(facts::execution_type(run)).unwrap_or_else(|| "execution".to_owned());
            let mut through = relation(&kind, &artifact_end(input), &artifact_end(output));
            through.key.insert("Execution_Name".to_owned(), execution_name(run));
            through.properties.clone_from(&label);
            relations.insert(through);
        }
    }
}

/// CMF keeps environments and labels out of what leads from artifact to artifact.
fn joins_lineage(artifact: &ArtifactInfo) -> bool {
    !matches!(artifact.artifact_type.as_str(), "Environment" | "Label")
}

/// The run that wrote an input: the last one that did so before it was read, else the first one.
fn producer<'g>(lineage: &Lineage<'g>, read: &Edge) -> Option<&'g RunInfo> {
    let graph = lineage.graph();
    let in_view = lineage.next(read.artifact, true);
    let writers = graph.edges_at(read.artifact, true).iter().map(|edge| &graph.edges()[*edge]);
    let others: Vec<&Edge> = writers.filter(|edge| edge.run != read.run && in_view.contains(&edge.run)).collect();
    let before = others.iter().rfind(|edge| edge.time_millis <= read.time_millis).or(others.first());
    graph.run(before?.run)
}

/// Relations that links and properties of artifacts tell of.
pub(super) fn between_artifacts(lineage: &Lineage<'_>, relations: &mut BTreeSet<Relation>) {
    let places = Places::new(lineage);
    for (id, artifact) in lineage.artifacts() {
        let told = |key: &str| facts::property(artifact, key).unwrap_or_default();
        let end = artifact_end(artifact);
        match artifact.artifact_type.as_str() {
            "Label" => places.find("Dataset", &told(DATASET_URI)).for_each(|dataset| {
                relations.insert(relation("has_label", &artifact_end(dataset), &end));
            }),
            "Dataset" => places.find("Label", &told(LABELS_URI)).for_each(|label| {
                relations.insert(relation("has_label", &end, &artifact_end(label)));
            }),
            "Dataslice" => {
                let named: Vec<&ArtifactInfo> = places.find("Dataset", &told(DATA_PARENT)).collect();
                let parents = if named.is_empty() { single_dataset_input(lineage, id) } else { named };
                for parent in parents {
                    relations.insert(relation("contains", &artifact_end(parent), &end));
                }
            }
            _ => {}
        }
    }
    let shown: BTreeSet<NodeId> = lineage.nodes().collect();
    for (source, target, kind) in lineage.graph().links() {
        let ends = (lineage.graph().artifact(*source), lineage.graph().artifact(*target));
        if let (Some(from), Some(to)) = ends
            && shown.contains(source)
            && shown.contains(target)
        {
            relations.insert(relation(kind, &artifact_end(from), &artifact_end(to)));
        }
    }
}

/// Without a parent that is named: the dataset that the run which wrote a slice read, when it read but one.
fn single_dataset_input<'g>(lineage: &Lineage<'g>, slice: NodeId) -> Vec<&'g ArtifactInfo> {
    let mut found = Vec::new();
    for run in lineage.next(slice, true) {
        let inputs = lineage.of_run(run, true).map(|(_, input)| input);
        let datasets: Vec<&ArtifactInfo> = inputs.filter(|input| input.artifact_type == "Dataset").collect();
        if let [dataset] = datasets.as_slice() {
            found.push(*dataset);
        }
    }
    found
}

fn is_label_of_dataset(lineage: &Lineage<'_>, artifact: &ArtifactInfo) -> bool {
    artifact.artifact_type == "Label" && {
        let named = facts::property(artifact, DATASET_URI).unwrap_or_default();
        let names = |dataset: &ArtifactInfo| {
            let labels = facts::property(dataset, LABELS_URI).unwrap_or_default();
            lists(&named, &dataset.uri) || lists(&labels, &artifact.uri)
        };
        lineage.artifacts().any(|(_, other)| other.artifact_type == "Dataset" && names(other))
    }
}

/// Whether a comma-joined list has an entry.
fn lists(list: &str, entry: &str) -> bool {
    !entry.is_empty() && list.split(',').any(|item| item.trim() == entry)
}

/// Artifacts by type, and by hash, name and file name.
struct Places<'g>(BTreeMap<(&'g str, String), Vec<&'g ArtifactInfo>>);

impl<'g> Places<'g> {
    fn new(lineage: &Lineage<'g>) -> Self {
        let mut places: BTreeMap<(&str, String), Vec<&ArtifactInfo>> = BTreeMap::new();
        for (_, artifact) in lineage.artifacts() {
            let short = crate::lineage::labels::short_name(artifact).to_owned();
            for name in BTreeSet::from([artifact.uri.clone(), artifact.name.clone(), short, artifact_name(artifact)]) {
                places.entry((artifact.artifact_type.as_str(), name)).or_default().push(artifact);
            }
        }
        Self(places)
    }

    /// What a comma-joined list names.
    fn find<'p>(&'p self, label: &'p str, list: &str) -> impl Iterator<Item = &'g ArtifactInfo> + use<'p, 'g> {
        let names: Vec<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
        let names = names.into_iter().filter(|name| !name.is_empty());
        names.flat_map(move |name| self.0.get(&(label, name)).into_iter().flatten().copied())
    }
}
