//! Writes the facts of a run: removes every row the run had, then adds those it has now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::digest::{LogPosition, Reference, RunDigest, RunFacts, WriterFacts, clamp, numbers};
use super::ids::Ids;
use super::mlmd::{
    NAME_PROPERTY, Owner, PropertyValue, STEP_METRICS, TAG_PROPERTY_PREFIX, TypeKind, event_type, execution_state,
    millis, typed_columns,
};
use crate::events::GapKind;
use crate::ids::{RunId, WriterId};
use crate::layout::EVENTS_SUFFIX;

/// Why rows could not be written.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(rusqlite::Error),
    /// Two keys have the same id under this salt.
    IdsMeet,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;

/// Writes runs inside one transaction. [`Applier::settle`] must be called before it is committed.
pub(super) struct Applier<'c> {
    pub(super) connection: &'c Connection,
    pub(super) ids: Ids,
    pub(super) touched: Touched,
}

/// What runs share and a change of a run may have changed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Artifacts, each with the contexts it may have to leave.
    pub artifacts: BTreeMap<i64, BTreeSet<i64>>,
    pub pipelines: BTreeSet<String>,
    /// Names of stage contexts.
    pub contexts: BTreeSet<String>,
    /// Names of execution types.
    pub stages: BTreeSet<String>,
    /// Names of artifact types.
    pub artifact_types: BTreeSet<String>,
}

/// The run's row in ML Metadata's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct RunKeys {
    execution_id: i64,
    context_id: i64,
    pipeline: String,
    stage: String,
    context_name: String,
    started: i64,
    git_repo: Option<String>,
}

/// Tables with rows of one run each, apart from segments.
const RUN_TABLES: [&str; 11] = [
    "stepwell_log",
    "stepwell_run",
    "stepwell_param",
    "stepwell_tag",
    "stepwell_writer",
    "stepwell_watermark",
    "stepwell_metrics_commit",
    "stepwell_reference",
    "stepwell_reference_property",
    "stepwell_gap",
    "stepwell_replaced",
];

impl<'c> Applier<'c> {
    pub fn new(connection: &'c Connection, ids: Ids) -> Self {
        Self { connection, ids, touched: Touched::default() }
    }

