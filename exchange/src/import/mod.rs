//! An ML Metadata store of CMF becomes runs.

mod mapping;
pub(crate) mod record;
mod report;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use stepwell_engine::{ContentHash, Imported, RunId, Snapshot, Store};

pub use report::{ImportReport, Note};

use crate::cmf::{ArtifactName, DATASLICE, ENVIRONMENT, FileSource, Found, STEP_METRICS, View};
use crate::error::{Error, Result};
use crate::mlmd::MlmdStore;
use crate::objects;
use mapping::Mapper;
use record::{KeptFile, Record, fingerprint, record_of, runs_of};

/// How a store of CMF is imported.
#[derive(Clone, Debug, Default)]
pub struct CmfOptions {
    /// Folder that holds `cmf_artifacts`; that of the `mlmd` file by default.
    pub folder: Option<PathBuf>,
    /// Caches or remotes of DVC beside those that the folder's configuration names.
    pub caches: Vec<PathBuf>,
    /// Only this pipeline.
    pub pipeline: Option<String>,
}

/// Name of the file that CMF writes.
const DEFAULT_FILE: &str = "mlmd";

/// Imports the ML Metadata store at `path`, a file or the folder in which CMF made one: every execution becomes a run, with the id
/// in its `Execution_uuid`. A run that is there already is left alone, so importing twice changes nothing.
///
/// Metrics of all steps are read from the files beside the store, or from DVC's cache; those files, lists of packages and slices of
/// data sets are kept in the store. Data sets and models are not copied.
///
/// # Durability
/// Each run is on the device before the next is begun; an import that was cut off is finished by repeating it.
///
/// # Errors
/// [`Error::NoFile`], [`Error::NotMlmd`], [`Error::SchemaVersion`], [`Error::Damaged`], [`Error::Nothing`], [`Error::NoPipeline`],
/// [`Error::Engine`], [`Error::Io`].
pub fn import_cmf(store: &Store, path: &Path, options: &CmfOptions) -> Result<ImportReport> {
    let path = if path.is_dir() { path.join(DEFAULT_FILE) } else { path.to_owned() };
    let mirror = MlmdStore::read(&path)?;
    let view = View::new(&mirror);
    let chosen = chosen_executions(&view, options.pipeline.as_deref())?;
    if chosen.is_empty() {
        return Err(Error::Nothing { path, why: "it has no executions" });
    }
    let mut report = ImportReport { artifacts: mirror.artifacts.len() as u64, ..ImportReport::default() };
    report.events = mirror.events.len() as u64;
    report.notes.extend(MlmdStore::foreign_parts(&path)?.into_iter().map(|what| Note::Foreign { what }));
    let folder = options.folder.clone().unwrap_or_else(|| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        folder.unwrap_or(Path::new(".")).to_owned()
    });
    let source = FileSource::new(folder, &options.caches);
    let files = take_files(store, &view, &chosen, &source, &mut report)?;
    let kept = files.iter().map(|(artifact, file)| (*artifact, file.kept.clone())).collect();
    let (record, hash) = Record::keep(store.layout(), &mirror, kept)?;
    let runs = runs_of(&mirror);
    let known = Known::new(store, &store.snapshot()?);
    let mut mapper = Mapper::new(&view, &runs, &files, (&record, hash), &path);
    for row in mirror.executions.iter().filter(|row| chosen.contains(&row.id)) {
        let Some(run_id) = runs.get(&row.id).copied() else { continue };
        if known.has(run_id) {
            report.known.push(run_id);
            report
                .notes
                .extend(known.is_changed(run_id, &fingerprint(&view, row)).then_some(Note::Changed { run: run_id }));
            continue;
        }
        let run = mapper.run(row, run_id, &mut report.notes);
        match store.import_run(&run)? {
            Imported::New { records } => {
                report.new.push(run_id);
                report.records += records;
            }
            Imported::AlreadyThere => report.known.push(run_id),
        }
    }
    (report.pipelines, report.stages) = mapper.counts();
    dedup(&mut report.notes);
    Ok(report)
}

fn dedup(notes: &mut Vec<Note>) {
    let mut seen = BTreeSet::new();
    notes.retain(|note| seen.insert(note.to_string()));
}

fn chosen_executions(view: &View<'_>, pipeline: Option<&str>) -> Result<BTreeSet<i64>> {
    Ok(match pipeline {
        Some(name) => view.executions_of(view.pipeline(name)?).iter().map(|row| row.id).collect(),
        None => view.store.executions.iter().map(|row| row.id).collect(),
    })
}

/// A file that was taken.
pub(crate) struct TakenFile {
    pub kept: KeptFile,
    /// Its content, of metrics of all steps.
    pub found: Option<Found>,
}

/// Takes the files that CMF made itself, each once.
fn take_files(
    store: &Store,
    view: &View<'_>,
    chosen: &BTreeSet<i64>,
    source: &FileSource,
    report: &mut ImportReport,
) -> Result<BTreeMap<i64, TakenFile>> {
    let mut files = BTreeMap::new();
    let used: BTreeSet<i64> =
        view.store.events.iter().filter(|row| chosen.contains(&row.execution_id)).map(|row| row.artifact_id).collect();
    for row in view.store.artifacts.iter().filter(|row| used.contains(&row.id)) {
        let artifact_type = view.type_name(row.type_id);
        if ![STEP_METRICS, DATASLICE, ENVIRONMENT].contains(&artifact_type) {
            continue;
        }
        let (Some(name), Some(uri)) = (&row.name, &row.uri) else { continue };
        let path = ArtifactName::new(name, uri).path;
        match source.find(path, uri) {
            Ok(found) => {
                let content = objects::put(store.layout(), &found.bytes)?;
                let kept = KeptFile { path: path.to_owned(), content, bytes: found.bytes.len() as u64 };
                let found = (artifact_type == STEP_METRICS).then_some(found);
                files.insert(row.id, TakenFile { kept, found });
            }
            Err(why) => report.notes.push(Note::NoFile { path: path.to_owned(), why }),
        }
    }
    report.files = files.len() as u64;
    Ok(files)
}

/// What the store has of earlier imports.
struct Known<'s> {
    store: &'s Store,
    runs: BTreeMap<RunId, Option<ContentHash>>,
    /// What the records say of each of their runs, as far as they were looked at.
    said: RefCell<BTreeMap<ContentHash, BTreeMap<RunId, String>>>,
}

impl<'s> Known<'s> {
    fn new(store: &'s Store, snapshot: &Snapshot) -> Self {
        let runs = snapshot.runs().iter().map(|run| (run.run_id, record_of(run))).collect();
        Self { store, runs, said: RefCell::default() }
    }

    fn has(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Whether the source says something else of the run than when it was imported.
    fn is_changed(&self, run: RunId, now: &str) -> bool {
        let Some(Some(hash)) = self.runs.get(&run) else { return false };
        let mut said = self.said.borrow_mut();
        let said = said.entry(*hash).or_insert_with(|| self.said_by(*hash));
        said.get(&run).is_some_and(|before| before != now)
    }

    fn said_by(&self, hash: ContentHash) -> BTreeMap<RunId, String> {
        let Ok((_, mirror)) = Record::load(self.store.layout(), hash) else { return BTreeMap::new() };
        let (view, runs) = (View::new(&mirror), runs_of(&mirror));
        let rows = mirror.executions.iter().filter_map(|row| Some((*runs.get(&row.id)?, fingerprint(&view, row))));
        rows.collect()
    }
}
