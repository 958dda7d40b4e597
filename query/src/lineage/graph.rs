//! Runs, artifacts and the edges between them.

use std::collections::{BTreeSet, HashMap, HashSet};

use stepwell_engine::{ArtifactInfo, Direction, Result, RunId, RunInfo};

use super::labels::short_name;
use crate::source::SnapshotSource;

/// Digits of a hash that are taken for it.
const HASH_DIGITS_MIN: usize = 8;

/// A run or an artifact, by its place in a [`Graph`]: runs first, in the order in which they started, then artifacts, in the
/// order in which they were registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

impl NodeId {
    /// The place, from 0.
    pub fn place(self) -> usize {
        self.0
    }
}

/// A run or an artifact.
#[derive(Clone, Copy, Debug)]
pub enum Node<'g> {
    /// A run.
    Run(&'g RunInfo),
    /// An artifact.
    Artifact(&'g ArtifactInfo),
}

impl<'g> Node<'g> {
    /// `run` or `artifact`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Artifact(_) => "artifact",
        }
    }

    /// Id of the run, or of the artifact in the catalog.
    pub fn id(self) -> String {
        match self {
            Self::Run(run) => run.run_id.to_string(),
            Self::Artifact(artifact) => artifact.id.to_string(),
        }
    }

    /// Type of the artifact; of a run, `pipeline/stage`.
    pub fn type_name(self) -> String {
        match self {
            Self::Run(run) => format!("{}/{}", run.pipeline, run.stage),
            Self::Artifact(artifact) => artifact.artifact_type.clone(),
        }
    }

    /// Display name of the run, when it has one; name of the artifact without its hash.
    pub fn name(self) -> Option<&'g str> {
        match self {
            Self::Run(run) => run.name.as_deref(),
            Self::Artifact(artifact) => Some(short_name(artifact)),
        }
    }

    /// The name, or the id of a run that has none.
    pub fn label(self) -> String {
        self.name().map_or_else(|| self.id(), str::to_owned)
    }

    /// Orders artifacts of one name by their number rather than by its digits.
    fn number(self) -> i64 {
        match self {
            Self::Run(_) => 0,
            Self::Artifact(artifact) => artifact.id,
        }
    }
}

/// A run read an artifact, or wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The run.
    pub run: NodeId,
    /// The artifact.
    pub artifact: NodeId,
    /// Which of the two it was.
    pub direction: Direction,
    /// When it was first told; milliseconds since the Unix epoch.
    pub time_millis: i64,
}

impl Edge {
    /// Whether the run read the artifact.
    pub fn is_input(&self) -> bool {
        self.direction == Direction::Input
    }

    /// The end that was there before: an input, or the run that wrote.
    pub fn source(&self) -> NodeId {
        if self.is_input() { self.artifact } else { self.run }
    }

    /// The end that came of it.
    pub fn target(&self) -> NodeId {
        if self.is_input() { self.run } else { self.artifact }
    }
}

/// A node that a walk reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The node.
    pub node: NodeId,
    /// Edges between it and the nearest start.
    pub depth: u32,
    /// Place of the node before it on a shortest way, in the same list; `None` of a start.
    pub before: Option<usize>,
}

