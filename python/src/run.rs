//! `Run` and `start`.

use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, mem};

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use stepwell_engine::{
    ArtifactSpec, Direction, FinishState, Run as EngineRun, RunId, RunOptions, RunReport, Store, WhenFull,
};

use crate::error::{self, Class};
use crate::hot::GilCell;
use crate::query::{self, QueryAnswer};
use crate::reports::{Artifact, MetricsArtifact, Report, Stats};
use crate::shapes::{HotState, LoggerSlot};
use crate::{handle, lifetime, slow, values};

/// One execution of a stage, as seen by the process that writes to it.
///
/// Made by `stepwell.start`. Use it as a context manager: leaving the block finishes the run, an exception leaves it in
/// state "failed" and goes on. Threads may share it.
///
///     with stepwell.start(pipeline="digits", stage="train") as run:
///         run.log_metric("training_metrics", {"loss": 0.5}, step=0)
#[pyclass(frozen, module = "stepwell", name = "Run")]
pub struct Run {
    inner: Arc<Inner>,
}

/// A run without its Python object.
pub struct Inner {
    /// The engine's run.
    pub engine: EngineRun,
    /// What the log calls share.
    pub hot: GilCell<HotState>,
    /// Held by the thread that waits for room in the ring.
    pub room: Mutex<()>,
    /// The process that started the run.
    pid: u32,
    store: PathBuf,
    /// Held until the end, because closing its catalog writes to disk, which a start need not wait for.
    opened: Mutex<Option<Store>>,
    pipeline: String,
    stage: String,
    name: Option<String>,
    /// What `finish` returned, once it did.
    report: Mutex<Option<RunReport>>,
}

/// How much time the end of a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeLeft {
    /// Small files may be compacted.
    Enough,
    /// The interpreter ends, and other runs wait to be finished.
    Little,
}

impl Inner {
    /// Checks that this process may use the run.
    ///
    /// # Errors
    /// `RunClosedError`, `ForkedError`.
    pub fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process(py)?;
        self.check_ready(py)
    }

    /// Checks that the run takes records. Costs no system call: a fork is noticed by the hook that runs in the child.
    ///
    /// # Errors
    /// `RunClosedError`, `ForkedError`.
    pub fn check_ready(&self, py: Python<'_>) -> PyResult<()> {
        let fault = match self.hot.borrow_mut(py)?.logger {
            LoggerSlot::Ready(_) => return Ok(()),
            LoggerSlot::Closed => stepwell_engine::Error::RunClosed { run: self.engine.id() },
            LoggerSlot::Forked => stepwell_engine::Error::Forked { parent: self.pid },
        };
        Err(error::engine(py, &fault))
    }

    fn check_process(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_foreign() {
            return Err(error::engine(py, &stepwell_engine::Error::Forked { parent: self.pid }));
        }
        Ok(())
    }

    /// Whether this process is a forked child of the one that started the run.
    pub fn is_foreign(&self) -> bool {
        self.pid != process::id()
    }

    /// Whether the run was finished.
    pub fn is_closed(&self, py: Python<'_>) -> bool {
        self.hot.borrow_mut(py).is_ok_and(|state| matches!(state.logger, LoggerSlot::Closed | LoggerSlot::Forked))
    }

    /// Commits everything and closes the run; told again, gives the same report.
    ///
    /// # Errors
    /// `ForkedError`, `StorageError`.
    pub fn finish(&self, py: Python<'_>, state: FinishState, time: TimeLeft) -> PyResult<RunReport> {
        self.check_process(py)?;
        let logger = mem::replace(&mut self.hot.borrow_mut(py)?.logger, LoggerSlot::Closed);
        let outcome = py.detach(move || {
            // Handed back first, so that the engine finds every ring at rest.
            if let LoggerSlot::Ready(logger) = logger {
                drop(logger);
            }
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            let told = match &*report {
                Some(known) => Ok(known.clone()),
                None => {
                    let told = match time {
                        TimeLeft::Enough => self.engine.finish_as(state),
                        TimeLeft::Little => self.engine.close_as(state),
                    };
                    told.inspect(|told| *report = Some(told.clone()))
                }
            };
            drop(self.opened.lock().unwrap_or_else(PoisonError::into_inner).take());
            told
        });
        outcome.map_err(|fault| error::engine(py, &fault))
    }
}

impl Run {
    /// The run without its Python object.
    pub fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The same, shared.
    pub fn inner_arc(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }

