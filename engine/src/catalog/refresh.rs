//! Bringing the catalog up to date with the event logs, and building it anew.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use rustix::fs::{AtFlags, FileType, Stat, statat};
use rustix::io::Errno;

use super::apply::{Applier, Failure, Outcome};
use super::connection::{
    BUSY_TIMEOUT, Catalog, CatalogVersion, belongs_to_another, configure, create_temp, failed, is_inherited,
    lock_folder, place_file, remove_database, sync_file, tables,
};
use super::digest::{LogPosition, RunDigest, clamp, digest};
use super::ids::{ID_BITS, Ids, SALT_MAX, SEQUENCE_START};
use super::mlmd::FIXED_TYPE_MAX;
use crate::error::{Error, Result};
use crate::event_log::{LogContents, read_log, writers_of};
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, is_compaction_mark, parse_events_file};
use crate::storage::for_names;

/// Runs applied in one transaction: enough that its cost does not count, few enough that other processes get their turn.
const RUNS_PER_TRANSACTION: usize = 1_024;
/// A folder that changed less than this ago may change again without its time changing: file systems keep times in steps.
const FOLDER_TIME_SETTLES: Duration = Duration::from_secs(2);

/// What a refresh did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefreshReport {
    /// Runs whose rows were written anew.
    pub runs_changed: u64,
    /// Runs whose folder is gone, so that their rows went.
    pub runs_removed: u64,
    /// Event lines read.
    pub events_read: u64,
    /// Lines that could not be read, of the runs that changed. They are rows of `gaps`, too.
    pub damaged: Vec<DamagedLine>,
}

/// A line of an event log that is not indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedLine {
    /// The event log.
    pub path: PathBuf,
    /// Byte offset of the line; 0 when the fault is not one of a line's form.
    pub offset: u64,
    /// What is wrong with it.
    pub fault: String,
}

/// What `reindex` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReindexReport {
    /// Runs indexed.
    pub runs: u64,
    /// Event lines read.
    pub events: u64,
    /// Lines that could not be read: file and fault.
    pub damaged: Vec<(PathBuf, String)>,
    /// The store has no catalog file, because of the file system it lies on: the catalog was built in memory.
    pub in_memory: bool,
}

/// What a look at the run folders found.
#[derive(Debug, Default)]
struct Scan {
    changed: Vec<ChangedRun>,
    removed: Vec<RunId>,
    /// Runs without a change whose folder time can be kept now.
    settled: Vec<(RunId, i64)>,
}

#[derive(Debug)]
struct ChangedRun {
    run_id: RunId,
    /// Seen before its logs were; 0 when it says nothing.
    folder_time: i64,
    /// What the catalog had read of its logs.
    known: Vec<KnownLog>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KnownLog {
    writer: String,
    bytes: i64,
    complete_bytes: i64,
}

impl From<&LogPosition> for KnownLog {
    fn from(log: &LogPosition) -> Self {
        Self { writer: log.writer.to_string(), bytes: log.bytes, complete_bytes: log.complete_bytes }
    }
}

/// Why a refresh failed.
#[derive(Debug)]
enum RefreshError {
    Rows(Failure),
    Logs(Error),
}

impl From<rusqlite::Error> for RefreshError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Rows(Failure::Sql(error))
    }
}

impl From<Failure> for RefreshError {
    fn from(failure: Failure) -> Self {
        Self::Rows(failure)
    }
}

impl From<Error> for RefreshError {
    fn from(error: Error) -> Self {
        Self::Logs(error)
    }
}

impl RefreshError {
    fn at(self, action: &'static str, path: &Path) -> Error {
        match self {
            Self::Logs(error) => error,
            Self::Rows(Failure::Sql(error)) => failed(action, path)(error),
            Self::Rows(Failure::IdsMeet) => Error::Damaged {
                path: path.to_owned(),
                fault: format!("it holds too many rows: two of them have the same id under each of {SALT_MAX} salts"),
            },
        }
    }
}

