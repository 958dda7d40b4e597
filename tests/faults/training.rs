//! A training program that is tried, and what has to be true of it afterwards.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use stepwell_engine::events::GapKind;
use stepwell_engine::{Access, RunId, Store};
use stepwell_tests::board::{Board, CALLS_MAX, Outcome, Signal, Stage};
use stepwell_tests::rows::rows_of;
use stepwell_tests::tally::Tally;
use stepwell_tests::volume::memory_folder;
use stepwell_tests::{metric_of, tight_config, value_of};

/// The exit code that the training program ends with, whatever became of its metrics.
pub const OWN_CODE: i32 = 42;
/// After this long, a program that was to come to its end hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// One run of the training program.
pub struct Training {
    pub store: PathBuf,
    pub run: RunId,
    pub board: Board,
    pub child: Child,
    /// What lies outside the store: the board, and what the program says on stderr.
    outside: tempfile::TempDir,
}

/// What was found in a store afterwards.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    pub tally: Tally,
    /// Records that gaps tell as dropped because the ring was full.
    pub told_full: u64,
}

/// What the program told in its report, and what it said.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Rows and drops of `finish`, when it returned a report.
    pub finished: Option<(u64, u64)>,
    /// All lines.
    pub text: String,
    /// Its stderr.
    pub stderr: String,
}

impl Training {
    /// Starts a training program that logs `calls` values into `store`, `pace` a millisecond (0: as fast as can be). It
    /// waits for [`Training::go`]. `wrapper` is a command that is to start it.
    pub fn start(store: &Path, calls: usize, pace: u64, wrapper: &[&str]) -> Self {
        let outside = memory_folder();
        let board_path = outside.path().join("board");
        let board = Board::open(&board_path).expect("board");
        let stderr = std::fs::File::create(outside.path().join("stderr")).expect("stderr");
        let run = RunId::generate();
        let words: Vec<&str> = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_fault-writer")]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg("train")
            .arg(store)
            .arg(run.to_string())
            .arg(board_path)
            .arg(calls.to_string())
            .arg(pace.to_string())
            // Memory comes from the heap, not from mappings: a mapping that fails is then one of the engine's files.
            .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "1073741824"), ("RUST_BACKTRACE", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("start the training program");
        Self { store: store.to_owned(), run, board, child, outside }
    }

    /// Lets it begin.
    pub fn go(&self) {
        self.board.set(Signal::Go, 1);
    }

