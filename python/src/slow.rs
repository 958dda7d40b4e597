//! The log calls when something is not as usual: new keys, values that are not floats, a full ring, bad input.
//!
//! All of a row is converted before any of it is logged, so a bad value leaves nothing behind.

use std::sync::PoisonError;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping};
use stepwell_engine::{LogError, RoomOutcome, Row};

use crate::error::{self, Class};
use crate::run::Inner;
use crate::shapes::{HotState, LoggerSlot};
use crate::values::{self, Which};

/// Metrics name of `run.log`.
pub const SHORT_NAME_TEXT: &str = "metrics";

/// Logs `metrics` under `name`, or under the short name when there is none.
///
/// # Errors
/// `InputTypeError`, `InputError`, `RunClosedError`, `ForkedError`, `JournalFullError`.
pub fn log(
    run: &Inner,
    name: Option<&Bound<'_, PyAny>>,
    metrics: &Bound<'_, PyAny>,
    step: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = metrics.py();
    run.check_ready(py)?;
    if let Some(name) = name {
        values::expect_text(name, "metrics name")?;
    }
    let items = items_of(metrics, name)?;
    let mut numbers = Vec::with_capacity(items.len());
    for (key, value) in &items {
        values::expect_text(key, "metric key")?;
        numbers.push(values::metric_value(value, &Which { metrics_name: name, key })?);
    }
    let step = given_step(step)?;
    if items.is_empty() {
        return Ok(());
    }
    let row = row_of(run, name, &items)?;
    push(py, run, &row, step, &numbers)
}

/// The engine's row for the keys of `items`: from their objects where they are known, else from their content.
fn row_of(run: &Inner, name: Option<&Bound<'_, PyAny>>, items: &[Item<'_>]) -> PyResult<Row> {
    let py = items[0].0.py();
    let addresses: Vec<usize> = items.iter().map(|(key, _)| key.as_ptr() as usize).collect();
    if let Some(row) = run.hot.borrow_mut(py)?.known_row(name, &addresses) {
        return Ok(row);
    }
    let name_text = match name {
        Some(name) => values::text(name, "metrics name")?,
        None => SHORT_NAME_TEXT.to_owned(),
    };
    let texts: Vec<String> = items.iter().map(|(key, _)| values::text(key, "metric key")).collect::<PyResult<_>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let row = run.engine.row(&name_text, &texts).map_err(|fault| error::engine(py, &fault))?;
    let keys = items.iter().map(|(key, _)| key);
    run.hot.borrow_mut(py)?.remember(name, &name_text, keys, &row);
    Ok(row)
}

/// Logs one value of a metric handle.
///
/// # Errors
/// Those of [`log`].
pub fn log_one(
    run: &Inner,
    row: &Row,
    which: &Which<'_, '_>,
    value: &Bound<'_, PyAny>,
    step: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let py = value.py();
    run.check_ready(py)?;
    let number = values::metric_value(value, which)?;
    let step = given_step(step)?;
    push(py, run, row, step, &[number])
}

fn given_step(step: Option<&Bound<'_, PyAny>>) -> PyResult<Option<i64>> {
    step.filter(|step| !step.is_none()).map(values::step).transpose()
}

/// A key and its value.
type Item<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// The items of a dict or another mapping, held, so that code run by a conversion cannot take them away.
fn items_of<'py>(metrics: &Bound<'py, PyAny>, name: Option<&Bound<'py, PyAny>>) -> PyResult<Vec<Item<'py>>> {
    if let Ok(dict) = metrics.cast::<PyDict>() {
        return Ok(dict.iter().collect());
    }
    match metrics.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.iter().map(|item| item.extract()).collect(),
        Err(_) => {
            let fault = format!(
                "the metrics of {:?} must be a dict of names to numbers, such as {{\"loss\": 0.5}}, not {}",
                name.map_or_else(|| SHORT_NAME_TEXT.to_owned(), ToString::to_string),
                values::type_name(metrics)
            );
            Err(Class::InputType.error(metrics.py(), fault))
        }
    }
}

/// Hands a row to the engine; waits for room without the interpreter's lock where the run's policy says so. Without a
/// step, the next one of the metrics name is taken.
///
/// # Errors
/// `RunClosedError`, `ForkedError`, `JournalFullError`.
pub fn push(py: Python<'_>, run: &Inner, row: &Row, step: Option<i64>, values: &[f64]) -> PyResult<()> {
    let mut step = step;
    loop {
        let outcome = match &mut run.hot.borrow_mut(py)?.logger {
            LoggerSlot::Ready(logger) => logger.try_log_row(row, *step.get_or_insert_with(|| row.next_step()), values),
            LoggerSlot::Closed => Err(LogError::Closed),
            LoggerSlot::Forked => Err(LogError::Forked),
        };
        match outcome {
            Ok(()) => return Ok(()),
            Err(LogError::Full) => match wait_for_room(py, run, values.len() as u64)? {
                RoomOutcome::Room => {}
                RoomOutcome::Dropped => return Ok(()),
                RoomOutcome::Refused(refusal) => return Err(error::log(py, refusal)),
            },
            Err(refusal) => return Err(error::log(py, refusal)),
        }
    }
}

/// Waits for room, one thread at a time: the policy's time limit is for the ring, not for each thread.
fn wait_for_room(py: Python<'_>, run: &Inner, records: u64) -> PyResult<RoomOutcome> {
    let waiter = {
        let mut state = run.hot.borrow_mut(py)?;
        let HotState { logger, waiting, .. } = &mut *state;
        match logger {
            LoggerSlot::Ready(logger) if !*waiting => {
                *waiting = true;
                Some(logger.room_waiter(records))
            }
            _ => None,
        }
    };
    let turn = || run.room.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(waiter) = waiter else {
        py.detach(|| drop(turn()));
        return Ok(RoomOutcome::Room);
    };
    let outcome = py.detach(|| {
        let _turn = turn();
        waiter.wait()
    });
    run.hot.borrow_mut(py)?.waiting = false;
    Ok(outcome)
}
