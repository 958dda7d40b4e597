//! What Stepwell logged itself, by CMF's rules.

use std::collections::{BTreeMap, BTreeSet};

use stepwell_engine::{RunId, Snapshot};

use super::merge::{IdMap, Merger, Numbering};
use super::rows::rows_of;
use super::{Assembled, FileContent};
use crate::cmf::{ArtifactName, STEP_METRICS, md5_of, write_metrics_file};
use crate::error::Result;
use crate::import::record::RECORD_TYPE;
use crate::mlmd::{MlmdStore, Property, Value, property};

/// The largest integer that CMF's server takes; it drops executions with larger ones.
const SERVER_INT_MAX: i64 = i32::MAX as i64;

/// Adds what the catalog has and no import does.
pub(super) fn add(
    merger: &mut Merger,
    catalog: &MlmdStore,
    snapshot: &Snapshot,
    imported: &BTreeSet<RunId>,
    with_metrics: bool,
    assembled: &mut Assembled,
) -> Result<()> {
    let runs: BTreeMap<i64, RunId> = snapshot
        .runs()
        .iter()
        .filter(|run| !imported.contains(&run.run_id))
        .map(|run| (run.execution.id, run.run_id))
        .collect();
    let from_elsewhere: BTreeSet<i64> = snapshot
        .artifacts()?
        .into_iter()
        .filter(|artifact| !imported.is_empty() && artifact.source_id.is_some())
        .map(|artifact| artifact.id)
        .collect();
    let part = own_part(merger, catalog, &runs, &from_elsewhere);
    let first = merger.whole.executions.len();
    let ids = merger.add(&part, Numbering::Anew, true);
    let named: BTreeMap<String, String> =
        ids.executions.iter().map(|(old, new)| (old.to_string(), new.to_string())).collect();
    for row in merger.whole.executions.iter_mut().skip(first) {
        // The run id is the Execution_uuid, which is where CMF looks.
        row.external_id = None;
        for (name, map) in [("Context_ID", &ids.contexts), ("Pipeline_id", &ids.contexts)] {
            renumber(&mut row.properties, name, map);
        }
        let large =
            row.properties.iter().filter(|row| matches!(row.value, Value::Int(value) if value.abs() > SERVER_INT_MAX));
        let large: Vec<&str> = large.map(|row| row.name.as_str()).collect();
        if !large.is_empty() {
            assembled.notes.push(format!(
                "a CMF server would not take execution {}: {} is above 2^31-1",
                row.id,
                large.join(", ")
            ));
        }
    }
    for row in merger.whole.artifacts.iter_mut().filter(|row| ids.new_artifacts.contains(&row.id)) {
        let uri = row.uri.clone().unwrap_or_default();
        let Some(name) = &mut row.name else { continue };
        let renamed = with_new_ids(name, &uri, &named);
        let repeated = row.properties.iter_mut().filter(|property| !property.is_custom);
        repeated.filter(|property| property.value.as_text() == Some(name)).for_each(|property| {
            property.value = Value::Text(renamed.clone());
        });
        *name = renamed;
    }
    if with_metrics {
        let runs = runs.iter().filter_map(|(old, run)| Some((*ids.executions.get(old)?, *run))).collect();
        add_metrics(merger, snapshot, &ids, &runs, assembled)?;
    }
    Ok(())
}

/// The rows of the catalog that no mirror of an import stands for, and those that a mirror has too, for what was changed since.
fn own_part(
    merger: &Merger,
    catalog: &MlmdStore,
    runs: &BTreeMap<i64, RunId>,
    from_elsewhere: &BTreeSet<i64>,
) -> MlmdStore {
    let mut part = catalog.clone();
    part.executions.retain(|row| runs.contains_key(&row.id));
    part.events.retain(|row| runs.contains_key(&row.execution_id));
    part.associations.retain(|row| runs.contains_key(&row.member_id));
    let used: BTreeSet<i64> = part.events.iter().map(|row| row.artifact_id).collect();
    let had: BTreeSet<i64> = catalog.events.iter().map(|row| row.artifact_id).collect();
    part.artifacts.retain(|row| {
        let type_name = catalog.type_name(row.type_id);
        let is_own = used.contains(&row.id) || !had.contains(&row.id) && !from_elsewhere.contains(&row.id);
        type_name != RECORD_TYPE && (is_own || merger.has_artifact(type_name, row))
    });
    let mut contexts: BTreeSet<i64> = part.associations.iter().map(|row| row.context_id).collect();
    let parents = catalog.parent_contexts.iter().filter(|(child, _)| contexts.contains(child));
    let parents: Vec<i64> = parents.map(|(_, parent)| *parent).collect();
    contexts.extend(parents);
    part.contexts.retain(|row| contexts.contains(&row.id) || merger.has_context(catalog.type_name(row.type_id), row));
    let artifacts: BTreeSet<i64> = part.artifacts.iter().map(|row| row.id).collect();
    // Of an artifact of an import, the attributions are those of the mirror and of own runs.
    part.attributions.retain(|row| {
        artifacts.contains(&row.member_id) && contexts.contains(&row.context_id) && used.contains(&row.member_id)
    });
    part.parent_contexts.retain(|(child, _)| contexts.contains(child));
    let kept: BTreeSet<i64> = part
        .artifacts
        .iter()
        .map(|row| row.type_id)
        .chain(part.executions.iter().map(|row| row.type_id))
        .chain(part.contexts.iter().map(|row| row.type_id))
        .collect();
    part.types.retain(|row| kept.contains(&row.id));
    part.parent_types.clear();
    part.sequences.clear();
    // The order of time, so that ids rise with it; ties by id, which the store gives again and again.
    part.executions.sort_by_key(|row| (row.created_millis, row.id));
    part.artifacts.sort_by_key(|row| (row.created_millis, row.id));
    part.contexts.sort_by_key(|row| (row.created_millis, row.name.len(), row.id));
    part.events.sort_by_key(|row| (row.time_millis, row.id));
    // ML Metadata lists members of a context in the order of these rows.
    let place = |ids: &mut dyn Iterator<Item = i64>| ids.zip(0..).collect::<BTreeMap<i64, usize>>();
    let executions = place(&mut part.executions.iter().map(|row| row.id));
    let artifacts = place(&mut part.artifacts.iter().map(|row| row.id));
    part.associations.sort_by_key(|row| (executions.get(&row.member_id).copied(), row.context_id));
    part.attributions.sort_by_key(|row| (artifacts.get(&row.member_id).copied(), row.context_id));
    part
}

