//! PROV-JSON, the W3C's form for where something came from.
//!
//! | PROV | Stepwell |
//! |---|---|
//! | entity | artifact |
//! | activity | run |
//! | agent | the version of Stepwell that a run was written by, and the host that it ran on |
//! | used, wasGeneratedBy | inputs, outputs |
//! | wasDerivedFrom | an output of a run from each of its inputs |
//! | wasInformedBy | a run, by the runs whose outputs it read |
//! | wasAssociatedWith | a run, with its agents |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value, json};
use stepwell_engine::{ArtifactInfo, ParamValue, RunInfo};

use super::facts::{self, PROJECT, VERSION, moment_of_millis, moment_of_nanos};
use super::graph::NodeId;
use super::labels::short_name;
use super::select::Lineage;

/// Writes a lineage as one PROV-JSON document. Parameters and properties are attributes such as `param:lr`, whose keys have
/// what is no letter, digit, `_`, `-` or `.` as `%20`.
pub fn write(lineage: &Lineage<'_>) -> String {
    let mut document = Document::default();
    for (_, run) in lineage.runs() {
        document.add("activity", run_name(run), activity(run));
        for (name, agent) in agents(run) {
            let link = json!({ "prov:activity": run_name(run), "prov:agent": name });
            document.add("agent", name, agent);
            document.link("wasAssociatedWith", link);
        }
    }
    for (_, artifact) in lineage.artifacts() {
        document.add("entity", artifact_name(artifact), entity(artifact));
    }
    for (id, run) in lineage.runs() {
        relations(lineage, id, run, &mut document);
    }
    let shown: BTreeSet<NodeId> = lineage.nodes().collect();
    for (source, target, _) in lineage.graph().links().iter().filter(|(a, b, _)| shown.contains(a) && shown.contains(b))
    {
        let ends = (lineage.graph().artifact(*source), lineage.graph().artifact(*target));
        if let (Some(used), Some(generated)) = ends {
            let (used, generated) = (artifact_name(used), artifact_name(generated));
            document.link("wasDerivedFrom", json!({ "prov:generatedEntity": generated, "prov:usedEntity": used }));
        }
    }
    let prefix = json!({
        "run": "urn:uuid:", "artifact": format!("{PROJECT}/artifact/"), "agent": format!("{PROJECT}/agent/"),
        "stepwell": format!("{PROJECT}/"), "param": format!("{PROJECT}/param/"), "tag": format!("{PROJECT}/tag/"),
        "property": format!("{PROJECT}/property/"),
    });
    let mut whole = Map::new();
    whole.insert("prefix".to_owned(), prefix);
    for (section, records) in document.sections {
        whole.insert(section.to_owned(), Value::Object(records));
    }
    format!("{:#}\n", Value::Object(whole))
}

fn relations(lineage: &Lineage<'_>, id: NodeId, run: &RunInfo, document: &mut Document) {
    let graph = lineage.graph();
    let activity = run_name(run);
    let mut informants = BTreeSet::new();
    for (edge, artifact) in lineage.of_run(id, true) {
        let time = moment_of_millis(edge.time_millis);
        let entity = artifact_name(artifact);
        document.link("used", json!({ "prov:activity": activity, "prov:entity": entity, "prov:time": time }));
        informants.extend(lineage.next(edge.artifact, true));
    }
    for informant in informants.into_iter().filter(|informant| *informant != id).filter_map(|id| graph.run(id)) {
        let link = json!({ "prov:informed": activity, "prov:informant": run_name(informant) });
        document.link("wasInformedBy", link);
    }
    for (edge, artifact) in lineage.of_run(id, false) {
        let (time, output) = (moment_of_millis(edge.time_millis), artifact_name(artifact));
        document.link("wasGeneratedBy", json!({ "prov:entity": output, "prov:activity": activity, "prov:time": time }));
        for (_, input) in lineage.of_run(id, true).filter(|(_, input)| input.id != artifact.id) {
            let used = artifact_name(input);
            let link = json!({ "prov:generatedEntity": output, "prov:usedEntity": used, "prov:activity": activity });
            document.link("wasDerivedFrom", link);
        }
    }
}

/// Records by section and name.
#[derive(Default)]
struct Document {
    sections: BTreeMap<&'static str, Map<String, Value>>,
}

