//! Aggregates over a window of rows: `avg(value) OVER (ORDER BY step ROWS 99 PRECEDING)` and its like.
//!
//! DataFusion adds each row that enters a window to an accumulator, and subtracts each that leaves it. That takes microseconds a row,
//! lets rounding errors grow along the curve, and never gets rid of a NaN or an infinity: one loss that is not finite makes every
//! window after it NaN. Here a window's summary is joined from two stacks, as in Tangwongsan, Hirzel, Schneider: "Low-Latency
//! Sliding-Window Aggregation in Worst-Case Constant Time", 2017 (its "two-stacks" algorithm): nothing is subtracted, and an answer
//! depends on the rows of its window alone.
//!
//! It serves `avg`, `sum`, `min`, `max`, `stddev`, `stddev_pop`, `var` and `var_pop` of floats over frames of at most
//! [`ROWS_MAX`] rows that hold the current one. All others are left to DataFusion.
//!
//! Cost: two joins a row, amortised; memory for the summaries of one window.

mod window;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Alias, WindowFunction};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, PartitionEvaluator, ReversedUDWF, Signature, Volatility, Window, WindowFrame,
    WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use window::{Mean, Outermost, Spread, Sum, Windows};

/// Most rows of a frame: a summary of each is held.
const ROWS_MAX: usize = 1 << 20;

/// Puts [`Rolling`] in the place of aggregates over windows.
#[derive(Debug)]
pub(crate) struct RollingWindows;

impl OptimizerRule for RollingWindows {
    fn name(&self) -> &'static str {
        "rolling_windows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Window(window) = &plan else { return Ok(Transformed::no(plan)) };
        let schema = window.input.schema();
        let rolling: Vec<_> = window.window_expr.iter().map(|expr| rolling(expr, schema)).collect::<Result<_>>()?;
        if rolling.iter().all(Option::is_none) {
            return Ok(Transformed::no(plan));
        }
        let exprs = rolling.into_iter().zip(&window.window_expr).map(|(new, old)| new.unwrap_or_else(|| old.clone()));
        let window = Window::try_new(exprs.collect(), Arc::clone(&window.input))?;
        Ok(Transformed::yes(LogicalPlan::Window(window)))
    }
}

/// The same expression with a [`Rolling`] function, under the same name; `None` where there is none for it.
fn rolling(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let old = match expr {
        Expr::Alias(Alias { expr, .. }) => expr.as_ref(),
        expr => expr,
    };
    let Expr::WindowFunction(call) = old else { return Ok(None) };
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return Ok(None) };
    let params = &call.params;
    let is_plain = params.filter.is_none() && !params.distinct && params.null_treatment.is_none();
    let (Some(kind), [argument], true) = (Kind::of(function.name()), params.args.as_slice(), is_plain) else {
        return Ok(None);
    };
    let Some((before, after)) = rows_around(&params.window_frame) else { return Ok(None) };
    if argument.get_type(schema)? != DataType::Float64 {
        return Ok(None);
    }
    let function = WindowUDF::new_from_impl(Rolling::new(kind, before, after));
    let call = WindowFunction { fun: Arc::new(function).into(), params: params.clone() };
    Ok(Some(Expr::from(call).alias(expr.schema_name().to_string())))
}

/// Rows of a frame before and after the current one; `None` where it is no frame of a few rows with the current one among them.
fn rows_around(frame: &WindowFrame) -> Option<(usize, usize)> {
    let rows = |bound: &ScalarValue| match bound {
        ScalarValue::UInt64(Some(rows)) => usize::try_from(*rows).ok(),
        _ => None,
    };
    let before = match &frame.start_bound {
        WindowFrameBound::Preceding(bound) => rows(bound)?,
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Following(_) => return None,
    };
    let after = match &frame.end_bound {
        WindowFrameBound::Following(bound) => rows(bound)?,
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Preceding(_) => return None,
    };
    let fits = before.checked_add(after).is_some_and(|rows| rows < ROWS_MAX);
    (frame.units == WindowFrameUnits::Rows && fits).then_some((before, after))
}

/// An aggregate that can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Avg,
    Sum,
    Min,
    Max,
    Stddev,
    StddevPop,
    Var,
    VarPop,
}

impl Kind {
    const ALL: [Self; 8] =
        [Self::Avg, Self::Sum, Self::Min, Self::Max, Self::Stddev, Self::StddevPop, Self::Var, Self::VarPop];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// As DataFusion calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Stddev => "stddev",
            Self::StddevPop => "stddev_pop",
            Self::Var => "var",
            Self::VarPop => "var_pop",
        }
    }
}

/// An aggregate over `before` rows, the current one, and `after` rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rolling {
    kind: Kind,
    before: usize,
    after: usize,
    signature: Signature,
}

impl Rolling {
    fn new(kind: Kind, before: usize, after: usize) -> Self {
        Self { kind, before, after, signature: Signature::exact(vec![DataType::Float64], Volatility::Immutable) }
    }
}

impl WindowUDFImpl for Rolling {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, field_args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(field_args.name(), DataType::Float64, true)))
    }

    fn partition_evaluator(&self, _args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let before = self.before;
        Ok(match self.kind {
            Kind::Avg => Box::new(Windows::<Mean>::new(before)),
            Kind::Sum => Box::new(Windows::<Sum>::new(before)),
            Kind::Min => Box::new(Windows::<Outermost<false>>::new(before)),
            Kind::Max => Box::new(Windows::<Outermost<true>>::new(before)),
            Kind::Stddev => Box::new(Windows::<Spread<true, true>>::new(before)),
            Kind::StddevPop => Box::new(Windows::<Spread<false, true>>::new(before)),
            Kind::Var => Box::new(Windows::<Spread<true, false>>::new(before)),
            Kind::VarPop => Box::new(Windows::<Spread<false, false>>::new(before)),
        })
    }

    /// Rows that come in the reverse order have their windows turned around.
    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::Reversed(Arc::new(WindowUDF::new_from_impl(Self::new(self.kind, self.after, self.before))))
    }
}
