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

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};
use stepwell_engine::{ArtifactInfo, Direction, LineageEdge, RunId, RunInfo};

use super::Store;
use super::arguments::{Arguments, is_named, names};
use crate::rows_table::RowsTable;
use crate::system_tables::columns::{int_field, ints, nullable, optional_texts, text_field, texts};

/// Characters of a path; longer ones lose their middle, or a chain of runs would take memory by the square of its length.
const PATH_CHARS_MAX: usize = 1000;
/// Digits of a hash that are taken for it.
const HASH_DIGITS_MIN: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Back,
    Forth,
}

pub(super) fn ancestors(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    table(store, arguments, Way::Back)
}

pub(super) fn descendants(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    table(store, arguments, Way::Forth)
}

fn table(store: &Arc<Store>, arguments: &Arguments, way: Way) -> Result<Arc<dyn TableProvider>> {
    let text = arguments.texts(1..=1)?[0].clone();
    let usage = arguments.usage();
    let store = Arc::clone(store);
    let rows = move || {
        let engine = |error: stepwell_engine::Error| DataFusionError::External(Box::new(error));
        let graph = Graph {
            runs: store.snapshot.runs(),
            artifacts: store.snapshot.artifacts().map_err(engine)?,
            edges: store.snapshot.lineage().map_err(engine)?,
        };
        let starts = graph.starts(&text);
        if starts.is_empty() {
            return Err(graph.unknown(&text, &Arguments::try_new(usage, &[])?));
        }
        Ok(columns(&graph.walk(starts, way)))
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

fn columns(nodes: &[Node<'_>]) -> Vec<ArrayRef> {
    vec![
        ints(nodes.iter().map(|node| node.depth)),
        texts(nodes.iter().map(|node| node.thing.kind())),
        texts(nodes.iter().map(|node| node.thing.id())),
        texts(nodes.iter().map(|node| node.thing.type_name())),
        optional_texts(nodes.iter().map(|node| node.thing.name())),
        texts(nodes.iter().map(|node| &node.path)),
    ]
}

/// A run or an artifact.
#[derive(Clone, Copy)]
enum Thing<'a> {
    Run(&'a RunInfo),
    Artifact(&'a ArtifactInfo),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Run(RunId),
    Artifact(i64),
}

impl<'a> Thing<'a> {
    fn key(self) -> Key {
        match self {
            Self::Run(run) => Key::Run(run.run_id),
            Self::Artifact(artifact) => Key::Artifact(artifact.id),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Artifact(_) => "artifact",
        }
    }

    fn id(self) -> String {
        match self {
            Self::Run(run) => run.run_id.to_string(),
            Self::Artifact(artifact) => artifact.id.to_string(),
        }
    }

    fn type_name(self) -> String {
        match self {
            Self::Run(run) => format!("{}/{}", run.pipeline, run.stage),
            Self::Artifact(artifact) => artifact.artifact_type.clone(),
        }
    }

    fn name(self) -> Option<&'a str> {
        match self {
            Self::Run(run) => run.name.as_deref(),
            Self::Artifact(artifact) => Some(short_name(artifact)),
        }
    }

    /// What a path shows.
    fn label(self) -> String {
        self.name().map_or_else(|| self.id(), str::to_owned)
    }
}

/// Name of an artifact without the hash that ML Metadata's form puts behind it.
fn short_name(artifact: &ArtifactInfo) -> &str {
    let without = artifact.name.strip_suffix(&artifact.uri).and_then(|name| name.strip_suffix(':'));
    without.unwrap_or(&artifact.name)
}

/// A thing that was reached.
struct Node<'a> {
    depth: i64,
    thing: Thing<'a>,
    path: String,
}

struct Graph<'a> {
    runs: &'a [RunInfo],
    artifacts: Vec<ArtifactInfo>,
    edges: Vec<LineageEdge>,
}

impl Graph<'_> {
    /// Everything that `text` names.
    fn starts(&self, text: &str) -> Vec<Thing<'_>> {
        let is_hash = text.len() >= HASH_DIGITS_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = |artifact: &&ArtifactInfo| {
            artifact.name == text
                || short_name(artifact) == text
                || artifact.id.to_string() == text
                || is_hash && artifact.uri.starts_with(text)
        };
        let runs = self.runs.iter().filter(|run| is_named(run, text)).map(Thing::Run);
        runs.chain(self.artifacts.iter().filter(fits).map(Thing::Artifact)).collect()
    }

    fn unknown(&self, text: &str, arguments: &Arguments) -> DataFusionError {
        let mut known = names(self.runs);
        known.extend(self.artifacts.iter().map(short_name));
        arguments.unknown("artifact or run", text, &known)
    }

    /// Breadth first, so that the first way to a thing is a shortest one.
    fn walk<'g>(&'g self, starts: Vec<Thing<'g>>, way: Way) -> Vec<Node<'g>> {
        let neighbours = self.neighbours(way);
        let mut reached: HashSet<Key> = HashSet::new();
        let first = |thing: Thing<'g>| Node { depth: 0, thing, path: thing.label() };
        let mut level: Vec<Node<'g>> = starts.into_iter().map(first).collect();
        let mut nodes: Vec<Node<'g>> = Vec::new();
        while !level.is_empty() {
            level.retain(|node| reached.insert(node.thing.key()));
            level
                .sort_by_key(|node| (node.thing.kind(), node.thing.name(), node.thing.key().number(), node.thing.id()));
            let mut next = Vec::new();
            for node in &level {
                for thing in neighbours.get(&node.thing.key()).into_iter().flatten() {
                    if !reached.contains(&thing.key()) {
                        next.push(Node { depth: node.depth + 1, thing: *thing, path: longer(&node.path, *thing, way) });
                    }
                }
            }
            nodes.append(&mut level);
            level = next;
        }
        nodes
    }

    /// What each thing leads to, one edge on.
    fn neighbours(&self, way: Way) -> HashMap<Key, Vec<Thing<'_>>> {
        let runs: HashMap<RunId, &RunInfo> = self.runs.iter().map(|run| (run.run_id, run)).collect();
        let artifacts: HashMap<i64, &ArtifactInfo> =
            self.artifacts.iter().map(|artifact| (artifact.id, artifact)).collect();
        let mut neighbours: HashMap<Key, Vec<Thing<'_>>> = HashMap::new();
        for edge in &self.edges {
            let (Some(run), Some(artifact)) = (runs.get(&edge.run_id), artifacts.get(&edge.artifact_id)) else {
                continue;
            };
            let (run, artifact) = (Thing::Run(run), Thing::Artifact(artifact));
            let is_from_run = (edge.direction != Direction::Input) == (way == Way::Forth);
            let (from, to) = if is_from_run { (run, artifact) } else { (artifact, run) };
            neighbours.entry(from.key()).or_default().push(to);
        }
        neighbours
    }
}

impl Key {
    /// Orders artifacts by their number rather than by its digits.
    fn number(self) -> i64 {
        match self {
            Self::Run(_) => 0,
            Self::Artifact(id) => id,
        }
    }
}

fn longer(path: &str, thing: Thing<'_>, way: Way) -> String {
    let arrow = if way == Way::Back { "<-" } else { "->" };
    let label = thing.label();
    if path.chars().count() + label.chars().count() <= PATH_CHARS_MAX {
        return format!("{path} {arrow} {label}");
    }
    let (start, _) = path.split_once(" ... ").unwrap_or((path, ""));
    format!("{start} ... {arrow} {label}")
}
