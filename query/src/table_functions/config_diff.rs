//! Function `config_diff(['run', ...])`: the parameters that differ among runs.
//!
//! | column | Arrow type | nullable | what it is |
//! |---|---|---|---|
//! | `key` | Dictionary(Int32, Utf8) | no | name of the parameter |
//! | `run_id` | Dictionary(Int32, Utf8) | no | run |
//! | `name` | Utf8 | yes | display name of the run |
//! | `value` | Utf8 | yes | the value as text; null when the run does not have the parameter |
//! | `number` | Float64 | yes | the value, when it is an integer or a float |
//!
//! One row for each run and each parameter that is not the same in all of the runs; one that only some of them have
//! differs too. Numbers are compared as numbers: 1 and 1.0 are the same. Without arguments, all runs are compared.
//! Ordered by parameter, then by the runs as given.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::Field;
use datafusion::catalog::TableProvider;
use datafusion::error::{DataFusionError, Result};
use stepwell_engine::{ParamValue, RunInfo};

use super::Store;
use super::arguments::Arguments;
use crate::rows_table::RowsTable;
use crate::system_tables::columns::{
    float_field, key_field, keys, nullable, number, optional_floats, optional_texts, text_field,
};

/// Most runs that can be named.
const RUNS_MAX: usize = 10_000;
/// Most rows. Runs that all have other parameters would make as many as the square of their number.
const ROWS_MAX: usize = 5_000_000;

pub(super) fn table(store: &Arc<Store>, arguments: &Arguments) -> Result<Arc<dyn TableProvider>> {
    let all = store.snapshot.runs();
    let texts = arguments.texts(0..=RUNS_MAX)?;
    if let [only] = texts {
        return Err(arguments.error(&format!("{only:?} is a single run; name two or more, or none to compare all")));
    }
    let mut runs: Vec<RunInfo> = Vec::with_capacity(texts.len());
    for text in texts {
        let run = arguments.run(text, all)?;
        if runs.iter().all(|other| other.run_id != run.run_id) {
            runs.push(run.clone());
        }
    }
    if texts.is_empty() {
        runs = all.to_vec();
    }
    Ok(Arc::new(RowsTable::new(fields(), move || rows(&runs))))
}

fn fields() -> Vec<Field> {
    vec![
        key_field("key"),
        key_field("run_id"),
        nullable(text_field("name")),
        nullable(text_field("value")),
        nullable(float_field("number")),
    ]
}

fn rows(runs: &[RunInfo]) -> Result<Vec<arrow::array::ArrayRef>> {
    let known: BTreeSet<&String> = runs.iter().flat_map(|run| run.params.keys()).collect();
    let differing: Vec<&String> = known.into_iter().filter(|key| differs(runs, key)).collect();
    let count = differing.len().saturating_mul(runs.len());
    if count > ROWS_MAX {
        return Err(DataFusionError::Plan(format!(
            "config_diff(['run', ...]): {} parameters differ among {} runs, and a table has at most {ROWS_MAX} rows of them; name the runs to compare",
            differing.len(),
            runs.len()
        )));
    }
    let cells: Vec<(&String, &RunInfo)> =
        differing.into_iter().flat_map(|key| runs.iter().map(move |run| (key, run))).collect();
    let values = || cells.iter().map(|(key, run)| run.params.get(*key));
    Ok(vec![
        keys(cells.iter().map(|(key, _)| key))?,
        keys(cells.iter().map(|(_, run)| run.run_id.to_string()))?,
        optional_texts(cells.iter().map(|(_, run)| run.name.as_deref())),
        optional_texts(values().map(|value| value.map(ParamValue::to_display))),
        optional_floats(values().map(|value| value.and_then(number))),
    ])
}

fn differs(runs: &[RunInfo], key: &str) -> bool {
    let mut values = runs.iter().map(|run| run.params.get(key));
    let first = values.next().flatten();
    values.any(|value| !is_same(first, value))
}

fn is_same(a: Option<&ParamValue>, b: Option<&ParamValue>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => match (number(a), number(b)) {
            // Two integers above 2^53 may be one float; their digits tell.
            (Some(x), Some(y)) if !matches!((a, b), (ParamValue::Int(_), ParamValue::Int(_))) => {
                x.total_cmp(&y).is_eq() || x == y
            }
            _ => a == b,
        },
        (a, b) => a.is_none() && b.is_none(),
    }
}
