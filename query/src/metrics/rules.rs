//! What the operators above a scan allow it to do: rules for finished plans.
//!
//! - Extremes: `min` and `max` over whole metrics are found among few rows that the event log holds, see [`MetricsScanExec::of_extremes`].
//! - Read-ahead: streams that are in order one after another need no merge, see [`MetricsScanExec::read_ahead`].
//! - Aggregates that keep all rows are not made of parts: a part is handed on as one long list, and copied.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};

use super::exec::MetricsScanExec;
use super::facts::{CONSTANT_COLUMNS, METRIC};
use crate::functions;

type Plan = Arc<dyn ExecutionPlan>;

/// Tells scans of `metrics` what is done with their rows.
#[derive(Debug)]
pub(crate) struct ScansServe;

impl PhysicalOptimizerRule for ScansServe {
    fn name(&self) -> &'static str {
        "ScansServe"
    }

    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan> {
        let served = plan.transform_up(|plan| {
            let new = match of_extremes(&plan)? {
                None => match in_one_piece(&plan)? {
                    None => in_order(&plan),
                    new => new,
                },
                new => new,
            };
            Ok(new.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })?;
        Ok(served.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The scan that `plan` is, or wraps.
fn scan_of(plan: &Plan) -> Option<&MetricsScanExec> {
    match plan.downcast_ref::<CooperativeExec>() {
        Some(wrapper) => wrapper.input().downcast_ref(),
        None => plan.downcast_ref(),
    }
}

/// A scan that gives its thread back from time to time, as DataFusion had made the one it takes the place of.
fn cooperative(scan: MetricsScanExec) -> Plan {
    Arc::new(CooperativeExec::new(Arc::new(scan)))
}

fn with_input(plan: &Plan, input: Plan) -> Result<Plan> {
    Arc::clone(plan).replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// An aggregate of nothing but `min` and `max` of steps and values, in groups in which whole metrics lie.
fn of_extremes(plan: &Plan) -> Result<Option<Plan>> {
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let reads_rows =
        matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single | AggregateMode::SinglePartitioned);
    let Some(scan) = scan_of(aggregate.input()).filter(|_| reads_rows && aggregate.group_expr().is_single()) else {
        return Ok(None);
    };
    let is_constant = |expr: &Arc<dyn PhysicalExpr>| {
        name_of(expr).is_some_and(|name| name == METRIC || CONSTANT_COLUMNS.contains(&name))
    };
    let is_extreme = aggregate.aggr_expr().iter().all(|call| {
        let arguments = call.expressions();
        let of_column = |argument| matches!(name_of(argument), Some("step" | "value"));
        matches!(call.fun().name(), "min" | "max") && arguments.len() == 1 && arguments.iter().all(of_column)
    });
    let fits = is_extreme
        && !aggregate.aggr_expr().is_empty()
        && aggregate.filter_expr().iter().all(Option::is_none)
        && aggregate.group_expr().expr().iter().all(|(expr, _)| is_constant(expr));
    match scan.of_extremes().filter(|_| fits) {
        Some(scan) => with_input(plan, cooperative(scan)).map(Some),
        None => Ok(None),
    }
}

fn name_of(expr: &Arc<dyn PhysicalExpr>) -> Option<&str> {
    expr.downcast_ref::<Column>().map(Column::name)
}

/// A merge of streams of which each begins where the one before ends.
fn in_order(plan: &Plan) -> Option<Plan> {
    let merge = plan.downcast_ref::<SortPreservingMergeExec>()?;
    let scan = scan_of(merge.input())?.read_ahead();
    Some(match merge.fetch() {
        Some(limit) => Arc::new(CooperativeExec::new(scan.with_fetch(Some(limit))?)),
        None => cooperative(scan),
    })
}

/// An aggregate over all rows that keeps each of them.
fn in_one_piece(plan: &Plan) -> Result<Option<Plan>> {
    let parts = || {
        let last = plan.downcast_ref::<AggregateExec>().filter(|last| *last.mode() == AggregateMode::Final)?;
        let first = last.input().downcast_ref::<CoalescePartitionsExec>()?.input().downcast_ref::<AggregateExec>()?;
        let keeps_rows = last.aggr_expr().iter().any(|call| functions::keeps_rows(call.fun().name()));
        let scan = scan_of(first.input()).filter(|_| keeps_rows && last.group_expr().is_empty())?;
        Some((last, first, scan))
    };
    let Some((last, first, scan)) = parts() else { return Ok(None) };
    let input = cooperative(scan.read_ahead());
    let schema = input.schema();
    let (groups, filters) = (first.group_expr().clone(), first.filter_expr().to_vec());
    let aggregate =
        AggregateExec::try_new(AggregateMode::Single, groups, last.aggr_expr().to_vec(), filters, input, schema)?;
    Ok(Some(Arc::new(aggregate)))
}
