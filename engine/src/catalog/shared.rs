//! What runs share - artifacts, contexts, types - computed from all recorded uses, so that it never depends on the order in
//! which runs were seen.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, Row, params};

use super::apply::{Applier, Failure, Outcome};
use super::mlmd::{
    ARTIFACT_LIVE, FIXED_TYPE_MAX, METRICS, MODEL, Owner, PropertyValue, STEP_METRICS, TypeKind, VALIDATION_OUTPUT,
    millis, typed_value,
};
use crate::events::{ParamValue, Properties};

/// An artifact, made from all its uses in the order of time: the first gives it its name and creation time, each later one
/// may add properties and pipelines.
struct SharedArtifact {
    artifact_type: String,
    uri: String,
    name: String,
    /// Milliseconds since the Unix epoch.
    created: i64,
    updated: i64,
    state: Option<i64>,
    /// Described in ML Metadata's terms: its declared properties are those that were given.
    is_record: bool,
    git_repo: String,
    /// `<pipeline>:<location>`, each once.
    urls: Vec<String>,
    /// Contexts of all uses.
    contexts: BTreeSet<i64>,
    /// Of each pipeline, the context of its first use there: what the artifact is attributed to. `cmflib` lists the artifacts
    /// of a pipeline stage by stage, and would list one that several stages use several times.
    homes: BTreeMap<String, i64>,
    /// Of a record, the contexts that it is said to be attributed to.
    attributed: BTreeSet<i64>,
    properties: Properties,
    declared: Properties,
}

