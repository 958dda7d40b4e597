//! `stepwell demo`: the whole of Stepwell on real data, in seconds.
//!
//! A grid of training runs on handwritten digits, one process killed in the middle, 36 real runs imported from CSV,
//! questions in SQL, curves, and what the logging cost.

mod cost;
mod digits;
mod folder;
mod model;
mod page;
mod questions;
mod train;
pub mod worker;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;
use stepwell_engine::{Access, ArtifactSpec, Direction, EngineConfig, ParamValue, RunOptions, Store};

use crate::args::{DEFAULT_DEMO_STORE, DemoArgs};
use crate::csv_import::{self, CsvColumns, ImportOptions};
use crate::error::{CliError, Result};
use crate::out::{self, Out};
use crate::{messages, text};
use page::Page;
use train::{DataSet, TrainOutcome, TrainSpec};

/// The images; `fixtures/README.md` says where they are from.
const DIGITS: &[u8] = include_bytes!("../../../fixtures/digits.csv.gz");
/// The training logs; `fixtures/README.md` says where they are from.
const NANOGPT: &[u8] = include_bytes!("../../../fixtures/nanogpt-speedrun.csv.gz");
/// Name of the images in the demo's folder.
const DIGITS_FILE: &str = "digits.csv.gz";
/// Name of the training logs in the demo's folder.
const NANOGPT_FILE: &str = "nanogpt-speedrun.csv.gz";
/// Pipeline of the imported runs.
const NANOGPT_PIPELINE: &str = "nanogpt";
/// Seed of the split into training and validation images.
const SPLIT_SEED: u64 = 0;

/// How much the demo trains.
struct Grid {
    learning_rates: &'static [f64],
    seeds: u32,
    epochs: u32,
}

const FULL: Grid = Grid { learning_rates: &[0.01, 0.03, 0.1, 0.3], seeds: 3, epochs: 20 };
const QUICK: Grid = Grid { learning_rates: &[0.03, 0.3], seeds: 2, epochs: 4 };

/// Where things are.
struct Place {
    store: PathBuf,
    files: PathBuf,
}

impl Place {
    fn open(&self, access: Access) -> Result<Store> {
        Ok(Store::open_with(&self.store, access, EngineConfig::from_env()?)?)
    }
}

/// Runs the demo in a new store at `store`.
///
/// # Errors
/// [`CliError::NotADemoStore`] when something else is there; whatever its parts return.
pub fn run(store: Option<&Path>, args: &DemoArgs, out: &mut Out) -> Result<()> {
    let store = store.unwrap_or(Path::new(DEFAULT_DEMO_STORE)).to_owned();
    let place = Place { files: folder::renew(&store)?, store };
    let grid = if args.quick { QUICK } else { FULL };
    let mut page = Page::new(out);
    page.text(
        "Stepwell keeps the metrics of every training step, through any crash, and answers SQL over all runs.\n",
    )?;
    let data = prepare(&place, &mut page)?;
    let total = train_grid(&place, &grid, &data, &mut page)?;
    kill_and_recover(&place, &grid, &data, &mut page)?;
    import(&place, &mut page)?;
    let reader = place.open(Access::Read)?;
    questions::runs(&reader, &mut page)?;
    questions::ask(&reader, &mut page)?;
    questions::curves(&reader, &mut page)?;
    drop(reader);
    tell_cost(&place, total, &mut page)?;
    questions::next_commands(&place.store, &mut page)
}