fn renumber(properties: &mut [Property], name: &str, ids: &BTreeMap<i64, i64>) {
    for property in properties.iter_mut().filter(|property| !property.is_custom && property.name == name) {
        if let Value::Int(old) = &property.value
            && let Some(new) = ids.get(old)
        {
            property.value = Value::Int(*new);
        }
    }
}

/// In CMF's names of models and metrics, the id of the execution follows the hash.
fn with_new_ids(name: &str, uri: &str, ids: &BTreeMap<String, String>) -> String {
    let Some(rest) = ArtifactName::new(name, uri).rest else { return name.to_owned() };
    let kept = &name[..name.len() - rest.len()];
    let parts = rest.split(':').map(|part| ids.get(part).map_or(part, String::as_str));
    format!("{kept}{}", parts.collect::<Vec<_>>().join(":"))
}

/// Writes a file for each run and metrics name. The newest artifact of the name gets its hash; earlier ones keep the identity of their
/// records, as CMF keeps earlier versions only in DVC's cache.
fn add_metrics(
    merger: &mut Merger,
    snapshot: &Snapshot,
    ids: &IdMap,
    runs: &BTreeMap<i64, RunId>,
    assembled: &mut Assembled,
) -> Result<()> {
    let Some(step_metrics) = merger.whole.types.iter().find(|row| row.name == STEP_METRICS).map(|row| row.id) else {
        return Ok(());
    };
    let of_artifact: BTreeMap<i64, i64> =
        merger.whole.events.iter().map(|event| (event.artifact_id, event.execution_id)).collect();
    let mut newest: BTreeMap<(i64, String), usize> = BTreeMap::new();
    for (place, row) in merger.whole.artifacts.iter().enumerate() {
        if row.type_id != step_metrics || !ids.new_artifacts.contains(&row.id) {
            continue;
        }
        let Some(execution) = of_artifact.get(&row.id).filter(|execution| runs.contains_key(execution)) else {
            continue;
        };
        let Some(name) = property(&row.properties, "metrics_name", true).and_then(Value::as_text) else { continue };
        let last = newest.entry((*execution, name.to_owned())).or_insert(place);
        let (known, this) = (&merger.whole.artifacts[*last], row);
        if (known.created_millis, known.id) < (this.created_millis, this.id) {
            *last = place;
        }
    }
    for ((execution, metrics_name), place) in newest {
        let Some(run) = runs.get(&execution) else { continue };
        let logged = rows_of(snapshot, *run, &metrics_name)?;
        // A name with a slash is one that CMF cannot make a file of.
        let file = format!("cmf_artifacts/{run}/metrics/{}", metrics_name.replace(['/', '\\'], "_"));
        let bytes = write_metrics_file(&logged.metrics, &logged.rows, file.as_ref())?;
        let md5 = md5_of(&bytes);
        let row = &mut merger.whole.artifacts[place];
        let uri = row.uri.replace(md5.clone()).unwrap_or_default();
        let rest =
            row.name.as_deref().and_then(|name| ArtifactName::new(name, &uri).rest).unwrap_or_default().to_owned();
        row.name = Some(format!("{file}:{md5}:{rest}"));
        for property in row.properties.iter_mut().filter(|property| !property.is_custom) {
            match property.name.as_str() {
                "Commit" => property.value = Value::Text(md5.clone()),
                "url" => {
                    let pipeline = property.value.as_text().and_then(|url| url.split_once(':')).map(|(name, _)| name);
                    property.value = Value::Text(format!("{}:{file}", pipeline.unwrap_or_default()));
                }
                _ => {}
            }
        }
        assembled.files.insert(file, FileContent::Bytes(bytes));
    }
    Ok(())
}
