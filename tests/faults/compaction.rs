//! Compaction on a disk that is full, with a limit on the size of files, or with an error at any of its system calls: it fails
//! clearly and changes nothing, or it succeeds; and no row is lost either way.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use stepwell_engine::{Access, Store};
use stepwell_tests::board::{Board, Signal, Stage};
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::volume::{memory_folder, run};

use crate::ended::{EndedRun, NEW_SEGMENT_ROWS, SEGMENTS, config, options};
use crate::full::{Filler, for_each_volume};
use crate::inject::{Injection, attach, injections, run_cases};
use crate::training::OWN_CODE;

/// Room that is given back before each further try: a block.
const STEP_BYTES: u64 = 4096;
/// Tries until there has to be room for everything.
const TRIES_MAX: u64 = 100;
/// A limit on the size of files that the merged segment exceeds, and none of the old ones does.
const SIZE_LIMIT: &str = "--fsize=500000";
/// Records in each of the old segments then.
const MANY_ROWS: i64 = 8_000;
/// Records in each of the old segments otherwise.
const SOME_ROWS: i64 = 250;
/// After this long, a compaction that was to come to its end hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Calls that a compaction makes, each with the names it has on this machine.
const CALLS: [&str; 19] = [
    "openat",
    "mmap",
    "fdatasync",
    "fsync",
    "write",
    "pwrite64",
    "pread64",
    "read",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "ftruncate",
    "close",
    "flock",
    "statfs",
    "getdents64",
    "statx",
    "newfstatat",
];

#[test]
fn a_compaction_without_room_changes_nothing_and_succeeds_once_there_is_some() {
    for_each_volume("a compaction on a full disk", |name, volume| {
        let root = volume.path().join("store");
        let ended = EndedRun::write(&root, SOME_ROWS);
        let store = Store::open_with(&root, Access::Write, config()).expect(name);
        let filler = Filler::fill(&volume.path());
        let mut failed = 0;
        // With a little more room each time, it fails at one step after the other.
        let report = loop {
            assert!(failed < TRIES_MAX, "{name}: there is room by now");
            let report = store.compact(&options(), &mut |_, _| {}).expect(name);
            if report.failures.is_empty() {
                break report;
            }
            assert_eq!(
                (report.compacted.len(), report.failures.len(), report.removed.0),
                (0, 1, 0),
                "{name}: {report:?}"
            );
            let failure = &report.failures[0];
            assert!(failure.why.contains("No space left on device") && !failure.is_corruption, "{name}: {failure:?}");
            let checked = ended.check_untouched().and_then(|()| ended.check());
            checked.unwrap_or_else(|fault| panic!("{name}: {fault}; {report:?}"));
            filler.give_back(STEP_BYTES);
            failed += 1;
        };
        assert!(failed > 2, "{name}: there was room at once");
        assert_eq!((report.compacted.len(), report.removed.0), (1, SEGMENTS), "{name}: {report:?}");
        ended.check().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        println!("{name}: {failed} compactions without room, one with");
        drop(store);
        filler.free();
        let tally = ended.check_and_compact().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        tally.close(&format!("compaction on a full disk, {name}"));
    });
}

// A catalog that could not be brought up to date for want of room kept the files from being removed that would have made some.
#[test]
fn replaced_files_are_removed_on_a_full_disk() {
    for_each_volume("the end of a compaction on a full disk", |name, volume| {
        let root = volume.path().join("store");
        let ended = EndedRun::write(&root, SOME_ROWS);
        let store = Store::open_with(&root, Access::Write, config()).expect(name);
        let mut keep = options();
        keep.remove_now = false;
        assert_eq!(store.compact(&keep, &mut |_, _| {}).expect(name).waiting.0, SEGMENTS, "{name}");
        let filler = Filler::fill(&volume.path());
        let report = store.compact(&options(), &mut |_, _| {}).expect(name);
        assert_eq!((report.failures.len(), report.removed.0), (0, SEGMENTS), "{name}: {report:?}");
        ended.check().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        drop(store);
        filler.free();
        ended.check_and_compact().unwrap_or_else(|fault| panic!("{name}: {fault}"));
    });
}

