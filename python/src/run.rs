//! `Run`.

use std::mem;
use std::path::PathBuf;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use stepwell_engine::{
    ArtifactRecord, ArtifactSpec, ContextLevel, FinishState, Logger, Run as EngineRun, RunReport, Store,
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

    fn link_content(
        &self,
        py: Python<'_>,
        artifact_type: &str,
        path: PathBuf,
        options: LinkOptions<'_, '_>,
    ) -> PyResult<Artifact> {
        let direction = values::direction(options.direction)?;
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

impl Inner {
    /// Gives back room that the store's catalog took while it was written; for the end of the process.
    pub fn shorten_catalog_log(&self) {
        self.engine.store().shorten_catalog_log();
    }
}

/// What a run is called.
pub struct Named {
    /// The pipeline.
    pub pipeline: String,
    /// The stage.
    pub stage: String,
    /// Display name.
    pub name: Option<String>,
}

impl Run {
    /// The run that the engine has just started, remembered for the end of the process.
    pub fn of(
        py: Python<'_>,
        (opened, engine, logger): (Store, EngineRun, Logger),
        store: PathBuf,
        named: Named,
    ) -> Self {
        let short_name = PyString::intern(py, slow::SHORT_NAME_TEXT);
        let inner = Arc::new(Inner {
            engine,
            hot: GilCell::new(HotState::new(logger, &short_name, slow::SHORT_NAME_TEXT)),
            room: Mutex::new(()),
            pid: process::id(),
            store,
            opened: Mutex::new(Some(opened)),
            pipeline: named.pipeline,
            stage: named.stage,
            name: named.name,
            report: Mutex::new(None),
        });
        lifetime::remember(&inner);
        Self { inner }
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
        self.link_content(py, "Dataset", path, LinkOptions { direction, name, properties, copy })
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
        self.link_content(py, "Model", path, LinkOptions { direction, name, properties, copy })
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
        self.link_content(py, artifact_type, path, LinkOptions { direction, name, properties, copy })
    }

    /// Sets final values of the run: numbers, booleans or text by name. A later call with the same name adds to them.
    ///
    ///     run.log_execution_metrics("result", {"val_accuracy": 0.97, "epochs": 12})
    fn log_execution_metrics(&self, py: Python<'_>, name: &str, metrics: &Bound<'_, PyAny>) -> PyResult<()> {
        let metrics = values::params(Some(metrics))?;
        self.blocking(py, |run| run.log_execution_metrics(name, metrics))
    }

    /// Id of the run as an execution in ML Metadata's tables.
    #[getter]
    fn execution_id(&self) -> i64 {
        self.inner.engine.metadata_ids().execution
    }

    /// Id of the run's pipeline in ML Metadata's tables.
    #[getter]
    fn pipeline_id(&self) -> i64 {
        self.inner.engine.metadata_ids().pipeline
    }

    /// Id of the run's stage in ML Metadata's tables.
    #[getter]
    fn stage_id(&self) -> i64 {
        self.inner.engine.metadata_ids().stage
    }

    /// Links an artifact that is described in ML Metadata's own terms, and returns its id there. Nothing is hashed; `content` is
    /// a file that is copied into the store. `direction` is "input", "output", "internal_output", or None for no event: then
    /// properties are added to an artifact that is known. `path` is the key of the event's path; `attributed` says whether the
    /// artifact is attributed to the stage. Type, name and uri identify it. Raises InputError, NotFoundError, StorageError.
    ///
    ///     run.log_record("Dataset", "data.csv:0123", "0123", "input", properties={"rows": 3})
    #[pyo3(signature = (artifact_type, name, uri, direction = None, *, declared = None, properties = None, path = None,
        content = None, attributed = true))]
    #[expect(clippy::too_many_arguments, reason = "they are keyword arguments in Python")]
    fn log_record(
        &self,
        py: Python<'_>,
        artifact_type: String,
        name: String,
        uri: String,
        direction: Option<&str>,
        declared: Option<&Bound<'_, PyAny>>,
        properties: Option<&Bound<'_, PyAny>>,
        path: Option<String>,
        content: Option<PathBuf>,
        attributed: bool,
    ) -> PyResult<i64> {
        let record = ArtifactRecord {
            direction: direction.map(values::direction).transpose()?,
            artifact_type,
            name,
            uri,
            declared: values::params(declared)?,
            properties: values::params(properties)?,
            path,
            attributed,
            ..ArtifactRecord::default()
        };
        self.blocking(py, move |run| run.log_record_of(record, content.as_deref()))
    }

    /// Says that one artifact came of another, without a run between: a slice of a data set, for instance. Both are what
    /// `log_dataset` and the like returned.
    ///
    ///     run.link(whole, part, "derived")
    #[pyo3(signature = (source, target, relation = "derived"))]
    fn link(&self, py: Python<'_>, source: &Artifact, target: &Artifact, relation: &str) -> PyResult<()> {
        let (source, target) = (source.key(), target.key());
        self.blocking(py, move |run| run.link(source, target, relation))
    }

    /// Gives an artifact an alias, such as "best", among all that is logged under its name; it leaves the version that had it.
    /// `None` as the artifact takes the alias away from `name`.
    ///
    ///     run.set_alias(model, "best")
    #[pyo3(signature = (artifact, alias, name = None))]
    fn set_alias(
        &self,
        py: Python<'_>,
        artifact: Option<&Artifact>,
        alias: &str,
        name: Option<String>,
    ) -> PyResult<()> {
        let Some(name) = name.or_else(|| artifact.map(Artifact::name_of)) else {
            return Err(
                Class::Input.error(py, "without an artifact, give the name that the alias belongs to".to_owned())
            );
        };
        let key = artifact.map(Artifact::key);
        self.blocking(py, move |run| run.set_alias(&name, alias, key))
    }

    /// Sets declared properties of the run's execution in ML Metadata, such as CMF's "Git_End_Commit". Custom properties of the
    /// execution are parameters: `set_params`.
    fn set_execution_properties(&self, py: Python<'_>, declared: &Bound<'_, PyAny>) -> PyResult<()> {
        let declared = values::params(Some(declared))?;
        self.blocking(py, |run| run.set_execution_properties(declared))
    }

    /// Sets properties of the run's "pipeline" or "stage", which all runs of it share. A later value replaces an earlier one.
    ///
    ///     run.set_context_properties("pipeline", {"owner": "vision"})
    fn set_context_properties(&self, py: Python<'_>, level: &str, properties: &Bound<'_, PyAny>) -> PyResult<()> {
        let level = match level {
            "pipeline" => ContextLevel::Pipeline,
            "stage" => ContextLevel::Stage,
            other => {
                let fault = format!("level {other:?} is not possible; use \"pipeline\" or \"stage\"");
                return Err(Class::Input.error(py, fault));
            }
        };
        let properties = values::params(Some(properties))?;
        self.blocking(py, |run| run.set_context_properties(level, properties))
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
