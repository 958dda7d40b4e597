//! Keeps one row of a group: the one with the lowest or highest key. Equal keys are settled by the payload, so that the
//! order of rows does not matter.

use std::cmp::Ordering;
use std::mem::{replace, size_of_val};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, DynComparator, Float64Array, make_comparator};
use arrow::compute::{SortOptions, nullif};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, GroupsAccumulator};

use super::aggregate::Call;
use super::codes::has_codes;
use super::pick_groups::PickGroups;

/// Which row to keep; by the key first, among equal keys by the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    LowestThenLowest,
    HighestThenLowest,
    HighestThenHighest,
}

impl Wanted {
    /// Whether a row that compares so with the kept one takes its place.
    pub(super) fn is_better(self, key: Ordering, payload: impl FnOnce() -> Ordering) -> bool {
        match (self, key) {
            (Self::LowestThenLowest, Ordering::Less) => true,
            (Self::HighestThenLowest | Self::HighestThenHighest, Ordering::Greater) => true,
            (Self::LowestThenLowest | Self::HighestThenLowest, Ordering::Equal) => payload() == Ordering::Less,
            (Self::HighestThenHighest, Ordering::Equal) => payload() == Ordering::Greater,
            _ => false,
        }
    }
}

/// Keys and payloads of rows. A row whose key or payload is null does not count.
pub(super) struct Rows {
    pub(super) keys: ArrayRef,
    pub(super) payloads: ArrayRef,
}

/// How the rows are got from the arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub(super) wanted: Wanted,
    pub(super) rows: fn(&[ArrayRef]) -> Result<Rows>,
}

/// An accumulator for keys and payloads of any types.
pub(super) fn accumulator(rule: Rule, types: [&DataType; 2]) -> Result<Box<dyn Accumulator>> {
    let [key, payload] = types.map(ScalarValue::try_from);
    Ok(Box::new(Pick { rule, key: key?, payload: payload? }))
}

/// An accumulator for many groups, where both types have codes.
pub(super) fn groups(rule: Rule, types: [&DataType; 2]) -> Option<Box<dyn GroupsAccumulator>> {
    types.iter().all(|data_type| has_codes(data_type)).then(|| PickGroups::boxed(rule, types.map(Clone::clone)))
}

/// The finite values, with -0.0 made 0.0 and all others null.
pub(super) fn finite_keys(values: &ArrayRef) -> Result<ArrayRef> {
    let values = values.as_primitive::<Float64Type>();
    let plain: Float64Array = values.unary(|value| value + 0.0);
    let odd = BooleanArray::from_unary(values, |value| !value.is_finite());
    Ok(nullif(&plain, &odd)?)
}

/// `keys` without NaN, where they are floats.
pub(super) fn ordered_keys(keys: &ArrayRef) -> Result<ArrayRef> {
    if *keys.data_type() != DataType::Float64 {
        return Ok(Arc::clone(keys));
    }
    let keys = keys.as_primitive::<Float64Type>();
    let plain: Float64Array = keys.unary(|key| key + 0.0);
    Ok(nullif(&plain, &BooleanArray::from_unary(keys, f64::is_nan))?)
}

/// The types at two places of a call.
pub(super) fn types_at<'a>(call: &'a Call<'_>, key: usize, payload: usize) -> [&'a DataType; 2] {
    [&call.types[key], &call.types[payload]]
}

#[derive(Debug)]
struct Pick {
    rule: Rule,
    key: ScalarValue,
    /// Null until a row counted.
    payload: ScalarValue,
}

impl Pick {
    fn take_rows(&mut self, rows: &Rows) -> Result<()> {
        let wanted = self.rule.wanted;
        let compare = |one: &ArrayRef, other: &ArrayRef| -> Result<DynComparator> {
            Ok(make_comparator(one.as_ref(), other.as_ref(), SortOptions::default())?)
        };
        let (key, payload) = (compare(&rows.keys, &rows.keys)?, compare(&rows.payloads, &rows.payloads)?);
        let (key_nulls, payload_nulls) = (rows.keys.logical_nulls(), rows.payloads.logical_nulls());
        let counts = |row: usize| {
            key_nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
                && payload_nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
        };
        let best = (0..rows.keys.len())
            .filter(|row| counts(*row))
            .reduce(|best, row| if wanted.is_better(key(row, best), || payload(row, best)) { row } else { best });
        let Some(best) = best else { return Ok(()) };
        if !self.payload.is_null() {
            let key = compare(&rows.keys, &self.key.to_array()?)?;
            let payload = compare(&rows.payloads, &self.payload.to_array()?)?;
            if !wanted.is_better(key(best, 0), || payload(best, 0)) {
                return Ok(());
            }
        }
        self.key = ScalarValue::try_from_array(&rows.keys, best)?.compacted();
        self.payload = ScalarValue::try_from_array(&rows.payloads, best)?.compacted();
        Ok(())
    }
}

impl Accumulator for Pick {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.take_rows(&(self.rule.rows)(values)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [keys, payloads] = states else { return internal_err!("a pick has two states") };
        self.take_rows(&Rows { keys: Arc::clone(keys), payloads: Arc::clone(payloads) })
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (null_key, null_payload) = (self.key.data_type(), self.payload.data_type());
        let key = replace(&mut self.key, ScalarValue::try_from(&null_key)?);
        let payload = replace(&mut self.payload, ScalarValue::try_from(&null_payload)?);
        Ok(vec![key, payload])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.payload.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.key) - size_of_val(&self.payload) + self.key.size() + self.payload.size()
    }
}
