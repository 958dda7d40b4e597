//! The engine's calls; each in a run of its own.

use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use stepwell_benches::workload::metric_names;
use stepwell_benches::{Result, check_count};
use stepwell_engine::{Access, EngineConfig, Logger, RunOptions, Store};

use crate::{BATCH, THREADS, VALUES, on_threads};

/// Metrics in the rows that are measured.
const ROWS: [usize; 4] = [1, 3, 10, 100];
const METRICS_NAME: &str = "training_metrics";
/// Syncing as often as that has a sync in most batches.
const OFTEN: Duration = Duration::from_millis(10);
/// An interval that does not end.
const NEVER: Duration = Duration::from_secs(3600);

/// One call that is measured.
struct Measured {
    name: String,
    /// Metrics of a row; none for single values.
    metrics: Option<usize>,
    threads: usize,
    sync_interval: Duration,
}

impl Measured {
    fn new(metrics: Option<usize>) -> Self {
        let name = metrics.map_or("log".to_owned(), |metrics| format!("log_row of {metrics}"));
        Self { name, metrics, threads: 1, sync_interval: EngineConfig::default().sync_interval }
    }

    fn threads(metrics: Option<usize>, threads: usize) -> Self {
        let one = Self::new(metrics);
        Self { name: format!("{}, {threads} threads", one.name), threads, ..one }
    }

    fn syncing(metrics: Option<usize>, sync_interval: Duration, name: &str) -> Self {
        let one = Self::new(metrics);
        Self { name: format!("{}, {name}", one.name), sync_interval, ..one }
    }
}

/// All calls.
///
/// # Errors
/// When a record was lost.
pub fn calls(criterion: &mut Criterion, values: &[f64], folder: &Path) -> Result<()> {
    let kinds = [None, Some(10)];
    let rows = std::iter::once(None).chain(ROWS.map(Some)).map(Measured::new);
    let threads = kinds.iter().flat_map(|kind| THREADS.map(|threads| Measured::threads(*kind, threads)));
    let often = kinds.iter().map(|kind| Measured::syncing(*kind, OFTEN, "syncing every 10 ms"));
    let never = kinds.iter().map(|kind| Measured::syncing(*kind, NEVER, "not syncing"));
    for measured in rows.chain(threads).chain(often).chain(never) {
        measure(criterion, &measured, values, folder)?;
    }
    Ok(())
}

fn measure(criterion: &mut Criterion, measured: &Measured, values: &[f64], folder: &Path) -> Result<()> {
    let Measured { name, metrics, threads, sync_interval } = measured;
    let width = metrics.unwrap_or(1);
    let mut config = EngineConfig::default();
    config.sync_interval = *sync_interval;
    let store = Store::open_with(folder.join("store"), Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "log").name(name))?;
    let names = metric_names(width);
    let row = run.row(METRICS_NAME, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let metric = row.metrics()[0];
    let mut loggers = (0..*threads).map(|_| Ok((run.logger()?, 0_u64))).collect::<Result<Vec<_>>>()?;
    let (mut first, mut committed) = (0, 0);
    let mut group = criterion.benchmark_group("engine");
    group.throughput(Throughput::Elements(width as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let call = |(logger, failed): &mut (Logger, u64), begin: i64, count: u64| {
                for step in first + begin..first + begin + count as i64 {
                    let at = step as usize % (VALUES - width);
                    let result = match metrics {
                        None => logger.log(metric, step, values[at]),
                        Some(_) => logger.log_row(&row, step, &values[at..at + width]),
                    };
                    *failed += u64::from(result.is_err());
                }
            };
            let empty = |count: u64| {
                run.commit(METRICS_NAME).expect("commits");
                committed += count * width as u64;
                let stats = run.stats();
                assert_eq!((stats.rows_committed, stats.waits, stats.drops), (committed, 0, 0));
            };
            let total = on_threads(calls, BATCH / width as u64, &mut loggers, call, empty);
            first += calls as i64;
            total
        });
    });
    group.finish();
    let failed = loggers.drain(..).map(|(_, failed)| failed).sum();
    let syncs = run.stats().syncs;
    if committed > 0 {
        println!("  syncs of journals beside the calls and in commits: {syncs}");
    }
    check_count("calls that failed", failed, 0)?;
    check_count("records logged", run.finish()?.rows, committed)
}
