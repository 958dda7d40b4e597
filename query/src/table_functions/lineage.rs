//! Functions `ancestors('artifact or run')` and `descendants('artifact or run')`: everything that something came from,
//! and everything that came of it.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `depth` | Int64 | no | edges between it and the start, by the shortest way; 0 for the start |
//! | `kind` | Utf8 | no | `run` or `artifact` |
//! | `id` | Utf8 | no | `runs.run_id`, or `artifacts.id` as text |
//! | `type` | Utf8 | no | of an artifact, such as `Dataset`; of a run, `pipeline/stage` |
//! | `name` | Utf8 | yes | display name of a run; name of an artifact, without the hash |
//! | `path` | Utf8 | no | names from the start to it, by a shortest way; cut in the middle when it is long |
//!
//! An edge leads from an input to the run that read it, and from a run to its output. Each run and artifact is there
//! once, so that a cycle (a run that writes what an earlier one read) comes to an end. The start is an artifact's id,
//! name with or without the hash, or hash, or a run's id, the beginning of one, or name. A name that fits several, such
//! as all versions of a file, starts from all of them. Ordered by depth, kind, name, id.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};

use super::Store;
use super::arguments::Arguments;
use crate::lineage::{Graph, Node, Reached};
use crate::rows_table::RowsTable;
use crate::system_tables::columns::{int_field, ints, nullable, optional_texts, text_field, texts};

/// Characters of a path; longer ones lose their middle, or a chain of runs would take memory by the square of its length.
const PATH_CHARS_MAX: usize = 1000;

pub(super) fn ancestors(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    table(store, arguments, true)
}

pub(super) fn descendants(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    table(store, arguments, false)
}

fn table(store: &Arc<Store>, arguments: &Arguments, backward: bool) -> Result<Arc<dyn TableProvider>> {
    let text = arguments.texts(1..=1)?[0].clone();
    let usage = arguments.usage();
    let store = Arc::clone(store);
    let rows = move || {
        let engine = |error: stepwell_engine::Error| DataFusionError::External(Box::new(error));
        let graph = Graph::read(store.snapshot.as_ref()).map_err(engine)?;
        let starts = graph.find(&text);
        if starts.is_empty() {
            return Err(Arguments::try_new(usage, &[])?.unknown("artifact or run", &text, &graph.names()));
        }
        let (reached, arrow) =
            if backward { (graph.ancestors(&starts, None), "<-") } else { (graph.descendants(&starts, None), "->") };
        Ok(columns(&graph, &reached, arrow))
    };
    Ok(Arc::new(RowsTable::new(fields(), rows)))
}

fn fields() -> Vec<Field> {
    vec![
        int_field("depth"),
        text_field("kind"),
        text_field("id"),
        text_field("type"),
        nullable(text_field("name")),
        text_field("path"),
    ]
}

fn columns(graph: &Graph<'_>, reached: &[Reached], arrow: &str) -> Vec<ArrayRef> {
    let nodes: Vec<Node<'_>> = reached.iter().map(|step| graph.node(step.node)).collect();
    let mut paths: Vec<String> = Vec::with_capacity(nodes.len());
    for (step, node) in reached.iter().zip(&nodes) {
        let path = match step.before {
            None => node.label(),
            Some(before) => longer(&paths[before], &node.label(), arrow),
        };
        paths.push(path);
    }
    vec![
        ints(reached.iter().map(|step| i64::from(step.depth))),
        texts(nodes.iter().map(|node| node.kind())),
        texts(nodes.iter().map(|node| node.id())),
        texts(nodes.iter().map(|node| node.type_name())),
        optional_texts(nodes.iter().map(|node| node.name())),
        texts(paths.iter()),
    ]
}

fn longer(path: &str, label: &str, arrow: &str) -> String {
    if path.chars().count() + label.chars().count() <= PATH_CHARS_MAX {
        return format!("{path} {arrow} {label}");
    }
    let (start, _) = path.split_once(" ... ").unwrap_or((path, ""));
    format!("{start} ... {arrow} {label}")
}
