//! Forks at random moments of a process that logs, seals, commits and asks.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use stepwell_engine::{RunId, RunState};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::forks::{Ended, adopt_orphans, send, wait};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::storm::THREADS;
use stepwell_tests::tally::Tally;

use crate::helper::{check_store, open};

/// Forks of one parent.
const FORKS_PER_PARENT: u64 = 20;

/// Children that outlive their parent, ended with the campaign.
struct Survivors(Vec<i32>);

impl Drop for Survivors {
    fn drop(&mut self) {
        self.0.iter().for_each(|pid| send(*pid, libc::SIGKILL));
    }
}

fn survivors(folder: &Path) -> Survivors {
    let text = fs::read_to_string(folder.join("survivors")).unwrap_or_default();
    Survivors(text.lines().map(|line| line.parse().expect("a process id")).collect())
}

#[test]
fn forked_children_never_touch_the_parents_run() {
    let seed = seed("forks");
    let forks = number("STEPWELL_FORKS", 60);
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let mut alive_after = 0;
    adopt_orphans().expect("Linux 3.4 or newer");
    while tally.cases < forks {
        let count = FORKS_PER_PARENT.min(forks - tally.cases);
        alive_after += one_parent(&mut random, count, &mut tally);
        tally.cases += count;
    }
    println!("forks: {alive_after} children outlived their parents");
    tally.close("forks");
}

fn one_parent(random: &mut Random, forks: u64, tally: &mut Tally) -> usize {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let run = RunId::generate();
    let end = ["finish", "exit", "abort", "kill"][random.below(4) as usize];
    let words =
        [folder.to_str().expect("UTF-8"), &run.to_string(), &random.number().to_string(), &forks.to_string(), end]
            .map(str::to_owned);
    let status = Command::new(env!("CARGO_BIN_EXE_fork-storm")).args(words).stdout(Stdio::null()).status();
    let survivors = survivors(folder);
    let status = status.expect("start the parent");
    if end == "finish" || end == "exit" {
        assert!(status.success(), "the parent ended with {status}");
    }
    let failures = fs::read_to_string(folder.join("failures")).unwrap_or_default();
    assert!(failures.is_empty(), "children failed:\n{failures}");
    check(folder, run, end, tally);
    survivors.0.len()
}

/// While the children that outlive their parent still live.
fn check(folder: &Path, run: RunId, end: &str, tally: &mut Tally) {
    wait_for_orphans(folder);
    let children = children_of(folder);
    let store = open(folder);
    let snapshot = check_store(&store, &[]);
    let info = snapshot.runs().iter().find(|info| info.run_id == run).expect("the run");
    let own = info.writers.iter().find(|writer| writer.writer.rank == 0).expect("the parent's writer");
    let expected = if end == "finish" { RunState::Finished } else { RunState::Died };
    assert_eq!(own.state, expected, "the parent ended by {end}, and its children hold nothing of it");
    let running: Vec<_> = snapshot.runs().iter().filter(|info| info.state == RunState::Running).collect();
    assert!(running.is_empty(), "nobody writes to them: {running:?}");
    assert!(snapshot.live().is_empty());
    let rows = LaneRows::read(&snapshot, run).expect("each row once");
    rows.count_lanes(0, THREADS + 1, &Acknowledgements::open(&folder.join("page")).expect("page"), tally);
    let mut lanes: Vec<usize> = (0..=THREADS).collect();
    for (of, lane, page) in &children {
        let own = LaneRows::read(&snapshot, *of).expect("each row once");
        own.count(*lane, page.of(0), tally);
        if *of == run {
            lanes.push(*lane);
        }
    }
    assert!(rows.lanes().all(|lane| lanes.contains(&lane)), "rows of nobody: {:?}", rows.lanes().collect::<Vec<_>>());
}

/// Run, lane and page of every child that had a writer.
fn children_of(folder: &Path) -> Vec<(RunId, usize, Acknowledgements)> {
    let mut children = Vec::new();
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let name = entry.file_name();
        if let Some((run, lane)) = name.to_str().and_then(|name| name.strip_prefix("child.")?.split_once('.')) {
            let page = Acknowledgements::open(&entry.path()).expect("page");
            children.push((run.parse().expect("run id"), lane.parse().expect("lane"), page));
        }
    }
    children
}

/// Grandchildren may still be at work when the parent is gone.
fn wait_for_orphans(folder: &Path) {
    let orphans = fs::read_to_string(folder.join("orphans")).unwrap_or_default();
    for pid in orphans.lines() {
        // One whose own parent has waited for it is no child of this process any more.
        if let Ok(ended) = wait(pid.parse().expect("a process id")) {
            assert_eq!(ended, Ended::Exited(0), "an orphan");
        }
    }
}
