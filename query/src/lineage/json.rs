//! Runs, artifacts and edges as one JSON object.

use serde_json::{Value, json};

use super::facts::moment_of_nanos;
use super::labels::short_name;
use super::select::Lineage;
use super::{facts, graph::NodeId};

/// Writes a lineage as an object of four arrays: `starts`, ids as in the other three; `runs`; `artifacts`; and `edges`, each
/// from an input to the run that read it (`"input"`), or from a run to what it wrote (`"output"`).
///
/// # Errors
/// None that is known: a value that JSON cannot hold, such as NaN, is written as `{"float":"NaN"}`.
pub fn write(lineage: &Lineage<'_>) -> serde_json::Result<String> {
    let graph = lineage.graph();
    let id = |node: NodeId| Value::from(graph.node(node).id());
    let runs = lineage.runs().map(|(_, run)| {
        json!({
            "run_id": run.run_id.to_string(), "name": run.name, "pipeline": run.pipeline, "stage": run.stage,
            "state": run.state.as_str(), "started": moment_of_nanos(run.started),
            "ended": run.ended.map(moment_of_nanos), "params": run.params, "tags": run.tags,
        })
    });
    let artifacts = lineage.artifacts().map(|(_, artifact)| {
        json!({
            "id": artifact.id.to_string(), "type": artifact.artifact_type, "name": short_name(artifact),
            "full_name": artifact.name, "uri": artifact.uri, "bytes": artifact.bytes, "version": artifact.version,
            "created": facts::moment_of_millis(artifact.created_millis), "properties": artifact.properties,
        })
    });
    let edges = lineage.edges().map(|edge| {
        json!({
            "run_id": id(edge.run), "artifact_id": id(edge.artifact),
            "direction": if edge.is_input() { "input" } else { "output" },
            "time": facts::moment_of_millis(edge.time_millis),
        })
    });
    let document = json!({
        "starts": lineage.starts().iter().map(|start| id(*start)).collect::<Vec<_>>(),
        "runs": runs.collect::<Vec<_>>(), "artifacts": artifacts.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
    });
    Ok(format!("{document:#}\n"))
}
