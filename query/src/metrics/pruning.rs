//! Leaves out rows that are not in the answer, from what is known without reading them.
//!
//! Filters are tested in three grains, each against what the one before left:
//!
//! 1. On columns that are constant in a segment, such as `run_id`: evaluated once for each segment.
//! 2. On those and the metric: evaluated once for each metric of each segment.
//! 3. On anything else: tested against the bounds of each metric of each segment, so that `metric = 'loss' AND step > 1000`
//!    needs a segment only when that segment holds a `loss` above step 1000, whatever its other metrics hold.
//!
//! The first two are answers. The third leaves out what cannot fit; the rows are still filtered one by one.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray, StringDictionaryBuilder,
    TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::take;
use arrow::datatypes::{Field, Int32Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::Column;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::pruning::PruningStatistics;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::{
    Guarantee, LiteralGuarantee, collect_columns, conjunction, reassign_expr_columns,
};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::scalar::ScalarValue;
use stepwell_engine::RunInfo;
use stepwell_engine::events::MetricStats;

use super::facts::{CONSTANT_COLUMNS, Facts, METRIC, Runs, constants, run_column, text_type};
use super::parts::MetricRows;

type Filter = Arc<dyn PhysicalExpr>;

/// The filters of one scan, ready to be tested against facts.
#[derive(Default)]
pub(crate) struct Pruner {
    /// On constant columns.
    whole: Vec<Filter>,
    /// On constant columns and the metric.
    each: Vec<Filter>,
    bounds: Option<Arc<PruningPredicate>>,
    /// The metrics that `each` asks for, where it names them.
    metrics: Option<BTreeSet<String>>,
    /// The constant columns that `whole` and `each` name.
    columns: Vec<&'static str>,
}

impl Pruner {
    /// Sorts `filters`, over columns of `schema`, by what can answer them.
    pub(crate) fn new(filters: impl IntoIterator<Item = Filter>, schema: &SchemaRef) -> Self {
        let mut pruner = Self::default();
        let mut named = BTreeSet::new();
        let mut others = Vec::new();
        for filter in filters {
            let columns = collect_columns(&filter);
            let known: Option<Vec<usize>> = columns
                .iter()
                .filter(|column| column.name() != METRIC)
                .map(|column| CONSTANT_COLUMNS.iter().position(|known| *known == column.name()))
                .collect();
            let Some(known) = known else {
                others.push(filter);
                continue;
            };
            named.extend(known);
            let names_metric = columns.iter().any(|column| column.name() == METRIC);
            if names_metric { &mut pruner.each } else { &mut pruner.whole }.push(filter);
        }
        pruner.columns = named.into_iter().map(|place| CONSTANT_COLUMNS[place]).collect();
        pruner.metrics = pruner.each.iter().find_map(metrics_asked_for);
        if !others.is_empty() {
            // A filter that has no form in bounds leaves nothing out; the rows are filtered later.
            let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema));
            pruner.bounds = builder.build(conjunction(others));
        }
        pruner
    }

    /// What bounds of rows are tested against, where there is such a filter.
    pub(crate) fn bounds(&self) -> Option<&Arc<PruningPredicate>> {
        self.bounds.as_ref()
    }

    /// For each of `facts`, its metrics with rows that may be in the answer.
    ///
    /// The filters of the first two grains are answered for good here, so what fails in them is an error and not a reason to
    /// read on.
    pub(crate) fn pick(&self, facts: &[Facts<'_>], runs: &Runs) -> Result<Vec<Vec<MetricRows>>> {
        let known = constants(facts, runs, self.columns.iter().copied())?;
        let keep = all_hold(&self.whole, &known)?;
        let mut containers = Vec::new();
        for (origin, facts) in
            facts.iter().enumerate().filter(|(origin, _)| keep.as_ref().is_none_or(|keep| keep[*origin]))
        {
            self.add_metrics(origin, facts, &mut containers);
        }
        if !self.each.is_empty() {
            let known = with_metric(&known, &containers)?;
            if let Some(keep) = all_hold(&self.each, &known)? {
                let mut keep = keep.into_iter();
                containers.retain(|_| keep.next().unwrap_or(true));
            }
        }
        let fits = self.bounds.as_ref().and_then(|bounds| fitting(bounds, &containers, runs));
        let mut picks: Vec<Vec<MetricRows>> = vec![Vec::new(); facts.len()];
        for (number, container) in containers.into_iter().enumerate() {
            if !container.rows.is_empty() && fits.as_ref().is_none_or(|fits| fits[number]) {
                let (origin, metric) = (container.facts.origin, container.place);
                picks[container.origin].push(MetricRows { origin, metric, rows: container.rows, shift: 0 });
            }
        }
        Ok(picks)
    }

    /// The metrics of one origin, those alone that are asked for by name.
    fn add_metrics<'a>(&self, origin: usize, facts: &'a Facts<'a>, containers: &mut Vec<Container<'a>>) {
        for (place, (metric, rows)) in facts.metrics.iter().zip(facts.rows()).enumerate() {
            if self.metrics.as_ref().is_none_or(|asked| asked.contains(&metric.metric)) {
                containers.push(Container { origin, place, facts, metric, rows, page: PageBounds::default() });
            }
        }
    }

    /// Which of `pages` of rows of one part may hold rows of the answer; all, where bounds tell nothing.
    pub(crate) fn pages_that_fit(&self, facts: &Facts<'_>, runs: &Runs, pages: &[Page]) -> Option<Vec<bool>> {
        let bounds = self.bounds.as_ref()?;
        let containers: Vec<Container<'_>> = pages
            .iter()
            .map(|page| {
                let metric = &facts.metrics[page.rows.metric];
                let rows = page.rows.rows.clone();
                Container { origin: 0, place: page.rows.metric, facts, metric, rows, page: page.bounds }
            })
            .collect();
        fitting(bounds, &containers, runs)
    }
}