impl Applier<'_> {
    /// Brings what runs share up to date with what was applied since the last call.
    pub fn settle(&mut self) -> Outcome {
        let touched = std::mem::take(&mut self.touched);
        for pipeline in &touched.pipelines {
            self.settle_pipeline(pipeline)?;
        }
        for context in &touched.contexts {
            self.settle_stage(context)?;
        }
        for (artifact, old_contexts) in &touched.artifacts {
            self.settle_artifact(*artifact, old_contexts)?;
        }
        for (execution_type, name) in &touched.execution_names {
            self.settle_execution_name(execution_type, name)?;
        }
        for execution_type in &touched.execution_types {
            self.drop_unused_type(TypeKind::Execution, execution_type)?;
        }
        for artifact_type in &touched.artifact_types {
            self.drop_unused_type(TypeKind::Artifact, artifact_type)?;
        }
        Ok(())
    }

    /// Names of executions are unique within their type. Of several runs that claim one, the first by its id has it.
    fn settle_execution_name(&self, execution_type: &str, name: &str) -> Outcome {
        let runs = "SELECT execution_id FROM stepwell_run WHERE execution_type = ?1 AND execution_name = ?2";
        self.run(&format!("UPDATE Execution SET name = NULL WHERE id IN ({runs})"), params![execution_type, name])?;
        self.run(
            &format!("UPDATE Execution SET name = ?2 WHERE id = ({runs} ORDER BY run_id LIMIT 1)"),
            params![execution_type, name],
        )?;
        Ok(())
    }

    fn settle_artifact(&self, id: i64, old_contexts: &BTreeSet<i64>) -> Outcome {
        let artifact = self.read_uses(id)?;
        Owner::Artifact.remove_properties(self.connection, id)?;
        self.run("DELETE FROM Artifact WHERE id = ?1", [id])?;
        // By context and artifact: ML Metadata's tables have no index on the artifact alone.
        for context in artifact.iter().flat_map(|artifact| &artifact.contexts).chain(old_contexts) {
            self.run("DELETE FROM Attribution WHERE context_id = ?1 AND artifact_id = ?2", [context, &id])?;
        }
        let Some(artifact) = artifact else { return Ok(()) };
        let type_id = self.ensure_type(TypeKind::Artifact, &artifact.artifact_type)?;
        self.insert(
            "INSERT INTO Artifact (id, type_id, uri, state, name, create_time_since_epoch, last_update_time_since_epoch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id,
                type_id,
                artifact.uri,
                artifact.state,
                artifact.name,
                artifact.created,
                artifact.updated
            ],
        )?;
        let (declared, custom) = artifact.split_properties();
        for (name, value) in declared {
            if artifact.is_record {
                self.declare(type_id, name, &value)?;
            }
            Owner::Artifact.write_property(self.connection, id, name, false, &value)?;
        }
        for (name, value) in custom {
            Owner::Artifact.write_property(self.connection, id, name, true, &value.into())?;
        }
        for context in artifact.attributed_to() {
            self.insert(
                "INSERT INTO Attribution (id, context_id, artifact_id) VALUES (?1, ?2, ?3)",
                [self.ids.attribution(context, id), context, id],
            )?;
        }
        Ok(())
    }

    /// All uses of an artifact, folded into what it is; `None` when there is none.
    fn read_uses(&self, id: i64) -> Outcome<Option<SharedArtifact>> {
        let mut select = self.connection.prepare_cached(
            "SELECT reference.artifact_type, reference.uri, reference.scope, reference.name, reference.time, reference.location,
                 run.context_id, run.pipeline, run.git_repo, reference.is_record, reference.attributed, reference.created,
                 reference.updated, reference.state, reference.source_id
             FROM stepwell_reference AS reference JOIN stepwell_run AS run ON run.run_id = reference.run_id
             WHERE reference.artifact_id = ?1
             ORDER BY reference.time, reference.run_id, reference.writer, reference.n",
        )?;
        let mut rows = select.query([id])?;
        let mut shared: Option<(SharedArtifact, String)> = None;
        let mut urls_seen = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let (artifact_type, uri, scope): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if shared.is_none() {
                shared = Some((SharedArtifact::first(row)?, scope.clone()));
            }
            let Some((artifact, first_scope)) = &mut shared else { continue };
            if artifact.artifact_type != artifact_type || artifact.uri != uri || *first_scope != scope {
                return Err(Failure::IdsMeet);
            }
            artifact.add(row, &mut urls_seen)?;
        }
        let Some((mut artifact, _)) = shared else { return Ok(None) };
        artifact.properties = self.merged_properties(id, false)?;
        artifact.declared = self.merged_properties(id, true)?;
        Ok(Some(artifact))
    }

    fn merged_properties(&self, id: i64, is_declared: bool) -> rusqlite::Result<Properties> {
        let mut select = self.connection.prepare_cached(
            "SELECT property.name, property.kind, property.value
             FROM stepwell_reference AS reference JOIN stepwell_reference_property AS property USING (run_id, writer, n)
             WHERE reference.artifact_id = ?1 AND property.declared = ?2
             ORDER BY reference.time, reference.run_id, reference.writer, reference.n",
        )?;
        let mut rows = select.query(params![id, is_declared])?;
        let mut merged = BTreeMap::new();
        while let Some(row) = rows.next()? {
            merged.insert(row.get(0)?, typed_value(row, 1)?);
        }
        Ok(merged)
    }

    /// Makes sure that a type declares a property. Where values are of several kinds, it is the widest of them: text, float, integer.
    pub(super) fn declare(&self, type_id: i64, name: &str, value: &PropertyValue) -> Outcome {
        self.run(
            "INSERT INTO TypeProperty (type_id, name, data_type) VALUES (?1, ?2, ?3)
             ON CONFLICT (type_id, name) DO UPDATE SET data_type = max(data_type, excluded.data_type)
             WHERE data_type < excluded.data_type",
            params![type_id, name, value.data_type()],
        )?;
        Ok(())
    }

    /// Id of a type, which is made when it is missing.
    pub(super) fn ensure_type(&self, kind: TypeKind, name: &str) -> Outcome<i64> {
        if let Some(id) = self.type_id(kind, name)? {
            return Ok(id);
        }
        let id = match kind {
            TypeKind::Execution => self.ids.execution_type(name),
            TypeKind::Artifact => self.ids.artifact_type(name),
        };
        self.insert("INSERT INTO Type (id, name, type_kind) VALUES (?1, ?2, ?3)", params![id, name, kind as i64])?;
        for (property, data_type) in kind.properties() {
            self.run(
                "INSERT INTO TypeProperty (type_id, name, data_type) VALUES (?1, ?2, ?3)",
                params![id, property, data_type],
            )?;
        }
        Ok(id)
    }

    fn type_id(&self, kind: TypeKind, name: &str) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT id FROM Type WHERE name = ?1 AND type_kind = ?2")?
            .query_row(params![name, kind as i64], |row| row.get(0))
            .optional()
    }

    fn drop_unused_type(&self, kind: TypeKind, name: &str) -> Outcome {
        let Some(id) = self.type_id(kind, name)?.filter(|id| *id > FIXED_TYPE_MAX) else { return Ok(()) };
        let used = match kind {
            TypeKind::Execution => "SELECT 1 FROM Execution WHERE type_id = ?1 LIMIT 1",
            TypeKind::Artifact => "SELECT 1 FROM Artifact WHERE type_id = ?1 LIMIT 1",
        };
        if !self.connection.prepare_cached(used)?.exists([id])? {
            self.run("DELETE FROM TypeProperty WHERE type_id = ?1", [id])?;
            self.run("DELETE FROM Type WHERE id = ?1", [id])?;
        }
        Ok(())
    }
}

