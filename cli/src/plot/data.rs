//! From a request to curves, through SQL.

use std::collections::{BTreeMap, HashMap};

use stepwell_engine::{RunId, RunInfo, Store, SummaryRow};

use super::Curve;
use crate::args::XAxis;
use crate::commands::RunFilter;
use crate::error::{CliError, Result};
use crate::sql::{Database, floats, integers, literal, texts};
use crate::text::{self, ShortIds};

/// What to draw.
pub struct Request {
    /// Runs as the user names them; none means all that have the metric.
    pub runs: Vec<String>,
    /// The metric.
    pub metric: String,
    /// Its metrics name, when the user gave it.
    pub metrics_name: Option<String>,
    /// Without named runs: only of this pipeline.
    pub pipeline: Option<String>,
    /// Without named runs: only of this stage.
    pub stage: Option<String>,
    /// Parameter whose value groups the runs.
    pub by: Option<String>,
    /// The x axis.
    pub x: XAxis,
}

/// One run to draw, and the metrics name its metric was logged under.
struct Source {
    run: RunId,
    label: String,
    group: String,
    metrics_name: String,
}

/// A row of the metrics table.
struct Row {
    step: i64,
    micros: i64,
    value: f64,
}

/// Reads the curves of a request, in the order the runs were named or started.
///
/// # Errors
/// [`CliError::NoMetric`], [`CliError::SeveralMetricsNames`], [`CliError::NoRuns`], and those of engine and query.
pub fn fetch(store: &Store, request: &Request) -> Result<Vec<Curve>> {
    let sources = sources(store, request)?;
    let database = Database::open(store);
    let mut curves: BTreeMap<usize, Vec<(f64, f64)>> = BTreeMap::new();
    let mut names: Vec<&str> = sources.iter().map(|source| source.metrics_name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_name: Vec<RunId> =
            sources.iter().filter(|source| source.metrics_name == name).map(|source| source.run).collect();
        let mut values = rows(&database, &of_name, name, &request.metric)?;
        let mut xs = match &request.x {
            XAxis::Metric(metric) => rows(&database, &of_name, name, metric)?,
            XAxis::Step | XAxis::Time => HashMap::new(),
        };
        for (i, source) in sources.iter().enumerate().filter(|(_, source)| source.metrics_name == name) {
            let rows = values.remove(&source.run).unwrap_or_default();
            curves.insert(i, points(rows, &request.x, xs.remove(&source.run).unwrap_or_default(), &source.label)?);
        }
    }
    Ok(sources
        .into_iter()
        .enumerate()
        .map(|(i, source)| {
            let points = curves.remove(&i).unwrap_or_default();
            Curve { label: source.label, group: source.group, points }
        })
        .collect())
}

fn sources(store: &Store, request: &Request) -> Result<Vec<Source>> {
    let snapshot = store.snapshot()?;
    let summary = snapshot.summary()?;
    let has_metric = |row: &&SummaryRow| {
        row.stats.metric == request.metric && request.metrics_name.as_ref().is_none_or(|name| *name == row.metrics_name)
    };
    let runs: Vec<&RunInfo> = if request.runs.is_empty() {
        let filter = RunFilter { pipeline: request.pipeline.clone(), stage: request.stage.clone(), state: None };
        let fits =
            |run: &&RunInfo| filter.fits(run) && summary.iter().any(|row| row.run_id == run.run_id && has_metric(&row));
        snapshot.runs().iter().filter(fits).collect()
    } else {
        let ids = request.runs.iter().map(|name| store.find_run(name)).collect::<Result<Vec<_>, _>>()?;
        ids.iter().filter_map(|id| snapshot.runs().iter().find(|run| run.run_id == *id)).collect()
    };
    if runs.is_empty() {
        return Err(CliError::NoRuns { action: "plot: none that was asked for has this metric" });
    }
    let short_ids = ShortIds::new(snapshot.runs().iter().map(|run| run.run_id));
    let mut sources: Vec<Source> = Vec::with_capacity(runs.len());
    for run in &runs {
        let label = label(run, &runs, &short_ids);
        let found: Vec<&str> = summary
            .iter()
            .filter(|row| row.run_id == run.run_id && has_metric(row))
            .map(|row| row.metrics_name.as_str())
            .collect();
        let metrics_name = match found.as_slice() {
            [name] => (*name).to_owned(),
            [] => return Err(no_metric(&label, request, run.run_id, &summary)),
            names => {
                let (metric, names) = (request.metric.clone(), names.join(", "));
                return Err(CliError::SeveralMetricsNames { run: label, metric, names });
            }
        };
        let group = match &request.by {
            None => label.clone(),
            Some(param) => {
                let value = run.params.get(param).map_or("(none)".to_owned(), |value| value.to_display());
                format!("{param}={value}")
            }
        };
        sources.push(Source { run: run.run_id, label, group, metrics_name });
    }
    Ok(sources)
}

