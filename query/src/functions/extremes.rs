//! `argmin`, `argmax`, `min_by`, `max_by`, `first_by`, `last_by`: what belongs to a lowest or highest value.
//!
//! | | |
//! |---|---|
//! | `argmin(value, arg)`, `argmax(value, arg)` | the arg at the lowest or highest finite value; of equal values the lowest arg |
//! | `min_by(arg, value)`, `max_by(arg, value)` | the same with the arguments as DuckDB, Spark and Trino have them |
//! | `first_by(value, order)`, `last_by(value, order)` | the value at the lowest or highest order; of equal orders the lowest, or for `last_by` the highest, value |
//!
//! `value` of the first four is a number; `arg`, and both arguments of the other two, are of any type that has an order: a
//! struct too, so that `last_by(value, struct(step, attempt, seq))` takes the last record of the last attempt. The result
//! has the type of what it picks. A row with a null in either argument does not count, nor one whose `value` (`order`, for
//! the last two) is NaN; infinities count as an order only. NaN and infinities can be picked.
//!
//! Cost: one comparison a row; 24 bytes a group for numbers and times, an allocation a group for other types.

use arrow::array::ArrayRef;
use datafusion::common::{Result, internal_err};

use super::aggregate::{Call, Definition};
use super::arguments::{Kind, Parameter};
use super::pick::{Rows, Rule, Wanted, accumulator, finite_keys, groups, ordered_keys, types_at};

const VALUE: Parameter =
    Parameter::new("value", Kind::Number, "Number to find the extreme of; only finite ones count.");
const ARG: Parameter = Parameter::new("arg", Kind::Any, "What to give, of any type that has an order.");
const PICKED: Parameter = Parameter::new("value", Kind::Any, "What to give, of any type that has an order.");
const ORDER: Parameter =
    Parameter::new("order", Kind::Any, "What to order by, such as step, time or struct(step, attempt, seq).");

fn two(values: &[ArrayRef]) -> Result<[&ArrayRef; 2]> {
    match values {
        [one, other] => Ok([one, other]),
        _ => internal_err!("two arguments were checked for"),
    }
}

fn value_first(values: &[ArrayRef]) -> Result<Rows> {
    let [value, arg] = two(values)?;
    Ok(Rows { keys: finite_keys(value)?, payloads: arg.clone() })
}

fn value_last(values: &[ArrayRef]) -> Result<Rows> {
    let [arg, value] = two(values)?;
    Ok(Rows { keys: finite_keys(value)?, payloads: arg.clone() })
}

fn order_last(values: &[ArrayRef]) -> Result<Rows> {
    let [value, order] = two(values)?;
    Ok(Rows { keys: ordered_keys(order)?, payloads: value.clone() })
}

const ARGMIN: Rule = Rule { wanted: Wanted::LowestThenLowest, rows: value_first };
const ARGMAX: Rule = Rule { wanted: Wanted::HighestThenLowest, rows: value_first };
const MIN_BY: Rule = Rule { wanted: Wanted::LowestThenLowest, rows: value_last };
const MAX_BY: Rule = Rule { wanted: Wanted::HighestThenLowest, rows: value_last };
const FIRST_BY: Rule = Rule { wanted: Wanted::LowestThenLowest, rows: order_last };
const LAST_BY: Rule = Rule { wanted: Wanted::HighestThenHighest, rows: order_last };

/// Those whose first argument is the key.
macro_rules! key_first {
    ($rule:expr) => {
        Definition {
            name: "",
            aliases: &[],
            parameters: &[VALUE, ARG],
            about: "",
            example: "",
            returns: |types| types[1].clone(),
            state: |types| vec![types[0].clone(), types[1].clone()],
            accumulator: |call: &Call| accumulator($rule, types_at(call, 0, 1)),
            sliding: None,
            groups: Some(|call: &Call| groups($rule, types_at(call, 0, 1))),
        }
    };
}

/// Those whose last argument is the key.
macro_rules! key_last {
    ($rule:expr, $parameters:expr) => {
        Definition {
            name: "",
            aliases: &[],
            parameters: $parameters,
            about: "",
            example: "",
            returns: |types| types[0].clone(),
            state: |types| vec![types[1].clone(), types[0].clone()],
            accumulator: |call: &Call| accumulator($rule, types_at(call, 1, 0)),
            sliding: None,
            groups: Some(|call: &Call| groups($rule, types_at(call, 1, 0))),
        }
    };
}

pub(super) const DEFINITIONS: &[Definition] = &[
    Definition {
        name: "argmin",
        about: "The arg at the lowest finite value; of equal values the lowest arg.",
        example: "SELECT run_id, argmin(value, step) FROM metrics WHERE metric = 'val_loss' GROUP BY run_id",
        ..key_first!(ARGMIN)
    },
    Definition {
        name: "argmax",
        about: "The arg at the highest finite value; of equal values the lowest arg.",
        example: "SELECT pipeline, argmax(value, run_id) FROM metrics WHERE metric = 'val_accuracy' GROUP BY pipeline",
        ..key_first!(ARGMAX)
    },
    Definition {
        name: "min_by",
        about: "As argmin, with the arguments as DuckDB, Spark and Trino have them.",
        example: "SELECT run_id, min_by(step, value) FROM metrics WHERE metric = 'val_loss' GROUP BY run_id",
        ..key_last!(MIN_BY, &[ARG, VALUE])
    },
    Definition {
        name: "max_by",
        about: "As argmax, with the arguments as DuckDB, Spark and Trino have them.",
        example: "SELECT run_id, max_by(step, value) FROM metrics WHERE metric = 'val_accuracy' GROUP BY run_id",
        ..key_last!(MAX_BY, &[ARG, VALUE])
    },
    Definition {
        name: "first_by",
        about: "The value at the lowest order; of equal orders the lowest value.",
        example: "SELECT run_id, first_by(value, time) FROM metrics WHERE metric = 'loss' GROUP BY run_id",
        ..key_last!(FIRST_BY, &[PICKED, ORDER])
    },
    Definition {
        name: "last_by",
        about: "The value at the highest order; of equal orders the highest value.",
        example: "SELECT run_id, step, last_by(value, struct(attempt, seq)) FROM metrics GROUP BY run_id, step",
        ..key_last!(LAST_BY, &[PICKED, ORDER])
    },
];
