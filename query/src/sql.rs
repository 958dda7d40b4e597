//! Sessions: SQL in, rows out. Calls block; they may be made from any thread, inside an async runtime too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::execution::disk_manager::DiskManagerBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use futures::StreamExt;
use stepwell_engine::{Error as EngineError, Result as EngineResult, Store};

use crate::bounded;
use crate::cooperation::CooperativeJoins;
use crate::error::{DamagedSegment, Error, Result, SegmentFault, from_datafusion, missing_key};
use crate::functions;
use crate::integrity::{DamagedPolicy, Guard};
use crate::metrics::rules::ScansServe;
use crate::parameters::{self, Parameter};
use crate::policy;
use crate::result::{QueryResult, batch_bytes};
use crate::rolling::RollingWindows;
use crate::runtime::{cores, initialise_process, runtime};
use crate::source::SnapshotSource;
use crate::sql_catalog::{CATALOG, SCHEMA, StoreCatalog, StoreTables};
use crate::suggest::nearest;
use crate::table_functions;
use crate::unnested;

/// How often a waiting call looks whether it was cancelled.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Snapshots that a query is asked over at most, when files go that they name: runs that end each take some away.
const SNAPSHOTS_MAX: u32 = 50;
/// Rows in a batch.
const BATCH_ROWS: usize = 8192;
/// Default of [`QueryOptions::memory_limit_bytes`].
const MEMORY_LIMIT_BYTES: usize = 4 << 30;
/// Bytes of temporary files one query may use for sorts and groups that do not fit into memory.
const SPILL_BYTES_MAX: u64 = 64 << 30;

/// Limits and policies of a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueryOptions {
    /// What to do with damaged segments. Default: refuse the query and name the file.
    pub damaged: DamagedPolicy,
    /// Bytes the query may hold in memory, its result included. Sorts and groups beyond it go to temporary files;
    /// what cannot is an error. Default 4 GiB, minimum 1 MiB.
    pub memory_limit_bytes: usize,
    /// Rows after which the result ends; a warning says so. Default: no limit.
    pub rows_max: Option<usize>,
    /// Time after which the query is stopped with an error. Default: none.
    pub timeout: Option<Duration>,
    /// Streams that work at the same time. Default: the number of processors; minimum 1.
    pub parallelism: usize,
    /// What each `$name` in the text stands for. Default: none.
    pub parameters: BTreeMap<String, Parameter>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            damaged: DamagedPolicy::default(),
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            rows_max: None,
            timeout: None,
            parallelism: cores(),
            parameters: BTreeMap::new(),
        }
    }
}

impl QueryOptions {
    /// Sets [`Self::damaged`].
    pub fn with_damaged(mut self, damaged: DamagedPolicy) -> Self {
        self.damaged = damaged;
        self
    }

    /// Sets [`Self::memory_limit_bytes`].
    pub fn with_memory_limit_bytes(mut self, bytes: usize) -> Self {
        self.memory_limit_bytes = bytes.max(1 << 20);
        self
    }

    /// Sets [`Self::rows_max`].
    pub fn with_rows_max(mut self, rows: Option<usize>) -> Self {
        self.rows_max = rows;
        self
    }

    /// Sets [`Self::timeout`].
    pub fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`Self::parallelism`].
    pub fn with_parallelism(mut self, streams: usize) -> Self {
        self.parallelism = streams.max(1);
        self
    }

    /// Says what `$name` stands for, with or without its `$` here.
    pub fn with_parameter(mut self, name: &str, value: impl Into<Parameter>) -> Self {
        self.parameters.insert(name.strip_prefix('$').unwrap_or(name).to_owned(), value.into());
        self
    }
}

type TakeSnapshot = dyn Fn() -> EngineResult<Arc<dyn SnapshotSource>> + Send + Sync;

