//! A run as ML Metadata's execution, and the events between it and artifacts.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::apply::{Applier, Outcome, RunKeys};
use super::digest::RunFacts;
use super::mlmd::{
    NAME_PROPERTY, Owner, PropertyValue, TAG_PROPERTY_PREFIX, TypeKind, direction, event_type, execution_state, millis,
    typed_columns, typed_value,
};
use super::references::{RecordFacts, Reference};
use crate::events::{Origin, ParamValue, Properties};

/// Properties of these names are ids, which are those of this catalog.
const PIPELINE_ID: &str = "Pipeline_id";
const CONTEXT_ID: &str = "Context_ID";

impl Applier<'_> {
    pub(super) fn write_execution(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> Outcome {
        let (execution, context) = (keys.execution_id, keys.context_id);
        let type_id = self.ensure_type(TypeKind::Execution, &keys.execution_type)?;
        let origin = &facts.execution.origin;
        let (state, created, updated) = if origin.is_imported() {
            (origin.state, origin.created_millis, origin.updated_millis)
        } else {
            let (started, last) = (millis(facts.started), millis(facts.last_event));
            (Some(execution_state(facts.state)), Some(started), Some(last))
        };
        self.insert(
            "INSERT INTO Execution (id, type_id, last_known_state, external_id, create_time_since_epoch,
                 last_update_time_since_epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                execution,
                type_id,
                state,
                run_id,
                created.unwrap_or_else(|| millis(facts.started)),
                updated.unwrap_or_else(|| millis(facts.last_event)),
            ],
        )?;
        self.insert(
            "INSERT INTO Association (id, context_id, execution_id) VALUES (?1, ?2, ?3)",
            [self.ids.association(context, execution), context, execution],
        )?;
        for (name, value) in &self.declared(run_id, facts, keys) {
            if facts.execution.declared.contains_key(name) {
                self.declare(type_id, name, value)?;
            }
            Owner::Execution.write_property(self.connection, execution, name, false, value)?;
        }
        // A parameter of such a name keeps it: it is what the user called something.
        let text = |value: &str| PropertyValue::from(value);
        let mut custom: BTreeMap<String, PropertyValue> =
            facts.tags.iter().map(|(key, value)| (format!("{TAG_PROPERTY_PREFIX}{key}"), text(value))).collect();
        custom.extend(facts.start.name.iter().map(|name| (NAME_PROPERTY.to_owned(), text(name))));
        custom.extend(facts.params.iter().map(|(name, value)| (name.clone(), value.into())));
        for (name, value) in &custom {
            Owner::Execution.write_property(self.connection, execution, name, true, value)?;
        }
        Ok(())
    }

    /// Properties that the execution's type declares: CMF's, and those that the run was given in their place.
    fn declared(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> BTreeMap<String, PropertyValue> {
        let text = |value: &str| PropertyValue::from(value);
        let optional = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
        let ids = [
            (CONTEXT_ID, PropertyValue::Int(keys.context_id)),
            (PIPELINE_ID, PropertyValue::Int(self.ids.pipeline(&keys.pipeline))),
        ];
        let own = [
            ("Execution_uuid", text(run_id)),
            ("Context_Type", text(&keys.context_name)),
            ("Execution", text(&facts.start.command)),
            ("Execution_type_name", text(&keys.context_name)),
            ("Pipeline_Type", text(&keys.pipeline)),
            ("Git_Repo", optional(&facts.start.git_repo)),
            ("Git_Start_Commit", optional(&facts.start.git_commit)),
            ("Git_End_Commit", text("")),
        ];
        let imported = facts.execution.origin.is_imported();
        let mut declared: BTreeMap<String, PropertyValue> = BTreeMap::new();
        if !imported {
            declared.extend(own.map(|(name, value)| (name.to_owned(), value)));
        }
        declared.extend(facts.execution.declared.iter().map(|(name, value)| (name.clone(), value.into())));
        for (name, id) in ids {
            if !imported || declared.contains_key(name) {
                declared.insert(name.to_owned(), id);
            }
        }
        declared
    }

    pub(super) fn write_references(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> Outcome {
        let mut seen = BTreeSet::new();
        for reference in &facts.references {
            let artifact = self.ids.artifact(&reference.artifact_type, &reference.uri, &reference.scope);
            self.write_reference(run_id, artifact, reference)?;
            let Some(direction) = reference.direction.map(event_type) else { continue };
            // References come in the order of time: the first use in each direction is ML Metadata's event.
            if seen.insert((artifact, direction)) {
                let event = self.ids.event(artifact, keys.execution_id, direction);
                self.insert(
                    "INSERT INTO Event (id, artifact_id, execution_id, type, milliseconds_since_epoch)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    [event, artifact, keys.execution_id, direction, reference.event_millis()],
                )?;
                if let Some(path) = reference.event_path() {
                    self.run(
                        "INSERT INTO EventPath (event_id, is_index_step, step_key) VALUES (?1, 0, ?2)",
                        params![event, path],
                    )?;
                }
            }
        }
        Ok(())
    }

    fn write_reference(&self, run_id: &str, artifact: i64, reference: &Reference) -> Outcome {
        let Reference { writer, n, record, .. } = reference;
        let facts = record.as_ref();
        let origin = facts.map(|facts| facts.origin.clone()).unwrap_or_default();
        self.run(
            "INSERT INTO stepwell_reference (run_id, writer, n, time, artifact_id, artifact_type, uri, scope, direction, name,
                 location, bytes, version, is_record, path, attributed, event_time, created, updated, state, source_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
            params![
                run_id,
                writer,
                n,
                reference.time,
                artifact,
                reference.artifact_type,
                reference.uri,
                reference.scope,
                reference.direction.map_or(0, event_type),
                reference.name,
                reference.location,
                reference.bytes,
                reference.version,
                facts.is_some(),
                facts.and_then(|facts| facts.path.as_ref()),
                facts.is_none_or(|facts| facts.attributed),
                facts.and_then(|facts| facts.event_time),
                origin.created_millis,
                origin.updated_millis,
                origin.state,
                origin.source_id,
            ],
        )?;
        let none = Properties::new();
        let declared = facts.map_or(&none, |facts| &facts.declared);
        for (is_declared, properties) in [(false, &reference.properties), (true, declared)] {
            for (name, value) in properties {
                let (kind, value) = typed_columns(value);
                self.run(
                    "INSERT INTO stepwell_reference_property VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![run_id, writer, n, is_declared, name, kind, value],
                )?;
            }
        }
        Ok(())
    }

    /// The recorded uses of artifacts by a run, by artifact.
    pub(super) fn references(&self, run_id: &str) -> rusqlite::Result<BTreeMap<i64, Vec<Reference>>> {
        let mut references: BTreeMap<i64, Vec<Reference>> = BTreeMap::new();
        let mut properties = self.reference_properties(run_id)?;
        let mut select = self.connection.prepare_cached(
            "SELECT artifact_id, writer, n, time, artifact_type, uri, scope, direction, name, location, bytes, version,
                 is_record, path, attributed, event_time, created, updated, state, source_id
             FROM stepwell_reference WHERE run_id = ?1 ORDER BY writer, n",
        )?;
        let mut rows = select.query([run_id])?;
        while let Some(row) = rows.next()? {
            let (writer, n): (String, i64) = (row.get(1)?, row.get(2)?);
            let mut of_kind = |is_declared| properties.remove(&(writer.clone(), n, is_declared)).unwrap_or_default();
            let (properties, declared) = (of_kind(false), of_kind(true));
            let origin = Origin {
                created_millis: row.get(16)?,
                updated_millis: row.get(17)?,
                state: row.get(18)?,
                source_id: row.get(19)?,
            };
            let (path, attributed, event_time) = (row.get(13)?, row.get(14)?, row.get(15)?);
            let facts = RecordFacts { declared, path, attributed, event_time, origin };
            let direction_number: i64 = row.get(7)?;
            let reference = Reference {
                time: row.get(3)?,
                artifact_type: row.get(4)?,
                uri: row.get(5)?,
                scope: row.get(6)?,
                direction: (direction_number != 0).then(|| direction(direction_number)),
                name: row.get(8)?,
                location: row.get(9)?,
                bytes: row.get(10)?,
                version: row.get(11)?,
                properties,
                record: row.get::<_, bool>(12)?.then_some(facts),
                writer,
                n,
            };
            references.entry(row.get(0)?).or_default().push(reference);
        }
        Ok(references)
    }

    fn reference_properties(&self, run_id: &str) -> rusqlite::Result<PropertiesByUse> {
        let mut properties = PropertiesByUse::new();
        let mut select = self.connection.prepare_cached(
            "SELECT writer, n, declared, name, kind, value FROM stepwell_reference_property WHERE run_id = ?1",
        )?;
        let mut rows = select.query([run_id])?;
        while let Some(row) = rows.next()? {
            let key = (row.get(0)?, row.get(1)?, row.get(2)?);
            properties.entry(key).or_default().insert(row.get(3)?, typed_value(row, 4)?);
        }
        Ok(properties)
    }
}

/// Properties by the writer and number of the use, and whether the type declares them.
type PropertiesByUse = BTreeMap<(String, i64, bool), BTreeMap<String, ParamValue>>;
