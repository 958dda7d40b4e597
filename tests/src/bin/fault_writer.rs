//! Writers that are tried by power cuts and failing disks. They tell what they were promised on a shared [`Board`].
//!
//! `load` logs until it is killed. `train` behaves like a training program: it looks at every result, goes on whatever it
//! was, and ends with an exit code of its own. `compact` merges the segments of ended runs.

use std::error::Error;
use std::fs;
use std::num::ParseIntError;
use std::path::Path;
use std::thread;
use std::time::Duration;

use stepwell_engine::{
    Access, CompactOptions, EngineConfig, LogError, Logger, Run, RunId, RunOptions, Store, with_causes,
};
use stepwell_tests::board::{BEAT, Board, CALLS_MAX, Outcome, Signal, Stage, now_nanos};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

type AnyError = Box<dyn Error + Send + Sync>;

/// Calls between two looks at the clock.
const MARK_EVERY: u64 = 32;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["load", store, run, board, threads, ring, sync, seal, age, pace, action] => Load {
            board: Board::open(Path::new(board))?,
            threads: threads.parse()?,
            pace: pace.parse()?,
            action: (*action).to_owned(),
        }
        .run(store, run.parse()?, load_config(ring.parse()?, [sync, seal, age].map(|text| text.parse()))?),
        ["recover", store] => {
            Store::open_with(store, Access::Create, tight_config(4096))?;
            Ok(())
        }
        ["train", store, run, board, calls, pace] => {
            let board = Board::open(Path::new(board))?;
            let config = train_config();
            std::process::exit(train(&board, store, config, run.parse()?, calls.parse()?, pace.parse()?))
        }
        ["compact", store, board, rows_max] => {
            std::process::exit(compact(&Board::open(Path::new(board))?, store, rows_max.parse()?))
        }
        _ => Err(
            "fault-writer load STORE RUN BOARD THREADS RING SYNC_MS SEAL_MS SEGMENT_MS PACE log|sync|commit|finish \
                  | recover STORE | train STORE RUN BOARD CALLS PACE | compact STORE BOARD ROWS"
                .into(),
        ),
    }
}

fn load_config(ring: u64, millis: [Result<u64, ParseIntError>; 3]) -> Result<EngineConfig, ParseIntError> {
    let [sync, seal, age] = millis;
    let mut config = tight_config(ring);
    config.sync_interval = Duration::from_millis(sync?);
    config.seal_deadline = Duration::from_millis(seal?);
    config.segment_age = Duration::from_millis(age?);
    Ok(config)
}

/// Nanoseconds for which anything on this machine waited for a processor or for a disk: the writer, and the threads of the
/// kernel that write for it. 0 where the kernel does not tell.
fn waited() -> u64 {
    let micros = ["cpu", "io"].iter().filter_map(|what| {
        let pressure = fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
        pressure.lines().next()?.split("total=").nth(1)?.parse::<u64>().ok()
    });
    1000 * micros.sum::<u64>()
}

struct Load {
    board: Board,
    threads: usize,
    /// Records a millisecond and thread; 0: as fast as can be.
    pace: u64,
    action: String,
}

impl Load {
    fn run(&self, store: &str, run: RunId, config: EngineConfig) -> Result<(), AnyError> {
        self.board.reach(Stage::Begun);
        let store = Store::open_with(store, Access::Create, config)?;
        self.board.reach(Stage::Opened);
        let run = store.start_run(RunOptions::new("power", "load").run_id(run))?;
        self.board.reach(Stage::Started);
        thread::scope(|scope| {
            scope.spawn(|| {
                loop {
                    thread::sleep(BEAT);
                    self.board.beat(now_nanos(), waited());
                }
            });
            let loggers: Vec<_> = (0..self.threads)
                .map(|thread| {
                    let run = run.clone();
                    scope.spawn(move || self.log(&run, thread))
                })
                .collect();
            if self.action != "log" {
                self.promise(&run);
            }
            loggers.into_iter().try_for_each(|logger| logger.join().map_err(|_| "a thread panicked")?)
        })
    }