    /// Prepares, binds and runs a statement.
    pub(super) fn run(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<usize> {
        self.connection.prepare_cached(sql)?.execute(params)
    }

    /// Inserts a row that is identified by a hashed id.
    pub(super) fn insert(&self, sql: &str, params: impl rusqlite::Params) -> Outcome {
        match self.run(sql, params) {
            Ok(_) => Ok(()),
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
                    && error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) =>
            {
                Err(Failure::IdsMeet)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the rows of a run.
    pub fn apply(&mut self, digest: &RunDigest) -> Outcome {
        let run_id = digest.run_id.to_string();
        let old_keys = self.run_keys(&run_id)?;
        let old_references = self.references(&run_id)?;
        self.remove_rows(&run_id, old_keys.as_ref())?;
        self.write_logs(&run_id, digest)?;
        let new_keys = digest.facts.as_ref().map(|facts| self.keys_of(digest.run_id, facts));
        if let (Some(facts), Some(keys)) = (&digest.facts, &new_keys) {
            self.write_execution(&run_id, facts, keys)?;
            self.write_run(&run_id, facts, keys)?;
            self.write_writers(&run_id, facts)?;
            self.write_references(&run_id, facts, keys)?;
            self.write_commits(&run_id, facts)?;
            self.write_replaced(&run_id, facts)?;
        }
        self.write_segments(digest.run_id, digest.facts.as_ref())?;
        let new_references = self.references(&run_id)?;
        self.touch(old_keys, new_keys, &old_references, &new_references);
        Ok(())
    }

    /// Removes a run whose folder is gone.
    pub fn remove(&mut self, run_id: RunId) -> Outcome {
        let text = run_id.to_string();
        let old_keys = self.run_keys(&text)?;
        let old_references = self.references(&text)?;
        self.remove_rows(&text, old_keys.as_ref())?;
        self.write_segments(run_id, None)?;
        self.run("DELETE FROM stepwell_scan WHERE run_id = ?1", [&text])?;
        self.touch(old_keys, None, &old_references, &BTreeMap::new());
        Ok(())
    }

    /// Notes what has to be computed anew. An artifact whose uses by this run stayed as they were is left alone: a data set
    /// of ten thousand runs is not looked at each time one of them logs.
    fn touch(
        &mut self,
        old: Option<RunKeys>,
        new: Option<RunKeys>,
        old_references: &BTreeMap<i64, Vec<Reference>>,
        new_references: &BTreeMap<i64, Vec<Reference>>,
    ) {
        let same_run = old == new;
        let old_context = old.as_ref().map(|keys| keys.context_id);
        for artifact in old_references.keys().chain(new_references.keys()) {
            if !same_run || old_references.get(artifact) != new_references.get(artifact) {
                self.touched.artifacts.entry(*artifact).or_default().extend(old_context);
                let uses = [old_references.get(artifact), new_references.get(artifact)];
                let types = uses.into_iter().flatten().flatten().map(|reference| reference.artifact_type.clone());
                self.touched.artifact_types.extend(types);
            }
        }
        if same_run {
            return;
        }
        for keys in [old, new].into_iter().flatten() {
            self.touched.pipelines.insert(keys.pipeline);
            self.touched.contexts.insert(keys.context_name);
            self.touched.stages.insert(keys.stage);
        }
    }

    fn keys_of(&self, run_id: RunId, facts: &RunFacts) -> RunKeys {
        let context_name = facts.start.context_name();
        RunKeys {
            execution_id: self.ids.execution(run_id),
            context_id: self.ids.stage(&context_name),
            pipeline: facts.start.pipeline.clone(),
            stage: facts.start.stage.clone(),
            context_name,
            started: facts.started,
            git_repo: facts.start.git_repo.clone(),
        }
    }

    fn run_keys(&self, run_id: &str) -> rusqlite::Result<Option<RunKeys>> {
        self.connection
            .prepare_cached(
                "SELECT execution_id, context_id, pipeline, stage, context_name, started, git_repo
                 FROM stepwell_run WHERE run_id = ?1",
            )?
            .query_row([run_id], |row| {
                Ok(RunKeys {
                    execution_id: row.get(0)?,
                    context_id: row.get(1)?,
                    pipeline: row.get(2)?,
                    stage: row.get(3)?,
                    context_name: row.get(4)?,
                    started: row.get(5)?,
                    git_repo: row.get(6)?,
                })
            })
            .optional()
    }

    fn remove_rows(&self, run_id: &str, keys: Option<&RunKeys>) -> Outcome {
        for table in RUN_TABLES {
            self.run(&format!("DELETE FROM {table} WHERE run_id = ?1"), [run_id])?;
        }
        let Some(keys) = keys else { return Ok(()) };
        let execution = keys.execution_id;
        self.run(
            "DELETE FROM EventPath WHERE event_id IN (SELECT id FROM Event WHERE execution_id = ?1)",
            [execution],
        )?;
        self.run("DELETE FROM Event WHERE execution_id = ?1", [execution])?;
        self.run("DELETE FROM ExecutionProperty WHERE execution_id = ?1", [execution])?;
        self.run("DELETE FROM Execution WHERE id = ?1", [execution])?;
        self.run("DELETE FROM Association WHERE context_id = ?1 AND execution_id = ?2", [keys.context_id, execution])?;
        Ok(())
    }

    fn write_logs(&self, run_id: &str, digest: &RunDigest) -> Outcome {
        for log in &digest.logs {
            let LogPosition { writer, bytes, complete_bytes, lines, damaged_lines } = log;
            self.run(
                "INSERT INTO stepwell_log VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run_id, writer.to_string(), bytes, complete_bytes, lines, damaged_lines],
            )?;
        }
        let last_event = |writer: WriterId| {
            let writers = digest.facts.iter().flat_map(|facts| &facts.writers);
            writers.map(|facts| &facts.info).find(|info| info.writer == writer).map_or(0, |info| info.last_event)
        };
        let mut position = 0;
        let mut writer_before = None;
        let mut faults: Vec<_> = digest.faults.iter().collect();
        faults.sort_by_key(|(writer, fault)| (*writer, fault.offset));
        for (writer, fault) in faults {
            position = if writer_before == Some(writer) { position + 1 } else { 0 };
            writer_before = Some(writer);
            let detail = format!("byte {} of {writer}{EVENTS_SUFFIX}: {}", fault.offset, fault.fault);
            self.run(
                "INSERT INTO stepwell_gap VALUES (?1, ?2, 'log', ?3, ?4, ?5, 0, 0, ?6, NULL)",
                params![
                    run_id,
                    writer.to_string(),
                    position,
                    last_event(*writer),
                    GapKind::DamagedEvent.as_str(),
                    detail
                ],
            )?;
        }
        Ok(())
    }

    fn write_run(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> Outcome {
        self.insert(
            "INSERT INTO stepwell_run (run_id, execution_id, context_id, pipeline, stage, context_name, name, state, started,
                 ended, last_event, git_repo) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            params![
                run_id,
                keys.execution_id,
                keys.context_id,
                keys.pipeline,
                keys.stage,
                keys.context_name,
                facts.start.name,
                facts.state.as_str(),
                facts.started,
                facts.ended,
                facts.last_event,
                keys.git_repo,
            ],
        )?;
        for (name, value) in &facts.params {
            let (kind, value) = typed_columns(value);
            self.run("INSERT INTO stepwell_param VALUES (?1, ?2, ?3, ?4)", params![run_id, name, kind, value])?;
        }
        for (name, value) in &facts.tags {
            self.run("INSERT INTO stepwell_tag VALUES (?1, ?2, ?3)", params![run_id, name, value])?;
        }
        Ok(())
    }

    fn write_execution(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> Outcome {
        let (execution, context) = (keys.execution_id, keys.context_id);
        let type_id = self.ensure_type(TypeKind::Execution, &keys.stage)?;
        self.insert(
            "INSERT INTO Execution (id, type_id, last_known_state, external_id, create_time_since_epoch,
                 last_update_time_since_epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                execution,
                type_id,
                execution_state(facts.state),
                run_id,
                millis(facts.started),
                millis(facts.last_event)
            ],
        )?;
        self.insert(
            "INSERT INTO Association (id, context_id, execution_id) VALUES (?1, ?2, ?3)",
            [self.ids.association(context, execution), context, execution],
        )?;
        let text = |value: &str| PropertyValue::from(value);
        let optional = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
        let declared = [
            ("Execution_uuid", text(run_id)),
            ("Context_Type", text(&keys.context_name)),
            ("Context_ID", PropertyValue::Int(context)),
            ("Execution", text(&facts.start.command)),
            ("Execution_type_name", text(&keys.context_name)),
            ("Pipeline_Type", text(&keys.pipeline)),
            ("Pipeline_id", PropertyValue::Int(self.ids.pipeline(&keys.pipeline))),
            ("Git_Repo", optional(&facts.start.git_repo)),
            ("Git_Start_Commit", optional(&facts.start.git_commit)),
            ("Git_End_Commit", text("")),
        ];
        for (name, value) in declared {
            Owner::Execution.write_property(self.connection, execution, name, false, &value)?;
        }
        // A parameter of such a name keeps it: it is what the user called something.
        let mut custom: BTreeMap<String, PropertyValue> =
            facts.tags.iter().map(|(key, value)| (format!("{TAG_PROPERTY_PREFIX}{key}"), text(value))).collect();
        custom.extend(facts.start.name.iter().map(|name| (NAME_PROPERTY.to_owned(), text(name))));
        custom.extend(facts.params.iter().map(|(name, value)| (name.clone(), value.into())));
        for (name, value) in &custom {
            Owner::Execution.write_property(self.connection, execution, name, true, value)?;
        }
        Ok(())
    }

    fn write_writers(&self, run_id: &str, facts: &RunFacts) -> Outcome {
        for WriterFacts { info, rows } in &facts.writers {
            self.run(
                "INSERT INTO stepwell_writer (run_id, writer, host, boot_id, pid, pid_start, state, started, last_event,
                     version, rows, waits, drops, journal_folder)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
                params![
                    run_id,
                    info.writer.to_string(),
                    info.process.host,
                    info.process.boot_id,
                    info.process.pid,
                    clamp(info.process.pid_start),
                    info.state.as_str(),
                    info.started,
                    info.last_event,
                    info.version,
                    clamp(*rows),
                    clamp(info.waits),
                    clamp(info.drops),
                    info.journal_folder.as_deref().and_then(Path::to_str),
                ],
            )?;
        }
        for ((writer, ring), committed) in &facts.watermarks {
            self.run(
                "INSERT INTO stepwell_watermark VALUES (?1, ?2, ?3, ?4)",
                params![run_id, writer.to_string(), ring, clamp(*committed)],
            )?;
        }
        for gap in &facts.gaps {
            self.run(
                "INSERT INTO stepwell_gap VALUES (?1, ?2, 'event', ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    run_id,
                    gap.writer.to_string(),
                    clamp(gap.n),
                    gap.time,
                    gap.what.kind.as_str(),
                    gap.what.ring,
                    clamp(gap.what.records),
                    gap.what.detail,
                    gap.what.records_max.map(clamp),
                ],
            )?;
        }
        Ok(())
    }

    fn write_commits(&self, run_id: &str, facts: &RunFacts) -> Outcome {
        for commit in &facts.commits {
            let what = &commit.what;
            let identity = what.identity.to_string();
            let scope = format!("{run_id}/{}", what.metrics_name);
            self.run(
                "INSERT INTO stepwell_metrics_commit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    run_id,
                    commit.writer.to_string(),
                    clamp(commit.n),
                    commit.time,
                    self.ids.artifact(STEP_METRICS, &identity, &scope),
                    what.metrics_name,
                    what.version,
                    identity,
                    clamp(what.rows),
                    numbers(&what.segments),
                ],
            )?;
        }
        Ok(())
    }

