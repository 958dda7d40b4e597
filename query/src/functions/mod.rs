//! Functions of SQL that keep questions about training runs one line long, added to those of DataFusion.
//!
//! | function | gives | kind |
//! |---|---|---|
//! | [`argmin`, `argmax`, `min_by`, `max_by`](extremes) | what belongs to the lowest or highest value | aggregate |
//! | [`first_by`, `last_by`](extremes) | the value at the lowest or highest order | aggregate |
//! | [`first_cross`](crossing) | the first step at which a curve is at or beyond a threshold | aggregate |
//! | [`auc`](area) | area under a curve | aggregate |
//! | [`interp_at`, `resample`](interpolate) | a curve at a step, or at evenly spaced ones | aggregate |
//! | [`mad`, `iqm`](robust) | median absolute deviation; interquartile mean | aggregate, `mad` over frames of rows too |
//! | [`bootstrap_ci`](bootstrap) | confidence interval of a mean | aggregate |
//! | [`m4`, `lttb`](downsample) | few points that draw as the whole curve | aggregate |
//! | [`ema`] | exponential moving average | window |
//! | [`isfinite`](finite) | whether a number is neither NaN nor infinite | scalar |
//!
//! What DataFusion has is not here: `median` (over frames of rows too), `percentile_cont`, `corr`, `regr_slope`, `stddev`,
//! `first_value(x ORDER BY y)`, `lag`, `date_bin`.
//!
//! # Promises
//!
//! - The answer does not depend on the order of rows, nor on how many streams worked on it (`ema` alone takes the order
//!   its `OVER` gives).
//! - Nulls and, unless said otherwise, NaN and infinities are left out. Without a row that counts the result is null.
//! - Memory that grows with the rows is counted against the limit of the query.

mod aggregate;
mod area;
mod arguments;
mod bootstrap;
mod codes;
mod crossing;
mod downsample;
mod ema;
mod extremes;
mod finite;
mod interpolate;
mod nan_in_groups;
mod pick;
mod pick_groups;
mod points;
mod robust;
mod values;

use std::sync::LazyLock;

use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{AggregateUDF, DocSection, ScalarUDF, WindowUDF};

use aggregate::Aggregate;

/// Where the functions stand in DataFusion's generated documentation.
const SECTION: DocSection = DocSection { include: true, label: "Training Functions", description: None };

static AGGREGATES: LazyLock<Vec<AggregateUDF>> = LazyLock::new(|| {
    let all = [
        extremes::DEFINITIONS,
        crossing::DEFINITIONS,
        area::DEFINITIONS,
        interpolate::DEFINITIONS,
        robust::DEFINITIONS,
        bootstrap::DEFINITIONS,
        downsample::DEFINITIONS,
    ];
    all.into_iter().flatten().map(|definition| AggregateUDF::new_from_impl(Aggregate::new(definition))).collect()
});
static EMA: LazyLock<WindowUDF> = LazyLock::new(|| WindowUDF::new_from_impl(ema::Ema::new()));
static IS_FINITE: LazyLock<ScalarUDF> = LazyLock::new(|| ScalarUDF::new_from_impl(finite::IsFinite::new()));

/// Whether an aggregate function keeps all rows until the end.
pub(crate) fn keeps_rows(name: &str) -> bool {
    let all = [
        area::DEFINITIONS,
        interpolate::DEFINITIONS,
        robust::DEFINITIONS,
        bootstrap::DEFINITIONS,
        downsample::DEFINITIONS,
    ];
    all.into_iter().flatten().any(|definition| definition.name == name)
}

/// Makes the functions known to the queries of `context`.
pub(crate) fn register(context: &SessionContext) {
    AGGREGATES.iter().for_each(|function| context.register_udaf(function.clone()));
    context.register_udwf(EMA.clone());
    context.register_udf(IS_FINITE.clone());
    nan_in_groups::register(context);
}
