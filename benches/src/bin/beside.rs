//! What a log call costs while other work goes on in the same process: syncing, and the recovery or the compaction of another run.
//!
//! The kinds of work take turns within each round, so that what else the machine does meets all of them alike.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::report::{Report, Table, median};
use stepwell_benches::timing::{Plan, Stopwatch, Ticks, Timed, VALUES};
use stepwell_benches::workload::Losses;
use stepwell_benches::{Result, check_count, cpu::Pinned, dead};
use stepwell_engine::store::Access;
use stepwell_engine::{CompactOptions, EngineConfig, RunOptions, Store};

/// Records in the journal that is recovered: less than the half of a ring at which a segment is closed.
const LEFT_BEHIND: i64 = 500_000;
/// Segments of the run that is compacted; they hold as many records.
const SMALL_SEGMENTS: i64 = 50;
/// An interval that does not end while a row is measured.
const NEVER: Duration = Duration::from_secs(3600);

/// Percentiles of the log call beside other work, in nanoseconds.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each measures every kind of work once.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each kind is measured in a round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Records a second; more than half a ring in a round would close segments.
    #[arg(long, default_value_t = 150_000)]
    rate: u64,
    /// Calls at even distances instead of bursts; adds a table that counts from the moment at which a call was due.
    #[arg(long)]
    paced: bool,
    /// Keeps the thread that logs to a core.
    #[arg(long)]
    pin: bool,
    /// Size of the file that the other process writes, in MiB: more than the device takes at once.
    #[arg(long, default_value_t = 1024)]
    file_mib: u64,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Logs to a store in this folder and ends as if killed. The benchmark starts itself so.
    #[arg(long, hide = true)]
    leave_behind: Option<PathBuf>,
    /// Writes a file again and again, until killed. The benchmark starts itself so.
    #[arg(long, hide = true)]
    write: Option<PathBuf>,
}

/// What goes on beside the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Nothing,
    Syncing,
    Recovery,
    Compaction,
    Writeback,
}

