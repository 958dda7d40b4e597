//! Options of `stepwell lineage`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Forms of a lineage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LineageFormat {
    /// A tree, for people
    #[default]
    Tree,
    /// Runs, artifacts and edges as a JSON object
    Json,
    /// A Mermaid flowchart, for Markdown
    Mermaid,
    /// A graph for Graphviz
    Dot,
    /// Events of OpenLineage 2-0-2, one a line
    Openlineage,
    /// PROV-JSON of the W3C
    Prov,
    /// Cypher statements with CMF's labels and relations
    Cypher,
}

/// Which way a lineage goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DirectionArg {
    /// To what it came from
    Backward,
    /// To what came of it
    Forward,
    /// Both
    #[default]
    Both,
}

/// `stepwell lineage`.
#[derive(Args)]
#[command(after_help = "\
With --to, the password of the Neo4j server is taken from NEO4J_PASSWD or NEO4J_PASSWORD; --to without an address takes NEO4J_URI.
Nodes and relations are merged: loading again changes nothing, and nothing is ever deleted.")]
pub struct LineageArgs {
    /// An artifact's id, name, hash or the beginning of that; a run's id, the beginning of one, or its name; none means all
    #[arg(value_name = "ARTIFACT_OR_RUN")]
    pub start: Option<String>,
    /// Which way to go from it
    #[arg(long, value_enum, default_value_t, value_name = "DIRECTION", requires = "start")]
    pub direction: DirectionArg,
    /// Most edges between it and what is shown
    #[arg(long, value_name = "N", requires = "start")]
    pub depth: Option<u32>,
    /// Only runs of this pipeline
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: LineageFormat,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Load it into a Neo4j server instead: bolt://host:port, or bolt+s:// for TLS
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["format", "json", "output"])]
    pub to: Option<String>,
    /// User of the server [default: $NEO4J_USER_NAME, or neo4j]
    #[arg(long, value_name = "NAME", requires = "to")]
    pub user: Option<String>,
    /// Database of the server [default: the server's own]
    #[arg(long, value_name = "NAME", requires = "to")]
    pub database: Option<String>,
}
