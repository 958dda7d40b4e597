//! `ema(value, decay[, debias]) OVER (PARTITION BY ... ORDER BY step)`: exponential moving average.
//!
//! `decay` is the weight of the past, from 0 (no smoothing) to below 1, as in TensorBoard and in `stepwell plot --smooth`;
//! pandas' `alpha` is `1 - decay`. With values x1, x2, ... in the order that OVER gives:
//!
//! | `debias` | recurrence | as |
//! |---|---|---|
//! | false (default) | `y1 = x1`; `yt = decay * y(t-1) + (1 - decay) * xt` | pandas `ewm(alpha=1-decay, adjust=False)` |
//! | true | `m0 = 0`; `mt = decay * m(t-1) + (1 - decay) * xt`; `yt = mt / (1 - decay^t)` | TensorBoard, pandas `adjust=True` |
//!
//! The second is the bias correction of Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, section 3: without it
//! the first value has the weight of all that came before.
//!
//! `value` is a number; `decay` and `debias` are constants. The result is Float64. A null gives null; NaN and infinities give
//! themselves; neither changes the average, nor counts in t. The frame of OVER does not matter, its ORDER BY does.
//!
//! Cost: a multiplication a row, in one pass; no memory.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{Documentation, LimitEffect, PartitionEvaluator, Signature, WindowUDFImpl};
use datafusion::physical_plan::PhysicalExpr;

use super::aggregate::{documentation, signature};
use super::arguments::{Constants, Kind, Parameter, coerce};

const NAME: &str = "ema";
const PARAMETERS: &[Parameter] = &[
    Parameter::new("value", Kind::Number, "Values of the curve; NaN and infinities are passed through."),
    Parameter::new("decay", Kind::Number, "Weight of the past, from 0 to below 1."),
    Parameter::optional("debias", Kind::Flag, "Whether to correct the bias of the first values; default false."),
];

/// The window function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Ema {
    signature: Signature,
    documentation: Documentation,
}

impl Ema {
    pub(super) fn new() -> Self {
        let about = "Exponential moving average in the order that OVER gives; decay is the weight of the past.";
        let example = "SELECT step, ema(value, 0.99, true) OVER (PARTITION BY run_id ORDER BY step) FROM metrics";
        let after = " OVER ([PARTITION BY ...] ORDER BY ...)";
        Self { signature: signature(PARAMETERS), documentation: documentation(NAME, about, example, PARAMETERS, after) }
    }
}

impl WindowUDFImpl for Ema {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(NAME, PARAMETERS, arg_types)
    }

    fn field(&self, field_args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(field_args.name(), DataType::Float64, true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let constants = Constants { name: NAME, parameters: PARAMETERS, expressions: args.input_exprs() };
        let decay = match constants.number(1)? {
            Some(decay) if (0.0..1.0).contains(&decay) => decay,
            Some(decay) => return plan_err!("ema: decay must be at least 0 and below 1, not {decay}"),
            None => return plan_err!("ema: decay must not be null"),
        };
        let debias = constants.flag(2)?.unwrap_or(false);
        Ok(Box::new(Average { decay, debias, mean: 0.0, weight: 0.0 }))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn limit_effect(&self, _args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::None
    }
}

/// The average up to a row.
#[derive(Debug)]
struct Average {
    decay: f64,
    debias: bool,
    mean: f64,
    /// Sum of the weights of all values so far: 1 - decay^t, or 1 where the first value stands for all before it.
    weight: f64,
}

impl Average {
    fn next(&mut self, value: f64) -> f64 {
        if !value.is_finite() {
            return value;
        }
        if self.weight == 0.0 && !self.debias {
            (self.mean, self.weight) = (value, 1.0);
            return value;
        }
        self.mean = self.decay * self.mean + (1.0 - self.decay) * value;
        self.weight = self.decay * self.weight + (1.0 - self.decay);
        if self.debias { self.mean / self.weight } else { self.mean }
    }
}

impl PartitionEvaluator for Average {
    /// Called once for each row, in order.
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let (values, row) = (values[0].as_primitive::<Float64Type>(), range.start);
        Ok(ScalarValue::Float64(values.is_valid(row).then(|| self.next(values.value(row)))))
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let values = values[0].as_primitive::<Float64Type>();
        let averages: Float64Array = values.iter().map(|value| value.map(|value| self.next(value))).collect();
        Ok(Arc::new(averages))
    }

    fn is_causal(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }
}
