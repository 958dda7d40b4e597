//! A graph as few statements with rows of parameters, to be sent to a server.

use std::collections::BTreeMap;

use super::escape::name;
use super::property_graph::{End, PropertyGraph, Value};
use super::script::growth;

/// Values of one row, by the names that the statement has for them.
pub type Row = BTreeMap<String, Value>;

/// A statement and its rows, which it takes as the parameter `rows`. Values are parameters; of the text of the user, only
/// labels, types and keys are in the statement, each through [`name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The statement, which begins with `UNWIND $rows AS row`.
    pub statement: String,
    /// Its rows, at most as many as were asked for.
    pub rows: Vec<Row>,
}

/// Groups a graph into batches of at most `rows_max` rows: nodes first, then relations.
///
/// # Panics
/// When `rows_max` is 0.
pub fn batches(graph: &PropertyGraph, rows_max: usize) -> Vec<Batch> {
    let mut nodes: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for node in &graph.nodes {
        let mut row = Row::new();
        let pattern = pattern(&node.end, "k", &mut row);
        let mut set = Vec::new();
        for (number, (key, value)) in node.properties.iter().enumerate() {
            let (place, key) = (format!("p{number}"), name(key));
            set.push(match value {
                Value::Text(_) => format!("n.{key} = row.{place}"),
                Value::List(_) => growth(&key, &format!("row.{place}")),
            });
            row.insert(place, value.clone());
        }
        let statement = format!("UNWIND $rows AS row MERGE (n{pattern}){}", set_clause(&set));
        nodes.entry(statement).or_default().push(row);
    }
    let mut relations: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for relation in &graph.relations {
        let mut row = Row::new();
        let (from, to) = (pattern(&relation.from, "a", &mut row), pattern(&relation.to, "b", &mut row));
        let key = map(&relation.key, "k", &mut row);
        let mut set = Vec::new();
        for (number, (key, value)) in relation.properties.iter().enumerate() {
            let place = format!("p{number}");
            set.push(format!("r.{} = row.{place}", name(key)));
            row.insert(place, Value::Text(value.clone()));
        }
        let kind = name(&relation.kind);
        let statement =
            format!("UNWIND $rows AS row MATCH (a{from}), (b{to}) MERGE (a)-[r:{kind}{key}]->(b){}", set_clause(&set));
        relations.entry(statement).or_default().push(row);
    }
    let groups = nodes.into_iter().chain(relations);
    let cut = |(statement, rows): (String, Vec<Row>)| {
        let parts: Vec<Vec<Row>> = rows.chunks(rows_max).map(<[Row]>::to_vec).collect();
        parts.into_iter().map(move |rows| Batch { statement: statement.clone(), rows })
    };
    groups.flat_map(cut).collect()
}

fn set_clause(set: &[String]) -> String {
    if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) }
}

fn pattern(end: &End, prefix: &str, row: &mut Row) -> String {
    format!(":{}{}", name(&end.label), map(&end.key, prefix, row))
}

/// A map whose values are taken from the row; nothing for an empty one.
fn map(entries: &BTreeMap<String, String>, prefix: &str, row: &mut Row) -> String {
    let mut parts = Vec::new();
    for (number, (key, value)) in entries.iter().enumerate() {
        let place = format!("{prefix}{number}");
        parts.push(format!("{}: row.{place}", name(key)));
        row.insert(place, Value::Text(value.clone()));
    }
    if parts.is_empty() { String::new() } else { format!(" {{{}}}", parts.join(", ")) }
}
