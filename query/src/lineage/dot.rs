//! A directed graph for Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write;

use stepwell_engine::RunInfo;

use super::graph::NodeId;
use super::labels::{ShortRunIds, parts};
use super::mermaid::key;
use super::select::Lineage;

/// Writes a lineage for `dot`: runs as boxes, grouped by pipeline, artifacts as rounded ones. The attribute `id` of a node is
/// the run's id or the artifact's in the catalog, and becomes that of its group in an SVG.
pub fn write(lineage: &Lineage<'_>) -> String {
    let (graph, ids) = (lineage.graph(), ShortRunIds::new(lineage.graph()));
    let mut text =
        "digraph lineage {\n  rankdir=LR;\n  node [fontname=\"Helvetica\", fontsize=11, style=filled];\n".to_owned();
    let mut pipelines: BTreeMap<&str, Vec<(NodeId, &RunInfo)>> = BTreeMap::new();
    for (id, run) in lineage.runs() {
        pipelines.entry(&run.pipeline).or_default().push((id, run));
    }
    // Writing into memory cannot fail.
    for (number, (pipeline, runs)) in pipelines.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{number} {{\n    label={};\n    color=gray;", quoted(pipeline));
        for (id, run) in runs {
            let name = run.name.as_deref().unwrap_or(&run.stage);
            let what = format!("{}, {}, {}", run.stage, run.state.as_str(), ids.of(run));
            let label = quoted(&format!("{name}\n{what}"));
            let _ = writeln!(
                text,
                "    {} [id=\"run-{}\", label={label}, shape=box, fillcolor=\"#dbeafe\"];",
                key(graph, *id),
                run.run_id
            );
        }
        text.push_str("  }\n");
    }
    for (id, artifact) in lineage.artifacts() {
        let (name, what) = parts(graph.node(id), &ids);
        let label = quoted(&format!("{name}\n{what}"));
        let _ = writeln!(
            text,
            "  {} [id=\"artifact-{}\", label={label}, shape=box, style=\"rounded,filled\", fillcolor=\"#dcfce7\"];",
            key(graph, id),
            artifact.id
        );
    }
    for edge in lineage.edges() {
        let _ = writeln!(text, "  {} -> {};", key(graph, edge.source()), key(graph, edge.target()));
    }
    text.push_str("}\n");
    text
}

/// A string in quotes. A line break stays one; other control characters, which no label can show, become spaces.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // Graphviz reads entities of HTML in every label.
            '&' => quoted.push_str("&amp;"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
