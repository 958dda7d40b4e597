//! A store becomes an ML Metadata store that CMF reads.

mod merge;
mod native;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use stepwell_engine::catalog::Catalog;
use stepwell_engine::layout::Layout;
use stepwell_engine::{Access, ContentHash, RunId, Snapshot, Store};

use crate::cmf::files_are_plain;
use crate::error::{Error, Result};
use crate::import::record::{Record, record_of, runs_of};
use crate::mlmd::MlmdStore;
use crate::objects;
use merge::{Merger, Numbering};

/// What an export wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// The ML Metadata file.
    pub path: PathBuf,
    /// Executions in it.
    pub executions: u64,
    /// Artifacts in it.
    pub artifacts: u64,
    /// Files written beside it, relative to its folder.
    pub files: Vec<String>,
    /// What a user should know, in words.
    pub notes: Vec<String>,
}

/// A store in ML Metadata's terms, with the files that belong beside it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Assembled {
    pub mlmd: MlmdStore,
    /// Content by path below the folder of the `mlmd` file.
    pub files: BTreeMap<String, FileContent>,
    pub notes: Vec<String>,
}

/// Where the content of a file comes from.
#[derive(Clone, Debug)]
pub(crate) enum FileContent {
    Bytes(Vec<u8>),
    Object(ContentHash),
}

/// The store in ML Metadata's terms, as [`export_cmf`] writes it, but for the metrics of all steps: those keep the identity that they
/// have in the store in the place of the MD5 of a file.
///
/// # Errors
/// As [`export_cmf`].
pub fn mirror_of(store: &Store) -> Result<MlmdStore> {
    Ok(assemble(store, false)?.mlmd)
}

/// Writes the store as an ML Metadata file that CMF and its tools open, with `cmf_artifacts/` beside it: files of step metrics, and
/// what was kept of imported files. What was imported is as it was, ids included, as far as ids of several sources do not collide; what
/// Stepwell logged follows by CMF's rules. Live rows of runs that go on are in it.
///
/// # Errors
/// [`Error::Exists`] when `path` or another content of one of the files is there; [`Error::Unsafe`] when a folder on the way is a link;
/// [`Error::Engine`], [`Error::Io`], [`Error::Write`]. The `mlmd` file comes last, so without it an export is not whole.
pub fn export_cmf(store: &Store, path: &Path) -> Result<ExportReport> {
    if path.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let Assembled { mlmd, files, mut notes } = assemble(store, true)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let mut written = Vec::new();
    for (name, content) in files {
        if !files_are_plain(&name) {
            notes.push(format!("{name:?} leads out of the folder, and was not written"));
            continue;
        }
        let bytes = match content {
            FileContent::Bytes(bytes) => bytes,
            FileContent::Object(hash) => match objects::get(store.layout(), hash) {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => {
                    notes.push(format!("the content of {name:?} is not in the store"));
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        write_file(folder, &name, &bytes)?;
        written.push(name);
    }
    mlmd.write(path)?;
    Ok(ExportReport {
        path: path.to_owned(),
        executions: mlmd.executions.len() as u64,
        artifacts: mlmd.artifacts.len() as u64,
        files: written,
        notes,
    })
}

/// Writes a file below `folder`, through no link. One that is there already has to have this content.
fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let mut place = folder.to_owned();
    let parts: Vec<&str> = name.split('/').collect();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        place.push(part);
        match std::fs::create_dir(&place) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(Error::io("make the folder", &place))?,
        }
        let metadata = place.symlink_metadata().map_err(Error::io("look at", &place))?;
        if !metadata.is_dir() {
            return Err(Error::Unsafe { path: place, fault: "it is not a folder of its own; move it away" });
        }
    }
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(mut file) => file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", &path)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
            if is_file && std::fs::read(&path).is_ok_and(|known| known == bytes) {
                Ok(())
            } else {
                Err(Error::Exists { path })
            }
        }
        Err(error) => Err(Error::io("write", &path)(error)),
    }
}