    /// Of segments that others took the place of, those whose files are not known to be gone.
    fn write_replaced(&self, run_id: &str, facts: &RunFacts) -> Outcome {
        for ((writer, n), replaced) in facts.replaced.iter().filter(|(_, replaced)| !replaced.is_removed) {
            let Some(record) = &replaced.record else { continue };
            self.run(
                "INSERT INTO stepwell_replaced VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run_id, writer.to_string(), clamp(*n), replaced.time, record.file, clamp(record.bytes)],
            )?;
        }
        Ok(())
    }

    fn write_references(&self, run_id: &str, facts: &RunFacts, keys: &RunKeys) -> Outcome {
        let mut seen = BTreeSet::new();
        for reference in &facts.references {
            let artifact = self.ids.artifact(&reference.artifact_type, &reference.uri, &reference.scope);
            self.write_reference(run_id, artifact, reference)?;
            let direction = event_type(reference.direction);
            // References come in the order of time: the first use in each direction is ML Metadata's event.
            if seen.insert((artifact, direction)) {
                let event = self.ids.event(artifact, keys.execution_id, direction);
                self.insert(
                    "INSERT INTO Event (id, artifact_id, execution_id, type, milliseconds_since_epoch)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                    [event, artifact, keys.execution_id, direction, millis(reference.time)],
                )?;
                if reference.scope.is_empty() {
                    // The artifact keeps the name of its first use; the path of the event is the name in this one.
                    self.run(
                        "INSERT INTO EventPath (event_id, is_index_step, step_key) VALUES (?1, 0, ?2)",
                        params![event, reference.name],
                    )?;
                }
            }
        }
        Ok(())
    }

    fn write_reference(&self, run_id: &str, artifact: i64, reference: &Reference) -> Outcome {
        self.run(
            "INSERT INTO stepwell_reference (run_id, writer, n, time, artifact_id, artifact_type, uri, scope, direction, name,
                 location, bytes, version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                run_id,
                reference.writer,
                reference.n,
                reference.time,
                artifact,
                reference.artifact_type,
                reference.uri,
                reference.scope,
                event_type(reference.direction),
                reference.name,
                reference.location,
                reference.bytes,
                reference.version,
            ],
        )?;
        for (name, value) in &reference.properties {
            let (kind, value) = typed_columns(value);
            self.run(
                "INSERT INTO stepwell_reference_property VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run_id, reference.writer, reference.n, name, kind, value],
            )?;
        }
        Ok(())
    }
}
