//! What came of what: runs and artifacts as one graph, parts of it, and the forms it is written in.
//!
//! [`Graph`] is read from a snapshot; [`Graph::select`] picks all of it, one pipeline, or what lies before and after an
//! artifact or a run. The SQL functions `ancestors` and `descendants` walk the same graph. A pick, a [`Lineage`], is
//! written as
//!
//! | function | form | read by |
//! |---|---|---|
//! | [`tree::write`] | lines for a terminal | people |
//! | [`json::write`] | runs, artifacts and edges | programs |
//! | [`mermaid::write`] | a flowchart | Markdown pages |
//! | [`dot::write`] | a directed graph | Graphviz |
//! | [`openlineage::write`] | events of OpenLineage 2-0-2, one a line | Marquez, DataHub, ... |
//! | [`prov::write`] | PROV-JSON of the W3C | tools for provenance |
//! | [`cypher::script`] | statements with CMF's labels and relations | Neo4j and other openCypher databases |
//! | [`cypher::batches`] | the same as parameters, to be sent to a server | `stepwell lineage --to` |
//!
//! Every name is the user's own text: each form escapes it in one place, so that no name can end a string, open a tag or
//! add a statement.
//!
//! # Cost
//! Reading the graph takes two queries of the catalog and memory for each artifact and edge; every form is built in memory.

pub mod cypher;
pub mod dot;
mod facts;
pub mod graph;
pub mod json;
mod labels;
pub mod mermaid;
pub mod openlineage;
pub mod prov;
mod select;
pub mod tree;

pub use graph::{Edge, Graph, Node, NodeId, Reached};
pub use select::{Lineage, NotFound, Selection, Way};
