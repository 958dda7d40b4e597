//! `isfinite(x)` (also `is_finite`): whether a number is neither NaN nor infinite; null for null. DataFusion has `isnan`.
//!
//! The first step with a value that is not finite: `min(step) FILTER (WHERE NOT isfinite(value))`.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature};

use super::aggregate::{documentation, signature};
use super::arguments::{Kind, Parameter, coerce};

const NAME: &str = "isfinite";
const PARAMETERS: &[Parameter] = &[Parameter::new("x", Kind::Number, "Number to look at.")];

/// The scalar function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IsFinite {
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl IsFinite {
    pub(super) fn new() -> Self {
        let about = "Whether a number is neither NaN nor infinite.";
        let example = "SELECT min(step) FILTER (WHERE NOT isfinite(value)) FROM metrics WHERE metric = 'loss'";
        Self {
            aliases: vec!["is_finite".to_owned()],
            signature: signature(PARAMETERS),
            documentation: documentation(NAME, about, example, PARAMETERS, ""),
        }
    }
}

impl ScalarUDFImpl for IsFinite {
    fn name(&self) -> &str {
        NAME
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(NAME, PARAMETERS, arg_types)
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(match &args.args[0] {
            ColumnarValue::Scalar(ScalarValue::Float64(value)) => {
                ColumnarValue::Scalar(ScalarValue::Boolean(value.map(f64::is_finite)))
            }
            other => {
                let array = other.to_array(args.number_rows)?;
                let finite = BooleanArray::from_unary(array.as_primitive::<Float64Type>(), f64::is_finite);
                ColumnarValue::Array(Arc::new(finite))
            }
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