impl Catalog {
    /// Brings the catalog up to date with the event logs of `layout`, which must be the store's it was opened for. Any number
    /// of processes and threads may do so at once.
    ///
    /// # Cost
    /// One listing of `runs/`, one `stat` of each run folder, one of each event log of a run that is not closed; then all
    /// logs of the runs that changed are read.
    ///
    /// # Errors
    /// [`Error::NewerFormat`] when a newer Stepwell wrote an event log; [`Error::Catalog`] (which is retryable when another
    /// process kept the catalog locked), [`Error::Damaged`], [`Error::Io`].
    pub fn refresh(&mut self, layout: &Layout) -> Result<RefreshReport> {
        self.reopen_if_replaced(layout)?;
        let path = self.place.path().to_owned();
        let version = self.version()?;
        let known = self.scanned.take().filter(|scanned| scanned.version == version).map(|scanned| scanned.runs);
        let (found, mut known) =
            self.with(|connection| scan(connection, layout, known)).map_err(|error| error.at("read", &path))?;
        let changes_rows = !found.changed.is_empty() || !found.removed.is_empty();
        if !changes_rows && (found.settled.is_empty() || !self.place.is_writable()) {
            known.extend(found.settled.into_iter().map(|(run, folder_time)| (run, (folder_time, true))));
            self.scanned = Some(Scanned { version, runs: known });
            return Ok(RefreshReport::default());
        }
        self.apply(layout, &found)
    }

    /// Writes the rows of what a scan found.
    fn apply(&mut self, layout: &Layout, found: &Scan) -> Result<RefreshReport> {
        let path = self.place.path().to_owned();
        if !self.place.is_writable() {
            self.copy_to_memory()?;
        }
        let bits = self.id_bits;
        let connection = self.connection_mut()?;
        match apply_scan(connection, layout, found, bits) {
            Err(RefreshError::Rows(Failure::IdsMeet)) => rebuild_rows(connection, layout, bits),
            other => other,
        }
        .map_err(|error| error.at("update", &path))
    }

    /// Brings the catalog up to date with the logs of one run, and waits for other processes no longer than `patience`: for a
    /// caller to whom the index is a courtesy, because whoever opens the store next refreshes it anyway.
    ///
    /// # Cost
    /// Does not depend on how many runs there are.
    ///
    /// # Errors
    /// As [`Catalog::refresh`].
    pub fn refresh_run_within(&mut self, layout: &Layout, run_id: RunId, patience: Duration) -> Result<RefreshReport> {
        let path = self.place.path().to_owned();
        self.with(|connection| connection.busy_timeout(patience)).map_err(failed("configure", &path))?;
        let report = self.refresh_run(layout, run_id);
        self.with(|connection| connection.busy_timeout(BUSY_TIMEOUT)).map_err(failed("configure", &path))?;
        report
    }

    fn refresh_run(&mut self, layout: &Layout, run_id: RunId) -> Result<RefreshReport> {
        self.reopen_if_replaced(layout)?;
        let path = self.place.path().to_owned();
        // Its folder changes now: the next refresh of all looks into it, and finds out when it has settled.
        let changed = self
            .with(|connection| {
                let known = known_logs(connection, run_id)?;
                let folder = look_into(layout, run_id)?;
                let changed = has_changed(layout, run_id, folder.writers, &known)?;
                Ok(changed.then_some(ChangedRun { run_id, folder_time: 0, known }))
            })
            .map_err(|error: RefreshError| error.at("read", &path))?;
        match changed {
            Some(changed) => self.apply(layout, &Scan { changed: vec![changed], ..Scan::default() }),
            None => Ok(RefreshReport::default()),
        }
    }

