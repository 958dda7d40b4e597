//! Locks: of forked children, and of writers that start at once where there are none.

use std::process::Command;
use std::sync::Barrier;

use stepwell_engine::{Access, RunId, RunOptions, RunState};

use crate::mount::{Mount, Worker, command};
use crate::{is_empty, open, state_of, steps};

/// A forked child; killed when dropped.
struct Child(String);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.0]).status();
    }
}

#[test]
fn a_forked_child_does_not_keep_the_lock_of_the_journals() {
    for has_locks in [true, false] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let run = RunId::generate();
        let mut writer = Worker::start(command(&mount.store(), &mount.scratch()));
        assert_eq!(writer.ask(&format!("start {run}")), "started");
        assert_eq!(writer.ask("log 1000"), "logged 1000");
        let forked = writer.ask("fork");
        let _child = Child(forked.strip_prefix("forked ").expect("a process").to_owned());
        writer.kill();
        let store = open(&mount, Access::Create);
        assert_eq!((store.recovery().writers.len(), &*store.recovery().failures), (1, &[][..]));
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!((state_of(&snapshot, run), steps(&snapshot, run).len()), (RunState::Died, 1000));
        assert!(is_empty(&mount.scratch()));
    }
}

#[test]
fn writers_of_one_rank_become_attempts_of_their_own_with_locks_and_without() {
    const WRITERS: usize = 4;
    for has_locks in [true, false] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let (run, barrier) = (RunId::generate(), Barrier::new(WRITERS));
        let start = || {
            let store = open(&mount, Access::Create);
            barrier.wait();
            store.start_run(RunOptions::new("network", "write").run_id(run)).expect("start")
        };
        let runs: Vec<_> = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..WRITERS).map(|_| scope.spawn(start)).collect();
            starting.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let mut attempts: Vec<_> = runs.iter().map(|run| run.writer().attempt).collect();
        attempts.sort_unstable();
        attempts.dedup();
        assert_eq!(attempts.len(), WRITERS, "{attempts:?}, locks: {has_locks}");
        // What a process left that died while it was starting.
        let next = attempts[WRITERS - 1] + 1;
        let left = mount.store().join(format!("runs/{run}/.tmp-claim-0-{next}"));
        std::fs::write(&left, "").expect("left");
        let late = open(&mount, Access::Create).start_run(RunOptions::new("network", "write").run_id(run));
        assert_eq!(late.expect("start").writer().attempt, next + i32::from(!has_locks));
    }
}
