//! How runs and artifacts are called in what people read.

use std::collections::HashMap;

use stepwell_engine::{ArtifactInfo, RunId, RunInfo};

use super::graph::{Graph, Node};

/// Digits of a hash that are shown.
const HASH_DIGITS_SHOWN: usize = 8;
/// Characters of a run's id that are shown at least.
const RUN_DIGITS_MIN: usize = 8;

/// Name of an artifact without the hash, and what else ML Metadata's form puts behind it.
pub(super) fn short_name(artifact: &ArtifactInfo) -> &str {
    if artifact.uri.is_empty() {
        return &artifact.name;
    }
    let is_hash = |(place, found): &(usize, &str)| {
        artifact.name[..*place].ends_with(':') && {
            let rest = &artifact.name[place + found.len()..];
            rest.is_empty() || rest.starts_with(':')
        }
    };
    match artifact.name.match_indices(artifact.uri.as_str()).find(is_hash) {
        Some((place, _)) if place > 1 => &artifact.name[..place - 1],
        _ => &artifact.name,
    }
}

/// The beginning of an artifact's hash.
pub(super) fn short_hash(artifact: &ArtifactInfo) -> String {
    artifact.uri.chars().take(HASH_DIGITS_SHOWN).collect()
}

/// Beginnings of the ids of runs, as short as they can be and still name one run of the graph.
pub(super) struct ShortRunIds(HashMap<RunId, String>);

impl ShortRunIds {
    pub(super) fn new(graph: &Graph<'_>) -> Self {
        let mut ids: Vec<(String, RunId)> = graph.run_ids().map(|id| (id.to_string(), id)).collect();
        ids.sort();
        let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        let short = |place: usize| {
            let (text, id) = &ids[place];
            let before = place.checked_sub(1).map_or(0, |before| shared(text, &ids[before].0));
            let after = ids.get(place + 1).map_or(0, |(after, _)| shared(text, after));
            // A beginning that ends in a dash looks cut off.
            let length = match (before.max(after) + 1).max(RUN_DIGITS_MIN) {
                length @ (9 | 14 | 19 | 24) => length + 1,
                length => length,
            };
            (*id, text.chars().take(length).collect())
        };
        Self((0..ids.len()).map(short).collect())
    }

    /// The beginning of an id of the graph.
    pub(super) fn of(&self, run: &RunInfo) -> &str {
        self.0.get(&run.run_id).map_or("", String::as_str)
    }
}

/// A node in two parts: what it is called, and what it is.
pub(super) fn parts(node: Node<'_>, ids: &ShortRunIds) -> (String, String) {
    match node {
        Node::Run(run) => {
            let name = run.name.clone().unwrap_or_else(|| run.stage.clone());
            (name, format!("{}/{}, {}, {}", run.pipeline, run.stage, run.state.as_str(), ids.of(run)))
        }
        Node::Artifact(artifact) => {
            let version = artifact.version.map(|version| format!(" v{version}")).unwrap_or_default();
            let name = short_name(artifact).to_owned();
            (name, format!("{}{version} {}", artifact.artifact_type, short_hash(artifact)).trim_end().to_owned())
        }
    }
}

/// Text on one line, with what would steer a terminal or a layout written as an escape: control characters, line
/// separators, and marks that turn the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let is_steering = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_steering(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}
