//! SQL: `sql`, `runs`, and the result, which crosses to other libraries as an Arrow C stream without a copy.

use std::path::PathBuf;
use std::time::Duration;

use arrow::array::{RecordBatch, RecordBatchIterator};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict, PyIterator, PyList, PyTuple};
use stepwell_query::{DamagedPolicy, QueryOptions, QueryResult, Session};

use crate::error::{self, Class};
use crate::rows;
use crate::start::store_path;
use crate::{stores, values};

/// The rows of a query.
///
/// Any library that reads the Arrow C stream interface takes it as it is, without a copy: `pyarrow.table(result)`,
/// `polars.DataFrame(result)`. `len(result)` is the number of rows; iterating gives one dict a row.
#[pyclass(frozen, module = "stepwell", name = "Result")]
pub struct QueryAnswer {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    warnings: Vec<String>,
}

impl QueryAnswer {
    fn new(result: QueryResult) -> Self {
        let (schema, batches, warnings) = result.into_parts();
        Self { schema, batches, warnings }
    }

    fn row_count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The first column, which is text.
    fn texts(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let mut texts = Vec::new();
        for batch in &self.batches {
            let columns = rows::columns(py, batch)?;
            for row in 0..batch.num_rows() {
                texts.push(columns[0].value(row)?.extract()?);
            }
        }
        Ok(texts)
    }

    /// The first `limit` rows as one batch, for display.
    fn head(&self, py: Python<'_>, limit: usize) -> PyResult<RecordBatch> {
        let mut left = limit;
        let mut parts = Vec::new();
        for batch in &self.batches {
            let taken = left.min(batch.num_rows());
            parts.push(batch.slice(0, taken));
            left -= taken;
            if left == 0 {
                break;
            }
        }
        concat_batches(&self.schema, &parts).map_err(|fault| Class::Stepwell.error(py, fault.to_string()))
    }
}

#[pymethods]
impl QueryAnswer {
    /// Names of the columns, in order.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Arrow types of the columns, in order, as text.
    #[getter]
    fn types(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.data_type().to_string()).collect()
    }

    /// What the reader of the rows should know, such as segments that were skipped.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// All rows as tuples of Python values, in order.
    #[getter]
    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for batch in &self.batches {
            let columns = rows::columns(py, batch)?;
            for row in 0..batch.num_rows() {
                let values = columns.iter().map(|column| column.value(row)).collect::<PyResult<Vec<_>>>()?;
                list.append(PyTuple::new(py, values)?)?;
            }
        }
        Ok(list)
    }

    /// All rows as dicts of column to Python value, in order. Timestamps become `datetime`, NULL becomes None.
    fn to_dicts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let names = self.columns();
        let list = PyList::empty(py);
        for batch in &self.batches {
            let columns = rows::columns(py, batch)?;
            for row in 0..batch.num_rows() {
                let dict = PyDict::new(py);
                for (name, column) in names.iter().zip(&columns) {
                    dict.set_item(name, column.value(row)?)?;
                }
                list.append(dict)?;
            }
        }
        Ok(list)
    }

    /// The result as a `pyarrow.Table`, without a copy. Needs pyarrow.
    fn to_arrow<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        needed(slf.py(), "pyarrow", "to_arrow")?.call_method1("table", (slf,))
    }

    /// The result as a `pandas.DataFrame`. Needs pandas and pyarrow.
    fn to_pandas<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        needed(slf.py(), "pandas", "to_pandas")?;
        needed(slf.py(), "pyarrow", "to_pandas")?.call_method1("table", (slf,))?.call_method0("to_pandas")
    }

    /// The result as a `polars.DataFrame`, without a copy where Polars allows it. Needs polars.
    fn to_polars<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        needed(slf.py(), "polars", "to_polars")?.call_method1("DataFrame", (slf,))
    }

    /// The Arrow C stream of the result (Arrow PyCapsule interface). May be asked for any number of times.
    ///
    /// `requested_schema` is accepted and not followed, as the interface allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = self.batches.clone().into_iter().map(Ok);
        let reader = RecordBatchIterator::new(batches, self.schema.clone());
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __len__(&self) -> usize {
        self.row_count()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.to_dicts(py)?.try_iter()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        rows::text_table(py, &self.head(py, rows::SHOWN_ROWS_MAX)?, self.row_count())
    }

    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        rows::html_table(py, &self.head(py, rows::SHOWN_ROWS_MAX)?, self.row_count())
    }
}

