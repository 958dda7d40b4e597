//! A store: the folder of all runs.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::catalog::{Catalog, ReindexReport, WAL_BYTES_LEFT, WAL_BYTES_MAX};
use crate::claim::Claim;
use crate::clock::wall_nanos;
use crate::compaction::{self, Age, CompactOptions, CompactReport, Pin};
use crate::config::EngineConfig;
use crate::doctor;
use crate::error::{Error, Result, with_causes};
use crate::event_log::{read_log, writers_of};
use crate::events::{EVENT_FORMAT_FIRST, WriterStarted};
use crate::fail_point;
use crate::fork::ProcessMark;
use crate::git;
use crate::host::{Life, WriterPlace, current_process, life_of};
use crate::ids::{RunId, WriterId, random_u64};
use crate::index;
use crate::layout::{Layout, TEMP_PREFIX};
use crate::manifest::Manifest;
use crate::names::{NameKind, check_name};
use crate::objects;
use crate::packs::{self, Candidates};
use crate::recovery::{RecoveryReport, artifact_of, journals_of, recover_dead, recover_writer};
use crate::run::{MetricsArtifact, Run, RunOptions};
use crate::scratch;
use crate::signals::let_writes_fail;
use crate::snapshot::{RunInfo, Snapshot};
use crate::storage::{Disk, FileSystem, list, sync_folder};
use crate::verify::VerifyReport;
use crate::writer::{WriterCore, WriterSetup};

/// Version of the store's layout written by this build, and the newest it opens.
pub const STORE_FORMAT: u32 = 1;

/// How long a commit waits for a catalog that another process is writing to.
const INDEX_PATIENCE: Duration = Duration::from_millis(500);

/// Bytes of replaced segments whose files are removed, and whose successors are read before, when a store is opened.
const REMOVAL_BYTES_AT_OPEN: u64 = 64 << 20;

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For logging: the folder is created when it is missing, dead writers' journals are recovered.
    Create,
    /// Like `Create`, but a missing store is an error.
    Write,
    /// Nothing is written: no recovery, and what the catalog file lacks is indexed in memory.
    Read,
}

