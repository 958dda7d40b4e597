//! Collects the finite values of a group, for functions that need all of them.

use std::fmt;
use std::mem::{size_of, size_of_val, take};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::aggregate::{list, list_of, lists};

/// Makes the result of a function from all values, sorted; there is at least one.
pub(super) type Finish = Box<dyn Fn(&[f64]) -> Result<ScalarValue> + Send + Sync>;

/// Types of the states.
pub(super) fn states(_types: &[DataType]) -> Vec<DataType> {
    vec![list_of(DataType::Float64)]
}

/// The finite values of an array.
pub(super) fn finite(values: &ArrayRef) -> impl Iterator<Item = f64> + '_ {
    values.as_primitive::<Float64Type>().iter().flatten().filter(|value| value.is_finite())
}

/// Eight bytes a value.
pub(super) struct Values {
    values: Vec<f64>,
    returns: DataType,
    finish: Finish,
}

impl Values {
    pub(super) fn boxed(returns: &DataType, finish: Finish) -> Box<dyn Accumulator> {
        Box::new(Self { values: Vec::new(), returns: returns.clone(), finish })
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values").field("count", &self.values.len()).finish_non_exhaustive()
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.extend(finite(&values[0]));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in lists(&states[0]) {
            self.values.extend_from_slice(values.as_primitive::<Float64Type>().values());
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![list(Arc::new(Float64Array::from(take(&mut self.values))))?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.values.is_empty() {
            return ScalarValue::try_from(&self.returns);
        }
        self.values.sort_unstable_by(f64::total_cmp);
        (self.finish)(&self.values)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }
}
