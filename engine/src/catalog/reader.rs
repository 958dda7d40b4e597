//! Reading the catalog as it is at one moment.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Type as SqlType;
use rusqlite::{Connection, Row};

use super::connection::{Catalog, CatalogVersion, Place, failed, is_inherited, open_read_only_file};
use super::mlmd::typed_value;
use crate::error::Result;
use crate::events::{
    Extreme, GapEvent, GapKind, MetricStats, MetricsCommitted, ParamValue, PlacedValue, ProcessInfo, Watermark,
};
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::snapshot::{ExecutionInfo, GapInfo, GitInfo, RunInfo, RunState, SegmentInfo, WriterInfo};

/// The catalog at one moment: later changes are not seen. `Send` and `Sync`; calls from several threads take turns.
#[derive(Debug)]
pub struct CatalogSnapshot {
    connection: Arc<Mutex<Connection>>,
    /// Where the connection goes afterwards, when it is one to the file.
    idle: Option<Arc<IdleReader>>,
    place: Place,
    layout: Layout,
    /// Of what is read, when that is known.
    version: Option<CatalogVersion>,
    committed: Arc<LastCommitted>,
}

/// Runs, ordered by start time, and segments, ordered by run, writer and number.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    pub runs: Arc<Vec<RunInfo>>,
    pub segments: Arc<Vec<SegmentInfo>>,
}

/// What the last snapshot of a catalog read: most questions come while nothing changes.
pub(super) type LastCommitted = Mutex<Option<(CatalogVersion, Committed)>>;

/// A connection that only reads and that no snapshot has now.
pub(super) type IdleReader = Mutex<Option<Arc<Mutex<Connection>>>>;

/// One commit of a metrics name.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsCommitInfo {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// When it was committed; nanoseconds since the Unix epoch.
    pub time: i64,
    /// Id of its artifact in the catalog.
    pub artifact_id: i64,
    /// What was committed.
    pub commit: MetricsCommitted,
}

/// A segment that others took the place of, and whose file may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReplacedSegment {
    pub run_id: RunId,
    pub writer: WriterId,
    /// When; nanoseconds since the Unix epoch.
    pub time: i64,
    /// Size of the file.
    pub bytes: u64,
}

impl Catalog {
    /// The catalog as it is now. Call [`Catalog::refresh`] first to have what the event logs say now.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`], [`crate::Error::Damaged`].
    pub fn snapshot(&self, layout: &Layout) -> Result<CatalogSnapshot> {
        let before = self.version()?;
        let (connection, idle) = match &self.place {
            Place::Memory => (Arc::clone(&self.connection), None),
            Place::File { path } | Place::ReadOnlyFile { path } => {
                let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
                let last = if is_inherited() { None } else { idle() };
                let open = || {
                    let shared = match last {
                        Some(connection) => connection,
                        None => Arc::new(Mutex::new(open_read_only_file(path)?)),
                    };
                    let connection = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    // A read transaction begins with its first read.
                    connection.prepare_cached("BEGIN")?.execute([])?;
                    connection.prepare_cached("SELECT value FROM stepwell_meta")?.query_row([], |_| Ok(()))?;
                    drop(connection);
                    Ok(shared)
                };
                (open().map_err(failed("read", path))?, Some(Arc::clone(&self.idle)))
            }
        };
        // Another process may have changed the catalog in between: which of the two is read is not known then.
        let version = Some(before).filter(|before| self.version().is_ok_and(|after| after == *before));
        let (place, committed) = (self.place.clone(), Arc::clone(&self.committed));
        Ok(CatalogSnapshot { connection, idle, place, layout: layout.clone(), version, committed })
    }

    /// How many runs it has.
    pub(crate) fn count_runs(&self) -> Result<u64> {
        let count = |connection: &Connection| {
            connection.prepare_cached("SELECT count(*) FROM stepwell_scan")?.query_row([], |row| unsigned(row, 0))
        };
        self.with(count).map_err(failed("read", self.place.path()))
    }
}

/// Hands the connection on: to open a file and read its schema takes longer than most questions.
impl Drop for CatalogSnapshot {
    fn drop(&mut self) {
        let Some(idle) = self.idle.as_ref().filter(|_| !is_inherited()) else { return };
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut rollback| rollback.execute([]));
        drop(connection);
        if ended.is_ok() {
            idle.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| Arc::clone(&self.connection));
        }
    }
}

