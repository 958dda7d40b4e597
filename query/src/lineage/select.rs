//! Parts of the graph: all of it, a pipeline, or what lies around an artifact or a run.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use stepwell_engine::{ArtifactInfo, RunInfo};

use super::graph::{Edge, Graph, NodeId};
use crate::suggest::nearest;

/// Names suggested for one that is not there.
const SUGGESTIONS_MAX: usize = 3;

/// Which way to go from a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// To what it came from.
    Backward,
    /// To what came of it.
    Forward,
    /// To what it came from, and to what came of it; not to what else came of what it came from.
    #[default]
    Both,
}

impl Way {
    fn goes_backward(self) -> bool {
        self != Self::Forward
    }

    fn goes_forward(self) -> bool {
        self != Self::Backward
    }
}

/// What to pick of a graph; by default everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Where to start, as [`Graph::find`] takes it; a name that fits several starts from all of them.
    pub start: Option<String>,
    /// Only runs of this pipeline, and what they read and wrote.
    pub pipeline: Option<String>,
    /// Which way to go from the start.
    pub way: Way,
    /// Most edges between the start and what is picked.
    pub depth_max: Option<u32>,
}

/// Something was named that the store does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// What it would have been.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// Names that may have been meant, the nearest first.
    pub near: Vec<String>,
}

impl std::error::Error for NotFound {}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no {} {:?}", self.what, self.name)?;
        let near: Vec<String> = self.near.iter().map(|name| format!("{name:?}")).collect();
        if near.is_empty() { Ok(()) } else { write!(f, "; did you mean {}?", near.join(" or ")) }
    }
}

/// A part of a graph.
pub struct Lineage<'g> {
    graph: &'g Graph<'g>,
    way: Way,
    starts: Vec<NodeId>,
    nodes: BTreeSet<NodeId>,
    edges: BTreeSet<usize>,
    cut: HashSet<NodeId>,
}

impl Graph<'_> {
    /// Picks a part of the graph.
    ///
    /// # Errors
    /// [`NotFound`]: no such artifact or run, or no such pipeline.
    pub fn select(&self, selection: &Selection) -> Result<Lineage<'_>, NotFound> {
        let mut lineage = match &selection.pipeline {
            None => self.everything(),
            Some(pipeline) => self.pipeline(pipeline)?,
        };
        if let Some(text) = &selection.start {
            let starts: Vec<NodeId> = self.find(text).into_iter().filter(|id| lineage.nodes.contains(id)).collect();
            if starts.is_empty() {
                let names = lineage.nodes.iter().filter_map(|id| self.node(*id).name()).collect();
                return Err(not_found("artifact or run", text, names));
            }
            lineage = lineage.around(starts, selection.way, selection.depth_max);
        }
        Ok(lineage)
    }

    fn everything(&self) -> Lineage<'_> {
        let (nodes, edges) = (self.nodes().collect(), (0..self.edges().len()).collect());
        Lineage { graph: self, way: Way::Forward, starts: Vec::new(), nodes, edges, cut: HashSet::new() }
    }

    fn pipeline(&self, name: &str) -> Result<Lineage<'_>, NotFound> {
        let mut lineage = self.everything();
        let is_of = |id: NodeId| self.run(id).is_some_and(|run| run.pipeline == name);
        lineage.nodes.retain(|id| is_of(*id));
        if lineage.nodes.is_empty() {
            let pipelines = self.nodes().filter_map(|id| self.run(id)).map(|run| run.pipeline.as_str());
            return Err(not_found("pipeline", name, pipelines.collect()));
        }
        lineage.edges.retain(|edge| is_of(self.edges()[*edge].run));
        lineage.nodes.extend(lineage.edges.iter().map(|edge| self.edges()[*edge].artifact));
        Ok(lineage)
    }
}

