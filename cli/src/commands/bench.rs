//! `stepwell bench`: what logging would cost here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use rustix::time::{ClockId, clock_gettime};
use stepwell_engine::{Access, EngineConfig, Run, RunOptions, Store};

use crate::args::{BenchArgs, Format};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Steps of training whose share is told: 0.2, 1, 10 and 100 ms.
const STEPS: [Duration; 4] =
    [Duration::from_micros(200), Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];
/// Calls that are timed to find out what timing costs.
const PROBES: usize = 20_000;

/// What a step of one length came to. Times are nanoseconds.
struct Measured {
    step: Duration,
    calls: u64,
    p50: u64,
    p99: u64,
    max: u64,
    mean: f64,
    /// Processor time of all other threads, as a share of the time that passed.
    background: f64,
}

impl Measured {
    /// The share of a step that its call takes.
    fn share(&self) -> f64 {
        self.mean / self.step.as_nanos() as f64
    }
}

/// Logs a row of metrics at each step of pretended trainings, with everything on that is on by default, and prints what share of a
/// step that took.
///
/// # Errors
/// [`CliError::Engine`]: no store can be made beside the one that is asked for. [`CliError::Log`]: a record was not taken.
pub fn run(store: &Path, args: &BenchArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let folder = Folder::beside(store);
    let config = EngineConfig::from_env()?;
    let opened = Store::open_with(&folder.0, Access::Create, config)?;
    let each = Duration::from_secs(args.seconds.into()) / STEPS.len() as u32;
    let spinner = messages::spinner(&format!(
        "logging {} at a time for {} s",
        text::plural(args.metrics.into(), "metric"),
        args.seconds
    ));
    let run = opened.start_run(RunOptions::new("bench", "log"))?;
    let measured = STEPS.map(|step| measure(&run, args.metrics, step, each));
    let began = Instant::now();
    let report = run.finish();
    let finish = began.elapsed();
    spinner.finish_and_clear();
    let (measured, report) = (measured.into_iter().collect::<Result<Vec<_>>>()?, report?);
    let bytes: u64 = opened.snapshot()?.segments().iter().map(|segment| segment.bytes).sum();
    let printed = print(&measured, args, out);
    if cfg!(debug_assertions) {
        messages::say("this is a build without optimisation: its figures say nothing");
    }
    messages::say(&format!(
        "{} records, {:.1} bytes each in Parquet; the end of the run took {}; the store lay on {}",
        text::count(report.rows),
        bytes as f64 / report.rows.max(1) as f64,
        text::duration(i64::try_from(finish.as_nanos()).unwrap_or(i64::MAX)),
        opened.file_system(),
    ));
    printed
}

/// A folder that goes when the measurement ends, however it does.
struct Folder(PathBuf);

impl Folder {
    /// On the disk where the store is, or would be.
    fn beside(store: &Path) -> Self {
        let parent = store.parent().filter(|parent| parent.is_dir()).unwrap_or(Path::new("."));
        Self(parent.join(format!(".stepwell-bench-{}", std::process::id())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One row of `metrics` each `step`, for as long as `duration`. The time between is spent computing, as training would.
fn measure(run: &Run, metrics: u16, step: Duration, duration: Duration) -> Result<Measured> {
    let names: Vec<String> = (0..metrics).map(|number| format!("metric{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let row = run.row(&format!("step of {} us", step.as_micros()), &names)?;
    let mut log = run.logger()?;
    let mut values: Vec<f64> = (0..metrics).map(|number| f64::from(number) + 0.5).collect();
    let probe = probe();
    let mut taken: Vec<u64> = Vec::new();
    let (began, own, all) = (Instant::now(), processor(ClockId::ThreadCPUTime), processor(ClockId::ProcessCPUTime));
    let mut due = began;
    let mut number = 0;
    while began.elapsed() < duration || taken.is_empty() {
        while Instant::now() < due {
            values.iter_mut().for_each(|value| *value = (*value * 1.000_000_1).sin() + 1.0);
        }
        let start = Instant::now();
        let logged = log.log_row(&row, number, &values);
        logged.map_err(|source| CliError::Log { run: "bench".to_owned(), source })?;
        taken.push(nanos(start.elapsed()));
        (number, due) = (number + 1, due + step);
    }
    let passed = began.elapsed().as_secs_f64();
    let own = processor(ClockId::ThreadCPUTime).saturating_sub(own);
    let others = processor(ClockId::ProcessCPUTime).saturating_sub(all).saturating_sub(own);
    taken.sort_unstable();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].saturating_sub(probe);
    Ok(Measured {
        step,
        calls: taken.len() as u64,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1.0),
        mean: taken.iter().map(|nanos| nanos.saturating_sub(probe) as f64).sum::<f64>() / taken.len() as f64,
        background: others.as_secs_f64() / passed,
    })
}

/// What timing a call that does nothing shows, in the median.
fn probe() -> u64 {
    let mut taken: Vec<u64> = (0..PROBES)
        .map(|_| {
            let start = Instant::now();
            nanos(start.elapsed())
        })
        .collect();
    taken.sort_unstable();
    taken[PROBES / 2]
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn processor(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn print(measured: &[Measured], args: &BenchArgs, out: &mut Out) -> Result<()> {
    if args.output.format() == Format::Table && args.output.output.is_none() {
        out.write_all(table(measured).lines(0).as_bytes())?;
    } else {
        let batch = batch(measured)?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}

fn table(measured: &[Measured]) -> TextTable {
    use Side::Right;
    let columns = ["a step of", "calls", "call, p50", "p99", "longest", "share of a step", "background"];
    let mut table = TextTable::new(&columns.map(|title| (title, Right)));
    for row in measured {
        table.row([
            text::duration(i64::try_from(row.step.as_nanos()).unwrap_or(i64::MAX)),
            text::count(row.calls),
            time(row.p50),
            time(row.p99),
            time(row.max),
            percent(row.share()),
            format!("{} of a core", percent(row.background)),
        ]);
    }
    table
}

fn time(nanos: u64) -> String {
    if nanos < 1000 { format!("{nanos} ns") } else { text::duration(i64::try_from(nanos).unwrap_or(i64::MAX)) }
}

fn percent(share: f64) -> String {
    format!("{:.*} %", if share < 0.001 { 4 } else { 2 }, share * 100.0)
}

fn batch(measured: &[Measured]) -> Result<RecordBatch> {
    let whole = |of: fn(&Measured) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(measured.iter().map(|row| i64::try_from(of(row)).unwrap_or(i64::MAX))))
    };
    let float =
        |of: fn(&Measured) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(measured.iter().map(of))) };
    Ok(RecordBatch::try_from_iter([
        ("step_ns", whole(|row| nanos(row.step))),
        ("calls", whole(|row| row.calls)),
        ("p50_ns", whole(|row| row.p50)),
        ("p99_ns", whole(|row| row.p99)),
        ("max_ns", whole(|row| row.max)),
        ("mean_ns", float(|row| row.mean)),
        ("share_of_step", float(Measured::share)),
        ("background_cores", float(|row| row.background)),
    ])?)
}