/// All runs and artifacts of a snapshot, and which run read or wrote which artifact.
pub struct Graph<'a> {
    runs: &'a [RunInfo],
    artifacts: Vec<ArtifactInfo>,
    edges: Vec<Edge>,
    /// Artifacts that came of others without a run between: source, target, and what the link means.
    links: Vec<(NodeId, NodeId, String)>,
    /// Of each node, the edges that lead to it.
    incoming: Vec<Vec<usize>>,
    /// Of each node, the edges that lead away from it.
    outgoing: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    /// Reads the graph of a snapshot. An edge that is told several times counts once; one whose run or artifact is not
    /// known is left out.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    pub fn read(source: &'a dyn SnapshotSource) -> Result<Self> {
        let (runs, artifacts) = (source.runs(), source.artifacts()?);
        let run_places: HashMap<RunId, usize> =
            runs.iter().enumerate().map(|(place, run)| (run.run_id, place)).collect();
        let artifact_places: HashMap<i64, usize> =
            artifacts.iter().enumerate().map(|(place, artifact)| (artifact.id, runs.len() + place)).collect();
        let nodes = runs.len() + artifacts.len();
        let (mut incoming, mut outgoing) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
        let (mut edges, mut known) = (Vec::new(), HashSet::new());
        for told in source.lineage()? {
            let places = (run_places.get(&told.run_id), artifact_places.get(&told.artifact_id));
            let (Some(run), Some(artifact)) = places else { continue };
            let (run, artifact) = (NodeId(*run), NodeId(*artifact));
            let edge = Edge { run, artifact, direction: told.direction, time_millis: told.time_millis };
            if known.insert((run, artifact, edge.is_input())) {
                outgoing[edge.source().0].push(edges.len());
                incoming[edge.target().0].push(edges.len());
                edges.push(edge);
            }
        }
        let mut links = Vec::new();
        for link in source.links()? {
            let places = (artifact_places.get(&link.source), artifact_places.get(&link.target));
            let (Some(source), Some(target)) = places else { continue };
            links.push((NodeId(*source), NodeId(*target), link.relation));
        }
        Ok(Self { runs, artifacts, edges, links, incoming, outgoing })
    }

    /// Every node, in its order.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.runs.len() + self.artifacts.len()).map(NodeId)
    }

    /// The run or artifact at a place of this graph.
    ///
    /// # Panics
    /// When `id` is of a larger graph.
    pub fn node(&self, id: NodeId) -> Node<'_> {
        match id.0.checked_sub(self.runs.len()) {
            None => Node::Run(&self.runs[id.0]),
            Some(place) => Node::Artifact(&self.artifacts[place]),
        }
    }

    /// The run at this place; `None` of an artifact.
    pub fn run(&self, id: NodeId) -> Option<&RunInfo> {
        self.runs.get(id.0)
    }

    /// The artifact at this place; `None` of a run.
    pub fn artifact(&self, id: NodeId) -> Option<&ArtifactInfo> {
        self.artifacts.get(id.0.checked_sub(self.runs.len())?)
    }

    /// Every edge, ordered by time.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Artifacts that came of others without a run between: source, target, and what the link means.
    pub fn links(&self) -> &[(NodeId, NodeId, String)] {
        &self.links
    }

    /// Ids of all runs.
    pub(super) fn run_ids(&self) -> impl Iterator<Item = RunId> {
        self.runs.iter().map(|run| run.run_id)
    }

    /// Numbers of the edges at a node: those that lead to it, or those that lead away.
    pub(super) fn edges_at(&self, node: NodeId, backward: bool) -> &[usize] {
        if backward { &self.incoming[node.0] } else { &self.outgoing[node.0] }
    }

    /// Everything that `text` names: an artifact's id, its name with or without the hash, its hash or the first eight digits
    /// or more of it; a run's id, the beginning of one, or its name.
    pub fn find(&self, text: &str) -> Vec<NodeId> {
        let is_hash = text.len() >= HASH_DIGITS_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let fits = |id: &NodeId| match self.node(*id) {
            Node::Run(run) => is_named(run, text),
            Node::Artifact(artifact) => {
                artifact.name == text
                    || short_name(artifact) == text
                    || artifact.id.to_string() == text
                    || is_hash && artifact.uri.starts_with(text)
            }
        };
        self.nodes().filter(fits).collect()
    }

    /// Names of all runs and artifacts, each once.
    pub fn names(&self) -> BTreeSet<&str> {
        self.nodes().filter_map(|id| self.node(id).name()).collect()
    }

    /// Everything that the starts came from, breadth first: the first way to a node is a shortest one. Each node is there
    /// once, so that a cycle comes to an end. Ordered by depth, kind, name, id.
    pub fn ancestors(&self, starts: &[NodeId], depth_max: Option<u32>) -> Vec<Reached> {
        self.walk(starts, true, depth_max, &|_| true)
    }

    /// Everything that came of the starts, as [`Graph::ancestors`].
    pub fn descendants(&self, starts: &[NodeId], depth_max: Option<u32>) -> Vec<Reached> {
        self.walk(starts, false, depth_max, &|_| true)
    }

    /// Walks along the edges whose numbers `allows` takes.
    pub(super) fn walk(
        &self,
        starts: &[NodeId],
        backward: bool,
        depth_max: Option<u32>,
        allows: &dyn Fn(usize) -> bool,
    ) -> Vec<Reached> {
        let mut known: HashSet<NodeId> = HashSet::new();
        let mut reached: Vec<Reached> = Vec::new();
        let mut level: Vec<Reached> =
            starts.iter().map(|start| Reached { node: *start, depth: 0, before: None }).collect();
        while !level.is_empty() {
            level.retain(|step| known.insert(step.node));
            level.sort_by_cached_key(|step| {
                let node = self.node(step.node);
                (node.kind(), node.name(), node.number(), node.id())
            });
            let first = reached.len();
            reached.append(&mut level);
            for (before, Reached { node, depth, .. }) in reached.iter().enumerate().skip(first) {
                let (node, depth) = (*node, *depth);
                if depth_max.is_some_and(|most| depth >= most) {
                    continue;
                }
                for number in self.edges_at(node, backward) {
                    let edge = &self.edges[*number];
                    let next = if backward { edge.source() } else { edge.target() };
                    if !known.contains(&next) && allows(*number) {
                        level.push(Reached { node: next, depth: depth + 1, before: Some(before) });
                    }
                }
            }
        }
        reached
    }
}

/// Whether `text` is the name of a run, its id, or the beginning of that.
fn is_named(run: &RunInfo, text: &str) -> bool {
    run.name.as_deref() == Some(text) || !text.is_empty() && run.run_id.to_string().starts_with(text)
}