/// A store: the folder of all runs. Clones share it; it can be used from any thread.
///
/// ```
/// use stepwell_engine::{RunOptions, Store};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("store");
/// let store = Store::open(&path)?;
/// let run = store.start_run(RunOptions::new("digits", "train").param("lr", 0.1))?;
/// let loss = run.metric("training_metrics", "loss")?;
/// let mut log = run.logger()?;
/// for step in 0..100 {
///     log.log(loss, step, 1.0 / (step + 1) as f64)?;
/// }
/// let report = run.finish()?;
/// assert_eq!((report.rows, report.drops), (100, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    layout: Layout,
    access: Access,
    config: EngineConfig,
    catalog: Arc<Mutex<Catalog>>,
    recovery: RecoveryReport,
    /// What the store lay on when it was opened: a mount that went away since looks like a local folder.
    file_system: FileSystem,
    /// The process that opened it.
    process: ProcessMark,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.process.is_foreign() {
            // A thread of the parent may have been at work in it, in memory that the parent shares.
            std::mem::forget(Arc::clone(&self.catalog));
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.layout.root()).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store at `path` for logging ([`Access::Create`]), with the settings of the environment.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Access::Create, EngineConfig::from_env()?)
    }

    /// Opens a store. Unless it is opened for reading, the journals of dead writers become segments first;
    /// [`Store::recovery`] tells what was found. SIGXFSZ no longer ends the program then, see [`Run`].
    ///
    /// # Errors
    /// [`Error::NoStore`], [`Error::StoreIsAFile`], [`Error::ReadOnlyStore`], [`Error::NewerFormat`],
    /// [`Error::Catalog`], [`Error::Io`].
    pub fn open_with(path: impl AsRef<Path>, access: Access, config: EngineConfig) -> Result<Self> {
        config.check()?;
        let layout = Layout::new(absolute(path.as_ref())?);
        (access != Access::Read).then(let_writes_fail);
        prepare_folder(&layout, access)?;
        let file_system = layout.file_system();
        let mut catalog = index::open(&layout, access)?;
        let mut recovery = RecoveryReport::default();
        if access != Access::Read {
            let recover = |catalog: &mut Catalog| recover_dead(&layout, &config, &catalog.snapshot(&layout)?);
            recovery = index::with(&mut catalog, &layout, access, recover)?;
            objects::remove_abandoned(&layout);
            let removed =
                index::with(&mut catalog, &layout, access, |catalog| remove_replaced(&layout, catalog, &config))?;
            if !recovery.writers.is_empty() || removed {
                index::with(&mut catalog, &layout, access, |catalog| catalog.refresh(&layout))?;
            }
        }
        let catalog = Arc::new(Mutex::new(catalog));
        let process = ProcessMark::own();
        Ok(Self { inner: Arc::new(Inner { layout, access, config, catalog, recovery, file_system, process }) })
    }

    /// Where its files lie.
    pub fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// Name of the file system it lies on, such as `ext4`, `nfs` or `fuse`; `unknown` for one that has no name here.
    pub fn file_system(&self) -> &'static str {
        self.inner.file_system.name
    }

    /// How it was opened.
    pub fn access(&self) -> Access {
        self.inner.access
    }

    /// What opening it recovered from dead writers.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.inner.recovery
    }

    /// Starts a run, or attaches this process to one as another writer. The catalog is not touched: the run is in SQL at
    /// once all the same, from its event log.
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidSetting`] when the run exists in another pipeline or stage,
    /// [`Error::ReadOnlyStore`], [`Error::NetworkFileSystem`], [`Error::Io`].
    pub fn start_run(&self, options: RunOptions) -> Result<Run> {
        self.check_writable()?;
        check_options(&options)?;
        let described =
            (options.execution.clone(), options.pipeline_properties.clone(), options.stage_properties.clone());
        let layout = &self.inner.layout;
        let run_id = options.run_id.unwrap_or_else(RunId::generate);
        let folder = layout.run(run_id);
        std::fs::create_dir_all(&folder).map_err(Error::io("create the run folder", &folder))?;
        let existing = existing_writers(layout, run_id)?;
        if let Some(first) = existing.first()
            && (&first.pipeline, &first.stage) != (&options.pipeline, &options.stage)
        {
            return Err(Error::InvalidSetting {
                setting: "run_id",
                value: run_id.to_string(),
                fault: format!("this run belongs to stage {:?} of pipeline {:?}", first.stage, first.pipeline),
            });
        }
        let mut config = self.inner.config.clone();
        let file_system = &self.inner.file_system;
        if file_system.is_remote {
            config.segment_age = config.segment_age.min(scratch::REMOTE_SEGMENT_AGE_MAX);
        }
        // Held until the writer's event log is there.
        let claim = Claim::next(layout, run_id, options.rank)?;
        let git = git::head_of_current_folder();
        let writer = WriterId::generate(options.rank, claim.attempt);
        let journals = scratch::choose(&config, layout, file_system, (run_id, writer))?;
        if let Some(folder) = &journals {
            scratch::announce(layout, file_system, folder, config.segment_age);
        }
        let started = WriterStarted {
            format: EVENT_FORMAT_FIRST,
            run_id,
            writer,
            pipeline: options.pipeline,
            stage: options.stage,
            name: options.name.or_else(|| existing.iter().find_map(|started| started.name.clone())),
            started: existing.iter().map(|started| started.started).min().unwrap_or_else(wall_nanos),
            process: current_process(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: options.command.unwrap_or_else(|| std::env::args().collect::<Vec<_>>().join(" ")),
            git_repo: git.as_ref().and_then(|head| head.remote.clone()),
            git_commit: git.as_ref().map(|head| head.commit.clone()),
            git_branch: git.and_then(|head| head.branch),
            journals,
        };
        let core =
            WriterCore::start(WriterSetup { layout: layout.clone(), config, started, when_full: options.when_full })?;
        drop(claim);
        let run = Run::new(core, self.clone());
        run.set_params(options.params)?;
        run.set_tags(options.tags)?;
        let (execution, pipeline, stage) = described;
        run.describe(execution, pipeline, stage)?;
        Ok(run)
    }

    /// Indexes what a run of this process just committed. A catalog that is busy or cannot be written is no failure of the
    /// commit: the event log is the truth, and whoever opens the store next indexes it.
    pub(crate) fn index_commit(&self, run: RunId) {
        fail_point::reach("catalog.begin");
        if !self.inner.process.is_foreign()
            && let Ok(mut catalog) = self.inner.catalog.try_lock()
        {
            let _ = catalog.refresh_run_within(&self.inner.layout, run, INDEX_PATIENCE);
            catalog.shorten_log(WAL_BYTES_MAX);
        }
        fail_point::reach("catalog.end");
    }

    /// Packs small segments of ended runs where there are many, see [`crate::packs`]. What failed is said.
    pub(crate) fn pack_if_due(&self) -> Option<String> {
        let Inner { layout, config, process, .. } = &*self.inner;
        if self.is_remote() || config.compact_at_finish_rows_max == 0 || process.is_foreign() {
            return None;
        }
        // The catalog is not held up for it. One that is busy is looked at by the next run.
        let catalog = self.inner.catalog.try_lock().ok()?;
        if !packs::looks_at(catalog.count_runs().ok()?) {
            return None;
        }
        let snapshot = catalog.snapshot(layout).ok()?;
        drop(catalog);
        packs::pack_at_finish(layout, &snapshot)
    }

    /// The catalog; in a forked child one of its own, because a thread of the parent may have been at work in this one.
    fn with_catalog<T>(&self, work: impl FnOnce(&mut Catalog) -> Result<T>) -> Result<T> {
        if self.inner.process.is_foreign() {
            return work(&mut index::open(&self.inner.layout, self.inner.access)?);
        }
        work(&mut self.inner.catalog.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it lies on a network or FUSE file system.
    pub(crate) fn is_remote(&self) -> bool {
        self.inner.file_system.is_remote
    }

    /// Brings the catalog up to date and gives the path of its SQLite file, for programs that read it: ML Metadata's library, CMF's
    /// queries, any SQLite client. It is in WAL mode; open it for reading only.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] where the catalog is kept in memory, because the store is on a network file system;
    /// [`Error::Catalog`], [`Error::Damaged`], [`Error::Io`].
    pub fn catalog_file(&self) -> Result<PathBuf> {
        drop(self.snapshot()?);
        let path = self.inner.layout.catalog();
        if self.is_remote() || !path.exists() {
            return Err(Error::InvalidSetting {
                setting: "store",
                value: self.inner.layout.root().display().to_string(),
                fault: "its catalog is kept in memory, because its file system must not be mapped or cannot be written"
                    .to_owned(),
            });
        }
        Ok(path)
    }

    /// Gives back the room of the catalog's write-ahead log, which is up to 16 MiB, when it is longer than 256 KiB and no other process
    /// reads it. Dropping the last clone of a store does so by itself; this is for the end of a process that keeps one.
    ///
    /// # Cost
    /// Two syncs of the catalog, about ten milliseconds on a disk; nothing when there is nothing to do.
    pub fn shorten_catalog_log(&self) {
        if !self.inner.process.is_foreign()
            && let Ok(catalog) = self.inner.catalog.try_lock()
        {
            catalog.shorten_log(WAL_BYTES_LEFT);
        }
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.inner.access == Access::Read {
            return Err(Error::ReadOnlyStore { path: self.inner.layout.root().to_owned() });
        }
        Ok(())
    }

    /// What the store holds at this moment.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Io`], [`Error::NewerFormat`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let Inner { layout, access, .. } = &*self.inner;
        let read = || {
            let pin = Pin::begin(layout);
            let catalog = self.with_catalog(|catalog| {
                catalog.refresh(layout)?;
                catalog.snapshot(layout)
            })?;
            Snapshot::read(layout, catalog, pin)
        };
        match read() {
            Err(error) if index::is_damaged(layout, &error) => {
                self.with_catalog(|catalog| {
                    *catalog = index::open_anew(layout, *access, &error)?;
                    Ok(())
                })?;
                read()
            }
            other => other,
        }
    }

    /// The run that `text` names: a run id, the beginning of one that fits a single run, or the name of a single run.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::AmbiguousRun`].
    pub fn find_run(&self, text: &str) -> Result<RunId> {
        let snapshot = self.snapshot()?;
        let fits = |run: &&RunInfo| run.run_id.to_string().starts_with(text) || run.name.as_deref() == Some(text);
        let found: Vec<_> = snapshot.runs().iter().filter(fits).collect();
        match found.as_slice() {
            [run] => Ok(run.run_id),
            _ if text.is_empty() || found.is_empty() => {
                Err(Error::NotFound { what: "run", name: text.to_owned(), hint: "`stepwell runs` lists them" })
            }
            _ => Err(Error::AmbiguousRun { prefix: text.to_owned(), count: found.len() }),
        }
    }

    /// Commits what dead writers of a run left: their journals become segments, and each metrics name a metrics artifact.
    /// Returns the last artifact of `metrics_name`, or of every metrics name, one per writer.
    ///
    /// # Errors
    /// [`Error::RunStillWritten`] when a writer is alive: only that process can commit. [`Error::NotFound`].
    pub fn commit(&self, run: RunId, metrics_name: Option<&str>) -> Result<Vec<MetricsArtifact>> {
        self.check_writable()?;
        let layout = &self.inner.layout;
        let mut artifacts = Vec::new();
        for writer in writers_of(layout, run)? {
            let path = layout.events(run, writer);
            let mut manifest = Manifest::of(&read_log(layout, &path)?, &path)?;
            let life = life_of(layout, &WriterPlace::of(&manifest.started))?;
            // The journals in scratch of one that was recovered are gone, which alone says nothing.
            if manifest.finished.is_none() && !manifest.recovered && life != Life::Dead {
                let process = manifest.started.process;
                return Err(Error::RunStillWritten { run, pid: process.pid, host: process.host });
            }
            if life == Life::Dead && !journals_of(layout, &manifest.started)?.is_empty() {
                recover_writer(layout, &self.inner.config, run, writer)?;
                manifest = Manifest::of(&read_log(layout, &path)?, &path)?;
            }
            let names: BTreeSet<_> = manifest.commits.keys().map(String::as_str).collect();
            let wanted = names.into_iter().filter(|name| metrics_name.is_none_or(|wanted| wanted == *name));
            artifacts.extend(wanted.filter_map(|name| artifact_of(&manifest, name)));
        }
        if artifacts.is_empty() {
            return Err(Error::NotFound {
                what: "metrics artifact",
                name: metrics_name.unwrap_or("of any name").to_owned(),
                hint: "the run logged nothing under it",
            });
        }
        self.with_catalog(|catalog| {
            index::with(catalog, layout, self.inner.access, |catalog| catalog.refresh(layout))
        })?;
        Ok(artifacts)
    }

    /// Reads every segment and object and compares its BLAKE3 with the registered one, and computes the identity of
    /// every metrics artifact anew; compares the catalog with what the event logs say. `progress` is told how many of how many files are done.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be listed; what is damaged is in the report.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
        doctor::verify(&self.inner.layout, progress)
    }

    /// Merges the many small segments of ended writers into few, with the same rows, and removes the files that an earlier
    /// compaction replaced once their grace period has passed ([`EngineConfig::replaced_grace`]). What is damaged is left as it
    /// is and told in the report; the rest goes on. Then small segments of ended runs are packed, unless `options` name runs, see
    /// [`crate::packs`]. `progress` is told how many of how many bytes are done.
    ///
    /// Runs that are being written are left alone, and readers are not held up: see [`Snapshot`] for how long they may read what
    /// they began to.
    ///
    /// # Durability
    /// A crash at any moment leaves each row in exactly one segment that counts.
    ///
    /// # Cost
    /// Reads each segment that is merged three times, and the new ones once. About 150 bytes of memory for each row of one new
    /// segment, and one open file.
    ///
    /// # Errors
    /// [`Error::ReadOnlyStore`], [`Error::StoreInUse`], [`Error::Catalog`], [`Error::Io`].
    pub fn compact(&self, options: &CompactOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<CompactReport> {
        self.check_writable()?;
        let Inner { layout, access, config, .. } = &*self.inner;
        if options.remove_now
            && !options.dry_run
            && let Some(pid) = compaction::open_elsewhere(layout)
        {
            return Err(Error::StoreInUse { path: layout.root().to_owned(), pid });
        }
        let refresh = |catalog: &mut Catalog| {
            catalog.refresh(layout)?;
            catalog.snapshot(layout)
        };
        let refreshed = || match self.with_catalog(|catalog| index::with(catalog, layout, *access, refresh)) {
            // On a full disk, removing files is what makes room: what the catalog cannot take up is indexed in memory.
            Err(error) if error.is_disk_full() => refresh(&mut Catalog::open_in_memory()?),
            other => other,
        };
        let mut report = compaction::compact_due(layout, &refreshed()?, options, progress)?;
        let catalog = refreshed()?;
        fail_point::reach("compact.catalog");
        if !options.dry_run {
            let age = if options.remove_now { Age::Any } else { Age::Grace(config.replaced_grace) };
            compaction::remove_due(layout, &catalog, &options.runs, age, u64::MAX, &mut report)?;
        }
        drop(catalog);
        let catalog = refreshed()?;
        if options.runs.is_empty() {
            let candidates = Candidates::of(&catalog, options)?;
            if let Err(error) = packs::build(layout, &candidates, options, &mut report) {
                report.not_packed = Some(with_causes(&error));
            }
        }
        Ok(report)
    }

    /// Builds the catalog anew from the event logs. A store on a network or FUSE file system has no catalog file: each
    /// process keeps the catalog in memory, and the report says so.
    ///
    /// # Errors
    /// [`Error::ReadOnlyStore`], [`Error::Catalog`], [`Error::Io`].
    pub fn reindex(&self) -> Result<ReindexReport> {
        self.check_writable()?;
        self.with_catalog(|catalog| {
            let report = Catalog::rebuild(&self.inner.layout)?;
            *catalog = Catalog::open(&self.inner.layout)?;
            Ok(report)
        })
    }
}