/// The stage `prepare`: one run that reads the images and splits them.
fn prepare(place: &Place, page: &mut Page<'_>) -> Result<DataSet> {
    page.section("Prepare: split 1,797 handwritten digits")?;
    let source = write_embedded(&place.files.join(DIGITS_FILE), DIGITS)?;
    let store = place.open(Access::Create)?;
    let options = RunOptions::new(train::PIPELINE, "prepare").name("split").param("seed", SPLIT_SEED as i64);
    let run = store.start_run(options.param("validation_share", 0.2))?;
    run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &source).name(DIGITS_FILE))?;
    let (train, validation) = (DataSet::train_path(&place.files), DataSet::validation_path(&place.files));
    let sizes = digits::split(&digits::unpack(&source)?, SPLIT_SEED, &train, &validation)?;
    for path in [&train, &validation] {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        run.log_artifact(Direction::Output, ArtifactSpec::new("Dataset", path).name(name))?;
    }
    let counts: BTreeMap<String, ParamValue> = [
        ("train_images".to_owned(), (sizes.0 as i64).into()),
        ("validation_images".to_owned(), (sizes.1 as i64).into()),
    ]
    .into();
    run.log_execution_metrics("split", counts)?;
    run.finish()?;
    page.fact("read", &format!("{DIGITS_FILE}, by content hash an input of the run"))?;
    page.fact("wrote", &format!("{} images to train on, {} to validate: its outputs", sizes.0, sizes.1))?;
    DataSet::read(&place.files)
}

/// The stage `train`: a run for each learning rate and seed, as many at a time as there are processors.
fn train_grid(place: &Place, grid: &Grid, data: &DataSet, page: &mut Page<'_>) -> Result<TrainOutcome> {
    page.section("Train: a grid of learning rates and seeds, every step logged")?;
    let store = place.open(Access::Write)?;
    let specs: Vec<TrainSpec> = grid
        .learning_rates
        .iter()
        .flat_map(|rate| (0..grid.seeds).map(move |seed| (*rate, seed)))
        .map(|(learning_rate, seed)| TrainSpec {
            name: format!("lr={learning_rate} seed={seed}"),
            learning_rate,
            seed,
            epochs: grid.epochs,
        })
        .collect();
    let steps = data.steps_per_epoch() * u64::from(grid.epochs) * specs.len() as u64;
    let bar = messages::bar("training", "steps", steps);
    let outcomes = train_all(&store, &specs, data, &bar);
    bar.finish_and_clear();
    let mut total = TrainOutcome::default();
    for outcome in outcomes? {
        total.calls += outcome.calls;
        total.records += outcome.records;
        total.training += outcome.training;
    }
    page.fact(
        "trained",
        &format!("{} runs of {} epochs, {} steps in all", specs.len(), grid.epochs, text::count(steps)),
    )?;
    let logged = format!("{} records in {} calls; ", text::count(total.records), text::count(total.calls));
    page.fact("logged", &format!("{logged}every one is in a hashed Parquet segment now"))?;
    Ok(total)
}

fn train_all(store: &Store, specs: &[TrainSpec], data: &DataSet, bar: &ProgressBar) -> Result<Vec<TrainOutcome>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    // Runs are handed out one by one, so that no thread is idle while another has several left.
    let work = || {
        while let Some(spec) = specs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let per_epoch = data.steps_per_epoch();
            // A bar that is redrawn at every step would cost more than the training: once per epoch is enough.
            let mut told = 0;
            let mut on_logged = |step: i64, _| {
                let steps = step as u64 + 1;
                if steps >= told + per_epoch {
                    bar.inc(steps - told);
                    told = steps;
                }
                Ok(())
            };
            let outcome = train::run(store, spec, data, &mut on_logged);
            outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(specs.len());
    std::thread::scope(|scope| {
        for i in 1..threads {
            let thread = std::thread::Builder::new().name(format!("train-{i}"));
            // Where a thread cannot be started, the others do its work.
            let _ = thread.spawn_scoped(scope, work);
        }
        work();
    });
    outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect()
}

