//! Events of OpenLineage, specification 2-0-2.
//!
//! | OpenLineage | Stepwell |
//! |---|---|
//! | job, by namespace and name | pipeline and stage |
//! | run | run; its id is a UUID in both |
//! | dataset, by namespace and name | artifact: `stepwell`, and `type/name` without the hash |
//! | version of a dataset | hash of the artifact |
//! | START | start of the run, with its inputs |
//! | COMPLETE, FAIL, ABORT | end of a run that finished, failed, died, with inputs and outputs |
//! | RUNNING | a run that goes on and has outputs |

use serde_json::{Map, Value, json};
use stepwell_engine::{ArtifactInfo, RunInfo, RunState};

use super::facts::{self, PROJECT, VERSION, moment_of_millis, moment_of_nanos};
use super::graph::NodeId;
use super::labels::short_name;
use super::select::Lineage;

const SPEC: &str = "https://openlineage.io/spec";
/// Namespace of artifacts.
const NAMESPACE: &str = "stepwell";

/// Writes the events of each run of a lineage, in the order in which the runs started, one JSON object a line.
pub fn write(lineage: &Lineage<'_>) -> String {
    let mut text = String::new();
    for (id, run) in lineage.runs() {
        let mut events = vec![event(lineage, id, run, "START", &moment_of_nanos(run.started))];
        let written = lineage.of_run(id, false).map(|(edge, _)| edge.time_millis).max();
        let end = match (run.state, run.ended, written) {
            (RunState::Running, _, None) => None,
            (RunState::Running, _, Some(millis)) => Some(("RUNNING", moment_of_millis(millis))),
            (state, ended, _) => Some((end_of(state), moment_of_nanos(ended.unwrap_or(run.started)))),
        };
        events.extend(end.map(|(what, moment)| event(lineage, id, run, what, &moment)));
        for event in events {
            text.push_str(&event.to_string());
            text.push('\n');
        }
    }
    text
}

fn end_of(state: RunState) -> &'static str {
    match state {
        RunState::Running => "RUNNING",
        RunState::Finished => "COMPLETE",
        RunState::Failed => "FAIL",
        RunState::Died => "ABORT",
    }
}

fn event(lineage: &Lineage<'_>, id: NodeId, run: &RunInfo, what: &str, moment: &str) -> Value {
    let inputs: Vec<Value> = lineage.of_run(id, true).map(|(_, artifact)| dataset(artifact, true)).collect();
    let outputs: Vec<Value> = match what {
        "START" => Vec::new(),
        _ => lineage.of_run(id, false).map(|(_, artifact)| dataset(artifact, false)).collect(),
    };
    json!({
        "eventType": what, "eventTime": moment, "producer": PROJECT,
        "schemaURL": format!("{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"),
        "run": { "runId": run.run_id.to_string(), "facets": run_facets(run) },
        "job": { "namespace": run.pipeline, "name": run.stage, "facets": job_facets(run) },
        "inputs": inputs, "outputs": outputs,
    })
}

/// A facet, by its name, version and fields.
fn facet(name: &str, version: &str, fields: Value) -> Value {
    let mut facet = json!({
        "_producer": PROJECT, "_schemaURL": format!("{SPEC}/facets/{version}/{name}.json#/$defs/{name}"),
    });
    if let (Some(facet), Value::Object(fields)) = (facet.as_object_mut(), fields) {
        facet.extend(fields);
    }
    facet
}

fn run_facets(run: &RunInfo) -> Value {
    let version = run.writers.first().map_or(VERSION, |writer| writer.version.as_str());
    let engine = json!({ "name": "stepwell", "version": version, "openlineageAdapterVersion": VERSION });
    let mut facets = Map::new();
    facets.insert("processing_engine".to_owned(), facet("ProcessingEngineRunFacet", "1-1-1", engine));
    if !run.params.is_empty() {
        let parameter =
            |(key, value): (&String, &stepwell_engine::ParamValue)| json!({ "key": key, "value": value.to_display() });
        let parameters: Vec<Value> = run.params.iter().map(parameter).collect();
        let fields = json!({ "parameters": parameters });
        facets.insert("executionParameters".to_owned(), facet("ExecutionParametersRunFacet", "1-0-0", fields));
    }
    if !run.tags.is_empty() {
        let tag = |(key, value): (&String, &String)| json!({ "key": key, "value": value, "source": "USER" });
        let fields = json!({ "tags": run.tags.iter().map(tag).collect::<Vec<_>>() });
        facets.insert("tags".to_owned(), facet("TagsRunFacet", "1-0-0", fields));
    }
    Value::Object(facets)
}

fn job_facets(run: &RunInfo) -> Value {
    let kind = json!({ "processingType": "BATCH", "integration": "STEPWELL", "jobType": "STAGE" });
    let mut facets = Map::new();
    facets.insert("jobType".to_owned(), facet("JobTypeJobFacet", "2-0-4", kind));
    // The facet wants an address that can be followed, which the remote of a clone over ssh is not.
    let followed = facts::git_remote(run).filter(|remote| remote.starts_with("http"));
    if let (Some(remote), Some(commit)) = (followed, facts::git_commit(run)) {
        let place = json!({ "type": "git", "url": remote, "repoUrl": remote, "version": commit });
        facets.insert("sourceCodeLocation".to_owned(), facet("SourceCodeLocationJobFacet", "1-1-0", place));
    }
    Value::Object(facets)
}

fn dataset(artifact: &ArtifactInfo, is_input: bool) -> Value {
    let mut facets = Map::new();
    let version = json!({ "datasetVersion": artifact.uri });
    facets.insert("version".to_owned(), facet("DatasetVersionDatasetFacet", "1-0-1", version));
    let kind = json!({ "datasetType": artifact.artifact_type.to_uppercase() });
    facets.insert("datasetType".to_owned(), facet("DatasetTypeDatasetFacet", "1-0-1", kind));
    if !artifact.properties.is_empty() {
        let tags = artifact.properties.iter();
        let tag = |(key, value): (&String, &stepwell_engine::ParamValue)| json!({ "key": key, "value": value.to_display(), "source": "USER" });
        let fields = json!({ "tags": tags.map(tag).collect::<Vec<_>>() });
        facets.insert("tags".to_owned(), facet("TagsDatasetFacet", "1-0-0", fields));
    }
    let name = format!("{}/{}", artifact.artifact_type, short_name(artifact));
    let mut dataset = json!({ "namespace": NAMESPACE, "name": name, "facets": facets });
    if let Some(bytes) = artifact.bytes {
        let (place, key, statistics, version) = match is_input {
            true => ("inputFacets", "inputStatistics", "InputStatisticsInputDatasetFacet", "1-0-0"),
            false => ("outputFacets", "outputStatistics", "OutputStatisticsOutputDatasetFacet", "1-0-2"),
        };
        dataset[place] = json!({ key: facet(statistics, version, json!({ "size": bytes })) });
    }
    dataset
}
