//! Cypher: a graph with the labels, relations and properties that CMF gives its Neo4j.
//!
//! [`property_graph()`] makes the graph of a lineage; [`script()`] writes it as text, and [`batches()`] as few statements with
//! rows of parameters. Both only merge, on identities that stay the same: loading twice changes nothing.

mod batches;
mod escape;
mod links;
mod property_graph;
mod script;

pub use batches::{Batch, Row, batches};
pub use escape::{name, text};
pub use property_graph::{End, PropertyGraph, PropertyNode, Relation, Value, property_graph};
pub use script::script;
