//! `stepwell runs`.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use stepwell_engine::{ParamValue, RunId, RunInfo, RunState, Store, SummaryRow};

use crate::args::{Format, RunsArgs};
use crate::error::Result;
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::text::{self, ShortIds};
use crate::{messages, sql};

/// Which runs are meant.
#[derive(Default)]
pub struct RunFilter {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only of this stage.
    pub stage: Option<String>,
    /// Only in this state.
    pub state: Option<RunState>,
}

impl RunFilter {
    /// Whether the run is one of them.
    pub fn fits(&self, run: &RunInfo) -> bool {
        self.pipeline.as_ref().is_none_or(|name| *name == run.pipeline)
            && self.stage.as_ref().is_none_or(|name| *name == run.stage)
            && self.state.is_none_or(|state| state == run.state)
    }
}

/// Lists the runs of a store.
///
/// # Errors
/// [`crate::error::CliError::Engine`].
pub fn run(store: &Store, args: &RunsArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let snapshot = store.snapshot()?;
    let filter =
        RunFilter { pipeline: args.pipeline.clone(), stage: args.stage.clone(), state: args.state.map(RunState::from) };
    let found: Vec<&RunInfo> = snapshot.runs().iter().rev().filter(|run| filter.fits(run)).collect();
    let shown = &found[..args.limit.unwrap_or(found.len()).min(found.len())];
    let summary = snapshot.summary()?;
    let totals = Totals::new(&summary, &args.metric);
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if found.is_empty() {
            messages::say("no runs");
        } else {
            let short_ids = ShortIds::new(snapshot.runs().iter().map(|run| run.run_id));
            out.write_all(table(shown, &totals, &args.metric, &short_ids).lines(0).as_bytes())?;
        }
        if shown.len() < found.len() {
            let rest = text::plural((found.len() - shown.len()) as u64, "run");
            messages::say(&format!("{rest} more; raise --limit to see them"));
        }
        return Ok(());
    }
    let batch = batch(shown, &totals, &args.metric)?;
    sql::print(&batch.schema(), &[batch], &args.output, out)
}

/// What the summary says about each run.
pub struct Totals {
    rows: BTreeMap<RunId, u64>,
    last: BTreeMap<(RunId, String), f64>,
}

impl Totals {
    /// Sums up a summary; the last values are of these metrics only.
    pub fn new(summary: &[SummaryRow], metrics: &[String]) -> Self {
        let mut totals = Self { rows: BTreeMap::new(), last: BTreeMap::new() };
        for row in summary {
            *totals.rows.entry(row.run_id).or_default() += row.stats.count;
            if metrics.contains(&row.stats.metric) {
                totals.last.insert((row.run_id, row.stats.metric.clone()), row.stats.last.value);
            }
        }
        totals
    }

    /// Records of a run.
    pub fn rows(&self, run: RunId) -> u64 {
        self.rows.get(&run).copied().unwrap_or(0)
    }

    /// Last value of a metric of a run.
    pub fn last(&self, run: RunId, metric: &str) -> Option<f64> {
        self.last.get(&(run, metric.to_owned())).copied()
    }
}

fn table(runs: &[&RunInfo], totals: &Totals, metrics: &[String], short_ids: &ShortIds) -> TextTable {
    use Side::{Left, Right};
    let mut columns = vec![
        ("run", Left),
        ("name", Left),
        ("stage", Left),
        ("state", Left),
        ("started", Right),
        ("took", Right),
        ("records", Right),
    ];
    columns.extend(metrics.iter().map(|metric| (metric.as_str(), Right)));
    columns.push(("params", Left));
    let now = text::now();
    let mut table = TextTable::new(&columns);
    for run in runs {
        let mut cells = vec![
            short_ids.of(run.run_id),
            text::shorten(run.name.as_deref().unwrap_or("-"), 36),
            format!("{}/{}", run.pipeline, run.stage),
            run.state.as_str().to_owned(),
            text::ago(run.started, now),
            text::duration(run.ended.unwrap_or(now) - run.started),
            text::count(totals.rows(run.run_id)),
        ];
        let last = |metric: &String| totals.last(run.run_id, metric).map_or("-".to_owned(), text::number);
        cells.extend(metrics.iter().map(last));
        cells.push(text::shorten(&params(&run.params), 60));
        table.row(cells);
    }
    table
}

