//! Pipelines and stages as ML Metadata's contexts, made from the runs they have and from what runs say of them.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, params};

use super::apply::{Applier, Outcome, Touched};
use super::digest::{RunFacts, clamp};
use super::mlmd::{Owner, PARENT_CONTEXT_TYPE, PIPELINE_STAGE_TYPE, PropertyValue, millis, typed_columns, typed_value};
use crate::events::ParamValue;

/// What a run says of a context: pipeline, name of the stage's context or nothing, and all the rest as text, to see changes.
pub(super) type ContextUse = (String, String, String);

/// A context as it is to be.
struct Context<'n> {
    id: i64,
    type_id: i64,
    name: &'n str,
    /// Name of the declared property that repeats the context's name.
    property: &'static str,
    created: i64,
    updated: i64,
    custom: BTreeMap<String, ParamValue>,
}

/// What all records of a context come to.
#[derive(Default)]
struct Said {
    is_there: bool,
    created: Option<i64>,
    updated: Option<i64>,
    custom: BTreeMap<String, ParamValue>,
}

impl Touched {
    pub(super) fn touch_contexts(&mut self, uses: impl IntoIterator<Item = ContextUse>) {
        for (pipeline, context_name, _) in uses {
            self.pipelines.insert(pipeline);
            if !context_name.is_empty() {
                self.contexts.insert(context_name);
            }
        }
    }
}

