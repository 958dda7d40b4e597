//! What a log call costs while other work goes on in the same process: syncing, and the recovery or the compaction of another run.
//!
//! The kinds of work take turns within each round, so that what else the machine does meets all of them alike.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::report::{Report, Table};
use stepwell_benches::timing::{Plan, Stopwatch, Ticks, VALUES};
use stepwell_benches::workload::Losses;
use stepwell_benches::{Result, check_count};
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
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Logs to a store in this folder and ends as if killed. The benchmark starts itself so.
    #[arg(long, hide = true)]
    leave_behind: Option<PathBuf>,
}

/// What goes on beside the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Nothing,
    Syncing,
    Recovery,
    Compaction,
}

impl Work {
    const ALL: [Self; 4] = [Self::Nothing, Self::Syncing, Self::Recovery, Self::Compaction];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "quiet: no sync, no segment",
            Self::Syncing => "syncing every second",
            Self::Recovery => "syncing, and recovery of another run",
            Self::Compaction => "syncing, and compaction of another run",
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
        return leave_behind(folder);
    }
    if arguments.rate == 0 || arguments.rounds == 0 || arguments.seconds.is_nan() || arguments.seconds <= 0.0 {
        return Err("--rate, --rounds and --seconds have to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("beside", folder.path());
    let dead = folder.path().join("dead");
    let died = Command::new(std::env::current_exe()?).arg("--leave-behind").arg(&dead).status()?;
    if died.success() {
        return Err("the writer that is to be recovered ended by itself".into());
    }
    let ended = folder.path().join("ended");
    write_small_segments(&ended)?;
    let others = Others { dead, ended };
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
    tell(&mut report, &stopwatch, &measured);
    report.write_json(arguments.json.as_deref())
}

struct Measured {
    ticks: Ticks,
    syncs: u64,
    /// Recoveries or compactions.
    repeats: u64,
}

/// Stores of other runs, of which copies are worked on.
struct Others {
    /// Of a writer that died with its ring full.
    dead: PathBuf,
    /// Of a run that finished, with many small segments.
    ended: PathBuf,
}

/// A writer that dies with its ring full.
fn leave_behind(folder: &Path) -> Result<()> {
    let mut config = EngineConfig::default();
    config.segment_age = NEVER;
    let store = Store::open_with(folder, Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "left behind"))?;
    let metric = run.metric("training_metrics", "loss")?;
    let mut logger = run.logger()?;
    for step in 0..LEFT_BEHIND {
        logger.log(metric, step, step as f64)?;
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    Ok(())
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
            _ => Ok(0),
        });
        while !begun.load(Ordering::Acquire) && !working.is_finished() {
            std::thread::yield_now();
        }
        let mut failed = 0;
        let timed =
            stopwatch.bursts(plan, 1, |step, values| failed += u64::from(logger.log(metric, step, values[0]).is_err()));
        stop.store(true, Ordering::Release);
        let repeats = working.join().map_err(|_| "a thread panicked")??;
        check_count("calls that failed", failed, 0)?;
        Result::Ok((timed?, repeats))
    })?;
    let syncs = run.stats().syncs;
    let report = run.finish()?;
    check_count("records kept", report.rows, timed.service.len() + 1)?;
    Ok(Measured { ticks: timed.service, syncs, repeats })
}

/// Works on copies of a store, one after the other; how often.
fn repeat(place: &Path, other: &Path, [begun, stop]: [&AtomicBool; 2], work: fn(&Path) -> Result<()>) -> Result<u64> {
    let mut repeats = 0;
    while !stop.load(Ordering::Acquire) {
        let copy = place.join(format!("copy-{repeats}"));
        let copied = Command::new("cp").arg("-r").arg(other).arg(&copy).status()?;
        check_count("copies that failed", u64::from(!copied.success()), 0)?;
        begun.store(true, Ordering::Release);
        work(&copy)?;
        repeats += 1;
        std::fs::remove_dir_all(&copy)?;
    }
    Ok(repeats)
}

/// Recovers the dead run, and counts its rows.
fn recover(folder: &Path) -> Result<()> {
    let store = Store::open(folder)?;
    let rows = store.recovery().writers.iter().map(|writer| writer.rows_recovered).sum();
    check_count("records recovered", rows, LEFT_BEHIND as u64)?;
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

/// The median of each percentile over the rounds, and the ratio of p99.9 to the quiet one of the same round.
fn tell(report: &mut Report, stopwatch: &Stopwatch, measured: &[Vec<Measured>; Work::ALL.len()]) {
    const PERCENTILES: [f64; 4] = [50.0, 99.0, 99.9, 99.99];
    let scale = stopwatch.nanos_per_tick();
    let at = |one: &Measured, percentile| one.ticks.value_at_percentile(percentile) as f64 * scale;
    let rows = Work::ALL.into_iter().zip(measured).map(|(work, rounds)| {
        let mut numbers: Vec<f64> =
            PERCENTILES.iter().map(|percentile| median(rounds.iter().map(|one| at(one, *percentile)))).collect();
        let ratios = rounds.iter().zip(&measured[0]).map(|(one, quiet)| at(one, 99.9) / at(quiet, 99.9));
        numbers.push(median(ratios));
        numbers.push(rounds.iter().map(|one| one.ticks.len()).sum::<u64>() as f64);
        numbers.push(rounds.iter().map(|one| one.syncs).sum::<u64>() as f64);
        let repeats = rounds.iter().map(|one| one.repeats).sum::<u64>() as f64;
        let of = |kind| if work == kind { repeats } else { 0.0 };
        numbers.extend([of(Work::Recovery), of(Work::Compaction)]);
        (work.name().to_owned(), numbers)
    });
    report.add(&Table {
        title: format!("nanoseconds a call, medians of {} rounds (a tick is {scale:.3} ns)", measured[0].len()),
        columns: vec!["p50", "p99", "p99.9", "p99.99", "p99.9 / quiet", "calls", "syncs", "recoveries", "compactions"],
        rows: rows.collect(),
    });
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
