//! `start`, and what it takes when nothing is said.

use std::env;
use std::path::PathBuf;

use pyo3::prelude::*;
use stepwell_engine::{RunId, RunOptions, Store, WhenFull};

use crate::error::{self, Class};
use crate::run::{Named, Run};
use crate::values;

/// Starts a run of a stage in a pipeline, or attaches to one.
///
/// `pipeline`: default is the name of the current folder; `stage`: default is the name of the script without ".py".
/// `params`: a dict of numbers, booleans and text, nested dicts become dotted names. `tags`: a dict of text.
/// `store`: the folder of all runs; default is the environment variable STEPWELL_STORE, else ".stepwell".
/// `rank`: of this process in a distributed run. `run_id`: attach to this run, as another rank or to resume it; it is
/// created when it does not exist, so that ranks can agree on an id beforehand.
/// `command`, `execution_type`, `execution_name` and `execution_uuid` are what the run is called as an execution in ML Metadata, in place
/// of its command line, its stage, nothing and its id; `pipeline_properties` and `stage_properties` are shared by the runs of both.
///
/// `when_full`: what a log call does when the disk cannot keep up: "wait" (a bounded time, then drop and count), "fail"
/// (raise JournalFullError) or "drop" (count).
///
/// Raises InputError, StorageError, ReadOnlyError.
///
///     with stepwell.start(pipeline="digits", stage="train", params={"lr": 0.1}) as run:
///         run.log({"loss": 0.5}, step=0)
#[pyfunction]
#[pyo3(signature = (pipeline = None, stage = None, *, name = None, params = None, tags = None, store = None, rank = 0,
    run_id = None, when_full = "wait", command = None, execution_type = None, execution_name = None,
    execution_uuid = None, pipeline_properties = None, stage_properties = None))]
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
    command: Option<String>,
    execution_type: Option<String>,
    execution_name: Option<String>,
    execution_uuid: Option<String>,
    pipeline_properties: Option<&Bound<'_, PyAny>>,
    stage_properties: Option<&Bound<'_, PyAny>>,
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
    options = in_metadata(options, [command, execution_type, execution_name, execution_uuid]);
    for (key, value) in values::params(pipeline_properties)? {
        options = options.pipeline_property(key, value);
    }
    for (key, value) in values::params(stage_properties)? {
        options = options.stage_property(key, value);
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
    Ok(Run::of(py, (opened, engine, logger), store, Named { pipeline, stage, name }))
}

/// What the run's execution is called in ML Metadata: command, type, name, uuid.
fn in_metadata(options: RunOptions, texts: [Option<String>; 4]) -> RunOptions {
    type Set = fn(RunOptions, String) -> RunOptions;
    let sets: [Set; 4] =
        [RunOptions::command, RunOptions::execution_type, RunOptions::execution_name, RunOptions::execution_uuid];
    let given = texts.into_iter().zip(sets).filter_map(|(text, set)| Some((text?, set)));
    given.fold(options, |options, (text, set)| set(options, text))
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