fn needed<'py>(py: Python<'py>, library: &str, call: &str) -> PyResult<Bound<'py, PyModule>> {
    py.import(library).map_err(|cause| {
        if !cause.is_instance_of::<PyImportError>(py) {
            return cause;
        }
        let missing = PyImportError::new_err(format!("{call}() needs {library}: pip install {library}"));
        missing.set_cause(py, Some(cause));
        missing
    })
}

/// Answers one SQL query over all runs of a store, those that are still training included. It only reads.
///
/// Tables: metrics, runs, params, summary, artifacts, lineage and more (`SHOW TABLES`). `store` is the folder of all
/// runs; default is the environment variable STEPWELL_STORE, else ".stepwell". `params` are values for the names with
/// a `$` in the query: None, bool, int, float, str, datetime with a time zone, or a list of one of them, which
/// `x IN ($list)` takes; a value never becomes SQL. `skip_damaged=True` answers from the other files when one is damaged,
/// and says so in `result.warnings`; the default is to raise. `timeout` in seconds; `max_rows` cuts the result, with a
/// warning; `memory_limit` in bytes, 4 GiB by default.
///
/// Ctrl-C stops the query. Raises QueryError, CorruptionError, NotFoundError, StorageError.
///
///     best = "SELECT run_id, min(value) FROM metrics WHERE metric = $metric GROUP BY run_id"
///     stepwell.sql(best, params={"metric": "loss"}).to_polars()
#[pyfunction]
#[pyo3(signature = (
    query, store = None, *, params = None, skip_damaged = false, timeout = None, max_rows = None, memory_limit = None
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub fn sql(
    py: Python<'_>,
    query: String,
    store: Option<PathBuf>,
    params: Option<&Bound<'_, PyAny>>,
    skip_damaged: bool,
    timeout: Option<f64>,
    max_rows: Option<usize>,
    memory_limit: Option<usize>,
) -> PyResult<QueryAnswer> {
    let timeout = match timeout.map(Duration::try_from_secs_f64).transpose() {
        Ok(timeout) => timeout,
        Err(_) => return Err(Class::Input.error(py, "the timeout must be a number of seconds, 0 or more")),
    };
    let damaged = if skip_damaged { DamagedPolicy::Skip } else { DamagedPolicy::Refuse };
    let mut options = QueryOptions::default().with_damaged(damaged).with_timeout(timeout).with_rows_max(max_rows);
    if let Some(bytes) = memory_limit {
        options = options.with_memory_limit_bytes(bytes);
    }
    for (name, value) in values::sql_parameters(params)? {
        options = options.with_parameter(&name, value);
    }
    ask(py, &query, store, &options)
}

fn ask(py: Python<'_>, query: &str, store: Option<PathBuf>, options: &QueryOptions) -> PyResult<QueryAnswer> {
    let store = store_path(store);
    // Asked every 100 ms while the query runs, on this thread, which is Python's main thread when signals are its.
    let mut interrupt = None;
    let mut interrupted = || {
        interrupt = Python::attach(|py| py.check_signals().err());
        interrupt.is_some()
    };
    let outcome = py.detach(|| {
        let store = stores::open(&store)?;
        Session::new(&store).sql_cancellable(query, options, &mut interrupted)
    });
    match (outcome, interrupt) {
        (Ok(result), _) => Ok(QueryAnswer::new(result)),
        (Err(_), Some(interrupt)) => Err(interrupt),
        (Err(fault), None) => Err(error::query(py, &fault)),
    }
}

/// All runs of a store, the newest first: `SELECT * FROM runs ORDER BY started DESC`. Raises as `sql`.
#[pyfunction]
#[pyo3(signature = (store = None))]
pub fn runs(py: Python<'_>, store: Option<PathBuf>) -> PyResult<QueryAnswer> {
    ask(py, "SELECT * FROM runs ORDER BY started DESC, run_id DESC", store, &QueryOptions::default())
}

