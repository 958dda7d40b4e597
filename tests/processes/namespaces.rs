//! Containers: process numbers start again at 1 in each, so writer after writer has the same number.

use std::process::Command;

use stepwell_engine::{RunId, RunState};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::tally::Tally;

use crate::helper::{Setup, Writer, check_store, info_of, look, open};

const CONTAINER: [&str; 6] = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"];

/// Whether namespaces can be made here.
fn containers_work() -> bool {
    let works =
        Command::new(CONTAINER[0]).args(&CONTAINER[1..]).arg("true").output().is_ok_and(|out| out.status.success());
    if !works {
        println!("skipped: writers in process namespaces, because `unshare --pid` takes root and util-linux");
    }
    works
}

#[test]
fn a_container_started_again_has_the_same_numbers_and_becomes_another_attempt() {
    if !containers_work() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let mut tally = Tally::default();
    let mut writers = Vec::new();
    for attempt in 0..4 {
        let setup = Setup { folder: folder.path(), run, rank: 0, lane: attempt * 10, threads: 2, pause_micros: 500 };
        let mut writer = Writer::start_by(&CONTAINER, setup);
        writer.await_records(500);
        assert_eq!(writer.control.figure(), attempt as u64);
        let info = info_of(&look(folder.path()), run);
        let states: Vec<_> = info.writers.iter().map(|writer| (writer.process.pid, writer.state)).collect();
        let mut expected = vec![(1, RunState::Died); attempt];
        expected.push((1, RunState::Running));
        assert_eq!(states, expected, "(number, state) of each attempt");
        // The whole container goes: its first process is killed with the one that started it.
        writer.helper.kill();
        await_death(folder.path(), run);
        writers.push(writer);
        tally.cases += 1;
    }
    let store = open(folder.path());
    let snapshot = check_store(&store, &[(run, RunState::Died)]);
    let rows = LaneRows::read(&snapshot, run).expect("each row once");
    writers.iter().for_each(|writer| writer.count(&rows, &mut tally));
    tally.close("containers");
}

/// The kernel kills the container's processes after the one that started them.
fn await_death(folder: &std::path::Path, run: RunId) {
    stepwell_tests::control::wait_until("the container's end", || info_of(&look(folder), run).state == RunState::Died);
}
