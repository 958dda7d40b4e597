//! Which filters of a query the table `metrics` answers itself, and how far.

use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};

use super::facts::{CONSTANT_COLUMNS, METRIC};

/// How far a filter can be answered before rows are read.
///
/// - Exact: it names only the metric and columns that are constant in a segment, or none at all, so that the rows of a
///   metric in a segment fit as a whole or not at all. (A constant NULL, as in `x NOT IN ('a', NULL)`, fits none.)
/// - Inexact: it leaves out segments, metrics and pages; the rows are still filtered one by one.
/// - Unsupported: its value differs from call to call, or is not known before the query runs.
pub(crate) fn classify(filter: &Expr) -> TableProviderFilterPushDown {
    if !is_known_before(filter) {
        return TableProviderFilterPushDown::Unsupported;
    }
    let is_known = |column: &str| column == METRIC || CONSTANT_COLUMNS.contains(&column);
    if filter.column_refs().iter().all(|column| is_known(&column.name)) {
        TableProviderFilterPushDown::Exact
    } else {
        TableProviderFilterPushDown::Inexact
    }
}

/// Whether a filter says the same of a row whenever it is asked, and can be asked before the query runs.
pub(crate) fn is_known_before(filter: &Expr) -> bool {
    !filter.is_volatile() && !depends_on_query(filter)
}

/// Whether a filter holds something only the rest of the query can tell.
fn depends_on_query(filter: &Expr) -> bool {
    use datafusion::common::tree_node::TreeNode;
    filter
        .exists(|part| {
            Ok(matches!(
                part,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::ScalarVariable(..)
                    | Expr::Placeholder(_)
            ))
        })
        .unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use datafusion::functions::expr_fn::random;
    use datafusion::prelude::{col, lit};

    use super::*;

    #[test]
    fn only_filters_on_constant_columns_and_the_metric_are_exact() {
        use TableProviderFilterPushDown::{Exact, Inexact, Unsupported};
        assert_eq!(classify(&col("run_id").eq(lit("a")).or(col("rank").gt(lit(3)))), Exact);
        assert_eq!(classify(&col("run_name").like(lit("%x"))), Exact);
        assert_eq!(classify(&col("run_id").eq(lit("a")).or(col("step").gt(lit(3)))), Inexact);
        assert_eq!(classify(&col("metric").eq(lit("loss")).or(col("stage").eq(lit("eval")))), Exact);
        assert_eq!(classify(&col("metric").eq(lit("loss")).or(col("value").gt(lit(0)))), Inexact);
        assert_eq!(classify(&random().gt(lit(0.5))), Unsupported);
        assert_eq!(classify(&lit(true)), Exact);
    }
}