    /// Does something that may block, without the interpreter's lock.
    fn blocking<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&EngineRun) -> stepwell_engine::Result<T> + Send,
    ) -> PyResult<T> {
        self.inner.check_open(py)?;
        py.detach(|| work(&self.inner.engine)).map_err(|fault| error::engine(py, &fault))
    }

    fn link(
        &self,
        py: Python<'_>,
        artifact_type: &str,
        path: PathBuf,
        options: LinkOptions<'_, '_>,
    ) -> PyResult<Artifact> {
        let direction = match options.direction {
            "input" => Direction::Input,
            "output" => Direction::Output,
            other => {
                let fault = format!("the direction {other:?} is not possible; use \"input\" or \"output\"");
                return Err(Class::Input.error(py, fault));
            }
        };
        let mut spec = ArtifactSpec::new(artifact_type, path);
        if let Some(name) = options.name {
            spec = spec.name(name);
        }
        for (key, value) in values::params(options.properties)? {
            spec = spec.property(key, value);
        }
        if !options.copy {
            spec = spec.reference_only();
        }
        self.blocking(py, move |run| run.log_artifact(direction, spec)).map(Artifact::from)
    }
}

struct LinkOptions<'a, 'py> {
    direction: &'a str,
    name: Option<String>,
    properties: Option<&'a Bound<'py, PyAny>>,
    copy: bool,
}

#[pymethods]
impl Run {
    /// Id of the run: a UUID, which sorts by the time the run was started.
    #[getter]
    fn id(&self) -> String {
        self.inner.engine.id().to_string()
    }

    /// Name of the pipeline.
    #[getter]
    fn pipeline(&self) -> &str {
        &self.inner.pipeline
    }

    /// Name of the stage.
    #[getter]
    fn stage(&self) -> &str {
        &self.inner.stage
    }

