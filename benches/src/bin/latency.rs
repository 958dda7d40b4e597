//! How long one log call takes, as percentiles, while sealing, syncing and segment writing go on.

use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::Duration;

use clap::Parser;
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::limit::PrivateRing;
use stepwell_benches::report::{Report, Table};
use stepwell_benches::timing::{Plan, Stopwatch, Ticks, Timed, VALUES};
use stepwell_benches::workload::{Losses, metric_names};
use stepwell_benches::{Result, check_count, cpu::Pinned};
use stepwell_engine::{Logger, Row, Run, RunOptions, Store};

/// Values in the row that is measured beside single values.
const ROW_VALUES: usize = 10;
/// Records of the private ring: as many as a ring of the engine holds by default.
const RING_RECORDS: usize = 1 << 20;

/// Percentiles of the log call, in nanoseconds.
#[derive(Parser)]
struct Arguments {
    /// How long each row is measured.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Records a second and thread, on average.
    #[arg(long, default_value_t = 1_000_000)]
    rate: u64,
    /// Threads of the rows with several, each with a logger of its own.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// How calls are spread over time.
#[derive(Clone, Copy)]
enum Spread {
    Bursts,
    Even,
}

/// One row of the result.
struct Measured {
    name: String,
    ticks: Ticks,
    /// Records one call logs.
    per_call: usize,
    /// Waits for room, syncs and segments of the run; none for what needs no run.
    engine: Option<[f64; 3]>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.rate == 0 || arguments.threads == 0 || arguments.seconds.is_nan() || arguments.seconds <= 0.0 {
        return Err("--rate, --threads and --seconds have to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("latency", folder.path());
    let plan = Plan { duration: Duration::from_secs_f64(arguments.seconds), rate: arguments.rate };
    let mut values = vec![0.0; VALUES];
    Losses::new(1).fill(0, &mut values);
    let stopwatch = Stopwatch::new(values);
    let mut rows = floors(&stopwatch, plan)?;
    let mut threads = vec![1];
    threads.extend((arguments.threads > 1).then_some(arguments.threads));
    for threads in threads {
        for pinned in [false, true] {
            for (values, spread) in [(1, Spread::Bursts), (1, Spread::Even), (ROW_VALUES, Spread::Bursts)] {
                rows.extend(engine(folder.path(), &stopwatch, plan, Logged { values, spread, threads, pinned })?);
            }
        }
    }
    tell(&mut report, &stopwatch, &rows);
    let histograms = rows.iter().map(|row| stopwatch.buckets(&row.name, &row.ticks, row.per_call));
    report.keep("histograms", histograms.collect::<Result<Vec<_>>>()?.into());
    report.write_json(arguments.json.as_deref())
}

/// What any log call is measured against.
fn floors(stopwatch: &Stopwatch, plan: Plan) -> Result<Vec<Measured>> {
    let row =
        |name: &str, timed: Timed| Measured { name: name.to_owned(), ticks: timed.service, per_call: 1, engine: None };
    let mut ring = PrivateRing::new(RING_RECORDS);
    let probe = stopwatch.bursts(plan, 1, |_, _| {})?;
    let limit = stopwatch.bursts(plan, 1, |step, values| ring.put(0, step, values[0]))?;
    check_count("records in the private ring", ring.in_order(1000) as u64, 1000)?;
    let system = stopwatch.bursts(plan, 1, |_, _| {
        std::hint::black_box(rustix::time::clock_gettime(rustix::time::ClockId::Realtime));
    })?;
    Ok(vec![
        row("probe: two TSC reads", probe),
        row("limit: TSC read + 32-byte store", limit),
        row("clock_gettime", system),
    ])
}

/// What is logged, and how.
#[derive(Clone, Copy)]
struct Logged {
    values: usize,
    spread: Spread,
    threads: usize,
    /// Each thread that logs keeps to a core. The engine's own does not.
    pinned: bool,
}

impl Logged {
    fn name(self, what: &str) -> String {
        let call = if self.values == 1 { "log".to_owned() } else { format!("log_row of {}, per metric", self.values) };
        let spread = match self.spread {
            Spread::Bursts => "bursts",
            Spread::Even => "paced",
        };
        let threads = if self.threads == 1 { String::new() } else { format!(", {} threads", self.threads) };
        let pinned = if self.pinned { ", pinned" } else { "" };
        format!("{call}, {spread}{what}{threads}{pinned}")
    }
}

/// Measures log calls of a run of its own, and checks that each record arrived.
fn engine(folder: &Path, stopwatch: &Stopwatch, plan: Plan, logged: Logged) -> Result<Vec<Measured>> {
    let store = Store::open(folder.join("store"))?;
    let run = store.start_run(RunOptions::new("bench", "latency"))?;
    let names = metric_names(logged.values);
    let row = run.row("training_metrics", &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let plan = Plan { rate: (plan.rate / logged.values as u64).max(1), ..plan };
    let barrier = Barrier::new(logged.threads);
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..logged.threads)
            .map(|thread| {
                let (run, row, barrier) = (&run, &row, &barrier);
                scope.spawn(move || {
                    let logger = warm_logger(run, row);
                    // Not before the engine's own thread is there, which would be pinned with it.
                    let pinned = if logged.pinned { Some(Pinned::new(thread)) } else { None };
                    barrier.wait();
                    let done = calls(stopwatch, plan, logged, logger?, row);
                    drop(pinned.transpose()?);
                    done
                })
            })
            .collect();
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread panicked")?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let mut parts = parts.into_iter();
    let mut all = parts.next().ok_or("no thread ran")?;
    for part in parts {
        all.service.add(part.service)?;
        all.response.add(part.response)?;
    }
    let stats = run.stats();
    let report = run.finish()?;
    // Each thread also logged one row beforehand.
    let expected = (all.service.len() + logged.threads as u64) * logged.values as u64;
    check_count("records logged", report.rows, expected)?;
    check_count("records committed", report.artifacts.iter().map(|artifact| artifact.rows).sum(), expected)?;
    check_count("warnings", report.warnings.len() as u64, 0)?;
    let engine = Some([report.waits as f64, stats.syncs as f64, stats.segments as f64]);
    let measured = |what, ticks| Measured { name: logged.name(what), ticks, per_call: logged.values, engine };
    let mut rows = vec![measured("", all.service)];
    if !all.response.is_empty() {
        rows.push(measured(", since due", all.response));
    }
    Ok(rows)
}

/// A logger that has logged a row: its metrics are defined and the clock is calibrated.
fn warm_logger(run: &Run, row: &Row) -> Result<Logger> {
    let mut logger = run.logger()?;
    // The sealer calibrates the clock and makes pages present ahead of the first record.
    std::thread::sleep(Duration::from_millis(300));
    logger.log_row(row, -1, &vec![0.0; row.metrics().len()])?;
    Ok(logger)
}

fn calls(stopwatch: &Stopwatch, plan: Plan, logged: Logged, mut logger: Logger, row: &Row) -> Result<Timed> {
    let metric = row.metrics()[0];
    let mut failed = 0;
    let single = |step: i64, values: &[f64]| failed += u64::from(logger.log(metric, step, values[0]).is_err());
    let timed = match (logged.values, logged.spread) {
        (1, Spread::Bursts) => stopwatch.bursts(plan, 1, single)?,
        (1, Spread::Even) => stopwatch.paced(plan, 1, single)?,
        (count, spread) => {
            let several = |step: i64, values: &[f64]| failed += u64::from(logger.log_row(row, step, values).is_err());
            match spread {
                Spread::Bursts => stopwatch.bursts(plan, count, several)?,
                Spread::Even => stopwatch.paced(plan, count, several)?,
            }
        }
    };
    check_count("calls that failed", failed, 0)?;
    Ok(timed)
}

/// Two tables: as measured, and less the probe. The first row is the probe.
fn tell(report: &mut Report, stopwatch: &Stopwatch, rows: &[Measured]) {
    const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];
    const COLUMNS: [&str; 7] = ["p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"];
    let scale = stopwatch.nanos_per_tick();
    let nanos = |row: &Measured, probe: f64| {
        let ticks = PERCENTILES.iter().map(|percentile| row.ticks.value_at_percentile(*percentile) as f64);
        let ticks = ticks.chain([row.ticks.max() as f64, row.ticks.mean()]);
        ticks.map(|ticks| (ticks - probe).max(0.0) * scale / row.per_call as f64).collect::<Vec<_>>()
    };
    let raw = rows.iter().map(|row| {
        let mut numbers = nanos(row, 0.0);
        numbers.push(row.ticks.len() as f64);
        numbers.extend(row.engine.unwrap_or([f64::NAN; 3]));
        (row.name.clone(), numbers)
    });
    report.add(&Table {
        title: format!("nanoseconds a call, the probe included (a tick is {scale:.3} ns)"),
        columns: COLUMNS.into_iter().chain(["calls", "waits", "syncs", "segments"]).collect(),
        rows: raw.collect(),
    });
    let Some(probe) = rows.first() else { return };
    let (median, mean) = (probe.ticks.value_at_percentile(50.0) as f64, probe.ticks.mean());
    let corrected = rows.iter().map(|row| {
        let mut numbers = nanos(row, median);
        if let Some(last) = numbers.last_mut() {
            *last = (row.ticks.mean() - mean).max(0.0) * scale / row.per_call as f64;
        }
        (row.name.clone(), numbers)
    });
    report.add(&Table {
        title: "nanoseconds a call, corrected: less the median of the probe (the mean: less its mean)".to_owned(),
        columns: COLUMNS.to_vec(),
        rows: corrected.collect(),
    });
}