/// Removes the files of replaced segments whose grace period has passed; whether there were some.
fn remove_replaced(layout: &Layout, catalog: &Catalog, config: &EngineConfig) -> Result<bool> {
    let (age, mut report) = (Age::Grace(config.replaced_grace), CompactReport::default());
    compaction::remove_due(layout, &catalog.snapshot(layout)?, &[], age, REMOVAL_BYTES_AT_OPEN, &mut report)?;
    Ok(report.removed.0 > 0)
}

pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find the store", path))
}

fn prepare_folder(layout: &Layout, access: Access) -> Result<()> {
    let root = layout.root();
    match std::fs::metadata(root) {
        Ok(metadata) if !metadata.is_dir() => return Err(Error::StoreIsAFile { path: root.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Error::StoreIsAFile { path: root.to_owned() });
        }
        Err(error) if error.kind() == ErrorKind::NotFound && access == Access::Create => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::NoStore { path: root.to_owned() }),
        Err(error) => return Err(Error::io("open the store", root)(error)),
    }
    check_marker(layout)?;
    let has_runs = layout.runs().is_dir();
    if access == Access::Create && !(has_runs && layout.marker().exists()) {
        let created = std::fs::create_dir_all(layout.runs()).and_then(|()| write_marker(layout));
        created.map_err(|error| read_only_or(layout, error))?;
        sync_folder(&Disk, root)?;
        if let Some(parent) = root.parent() {
            // Best effort: a folder that may be used need not be one that may be listed.
            let _ = sync_folder(&Disk, parent);
        }
    } else if !has_runs {
        return Err(Error::NoStore { path: root.to_owned() });
    }
    if access != Access::Read {
        let writable = rustix::fs::access(root, rustix::fs::Access::WRITE_OK);
        writable.map_err(|errno| read_only_or(layout, errno.into()))?;
    }
    Ok(())
}

