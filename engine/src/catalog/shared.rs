//! What runs share - artifacts, contexts, types - computed from all recorded uses, so that it never depends on the order in
//! which runs were seen.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{OptionalExtension, params};

use super::apply::{Applier, Failure, Outcome};
use super::mlmd::{
    ARTIFACT_LIVE, FIXED_TYPE_MAX, METRICS, MODEL, Owner, PARENT_CONTEXT_TYPE, PIPELINE_STAGE_TYPE, PropertyValue,
    STEP_METRICS, TypeKind, VALIDATION_OUTPUT, millis, typed_value,
};
use crate::events::ParamValue;

/// An artifact, made from all its uses in the order of time: the first gives it its name and creation time, each later one
/// may add properties and pipelines.
struct SharedArtifact {
    artifact_type: String,
    uri: String,
    name: String,
    created: i64,
    updated: i64,
    git_repo: String,
    /// `<pipeline>:<location>`, each once.
    urls: Vec<String>,
    /// Contexts of all uses.
    contexts: BTreeSet<i64>,
    /// Of each pipeline, the context of its first use there: what the artifact is attributed to. `cmflib` lists the artifacts
    /// of a pipeline stage by stage, and would list one that several stages use several times.
    homes: BTreeMap<String, i64>,
    properties: BTreeMap<String, ParamValue>,
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
        for stage in &touched.stages {
            self.drop_unused_type(TypeKind::Execution, stage)?;
        }
        for artifact_type in &touched.artifact_types {
            self.drop_unused_type(TypeKind::Artifact, artifact_type)?;
        }
        Ok(())
    }

    fn settle_pipeline(&self, pipeline: &str) -> Outcome {
        let id = self.ids.pipeline(pipeline);
        let started: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(started) FROM stepwell_run WHERE pipeline = ?1")?
            .query_row([pipeline], |row| row.get(0))?;
        match started {
            Some(started) => self.put_context(id, PARENT_CONTEXT_TYPE, pipeline, "Pipeline", started),
            None => self.drop_context(PARENT_CONTEXT_TYPE, pipeline),
        }
    }

    /// A stage belongs to its pipeline; `a/b` + `c` and `a` + `b/c` are one context in ML Metadata, with two parents.
    fn settle_stage(&self, context_name: &str) -> Outcome {
        let id = self.ids.stage(context_name);
        let pipelines: Vec<(String, i64)> = self
            .connection
            .prepare_cached(
                "SELECT pipeline, min(started) FROM stepwell_run WHERE context_name = ?1 GROUP BY pipeline",
            )?
            .query_map([context_name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let Some(started) = pipelines.iter().map(|(_, started)| *started).min() else {
            return self.drop_context(PIPELINE_STAGE_TYPE, context_name);
        };
        self.put_context(id, PIPELINE_STAGE_TYPE, context_name, "Pipeline_Stage", started)?;
        self.run("DELETE FROM ParentContext WHERE context_id = ?1", [id])?;
        for (pipeline, _) in pipelines {
            self.run(
                "INSERT INTO ParentContext (context_id, parent_context_id) VALUES (?1, ?2)",
                [id, self.ids.pipeline(&pipeline)],
            )?;
        }
        Ok(())
    }

    fn put_context(&self, id: i64, type_id: i64, name: &str, property: &str, started: i64) -> Outcome {
        let time = millis(started);
        let updated = self.run(
            "UPDATE Context SET create_time_since_epoch = ?4, last_update_time_since_epoch = ?4
             WHERE id = ?1 AND type_id = ?2 AND name = ?3",
            params![id, type_id, name, time],
        )?;
        if updated == 0 {
            self.insert(
                "INSERT INTO Context (id, type_id, name, create_time_since_epoch, last_update_time_since_epoch)
                 VALUES (?1, ?2, ?3, ?4, ?4)",
                params![id, type_id, name, time],
            )?;
            Owner::Context.write_property(self.connection, id, property, false, &name.into())?;
        }
        Ok(())
    }

    fn drop_context(&self, type_id: i64, name: &str) -> Outcome {
        let id: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM Context WHERE type_id = ?1 AND name = ?2")?
            .query_row(params![type_id, name], |row| row.get(0))
            .optional()?;
        if let Some(id) = id {
            self.run("DELETE FROM Context WHERE id = ?1", [id])?;
            self.run("DELETE FROM ParentContext WHERE context_id = ?1", [id])?;
            Owner::Context.remove_properties(self.connection, id)?;
        }
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
                ARTIFACT_LIVE,
                artifact.name,
                millis(artifact.created),
                millis(artifact.updated)
            ],
        )?;
        let (declared, custom) = artifact.split_properties();
        for (name, value) in declared {
            Owner::Artifact.write_property(self.connection, id, name, false, &PropertyValue::Text(value))?;
        }
        for (name, value) in custom {
            Owner::Artifact.write_property(self.connection, id, name, true, &value.into())?;
        }
        for context in artifact.homes.values().collect::<BTreeSet<_>>() {
            self.insert(
                "INSERT INTO Attribution (id, context_id, artifact_id) VALUES (?1, ?2, ?3)",
                [self.ids.attribution(*context, id), *context, id],
            )?;
        }
        Ok(())
    }

    /// All uses of an artifact, folded into what it is; `None` when there is none.
    fn read_uses(&self, id: i64) -> Outcome<Option<SharedArtifact>> {
        let mut select = self.connection.prepare_cached(
            "SELECT reference.artifact_type, reference.uri, reference.scope, reference.name, reference.time, reference.location,
                 run.context_id, run.pipeline, run.git_repo
             FROM stepwell_reference AS reference JOIN stepwell_run AS run ON run.run_id = reference.run_id
             WHERE reference.artifact_id = ?1
             ORDER BY reference.time, reference.run_id, reference.writer, reference.n",
        )?;
        let mut rows = select.query([id])?;
        let mut shared: Option<(SharedArtifact, String)> = None;
        let mut urls_seen = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let (artifact_type, uri, scope): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let (time, git_repo): (i64, Option<String>) = (row.get(4)?, row.get(8)?);
            let name = row.get(3)?;
            let (artifact, first_scope) = shared.get_or_insert_with(|| {
                let artifact = SharedArtifact {
                    artifact_type: artifact_type.clone(),
                    uri: uri.clone(),
                    name,
                    created: time,
                    updated: time,
                    git_repo: git_repo.unwrap_or_default(),
                    urls: Vec::new(),
                    contexts: BTreeSet::new(),
                    homes: BTreeMap::new(),
                    properties: BTreeMap::new(),
                };
                (artifact, scope.clone())
            });
            if artifact.artifact_type != artifact_type || artifact.uri != uri || *first_scope != scope {
                return Err(Failure::IdsMeet);
            }
            artifact.updated = time;
            let (context, pipeline): (i64, String) = (row.get(6)?, row.get(7)?);
            artifact.contexts.insert(context);
            let url = format!("{pipeline}:{}", row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?);
            artifact.homes.entry(pipeline).or_insert(context);
            if urls_seen.insert(url.clone()) {
                artifact.urls.push(url);
            }
        }
        let Some((mut artifact, _)) = shared else { return Ok(None) };
        artifact.properties = self.merged_properties(id)?;
        Ok(Some(artifact))
    }

    fn merged_properties(&self, id: i64) -> rusqlite::Result<BTreeMap<String, ParamValue>> {
        let mut select = self.connection.prepare_cached(
            "SELECT property.name, property.kind, property.value
             FROM stepwell_reference AS reference JOIN stepwell_reference_property AS property USING (run_id, writer, n)
             WHERE reference.artifact_id = ?1
             ORDER BY reference.time, reference.run_id, reference.writer, reference.n",
        )?;
        let mut rows = select.query([id])?;
        let mut merged = BTreeMap::new();
        while let Some(row) = rows.next()? {
            merged.insert(row.get(0)?, typed_value(row, 1)?);
        }
        Ok(merged)
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
    /// The properties that the type declares, which are all text, and the others.
    fn split_properties(&self) -> (Vec<(&'static str, String)>, BTreeMap<&str, &ParamValue>) {
        let mut custom: BTreeMap<&str, &ParamValue> =
            self.properties.iter().map(|(name, value)| (name.as_str(), value)).collect();
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
        (declared, custom)
    }
}
