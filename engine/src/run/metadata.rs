//! What a run says in ML Metadata's own terms: records, links, aliases, properties of its execution, pipeline and stage.

use std::path::Path;

use crate::catalog::{artifact_id, execution_id, pipeline_id, stage_id};
use crate::error::{Error, Result};
use crate::event_log::Durability;
use crate::events::{
    AliasEvent, ArtifactKey, ArtifactRecord, ContextRecord, Event, ExecutionRecord, LinkEvent, Origin, Properties,
};
use crate::names::{NameKind, check_name};
use crate::objects;
use crate::run::Run;

/// Longest text of a record in bytes: names in CMF are paths with hashes and ids.
const RECORD_TEXT_BYTES_MAX: usize = 4096;

/// Ids of a run's rows in ML Metadata's tables, as the catalog has them unless two of its ids met; see
/// [`Snapshot::runs`](crate::Snapshot::runs) for those it really has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataIds {
    /// `Execution.id`.
    pub execution: i64,
    /// `Context.id` of the pipeline.
    pub pipeline: i64,
    /// `Context.id` of the stage.
    pub stage: i64,
}

/// Whose properties are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextLevel {
    /// The run's pipeline.
    Pipeline,
    /// The run's stage.
    Stage,
}

impl Run {
    /// Ids of the run, its pipeline and its stage in ML Metadata's tables.
    pub fn metadata_ids(&self) -> MetadataIds {
        let started = self.core.started();
        MetadataIds {
            execution: execution_id(started.run_id),
            pipeline: pipeline_id(&started.pipeline),
            stage: stage_id(&started.pipeline, &started.stage),
        }
    }

    /// Links an artifact that is described in ML Metadata's own terms, and gives its id there. Nothing is read or copied.
    ///
    /// # Durability
    /// Survives the end of the process when it returns, and power loss after the next sync: a second by default, or [`Run::sync`].
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for an empty or overlong text and for control characters, [`Error::RunClosed`],
    /// [`Error::Io`].
    pub fn log_record(&self, record: ArtifactRecord) -> Result<i64> {
        self.core.check_open()?;
        check_record(&record)?;
        let id = artifact_id(&ArtifactKey::of(&record));
        self.core.append(Event::Record(Box::new(record)), Durability::Process)?;
        Ok(id)
    }

    /// As [`Run::log_record`]; the file `content`, if given, is copied to `objects/` before.
    ///
    /// # Errors
    /// As [`Run::log_record`]; [`Error::Io`] when the file cannot be read or stored.
    pub fn log_record_of(&self, mut record: ArtifactRecord, content: Option<&Path>) -> Result<i64> {
        self.core.check_open()?;
        check_record(&record)?;
        if let Some(path) = content {
            let taken = objects::take_in(self.core.layout(), path, &objects::TakeOptions::default())?;
            (record.content, record.bytes) = (Some(taken.hash), Some(taken.bytes));
        }
        self.log_record(record)
    }

    /// Says that one artifact came of another, without a run between that would say so. `relation` is a word such as `derived`.
    ///
    /// # Errors
    /// As [`Run::log_record`].
    pub fn link(&self, source: ArtifactKey, target: ArtifactKey, relation: &str) -> Result<()> {
        self.core.check_open()?;
        let texts = [&source.artifact_type, &source.uri, &target.artifact_type, &target.uri];
        texts.into_iter().try_for_each(|text| check_text("artifact", text))?;
        check_text("relation", relation)?;
        let event = LinkEvent { source, target, relation: relation.to_owned() };
        self.core.append(Event::Link(Box::new(event)), Durability::Process)
    }

    /// Gives a version of what is logged under `name` an alias, such as `best`, or takes the alias away (`None`). The alias leaves
    /// the version that had it before; of several runs that set it, the latest counts.
    ///
    /// # Errors
    /// As [`Run::log_record`].
    pub fn set_alias(&self, name: &str, alias: &str, artifact: Option<ArtifactKey>) -> Result<()> {
        self.core.check_open()?;
        check_name(NameKind::Artifact, name)?;
        check_name(NameKind::Tag, alias)?;
        let event = AliasEvent { alias: alias.to_owned(), name: name.to_owned(), artifact };
        self.core.append(Event::Alias(Box::new(event)), Durability::Process)
    }

    /// Sets declared properties of the run's execution in ML Metadata, such as CMF's `Git_End_Commit`, in place of Stepwell's.
    /// Custom properties are parameters: [`Run::set_params`].
    ///
    /// # Errors
    /// As [`Run::log_record`].
    pub fn set_execution_properties(&self, declared: Properties) -> Result<()> {
        self.core.check_open()?;
        check_properties(&declared)?;
        let record = ExecutionRecord { declared, ..ExecutionRecord::default() };
        self.core.append(Event::Execution(Box::new(record)), Durability::Process)
    }

    /// Sets custom properties of the run's pipeline or stage. They are shared by its runs: a later value replaces an earlier one.
    ///
    /// # Errors
    /// As [`Run::log_record`].
    pub fn set_context_properties(&self, level: ContextLevel, properties: Properties) -> Result<()> {
        self.core.check_open()?;
        check_properties(&properties)?;
        let started = self.core.started();
        let record = ContextRecord {
            pipeline: started.pipeline.clone(),
            stage: (level == ContextLevel::Stage).then(|| started.stage.clone()),
            properties,
            origin: Origin::default(),
        };
        self.core.append(Event::Context(Box::new(record)), Durability::Process)
    }

    /// Appends what [`RunOptions`](crate::RunOptions) says of execution and contexts, as far as it says anything.
    pub(crate) fn describe(&self, execution: ExecutionRecord, pipeline: Properties, stage: Properties) -> Result<()> {
        if execution != ExecutionRecord::default() {
            self.core.append(Event::Execution(Box::new(execution)), Durability::Process)?;
        }
        for (level, properties) in [(ContextLevel::Pipeline, pipeline), (ContextLevel::Stage, stage)] {
            if !properties.is_empty() {
                self.set_context_properties(level, properties)?;
            }
        }
        Ok(())
    }
}

impl ArtifactKey {
    /// What identifies the artifact of a record.
    pub fn of(record: &ArtifactRecord) -> Self {
        Self { artifact_type: record.artifact_type.clone(), uri: record.uri.clone(), scope: record.name.clone() }
    }
}

/// Checks the texts of a record.
///
/// # Errors
/// [`Error::InvalidSetting`].
pub(crate) fn check_record(record: &ArtifactRecord) -> Result<()> {
    check_text("artifact type", &record.artifact_type)?;
    check_text("artifact name", &record.name)?;
    check_text("uri", &record.uri)?;
    record.path.iter().try_for_each(|path| check_text("path", path))?;
    check_properties(&record.declared)?;
    check_properties(&record.properties)
}

/// Checks names of properties.
///
/// # Errors
/// [`Error::InvalidSetting`].
pub(crate) fn check_properties(properties: &Properties) -> Result<()> {
    properties.keys().try_for_each(|name| check_text("property name", name))
}

pub(crate) fn check_text(setting: &'static str, text: &str) -> Result<()> {
    let fault = if text.is_empty() {
        "it is empty"
    } else if text.len() > RECORD_TEXT_BYTES_MAX {
        "it is longer than 4096 bytes"
    } else if text.contains('\0') {
        "it holds a NUL character"
    } else {
        return Ok(());
    };
    let value = text.chars().take(60).collect();
    Err(Error::InvalidSetting { setting, value, fault: fault.to_owned() })
}