impl Work {
    const ALL: [Self; 5] = [Self::Nothing, Self::Syncing, Self::Recovery, Self::Compaction, Self::Writeback];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "quiet: no sync, no segment",
            Self::Syncing => "syncing every second",
            Self::Recovery => "syncing, and recovery of another run",
            Self::Compaction => "syncing, and compaction of another run",
            Self::Writeback => "syncing, and another process writes and syncs a large file",
        }
    }

    fn config(self) -> EngineConfig {
        let mut config = EngineConfig::default();
        config.segment_age = NEVER;
        if self == Self::Nothing {
            config.sync_interval = NEVER;
        }
        config
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.leave_behind {
        return dead::die_after_logging(folder, LEFT_BEHIND, EngineConfig::default().ring_records);
    }
    if let Some(file) = &arguments.write {
        return write_forever(file, arguments.file_mib);
    }
    if arguments.rate == 0 || arguments.rounds == 0 || arguments.seconds.is_nan() || arguments.seconds <= 0.0 {
        return Err("--rate, --rounds and --seconds have to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("beside", folder.path());
    let dead = folder.path().join("dead");
    dead::have_one_die(&["--leave-behind", &dead.to_string_lossy()])?;
    let ended = folder.path().join("ended");
    write_small_segments(&ended)?;
    let others = Others { dead, ended, file_mib: arguments.file_mib, paced: arguments.paced, pin: arguments.pin };
    let plan = Plan { duration: Duration::from_secs_f64(arguments.seconds), rate: arguments.rate };
    let mut values = vec![0.0; VALUES];
    Losses::new(1).fill(0, &mut values);
    let stopwatch = Stopwatch::new(values);
    let mut measured: [Vec<Measured>; Work::ALL.len()] = Default::default();
    for round in 0..arguments.rounds {
        for (work, rounds) in Work::ALL.into_iter().zip(&mut measured) {
            let place = folder.path().join(format!("{round}"));
            rounds.push(measure(&place, &others, &stopwatch, plan, work)?);
            std::fs::remove_dir_all(&place)?;
        }
    }
    tell(&mut report, &stopwatch, &measured)?;
    report.write_json(arguments.json.as_deref())
}

struct Measured {
    timed: Timed,
    syncs: u64,
    /// Recoveries, compactions, or MiB written.
    repeats: u64,
}

/// What is worked on beside the calls, and how the calls are spread.
struct Others {
    /// Of a writer that died with its ring full.
    dead: PathBuf,
    /// Of a run that finished, with many small segments.
    ended: PathBuf,
    file_mib: u64,
    paced: bool,
    pin: bool,
}

/// A run that finished and whose segments are due to be merged.
fn write_small_segments(folder: &Path) -> Result<()> {
    let mut config = EngineConfig::default();
    config.segment_age = NEVER;
    config.compact_at_finish_rows_max = 0;
    let store = Store::open_with(folder, Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "ended"))?;
    let metric = run.metric("training_metrics", "loss")?;
    let mut logger = run.logger()?;
    for step in 0..LEFT_BEHIND {
        logger.log(metric, step, step as f64)?;
        if (step + 1) % (LEFT_BEHIND / SMALL_SEGMENTS) == 0 {
            run.commit("training_metrics")?;
        }
    }
    drop(logger);
    check_count("records of the run that is compacted", run.finish()?.rows, LEFT_BEHIND as u64)?;
    Ok(())
}

fn measure(place: &Path, others: &Others, stopwatch: &Stopwatch, plan: Plan, work: Work) -> Result<Measured> {
    let store = Store::open_with(place.join("store"), Access::Create, work.config())?;
    let run = store.start_run(RunOptions::new("bench", "beside"))?;
    let metric = run.metric("training_metrics", "loss")?;
    let mut logger = run.logger()?;
    // The sealer calibrates the clock and makes pages present ahead of the first record.
    std::thread::sleep(Duration::from_millis(300));
    logger.log(metric, -1, 0.0)?;
    let (begun, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let (timed, repeats) = std::thread::scope(|scope| {
        let working = scope.spawn(|| match work {
            Work::Recovery => repeat(place, &others.dead, [&begun, &stop], recover),
            Work::Compaction => repeat(place, &others.ended, [&begun, &stop], compact),
            Work::Writeback => write_back(place, others.file_mib, [&begun, &stop]),
            Work::Nothing | Work::Syncing => {
                begun.store(true, Ordering::Release);
                Ok(0)
            }
        });
        while !begun.load(Ordering::Acquire) && !working.is_finished() {
            std::thread::yield_now();
        }
        let mut failed = 0;
        // Not before the other threads are there, which would be pinned with it.
        let pinned = if others.pin { Some(Pinned::new(0)) } else { None };
        let call = |step: i64, values: &[f64]| failed += u64::from(logger.log(metric, step, values[0]).is_err());
        let timed = if others.paced { stopwatch.paced(plan, 1, call) } else { stopwatch.bursts(plan, 1, call) };
        stop.store(true, Ordering::Release);
        drop(pinned.transpose()?);
        let repeats = working.join().map_err(|_| "a thread panicked")??;
        check_count("calls that failed", failed, 0)?;
        Result::Ok((timed?, repeats))
    })?;
    let syncs = run.stats().syncs;
    let report = run.finish()?;
    check_count("records kept", report.rows, timed.service.len() + 1)?;
    Ok(Measured { timed, syncs, repeats })
}

/// Works on copies of a store, one after the other; how often.
fn repeat(place: &Path, other: &Path, [begun, stop]: [&AtomicBool; 2], work: fn(&Path) -> Result<()>) -> Result<u64> {
    let mut repeats = 0;
    while !stop.load(Ordering::Acquire) {
        let copy = place.join(format!("copy-{repeats}"));
        dead::copy(other, &copy)?;
        begun.store(true, Ordering::Release);
        work(&copy)?;
        repeats += 1;
        std::fs::remove_dir_all(&copy)?;
    }
    Ok(repeats)
}

/// Another process, which ends with this value.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has another process write a large file and sync it, over and over: how many MiB.
fn write_back(place: &Path, file_mib: u64, [begun, stop]: [&AtomicBool; 2]) -> Result<u64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--write").arg(place.join("large")).args(["--file-mib", &file_mib.to_string()]);
    let mut other = Other(command.stdout(Stdio::piped()).spawn()?);
    let lines = BufReader::new(other.0.stdout.take().ok_or("the other process has no output")?).lines();
    let mut mib = 0;
    for line in lines {
        mib = line?.parse()?;
        begun.store(true, Ordering::Release);
        if stop.load(Ordering::Acquire) {
            return Ok(mib);
        }
    }
    Err(format!("the other process ended after {mib} MiB").into())
}

/// Writes a file of so many MiB, syncs it, and begins anew; says from time to time how many MiB were written in all.
fn write_forever(path: &Path, file_mib: u64) -> Result<()> {
    let (mut file, block) = (File::create(path)?, vec![0x5a; 1 << 20]);
    for mib in 1_u64.. {
        file.write_all(&block)?;
        if mib.is_multiple_of(64) {
            println!("{mib}");
        }
        if mib.is_multiple_of(file_mib.max(1)) {
            file.sync_data()?;
            file.rewind()?;
        }
    }
    Ok(())
}

/// Recovers the dead run, and counts its rows.
fn recover(folder: &Path) -> Result<()> {
    dead::recover(folder, LEFT_BEHIND as u64)?;
    Ok(())
}

/// Merges the segments of the ended run, and counts its rows.
fn compact(folder: &Path) -> Result<()> {
    let report = Store::open(folder)?.compact(&CompactOptions::default(), &mut |_, _| {})?;
    check_count("compactions that failed", report.failures.len() as u64, 0)?;
    let segments = report.compacted.iter().map(|name| name.segments_before).sum();
    check_count("segments merged", segments, SMALL_SEGMENTS as u64)?;
    check_count("records merged", report.compacted.iter().map(|name| name.rows).sum(), LEFT_BEHIND as u64)?;
    Ok(())
}

/// A duration in ticks of one measurement.
type Histograms = fn(&Measured) -> &Ticks;

/// The median of each percentile over the rounds, and the ratio of p99.9 to the quiet one of the same round; of calls, and of calls since
/// they were due where they were paced.
fn tell(report: &mut Report, stopwatch: &Stopwatch, measured: &[Vec<Measured>; Work::ALL.len()]) -> Result<()> {
    let mut kinds: Vec<(&str, Histograms)> = vec![("a call", |one| &one.timed.service)];
    if measured[0].iter().any(|one| !one.timed.response.is_empty()) {
        kinds.push(("a call, since it was due", |one| &one.timed.response));
    }
    let mut histograms = Vec::new();
    for (what, of) in kinds {
        report.add(&table(what, of, stopwatch, measured));
        for (work, rounds) in Work::ALL.into_iter().zip(measured) {
            let mut all = of(&rounds[0]).clone();
            rounds[1..].iter().try_for_each(|round| all.add(of(round)))?;
            histograms.push(stopwatch.buckets(&format!("{what}: {}", work.name()), &all, 1)?);
        }
    }
    report.keep("histograms", histograms.into());
    Ok(())
}

fn table(what: &str, of: Histograms, stopwatch: &Stopwatch, measured: &[Vec<Measured>; Work::ALL.len()]) -> Table {
    const PERCENTILES: [f64; 4] = [50.0, 99.0, 99.9, 99.99];
    let scale = stopwatch.nanos_per_tick();
    let at = |one: &Measured, percentile| of(one).value_at_percentile(percentile) as f64 * scale;
    let rows = Work::ALL.into_iter().zip(measured).map(|(work, rounds)| {
        let mut numbers: Vec<f64> =
            PERCENTILES.iter().map(|percentile| median(rounds.iter().map(|one| at(one, *percentile)))).collect();
        numbers.push(rounds.iter().map(|one| of(one).max() as f64 * scale).fold(f64::NAN, f64::max));
        let ratios = rounds.iter().zip(&measured[0]).map(|(one, quiet)| at(one, 99.9) / at(quiet, 99.9));
        numbers.push(median(ratios));
        numbers.push(rounds.iter().map(|one| of(one).len()).sum::<u64>() as f64);
        numbers.push(rounds.iter().map(|one| one.syncs).sum::<u64>() as f64);
        let repeats = rounds.iter().map(|one| one.repeats).sum::<u64>() as f64;
        let repeats = |kind| if work == kind { repeats } else { 0.0 };
        numbers.extend([Work::Recovery, Work::Compaction, Work::Writeback].map(repeats));
        (work.name().to_owned(), numbers)
    });
    Table {
        title: format!(
            "nanoseconds {what}: medians of {} rounds, max of all (a tick is {scale:.3} ns)",
            measured[0].len()
        ),
        columns: vec![
            "p50",
            "p99",
            "p99.9",
            "p99.99",
            "max",
            "p99.9 / quiet",
            "calls",
            "syncs",
            "recoveries",
            "compactions",
            "MiB written",
        ],
        rows: rows.collect(),
    }
}
