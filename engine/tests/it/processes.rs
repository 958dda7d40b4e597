//! Real processes: the test binary starts itself again as a writer.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use stepwell_engine::{LogError, RunId, RunOptions, RunState};

use crate::common::{assert_distinct, open, rows, small_config};
use crate::dead::{calm, starting};

const STORE: &str = "STEPWELL_TEST_STORE";
const RUN: &str = "STEPWELL_TEST_RUN";
const RANK: &str = "STEPWELL_TEST_RANK";

/// The body of a child process; a test without effect when it is not asked to be one.
#[test]
fn child_writer() {
    let (Ok(store), Ok(run), Ok(rank)) = (std::env::var(STORE), std::env::var(RUN), std::env::var(RANK)) else {
        return;
    };
    let store = open(std::path::Path::new(&store), small_config());
    let options = RunOptions::new("p", "s").run_id(run.parse().expect("run id")).rank(rank.parse().expect("rank"));
    let run = store.start_run(options).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    for step in 0..10_000 {
        log.log(metric, step, 1.0).expect("logged");
    }
    println!("\nlogged");
    if std::env::var("STEPWELL_TEST_HANG").is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
    drop(log);
    run.finish().expect("finish");
}

fn spawn(store: &std::path::Path, run: RunId, rank: i32, hang: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["processes::child_writer", "--exact", "--nocapture"]).stdout(Stdio::piped());
    command.env(STORE, store).env(RUN, run.to_string()).env(RANK, rank.to_string());
    if hang {
        command.env("STEPWELL_TEST_HANG", "1");
    }
    let _starting = starting();
    command.spawn().expect("child")
}

fn wait_until_logged(child: &mut Child) {
    let output = BufReader::new(child.stdout.as_mut().expect("piped"));
    assert!(output.lines().any(|line| line.expect("line") == "logged"));
}

#[test]
fn four_ranks_write_one_run() {
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let children: Vec<_> = (0..4).map(|rank| spawn(folder.path(), run, rank, false)).collect();
    for child in children {
        assert!(child.wait_with_output().expect("child").status.success());
    }
    let store = open(folder.path(), small_config());
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!((snapshot.runs().len(), snapshot.runs()[0].state), (1, RunState::Finished));
    let found = rows(&snapshot);
    assert_distinct(&found);
    assert_eq!(found.len(), 40_000);
}

#[test]
fn a_killed_writer_is_noticed_and_a_living_one_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let mut child = spawn(folder.path(), run, 0, true);
    wait_until_logged(&mut child);
    let store = open(folder.path(), small_config());
    assert!(store.recovery().writers.is_empty(), "its writer is alive");
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!((rows(&snapshot).len(), snapshot.runs()[0].state), (10_000, RunState::Running));
    assert!(store.commit(run, None).is_err(), "only the writer itself can commit");
    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    let _calm = calm();
    assert_eq!(store.snapshot().expect("snapshot").runs()[0].state, RunState::Died);
    let artifacts = store.commit(run, Some("m")).expect("commit");
    assert_eq!(artifacts.iter().map(|artifact| artifact.rows).sum::<u64>(), 10_000);
}

/// The DataLoader pattern: a child made by `fork` inherits handle and mapping, and must touch neither.
#[test]
#[allow(unsafe_code)]
fn a_forked_child_is_refused_and_the_parent_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    log.log(metric, 0, 1.0).expect("logged");
    let starting = starting();
    // SAFETY: the child does nothing but a log call, which allocates nothing here, and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = log.log(metric, 1, 2.0) == Err(LogError::Forked);
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    drop(starting);
    assert_eq!(status, 0, "the child was refused");
    log.log(metric, 2, 3.0).expect("the parent goes on");
    drop(log);
    assert_eq!(run.finish().expect("finish").rows, 2);
}
