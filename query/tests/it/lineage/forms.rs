use std::collections::BTreeMap;

use serde_json::Value;
use stepwell_query::SnapshotData;
use stepwell_query::lineage::{Graph, Lineage, Selection, cypher, dot, json, mermaid, openlineage, prov};

use super::{HOSTILE, data, example, hostile};

fn with<T>(data: &SnapshotData, write: impl Fn(&Lineage<'_>) -> T) -> T {
    let graph = Graph::read(data).expect("graph");
    write(&graph.select(&Selection::default()).expect("a lineage"))
}

fn hostile_data() -> SnapshotData {
    let folder = tempfile::tempdir().expect("folder");
    let mut data = data(&hostile(folder.path()));
    data.runs[0].name = Some(HOSTILE.to_owned());
    data
}

#[test]
fn json_has_every_run_artifact_and_edge() {
    let text = with(&example(), |lineage| json::write(lineage).expect("JSON"));
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let count = |key: &str| document[key].as_array().expect("an array").len();
    assert_eq!((count("runs"), count("artifacts"), count("edges"), count("starts")), (3, 3, 6, 0));
    assert_eq!(document["runs"][0]["params"]["lr"], 0.5);
    assert_eq!(document["artifacts"][0]["name"], "data/clean.csv");
}

#[test]
fn mermaid_is_a_flowchart_of_plain_lines() {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_string()[..8].to_owned();
    let (raw, clean, model) = (hash("raw\n"), hash("clean\n"), hash("model\n"));
    let expected = format!(
        "\
flowchart LR
  subgraph p0 [\"digits\"]
    r0[\"prepare<br/>prepare, finished, 0190b2f4\"]:::run
    r1[\"train<br/>train, finished, 0190b2f5\"]:::run
  end
  subgraph p1 [\"review\"]
    r2[\"label<br/>label, failed, 0190b2f6\"]:::run
  end
  a3([\"data/clean.csv<br/>Dataset {clean}\"]):::artifact
  a4([\"data/raw.csv<br/>Dataset {raw}\"]):::artifact
  a5([\"model.pkl<br/>Model {model}\"]):::artifact
"
    );
    let chart = with(&example(), mermaid::write);
    assert!(chart.starts_with(&expected), "{chart}");
    let mut edges: Vec<&str> = chart.lines().filter(|line| line.contains("-->")).map(str::trim).collect();
    edges.sort_unstable();
    assert_eq!(edges, ["a3 --> r1", "a4 --> r0", "a5 --> r2", "r0 --> a3", "r1 --> a5", "r2 --> a3"]);
}

#[test]
fn no_name_leaves_its_label_in_mermaid() {
    let chart = with(&hostile_data(), mermaid::write);
    for line in chart.lines().filter(|line| line.contains('"')) {
        let parts: Vec<&str> = line.split('"').collect();
        let [before, label, after] = parts.as_slice() else { panic!("one label a line: {line}") };
        let ends = [("[", "]:::run"), ("([", "]):::artifact"), ("[", "]")];
        assert!(ends.iter().any(|(open, close)| before.ends_with(open) && after == close), "{line}");
        let label = label.replacen("<br/>", "", 1);
        let is_plain = |c: char| c.is_alphanumeric() || " .,/-+:@#;".contains(c);
        assert!(label.chars().all(is_plain), "{label}");
        for entity in label.split('#').skip(1) {
            let digits = entity.split(';').next().expect("an entity");
            assert!(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()), "{label}");
        }
    }
}

#[test]
fn dot_quotes_what_it_is_given() {
    let graph = with(&hostile_data(), dot::write);
    for line in graph.lines() {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert_eq!(quotes % 2, 0, "{line}");
    }
    assert_eq!(graph.matches(" -> ").count(), 3);
}

#[test]
fn openlineage_tells_the_start_and_the_end_of_each_run() {
    let text = with(&example(), openlineage::write);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            let names = |key: &str| {
                let sets = event[key].as_array().expect("an array");
                sets.iter().map(|set| set["name"].as_str().expect("a name")).collect::<Vec<_>>().join(",")
            };
            let (job, time) = (&event["job"], event["eventTime"].as_str().expect("a time"));
            let what = event["eventType"].as_str().expect("a type");
            let job = format!("{}/{}", job["namespace"].as_str().expect("text"), job["name"].as_str().expect("text"));
            format!("{what} {job} {time} {} -> {}", names("inputs"), names("outputs"))
        })
        .collect();
    let expected = [
        "START digits/prepare 2026-01-02T03:04:05.000Z Dataset/data/raw.csv -> ",
        "COMPLETE digits/prepare 2026-01-02T03:04:35.000Z Dataset/data/raw.csv -> Dataset/data/clean.csv",
        "START digits/train 2026-01-02T03:05:05.000Z Dataset/data/clean.csv -> ",
        "COMPLETE digits/train 2026-01-02T03:05:35.000Z Dataset/data/clean.csv -> Model/model.pkl",
        "START review/label 2026-01-02T03:06:05.000Z Model/model.pkl -> ",
        "FAIL review/label 2026-01-02T03:06:35.000Z Model/model.pkl -> Dataset/data/clean.csv",
    ];
    assert_eq!(told, expected);
}

#[test]
fn prov_has_every_relation() {
    let text = with(&example(), prov::write);
    let document: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
    let count = |section: &str| document[section].as_object().expect("an object").len();
    assert_eq!((count("entity"), count("activity"), count("used"), count("wasGeneratedBy")), (3, 3, 3, 3));
    assert_eq!(count("wasDerivedFrom"), 3);
    assert_eq!(count("wasInformedBy"), 3, "train of prepare and label, label of train");
    let lr = &document["activity"]["run:0190b2f4-6f1e-7c3a-9f6e-2d5a1c0b9e8f"]["param:lr"];
    assert_eq!((lr["$"].as_str(), lr["type"].as_str()), (Some("0.5"), Some("xsd:double")));
}

/// A statement without its literals and names in backticks, which must be well formed.
fn skeleton(statement: &str) -> String {
    let (mut skeleton, mut chars) = (String::new(), statement.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next().expect("the end of a literal") {
                    '\\' => assert!("\\'nrtu".contains(chars.next().expect("an escape")), "{statement}"),
                    '\'' => break,
                    c => assert!(!c.is_control(), "{statement}"),
                }
            },
            '`' => loop {
                match chars.next().expect("the end of a name") {
                    '`' if chars.peek() == Some(&'`') => drop(chars.next()),
                    '`' => break,
                    c => assert!(!c.is_control() && c != '\\', "{statement}"),
                }
            },
            c => skeleton.push(c),
        }
    }
    skeleton
}

#[test]
fn no_name_leaves_its_place_in_cypher() {
    for data in [example(), hostile_data()] {
        let script = with(&data, |lineage| cypher::script(&cypher::property_graph(lineage)));
        for statement in script.lines() {
            let skeleton = skeleton(statement);
            let words = skeleton.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            let known = "MERGE MATCH SET WHERE NOT IN x n a b r coalesce Pipeline Stage Execution Dataset Model contains runs \
                         input output linked Name uri Path Command Commit git_repo pipeline_id pipeline_name Execution_Name \
                         Artifact_Name";
            for word in words {
                assert!(known.split_whitespace().any(|other| other == word), "{word} in {statement}");
            }
            assert!(skeleton.ends_with(';') && skeleton.matches(';').count() == 1, "{statement}");
        }
    }
}

#[test]
fn cypher_has_the_relations_of_cmf() {
    let graph = with(&example(), cypher::property_graph);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for relation in &graph.relations {
        *counts.entry(&relation.kind).or_default() += 1;
    }
    let expected = [
        ("contains", 3),
        ("input", 3),
        ("label", 1),
        ("linked", 2),
        ("output", 3),
        ("prepare", 1),
        ("runs", 3),
        ("train", 1),
    ];
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
    let batches = cypher::batches(&graph, 2);
    assert!(batches.iter().all(|batch| (1..=2).contains(&batch.rows.len())));
    let rows: usize = batches.iter().map(|batch| batch.rows.len()).sum();
    assert_eq!(rows, graph.nodes.len() + graph.relations.len(), "each node and relation is sent once");
    assert!(batches.iter().all(|batch| !batch.statement.contains("model.pkl")), "values are parameters");
}
