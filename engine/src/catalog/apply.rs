//! Writes the facts of a run: removes every row the run had, then adds those it has now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::digest::{LogPosition, RunDigest, RunFacts, WriterFacts, clamp};
use super::ids::Ids;
use super::mlmd::{STEP_METRICS, typed_columns};
use super::references::{Reference, numbers};
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
    pub execution_types: BTreeSet<String>,
    /// Types and names of executions that have one.
    pub execution_names: BTreeSet<(String, String)>,
    /// Names of artifact types.
    pub artifact_types: BTreeSet<String>,
}

/// The run's row in ML Metadata's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunKeys {
    pub execution_id: i64,
    pub context_id: i64,
    pub pipeline: String,
    stage: String,
    pub context_name: String,
    started: i64,
    git_repo: Option<String>,
    pub execution_type: String,
    execution_name: Option<String>,
}

impl RunKeys {
    /// Type and name of the execution, if it claims one.
    fn named(&self) -> Option<(String, String)> {
        Some((self.execution_type.clone(), self.execution_name.clone()?))
    }
}

/// Tables with rows of one run each, apart from segments.
const RUN_TABLES: [&str; 15] = [
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
    "stepwell_context",
    "stepwell_context_property",
    "stepwell_link",
    "stepwell_alias",
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
        let old_contexts = self.contexts_of(&run_id)?;
        self.remove_rows(&run_id, old_keys.as_ref())?;
        self.write_logs(&run_id, digest)?;
        let new_keys = digest.facts.as_ref().map(|facts| self.keys_of(digest.run_id, facts));
        if let (Some(facts), Some(keys)) = (&digest.facts, &new_keys) {
            self.write_execution(&run_id, facts, keys)?;
            self.write_run(&run_id, facts, keys)?;
            self.write_writers(&run_id, facts)?;
            self.write_references(&run_id, facts, keys)?;
            self.write_contexts(&run_id, facts)?;
            self.write_links(&run_id, facts)?;
            self.write_commits(&run_id, facts)?;
            self.write_replaced(&run_id, facts)?;
        }
        self.write_segments(digest.run_id, digest.facts.as_ref())?;
        let new_references = self.references(&run_id)?;
        let new_contexts = self.contexts_of(&run_id)?;
        if old_contexts != new_contexts {
            self.touched.touch_contexts(old_contexts.into_iter().chain(new_contexts));
        }
        self.touch(old_keys, new_keys, &old_references, &new_references);
        Ok(())
    }

    /// Removes a run whose folder is gone.
    pub fn remove(&mut self, run_id: RunId) -> Outcome {
        let text = run_id.to_string();
        let old_keys = self.run_keys(&text)?;
        let old_references = self.references(&text)?;
        let old_contexts = self.contexts_of(&text)?;
        self.touched.touch_contexts(old_contexts);
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
        // The execution's row is new even where nothing changed, and has no name yet.
        let named = old.iter().chain(&new).filter_map(RunKeys::named);
        self.touched.execution_names.extend(named);
        if same_run {
            return;
        }
        for keys in [old, new].into_iter().flatten() {
            self.touched.pipelines.insert(keys.pipeline);
            self.touched.contexts.insert(keys.context_name);
            self.touched.execution_types.insert(keys.execution_type);
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
            execution_type: facts.execution.execution_type.clone().unwrap_or_else(|| facts.start.stage.clone()),
            execution_name: facts.execution.name.clone(),
        }
    }

    fn run_keys(&self, run_id: &str) -> rusqlite::Result<Option<RunKeys>> {
        self.connection
            .prepare_cached(
                "SELECT execution_id, context_id, pipeline, stage, context_name, started, git_repo, execution_type,
                     execution_name
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
                    execution_type: row.get(7)?,
                    execution_name: row.get(8)?,
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
                 ended, last_event, git_repo, execution_type, source_id, command, git_commit, git_branch, execution_name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
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
                keys.execution_type,
                facts.execution.origin.source_id,
                facts.start.command,
                facts.start.git_commit,
                facts.start.git_branch,
                facts.execution.name,
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
}