impl CatalogSnapshot {
    /// Runs and segments, as they were read before when the catalog has not changed since.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub(crate) fn committed(&self) -> Result<Committed> {
        let last = || self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(version), Some((known, committed))) = (self.version, &*last())
            && version == *known
        {
            return Ok(committed.clone());
        }
        let mut runs = self.runs()?;
        runs.iter_mut().for_each(|run| run.settle(None));
        let mut segments = self.segments()?;
        segments.sort_by_key(|segment| (segment.run_id, segment.writer, segment.n));
        let committed = Committed { runs: Arc::new(runs), segments: Arc::new(segments) };
        if let Some(version) = self.version {
            *last() = Some((version, committed.clone()));
        }
        Ok(committed)
    }

    /// All runs, ordered by start time, then id. The state is what the event logs say: a run whose process was killed is
    /// [`RunState::Running`] until it is recovered.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`], [`crate::Error::Damaged`], as for every method here.
    pub fn runs(&self) -> Result<Vec<RunInfo>> {
        let mut params: BTreeMap<String, BTreeMap<String, ParamValue>> = BTreeMap::new();
        for (run, name, value) in self.rows("SELECT run_id, name, kind, value FROM stepwell_param", |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, typed_value(row, 2)?))
        })? {
            params.entry(run).or_default().insert(name, value);
        }
        let mut tags: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (run, name, value) in self.rows("SELECT run_id, name, value FROM stepwell_tag", |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
        })? {
            tags.entry(run).or_default().insert(name, value);
        }
        let mut writers: HashMap<RunId, Vec<WriterInfo>> = HashMap::new();
        for (run, writer) in self.writers()? {
            writers.entry(run).or_default().push(writer);
        }
        writers.values_mut().for_each(|writers| writers.sort_by_key(|writer| writer.writer));
        self.rows(
            "SELECT run_id, pipeline, stage, name, state, started, ended, execution_id, execution_type, execution_name, command,
                 git_repo, git_commit, git_branch, source_id
             FROM stepwell_run ORDER BY started, run_id",
            |row| {
                let run: String = row.get(0)?;
                Ok(RunInfo {
                    run_id: parsed(row, 0)?,
                    pipeline: row.get(1)?,
                    stage: row.get(2)?,
                    name: row.get(3)?,
                    state: run_state(row, 4)?,
                    started: row.get(5)?,
                    ended: row.get(6)?,
                    params: params.remove(&run).unwrap_or_default(),
                    tags: tags.remove(&run).unwrap_or_default(),
                    writers: writers.remove(&parsed(row, 0)?).unwrap_or_default(),
                    execution: ExecutionInfo {
                        id: row.get(7)?,
                        execution_type: row.get(8)?,
                        name: row.get(9)?,
                        command: row.get(10)?,
                        git: GitInfo { remote: row.get(11)?, commit: row.get(12)?, branch: row.get(13)? },
                        source_id: row.get(14)?,
                    },
                })
            },
        )
    }

    /// All writers with their runs, in no order.
    pub(crate) fn writers(&self) -> Result<Vec<(RunId, WriterInfo)>> {
        self.rows(
            "SELECT run_id, writer, host, boot_id, pid, pid_start, state, started, last_event, version, waits, drops,
                 journal_folder
             FROM stepwell_writer",
            |row| {
                let process = ProcessInfo {
                    host: row.get(2)?,
                    boot_id: row.get(3)?,
                    pid: row.get(4)?,
                    pid_start: unsigned(row, 5)?,
                };
                let writer = WriterInfo {
                    writer: parsed(row, 1)?,
                    process,
                    state: run_state(row, 6)?,
                    started: row.get(7)?,
                    last_event: row.get(8)?,
                    version: row.get(9)?,
                    waits: unsigned(row, 10)?,
                    drops: unsigned(row, 11)?,
                    journal_folder: row.get::<_, Option<String>>(12)?.map(PathBuf::from),
                };
                Ok((parsed(row, 0)?, writer))
            },
        )
    }

    /// Committed segments with what they hold of each metric, ordered by (run, writer, number).
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn segments(&self) -> Result<Vec<SegmentInfo>> {
        let mut metrics: BTreeMap<i64, Vec<MetricStats>> = BTreeMap::new();
        for (segment, stats) in self.rows(
            "SELECT segment_id, metric, count, non_finite, min_bits, min_step, max_bits, max_step, first_step, first_time,
                 first_seq, first_bits, last_step, last_time, last_seq, last_bits, sum_bits FROM stepwell_segment_metric",
            |row| Ok((row.get::<_, i64>(0)?, metric_stats(row)?)),
        )? {
            metrics.entry(segment).or_default().push(stats);
        }
        let mut segments = self.rows(
            "SELECT id, run_id, writer, n, metrics_name, file, blake3, bytes, rows, time_min, time_max FROM stepwell_segment",
            |row| {
                let run_id = parsed(row, 1)?;
                let mut metrics = metrics.remove(&row.get(0)?).unwrap_or_default();
                metrics.sort_by(|a, b| a.metric.cmp(&b.metric));
                Ok(SegmentInfo {
                    run_id,
                    writer: parsed(row, 2)?,
                    n: unsigned(row, 3)?,
                    metrics_name: row.get(4)?,
                    path: self.layout.run(run_id).join(row.get::<_, String>(5)?),
                    blake3: parsed(row, 6)?,
                    bytes: unsigned(row, 7)?,
                    rows: unsigned(row, 8)?,
                    time_min: row.get(9)?,
                    time_max: row.get(10)?,
                    metrics,
                })
            },
        )?;
        segments.sort_by(|a, b| (a.run_id, a.writer, a.n, &a.path).cmp(&(b.run_id, b.writer, b.n, &b.path)));
        Ok(segments)
    }

    /// How many segments of fewer than `bytes` bytes and `rows` rows the runs have that are closed, of the metrics name that has most.
    pub(crate) fn small_segments(&self, bytes: u64, rows: u64) -> Result<u64> {
        let sql = format!(
            "SELECT coalesce(max(segments), 0) FROM (SELECT count(*) AS segments FROM stepwell_segment
             WHERE bytes < {bytes} AND rows < {rows} AND run_id IN (SELECT run_id FROM stepwell_scan WHERE closed)
             GROUP BY metrics_name)"
        );
        Ok(self.rows(&sql, |row| unsigned(row, 0))?.first().copied().unwrap_or_default())
    }

    /// Records logged by each writer that was finished, as it told at the end.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn records_logged(&self) -> Result<BTreeMap<(RunId, WriterId), u64>> {
        let rows = self.rows("SELECT run_id, writer, rows FROM stepwell_writer WHERE rows > 0", |row| {
            Ok(((parsed(row, 0)?, parsed(row, 1)?), unsigned(row, 2)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// For each writer and ring, how many records are in segments: every record of a journal below is, every other is not.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn watermarks(&self) -> Result<BTreeMap<(RunId, WriterId), Vec<Watermark>>> {
        let mut watermarks: BTreeMap<(RunId, WriterId), Vec<Watermark>> = BTreeMap::new();
        let sql = "SELECT run_id, writer, ring, committed FROM stepwell_watermark ORDER BY run_id, writer, ring";
        for (key, watermark) in self.rows(sql, |row| {
            let watermark = Watermark { ring: row.get(2)?, committed: unsigned(row, 3)? };
            Ok(((parsed(row, 0)?, parsed(row, 1)?), watermark))
        })? {
            watermarks.entry(key).or_default().push(watermark);
        }
        Ok(watermarks)
    }

    /// All losses that were told, damaged lines of event logs among them, ordered by run, writer, time.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn gaps(&self) -> Result<Vec<GapInfo>> {
        let mut gaps = self.rows(
            "SELECT run_id, writer, time, kind, ring, records, detail, records_max FROM stepwell_gap
             ORDER BY run_id, writer, time, origin, position",
            |row| {
                Ok(GapInfo {
                    run_id: parsed(row, 0)?,
                    writer: parsed(row, 1)?,
                    time: row.get(2)?,
                    gap: GapEvent {
                        kind: gap_kind(row, 3)?,
                        ring: row.get(4)?,
                        records: unsigned(row, 5)?,
                        records_max: row.get::<_, Option<i64>>(7)?.and_then(|most| u64::try_from(most).ok()),
                        detail: row.get(6)?,
                    },
                })
            },
        )?;
        gaps.sort_by_key(|gap| (gap.run_id, gap.writer, gap.time));
        Ok(gaps)
    }

    /// Writers whose event log has damaged lines, or no line that can be read; sorted.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub(crate) fn damaged_logs(&self) -> Result<Vec<(RunId, WriterId)>> {
        let sql =
            "SELECT run_id, writer FROM stepwell_log WHERE damaged_lines > 0 OR lines = 0 ORDER BY run_id, writer";
        self.rows(sql, |row| Ok((parsed(row, 0)?, parsed(row, 1)?)))
    }

    /// Segments that others took the place of and whose files may still be there, ordered by run, writer and number.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub(crate) fn replaced(&self) -> Result<Vec<ReplacedSegment>> {
        let sql = "SELECT run_id, writer, time, bytes FROM stepwell_replaced ORDER BY run_id, writer, n";
        self.rows(sql, |row| {
            let (run_id, writer) = (parsed(row, 0)?, parsed(row, 1)?);
            Ok(ReplacedSegment { run_id, writer, time: row.get(2)?, bytes: unsigned(row, 3)? })
        })
    }

    /// All commits of metrics names, ordered by run, writer, time.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn metrics_commits(&self) -> Result<Vec<MetricsCommitInfo>> {
        let mut commits = self.rows(
            "SELECT run_id, writer, time, artifact_id, metrics_name, version, identity, rows, segments
             FROM stepwell_metrics_commit ORDER BY run_id, writer, n",
            |row| {
                let segments: String = row.get(8)?;
                let segments = segments.split(',').filter(|n| !n.is_empty()).map(str::parse).collect::<Result<_, _>>();
                Ok(MetricsCommitInfo {
                    run_id: parsed(row, 0)?,
                    writer: parsed(row, 1)?,
                    time: row.get(2)?,
                    artifact_id: row.get(3)?,
                    commit: MetricsCommitted {
                        metrics_name: row.get(4)?,
                        version: row.get(5)?,
                        identity: parsed(row, 6)?,
                        rows: unsigned(row, 7)?,
                        segments: segments.map_err(|error| unreadable(8, error))?,
                    },
                })
            },
        )?;
        commits.sort_by_key(|commit| (commit.run_id, commit.writer, commit.time));
        Ok(commits)
    }

    pub(super) fn rows<T>(&self, sql: &str, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        connection
            .prepare_cached(sql)
            .and_then(|mut select| select.query_map([], |row| read(row))?.collect())
            .map_err(failed("read", self.place.path()))
    }
}