impl SharedArtifact {
    /// What the first use makes of it.
    fn first(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (time, created, state): (i64, Option<i64>, Option<i64>) = (row.get(4)?, row.get(11)?, row.get(13)?);
        let source: Option<i64> = row.get(14)?;
        Ok(Self {
            artifact_type: row.get(0)?,
            uri: row.get(1)?,
            name: row.get(3)?,
            created: created.unwrap_or_else(|| millis(time)),
            updated: 0,
            state: if source.is_some() { state } else { Some(ARTIFACT_LIVE) },
            is_record: row.get(9)?,
            git_repo: row.get::<_, Option<String>>(8)?.unwrap_or_default(),
            urls: Vec::new(),
            contexts: BTreeSet::new(),
            homes: BTreeMap::new(),
            attributed: BTreeSet::new(),
            properties: Properties::new(),
            declared: Properties::new(),
        })
    }

    /// What one use, the first among them, adds.
    fn add(&mut self, row: &Row<'_>, urls_seen: &mut BTreeSet<String>) -> rusqlite::Result<()> {
        let (time, context, pipeline): (i64, i64, String) = (row.get(4)?, row.get(6)?, row.get(7)?);
        let updated: Option<i64> = row.get(12)?;
        self.updated = self.updated.max(updated.unwrap_or_else(|| millis(time)));
        self.contexts.insert(context);
        if row.get(10)? {
            self.attributed.insert(context);
        }
        let url = format!("{pipeline}:{}", row.get_ref(5)?.as_str()?);
        self.homes.entry(pipeline).or_insert(context);
        if urls_seen.insert(url.clone()) {
            self.urls.push(url);
        }
        Ok(())
    }

    fn attributed_to(&self) -> BTreeSet<i64> {
        if self.is_record { self.attributed.clone() } else { self.homes.values().copied().collect() }
    }

    /// The properties that the type declares, and the others.
    fn split_properties(&self) -> (Vec<(&str, PropertyValue)>, BTreeMap<&str, &ParamValue>) {
        let mut custom: BTreeMap<&str, &ParamValue> =
            self.properties.iter().map(|(name, value)| (name.as_str(), value)).collect();
        if self.is_record {
            let declared = self.declared.iter().map(|(name, value)| (name.as_str(), value.into()));
            return (declared.collect(), custom);
        }
        let mut given = |name: &'static str, default: &str| {
            (name, custom.remove(name).map_or_else(|| default.to_owned(), ParamValue::to_display))
        };
        let commit = ("Commit", self.uri.clone());
        let url = ("url", self.urls.join(","));
        let declared = match self.artifact_type.as_str() {
            STEP_METRICS => vec![commit, url],
            METRICS => vec![("metrics_name", self.name.clone())],
            MODEL => vec![
                given("model_framework", "Default"),
                given("model_type", "Default"),
                given("model_name", "Default"),
                commit,
                url,
            ],
            VALIDATION_OUTPUT => vec![given("version", "")],
            _ => vec![("git_repo", self.git_repo.clone()), commit, url],
        };
        (declared.into_iter().map(|(name, value)| (name, PropertyValue::Text(value))).collect(), custom)
    }
}
