//! A process that is stopped for longer than every interval is not dead: nobody recovers it, and it goes on.

use std::time::Duration;

use stepwell_engine::{Access, RunId, RunState, Store};
use stepwell_tests::forks::{send, wait_until_stopped};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::tight_config;

use crate::helper::{Setup, Writer, check_store, info_of, look, open, store_of};

/// Intervals of the writer are 10 to 15 ms.
const STOPPED: Duration = Duration::from_millis(300);

#[test]
fn a_stopped_writer_is_read_live_and_not_taken_for_dead() {
    let mut random = Random::new(seed("stops"));
    let stops = number("STEPWELL_STOPS", 5);
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let mut writer =
        Writer::start(Setup { folder: folder.path(), run, rank: 0, lane: 0, threads: 2, pause_micros: 500 });
    let mut tally = Tally { cases: stops, ..Tally::default() };
    for _ in 0..stops {
        writer.await_records(1 + random.below(2_000));
        send(writer.helper.pid(), libc::SIGSTOP);
        wait_until_stopped(writer.helper.pid()).expect("stopped");
        std::thread::sleep(STOPPED);
        let snapshot = look(folder.path());
        assert_eq!(info_of(&snapshot, run).state, RunState::Running);
        let rows = LaneRows::read(&snapshot, run).expect("each row once");
        let mut seen = Tally::default();
        writer.count(&rows, &mut seen);
        assert_eq!((seen.lost_beyond, seen.invented), (0, 0), "what a reader sees of a stopped writer: {seen}");
        let second = Store::open_with(store_of(folder.path()), Access::Create, tight_config(4096)).expect("open");
        assert!(second.recovery().writers.is_empty(), "{:?}", second.recovery());
        let committed = second.commit(run, None);
        assert!(committed.is_err(), "a commit from outside: {committed:?}");
        send(writer.helper.pid(), libc::SIGCONT);
    }
    writer.await_records(1);
    writer.finish();
    let store = open(folder.path());
    assert!(store.recovery().writers.is_empty(), "it has finished by itself");
    let snapshot = check_store(&store, &[(run, RunState::Finished)]);
    writer.count(&LaneRows::read(&snapshot, run).expect("each row once"), &mut tally);
    tally.close("stops");
}