/// Puts the store together: the mirrors of what was imported, then what Stepwell logged.
pub(crate) fn assemble(store: &Store, with_metrics: bool) -> Result<Assembled> {
    let snapshot = store.snapshot()?;
    let catalog = catalog_of(store)?;
    let mut merger = Merger::new();
    let mut assembled = Assembled::default();
    let mut imported: BTreeSet<RunId> = BTreeSet::new();
    for source in sources(store.layout(), &snapshot, &mut assembled.notes) {
        imported.extend(source.executions.values());
        let part = restricted(&source.mirror, &source.executions.keys().copied().collect());
        let ids = merger.add(&part, Numbering::Keep, false);
        for (artifact, file) in source.record.files {
            if ids.artifacts.contains_key(&artifact) {
                assembled.files.insert(file.path, FileContent::Object(file.content));
            }
        }
    }
    native::add(&mut merger, &catalog, &snapshot, &imported, with_metrics, &mut assembled)?;
    assembled.notes.append(&mut merger.notes);
    assembled.mlmd = merger.whole;
    assembled.mlmd.settle_sequences();
    Ok(assembled)
}

/// An import, and the runs of it that the store has.
struct Source {
    record: Record,
    mirror: MlmdStore,
    /// Execution of the mirror, and its run.
    executions: BTreeMap<i64, RunId>,
}

/// Imports in the order of time, so that an export gives the same ids again.
fn sources(layout: &Layout, snapshot: &Snapshot, notes: &mut Vec<String>) -> Vec<Source> {
    let mut by_record: BTreeMap<ContentHash, BTreeSet<RunId>> = BTreeMap::new();
    for run in snapshot.runs() {
        if let Some(hash) = record_of(run) {
            by_record.entry(hash).or_default().insert(run.run_id);
            if run.writers.len() > 1 {
                notes.push(format!(
                    "what was added to the imported run {} is not exported: it is as it was",
                    run.run_id
                ));
            }
        }
    }
    let mut sources = Vec::new();
    for (hash, runs) in by_record {
        match Record::load(layout, hash) {
            Ok((record, mirror)) => {
                let executions = runs_of(&mirror).into_iter().filter(|(_, run)| runs.contains(run)).collect();
                sources.push((
                    mirror.contexts.iter().map(|row| row.created_millis).min(),
                    hash,
                    Source { record, mirror, executions },
                ));
            }
            Err(error) => notes.push(format!(
                "the record of the import of {} runs cannot be read; they are exported as the catalog has them: {}",
                runs.len(),
                stepwell_engine::with_causes(&error)
            )),
        }
    }
    sources.sort_by_key(|(created, hash, _)| (*created, *hash));
    sources.into_iter().map(|(_, _, source)| source).collect()
}

/// The mirror without executions that the store does not have, and what only belongs to those.
fn restricted(mirror: &MlmdStore, kept: &BTreeSet<i64>) -> MlmdStore {
    if mirror.executions.iter().all(|row| kept.contains(&row.id)) {
        return mirror.clone();
    }
    let mut part = mirror.clone();
    part.executions.retain(|row| kept.contains(&row.id));
    part.events.retain(|row| kept.contains(&row.execution_id));
    part.associations.retain(|row| kept.contains(&row.member_id));
    let used: BTreeSet<i64> = part.events.iter().map(|row| row.artifact_id).collect();
    let had: BTreeSet<i64> = mirror.events.iter().map(|row| row.artifact_id).collect();
    part.artifacts.retain(|row| used.contains(&row.id) || !had.contains(&row.id));
    let used: BTreeSet<i64> = part.associations.iter().map(|row| row.context_id).collect();
    let had: BTreeSet<i64> = mirror.associations.iter().map(|row| row.context_id).collect();
    part.contexts.retain(|row| used.contains(&row.id) || !had.contains(&row.id));
    part
}

/// The catalog's rows. Of a store that may not be written to, a catalog is made in a temporary folder: its own may be behind.
fn catalog_of(store: &Store) -> Result<MlmdStore> {
    let path = store.layout().catalog();
    let read = |path: &Path| {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let not_read = |error: rusqlite::Error| Error::NotMlmd { path: path.to_owned(), fault: error.to_string() };
        let connection = Connection::open_with_flags(path, flags).map_err(not_read)?;
        connection.execute_batch("BEGIN").map_err(not_read)?;
        MlmdStore::read_from(&connection, path)
    };
    if store.access() != Access::Read && path.exists() {
        return read(&path);
    }
    let folder = tempfile::tempdir().map_err(Error::io("make a folder for the catalog of", store.layout().root()))?;
    let place = Layout::new(folder.path());
    let runs = store.layout().runs();
    link(&runs, &place.runs()).map_err(Error::io("look into", &runs))?;
    let mut catalog = Catalog::open(&place)?;
    catalog.refresh(&place)?;
    read(&place.catalog())
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(from, to)
}
