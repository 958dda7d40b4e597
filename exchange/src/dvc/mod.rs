//! DVC: its pipelines as runs, its caches as a place to find files.

mod config;
mod stages;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use stepwell_engine::{
    ArtifactRecord, Direction, ExecutionRecord, FinishState, Imported, ImportedRun, ParamValue, RunId, Store,
};

pub(crate) use config::local_remotes;

use crate::error::{Error, Result};
use crate::import::{ImportReport, Note};
use stages::{Data, Stage};

/// Most files and folders that are looked at.
const ENTRIES_MAX: usize = 1_000_000;
const LOCK_FILE: &str = "dvc.lock";
const DVC_SUFFIX: &str = ".dvc";

/// How a DVC project is imported.
#[derive(Clone, Debug, Default)]
pub struct DvcOptions {
    /// Name of the pipeline; the folder's by default.
    pub pipeline: Option<String>,
}

/// Imports what DVC knows of the folder at `root`: each stage of each `dvc.lock` and each `.dvc` file becomes a run, with its
/// dependencies as inputs, its outputs, its parameters and its command. Hashes are those of the lock; no data is read. A stage whose
/// lock has not changed is imported once.
///
/// # Errors
/// [`Error::Yaml`] with file and line, [`Error::PathLeadsOut`], [`Error::Nothing`], [`Error::Engine`], [`Error::Io`]. All files are read
/// before the first run is made, so nothing is imported when one is wrong.
pub fn import_dvc(store: &Store, root: &Path, options: &DvcOptions) -> Result<ImportReport> {
    let root = root.canonicalize().map_err(Error::io("open the folder", root))?;
    let mut report = ImportReport::default();
    let mut stages = Vec::new();
    for file in files_of(&root)? {
        let name = relative(&root, &file);
        if name.ends_with(DVC_SUFFIX) {
            stages.push(stages::read_dvc_file(&file, &name)?);
        } else {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let (mut found, missing) = stages::read_lock(&file, folder)?;
            if !folder.is_empty() {
                found.iter_mut().for_each(|stage| stage.name = format!("{folder}/dvc.yaml:{}", stage.name));
            }
            stages.append(&mut found);
            report.notes.extend(missing.into_iter().map(|stage| Note::NotRun { stage }));
        }
    }
    if stages.is_empty() {
        return Err(Error::Nothing { path: root, why: "it has no dvc.lock with stages and no .dvc file" });
    }
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned());
    let pipeline = options.pipeline.clone().or(name).unwrap_or_else(|| "dvc".to_owned());
    let remote = config::default_remote(&root.join(DVC_SUFFIX));
    for stage in &stages {
        let run = run_of(stage, &pipeline, remote.as_deref())?;
        report.events += run.artifacts.len() as u64;
        match store.import_run(&run)? {
            Imported::New { .. } => report.new.push(run.run_id),
            Imported::AlreadyThere => report.known.push(run.run_id),
        }
    }
    let data = stages.iter().flat_map(|stage| stage.inputs.iter().chain(&stage.outputs));
    let artifacts: BTreeSet<(&str, &str)> = data.map(|data| (data.path.as_str(), data.hash.as_str())).collect();
    (report.pipelines, report.stages, report.artifacts) = (1, stages.len() as u64, artifacts.len() as u64);
    Ok(report)
}

/// Lock files and `.dvc` files below a folder, sorted. Hidden folders and links are left alone.
fn files_of(root: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders, mut entries) = (Vec::new(), vec![root.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let kind = entry.file_type().map_err(Error::io("look at", entry.path()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(Error::Nothing {
                    path: root.to_owned(),
                    why: "it has more than 1,000,000 files; name a smaller folder",
                });
            }
            if kind.is_dir() && !name.starts_with('.') {
                folders.push(entry.path());
            } else if kind.is_file()
                && (name == LOCK_FILE || name.len() > DVC_SUFFIX.len() && name.ends_with(DVC_SUFFIX))
            {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn run_of(stage: &Stage, pipeline: &str, remote: Option<&str>) -> Result<ImportedRun> {
    let changed = std::fs::metadata(&stage.file).and_then(|metadata| metadata.modified());
    let changed = changed.map_err(Error::io("look at", &stage.file))?;
    let nanos = changed.duration_since(UNIX_EPOCH).map_or(0, |age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
    let record = |data: &Data, direction| record_of(data, direction, pipeline, remote);
    let inputs = stage.inputs.iter().map(|data| record(data, Direction::Input));
    let outputs = stage.outputs.iter().map(|data| record(data, Direction::Output));
    let mut seen = BTreeSet::new();
    let artifacts: Vec<ArtifactRecord> = inputs
        .chain(outputs)
        .filter(|record| seen.insert((record.name.clone(), record.direction == Some(Direction::Input))))
        .collect();
    Ok(ImportedRun {
        run_id: run_id_of(stage, pipeline),
        pipeline: pipeline.to_owned(),
        stage: stage.name.clone(),
        name: None,
        params: stage.params.clone(),
        tags: BTreeMap::new(),
        command: stage.command.clone(),
        git_repo: None,
        git_commit: None,
        source: "dvc".to_owned(),
        started: nanos,
        ended: nanos,
        state: FinishState::Finished,
        execution: ExecutionRecord::default(),
        contexts: Vec::new(),
        artifacts,
        metrics: Vec::new(),
    })
}

/// A data set in CMF's form.
fn record_of(data: &Data, direction: Direction, pipeline: &str, remote: Option<&str>) -> ArtifactRecord {
    let mut declared = BTreeMap::from([("Commit".to_owned(), ParamValue::from(data.hash.as_str()))]);
    if let Some(remote) = remote
        && data.hash.len() > 2
        && data.hash.is_char_boundary(2)
    {
        let (folder, rest) = data.hash.split_at(2);
        declared.insert("url".to_owned(), format!("{pipeline}:{remote}/files/md5/{folder}/{rest}").into());
    }
    let files = data.files.map(|files| ("nfiles".to_owned(), ParamValue::Int(files)));
    ArtifactRecord {
        direction: Some(direction),
        artifact_type: "Dataset".to_owned(),
        name: format!("{}:{}", data.path, data.hash),
        uri: data.hash.clone(),
        declared,
        properties: files.into_iter().collect(),
        bytes: data.bytes,
        attributed: true,
        ..ArtifactRecord::default()
    }
}

/// The same lock gives the same run.
fn run_id_of(stage: &Stage, pipeline: &str) -> RunId {
    let text = format!("{:?}", (pipeline, &stage.name, &stage.command, &stage.inputs, &stage.outputs, &stage.params));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    let id = uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string();
    id.parse().unwrap_or_else(|_| RunId::generate())
}