impl Applier<'_> {
    pub(super) fn write_contexts(&self, run_id: &str, facts: &RunFacts) -> Outcome {
        for told in &facts.contexts {
            let (writer, n, what) = (told.writer.to_string(), clamp(told.n), &told.what);
            let stage = what.stage.as_deref().unwrap_or_default();
            let context_name =
                what.stage.as_ref().map(|stage| format!("{}/{stage}", what.pipeline)).unwrap_or_default();
            self.run(
                "INSERT INTO stepwell_context VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run_id,
                    writer,
                    n,
                    told.time,
                    what.pipeline,
                    stage,
                    context_name,
                    what.origin.created_millis,
                    what.origin.updated_millis,
                    what.origin.source_id,
                ],
            )?;
            for (name, value) in &what.properties {
                let (kind, value) = typed_columns(value);
                self.run(
                    "INSERT INTO stepwell_context_property VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![run_id, writer, n, name, kind, value],
                )?;
            }
        }
        Ok(())
    }

    /// What the catalog has of a run's words on contexts.
    pub(super) fn contexts_of(&self, run_id: &str) -> rusqlite::Result<Vec<ContextUse>> {
        self.connection
            .prepare_cached(
                "SELECT pipeline, context_name, json_array(time, created, updated, source_id,
                     (SELECT json_group_array(json_array(name, kind, value)) FROM stepwell_context_property AS property
                      WHERE (property.run_id, property.writer, property.n) = (context.run_id, context.writer, context.n)))
                 FROM stepwell_context AS context WHERE run_id = ?1 ORDER BY writer, n",
            )?
            .query_map([run_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    }

    pub(super) fn write_links(&self, run_id: &str, facts: &RunFacts) -> Outcome {
        let id = |key: &crate::events::ArtifactKey| self.ids.artifact(&key.artifact_type, &key.uri, &key.scope);
        for told in &facts.links {
            let (source, target) = (id(&told.what.source), id(&told.what.target));
            self.run(
                "INSERT INTO stepwell_link VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![run_id, told.writer.to_string(), clamp(told.n), told.time, source, target, told.what.relation],
            )?;
        }
        for told in &facts.aliases {
            let artifact = told.what.artifact.as_ref().map(id);
            self.run(
                "INSERT INTO stepwell_alias VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    run_id,
                    told.writer.to_string(),
                    clamp(told.n),
                    told.time,
                    told.what.name,
                    told.what.alias,
                    artifact
                ],
            )?;
        }
        Ok(())
    }

    pub(super) fn settle_pipeline(&self, pipeline: &str) -> Outcome {
        let started: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(started) FROM stepwell_run WHERE pipeline = ?1")?
            .query_row([pipeline], |row| row.get(0))?;
        // A stage that is only spoken of has its pipeline with it.
        let mut said = self.said("pipeline = ?1 AND stage = ''", pipeline)?;
        said.is_there |= self
            .connection
            .prepare_cached("SELECT 1 FROM stepwell_context WHERE pipeline = ?1 LIMIT 1")?
            .exists([pipeline])?;
        if started.is_none() && !said.is_there {
            return self.drop_context(PARENT_CONTEXT_TYPE, pipeline);
        }
        let id = self.ids.pipeline(pipeline);
        self.put_context(Context::new((id, PARENT_CONTEXT_TYPE, pipeline, "Pipeline"), started, said))
    }

    /// A stage belongs to its pipeline; `a/b` + `c` and `a` + `b/c` are one context in ML Metadata, with two parents.
    pub(super) fn settle_stage(&self, context_name: &str) -> Outcome {
        let id = self.ids.stage(context_name);
        let pipelines: Vec<(String, Option<i64>)> = self
            .connection
            .prepare_cached(
                "SELECT pipeline, min(started) FROM (
                     SELECT pipeline, started FROM stepwell_run WHERE context_name = ?1
                     UNION ALL SELECT pipeline, NULL FROM stepwell_context WHERE context_name = ?1)
                 GROUP BY pipeline",
            )?
            .query_map([context_name], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        if pipelines.is_empty() {
            return self.drop_context(PIPELINE_STAGE_TYPE, context_name);
        }
        let started = pipelines.iter().filter_map(|(_, started)| *started).min();
        let said = self.said("context_name = ?1", context_name)?;
        self.put_context(Context::new((id, PIPELINE_STAGE_TYPE, context_name, "Pipeline_Stage"), started, said))?;
        self.run("DELETE FROM ParentContext WHERE context_id = ?1", [id])?;
        for (pipeline, _) in pipelines {
            self.run(
                "INSERT INTO ParentContext (context_id, parent_context_id) VALUES (?1, ?2)",
                [id, self.ids.pipeline(&pipeline)],
            )?;
        }
        Ok(())
    }

    /// All that is said of a context, in the order of time.
    fn said(&self, condition: &str, name: &str) -> rusqlite::Result<Said> {
        let mut select = self.connection.prepare_cached(&format!(
            "SELECT context.time, context.created, context.updated, property.kind, property.value, property.name
             FROM stepwell_context AS context LEFT JOIN stepwell_context_property AS property USING (run_id, writer, n)
             WHERE {condition} ORDER BY context.time, context.run_id, context.writer, context.n"
        ))?;
        let mut rows = select.query([name])?;
        let mut said = Said::default();
        let earlier = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        while let Some(row) = rows.next()? {
            let (time, created): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
            said.is_there = true;
            said.created = earlier(said.created, Some(created.unwrap_or_else(|| millis(time))));
            said.updated = said.updated.max(row.get(2)?);
            if let Some(name) = row.get(5)? {
                said.custom.insert(name, typed_value(row, 3)?);
            }
        }
        Ok(said)
    }

    fn put_context(&self, context: Context<'_>) -> Outcome {
        let Context { id, type_id, name, property, created, updated, custom } = context;
        let changed = self.run(
            "UPDATE Context SET create_time_since_epoch = ?4, last_update_time_since_epoch = ?5
             WHERE id = ?1 AND type_id = ?2 AND name = ?3",
            params![id, type_id, name, created, updated],
        )?;
        if changed == 0 {
            self.insert(
                "INSERT INTO Context (id, type_id, name, create_time_since_epoch, last_update_time_since_epoch)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, type_id, name, created, updated],
            )?;
        }
        Owner::Context.remove_properties(self.connection, id)?;
        Owner::Context.write_property(self.connection, id, property, false, &name.into())?;
        for (name, value) in &custom {
            Owner::Context.write_property(self.connection, id, name, true, &PropertyValue::from(value))?;
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
}

impl<'n> Context<'n> {
    /// `started` is when the first run of the context started, in nanoseconds.
    fn new((id, type_id, name, property): (i64, i64, &'n str, &'static str), started: Option<i64>, said: Said) -> Self {
        let created = said.created.into_iter().chain(started.map(millis)).min().unwrap_or_default();
        let updated = said.updated.unwrap_or(created);
        Self { id, type_id, name, property, created, updated, custom: said.custom }
    }
}
