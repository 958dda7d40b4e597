//! What the engine sustains: records a second to committed Parquet, start and finish of runs, time until visible.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::report::{Report, Table};
use stepwell_benches::workload::{Losses, metric_names};
use stepwell_benches::{Result, check_count, cpu};
use stepwell_engine::{Access, EngineConfig, Logger, Row, Run, RunOptions, Store};

/// Records of a short run.
const SHORT_RUN_RECORDS: u64 = 1000;
/// Distance of the records whose way to a second reader is timed.
const VISIBLE_PAUSE: Duration = Duration::from_millis(23);
/// How long the second reader waits for the last of them.
const VISIBLE_LIMIT: Duration = Duration::from_secs(60);
/// What all runs log under.
const METRICS_NAME: &str = "training_metrics";

/// Sustained records a second, and times of what happens around a run.
#[derive(Parser)]
struct Arguments {
    /// Records logged flat out, all threads together.
    #[arg(long, default_value_t = 50_000_000)]
    records: u64,
    /// Metrics in a row.
    #[arg(long, default_value_t = 4)]
    metrics: u64,
    /// Threads that log, each with a logger of its own.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Short runs that are started and finished.
    #[arg(long, default_value_t = 50)]
    runs: u64,
    /// Records whose way to a second reader is timed.
    #[arg(long, default_value_t = 100)]
    visible: i64,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Is the second reader, of the store given.
    #[arg(long, hide = true)]
    reader: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(store) = &arguments.reader {
        return read_until(store, arguments.visible);
    }
    if arguments.metrics == 0 || arguments.threads == 0 {
        return Err("--metrics and --threads have to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("throughput", folder.path());
    if arguments.records > 0 {
        report.add(&sustained(&folder.path().join("sustained"), &arguments)?);
    }
    if arguments.runs > 0 {
        report.add(&short_runs(&folder.path().join("short"), arguments.runs)?);
    }
    if arguments.visible > 0 {
        report.add(&visible(&folder.path().join("visible"), arguments.visible)?);
    }
    report.write_json(arguments.json.as_deref())
}

fn start(store: &Store, metrics: u64) -> Result<(Run, Row)> {
    let run = store.start_run(RunOptions::new("bench", "throughput"))?;
    let names = metric_names(metrics as usize);
    let row = run.row(METRICS_NAME, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    Ok((run, row))
}

/// Logs flat out and finishes: the producer is slowed down to the pace of the sealer by full rings.
fn sustained(path: &Path, arguments: &Arguments) -> Result<Table> {
    let steps = arguments.records / arguments.metrics / arguments.threads;
    let records = steps * arguments.metrics * arguments.threads;
    let store = Store::open(path)?;
    let (run, row) = start(&store, arguments.metrics)?;
    let (process, begin) = (cpu::of_process(), Instant::now());
    let producers = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.threads)
            .map(|thread| {
                let logger = run.logger()?;
                let row = &row;
                Ok(scope.spawn(move || produce(logger, row, steps, thread)))
            })
            .collect::<Result<_>>()?;
        let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| "a thread panicked")?);
        joined.sum::<Result<Duration>>()
    })?;
    let logged = begin.elapsed();
    let finished = run.finish()?;
    let (wall, total) = (begin.elapsed().as_secs_f64(), (cpu::of_process() - process).as_secs_f64());
    let peak = cpu::peak_resident_bytes().map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20));
    let segments = store.snapshot()?.segments().to_vec();
    check_count("records logged", finished.rows, records)?;
    check_count("records in segments", segments.iter().map(|segment| segment.rows).sum(), records)?;
    check_count("records dropped", finished.drops, 0)?;
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let (producers, count) = (producers.as_secs_f64(), records as f64);
    let row = |name: &str, number: f64| (name.to_owned(), vec![number]);
    Ok(Table {
        title: format!(
            "sustained to committed Parquet: {} thread(s), rows of {} metrics",
            arguments.threads, arguments.metrics
        ),
        columns: vec!["value"],
        rows: vec![
            row("records", count),
            row("wall seconds, finish included", wall),
            row("wall seconds until the last log call returned", logged.as_secs_f64()),
            row("records / wall second", count / wall),
            row("CPU seconds, all threads", total),
            row("records / CPU second", count / total),
            row("CPU seconds of the producers", producers),
            row("records / CPU second of the rest (sealer, finish)", count / (total - producers)),
            row("peak resident MiB, journals included", peak),
            row("bytes a record in segments", bytes as f64 / count),
            row("segments", segments.len() as f64),
            row("calls that waited for room", finished.waits as f64),
        ],
    })
}

