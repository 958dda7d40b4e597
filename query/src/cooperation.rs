//! Queries that can be stopped.
//!
//! A query is stopped where a stream gives its thread back. DataFusion makes the leaves of a plan do so; a join makes any
//! number of batches of one that a leaf gave, and an aggregate over it would not be stopped before the last of them. So
//! what multiplies rows gives its thread back, too.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Has joins, `unnest` and recursive queries give their thread back from time to time.
#[derive(Debug)]
pub(crate) struct CooperativeJoins;

fn multiplies_rows(plan: &dyn ExecutionPlan) -> bool {
    let name = plan.name();
    name.ends_with("JoinExec") || matches!(name, "UnnestExec" | "RecursiveQueryExec")
}

impl PhysicalOptimizerRule for CooperativeJoins {
    fn name(&self) -> &'static str {
        "CooperativeJoins"
    }

    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let wrapped = plan.transform_up(|plan| {
            Ok(if multiplies_rows(plan.as_ref()) {
                Transformed::yes(Arc::new(CooperativeExec::new(plan)))
            } else {
                Transformed::no(plan)
            })
        })?;
        Ok(wrapped.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}
