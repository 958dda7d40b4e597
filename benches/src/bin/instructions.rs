//! How many instructions a log call takes, counted by callgrind: a figure that a busy machine does not change.
//!
//! The program runs itself under `valgrind --tool=callgrind` with two numbers of calls. The difference of the counts of the calling
//! thread, divided by the difference of the calls, is the cost of one call; start, warm-up and end cancel out. What an empty loop
//! takes is subtracted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::{Value, json};
use stepwell_benches::environment::{fresh_folder, is_release};
use stepwell_benches::limit::PrivateRing;
use stepwell_benches::report::{Report, Table};
use stepwell_benches::workload::{Losses, metric_names};
use stepwell_benches::{Result, callgrind, check_count};
use stepwell_engine::{Access, EngineConfig, RunOptions, Store};

/// Calls of the two counted runs: their records have room in one ring, of which less than the half at which a segment is
/// closed is filled, so that the sealer wakes as seldom as it does in both.
const CALLS: [u64; 2] = [10_000, 40_000];
/// Values that calls take in turn.
const VALUES: usize = 4096;
/// An interval that does not end while calls are counted.
const NEVER: Duration = Duration::from_secs(3600);
/// Seconds in which the engine's thread calibrates its clock under valgrind, before the first call that counts; and those of a second
/// try, because on a busy machine the first may be too few, and each call then asks the system for the time.
const WARM_SECS: [u64; 2] = [2, 15];
/// Share by which a count may be above the stored one.
const TOLERANCE: f64 = 0.10;

/// Instructions of the log call.
#[derive(Parser)]
struct Arguments {
    /// Fails when a count is above the one stored in this file by more than its tolerance.
    #[arg(long)]
    check: Option<PathBuf>,
    /// Stores the counts in this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Makes calls to be counted. The benchmark starts itself so.
    #[arg(long, hide = true, requires_all = ["calls", "store"])]
    what: Option<What>,
    #[arg(long, hide = true)]
    calls: Option<u64>,
    #[arg(long, hide = true)]
    store: Option<PathBuf>,
    #[arg(long, hide = true, default_value_t = WARM_SECS[0])]
    warm_secs: u64,
    #[arg(long, hide = true)]
    become_valgrind: Option<PathBuf>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// A loop that takes a value and has it looked at.
    Empty,
    /// A read of the counter and a store of 32 bytes.
    Limit,
    Log,
    LogRow,
}

impl What {
    const ALL: [Self; 4] = [Self::Empty, Self::Limit, Self::Log, Self::LogRow];