/// Logs `steps` rows; returns the processor time it took, making up the values included.
fn produce(mut logger: Logger, row: &Row, steps: u64, thread: u64) -> Result<Duration> {
    let mut losses = Losses::new(thread);
    let mut values = vec![0.0; row.metrics().len()];
    let before = cpu::of_thread();
    for step in 0..steps as i64 {
        losses.fill(step, &mut values);
        logger.log_row(row, step, &values)?;
    }
    Ok(cpu::of_thread() - before)
}

/// Opens a store, starts a run, logs a little and finishes, again and again in one store.
fn short_runs(path: &Path, runs: u64) -> Result<Table> {
    let names =
        ["Store::open", "Store::start_run", "Run::logger", "start: the three together", "Run::finish, 1,000 records"];
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut losses = Losses::new(2);
    for _ in 0..runs {
        let begin = Instant::now();
        let store = Store::open(path)?;
        let opened = begin.elapsed();
        let run = store.start_run(RunOptions::new("bench", "throughput"))?;
        let started = begin.elapsed();
        let mut logger = run.logger()?;
        let ready = begin.elapsed();
        let metric = run.metric(METRICS_NAME, "loss")?;
        for step in 0..SHORT_RUN_RECORDS as i64 {
            let mut value = [0.0];
            losses.fill(step, &mut value);
            logger.log(metric, step, value[0])?;
        }
        drop(logger);
        let begin = Instant::now();
        let report = run.finish()?;
        let finished = begin.elapsed();
        check_count("records logged", report.rows, SHORT_RUN_RECORDS)?;
        let parts = [opened, started - opened, ready - started, ready, finished];
        times.iter_mut().zip(parts).for_each(|(times, part)| times.push(part.as_secs_f64() * 1e3));
    }
    check_count("runs in the store", Store::open(path)?.snapshot()?.runs().len() as u64, runs)?;
    let rows = names.iter().zip(times).map(|(name, times)| ((*name).to_owned(), spread(times)));
    Ok(Table {
        title: format!("a short run, milliseconds, {runs} times"),
        columns: SPREAD.to_vec(),
        rows: rows.collect(),
    })
}

const SPREAD: [&str; 4] = ["median", "p90", "max", "first"];

fn spread(times: Vec<f64>) -> Vec<f64> {
    let first = times.first().copied().unwrap_or(f64::NAN);
    let mut sorted = times;
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    vec![at(0.5), at(0.9), sorted.last().copied().unwrap_or(f64::NAN), first]
}

/// Logs single records, and has another process look for them without pause.
fn visible(path: &Path, records: i64) -> Result<Table> {
    let store = Store::open(path)?;
    let (run, row) = start(&store, 1)?;
    let mut logger = run.logger()?;
    logger.log_row(&row, -1, &[0.0])?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--reader")
        .arg(path)
        .args(["--visible", &records.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the reader has no output")?).lines();
    lines.next().ok_or("the reader did not start")??;
    for step in 0..records {
        std::thread::sleep(VISIBLE_PAUSE);
        logger.log_row(&row, step, &[step as f64])?;
    }
    let (mut seen, mut looks) = (Vec::new(), Vec::new());
    for line in lines {
        let line = line?;
        let (kind, micros) = line.split_once(' ').ok_or("the reader said something else")?;
        let list = if kind == "seen" { &mut seen } else { &mut looks };
        list.push(micros.parse::<f64>()? / 1e3);
    }
    if !child.wait()?.success() || seen.is_empty() {
        return Err("the reader did not see all records".into());
    }
    let rows = vec![
        (format!("from the log call to the reader, {} of {records} records", seen.len()), spread(seen)),
        ("one look of the reader: Store::snapshot".to_owned(), spread(looks)),
    ];
    Ok(Table { title: "visible to a second process, milliseconds".to_owned(), columns: SPREAD.to_vec(), rows })
}

/// The second reader: looks without pause until step `records - 1` is there. Each look that finds a later step than the
/// one before says how old that record was, and how long the look took.
fn read_until(path: &Path, records: i64) -> Result<()> {
    let store = Store::open_with(path, Access::Read, EngineConfig::default())?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "ready")?;
    output.flush()?;
    let (begin, mut known) = (Instant::now(), -1);
    while begin.elapsed() < VISIBLE_LIMIT {
        let look = Instant::now();
        let snapshot = store.snapshot()?;
        let look = look.elapsed();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
        let live = snapshot.live().iter().flat_map(|rows| &rows.metrics);
        let Some(last) = live.map(|metric| metric.last).max_by_key(|last| last.step) else { continue };
        if last.step > known {
            known = last.step;
            writeln!(output, "seen {}\nlook {}", now - last.time, look.as_micros())?;
        }
        if known == records - 1 {
            return Ok(());
        }
    }
    Err("the last record was not seen in time".into())
}
