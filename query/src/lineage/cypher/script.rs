//! A graph as a script of Cypher statements.

use std::collections::BTreeMap;

use super::escape::{name, text};
use super::property_graph::{End, PropertyGraph, Value};

/// Writes one statement a line, each ended by a semicolon: nodes first, then relations. No literal and no name holds a line
/// break, so that a reader may take the script line by line.
pub fn script(graph: &PropertyGraph) -> String {
    let mut script = String::new();
    for node in &graph.nodes {
        let set: Vec<String> = node.properties.iter().map(|(key, value)| assignment(key, value)).collect();
        let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
        script.push_str(&format!("MERGE (n{}){set};\n", pattern(&node.end)));
    }
    for relation in &graph.relations {
        let key = if relation.key.is_empty() { String::new() } else { format!(" {}", map(&relation.key)) };
        let set: Vec<String> =
            relation.properties.iter().map(|(key, value)| format!("r.{} = {}", name(key), text(value))).collect();
        let set = if set.is_empty() { String::new() } else { format!(" SET {}", set.join(", ")) };
        script.push_str(&format!(
            "MATCH (a{}), (b{}) MERGE (a)-[r:{}{key}]->(b){set};\n",
            pattern(&relation.from),
            pattern(&relation.to),
            name(&relation.kind),
        ));
    }
    script
}

fn assignment(key: &str, value: &Value) -> String {
    let key = name(key);
    match value {
        Value::Text(value) => format!("n.{key} = {}", text(value)),
        Value::List(values) => {
            let list: Vec<String> = values.iter().map(|value| text(value)).collect();
            growth(&key, &format!("[{}]", list.join(", ")))
        }
    }
}

/// A list with what is added to it and not in it yet.
pub(super) fn growth(key: &str, new: &str) -> String {
    format!("n.{key} = coalesce(n.{key}, []) + [x IN {new} WHERE NOT x IN coalesce(n.{key}, [])]")
}

fn pattern(end: &End) -> String {
    format!(":{} {}", name(&end.label), map(&end.key))
}

fn map(entries: &BTreeMap<String, String>) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{}: {}", name(key), text(value))).collect();
    format!("{{{}}}", entries.join(", "))
}
