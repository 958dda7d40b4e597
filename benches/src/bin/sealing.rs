//! What becoming a segment costs a record, by stage; and how long a commit takes.
//!
//! The engine tells no stages. The file system does: when a segment was created, last written to and renamed. Hash and write are
//! measured alone on the same bytes. See `METHOD.md`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::report::{Report, Table, median};
use stepwell_benches::workload::{Losses, metric_names};
use stepwell_benches::{Result, check_count, cpu};
use stepwell_engine::verify::hash_file;
use stepwell_engine::{Access, EngineConfig, Run, RunOptions, SegmentInfo, Store};

const METRICS_NAME: &str = "training_metrics";
/// Metrics in a row.
const METRICS: usize = 3;
/// Steps of a block: with three metrics, a million records.
const STEPS: i64 = 333_333;
/// Records of the ring: more than twice as many, so that no segment is closed before the commit.
const RING_RECORDS: u64 = 1 << 21;
/// Steps are mixed up by a multiplication modulo their number, a prime to it.
const MIX: i64 = 100_003;
/// An interval that does not end.
const NEVER: Duration = Duration::from_secs(3600);
/// New records of a commit.
const COMMITS: [i64; 5] = [1, 1_000, 10_000, 100_000, 1_000_000];
/// The clock that files get their times from.
#[cfg(target_os = "linux")]
const FILE_CLOCK: ClockId = ClockId::RealtimeCoarse;
#[cfg(not(target_os = "linux"))]
const FILE_CLOCK: ClockId = ClockId::Realtime;
/// Most bytes handed to the system at once.
const WRITE_BYTES: usize = 1 << 16;

/// Cost of sealing by stage, and of commits.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each writes a million records in order, and once more with their steps mixed up.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Commits of each size.
    #[arg(long, default_value_t = 9)]
    commits: usize,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Milliseconds that a commit of a block took, by what the file system says of the segment: when it was created, last written to, and
/// renamed.
#[derive(Clone, Copy)]
struct Commit {
    /// Until the file was created: records decoded, checked, grouped and sorted.
    before: f64,
    /// Until its last byte was written: encoded, compressed, hashed, written.
    written: f64,
    /// Until it had its name: synced, renamed.
    named: f64,
    /// Until the commit returned: folder synced, events, index.
    after: f64,
    all: f64,
    /// Processor time of all.
    used: f64,
}

/// The measurements of one round.
struct Round {
    /// A look of a reader at the store while no record is in the ring, and while all are.
    look: [f64; 2],
    commit: Commit,
    commit_mixed: Commit,
    hash: f64,
    write: f64,
    sync: f64,
    bytes: u64,
}