/// Adjoining rows of one metric with bounds of their own.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) rows: MetricRows,
    pub(crate) bounds: PageBounds,
}

/// Lowest and highest values in a page, where they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PageBounds {
    pub(crate) steps: Option<(i64, i64)>,
    pub(crate) times: Option<(i64, i64)>,
    pub(crate) values: Option<(f64, f64)>,
}

/// The metrics that a filter says the metric is one of.
fn metrics_asked_for(filter: &Filter) -> Option<BTreeSet<String>> {
    let guarantees = LiteralGuarantee::analyze(filter);
    let of_metric =
        guarantees.into_iter().find(|known| known.column.name == METRIC && known.guarantee == Guarantee::In);
    let names = of_metric?.literals.into_iter().map(|literal| literal.try_as_str().flatten().map(str::to_owned));
    names.collect()
}

/// Which rows of `known` fulfil every filter; `None` when there is no filter.
fn all_hold(filters: &[Filter], known: &RecordBatch) -> Result<Option<Vec<bool>>> {
    if filters.is_empty() || known.num_rows() == 0 {
        return Ok(None);
    }
    let mut keep = vec![true; known.num_rows()];
    for filter in filters {
        let filter = reassign_expr_columns(Arc::clone(filter), known.schema_ref())?;
        let answer = filter.evaluate(known)?.into_array(known.num_rows())?;
        let answer = as_boolean_array(&answer)?;
        for (row, keep) in keep.iter_mut().enumerate() {
            *keep &= answer.is_valid(row) && answer.value(row);
        }
    }
    Ok(Some(keep))
}

/// The constants of each container's origin, and its metric.
fn with_metric(of_origins: &RecordBatch, containers: &[Container<'_>]) -> Result<RecordBatch> {
    let origins = UInt32Array::from_iter_values(containers.iter().map(|container| container.origin as u32));
    let mut metrics = StringDictionaryBuilder::<Int32Type>::new();
    for container in containers {
        metrics.append(&container.metric.metric)?;
    }
    let mut fields: Vec<Arc<Field>> = of_origins.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(METRIC, text_type(), false)));
    let taken = of_origins.columns().iter().map(|column| take(column, &origins, None));
    let mut arrays = taken.collect::<std::result::Result<Vec<_>, _>>()?;
    arrays.push(Arc::new(metrics.finish()));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Which containers may hold rows for which `bounds` is true; `None` when that cannot be told.
