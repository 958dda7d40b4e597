//! A Mermaid flowchart, which Markdown pages show as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;

use stepwell_engine::RunInfo;

use super::graph::{Graph, NodeId};
use super::labels::{ShortRunIds, parts};
use super::select::Lineage;

/// Writes a lineage as a flowchart from left to right: runs as boxes, grouped by pipeline, artifacts as rounded ones.
pub fn write(lineage: &Lineage<'_>) -> String {
    let (graph, ids) = (lineage.graph(), ShortRunIds::new(lineage.graph()));
    let mut text = "flowchart LR\n".to_owned();
    let mut pipelines: BTreeMap<&str, Vec<(NodeId, &RunInfo)>> = BTreeMap::new();
    for (id, run) in lineage.runs() {
        pipelines.entry(&run.pipeline).or_default().push((id, run));
    }
    // Writing into memory cannot fail.
    for (number, (pipeline, runs)) in pipelines.iter().enumerate() {
        let _ = writeln!(text, "  subgraph p{number} [\"{}\"]", escaped(pipeline));
        for (id, run) in runs {
            let name = run.name.as_deref().unwrap_or(&run.stage);
            let what = format!("{}, {}, {}", run.stage, run.state.as_str(), ids.of(run));
            let _ = writeln!(text, "    {}[\"{}<br/>{}\"]:::run", key(graph, *id), escaped(name), escaped(&what));
        }
        text.push_str("  end\n");
    }
    for (id, _) in lineage.artifacts() {
        let (name, what) = parts(graph.node(id), &ids);
        let _ = writeln!(text, "  {}([\"{}<br/>{}\"]):::artifact", key(graph, id), escaped(&name), escaped(&what));
    }
    for edge in lineage.edges() {
        let _ = writeln!(text, "  {} --> {}", key(graph, edge.source()), key(graph, edge.target()));
    }
    text.push_str("  classDef run fill:#dbeafe,stroke:#1d4ed8,color:#111827\n");
    text.push_str("  classDef artifact fill:#dcfce7,stroke:#15803d,color:#111827\n");
    text
}

/// Name of a node in the chart: a letter and its place.
pub(super) fn key(graph: &Graph<'_>, id: NodeId) -> String {
    let first = if graph.run(id).is_some() { 'r' } else { 'a' };
    format!("{first}{}", id.place())
}

/// Text for a label in quotes. Letters, digits and a few marks stay; all else, quotes, brackets, `#` and `%` among it, becomes
/// an entity such as `#35;`, so that it is neither Markdown nor HTML nor Mermaid.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c.is_whitespace() {
            escaped.push(' ');
        } else if c.is_alphanumeric() || matches!(c, '.' | ',' | '/' | '-' | '+' | ':' | '@') {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "#{};", u32::from(c));
        }
    }
    escaped
}