pub(crate) fn write_marker(layout: &Layout) -> std::io::Result<()> {
    let temp = layout.root().join(format!("{TEMP_PREFIX}marker-{:016x}", random_u64()));
    let mut file = std::fs::File::create_new(&temp)?;
    file.write_all(format!("{{\"format\":{STORE_FORMAT}}}\n").as_bytes())?;
    // A name that reaches the device before its content would leave an empty marker after a power cut.
    file.sync_all()?;
    std::fs::rename(&temp, layout.marker())
}

pub(crate) fn check_marker(layout: &Layout) -> Result<()> {
    let path = layout.marker();
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read", &path)(error)),
    };
    let format = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|marker| u32::try_from(marker.get("format")?.as_u64()?).ok());
    match format {
        Some(found) if found > STORE_FORMAT => Err(Error::NewerFormat { path, found, supported: STORE_FORMAT }),
        Some(_) => Ok(()),
        None => {
            let fault = "it does not say which format the store has; `stepwell doctor --repair` writes it anew";
            Err(Error::Damaged { path, fault: fault.to_owned() })
        }
    }
}

fn read_only_or(layout: &Layout, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Error::ReadOnlyStore { path: layout.root().to_owned() }
        }
        _ => Error::io("create the store", layout.root())(error),
    }
}

