//! Containers: process numbers start again at 1 in each, so writer after writer has the same number.

use std::process::Command;

use stepwell_engine::{RunId, RunState};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::tally::Tally;

use crate::helper::{Helper, Setup, Writer, check_store, info_of, look, open, store_of, text};

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

/// A writer told itself from a forked child by its process number alone. The first process of a container has number 1, and
/// so has its child in a container of its own: the child committed the parent's records and removed its journal.
#[test]
fn a_forked_child_with_the_number_of_its_parent_is_told_from_it() {
    if !containers_work() {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let page = folder.path().join("page");
    let (store, run_text) = (store_of(folder.path()), run.to_string());
    let own = [env!("CARGO_BIN_EXE_process-writer"), "nest", text(&store), &run_text, text(&page)];
    Helper::start(CONTAINER[0], &[&CONTAINER[1..], &own].concat()).succeeds();
    let store = open(folder.path());
    assert_eq!(store.recovery().writers.len(), 1, "the parent ended without an end: {:?}", store.recovery());
    let snapshot = check_store(&store, &[(run, RunState::Died)]);
    let mut tally = Tally { cases: 1, ..Tally::default() };
    let page = Acknowledgements::open(&page).expect("page");
    LaneRows::read(&snapshot, run).expect("each row once").count(0, page.of(0), &mut tally);
    let nested = snapshot.runs().iter().find(|info| info.stage == "nested").expect("the child's run");
    assert_eq!(nested.state, RunState::Finished);
    LaneRows::read(&snapshot, nested.run_id).expect("each row once").count(1, page.of(0), &mut tally);
    tally.close("namesakes");
}

/// The kernel kills the container's processes after the one that started them.
fn await_death(folder: &std::path::Path, run: RunId) {
    stepwell_tests::control::wait_until("the container's end", || info_of(&look(folder), run).state == RunState::Died);
}