/// Answers SQL over a store. Cheap to clone; clones share it.
///
/// Each query sees one snapshot, taken when it starts: a row is in it once, whether committed or still in a journal.
/// Nothing a query says can write, or read a file outside the store.
#[derive(Clone)]
pub struct Session {
    take_snapshot: Arc<TakeSnapshot>,
    options: QueryOptions,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Session {
    /// A session over `store` with default options.
    pub fn new(store: &Store) -> Self {
        Self::with_options(store, QueryOptions::default())
    }

    /// A session over `store` whose queries have `options` unless they bring their own.
    pub fn with_options(store: &Store, options: QueryOptions) -> Self {
        let store = store.clone();
        Self::from_snapshots(move || Ok(Arc::new(store.snapshot()?)), options)
    }

    /// A session over snapshots from elsewhere; `take_snapshot` is called once for each query.
    pub fn from_snapshots(
        take_snapshot: impl Fn() -> EngineResult<Arc<dyn SnapshotSource>> + Send + Sync + 'static,
        options: QueryOptions,
    ) -> Self {
        Self { take_snapshot: Arc::new(take_snapshot), options }
    }

    /// Options of queries that bring none.
    pub fn options(&self) -> &QueryOptions {
        &self.options
    }

    /// Runs a query with the session's options and waits for its whole result.
    ///
    /// # Errors
    /// [`Error`]; `is_invalid_input` tells a fault of the text from one of the store.
    pub fn sql(&self, text: &str) -> Result<QueryResult> {
        self.sql_with(text, &self.options)
    }

    /// Runs a query with its own options.
    ///
    /// # Errors
    /// As [`Self::sql`].
    pub fn sql_with(&self, text: &str, options: &QueryOptions) -> Result<QueryResult> {
        self.sql_cancellable(text, options, &mut || false)
    }

    /// Runs a query that ends with [`Error::Cancelled`] soon after `cancelled` says so; it is asked every 100 ms, on
    /// the calling thread.
    ///
    /// # Errors
    /// As [`Self::sql`].
    pub fn sql_cancellable(
        &self,
        text: &str,
        options: &QueryOptions,
        cancelled: &mut dyn FnMut() -> bool,
    ) -> Result<QueryResult> {
        let started = Instant::now();
        initialise_process();
        for _ in 1..SNAPSHOTS_MAX {
            match self.attempt(text, options, started, cancelled) {
                // A file that the snapshot names went while it was read, because compaction of another process had put others
                // in its place: a new snapshot names those.
                Err(Error::Engine(EngineError::SegmentRetired { .. })) => {}
                answer => return answer,
            }
        }
        self.attempt(text, options, started, cancelled)
    }

    /// Runs a query over a snapshot that is taken now.
    fn attempt(
        &self,
        text: &str,
        options: &QueryOptions,
        started: Instant,
        cancelled: &mut dyn FnMut() -> bool,
    ) -> Result<QueryResult> {
        let runtime = runtime()?;
        let snapshot = (self.take_snapshot)()?;
        let (sender, receiver) = sync_channel(1);
        let query = Query { text: text.to_owned(), snapshot, options: options.clone() };
        let task = runtime.spawn(query.answer_to(sender));
        loop {
            let patience = options.timeout.map_or(POLL_INTERVAL, |timeout| {
                timeout.saturating_sub(started.elapsed()).clamp(Duration::from_millis(1), POLL_INTERVAL)
            });
            match receiver.recv_timeout(patience) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Internal { message: "its thread panicked".to_owned() });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let stopped = match options.timeout {
                _ if cancelled() => Error::Cancelled,
                Some(timeout) if started.elapsed() >= timeout => Error::Timeout { timeout },
                _ => continue,
            };
            if let Some(task) = task {
                task.abort();
            }
            runtime.give_up();
            return Err(stopped);
        }
    }
}

/// One query on its way.
struct Query {
    text: String,
    snapshot: Arc<dyn SnapshotSource>,
    options: QueryOptions,
}

impl Query {
    async fn answer_to(self, sender: SyncSender<Result<QueryResult>>) {
        let answer = self.answer().await;
        // The caller may have stopped waiting; then nobody wants the answer.
        drop(sender.send(answer));
    }

    async fn answer(self) -> Result<QueryResult> {
        let mut statement = policy::parse(&self.text)?;
        parameters::bind(&mut statement, &self.options.parameters)?;
        let guard = Arc::new(Guard::new(self.options.damaged));
        let limit = self.options.memory_limit_bytes;
        let context = self.context(&guard).map_err(|error| from_datafusion(error, limit))?;
        let state = context.state();
        policy::check_tables(&statement, |name| state.table_functions().contains_key(name))?;
        let marked = unnested::mark_groups(&mut statement, &self.text);
        let clean = |error| self.with_names(from_datafusion(error, limit));
        let plan = state.statement_to_plan(statement).await.map_err(clean)?;
        policy::check_plan(&plan)?;
        let plan = if marked { unnested::forget_keys(plan).map_err(clean)? } else { plan };
        let frame = context.execute_logical_plan(plan).await.map_err(clean)?;
        let result = self.collect(frame, &guard).await;
        if let Some(error) = guard.damaged().iter().find_map(retired) {
            return Err(Error::Engine(error));
        }
        match result {
            // The scan's error names the file, but may have been worded anew on its way up.
            Err(_) if self.options.damaged == DamagedPolicy::Refuse && !guard.damaged().is_empty() => {
                Err(Error::Damaged { segment: guard.damaged().swap_remove(0) })
            }
            result => result,
        }
    }

