//! What a function takes: checking of types with errors that say it, and constants.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::types::{logical_boolean, logical_float64, logical_int64, logical_string};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{ColumnarValue, TypeSignatureClass};
use datafusion::physical_plan::PhysicalExpr;

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any number; read as Float64.
    Number,
    /// What curves are drawn over: whole numbers, other numbers, times.
    Axis,
    /// A place on the axis that an earlier argument (its index) is on.
    PlaceOn(usize),
    /// Anything that has an order; floats are read as Float64.
    Any,
    /// A whole number.
    Whole,
    /// Text.
    Text,
    /// True or false.
    Flag,
}

impl Kind {
    fn wanted(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Axis => "a number or a time",
            Self::PlaceOn(_) => "of the same kind as the first argument",
            Self::Any => "a value",
            Self::Whole => "a whole number",
            Self::Text => "text",
            Self::Flag => "true or false",
        }
    }

    /// The type that SHOW FUNCTIONS names, of those that fit.
    pub(super) fn shown(self) -> TypeSignatureClass {
        TypeSignatureClass::Native(match self {
            Self::Number => logical_float64(),
            Self::Axis | Self::PlaceOn(_) | Self::Any | Self::Whole => logical_int64(),
            Self::Text => logical_string(),
            Self::Flag => logical_boolean(),
        })
    }

    /// The type an argument of type `given` is read as; `None` where it does not fit. `PlaceOn` is seen to elsewhere.
    fn read_as(self, given: &DataType) -> Option<DataType> {
        match self {
            Self::Number => number(given),
            Self::Axis | Self::PlaceOn(_) => axis(given),
            Self::Any if given.is_floating() => Some(DataType::Float64),
            Self::Any => Some(given.clone()),
            Self::Whole => (given.is_null() || given.is_integer()).then_some(DataType::Int64),
            Self::Text => text(given).then_some(DataType::Utf8),
            Self::Flag => matches!(given, DataType::Boolean | DataType::Null).then_some(DataType::Boolean),
        }
    }
}

/// One argument of a function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Whether it can be left out; those after it can be then, too.
    pub(super) optional: bool,
    pub(super) about: &'static str,
}

impl Parameter {
    pub(super) const fn new(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, optional: false, about }
    }

    pub(super) const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Self {
        Self { name, kind, optional: true, about }
    }
}

/// How a function is called, `[]` around what can be left out.
pub(super) fn syntax(name: &str, parameters: &[Parameter]) -> String {
    let mut text = format!("{name}(");
    for (n, parameter) in parameters.iter().enumerate() {
        let comma = if n > 0 { ", " } else { "" };
        let open = if parameter.optional { "[" } else { "" };
        text.extend([open, comma, parameter.name]);
    }
    let optional = parameters.iter().filter(|parameter| parameter.optional).count();
    text + &"]".repeat(optional) + ")"
}

/// The types that arguments of types `given` are read as. Errors end their line, by which `error::plain` knows them from
/// what DataFusion adds.
pub(super) fn coerce(name: &str, parameters: &[Parameter], given: &[DataType]) -> Result<Vec<DataType>> {
    let required = parameters.iter().filter(|parameter| !parameter.optional).count();
    if given.len() < required || given.len() > parameters.len() {
        return plan_err!("{} was given {} arguments\n", syntax(name, parameters), given.len());
    }
    let mut types: Vec<DataType> = Vec::with_capacity(given.len());
    for (parameter, given) in parameters.iter().zip(given) {
        let read_as = match parameter.kind {
            Kind::PlaceOn(first) => place_on(&mut types[first], given),
            kind => kind.read_as(given),
        };
        let Some(read_as) = read_as else {
            let syntax = syntax(name, parameters);
            return plan_err!("{syntax}: {} must be {}, not {given}\n", parameter.name, parameter.kind.wanted());
        };
        types.push(read_as);
    }
    Ok(types)
}

fn number(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Dictionary(_, values) => number(values),
        given => (given.is_numeric() || given.is_null()).then_some(DataType::Float64),
    }
}