/// A process that compacts a store. It waits until it is let go.
struct Compacting {
    board: Board,
    child: Child,
    /// What lies outside the store: the board.
    _outside: tempfile::TempDir,
}

impl Compacting {
    /// Starts one that makes segments of at most `rows_max` rows, by way of `wrapper`.
    fn start(store: &Path, rows_max: u64, wrapper: &[&str]) -> Self {
        let outside = memory_folder();
        let path = outside.path().join("board");
        let board = Board::open(&path).expect("board");
        let words: Vec<&str> = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_fault-writer")]).collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .arg("compact")
            .args([store, &path])
            .arg(rows_max.to_string())
            .envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "1073741824"), ("RUST_BACKTRACE", "0")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the compaction");
        Self { board, child, _outside: outside }
    }

    /// Waits until it is about to open the store, which it does when it is let go.
    fn wait_until_begun(&self) {
        let start = Instant::now();
        while !self.board.has_reached(Stage::Begun) {
            assert!(start.elapsed() < WATCHDOG, "it never began");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go, and waits for its end; what it says it did.
    fn end(&mut self) -> Result<String, String> {
        self.board.set(Signal::Go, 1);
        let start = Instant::now();
        loop {
            match self.child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => return self.ended_with(status),
                None if start.elapsed() > WATCHDOG => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return Err(format!("it hung for {WATCHDOG:?}; it said {:?}", self.board.text()));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn ended_with(&self, status: ExitStatus) -> Result<String, String> {
        let said = self.board.text();
        let is_well = status.code() == Some(OWN_CODE) && self.board.has_reached(Stage::Done);
        if is_well { Ok(said) } else { Err(format!("it ended with {status}; it said {said:?}")) }
    }
}

#[test]
fn a_compaction_with_a_limit_on_the_size_of_files_changes_nothing() {
    if let Err(why) = run("prlimit", &["--version"]) {
        return println!("skipped: a compaction with a limit on the size of files: {why}");
    }
    let folder = memory_folder();
    let ended = EndedRun::write(&folder.path().join("store"), MANY_ROWS);
    for signal in ["--ignore-signal=XFSZ", "--default-signal=XFSZ"] {
        let wrapper = ["env", signal, "prlimit", SIZE_LIMIT];
        let mut compacting = Compacting::start(&folder.path().join("store"), u64::MAX, &wrapper);
        compacting.wait_until_begun();
        let said = compacting.end().unwrap_or_else(|fault| panic!("{signal}: {fault}"));
        assert!(said.contains("compacted=0") && said.contains("File too large"), "{signal}: {said}");
        ended.check_untouched().unwrap_or_else(|fault| panic!("{signal}: {fault}; {said}"));
    }
    ended.check_and_compact().expect("nothing was lost");
}

#[test]
fn no_row_is_lost_whatever_system_call_of_a_compaction_fails() {
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: errors injected into system calls of a compaction: {why}");
    }
    let mut cases = injections(&CALLS, &mut Random::new(seed("injected failures of compactions")));
    cases.truncate(number("STEPWELL_INJECTIONS", 40) as usize / 2);
    run_cases("injected failures of compactions", cases, try_one);
}

/// Compacts with one failure, then looks at the store without any. Also returns how many calls failed.
fn try_one(injection: &Injection) -> Result<(Tally, u64), String> {
    let folder = memory_folder();
    let store = folder.path().join("store");
    // Not a copy: segments of one run that a snapshot of this process reads are held in all stores.
    let ended = EndedRun::write(&store, SOME_ROWS);
    let mut compacting = Compacting::start(&store, NEW_SEGMENT_ROWS, &[]);
    compacting.wait_until_begun();
    let trace = folder.path().join("trace");
    let mut strace = attach(compacting.child.id(), injection, &trace)?;
    let said = compacting.end();
    // It ends with the last process it follows.
    strace.wait().map_err(|error| error.to_string())?;
    let said = said?;
    let trace = std::fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let met = trace.lines().filter(|line| line.contains("(INJECTED)")).count() as u64;
    let tally = ended.check_and_compact().map_err(|fault| format!("{fault}; it said {said:?}"))?;
    Ok((tally, met))
}