    /// Brings in the names the store holds: metrics taken for columns, and parameters and tags that no run has.
    fn with_names(&self, error: Error) -> Error {
        if let Error::UnknownColumn { name, position, .. } = &error
            && self.is_metric(name)
        {
            return Error::MetricIsNoColumn { name: name.clone(), position: *position };
        }
        let Some(name) = missing_key(&error) else { return error };
        let runs = self.snapshot.runs();
        let keys: BTreeSet<&String> = runs.iter().flat_map(|run| run.params.keys().chain(run.tags.keys())).collect();
        let suggestion = nearest(name, keys.iter().map(|key| key.as_str()));
        Error::UnknownKey { name: name.to_owned(), suggestion, keys: keys.into_iter().cloned().collect() }
    }

    fn is_metric(&self, name: &str) -> bool {
        let committed = self.snapshot.segments().iter().flat_map(|segment| &segment.metrics);
        let live = self.snapshot.live().iter().flat_map(|live| &live.metrics);
        committed.chain(live).any(|stats| stats.metric == name)
    }

    fn context(&self, guard: &Arc<Guard>) -> datafusion::error::Result<SessionContext> {
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_target_partitions(self.options.parallelism.max(1))
            .with_batch_size(BATCH_ROWS)
            .with_collect_statistics(true)
            // A scan has as many streams as its rows are worth; to deal out the batches of one stream costs more than it gains.
            .with_round_robin_repartition(false);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".to_owned());
        options.sql_parser.collect_spans = true;
        let disk = DiskManagerBuilder::default().with_max_temp_directory_size(SPILL_BYTES_MAX);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.options.memory_limit_bytes)))
            .with_disk_manager_builder(disk)
            .build_arc()?;
        // Nothing a query says reaches the file system: there is no store that it could name.
        environment.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(environment)
            .with_default_features()
            .with_query_planner(Arc::new(unnested::Planner))
            .with_optimizer_rule(Arc::new(RollingWindows))
            .with_physical_optimizer_rule(Arc::new(ScansServe))
            .with_physical_optimizer_rule(Arc::new(CooperativeJoins))
            .build();
        let context = SessionContext::new_with_state(state);
        bounded::register(&context, self.options.memory_limit_bytes);
        let tables = StoreTables { snapshot: Arc::clone(&self.snapshot), guard: Arc::clone(guard) };
        context.register_catalog(CATALOG, Arc::new(StoreCatalog { tables: Arc::new(tables) }));
        table_functions::register(&context, &self.snapshot, guard);
        functions::register(&context);
        Ok(context)
    }

    async fn collect(&self, frame: datafusion::dataframe::DataFrame, guard: &Guard) -> Result<QueryResult> {
        let limit = self.options.memory_limit_bytes;
        let mut stream = frame.execute_stream().await.map_err(|error| from_datafusion(error, limit))?;
        let schema = stream.schema();
        let rows_max = self.options.rows_max.unwrap_or(usize::MAX);
        let (mut batches, mut rows, mut bytes, mut cut) = (Vec::new(), 0, 0_usize, false);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| from_datafusion(error, limit))?;
            let room = rows_max - rows;
            if batch.num_rows() > room {
                cut = true;
                batches.push(batch.slice(0, room));
                break;
            }
            bytes = bytes.saturating_add(batch_bytes(&batch));
            if bytes > limit {
                let message = format!("the result alone is larger after {rows} rows");
                return Err(Error::MemoryLimit { limit_bytes: limit, message });
            }
            rows += batch.num_rows();
            if batch.num_rows() > 0 {
                batches.push(batch);
            }
        }
        // Dropped first: a part of the scan that is still running could meet a damaged file after the warnings.
        drop(stream);
        // An answer that refuses damaged files has all its rows: what was met was read ahead, and not asked for.
        let left_out = if guard.policy == DamagedPolicy::Skip { guard.damaged() } else { Vec::new() };
        let mut warnings: Vec<String> = left_out.iter().map(warning).collect();
        warnings.extend(guard.packs().iter().map(|(path, fault)| {
            format!("the pack {path:?} cannot be used: {fault}; its rows were read from the runs' own files, and `stepwell doctor --repair` removes it")
        }));
        if cut {
            warnings.push(format!("the result was cut after {rows_max} rows, as asked; there are more"));
        }
        batches.retain(|batch| batch.num_rows() > 0);
        Ok(QueryResult::new(schema, batches, warnings))
    }
}

/// Whether a file is missing because compaction put others in its place.
fn retired(segment: &DamagedSegment) -> Option<EngineError> {
    (segment.fault == SegmentFault::Missing).then(|| stepwell_engine::segment::retired(&segment.path)).flatten()
}

fn warning(segment: &DamagedSegment) -> String {
    format!("{segment}; the answer leaves its rows out")
}