fn axis(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Dictionary(_, values) => axis(values),
        DataType::Timestamp(..) => Some(given.clone()),
        DataType::Null => Some(DataType::Int64),
        DataType::UInt64 => Some(DataType::Float64),
        given if given.is_integer() => Some(DataType::Int64),
        given => given.is_numeric().then_some(DataType::Float64),
    }
}

/// The type of a place on an axis; an axis of whole numbers is read as Float64 where a place is between two of them.
fn place_on(axis_type: &mut DataType, given: &DataType) -> Option<DataType> {
    let place = match (&axis_type, given) {
        (DataType::Timestamp(..), given) if text(given) || matches!(given, DataType::Timestamp(..)) => {
            return Some(axis_type.clone());
        }
        (_, DataType::Null) => return Some(axis_type.clone()),
        _ => axis(given)?,
    };
    match (&axis_type, &place) {
        (DataType::Int64, DataType::Float64) => *axis_type = DataType::Float64,
        (DataType::Float64, DataType::Int64) => return Some(DataType::Float64),
        (one, other) if *one != other => return None,
        _ => {}
    }
    Some(place)
}

fn text(given: &DataType) -> bool {
    match given {
        DataType::Dictionary(_, values) => text(values),
        given => given.is_string() || given.is_null(),
    }
}

/// The arguments of one call, to read constants from.
#[derive(Clone, Copy)]
pub(super) struct Constants<'a> {
    pub(super) name: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) expressions: &'a [Arc<dyn PhysicalExpr>],
}

impl Constants<'_> {
    /// The constant at `index`; `None` when it was left out or is null.
    fn scalar(&self, index: usize) -> Result<Option<ScalarValue>> {
        let Some(expression) = self.expressions.get(index) else { return Ok(None) };
        // What is no constant needs a column, which this batch does not have.
        let nothing = RecordBatch::new_empty(Arc::new(Schema::empty()));
        match expression.evaluate(&nothing) {
            Ok(ColumnarValue::Scalar(value)) if value.is_null() => Ok(None),
            Ok(ColumnarValue::Scalar(value)) => Ok(Some(value)),
            _ => plan_err!("{}: {} must be a constant", self.name, self.parameters[index].name),
        }
    }

    pub(super) fn number(&self, index: usize) -> Result<Option<f64>> {
        Ok(match self.scalar(index)? {
            Some(ScalarValue::Float64(value)) => value,
            _ => None,
        })
    }

    pub(super) fn whole(&self, index: usize) -> Result<Option<i64>> {
        Ok(match self.scalar(index)? {
            Some(ScalarValue::Int64(value)) => value,
            _ => None,
        })
    }

    pub(super) fn flag(&self, index: usize) -> Result<Option<bool>> {
        Ok(match self.scalar(index)? {
            Some(ScalarValue::Boolean(value)) => value,
            _ => None,
        })
    }

    pub(super) fn text(&self, index: usize) -> Result<Option<String>> {
        Ok(self.scalar(index)?.and_then(|value| value.try_as_str().flatten().map(str::to_owned)))
    }

    /// A place on an axis, as a code.
    pub(super) fn place(&self, index: usize) -> Result<Option<i64>> {
        let Some(value) = self.scalar(index)? else { return Ok(None) };
        Ok(super::codes::encode(&value.to_array()?)?.first().copied())
    }

    /// The whole number at `index`, which must lie in `range`; `default` when it was left out or is null.
    pub(super) fn whole_in(
        &self,
        index: usize,
        range: std::ops::RangeInclusive<i64>,
        default: Option<i64>,
    ) -> Result<usize> {
        let (low, high) = (range.start(), range.end());
        let told = match self.whole(index)?.or(default) {
            Some(value) if range.contains(&value) => return Ok(usize::try_from(value).unwrap_or_default()),
            Some(value) => value.to_string(),
            None => "null".to_owned(),
        };
        plan_err!("{}: {} must be from {low} to {high}, not {told}", self.name, self.parameters[index].name)
    }
}