    /// Display name, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.inner.name.as_deref()
    }

    /// Path of the store.
    #[getter]
    fn store(&self) -> String {
        self.inner.store.display().to_string()
    }

    /// Whether the run was finished, or belongs to the parent process.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.inner.is_foreign() || self.inner.is_closed(py)
    }

    /// A handle for one metric, called as `loss(value)` or `loss(value, step)`: the fastest way to log one value.
    ///
    /// Raises InputError for a name that cannot be used, RunClosedError, ForkedError.
    ///
    ///     loss = run.metric("training_metrics", "loss")
    ///     loss(0.25, step)
    #[pyo3(signature = (metrics_name, key))]
    fn metric<'py>(
        slf: &Bound<'py, Self>,
        metrics_name: &Bound<'py, PyAny>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let inner = slf.get().inner();
        inner.check_open(py)?;
        let texts = (values::text(metrics_name, "metrics name")?, values::text(key, "metric key")?);
        let row = inner.engine.row(&texts.0, &[&texts.1]).map_err(|fault| error::engine(py, &fault))?;
        handle::new_metric(slf, &PyString::new(py, &texts.0), &PyString::new(py, &texts.1), row)
    }

    /// Publishes everything logged so far under `name` as a versioned metrics artifact, an output of the run.
    ///
    /// When it returns, the rows are in Parquet files that were synced to the device. Raises StorageError.
    ///
    ///     artifact = run.commit_metrics("training_metrics")
    #[pyo3(signature = (name = "metrics"))]
    fn commit_metrics(&self, py: Python<'_>, name: &str) -> PyResult<MetricsArtifact> {
        self.blocking(py, |run| run.commit(name)).map(MetricsArtifact::from)
    }

    /// Links a data set, a file or a folder, to the run by the hash of its content, and keeps a copy in the store.
    ///
    /// `direction` is "input" or "output"; `properties` a dict of numbers, booleans and text; `copy=False` keeps the hash
    /// only. Raises NotFoundError, StorageError, InputError.
    ///
    ///     run.log_dataset("data/train.csv", "input", properties={"rows": 1500})
    #[pyo3(signature = (path, direction, properties = None, *, name = None, copy = true))]
    fn log_dataset(
        &self,
        py: Python<'_>,
        path: PathBuf,
        direction: &str,
        properties: Option<&Bound<'_, PyAny>>,
        name: Option<String>,
        copy: bool,
    ) -> PyResult<Artifact> {
        self.link(py, "Dataset", path, LinkOptions { direction, name, properties, copy })
    }

    /// Links a model to the run; the parameters are those of `log_dataset`.
    ///
    ///     run.log_model("weights.npz", "output", properties={"layers": 2})
    #[pyo3(signature = (path, direction, properties = None, *, name = None, copy = true))]
    fn log_model(
        &self,
        py: Python<'_>,
        path: PathBuf,
        direction: &str,
        properties: Option<&Bound<'_, PyAny>>,
        name: Option<String>,
        copy: bool,
    ) -> PyResult<Artifact> {
        self.link(py, "Model", path, LinkOptions { direction, name, properties, copy })
    }

    /// Links any other file or folder to the run, with a type of your choice; otherwise as `log_dataset`.
    ///
    ///     run.log_artifact("report.html", "output", artifact_type="Report")
    #[pyo3(signature = (path, direction, properties = None, *, artifact_type = "File", name = None, copy = true))]
    #[expect(clippy::too_many_arguments, reason = "they are keyword arguments in Python")]
    fn log_artifact(
        &self,
        py: Python<'_>,
        path: PathBuf,
        direction: &str,
        properties: Option<&Bound<'_, PyAny>>,
        artifact_type: &str,
        name: Option<String>,
        copy: bool,
    ) -> PyResult<Artifact> {
        self.link(py, artifact_type, path, LinkOptions { direction, name, properties, copy })
    }

    /// Sets final values of the run: numbers, booleans or text by name. A later call with the same name adds to them.
    ///
    ///     run.log_execution_metrics("result", {"val_accuracy": 0.97, "epochs": 12})
    fn log_execution_metrics(&self, py: Python<'_>, name: &str, metrics: &Bound<'_, PyAny>) -> PyResult<()> {
        let metrics = values::params(Some(metrics))?;
        self.blocking(py, |run| run.log_execution_metrics(name, metrics))
    }

    /// Sets parameters: numbers, booleans or text by name. Nested dicts become dotted names; a later value replaces an
    /// earlier one.
    ///
    ///     run.set_params({"lr": 0.1, "optimizer": {"name": "sgd"}})
    fn set_params(&self, py: Python<'_>, params: &Bound<'_, PyAny>) -> PyResult<()> {
        let params = values::params(Some(params))?;
        self.blocking(py, |run| run.set_params(params))
    }

    /// Sets tags: text by name. A later value replaces an earlier one.
    ///
    ///     run.set_tags({"team": "vision"})
    fn set_tags(&self, py: Python<'_>, tags: &Bound<'_, PyAny>) -> PyResult<()> {
        let tags = values::tags(Some(tags))?;
        self.blocking(py, |run| run.set_tags(tags))
    }

    /// Waits until everything logged so far is on the device and survives power loss. Raises StorageError.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        self.blocking(py, EngineRun::sync)
    }

    /// Counters of the run: rows logged and committed, waits, drops, syncs, segments.
    fn stats(&self, py: Python<'_>) -> PyResult<Stats> {
        self.inner.check_process(py)?;
        Ok(py.detach(|| self.inner.engine.stats()).into())
    }

    /// What the run logged so far, by all its processes: one row per metric. See `stepwell.metrics`.
    fn metrics(&self, py: Python<'_>) -> PyResult<QueryAnswer> {
        query::metrics_of(py, &self.id(), Some(self.inner.store.clone()))
    }

    /// The curve of one metric so far: step, time, value, rank and attempt. See `stepwell.history`.
    #[pyo3(signature = (metric, metrics_name = None))]
    fn history(&self, py: Python<'_>, metric: &str, metrics_name: Option<&str>) -> PyResult<QueryAnswer> {
        query::history_of(py, &self.id(), metric, metrics_name, Some(self.inner.store.clone()))
    }

    /// Commits everything and closes the run. `state` is "finished" (default) or "failed".
    ///
    /// The report says how many rows were logged and what was lost: nothing, unless it says so. A second call gives the
    /// same report. Many small files become few, which takes about a second at most (STEPWELL_COMPACT_AT_FINISH_ROWS=0
    /// switches it off). Raises StorageError, InputError.
    #[pyo3(signature = (state = None))]
    fn finish(&self, py: Python<'_>, state: Option<&str>) -> PyResult<Report> {
        let state = match state {
            None | Some("finished") => FinishState::Finished,
            Some("failed") => FinishState::Failed,
            Some(other) => {
                let fault = format!("the state {other:?} is not possible; use \"finished\" or \"failed\"");
                return Err(Class::Input.error(py, fault));
            }
        };
        self.inner.finish(py, state, TimeLeft::Enough).map(Report::from)
    }

    fn __enter__(slf: Py<Self>, py: Python<'_>) -> PyResult<Py<Self>> {
        slf.get().inner.check_open(py)?;
        Ok(slf)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        exception_type: Option<&Bound<'_, PyType>>,
        _exception: Option<&Bound<'_, PyAny>>,
        _traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        if self.inner.is_foreign() || self.inner.is_closed(py) {
            return Ok(false);
        }
        let state = if exception_type.is_some() { FinishState::Failed } else { FinishState::Finished };
        let told =
            self.inner.finish(py, state, TimeLeft::Enough).and_then(|report| lifetime::warn_of_losses(py, &report));
        match told {
            // The exception of the block matters more than what went wrong after it.
            Err(fault) if exception_type.is_some() => fault.write_unraisable(py, None),
            other => other?,
        }
        Ok(false)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let inner = &*self.inner;
        let state = match (inner.is_foreign(), inner.is_closed(py)) {
            (true, _) => "of the parent process",
            (_, true) => "closed",
            _ => "open",
        };
        format!("<stepwell.Run {} {}/{} {state}>", inner.engine.id(), inner.pipeline, inner.stage)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        lifetime::finish_dropped(&self.inner);
    }
}