/// Parameters in one line: `lr=0.1 seed=3`.
pub fn params(params: &BTreeMap<String, ParamValue>) -> String {
    params.iter().map(|(key, value)| format!("{key}={}", value.to_display())).collect::<Vec<_>>().join(" ")
}

fn batch(runs: &[&RunInfo], totals: &Totals, metrics: &[String]) -> Result<RecordBatch> {
    let text = |of: fn(&RunInfo) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(runs.iter().map(|run| of(run))))
    };
    let moment = |of: fn(&RunInfo) -> Option<i64>| -> ArrayRef {
        let micros = runs.iter().map(|run| of(run).map(|nanos| nanos.div_euclid(1000)));
        Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("UTC"))
    };
    let names = runs.iter().map(|run| run.name.clone());
    let records = runs.iter().map(|run| i64::try_from(totals.rows(run.run_id)).unwrap_or(i64::MAX));
    let params = runs.iter().map(|run| serde_json::to_string(&run.params)).collect::<Result<Vec<_>, _>>()?;
    let tags = runs.iter().map(|run| serde_json::to_string(&run.tags)).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        ("run_id".into(), text(|run| run.run_id.to_string()), false),
        ("name".into(), Arc::new(StringArray::from_iter(names)), true),
        ("pipeline".into(), text(|run| run.pipeline.clone()), false),
        ("stage".into(), text(|run| run.stage.clone()), false),
        ("state".into(), text(|run| run.state.as_str().to_owned()), false),
        ("started".into(), moment(|run| Some(run.started)), false),
        ("ended".into(), moment(|run| run.ended), true),
        ("records".into(), Arc::new(Int64Array::from_iter_values(records)), false),
        ("params".into(), Arc::new(StringArray::from_iter_values(params)), false),
        ("tags".into(), Arc::new(StringArray::from_iter_values(tags)), false),
    ];
    for metric in metrics {
        let last = runs.iter().map(|run| totals.last(run.run_id, metric));
        columns.push((format!("last_{metric}"), Arc::new(Float64Array::from_iter(last)), true));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, stage: &str, state: RunState) -> RunInfo {
        RunInfo {
            run_id: RunId::generate(),
            pipeline: "digits".into(),
            stage: stage.into(),
            name: Some(name.into()),
            state,
            started: 0,
            ended: Some(2_500_000_000),
            params: [("lr".to_owned(), ParamValue::Float(0.1))].into(),
            tags: BTreeMap::new(),
            writers: Vec::new(),
            execution: stepwell_engine::ExecutionInfo::default(),
        }
    }

    #[test]
    fn filters_ask_for_all_that_is_given() {
        let run = info("a", "train", RunState::Died);
        assert!(RunFilter::default().fits(&run));
        let filter = |stage: &str, state| RunFilter { stage: Some(stage.into()), state, ..RunFilter::default() };
        assert!(filter("train", Some(RunState::Died)).fits(&run));
        assert!(!filter("train", Some(RunState::Finished)).fits(&run));
        assert!(!filter("prepare", None).fits(&run));
    }

    #[test]
    fn a_table_and_a_batch_of_the_same_runs() {
        let run = info("a", "train", RunState::Finished);
        let metrics = ["loss".to_owned()];
        let short_ids = ShortIds::new([run.run_id].into_iter());
        let table = table(&[&run], &Totals::new(&[], &metrics), &metrics, &short_ids).lines(0);
        assert!(table.contains("LOSS") && table.contains("2.5 s") && table.contains("lr=0.1"), "{table}");
        let batch = batch(&[&run], &Totals::new(&[], &[]), &["loss".to_owned()]).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (1, 11));
    }
}