    /// Metrics that a call logs.
    fn width(self) -> usize {
        if self == Self::LogRow { 10 } else { 1 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty loop",
            Self::Limit => "limit: TSC read + 32-byte store",
            Self::Log => "log",
            Self::LogRow => "log_row of 10",
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let (Some(what), Some(calls), Some(store)) = (arguments.what, arguments.calls, &arguments.store) {
        if let Some(output) = &arguments.become_valgrind {
            let own = std::env::args().skip(1).take_while(|argument| argument != "--become-valgrind");
            return callgrind::become_valgrind(output, &own.collect::<Vec<_>>());
        }
        return make_calls(what, calls, store, Duration::from_secs(arguments.warm_secs));
    }
    if !is_release() {
        println!("skipped: instructions of a build that is not a release say nothing; use --release");
        return Ok(());
    }
    if !callgrind::is_there() {
        println!("skipped: instructions are not counted, because valgrind is missing");
        return Ok(());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("instructions", folder.path());
    let stored = arguments.check.as_ref().map(std::fs::read_to_string).transpose()?;
    let mut counts = count_all(&folder.path().join("first"), WARM_SECS[0])?;
    if let Some(stored) = &stored
        && check(stored, &counts).is_err()
    {
        counts = count_all(&folder.path().join("second"), WARM_SECS[1])?;
    }
    report.add(&Table {
        title: "instructions a call, less those of the empty loop".to_owned(),
        columns: vec!["a call", "a record"],
        rows: What::ALL.map(|what| row(what, counts[what.name()])).to_vec(),
    });
    if let Some(stored) = &stored {
        check(stored, &counts)?;
        println!("\nno count is above its bound");
    }
    report.keep("tolerance", json!(TOLERANCE));
    report.keep("instructions", json!(counts));
    report.write_json(arguments.json.as_deref())
}

/// Counts of everything, by name.
fn count_all(folder: &Path, warm_secs: u64) -> Result<BTreeMap<&'static str, f64>> {
    std::fs::create_dir(folder)?;
    let mut counts = BTreeMap::new();
    for what in What::ALL {
        let per_call = count(folder, what, warm_secs)?;
        let empty = counts.get(What::Empty.name()).copied().unwrap_or(0.0);
        counts.insert(what.name(), per_call - empty);
    }
    Ok(counts)
}

fn row(what: What, count: f64) -> (String, Vec<f64>) {
    (what.name().to_owned(), vec![count, count / what.width() as f64])
}

/// Fails when a count is above the stored one by more than the stored tolerance.
fn check(stored: &str, counts: &BTreeMap<&str, f64>) -> Result<()> {
    let stored: Value = serde_json::from_str(stored)?;
    let tolerance = stored["tolerance"].as_f64().ok_or("the file of bounds has no tolerance")?;
    for what in [What::Log, What::LogRow] {
        let name = what.name();
        let bound =
            stored["instructions"][name].as_f64().ok_or("the file of bounds lacks a count")? * (1.0 + tolerance);
        let found = counts[name];
        if found > bound {
            return Err(format!("{name}: {found:.1} instructions a call, more than {bound:.1}").into());
        }
    }
    Ok(())
}

/// Instructions of one call, the loop around it included.
fn count(folder: &Path, what: What, warm_secs: u64) -> Result<f64> {
    let mut totals = Vec::new();
    for calls in CALLS {
        let place = folder.join(format!("{}-{calls}", what.name()));
        std::fs::create_dir(&place)?;
        let store = place.join("store");
        let name = what.to_possible_value().ok_or("it has no name")?;
        let output = Command::new(std::env::current_exe()?)
            .args(["--what", name.get_name(), "--calls", &calls.to_string(), "--store"])
            .arg(&store)
            .args(["--warm-secs", &warm_secs.to_string(), "--become-valgrind"])
            .arg(place.join("callgrind"))
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        if matches!(what, What::Log | What::LogRow) {
            // The program ended without `finish`: what it logged is what recovery finds, the row of the warm-up included.
            let recovered = Store::open(&store)?.recovery().writers.iter().map(|writer| writer.rows_recovered).sum();
            check_count("records recovered", recovered, (calls + 1) * what.width() as u64)?;
        }
        totals.push(callgrind::total_of_first_thread(&place.join("callgrind"))? as f64);
    }
    Ok((totals[1] - totals[0]) / (CALLS[1] - CALLS[0]) as f64)
}

/// Makes the calls that are counted, and ends without anything else that would depend on their number.
fn make_calls(what: What, calls: u64, store: &Path, warm: Duration) -> Result<()> {
    let mut values = vec![0.0; VALUES];
    Losses::new(1).fill(0, &mut values);
    let value = |step: u64| values[step as usize % VALUES];
    match what {
        What::Empty => {
            for step in 0..calls {
                std::hint::black_box(value(step));
            }
        }
        What::Limit => {
            // Calibrates the counter, for as long as it takes, on a thread that is not counted.
            std::thread::spawn(quanta::Clock::new).join().map_err(|_| "a thread panicked")?;
            let mut ring = PrivateRing::new(1 << 16);
            (0..calls).for_each(|step| ring.put(0, step as i64, value(step)));
            check_count("records in the ring", ring.in_order(1000) as u64, 1000)?;
        }
        What::Log | What::LogRow => {
            let mut config = EngineConfig::default();
            (config.segment_age, config.sync_interval) = (NEVER, NEVER);
            let run = Store::open_with(store, Access::Create, config)?.start_run(RunOptions::new("bench", "count"))?;
            let names = metric_names(what.width());
            let row = run.row("training_metrics", &names.iter().map(String::as_str).collect::<Vec<_>>())?;
            let metric = row.metrics()[0];
            let mut logger = run.logger()?;
            std::thread::sleep(warm);
            logger.log_row(&row, -1, &values[..what.width()])?;
            if what == What::Log {
                for step in 0..calls {
                    logger.log(metric, step as i64, value(step))?;
                }
            } else {
                for step in 0..calls {
                    let at = step as usize % (VALUES - what.width());
                    logger.log_row(&row, step as i64, &values[at..at + what.width()])?;
                }
            }
            // Without `finish`, which would turn the records into segments on this thread.
            std::process::exit(0);
        }
    }
    Ok(())
}
