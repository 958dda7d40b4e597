//! An error from any system call that the engine makes on its files, at each of its first uses.
//!
//! `strace` attaches to a program that is fully started and waits on the shared page, so neither the loader's nor the
//! runtime's start is disturbed: the counts begin with the first call of the engine, per thread. Memory of the program
//! comes from `brk`, which is left alone, so `mmap` is a journal, SQLite's shared memory or the stack of a new thread.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use stepwell_tests::board::Stage;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::volume::{memory_folder, run};

use crate::training::{Training, check_status};

/// Calls made to fail, each with the names it has on this machine.
const CALLS: [&str; 24] = [
    "openat",
    "fallocate",
    "mmap",
    "msync",
    "fdatasync",
    "fsync",
    "write",
    "pwrite64",
    "rename",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "ftruncate",
    "close",
    "mkdir",
    "flock",
    "statfs",
    "getdents64",
    "statx",
    "newfstatat",
    "madvise",
    "read",
];
const ERRORS: [&str; 8] = ["EIO", "ENOSPC", "EINTR", "EMFILE", "EROFS", "ESTALE", "EACCES", "EDQUOT"];
const POSITIONS: u64 = 20;
/// Calls of the training program: more than a ring holds.
const RECORDS: usize = 5_000;
/// Cases at a time.
const AT_A_TIME: usize = 2;

/// What the standard library says when it ends a program by itself: a new thread gets no memory for its alternate signal
/// stack. That is not for the engine to mend.
const OF_THE_STANDARD_LIBRARY: [&str; 1] = ["failed to allocate an alternative stack"];

/// A failure of one system call.
#[derive(Clone, Debug)]
pub struct Injection {
    call: &'static str,
    error: &'static str,
    position: u64,
    /// The call fails from then on in each of its uses, not only once.
    lasting: bool,
}

/// Whether it makes sense that a call fails again and again. One that is interrupted is to be made again until it is not;
/// and no `close` at all is not a failing disk: descriptors run out.
fn can_last(call: &str, error: &str) -> bool {
    error != "EINTR" && call != "close"
}

/// Every call, error and position, once and lasting, in random order.
pub fn injections(calls: &[&'static str], random: &mut Random) -> Vec<Injection> {
    let mut all = Vec::new();
    for call in calls.iter().copied() {
        for error in ERRORS {
            for position in 1..=POSITIONS {
                all.push(Injection { call, error, position, lasting: false });
                if can_last(call, error) {
                    all.push(Injection { call, error, position, lasting: true });
                }
            }
        }
    }
    for last in (1..all.len()).rev() {
        all.swap(last, random.below(last as u64 + 1) as usize);
    }
    all
}

#[test]
fn training_ends_by_itself_whatever_system_call_fails() {
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: errors injected into system calls: {why}");
    }
    let mut cases = injections(&CALLS, &mut Random::new(seed("injected failures")));
    let all = cases.len();
    cases.truncate(number("STEPWELL_INJECTIONS", 40) as usize);
    println!("injected failures: {} of {all} cases", cases.len());
    run_cases("injected failures", cases, try_one);
}

/// Runs the cases, some at a time; each gives its figures, and how many calls failed.
pub fn run_cases(
    campaign: &str,
    cases: Vec<Injection>,
    try_one: impl Fn(&Injection) -> Result<(Tally, u64), String> + Sync,
) {
    let left = Mutex::new(cases);
    let result = Mutex::new((Tally::default(), 0, Vec::new()));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(injection) = left.lock().expect("no panic").pop() else { return };
                    let outcome = try_one(&injection);
                    let (tally, met, faults) = &mut *result.lock().expect("no panic");
                    match outcome {
                        Ok((one, injected)) => {
                            tally.add(&one);
                            *met += injected;
                        }
                        Err(fault) => {
                            println!("FAULT {injection:?}: {fault}");
                            tally.cases += 1;
                            faults.push(format!("{injection:?}: {fault}"));
                        }
                    }
                }
            });
        }
    });
    let (tally, met, faults) = result.into_inner().expect("no panic");
    let rate = tally.cases as f64 / start.elapsed().as_secs_f64();
    println!("{campaign}: {met} failures met, {rate:.1} cases/s");
    assert!(faults.is_empty(), "{} of {} cases went wrong: {faults:#?}", faults.len(), tally.cases);
    tally.close(campaign);
}

// A claim whose lock failed, for want of memory say, was taken for one that another process has: the start of the run claimed
// one attempt after the other, each a file, and never came to an end. A folder that could not be closed ended the program.
#[test]
fn training_ends_by_itself_when_no_file_can_be_locked_or_closed() {
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: errors injected into flock and close: {why}");
    }
    for (call, error, lasting) in [("flock", "EMFILE", true), ("flock", "ENOLCK", true), ("close", "EIO", true)] {
        let injection = Injection { call, error, position: 1, lasting };
        try_one(&injection).unwrap_or_else(|fault| panic!("{injection:?}: {fault}"));
    }
}

/// Trains with one failure, then looks at the store without any. Also returns how many calls failed: each thread has its
/// own n-th call, or none.
fn try_one(injection: &Injection) -> Result<(Tally, u64), String> {
    let folder = memory_folder();
    let trace = folder.path().join("trace");
    let mut training = Training::start(&folder.path().join("store"), RECORDS, 0, &[]);
    training.wait_until("its begin", |board| board.has_reached(Stage::Begun));
    let mut strace = attach(training.child.id(), injection, &trace)?;
    training.go();
    let status = training.end_by_itself();
    // It ends with the last process it follows.
    strace.wait().map_err(|error| error.to_string())?;
    let report = training.report();
    if OF_THE_STANDARD_LIBRARY.iter().any(|text| report.stderr.contains(text)) {
        println!("{injection:?}: ended by the standard library: {}", report.stderr.trim().replace('\n', " "));
        return Ok((Tally { cases: 1, ..Tally::default() }, 1));
    }
    check_status(status, &report)?;
    let trace = std::fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let met = trace.lines().filter(|line| line.contains("(INJECTED)")).count() as u64;
    training.check(&report).map(|checked| (checked.tally, met))
}

/// Has calls of a process fail from now on; `trace` tells which did.
///
/// # Errors
/// Why that cannot be done, in words.
pub fn attach(pid: u32, injection: &Injection, trace: &Path) -> Result<Child, String> {
    let Injection { call, error, position, lasting } = injection;
    let onwards = if *lasting { "+" } else { "" };
    let strace = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(trace)
        .arg("-e")
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:error={error}:when={position}{onwards}"))
        .args(["-p", &pid.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("strace cannot be started: {error}"))?;
    wait_for_tracer(pid)?;
    Ok(strace)
}

fn wait_for_tracer(pid: u32) -> Result<(), String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
        if status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0")) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err("strace did not attach within 10 s".to_owned())
}