    /// Builds the catalog of a store anew from its event logs: within the file, so that whoever has it open goes on with the
    /// new rows; a file that is damaged is replaced.
    ///
    /// # Errors
    /// As [`Catalog::refresh`]. A file that belongs to another application or a newer Stepwell is left alone.
    pub fn rebuild(layout: &Layout) -> Result<ReindexReport> {
        let path = layout.catalog();
        if is_inherited() {
            // A forked child leaves the file to its parent.
            return Err(Error::ReadOnlyStore { path });
        }
        let rebuilt = Self::open(layout).and_then(|mut catalog| {
            let connection = catalog.connection_mut()?;
            check_soundness(connection, &path)?;
            rebuild_rows(connection, layout, ID_BITS).map_err(|error| error.at("rebuild", &path))
        });
        let report = match rebuilt {
            Err(Error::Damaged { .. }) if !belongs_to_another(&path) => rebuild_beside(layout)?,
            other => other?,
        };
        let damaged =
            report.damaged.into_iter().map(|line| (line.path, format!("byte {}: {}", line.offset, line.fault)));
        let in_memory = layout.file_system().is_remote;
        Ok(ReindexReport {
            runs: report.runs_changed,
            events: report.events_read,
            damaged: damaged.collect(),
            in_memory,
        })
    }
}

/// Has SQLite check the file, the entries of its indices among it, and compares the definitions of tables and indices with those
/// of a new catalog: SQLite takes a table whose name was changed from `Context` to `ContExt` for the same one, and keeps the name.
pub(super) fn check_soundness(connection: &Connection, path: &Path) -> Result<()> {
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed("check", path))?;
    let damaged = |fault| Err(Error::Damaged { path: path.to_owned(), fault });
    if verdict != "ok" {
        return damaged(verdict);
    }
    let found = definitions(connection).map_err(failed("check", path))?;
    let expected = Catalog::open_in_memory()?.with(definitions).map_err(failed("check", path))?;
    match expected.difference(&found).next() {
        Some((kind, name, _)) => damaged(format!("its {kind} `{name}` is missing, or is not defined as Stepwell does")),
        None => Ok(()),
    }
}

/// Kind, name and text of every table and index. There may be more than those of Stepwell.
fn definitions(connection: &Connection) -> rusqlite::Result<BTreeSet<(String, String, Option<String>)>> {
    let mut select = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}

/// Builds a new file and puts it in the place of a damaged one.
fn rebuild_beside(layout: &Layout) -> Result<RefreshReport> {
    let path = layout.catalog();
    let temp = create_temp(&path)?;
    let build = || {
        let mut connection = Connection::open(&temp).map_err(failed("open", &temp))?;
        configure(&connection).map_err(failed("open", &temp))?;
        let report = rebuild_rows(&mut connection, layout, ID_BITS).map_err(|error| error.at("rebuild", &path))?;
        // Closing copies the write-ahead log into the file.
        connection.close().map_err(|(_, error)| failed("close", &temp)(error))?;
        sync_file(&temp)?;
        let _lock = lock_folder(&path);
        place_file(&temp, &path)?;
        Ok(report)
    };
    build().inspect_err(|_| remove_database(&temp))
}

/// What the catalog knows of each run: when its folder had changed last, and whether all its writers have ended.
type KnownRuns = HashMap<RunId, (i64, bool)>;

/// What a scan knew of the runs, for the next one: most come while nothing changes. Of a catalog that cannot be written, this is
/// where folder times are kept.
#[derive(Debug)]
pub(super) struct Scanned {
    version: CatalogVersion,
    runs: KnownRuns,
}

fn known_runs(connection: &Connection) -> rusqlite::Result<KnownRuns> {
    connection
        .prepare_cached("SELECT run_id, folder_time, closed FROM stepwell_scan")?
        .query_map([], |row| Ok((row.get::<_, String>(0)?, (row.get(1)?, row.get(2)?))))?
        .filter_map(|row| row.map(|(run, state)| run.parse().ok().map(|run| (run, state))).transpose())
        .collect()
}

