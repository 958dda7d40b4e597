//! Rows that `unnest` makes of a list share what was unique before, and DataFusion 55 does not know it.
//!
//! After `SELECT run_id, unnest(m4(step, value, 100)) AS p ... GROUP BY run_id` it still takes `run_id` for a key, and so drops
//! the second key of `ORDER BY run_id, p['step']`, adds every column to `GROUP BY run_id`, takes `DISTINCT run_id` for done, and
//! turns joins on `run_id` into semi joins: wrong answers all (apache/datafusion pull request 24787, open in August 2026).
//!
//! Here a mark, a constant, is put at the end of each `GROUP BY` before the query is planned. It is in no result, so what is
//! left of a key is none, and the planner adds nothing. In the finished plan the marks are taken out again, and a node that has
//! no keys goes below each `unnest`, so that the optimiser does not see them come back; nothing is left of it in the physical
//! plan. Queries without the word `unnest` are left alone. All of this is to go with the release that has the mend.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, FunctionalDependencies, Result, ScalarValue, internal_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, GroupByExpr, Select, VisitMut, VisitorMut};

/// The mark at the end of a `GROUP BY`.
const MARK: &str = "end of GROUP BY";

/// Puts marks into a statement whose text has the word `unnest`, and says whether it has.
pub(crate) fn mark_groups(statement: &mut Statement, text: &str) -> bool {
    if !text.to_lowercase().contains("unnest") {
        return false;
    }
    let mut inner = statement;
    loop {
        match inner {
            Statement::Explain(explain) => inner = &mut explain.statement,
            Statement::Statement(statement) => {
                // It never breaks off.
                let _: ControlFlow<()> = statement.visit(&mut Marker);
                return true;
            }
            _ => return true,
        }
    }
}

struct Marker;

impl VisitorMut for Marker {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let is_set = |expression: &ast::Expr| {
            matches!(expression, ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_))
        };
        // Sets of groups have no keys.
        if let GroupByExpr::Expressions(expressions, modifiers) = &mut select.group_by
            && !expressions.is_empty()
            && modifiers.is_empty()
            && !expressions.iter().any(is_set)
        {
            expressions.push(ast::Expr::value(ast::Value::SingleQuotedString(MARK.to_owned())));
        }
        ControlFlow::Continue(())
    }
}

/// The plan of a marked statement without marks, and without keys that are none.
pub(crate) fn forget_keys(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(mended(plan)?.data)
}

/// Whether a node makes several rows of one that had a key.
fn loses_keys(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Unnest(unnest) => {
            !unnest.list_type_columns.is_empty() && !unnest.input.schema().functional_dependencies().is_empty()
        }
        _ => false,
    }
}

/// The plan, and whether it changed.
fn mended(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let plan = plan.map_subqueries(mended)?;
    let children = plan.data.map_children(mended)?;
    let changed = plan.transformed || children.transformed;
    match children.data {
        LogicalPlan::Unnest(mut unnest) if loses_keys(&LogicalPlan::Unnest(unnest.clone())) => {
            let input = Arc::unwrap_or_clone(unnest.input);
            unnest.input = Arc::new(LogicalPlan::Extension(Extension { node: Arc::new(Keyless::try_new(input)?) }));
            Ok(Transformed::yes(LogicalPlan::Unnest(unnest).recompute_schema()?))
        }
        LogicalPlan::Aggregate(mut aggregate) if aggregate.group_expr.iter().any(is_mark) => {
            aggregate.group_expr.retain(|expression| !is_mark(expression));
            let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
            Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(input, group_expr, aggr_expr)?)))
        }
        plan if changed => Ok(Transformed::yes(plan.recompute_schema()?)),
        plan => Ok(Transformed::no(plan)),
    }
}

fn is_mark(expression: &Expr) -> bool {
    matches!(expression, Expr::Literal(ScalarValue::Utf8(Some(text)), _) if text == MARK)
}

/// A message of the planner without the marks that it quotes.
pub(crate) fn without_marks(message: &str) -> String {
    message.replace(&format!(", Utf8(\"{MARK}\")"), "")
}

/// Its input, but no key is known.
#[derive(Debug, PartialEq, Eq)]
struct Keyless {
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl Keyless {
    fn try_new(input: LogicalPlan) -> Result<Self> {
        let schema = input.schema().as_ref().clone();
        let schema = Arc::new(schema.with_functional_dependencies(FunctionalDependencies::empty())?);
        Ok(Self { input, schema })
    }
}

impl Hash for Keyless {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl PartialOrd for Keyless {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for Keyless {
    fn name(&self) -> &str {
        "Keyless"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyless")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Self::try_new(input),
            Err(inputs) => internal_err!("Keyless has one input, not {}", inputs.len()),
        }
    }
}

/// Makes physical plans, in which nothing is left of the nodes above.
#[derive(Debug, Default)]
pub(crate) struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self)]);
        planner.create_physical_plan(plan, session).await
    }
}

#[async_trait]
impl ExtensionPlanner for Planner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn Session,
        _planning_ctx: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(if node.as_any().is::<Keyless>() { physical_inputs.first().map(Arc::clone) } else { None })
    }
}