/// What a run logged: one row per metric, with count, extremes and their steps, first, last and mean.
///
/// `run` is the id of a run, the beginning of an id, or a name that only one run has. Answered without reading a record.
/// Raises NotFoundError for a run that does not exist, and as `sql`.
#[pyfunction]
#[pyo3(signature = (run, store = None))]
pub fn metrics(py: Python<'_>, run: &str, store: Option<PathBuf>) -> PyResult<QueryAnswer> {
    let run = run_id(py, run, store.clone())?;
    metrics_of(py, &run, store)
}

/// The curve of one metric of a run: step, time, value, rank and attempt of each record, by step.
///
/// `run` is the id of a run, the beginning of an id, or a name that only one run has. A step that was logged several
/// times has as many rows, in the order in which they were logged. `metrics_name` tells metrics of the same key apart.
/// Raises NotFoundError for a run or a metric that does not exist, and as `sql`.
///
///     stepwell.history("baseline", "loss").to_pandas().plot("step", "value")
#[pyfunction]
#[pyo3(signature = (run, metric, metrics_name = None, store = None))]
pub fn history(
    py: Python<'_>,
    run: &str,
    metric: &str,
    metrics_name: Option<&str>,
    store: Option<PathBuf>,
) -> PyResult<QueryAnswer> {
    let run = run_id(py, run, store.clone())?;
    history_of(py, &run, metric, metrics_name, store)
}

/// See [`metrics`]; `run` is a whole id.
pub fn metrics_of(py: Python<'_>, run: &str, store: Option<PathBuf>) -> PyResult<QueryAnswer> {
    let query = "SELECT * EXCLUDE (run_id) FROM summary WHERE run_id = $run ORDER BY metrics_name, metric";
    ask(py, query, store, &QueryOptions::default().with_parameter("run", run))
}

/// See [`history`]; `run` is a whole id.
pub fn history_of(
    py: Python<'_>,
    run: &str,
    metric: &str,
    metrics_name: Option<&str>,
    store: Option<PathBuf>,
) -> PyResult<QueryAnswer> {
    let mut options = QueryOptions::default().with_parameter("run", run).with_parameter("metric", metric);
    let mut of_name = "";
    if let Some(name) = metrics_name {
        options = options.with_parameter("name", name);
        of_name = "AND metrics_name = $name";
    }
    let query = format!(
        "SELECT step, time, value, rank, attempt FROM metrics WHERE run_id = $run AND metric = $metric {of_name} \
         ORDER BY step, rank, attempt, seq"
    );
    let answer = ask(py, &query, store.clone(), &options)?;
    if answer.row_count() > 0 {
        return Ok(answer);
    }
    let known = ask(
        py,
        "SELECT DISTINCT metrics_name || '/' || metric FROM summary WHERE run_id = $run ORDER BY 1 LIMIT 50",
        store,
        &QueryOptions::default().with_parameter("run", run),
    )?;
    let known = known.texts(py)?;
    let name = metrics_name.map_or_else(String::new, |name| format!("{name}/"));
    let there = if known.is_empty() { "it logged nothing".to_owned() } else { format!("it has {}", known.join(", ")) };
    Err(Class::NotFound.error(py, format!("run {run} has no metric {name}{metric}; {there}")))
}

/// The id of the run that a user means by its id, the beginning of it, or its name.
fn run_id(py: Python<'_>, run: &str, store: Option<PathBuf>) -> PyResult<String> {
    let query = "SELECT CAST(run_id AS VARCHAR) AS id FROM runs WHERE name = $run OR starts_with(run_id, $run) \
                 ORDER BY run_id <> $run, started DESC LIMIT 3";
    let found = ask(py, query, store, &QueryOptions::default().with_parameter("run", run))?.texts(py)?;
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [whole, ..] if whole == run => Ok(whole.clone()),
        [] => Err(Class::NotFound.error(py, format!("there is no run {run:?}; stepwell.runs() lists those there are"))),
        [one, other, ..] => {
            let fault = format!("{run:?} fits several runs, such as {one} and {other}; give the whole id");
            Err(Class::Input.error(py, fault))
        }
    }
}
