//! Loads a lineage into Neo4j, or another server that speaks Bolt and Cypher.

use neo4rs::{BoltMap, BoltString, BoltType, ConfigBuilder, query};
use stepwell_query::lineage::cypher::{Batch, PropertyGraph, Row, Value, batches};
use tokio::runtime::Builder;

use crate::args::LineageArgs;
use crate::error::{CliError, Result};
use crate::{messages, text};

/// Nodes or relations that are sent at once.
const ROWS_MAX: usize = 500;
/// User of a Neo4j server that was just set up.
const DEFAULT_USER: &str = "neo4j";

/// Sends a graph to the server at `address`, or the one that NEO4J_URI names, and says how much it was. Each batch is a
/// transaction of its own; all of them merge, so that loading again goes on where it ended.
///
/// # Errors
/// [`CliError::GraphServer`]: no address or no password; [`CliError::GraphLoad`]: what the server or the network answered.
pub fn load(graph: &PropertyGraph, address: &str, args: &LineageArgs) -> Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let missing = |missing: &str| CliError::GraphServer { missing: missing.to_owned() };
    let given = Some(address.to_owned()).filter(|address| !address.is_empty());
    let address = given
        .or_else(|| variable("NEO4J_URI"))
        .ok_or_else(|| missing("--to has no address; write --to bolt://host:7687, or set NEO4J_URI"))?;
    if !address.contains("://") {
        return Err(missing(&format!("{address:?} is no address of a server; write --to bolt://host:7687")));
    }
    let user = args.user.clone().or_else(|| variable("NEO4J_USER_NAME")).unwrap_or_else(|| DEFAULT_USER.to_owned());
    let password = variable("NEO4J_PASSWD")
        .or_else(|| variable("NEO4J_PASSWORD"))
        .ok_or_else(|| missing("there is no password; set NEO4J_PASSWD or NEO4J_PASSWORD"))?;
    let failed = |source: neo4rs::Error| CliError::GraphLoad { address: address.clone(), source: Box::new(source) };
    let mut config = ConfigBuilder::default().uri(address.as_str()).user(user).password(password).max_connections(1);
    if let Some(database) = &args.database {
        config = config.db(database.as_str());
    }
    let config = config.build().map_err(failed)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.into()))?;
    runtime.block_on(async { send(&neo4rs::Graph::connect(config)?, graph).await }).map_err(failed)?;
    let (nodes, relations) = (graph.nodes.len() as u64, graph.relations.len() as u64);
    let counted = format!("{} and {}", text::plural(nodes, "node"), text::plural(relations, "relation"));
    messages::say(&format!("merged {counted} into {address}"));
    Ok(())
}

async fn send(server: &neo4rs::Graph, graph: &PropertyGraph) -> neo4rs::Result<()> {
    // Without an index each MERGE reads all nodes of the label. A server that has none of its own way is slower, not wrong.
    let mut indexes = graph.nodes.iter().map(|node| node.end.label.as_str()).collect::<Vec<_>>();
    indexes.dedup();
    for label in indexes {
        let label = stepwell_query::lineage::cypher::name(label);
        if let Err(error) = server.run(query(&format!("CREATE INDEX IF NOT EXISTS FOR (n:{label}) ON (n.uri)"))).await {
            if !matches!(error, neo4rs::Error::Neo4j(_)) {
                return Err(error);
            }
            messages::say(&format!("the server made no index, loading takes longer: {error}"));
            break;
        }
    }
    for Batch { statement, rows } in batches(graph, ROWS_MAX) {
        let rows: Vec<BoltType> = rows.into_iter().map(row).collect();
        server.run(query(&statement).param("rows", rows)).await?;
    }
    Ok(())
}

fn row(row: Row) -> BoltType {
    let value = |value: Value| match value {
        Value::Text(text) => BoltType::from(text),
        Value::List(texts) => BoltType::List(texts.into_iter().collect()),
    };
    let entries = row.into_iter().map(|(place, entry)| (BoltString::from(place), value(entry)));
    BoltType::Map(entries.collect::<BoltMap>())
}