/// Starts a run of a stage in a pipeline, or attaches to one.
///
/// `pipeline`: default is the name of the current folder; `stage`: default is the name of the script without ".py".
/// `params`: a dict of numbers, booleans and text, nested dicts become dotted names. `tags`: a dict of text.
/// `store`: the folder of all runs; default is the environment variable STEPWELL_STORE, else ".stepwell".
/// `rank`: of this process in a distributed run. `run_id`: attach to this run, as another rank or to resume it; it is
/// created when it does not exist, so that ranks can agree on an id beforehand.
/// `when_full`: what a log call does when the disk cannot keep up: "wait" (a bounded time, then drop and count), "fail"
/// (raise JournalFullError) or "drop" (count).
///
/// Raises InputError, StorageError, ReadOnlyError.
///
///     with stepwell.start(pipeline="digits", stage="train", params={"lr": 0.1}) as run:
///         run.log({"loss": 0.5}, step=0)
#[pyfunction]
#[pyo3(signature = (pipeline = None, stage = None, *, name = None, params = None, tags = None, store = None, rank = 0,
    run_id = None, when_full = "wait"))]
#[expect(clippy::too_many_arguments, reason = "they are keyword arguments in Python")]
pub fn start(
    py: Python<'_>,
    pipeline: Option<String>,
    stage: Option<String>,
    name: Option<String>,
    params: Option<&Bound<'_, PyAny>>,
    tags: Option<&Bound<'_, PyAny>>,
    store: Option<PathBuf>,
    rank: i32,
    run_id: Option<&str>,
    when_full: &str,
) -> PyResult<Run> {
    let pipeline = pipeline.unwrap_or_else(default_pipeline);
    let stage = match stage {
        Some(stage) => stage,
        None => default_stage(py)?,
    };
    let mut options = RunOptions::new(&pipeline, &stage).rank(rank).when_full(policy(py, when_full)?);
    if let Some(name) = &name {
        options = options.name(name);
    }
    for (key, value) in values::params(params)? {
        options = options.param(key, value);
    }
    for (key, value) in values::tags(tags)? {
        options = options.tag(key, value);
    }
    if let Some(id) = run_id {
        options = options.run_id(id.parse::<RunId>().map_err(|fault| error::engine(py, &fault))?);
    }
    let store = store_path(store);
    let started = py.detach(|| {
        let opened = Store::open(&store)?;
        let engine = opened.start_run(options)?;
        let logger = engine.logger()?;
        Ok((opened, engine, logger))
    });
    let (opened, engine, logger) = started.map_err(|fault| error::engine(py, &fault))?;
    let short_name = PyString::intern(py, slow::SHORT_NAME_TEXT);
    let inner = Arc::new(Inner {
        engine,
        hot: GilCell::new(HotState::new(logger, &short_name, slow::SHORT_NAME_TEXT)),
        room: Mutex::new(()),
        pid: process::id(),
        store,
        opened: Mutex::new(Some(opened)),
        pipeline,
        stage,
        name,
        report: Mutex::new(None),
    });
    lifetime::remember(&inner);
    Ok(Run { inner })
}

/// The store that was named, or the one of the environment, or `.stepwell`.
pub fn store_path(store: Option<PathBuf>) -> PathBuf {
    store
        .or_else(|| env::var_os("STEPWELL_STORE").filter(|path| !path.is_empty()).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(".stepwell"))
}

fn policy(py: Python<'_>, when_full: &str) -> PyResult<WhenFull> {
    match when_full {
        "wait" => Ok(WhenFull::Wait),
        "fail" => Ok(WhenFull::Fail),
        "drop" => Ok(WhenFull::DropNewest),
        other => {
            let fault = format!("when_full={other:?} is not possible; use \"wait\", \"fail\" or \"drop\"");
            Err(Class::Input.error(py, fault))
        }
    }
}

fn default_pipeline() -> String {
    let folder = env::current_dir().ok();
    folder.as_deref().and_then(|path| path.file_name()).map_or("default".into(), |name| name.to_string_lossy().into())
}

/// The stem of the script; "interactive" where there is none.
fn default_stage(py: Python<'_>) -> PyResult<String> {
    let arguments: Vec<String> = py.import("sys")?.getattr("argv")?.extract().unwrap_or_default();
    let script = arguments.first().map(PathBuf::from);
    let stem = script.as_deref().and_then(|path| path.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    Ok(stem.filter(|stem| !stem.is_empty() && !stem.starts_with('-')).unwrap_or_else(|| "interactive".to_owned()))
}