    /// Waits until `happened`; fails when the program ends before, or never gets there.
    pub fn wait_until(&mut self, what: &str, happened: impl Fn(&Board) -> bool) {
        let start = Instant::now();
        while !happened(&self.board) {
            if let Some(status) = self.child.try_wait().expect("the program's state") {
                panic!("the program ended before {what}: {status}; it said: {}{}", self.board.text(), self.stderr());
            }
            if start.elapsed() > WATCHDOG {
                self.child.kill().expect("SIGKILL");
                panic!("{what} never came; it said: {}{}", self.board.text(), self.stderr());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it logs.
    pub fn wait_until_logging(&mut self) {
        self.wait_until("the first call", |board| board.get(Signal::Calls) > 0);
    }

    /// Waits until `more` further calls have succeeded.
    pub fn wait_for_taken(&mut self, more: u64) {
        let from = self.board.get(Signal::Taken);
        self.wait_until("logging", |board| board.get(Signal::Taken) >= from + more);
    }

    /// Asks it to come to its end, and waits for that. `None`: it hangs, and was killed.
    pub fn end(&mut self) -> Option<ExitStatus> {
        self.board.set(Signal::Stop, 1);
        self.end_by_itself()
    }

    /// Waits for its end. `None`: it hangs, and was killed.
    pub fn end_by_itself(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < WATCHDOG {
            if let Some(status) = self.child.try_wait().expect("the program's state") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("reaped");
        None
    }

    /// Ends it, and checks that it does so by itself with its own code.
    pub fn end_well(&mut self) -> Report {
        let status = self.end();
        let report = self.report();
        check_status(status, &report).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(self.board.has_reached(Stage::Done), "{report:?}");
        report
    }

    fn stderr(&self) -> String {
        std::fs::read_to_string(self.outside.path().join("stderr")).unwrap_or_default()
    }

    /// What it told.
    pub fn report(&self) -> Report {
        let text = self.board.text();
        let number = |line: &str, key: &str| -> u64 {
            line.split_whitespace().find_map(|word| word.strip_prefix(key)).map_or(0, |n| n.parse().expect("a number"))
        };
        let line = |start: &str| text.lines().find(|line| line.starts_with(start));
        Report {
            finished: line("finished:").map(|line| (number(line, "rows="), number(line, "drops="))),
            stderr: self.stderr(),
            text,
        }
    }

    /// Opens the store with a sound disk and holds what is there against what the program was told: each record whose call
    /// succeeded is there exactly once, or is told as lost.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self, report: &Report) -> Result<Checked, String> {
        let checked = self.check_after_loss(report)?;
        let Tally { lost_beyond, .. } = checked.tally;
        if lost_beyond > 0 {
            return Err(format!("{lost_beyond} records are lost and not told; {checked:?}; {report:?}"));
        }
        let refused = self.board.get(Signal::Refused);
        check_drops(report, refused, checked.told_full).map_err(|fault| format!("{fault}, {report:?}"))?;
        Ok(checked)
    }

    /// Like [`Training::check`], for a disk that has lost what was not synced.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check_after_loss(&self, report: &Report) -> Result<Checked, String> {
        let in_words = |error: &dyn std::fmt::Debug| format!("{error:?}; {report:?}");
        let store =
            Store::open_with(&self.store, Access::Create, tight_config(4096)).map_err(|error| in_words(&error))?;
        if !store.recovery().failures.is_empty() {
            return Err(in_words(&store.recovery().failures));
        }
        let damaged = store.verify(&mut |_, _| {}).map_err(|error| in_words(&error))?.damaged;
        if !damaged.is_empty() {
            return Err(in_words(&damaged));
        }
        let snapshot = store.snapshot().map_err(|error| in_words(&error))?;
        let rows = rows_of(&snapshot, self.run)?;
        let gaps = snapshot.gaps().map_err(|error| in_words(&error))?;
        let own = || gaps.iter().filter(|gap| gap.run_id == self.run);
        let told: u64 = own().filter(|gap| gap.gap.kind != GapKind::RingFull).map(|gap| gap.gap.records).sum();
        let told_full = own().filter(|gap| gap.gap.kind == GapKind::RingFull).map(|gap| gap.gap.records).sum();
        let mut tally = Tally { cases: 1, kept: rows.len() as u64, ..Tally::default() };
        let mut found = BTreeSet::new();
        for ((metric, _), (step, bits)) in &rows {
            let called = *step >= 0
                && (*step as usize) < CALLS_MAX
                && matches!(self.board.outcome(*step as usize), Outcome::Taken | Outcome::Called);
            if !called || *metric != metric_of(0) || *bits != value_of(0, *step).to_bits() || !found.insert(*step) {
                tally.invented += 1;
            }
        }
        if tally.invented > 0 {
            return Err(in_words(&tally));
        }
        let taken = |call: &u64| self.board.outcome(*call as usize) == Outcome::Taken;
        let taken: Vec<u64> = (0..self.board.get(Signal::Calls)).filter(taken).collect();
        let lost = taken.iter().filter(|call| !found.contains(&(**call as i64))).count() as u64;
        tally.acknowledged = taken.len() as u64;
        tally.lost_within = lost.min(told);
        tally.lost_beyond = lost - tally.lost_within;
        Ok(Checked { tally, told_full })
    }
}

/// Drops told by `finish` are the calls refused; and so are the gaps, once the run has written them.
fn check_drops(report: &Report, refused: u64, full: u64) -> Result<(), String> {
    match report.finished {
        Some((_, drops)) if drops != refused => Err(format!("{refused} calls were refused, finish told {drops}")),
        _ if full > refused => Err(format!("{refused} calls were refused, the gaps tell {full}")),
        _ => Ok(()),
    }
}

/// Whether a program ended by itself with its own code.
///
/// # Errors
/// How it ended instead.
pub fn check_status(status: Option<ExitStatus>, report: &Report) -> Result<(), String> {
    let fault = match status {
        None => format!("it hung for {WATCHDOG:?} and was killed"),
        Some(status) if status.code() == Some(OWN_CODE) => return Ok(()),
        Some(status) => match status.signal() {
            Some(signal) => format!("signal {signal} ended it"),
            None => format!("it ended with {status}"),
        },
    };
    Err(format!("{fault}; it said: {}{}", report.text, report.stderr))
}