fn metric_stats(row: &Row<'_>) -> rusqlite::Result<MetricStats> {
    let float = |column| row.get::<_, i64>(column).map(|bits| f64::from_bits(bits.cast_unsigned()));
    let extreme = |column| -> rusqlite::Result<Option<Extreme>> {
        let (bits, step): (Option<i64>, Option<i64>) = (row.get(column)?, row.get(column + 1)?);
        Ok(bits.zip(step).map(|(bits, step)| Extreme { value: f64::from_bits(bits.cast_unsigned()), step }))
    };
    let placed = |column: usize| -> rusqlite::Result<PlacedValue> {
        Ok(PlacedValue {
            step: row.get(column)?,
            time: row.get(column + 1)?,
            seq: row.get(column + 2)?,
            value: float(column + 3)?,
        })
    };
    Ok(MetricStats {
        metric: row.get(1)?,
        count: unsigned(row, 2)?,
        non_finite: unsigned(row, 3)?,
        min: extreme(4)?,
        max: extreme(6)?,
        first: placed(8)?,
        last: placed(12)?,
        sum: float(16)?,
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// A text column that is an id or a hash.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, SqlType::Text, Box::new(error))
}

fn run_state(row: &Row<'_>, column: usize) -> rusqlite::Result<RunState> {
    let text = row.get_ref(column)?.as_str()?;
    [RunState::Running, RunState::Finished, RunState::Failed, RunState::Died]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, text.to_owned(), SqlType::Text))
}

fn gap_kind(row: &Row<'_>, column: usize) -> rusqlite::Result<GapKind> {
    let text = row.get_ref(column)?.as_str()?;
    GapKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| rusqlite::Error::InvalidColumnType(column, text.to_owned(), SqlType::Text))
}
