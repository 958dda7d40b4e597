//! Leaves out segments and live batches that hold no row of the answer, from what is known without opening a file.
//!
//! A filter on columns that are constant in a segment is evaluated on those constants. Every other filter is tested
//! against the bounds of each metric of each segment, so that `metric = 'loss' AND step > 1000` needs a segment only
//! when that segment holds a `loss` above step 1000, whatever its other metrics hold.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::scalar::ScalarValue;
use stepwell_engine::events::MetricStats;

use crate::facts::{Facts, Runs, constants, constants_schema};
use crate::pushdown::classify;

/// The filters of one scan, ready to be tested against facts.
pub(crate) struct Pruner {
    exact: Vec<Arc<dyn PhysicalExpr>>,
    bounds: Option<Arc<PruningPredicate>>,
}

impl Pruner {
    /// Sorts `filters` into exact ones and those that bounds may answer.
    pub(crate) fn try_new(session: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Self> {
        let constants = DFSchema::try_from(constants_schema())?;
        let columns = DFSchema::try_from(Arc::clone(schema))?;
        let mut exact = Vec::new();
        let mut inexact = Vec::new();
        for filter in filters {
            match classify(filter) {
                TableProviderFilterPushDown::Exact => {
                    exact.push(session.create_physical_expr(filter.clone(), &constants)?)
                }
                TableProviderFilterPushDown::Inexact => {
                    inexact.push(session.create_physical_expr(filter.clone(), &columns)?);
                }
                TableProviderFilterPushDown::Unsupported => {}
            }
        }
        // A filter that has no form in bounds leaves nothing out; the rows are filtered later.
        let bounds = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).build(conjunction(inexact));
        Ok(Self { exact, bounds })
    }

    /// For each of `facts`, whether rows of it may be in the answer.
    ///
    /// The exact filters are answered for good here, so what fails in them is an error and not a reason to read on.
    pub(crate) fn keep(&self, facts: &[Facts<'_>], runs: &Runs<'_>) -> Result<Vec<bool>> {
        let mut keep = vec![true; facts.len()];
        if !self.exact.is_empty() && !facts.is_empty() {
            let constants = constants(facts, runs)?;
            for filter in &self.exact {
                let answer = filter.evaluate(&constants)?.into_array(facts.len())?;
                let answer = as_boolean_array(&answer)?;
                for (index, keep) in keep.iter_mut().enumerate() {
                    *keep &= answer.is_valid(index) && answer.value(index);
                }
            }
        }
        if let Some(bounds) = &self.bounds {
            let containers = Containers::new(facts, &keep, runs);
            if let Ok(fits) = bounds.prune(&containers) {
                let mut fitting = vec![false; facts.len()];
                for (container, fits) in containers.items.iter().zip(fits) {
                    fitting[container.index] |= fits;
                }
                keep.iter_mut().zip(fitting).for_each(|(keep, fits)| *keep &= fits);
            }
        }
        Ok(keep)
    }
}

/// Every metric of every segment still kept: what bounds are tested against.
struct Containers<'a> {
    items: Vec<Container<'a>>,
}

struct Container<'a> {
    /// Position of the segment or batch in the list of facts.
    index: usize,
    facts: &'a Facts<'a>,
    run: [Option<&'a str>; 3],
    metric: &'a MetricStats,
}

impl<'a> Containers<'a> {
    fn new(facts: &'a [Facts<'a>], keep: &[bool], runs: &Runs<'a>) -> Self {
        let kept = facts.iter().enumerate().filter(|(index, _)| keep[*index]);
        let items = kept.flat_map(|(index, facts)| {
            let run = runs.columns(facts.run_id);
            facts.metrics.iter().map(move |metric| Container { index, facts, run, metric })
        });
        Self { items: items.collect() }
    }

    /// The values of a column that has one value in each container.
    fn constant(&self, column: &str) -> Option<ArrayRef> {
        let text = |value: &dyn Fn(&Container<'a>) -> Option<String>| -> ArrayRef {
            Arc::new(self.items.iter().map(value).collect::<StringArray>())
        };
        let number = |value: &dyn Fn(&Container<'a>) -> i32| -> ArrayRef {
            Arc::new(self.items.iter().map(value).collect::<Int32Array>())
        };
        Some(match column {
            "run_id" => text(&|item| Some(item.facts.run_id.to_string())),
            "metrics_name" => text(&|item| Some(item.facts.metrics_name.to_owned())),
            "metric" => text(&|item| Some(item.metric.metric.clone())),
            "pipeline" => text(&|item| item.run[0].map(str::to_owned)),
            "stage" => text(&|item| item.run[1].map(str::to_owned)),
            "run_name" => text(&|item| item.run[2].map(str::to_owned)),
            "rank" => number(&|item| item.facts.writer.rank),
            "attempt" => number(&|item| item.facts.writer.attempt),
            _ => return None,
        })
    }

    fn bound(&self, column: &str, end: End) -> Option<ArrayRef> {
        let metrics = self.items.iter().map(|item| item.metric);
        Some(match (column, end) {
            ("step", End::Low) => Arc::new(metrics.map(|metric| metric.first.step).collect::<Int64Array>()),
            ("step", End::High) => Arc::new(metrics.map(|metric| metric.last.step).collect::<Int64Array>()),
            ("time", end) => {
                let times = self
                    .items
                    .iter()
                    .map(|item| item.facts.times.map(|(low, high)| if end == End::Low { low } else { high }));
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            ("value", end) => Arc::new(metrics.map(|metric| value_bound(metric, end)).collect::<Float64Array>()),
            _ => return self.constant(column),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Low,
    High,
}

/// A bound of the values of a metric in SQL's order, where it is known: NaN is above every number there, and zero
/// has two signs of which the statistics may hold either.
fn value_bound(metric: &MetricStats, end: End) -> Option<f64> {
    if metric.non_finite > 0 {
        return None;
    }
    let (extreme, zero) = match end {
        End::Low => (metric.min?, -0.0),
        End::High => (metric.max?, 0.0),
    };
    Some(if extreme.value == 0.0 { zero } else { extreme.value })
}

impl PruningStatistics for Containers<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(&column.name, End::Low)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bound(&column.name, End::High)
    }

    fn num_containers(&self) -> usize {
        self.items.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let nulls = self.items.iter().map(|item| match column.name.as_str() {
            "run_name" if item.run[2].is_none() => item.metric.count,
            _ => 0,
        });
        Some(Arc::new(UInt64Array::from_iter_values(nulls)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.items.iter().map(|item| item.metric.count))))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let constants = self.constant(&column.name)?;
        let constants = constants.as_any().downcast_ref::<StringArray>()?;
        let values: HashSet<&str> = values.iter().filter_map(|value| value.try_as_str().flatten()).collect();
        Some(constants.iter().map(|constant| constant.map(|constant| values.contains(constant))).collect())
    }
}