/// Looks for runs whose logs are not as the catalog knows them. Returns what it knows of them, too.
fn scan(connection: &Connection, layout: &Layout, known: Option<KnownRuns>) -> Result<(Scan, KnownRuns), RefreshError> {
    let known_runs = known.map_or_else(|| known_runs(connection), Ok)?;
    let mut found = Scan::default();
    let mut seen = 0;
    let listed = list_runs(layout)?;
    for &(run_id, folder_time) in &listed {
        let cached = known_runs.get(&run_id).copied();
        seen += usize::from(cached.is_some());
        // New logs change the folder, and nothing is added to the logs of a closed run.
        if folder_time != 0 && cached == Some((folder_time, true)) {
            continue;
        }
        let known = known_logs(connection, run_id)?;
        let folder = look_into(layout, run_id)?;
        // To the log of a closed run a line is about to be added, which does not change the folder.
        let folder_time = if folder.is_compacted_now { 0 } else { folder_time };
        if has_changed(layout, run_id, folder.writers, &known)? {
            found.changed.push(ChangedRun { run_id, folder_time, known });
        } else if folder_time != 0 && cached.is_some_and(|(time, closed)| closed && time != folder_time) {
            found.settled.push((run_id, folder_time));
        }
    }
    if seen < known_runs.len() {
        let is_listed = |run: &RunId| listed.binary_search_by_key(run, |(listed, _)| *listed).is_ok();
        found.removed.extend(known_runs.keys().filter(|run| !is_listed(run)));
    }
    Ok((found, known_runs))
}

/// The runs of a store and when their folders changed, see [`folder_time`]; sorted.
fn list_runs(layout: &Layout) -> Result<Vec<(RunId, i64)>> {
    let folder = layout.runs();
    let now = SystemTime::now();
    let mut runs = Vec::new();
    let listed = for_names(&folder, |name, _, folder| {
        let Some(run_id) = name.to_str().and_then(parse_run_folder) else { return Ok(()) };
        // Asked of the open folder, the file system need not walk the whole path.
        match statat(folder, name, AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {
                runs.push((run_id, folder_time(&stat, now).unwrap_or(0)));
                Ok(())
            }
            Err(errno) if errno != Errno::NOENT => Err(errno.into()),
            _ => Ok(()),
        }
    });
    match listed {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("list the runs in", &folder))?,
    }
    runs.sort_unstable();
    Ok(runs)
}

/// A folder that is named by a run id in its canonical spelling.
fn parse_run_folder(name: &str) -> Option<RunId> {
    let canonical = name.len() == 36 && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    name.parse().ok().filter(|_| canonical)
}

/// When a run folder changed last, in nanoseconds; `None` when that is too recent to rely on.
fn folder_time(stat: &Stat, now: SystemTime) -> Option<i64> {
    let since_epoch = Duration::new(u64::try_from(stat.st_mtime).ok()?, u32::try_from(stat.st_mtime_nsec).ok()?);
    let settled = now.duration_since(UNIX_EPOCH + since_epoch).is_ok_and(|age| age > FOLDER_TIME_SETTLES);
    i64::try_from(since_epoch.as_nanos()).ok().filter(|_| settled)
}

fn known_logs(connection: &Connection, run_id: RunId) -> rusqlite::Result<Vec<KnownLog>> {
    connection
        .prepare_cached("SELECT writer, bytes, complete_bytes FROM stepwell_log WHERE run_id = ?1 ORDER BY writer")?
        .query_map([run_id.to_string()], |row| {
            Ok(KnownLog { writer: row.get(0)?, bytes: row.get(1)?, complete_bytes: row.get(2)? })
        })?
        .collect()
}

/// What a run folder holds.
#[derive(Debug, Default)]
struct RunFolder {
    /// `None` when there is no such folder.
    writers: Option<Vec<WriterId>>,
    /// A compaction is about to add lines to a log, or was when its process died.
    is_compacted_now: bool,
}