fn check_options(options: &RunOptions) -> Result<()> {
    check_name(NameKind::Pipeline, &options.pipeline)?;
    check_name(NameKind::Stage, &options.stage)?;
    options.name.iter().try_for_each(|name| check_name(NameKind::Run, name))?;
    options.params.keys().try_for_each(|key| check_name(NameKind::Param, key))?;
    options.tags.keys().try_for_each(|key| check_name(NameKind::Tag, key))?;
    if options.rank < 0 {
        return Err(Error::InvalidSetting {
            setting: "rank",
            value: options.rank.to_string(),
            fault: "it must be 0 or more".to_owned(),
        });
    }
    Ok(())
}

/// First events of the writers a run has already.
fn existing_writers(layout: &Layout, run: RunId) -> Result<Vec<WriterStarted>> {
    let mut started = Vec::new();
    for writer in writers_of(layout, run)? {
        let path = layout.events(run, writer);
        // Another rank may be writing its first line right now; it says nothing new then.
        let manifest = Manifest::of(&read_log(layout, &path)?, &path).ok().filter(|manifest| !manifest.is_anonymous);
        started.extend(manifest.map(|manifest| manifest.started));
    }
    Ok(started)
}

/// All runs that have a folder; sorted.
pub(crate) fn list_runs(layout: &Layout) -> Result<Vec<RunId>> {
    let folder = layout.runs();
    let entries = list(&folder).map_err(Error::io("list", &folder))?;
    let mut runs: Vec<RunId> = entries.iter().filter_map(|entry| entry.name.parse().ok()).collect();
    runs.sort_unstable();
    Ok(runs)
}