    fn log(&self, run: &Run, thread: usize) -> Result<(), AnyError> {
        let metric = run.metric(METRICS_NAME, &metric_of(thread))?;
        let mut log = run.logger()?;
        self.board.reach(Stage::Logging);
        // Where the logger's journals begin: the sequence number, and the calls before it.
        let mut begins = vec![(log.next_seq(), 0)];
        for count in 1.. {
            let step = count as i64 - 1;
            if log.log(metric, step, value_of(thread, step)).is_err() {
                // The run was finished, or the disk is gone: nothing is promised for what comes now.
                return Ok(());
            }
            self.board.acknowledge(thread, count);
            let (newest, _) = begins[begins.len() - 1];
            if log.next_seq() >> 44 != newest >> 44 {
                begins.push((log.next_seq() - 1, count - 1));
            }
            let durable = durable_calls(&begins, log.durable_seq());
            self.board.durable(thread, durable);
            if count % MARK_EVERY == 0 {
                self.board.mark(thread, now_nanos(), count);
                if durable > 0 {
                    self.board.reach(Stage::Durable);
                }
            }
            if self.pace > 0 && count % self.pace == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Calls what makes everything durable, again and again, and tells what each call that returned covers.
    fn promise(&self, run: &Run) {
        loop {
            let before: Vec<u64> = (0..self.threads).map(|thread| self.board.told(thread).acknowledged).collect();
            let kept = match self.action.as_str() {
                "sync" => run.sync().is_ok(),
                "commit" => run.commit(METRICS_NAME).is_ok(),
                _ if before.iter().any(|count| *count < 3_000) => false,
                _ => run.finish().is_ok_and(|report| report.warnings.is_empty()),
            };
            if kept {
                before.iter().enumerate().for_each(|(thread, count)| self.board.cover(thread, *count));
            }
            if run.is_closed() {
                self.board.reach(Stage::Done);
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Calls that are durable, by the position that the logger reported.
fn durable_calls(begins: &[(i64, u64)], durable: i64) -> u64 {
    let begin = begins.iter().rev().find(|(seq, _)| seq >> 44 == durable >> 44);
    begin.map_or(0, |(seq, before)| (durable - seq) as u64 + before)
}

/// Settings of a training program whose ring is full soon when nothing can be written.
fn train_config() -> EngineConfig {
    let mut config = tight_config(4096);
    config.definition_bytes = 4096;
    config.wait_limit = Duration::from_millis(300);
    config
}

/// Trains; returns the exit code, which is 42 whatever happens to the metrics.
fn train(board: &Board, store: &str, config: EngineConfig, run: RunId, calls: usize, pace: u64) -> i32 {
    board.reach(Stage::Begun);
    while board.get(Signal::Go) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let tell = |what: &str, error: &dyn Error| board.say(&format!("{what}: {}", with_causes(error)));
    let started = Store::open_with(store, Access::Create, config)
        .inspect_err(|error| tell("open", error))
        .and_then(|store| start(&store, run, board).inspect_err(|error| tell("start", error)));
    board.reach(Stage::Started);
    let mut logger = started.as_ref().ok().and_then(|run| run.logger().inspect_err(|error| tell("logger", error)).ok());
    board.reach(Stage::Logging);
    let mut losses = Losses { board, pace, half: calls / 2 };
    match (&started, &mut logger) {
        (Ok(run), Some(logger)) => losses.log(run, logger, calls),
        _ => board.say("trains without metrics"),
    }
    drop(logger);
    if let Ok(run) = started {
        let stats = run.stats();
        board.say(&format!("stats: logged={} drops={}", stats.rows_logged, stats.drops));
        let _ = run.commit(METRICS_NAME).inspect_err(|error| tell("commit", error));
        match run.finish() {
            Ok(report) => {
                board.say(&format!("finished: rows={} drops={}", report.rows, report.drops));
                report.warnings.iter().for_each(|warning| board.say(&format!("warning: {warning}")));
            }
            Err(error) => tell("finish", &error),
        }
    }
    board.reach(Stage::Done);
    42
}

/// Compacts once it is let go; returns the exit code, which is 42 whatever becomes of it.
fn compact(board: &Board, store: &str, rows_max: u64) -> i32 {
    board.reach(Stage::Begun);
    while board.get(Signal::Go) == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    let mut options = CompactOptions::default();
    (options.remove_now, options.segment_rows_max) = (true, rows_max);
    let compacted = Store::open_with(store, Access::Write, tight_config(4096)).and_then(|store| {
        board.reach(Stage::Opened);
        store.compact(&options, &mut |_, _| {})
    });
    match compacted {
        Ok(report) => board.say(&format!(
            "compacted={} removed={} failures={:?} skipped={:?}",
            report.compacted.len(),
            report.removed.0,
            report.failures,
            report.skipped
        )),
        Err(error) => board.say(&format!("compacted=0 error: {}", with_causes(&error))),
    }
    board.reach(Stage::Done);
    42
}

fn start(store: &Store, run: RunId, board: &Board) -> stepwell_engine::Result<Run> {
    board.reach(Stage::Opened);
    store.start_run(RunOptions::new("fault", "train").run_id(run).param("lr", 0.1))
}

struct Losses<'a> {
    board: &'a Board,
    /// Calls a millisecond; 0: as fast as can be.
    pace: u64,
    /// Call after which a commit is made.
    half: usize,
}

impl Losses<'_> {
    /// Logs one value a call, until told to stop or `calls` are made; a call that fails is noted, and training goes on.
    fn log(&mut self, run: &Run, logger: &mut Logger, calls: usize) {
        let metric = match run.metric(METRICS_NAME, &metric_of(0)) {
            Ok(metric) => metric,
            Err(error) => return self.board.say(&format!("metric: {}", with_causes(&error))),
        };
        for call in 0..calls.min(CALLS_MAX) {
            if self.board.get(Signal::Stop) > 0 {
                return;
            }
            self.board.conclude(call, Outcome::Called);
            let logged = logger.log(metric, call as i64, value_of(0, call as i64));
            let (outcome, signal) = match logged {
                Ok(()) => (Outcome::Taken, Signal::Taken),
                Err(error) => {
                    if error != LogError::Full {
                        self.board.say(&format!("log: {error}"));
                    }
                    (Outcome::Refused, Signal::Refused)
                }
            };
            self.board.conclude(call, outcome);
            self.board.set(signal, self.board.get(signal) + 1);
            self.board.set(Signal::Calls, call as u64 + 1);
            if call == self.half
                && let Err(error) = run.commit(METRICS_NAME)
            {
                self.board.say(&format!("commit: {}", with_causes(&error)));
            }
            if self.pace > 0 && (call as u64 + 1).is_multiple_of(self.pace) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