impl Document {
    fn add(&mut self, section: &'static str, name: String, record: Value) {
        self.sections.entry(section).or_default().insert(name, record);
    }

    /// A relation, which needs no name of its own.
    fn link(&mut self, section: &'static str, record: Value) {
        let records = self.sections.entry(section).or_default();
        records.insert(format!("_:{section}{}", records.len()), record);
    }
}

fn run_name(run: &RunInfo) -> String {
    format!("run:{}", run.run_id)
}

fn artifact_name(artifact: &ArtifactInfo) -> String {
    format!("artifact:{}", artifact.id)
}

fn activity(run: &RunInfo) -> Value {
    let mut record = Map::new();
    record.insert("prov:startTime".to_owned(), moment_of_nanos(run.started).into());
    if let Some(ended) = run.ended {
        record.insert("prov:endTime".to_owned(), moment_of_nanos(ended).into());
    }
    record.insert("prov:label".to_owned(), run.name.as_ref().unwrap_or(&run.stage).as_str().into());
    record.insert("stepwell:pipeline".to_owned(), run.pipeline.as_str().into());
    record.insert("stepwell:stage".to_owned(), run.stage.as_str().into());
    record.insert("stepwell:state".to_owned(), run.state.as_str().into());
    let command = Some(facts::command(run)).filter(|command| !command.is_empty());
    for (key, value) in
        [("command", command), ("git_remote", facts::git_remote(run)), ("git_commit", facts::git_commit(run))]
    {
        record.extend(value.map(|value| (format!("stepwell:{key}"), Value::from(value))));
    }
    record.extend(run.params.iter().map(|(key, value)| (format!("param:{}", local(key)), literal(value))));
    record.extend(run.tags.iter().map(|(key, value)| (format!("tag:{}", local(key)), Value::from(value.as_str()))));
    Value::Object(record)
}

fn entity(artifact: &ArtifactInfo) -> Value {
    let mut record = Map::new();
    record.insert("prov:label".to_owned(), short_name(artifact).into());
    record.insert("prov:type".to_owned(), artifact.artifact_type.as_str().into());
    record.insert("stepwell:uri".to_owned(), artifact.uri.as_str().into());
    if let Some(bytes) = artifact.bytes {
        record.insert("stepwell:bytes".to_owned(), literal(&ParamValue::Int(i64::try_from(bytes).unwrap_or(i64::MAX))));
    }
    let property = |(key, value): (&String, &ParamValue)| (format!("property:{}", local(key)), literal(value));
    record.extend(artifact.properties.iter().map(property));
    Value::Object(record)
}

fn agents(run: &RunInfo) -> BTreeMap<String, Value> {
    let mut agents = BTreeMap::new();
    let software = json!({ "$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME" });
    let versions: BTreeSet<&str> = run.writers.iter().map(|writer| writer.version.as_str()).collect();
    for version in if versions.is_empty() { BTreeSet::from([VERSION]) } else { versions } {
        let agent = json!({ "prov:type": software, "prov:label": format!("stepwell {version}") });
        agents.insert(format!("agent:stepwell-{}", local(version)), agent);
    }
    for host in run.writers.iter().map(|writer| writer.process.host.as_str()).filter(|host| !host.is_empty()) {
        let agent = json!({ "prov:type": "host", "prov:label": host });
        agents.insert(format!("agent:host-{}", local(host)), agent);
    }
    agents
}

/// A value with its type: 64-bit integers and NaN are no numbers of JSON.
fn literal(value: &ParamValue) -> Value {
    let typed = |text: String, of: &str| json!({ "$": text, "type": format!("xsd:{of}") });
    match value {
        ParamValue::Bool(value) => typed(value.to_string(), "boolean"),
        ParamValue::Int(value) => typed(value.to_string(), "long"),
        ParamValue::Float(value) if value.is_infinite() => {
            typed(if *value > 0.0 { "INF" } else { "-INF" }.to_owned(), "double")
        }
        ParamValue::Float(value) => typed(value.to_string(), "double"),
        ParamValue::Text(value) => value.as_str().into(),
    }
}

/// A key as the second part of a qualified name.
fn local(key: &str) -> String {
    let mut local = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') {
            local.push(char::from(byte));
        } else {
            let _ = write!(local, "%{byte:02X}");
        }
    }
    local
}