fn no_metric(label: &str, request: &Request, run: RunId, summary: &[SummaryRow]) -> CliError {
    let of_run = summary.iter().filter(|row| row.run_id == run);
    let have: Vec<String> = of_run.map(|row| format!("{} ({})", row.stats.metric, row.metrics_name)).collect();
    let have = if have.is_empty() { "none".to_owned() } else { text::shorten(&have.join(", "), 400) };
    CliError::NoMetric { run: label.to_owned(), metric: request.metric.clone(), have }
}

/// The run's name where it is the only one of that name, else with the beginning of its id.
fn label(run: &RunInfo, runs: &[&RunInfo], short_ids: &ShortIds) -> String {
    let id = short_ids.of(run.run_id);
    match &run.name {
        None => id,
        Some(name) if runs.iter().filter(|other| other.name.as_ref() == Some(name)).count() == 1 => name.clone(),
        Some(name) => format!("{name} {id}"),
    }
}

fn rows(database: &Database, runs: &[RunId], name: &str, metric: &str) -> Result<HashMap<RunId, Vec<Row>>> {
    let ids: Vec<String> = runs.iter().map(|run| literal(&run.to_string())).collect();
    let statement = format!(
        "SELECT run_id, step, CAST(time AS BIGINT) AS micros, value FROM metrics \
         WHERE run_id IN ({}) AND metrics_name = {} AND metric = {} ORDER BY run_id, step, time, seq",
        ids.join(", "),
        literal(name),
        literal(metric),
    );
    let mut found: HashMap<RunId, Vec<Row>> = HashMap::new();
    for batch in database.query(&statement)?.batches() {
        let (ids, steps) = (texts(batch.column(0))?, integers(batch.column(1))?);
        let (micros, values) = (integers(batch.column(2))?, floats(batch.column(3))?);
        for i in 0..batch.num_rows() {
            let run: RunId = ids.value(i).parse()?;
            let row = Row { step: steps.value(i), micros: micros.value(i), value: values.value(i) };
            found.entry(run).or_default().push(row);
        }
    }
    Ok(found)
}

fn points(rows: Vec<Row>, x: &XAxis, xs: Vec<Row>, label: &str) -> Result<Vec<(f64, f64)>> {
    let start = rows.iter().map(|row| row.micros).min().unwrap_or(0);
    let mut points: Vec<(f64, f64)> = match x {
        XAxis::Step => rows.iter().map(|row| (row.step as f64, row.value)).collect(),
        XAxis::Time => rows.iter().map(|row| ((row.micros - start) as f64 / 1e6, row.value)).collect(),
        XAxis::Metric(metric) => {
            if xs.is_empty() {
                let have = "no value of it under the same metrics name".to_owned();
                return Err(CliError::NoMetric { run: label.to_owned(), metric: metric.clone(), have });
            }
            // Of a step that was logged twice, the last value counts, as it does for someone who reads the log.
            let by_step: HashMap<i64, f64> = xs.iter().map(|row| (row.step, row.value)).collect();
            rows.iter().filter_map(|row| Some((*by_step.get(&row.step)?, row.value))).collect()
        }
    };
    if *x != XAxis::Step {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: i64, micros: i64, value: f64) -> Row {
        Row { step, micros, value }
    }

    #[test]
    fn the_x_axis_is_step_time_or_a_metric() {
        let rows = || vec![row(0, 5_000_000, 1.0), row(1, 7_000_000, 0.5)];
        let of = |x: XAxis, xs| points(rows(), &x, xs, "r").unwrap();
        assert_eq!(of(XAxis::Step, vec![]), [(0.0, 1.0), (1.0, 0.5)]);
        assert_eq!(of(XAxis::Time, vec![]), [(0.0, 1.0), (2.0, 0.5)]);
        let seconds = vec![row(0, 0, 9.0), row(0, 1, 10.0), row(2, 2, 30.0)];
        assert_eq!(of(XAxis::Metric("seconds".into()), seconds), [(10.0, 1.0)]);
        assert!(points(rows(), &XAxis::Metric("none".into()), vec![], "r").is_err());
    }
}