/// Times something.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let begin = Instant::now();
    let done = work()?;
    Ok((done, begin.elapsed().as_secs_f64() * 1e3))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.rounds == 0 || arguments.commits == 0 {
        return Err("--rounds and --commits have to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("sealing", folder.path());
    let mut rounds = Vec::new();
    for number in 0..arguments.rounds {
        let place = folder.path().join(number.to_string());
        rounds.push(round(&place)?);
        std::fs::remove_dir_all(&place)?;
    }
    report.add(&stages(&rounds));
    report.add(&commits(&folder.path().join("commits"), arguments.commits)?);
    report.write_json(arguments.json.as_deref())
}

fn config() -> EngineConfig {
    let mut config = EngineConfig::default();
    (config.ring_records, config.segment_rows_max) = (RING_RECORDS, RING_RECORDS);
    (config.segment_age, config.sync_interval) = (NEVER, NEVER);
    config
}

/// Logs a block; the step of each row is made from its number.
fn log_block(run: &Run, step: impl Fn(i64) -> i64) -> Result<()> {
    let names = metric_names(METRICS);
    let row = run.row(METRICS_NAME, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let mut logger = run.logger()?;
    let (mut losses, mut values) = (Losses::new(5), [0.0; METRICS]);
    for number in 0..STEPS {
        losses.fill(number, &mut values);
        logger.log_row(&row, step(number), &values)?;
    }
    Ok(())
}

/// Logs a block in a run of its own, and commits it: the segment, and how long the commit took.
fn commit_block(store: &Store, step: impl Fn(i64) -> i64) -> Result<(SegmentInfo, Commit)> {
    let records = STEPS as u64 * METRICS as u64;
    let run = store.start_run(RunOptions::new("bench", "sealing"))?;
    log_block(&run, step)?;
    let (used, start, begin) = (cpu::of_thread(), coarse_now(), Instant::now());
    let artifact = run.commit(METRICS_NAME)?;
    let (all, used) = (begin.elapsed().as_secs_f64() * 1e3, cpu::of_thread() - used);
    check_count("records committed", artifact.rows, records)?;
    let snapshot = store.snapshot()?;
    let segments: Vec<_> = snapshot.segments().iter().filter(|segment| segment.run_id == run.id()).collect();
    check_count("segments", segments.len() as u64, 1)?;
    let file = std::fs::metadata(&segments[0].path)?;
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3;
    let (created, modified) = (since_epoch(file.created()?), since_epoch(file.modified()?));
    let renamed = file.ctime() as f64 * 1e3 + file.ctime_nsec() as f64 / 1e6;
    let (before, written, named) = (created - start, modified - created, renamed - modified);
    let commit =
        Commit { before, written, named, after: all - before - written - named, all, used: used.as_secs_f64() * 1e3 };
    run.finish()?;
    Ok((segments[0].clone(), commit))
}

/// The time that the kernel gives to files: milliseconds since the Unix epoch, as of its last tick.
fn coarse_now() -> f64 {
    let now = clock_gettime(FILE_CLOCK);
    now.tv_sec as f64 * 1e3 + now.tv_nsec as f64 / 1e6
}

fn round(place: &Path) -> Result<Round> {
    let store = Store::open_with(place.join("store"), Access::Create, config())?;
    let (segment, commit) = commit_block(&store, |number| number)?;
    let ((hash, bytes), hashing) = timed(|| Ok(hash_file(&segment.path)?))?;
    check_count("segments with another hash", u64::from(hash != segment.blake3), 0)?;
    let content = std::fs::read(&segment.path)?;
    let mut file = File::create(place.join("copy"))?;
    let ((), write) = timed(|| Ok(content.chunks(WRITE_BYTES).try_for_each(|chunk| file.write_all(chunk))?))?;
    let ((), sync) = timed(|| Ok(file.sync_all()?))?;
    let (_, commit_mixed) = commit_block(&store, |number| number * MIX % STEPS)?;
    let look = looks(&store)?;
    Ok(Round { look, commit, commit_mixed, hash: hashing, write, sync, bytes })
}

/// How long a reader looks at an empty ring and at a full one.
fn looks(store: &Store) -> Result<[f64; 2]> {
    let run = store.start_run(RunOptions::new("bench", "sealing"))?;
    drop(run.logger()?);
    let reader = Store::open_with(store.layout().root(), Access::Read, config())?;
    reader.snapshot()?;
    let (_, empty) = timed(|| Ok(reader.snapshot()?))?;
    log_block(&run, |number| number)?;
    let (snapshot, full) = timed(|| Ok(reader.snapshot()?))?;
    let live = snapshot.live().iter().map(|live| live.batch.num_rows() as u64).sum();
    check_count("live records", live, STEPS as u64 * METRICS as u64)?;
    check_count("records kept", run.finish()?.rows, live)?;
    Ok([empty, full])
}

/// Means over the rounds: the clock of files ticks every few milliseconds, which evens out.
fn stages(rounds: &[Round]) -> Table {
    let records = STEPS as f64 * METRICS as f64;
    let over = |value: &dyn Fn(&Round) -> f64| rounds.iter().map(value).sum::<f64>() / rounds.len() as f64;
    let all = over(&|round| round.commit.all);
    let row = |name: &str, of: &dyn Fn(&Round) -> f64| {
        let millis = over(of);
        (name.to_owned(), vec![millis, millis * 1e6 / records, millis / all * 100.0])
    };
    Table {
        title: format!(
            "a block of {records} records of {METRICS} metrics, one segment of {:.2} bytes a record: means of {} rounds",
            over(&|round| round.bytes as f64) / records,
            rounds.len()
        ),
        columns: vec!["ms", "ns a record", "% of all"],
        rows: vec![
            row("Run::commit, all stages", &|round| round.commit.all),
            row("its processor time", &|round| round.commit.used),
            row("decode: check and group by metric, in order", &|round| round.commit.before),
            row("encode: what the next two leave of the writing", &|round| {
                round.commit.written - round.hash - round.write
            }),
            row("hash (alone: BLAKE3 of the finished file)", &|round| round.hash),
            row("write (alone: the same bytes to a fresh file)", &|round| round.write),
            row("sync, rename", &|round| round.commit.named),
            row("sync alone, of the fresh file", &|round| round.sync),
            row("folder, events, slots handed back, index", &|round| round.commit.after),
            row("sort: decoding, steps mixed up, less in order", &|round| {
                round.commit_mixed.before - round.commit.before
            }),
            row("encode, steps mixed up, less in order", &|round| round.commit_mixed.written - round.commit.written),
            row("a reader's look at all of it in the ring", &|round| round.look[1] - round.look[0]),
        ],
    }
}

/// How long a commit takes, by the number of new records; each number in a run of its own.
fn commits(place: &Path, commits: usize) -> Result<Table> {
    let store = Store::open_with(place, Access::Create, config())?;
    let mut rows = Vec::new();
    for records in COMMITS {
        let run = store.start_run(RunOptions::new("bench", "commit"))?;
        let metric = run.metric(METRICS_NAME, "loss")?;
        let (mut logger, mut losses, mut value) = (run.logger()?, Losses::new(6), [0.0]);
        let (mut took, mut step) = (Vec::new(), 0);
        for commit in 1..=commits {
            for _ in 0..records {
                losses.fill(step, &mut value);
                logger.log(metric, step, value[0])?;
                step += 1;
            }
            let before = cpu::of_thread();
            let (artifact, wall) = timed(|| Ok(run.commit(METRICS_NAME)?))?;
            let used = (cpu::of_thread() - before).as_secs_f64() * 1e3;
            check_count("records committed", artifact.rows, records as u64 * commit as u64)?;
            took.push((wall, used));
        }
        drop(logger);
        check_count("records of the run", run.finish()?.rows, step as u64)?;
        let wall = || took.iter().map(|(wall, _)| *wall);
        let numbers = vec![
            median(wall()),
            wall().fold(f64::NAN, f64::min),
            wall().fold(f64::NAN, f64::max),
            median(took.iter().map(|(_, used)| *used)),
            took.last().map_or(f64::NAN, |(wall, _)| *wall),
        ];
        rows.push((format!("{records} new records"), numbers));
    }
    Ok(Table {
        title: format!("Run::commit, milliseconds, {commits} in one run"),
        columns: vec!["median", "min", "max", "CPU", "the last"],
        rows,
    })
}