fn fitting(bounds: &PruningPredicate, containers: &[Container<'_>], runs: &Runs) -> Option<Vec<bool>> {
    bounds.prune(&Containers { items: containers, runs }).ok()
}

/// Rows of one metric of one segment or live batch: what bounds are tested against.
struct Container<'a> {
    /// Position of the segment or batch in the list of facts.
    origin: usize,
    /// Position of the metric in it.
    place: usize,
    facts: &'a Facts<'a>,
    metric: &'a MetricStats,
    rows: Range<usize>,
    /// Bounds that are narrower than those of the metric.
    page: PageBounds,
}

impl Container<'_> {
    fn steps(&self) -> (i64, i64) {
        let (low, high) = (self.metric.first.step, self.metric.last.step);
        self.page.steps.map_or((low, high), |(first, last)| (first.max(low), last.min(high)))
    }

    /// Bounds in SQL's order, where they are known: NaN is above every number there, and the bounds leave it out; zero has
    /// two signs of which the bounds may hold either.
    fn values(&self) -> Option<(f64, f64)> {
        if self.metric.non_finite > 0 {
            return None;
        }
        let (low, high) = match self.page.values {
            Some(bounds) => bounds,
            None => (self.metric.min?.value, self.metric.max?.value),
        };
        let signed = |bound: f64, zero: f64| if bound == 0.0 { zero } else { bound };
        Some((signed(low, -0.0), signed(high, 0.0)))
    }
}

struct Containers<'a> {
    items: &'a [Container<'a>],
    runs: &'a Runs,
}

impl Containers<'_> {
    fn run(&self, item: &Container<'_>) -> Option<&RunInfo> {
        self.runs.get(item.facts.run_id)
    }

    /// The values of a column that has one value in each container.
    fn constant(&self, column: &str) -> Option<ArrayRef> {
        let number = |value: fn(&Facts<'_>) -> i32| -> ArrayRef {
            Arc::new(self.items.iter().map(|item| value(item.facts)).collect::<Int32Array>())
        };
        let texts: StringArray = match column {
            "run_id" => self.items.iter().map(|item| Some(item.facts.run_id.to_string())).collect(),
            "metrics_name" => self.items.iter().map(|item| Some(item.facts.metrics_name)).collect(),
            METRIC => self.items.iter().map(|item| Some(item.metric.metric.as_str())).collect(),
            "pipeline" | "stage" | "run_name" => {
                self.items.iter().map(|item| run_column(self.run(item), column)).collect()
            }
            "rank" => return Some(number(|facts| facts.writer.rank)),
            "attempt" => return Some(number(|facts| facts.writer.attempt)),
            _ => return None,
        };
        Some(Arc::new(texts))
    }

    fn bound(&self, column: &str, end: End) -> Option<ArrayRef> {
        Some(match column {
            "step" => Arc::new(self.items.iter().map(|item| end.of(item.steps())).collect::<Int64Array>()),
            "time" => {
                let times =
                    self.items.iter().map(|item| item.page.times.or(item.facts.times).map(|times| end.of(times)));
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            "value" => {
                let values = self.items.iter().map(|item| item.values().map(|values| end.of(values)));
                Arc::new(values.collect::<Float64Array>())
            }
            _ => return self.constant(column),
        })
    }
}

#[derive(Clone, Copy)]
enum End {
    Low,
    High,
}

impl End {
    fn of<T>(self, (low, high): (T, T)) -> T {
        match self {
            Self::Low => low,
            Self::High => high,
        }
    }
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
            "run_name" if run_column(self.run(item), "run_name").is_none() => item.rows.len() as u64,
            _ => 0,
        });
        Some(Arc::new(UInt64Array::from_iter_values(nulls)))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(UInt64Array::from_iter_values(self.items.iter().map(|item| item.rows.len() as u64))))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let constants = self.constant(&column.name)?;
        let constants = constants.as_any().downcast_ref::<StringArray>()?;
        let values: HashSet<&str> = values.iter().filter_map(|value| value.try_as_str().flatten()).collect();
        Some(constants.iter().map(|constant| constant.map(|constant| values.contains(constant))).collect())
    }
}