/// A training process is killed in the middle; what it had confirmed is counted afterwards.
fn kill_and_recover(place: &Place, grid: &Grid, data: &DataSet, page: &mut Page<'_>) -> Result<()> {
    page.section("Kill: SIGKILL to a training process, half way")?;
    let steps = data.steps_per_epoch() * u64::from(grid.epochs);
    let half = steps * train::ROW.len() as u64 / 2;
    let bar = messages::bar("training", "steps", steps);
    let killed =
        worker::kill_half_way(&place.store, &place.files, grid.epochs, half, &mut |step| bar.set_position(step as u64));
    bar.finish_and_clear();
    let killed = killed?;
    page.fact(
        "killed",
        &format!(
            "process {}, which had confirmed {} records (step {})",
            killed.pid,
            text::count(killed.records),
            killed.step
        ),
    )?;
    let state = |store: &Store| -> Result<&'static str> {
        let snapshot = store.snapshot()?;
        let run = snapshot.runs().iter().find(|run| run.run_id == killed.run);
        Ok(run.map_or("unknown", |run| run.state.as_str()))
    };
    let reader = place.open(Access::Read)?;
    let before = questions::kept(&reader, &killed)?;
    page.fact(
        "state",
        &format!("{}; SQL already reads {} records from its journal", state(&reader)?, text::count(before.records)),
    )?;
    drop(reader);
    let store = place.open(Access::Write)?;
    let recovered: u64 = store.recovery().writers.iter().map(|writer| writer.rows_recovered).sum();
    page.fact(
        "recovered",
        &format!("{} records from journal to Parquet, on opening the store", text::count(recovered)),
    )?;
    let kept = questions::kept(&store, &killed)?;
    page.fact(
        "missing",
        &format!("{} of the {} confirmed records", text::count(kept.missing), text::count(killed.records)),
    )?;
    let more = kept.records.saturating_sub(killed.records);
    if more > 0 {
        page.fact("", &format!("({more} more were logged, and not yet confirmed when it died)"))?;
    }
    if kept.missing == 0 {
        return Ok(());
    }
    let logged = killed.records;
    Err(CliError::Incomplete { run: worker::RUN_NAME.to_owned(), logged, kept: logged - kept.missing })
}

/// The 36 NanoGPT runs.
fn import(place: &Place, page: &mut Page<'_>) -> Result<()> {
    page.section("Import: 36 real NanoGPT training runs from CSV")?;
    let file = write_embedded(&place.files.join(NANOGPT_FILE), NANOGPT)?;
    let columns = CsvColumns {
        run: Some("run".into()),
        group: Some("record".into()),
        step: Some("step".into()),
        metrics: Vec::new(),
    };
    let data = csv_import::read_file(&file, &columns)?;
    let options = ImportOptions {
        file,
        pipeline: NANOGPT_PIPELINE.into(),
        stage: "train".into(),
        metrics_name: "metrics".into(),
        group_param: columns.group.clone(),
        columns,
        is_forced: false,
    };
    options.check(&data)?;
    let outcome = csv_import::import(&place.open(Access::Write)?, &data, &options)?;
    let records = text::count(data.records());
    page.fact(
        "imported",
        &format!("{records} records as {} runs; each names the file as its input", outcome.runs.len()),
    )
}

/// What the logging cost in the training above.
fn tell_cost(place: &Place, total: TrainOutcome, page: &mut Page<'_>) -> Result<()> {
    page.section("Cost: what the logging took")?;
    let spinner = messages::spinner("measuring");
    let cost = cost::measure(&place.files);
    spinner.finish_and_clear();
    let cost = cost?;
    // All calls in training but one per epoch log a row, so counting all as rows errs against us.
    let logging_nanos = cost.row_nanos * total.calls as f64;
    let share = 100.0 * logging_nanos / total.training.as_nanos().max(1) as f64;
    let row = train::ROW.len();
    page.fact(
        "one value",
        &format!("{:.1} ns a call, median over {} calls", cost.log_nanos, text::count(cost.calls / 2)),
    )?;
    page.fact(
        "row of three",
        &format!("{:.1} ns a call, {:.1} ns a value", cost.row_nanos, cost.row_nanos / row as f64),
    )?;
    page.fact(
        "in training",
        &format!(
            "{} calls took about {} of {} of training: {} %",
            text::count(total.calls),
            text::duration(logging_nanos as i64),
            text::duration(total.training.as_nanos() as i64),
            text::number((share * 1000.0).round() / 1000.0),
        ),
    )
}

fn write_embedded(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    out::write_file(path, |file| file.write_all(bytes).map_err(CliError::io("write", path)))?;
    Ok(path.to_owned())
}