fn not_found(what: &'static str, name: &str, mut known: BTreeSet<&str>) -> NotFound {
    let mut near = Vec::new();
    while near.len() < SUGGESTIONS_MAX
        && let Some(next) = nearest(name, known.iter().copied())
    {
        known.remove(next.as_str());
        near.push(next);
    }
    let wanted = name.to_lowercase();
    let parts = known.into_iter().filter(|other| !wanted.is_empty() && other.to_lowercase().contains(&wanted));
    near.extend(parts.take(SUGGESTIONS_MAX - near.len()).map(str::to_owned));
    NotFound { what, name: name.to_owned(), near }
}

impl<'g> Lineage<'g> {
    fn around(self, starts: Vec<NodeId>, way: Way, depth_max: Option<u32>) -> Self {
        let Self { graph, edges: allowed, .. } = self;
        let (mut nodes, mut edges, mut cut) = (BTreeSet::new(), BTreeSet::new(), HashSet::new());
        for backward in [true, false] {
            if !(if backward { way.goes_backward() } else { way.goes_forward() }) {
                continue;
            }
            let reached = graph.walk(&starts, backward, depth_max, &|edge| allowed.contains(&edge));
            let known: HashSet<NodeId> = reached.iter().map(|step| step.node).collect();
            for step in &reached {
                let further = graph.edges_at(step.node, backward).iter().filter(|edge| allowed.contains(edge));
                if depth_max.is_none_or(|most| step.depth < most) {
                    edges.extend(further);
                } else {
                    let next = |edge: &Edge| if backward { edge.source() } else { edge.target() };
                    let is_beyond = |number: &usize| !known.contains(&next(&graph.edges()[*number]));
                    cut.extend(further.copied().any(|number| is_beyond(&number)).then_some(step.node));
                }
            }
            nodes.extend(known);
        }
        Self { graph, way, starts, nodes, edges, cut }
    }

    /// The graph it is of.
    pub fn graph(&self) -> &'g Graph<'g> {
        self.graph
    }

    /// Where it starts; empty when everything or a pipeline was asked for.
    pub fn starts(&self) -> &[NodeId] {
        &self.starts
    }

    /// Which way it goes from there.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Its runs and artifacts, in the order of the graph.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().copied()
    }

    /// Its runs, in the order in which they started.
    pub fn runs(&self) -> impl Iterator<Item = (NodeId, &'g RunInfo)> {
        self.nodes.iter().filter_map(|id| Some((*id, self.graph.run(*id)?)))
    }

    /// Its artifacts, in the order in which they were registered.
    pub fn artifacts(&self) -> impl Iterator<Item = (NodeId, &'g ArtifactInfo)> {
        self.nodes.iter().filter_map(|id| Some((*id, self.graph.artifact(*id)?)))
    }

    /// Its edges, ordered by time.
    pub fn edges(&self) -> impl Iterator<Item = &'g Edge> {
        self.edges.iter().map(|edge| &self.graph.edges()[*edge])
    }

    /// Artifacts that a run of it read, or those that it wrote.
    pub(super) fn of_run(&self, run: NodeId, is_input: bool) -> impl Iterator<Item = (&'g Edge, &'g ArtifactInfo)> {
        let graph = self.graph;
        let edges = graph.edges_at(run, is_input).iter().filter(|edge| self.edges.contains(edge));
        edges.filter_map(move |edge| {
            let edge = &graph.edges()[*edge];
            Some((edge, graph.artifact(edge.artifact)?))
        })
    }

    /// What is next to a node in it, each once, in the order of the graph.
    pub(super) fn next(&self, node: NodeId, backward: bool) -> BTreeSet<NodeId> {
        let edges = self.graph.edges_at(node, backward).iter().filter(|edge| self.edges.contains(edge));
        let end = |edge: &Edge| if backward { edge.source() } else { edge.target() };
        edges.map(|edge| end(&self.graph.edges()[*edge])).collect()
    }

    /// Whether more lies beyond a node, that the limit on depth leaves out.
    pub(super) fn is_cut(&self, node: NodeId) -> bool {
        self.cut.contains(&node)
    }
}