fn look_into(layout: &Layout, run_id: RunId) -> Result<RunFolder> {
    let folder = layout.run(run_id);
    let listed = layout.storage().list(&folder).map_err(Error::io("list the run folder", &folder));
    let Some(entries) = found(listed)? else { return Ok(RunFolder::default()) };
    let is_compacted_now = entries.iter().any(|entry| is_compaction_mark(&entry.name));
    let mut writers: Vec<_> = entries.iter().filter_map(|entry| parse_events_file(&entry.name)).collect();
    writers.sort_unstable();
    Ok(RunFolder { writers: Some(writers), is_compacted_now })
}

/// Whether the logs of a run are not those that were read.
fn has_changed(layout: &Layout, run_id: RunId, writers: Option<Vec<WriterId>>, known: &[KnownLog]) -> Result<bool> {
    let Some(writers) = writers else { return Ok(!known.is_empty()) };
    if writers.len() != known.len() {
        return Ok(true);
    }
    for writer in writers {
        let path = layout.events(run_id, writer);
        let text = writer.to_string();
        let Some(log) = known.iter().find(|log| log.writer == text) else { return Ok(true) };
        let metadata = std::fs::metadata(&path).map_err(Error::io("look at the event log", &path));
        let Some(metadata) = found(metadata)? else { return Ok(true) };
        if clamp(metadata.len()) != log.bytes {
            return Ok(true);
        }
        // A line that was cut off may have been replaced by others of the same length.
        if log.complete_bytes != log.bytes && clamp(read_log(layout, &path)?.complete_bytes) != log.complete_bytes {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `None` for what is not there: a run may be deleted while it is looked at.
fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads all logs of a run; `None` when its folder is gone.
fn read_run(layout: &Layout, run_id: RunId, ids: Ids) -> Result<Option<RunDigest>> {
    let Some(writers) = found(writers_of(layout, run_id))? else { return Ok(None) };
    let mut logs: Vec<(WriterId, LogContents)> = Vec::with_capacity(writers.len());
    for writer in writers {
        logs.extend(found(read_log(layout, &layout.events(run_id, writer)))?.map(|log| (writer, log)));
    }
    Ok(Some(digest(run_id, logs, ids)))
}

fn read_ids(connection: &Connection, bits: u32) -> rusqlite::Result<Ids> {
    let salt = connection.query_row("SELECT value FROM stepwell_meta WHERE key = 'id_salt'", [], |row| row.get(0))?;
    Ok(Ids { salt, bits })
}

fn apply_scan(
    connection: &mut Connection,
    layout: &Layout,
    found: &Scan,
    bits: u32,
) -> Result<RefreshReport, RefreshError> {
    let mut report = RefreshReport::default();
    if !found.removed.is_empty() || !found.settled.is_empty() {
        apply_gone(connection, layout, found, bits, &mut report)?;
    }
    for runs in found.changed.chunks(RUNS_PER_TRANSACTION) {
        let ids = read_ids(connection, bits)?;
        // Reading takes longer than writing rows: it is done before other processes are held off.
        let digests = runs.iter().map(|run| read_run(layout, run.run_id, ids)).collect::<Result<Vec<_>>>()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let ids_now = read_ids(&transaction, bits)?;
        let mut applier = Applier::new(&transaction, ids_now);
        for (run, digest) in runs.iter().zip(digests) {
            let known = known_logs(&transaction, run.run_id)?;
            let digest = if known == run.known && ids == ids_now {
                digest
            } else {
                // Another process was here since. Its logs may be newer than ours: only what is read now is sure not to be
                // older.
                let digest = read_run(layout, run.run_id, ids_now)?;
                if digest.as_ref().is_some_and(|digest| is_known(digest, &known)) {
                    continue;
                }
                digest
            };
            match digest {
                Some(digest) => apply_run(&mut applier, layout, &digest, run.folder_time, &mut report)?,
                None => applier.remove(run.run_id)?,
            }
        }
        applier.settle()?;
        transaction.commit()?;
    }
    Ok(report)
}

fn is_known(digest: &RunDigest, known: &[KnownLog]) -> bool {
    let mut logs: Vec<_> = digest.logs.iter().map(KnownLog::from).collect();
    logs.sort_by(|a, b| a.writer.cmp(&b.writer));
    logs == known
}

fn apply_gone(
    connection: &mut Connection,
    layout: &Layout,
    found: &Scan,
    bits: u32,
    report: &mut RefreshReport,
) -> Result<(), RefreshError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut applier = Applier::new(&transaction, read_ids(&transaction, bits)?);
    for run_id in &found.removed {
        if !layout.run(*run_id).exists() {
            applier.remove(*run_id)?;
            report.runs_removed += 1;
        }
    }
    applier.settle()?;
    for (run_id, folder_time) in &found.settled {
        let sql = "UPDATE stepwell_scan SET folder_time = ?2 WHERE run_id = ?1 AND closed";
        applier.run(sql, params![run_id.to_string(), folder_time])?;
    }
    transaction.commit()?;
    Ok(())
}

fn apply_run(
    applier: &mut Applier<'_>,
    layout: &Layout,
    digest: &RunDigest,
    folder_time: i64,
    report: &mut RefreshReport,
) -> Outcome {
    applier.apply(digest)?;
    applier.run(
        "INSERT OR REPLACE INTO stepwell_scan VALUES (?1, ?2, ?3)",
        params![digest.run_id.to_string(), folder_time, digest.closed],
    )?;
    report.runs_changed += 1;
    report.events_read += digest.logs.iter().map(|log| log.lines.cast_unsigned()).sum::<u64>();
    report.damaged.extend(digest.faults.iter().map(|(writer, fault)| DamagedLine {
        path: layout.events(digest.run_id, *writer),
        offset: fault.offset,
        fault: fault.fault.clone(),
    }));
    Ok(())
}

/// Removes all rows and applies every run, in one transaction.
fn rebuild_rows(connection: &mut Connection, layout: &Layout, bits: u32) -> Result<RefreshReport, RefreshError> {
    let mut salt = 0;
    loop {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match rebuild_with(&transaction, layout, Ids { salt, bits }) {
            Err(RefreshError::Rows(Failure::IdsMeet)) if salt + 1 < SALT_MAX => {
                transaction.rollback()?;
                salt += 1;
            }
            Err(error) => return Err(error),
            Ok(report) => {
                transaction.commit()?;
                return Ok(report);
            }
        }
    }
}

fn rebuild_with(transaction: &Transaction<'_>, layout: &Layout, ids: Ids) -> Result<RefreshReport, RefreshError> {
    remove_all_rows(transaction, ids.salt)?;
    let mut report = RefreshReport::default();
    let mut applier = Applier::new(transaction, ids);
    for (index, (run_id, folder_time)) in list_runs(layout)?.into_iter().enumerate() {
        let folder_time = if look_into(layout, run_id)?.is_compacted_now { 0 } else { folder_time };
        if let Some(digest) = read_run(layout, run_id, ids)?.filter(|digest| !digest.logs.is_empty()) {
            apply_run(&mut applier, layout, &digest, folder_time, &mut report)?;
        }
        if index % RUNS_PER_TRANSACTION == RUNS_PER_TRANSACTION - 1 {
            applier.settle()?;
        }
    }
    applier.settle()?;
    Ok(report)
}

fn remove_all_rows(transaction: &Transaction<'_>, salt: u32) -> rusqlite::Result<()> {
    for table in tables(transaction)? {
        let rows = match table.as_str() {
            "MLMDEnv" | "sqlite_sequence" | "stepwell_meta" => continue,
            "Type" => format!("id > {FIXED_TYPE_MAX}"),
            "TypeProperty" => format!("type_id > {FIXED_TYPE_MAX}"),
            _ => "true".to_owned(),
        };
        transaction.execute(&format!("DELETE FROM {table} WHERE {rows}"), [])?;
    }
    transaction.execute("UPDATE sqlite_sequence SET seq = ?1", [SEQUENCE_START])?;
    transaction.execute("UPDATE stepwell_meta SET value = ?1 WHERE key = 'id_salt'", [salt])?;
    Ok(())
}
