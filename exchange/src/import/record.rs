//! The record of an import: what was imported, row for row, kept in the store beside the runs made of it.
//!
//! The store's own model has no place for some of what ML Metadata can hold: other event types, paths of several steps, bytes, types
//! without rows. So that nothing is lost, the mirror of the source is kept whole as an object; runs name it in a tag, and an export
//! starts from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stepwell_engine::layout::Layout;
use stepwell_engine::{ArtifactRecord, ContentHash, ParamValue, RunId, RunInfo};

use crate::cmf::View;
use crate::error::{Error, Result};
use crate::mlmd::{ExecutionRow, MlmdStore, declared_text};
use crate::objects;

/// Tag of an imported run: `cmf:<BLAKE3 of the record>`.
pub(crate) const TAG: &str = "stepwell.import";
/// Type of the artifacts that keep the parts of a record.
pub(crate) const RECORD_TYPE: &str = "Stepwell_Import";
const TAG_PREFIX: &str = "cmf:";
const FORMAT: u32 = 1;

/// What an import took in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    /// The mirror of the source, as an ML Metadata file.
    pub mlmd: ContentHash,
    /// Files that were kept, by the id of their artifact.
    pub files: BTreeMap<i64, KeptFile>,
}

/// A file whose content is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptFile {
    /// Path below the folder of the source.
    pub path: String,
    /// Its content.
    pub content: ContentHash,
    /// Its size.
    pub bytes: u64,
}

impl Record {
    /// Keeps the mirror, and gives the record and its hash.
    pub fn keep(layout: &Layout, mirror: &MlmdStore, files: BTreeMap<i64, KeptFile>) -> Result<(Self, ContentHash)> {
        let folder = tempfile::tempdir().map_err(Error::io("make a folder for", layout.root()))?;
        let path = folder.path().join("mlmd");
        mirror.write(&path)?;
        let mlmd = objects::put(layout, &std::fs::read(&path).map_err(Error::io("read", &path))?)?;
        let record = Self { format: FORMAT, mlmd, files };
        let text = serde_json::to_vec(&record).unwrap_or_default();
        let hash = objects::put(layout, &text)?;
        Ok((record, hash))
    }

    /// Reads the record of this hash with its mirror.
    pub fn load(layout: &Layout, hash: ContentHash) -> Result<(Self, MlmdStore)> {
        let path = layout.object(hash);
        let record: Self = serde_json::from_slice(&objects::get(layout, hash)?)
            .map_err(|error| Error::Damaged { path: path.clone(), fault: error.to_string() })?;
        if record.format > FORMAT {
            let (found, supported) = (record.format, FORMAT);
            return Err(stepwell_engine::Error::NewerFormat { path, found, supported }.into());
        }
        objects::get(layout, record.mlmd)?;
        let mirror = MlmdStore::read(&layout.object(record.mlmd))?;
        Ok((record, mirror))
    }

    /// Artifacts without events that keep the objects of the record: the mirror and the record itself.
    pub fn keepers(&self, hash: ContentHash) -> Vec<ArtifactRecord> {
        let keeper = |what: &str, content: ContentHash| ArtifactRecord {
            artifact_type: RECORD_TYPE.to_owned(),
            name: format!("{what}:{content}"),
            uri: content.to_string(),
            properties: BTreeMap::from([("part".to_owned(), ParamValue::from(what))]),
            content: Some(content),
            ..ArtifactRecord::default()
        };
        vec![keeper("record", hash), keeper("mlmd", self.mlmd)]
    }
}

/// The value of [`TAG`] for a record.
pub(crate) fn tag_of(hash: ContentHash) -> String {
    format!("{TAG_PREFIX}{hash}")
}

/// The record that a run was imported by.
pub(crate) fn record_of(run: &RunInfo) -> Option<ContentHash> {
    run.tags.get(TAG)?.strip_prefix(TAG_PREFIX)?.parse().ok()
}

/// The run of each execution of a store: the first id in `Execution_uuid` where that is a UUID nobody else has, else one made from
/// what the execution is. The same store gives the same runs.
pub(crate) fn runs_of(store: &MlmdStore) -> BTreeMap<i64, RunId> {
    let mut taken: BTreeMap<RunId, i64> = BTreeMap::new();
    for row in &store.executions {
        let first = declared_text(&row.properties, "Execution_uuid").split(',').next().unwrap_or_default();
        let run = first.parse::<RunId>().ok().filter(|run| run.to_string() == first && !taken.contains_key(run));
        taken.insert(run.unwrap_or_else(|| made_up(store, row)), row.id);
    }
    taken.into_iter().map(|(run, execution)| (execution, run)).collect()
}

fn made_up(store: &MlmdStore, row: &ExecutionRow) -> RunId {
    let uuid = declared_text(&row.properties, "Execution_uuid");
    let text = format!("{:?}", (row.id, store.type_name(row.type_id), &row.name, row.created_millis, uuid));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    let text = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
    text.parse().unwrap_or_else(|_| RunId::generate())
}

/// Everything a store says of an execution, as text: to see whether two stores say the same.
pub(crate) fn fingerprint(view: &View<'_>, row: &ExecutionRow) -> String {
    format!("{:?}", (row, view.events_of(row.id), view.contexts_of(row.id)))
}
