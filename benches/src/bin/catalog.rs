//! How long a store of many runs takes to open and to look at, and new runs to be indexed.
//!
//! The runs are made once and kept in the folder of the benchmarks; each measurement works on a copy.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use stepwell_benches::environment::{bench_folder, fresh_folder};
use stepwell_benches::report::{Report, Table, median};
use stepwell_benches::{Result, check_count, dead};
use stepwell_engine::{Access, CompactOptions, EngineConfig, FinishState, Run, RunOptions, Store};

const METRICS_NAME: &str = "training_metrics";
/// Steps of a run, of two metrics.
const STEPS: i64 = 20;
/// Changes when the runs are made otherwise than before.
const FORM: u32 = 2;
/// After so long, a run folder has not changed just now.
const SETTLES: Duration = Duration::from_secs(5);
/// Runs are made in memory, where a sync costs nothing, and copied.
const MEMORY: &str = "/dev/shm";

/// Times of a store of many runs.
#[derive(Parser)]
struct Arguments {
    /// Runs in the store.
    #[arg(long, default_value_t = 10_000)]
    runs: usize,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Times in milliseconds, by what took them, in the order in which they were first taken.
#[derive(Default)]
struct Times(Vec<(String, Vec<f64>)>);

impl Times {
    fn time<T>(&mut self, name: impl Into<String>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let begin = Instant::now();
        let done = work()?;
        let took = begin.elapsed().as_secs_f64() * 1e3;
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.push(took),
            None => self.0.push((name, vec![took])),
        }
        Ok(done)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.runs < 1000 || arguments.rounds == 0 {
        return Err("--runs has to be 1,000 or more, and --rounds above 0".into());
    }
    let kept = kept_store(arguments.runs)?;
    let folder = fresh_folder()?;
    let mut report = Report::begin("catalog", folder.path());
    let path = folder.path().join("store");
    dead::copy(&kept, &path)?;
    rustix::fs::sync();
    let mut times = Times::default();
    for _ in 0..arguments.rounds {
        without_catalog(&mut times, &path, arguments.runs)?;
        with_catalog(&mut times, &path, arguments.runs, Access::Write)?;
        with_catalog(&mut times, &path, arguments.runs, Access::Read)?;
        one_more(&mut times, &path, arguments.runs)?;
        for new in [0, 1, 100, 1000] {
            new_runs(&mut times, &path, arguments.runs, new)?;
        }
    }
    let rows = times.0.into_iter().map(|(name, times)| {
        let (min, max) = (times.iter().fold(f64::NAN, |a, b| a.min(*b)), times.iter().fold(f64::NAN, |a, b| a.max(*b)));
        (name, vec![median(times), min, max])
    });
    report.add(&Table {
        title: format!("a store of {} runs, milliseconds, {} rounds", arguments.runs, arguments.rounds),
        columns: vec!["median", "min", "max"],
        rows: rows.collect(),
    });
    report.write_json(arguments.json.as_deref())
}

/// A store of this many ended runs, made at the first call.
fn kept_store(runs: usize) -> Result<PathBuf> {
    let kept = bench_folder()?.join(format!("stepwell-bench-{runs}-runs-{}-{FORM}", env!("CARGO_PKG_VERSION")));
    if kept.is_dir() {
        return Ok(kept);
    }
    let quick = if Path::new(MEMORY).is_dir() { PathBuf::from(MEMORY) } else { bench_folder()? };
    let folder = tempfile::Builder::new().prefix("stepwell-bench-").tempdir_in(quick)?;
    let begin = Instant::now();
    make_runs(&folder.path().join("store"), runs)?;
    // Copied under another name first: what lies under the right name is whole.
    let partial = kept.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    dead::copy(&folder.path().join("store"), &partial)?;
    std::fs::rename(&partial, &kept)?;
    // The catalog looks again into run folders that changed within the last seconds.
    std::thread::sleep(SETTLES);
    println!("made {runs} runs in {:.1} s, kept in {}", begin.elapsed().as_secs_f64(), kept.display());
    Ok(kept)
}

fn make_runs(path: &Path, runs: usize) -> Result<()> {
    let store = Store::open_with(path, Access::Create, small_rings())?;
    for number in 0..runs as i64 {
        let run = start(&store, number)?;
        // `finish` would see, each time, whether it is time to pack segments of ended runs; here that is done once in the end.
        check_count("records of a run", run.close_as(FinishState::Finished)?.rows, 2 * STEPS as u64)?;
    }
    let report = store.compact(&CompactOptions::default(), &mut |_, _| {})?;
    check_count("compactions that failed", report.failures.len() as u64, 0)?;
    look(&store, runs)
}

fn small_rings() -> EngineConfig {
    let mut config = EngineConfig::default();
    (config.ring_records, config.definition_bytes) = (1 << 12, 1 << 12);
    config
}

/// Starts a run and logs what each run holds.
fn start(store: &Store, number: i64) -> Result<Run> {
    let options = RunOptions::new("bench", "many").name(format!("run {number}")).param("number", number);
    let run = store.start_run(options)?;
    let row = run.row(METRICS_NAME, &["loss", "accuracy"])?;
    let mut logger = run.logger()?;
    for step in 0..STEPS {
        logger.log_row(&row, step, &[number as f64 / (step + 1) as f64, step as f64])?;
    }
    Ok(run)
}

/// One more run, which is removed again.
fn one_more(times: &mut Times, path: &Path, runs: usize) -> Result<()> {
    let store = Store::open_with(path, Access::Write, small_rings())?;
    look(&store, runs)?;
    let run = times.time("one more run: started, 40 records logged", || start(&store, 0))?;
    let report = times.time("one more run: Run::finish", || Ok(run.finish()?))?;
    check_count("records of a run", report.rows, 2 * STEPS as u64)?;
    std::fs::remove_dir_all(store.layout().run(run.id()))?;
    look(&store, runs)
}

/// Looks at a store and checks that all runs and records are there.
fn look(store: &Store, runs: usize) -> Result<()> {
    let snapshot = store.snapshot()?;
    check_count("runs", snapshot.runs().len() as u64, runs as u64)?;
    let rows = snapshot.segments().iter().map(|segment| segment.rows).sum();
    check_count("records", rows, runs as u64 * 2 * STEPS as u64)
}

fn open(path: &Path, access: Access) -> Result<Store> {
    Ok(Store::open_with(path, access, EngineConfig::default())?)
}

/// All runs are new to a catalog that is not there.
fn without_catalog(times: &mut Times, path: &Path, runs: usize) -> Result<()> {
    for access in [Access::Read, Access::Write] {
        for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let file = path.join(file);
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        let name = format!("open to {access:?} without a catalog: {runs} new runs");
        let store = times.time(name, || open(path, access))?;
        times.time(format!("open to {access:?} without a catalog: first snapshot"), || look(&store, runs))?;
    }
    Ok(())
}

/// A catalog that has all runs.
fn with_catalog(times: &mut Times, path: &Path, runs: usize, access: Access) -> Result<()> {
    let store = times.time(format!("open to {access:?}"), || open(path, access))?;
    times.time(format!("open to {access:?}: first snapshot"), || look(&store, runs))?;
    times.time(format!("open to {access:?}: later snapshot"), || look(&store, runs))
}

/// Some runs are new to a store that is open.
fn new_runs(times: &mut Times, path: &Path, runs: usize, new: usize) -> Result<()> {
    let aside = path.with_file_name("aside");
    std::fs::create_dir_all(&aside)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path.join("runs"))? {
        names.push(entry?.file_name());
    }
    names.sort();
    let (there, away) = (path.join("runs"), &names[names.len() - new..]);
    for name in away {
        std::fs::rename(there.join(name), aside.join(name))?;
    }
    let store = open(path, Access::Write)?;
    look(&store, runs - new)?;
    for name in away {
        std::fs::rename(aside.join(name), there.join(name))?;
    }
    times.time(format!("snapshot of an open store, {new} new runs"), || look(&store, runs))
}
