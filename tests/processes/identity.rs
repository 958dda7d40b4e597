//! What an event log says about its process may come to fit another one: a number used again, another boot, another host.
//! Whether a writer lives is told by the lock, and by nothing that is written.

use std::path::Path;

use stepwell_engine::events::{Event, EventLine, ProcessInfo};
use stepwell_engine::{RunId, RunState};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::tally::Tally;

use crate::helper::{Setup, Writer, check_store, info_of, look, open, store_of};

/// Rewrites what the first line of a writer's event log says of its process.
fn rewrite(folder: &Path, run: RunId, change: impl Fn(&mut ProcessInfo)) {
    let writer = info_of(&look(folder), run).writers[0].writer;
    let path = store_of(folder).join(format!("runs/{run}/{writer}.events.jsonl"));
    let text = std::fs::read_to_string(&path).expect("event log");
    let (first, rest) = text.split_once('\n').expect("a line");
    let mut line = EventLine::decode(first).expect("the first line");
    match &mut line.event {
        Event::WriterStarted(started) => change(&mut started.process),
        other => panic!("{other:?}"),
    }
    // In place: the lock of a living writer is on this very file.
    std::fs::write(&path, format!("{}{rest}", line.encode())).expect("write");
}

fn own_process() -> ProcessInfo {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let pid_start = stat.rsplit_once(')').expect("name").1.split_whitespace().nth(19).expect("field 22");
    ProcessInfo {
        host: std::fs::read_to_string("/proc/sys/kernel/hostname").expect("host").trim().to_owned(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id").trim().to_owned(),
        pid: std::process::id(),
        pid_start: pid_start.parse().expect("a number"),
    }
}

/// What the log is made to say, in words, and how.
type Change = (&'static str, fn(&mut ProcessInfo));

fn changes() -> Vec<Change> {
    vec![
        ("the number of a living process, its start time too", |process| *process = own_process()),
        ("the number of a living process", |process| process.pid = std::process::id()),
        ("another boot", |process| process.boot_id = "00000000-0000-4000-8000-000000000000".to_owned()),
        ("no boot", |process| process.boot_id = String::new()),
        ("another host", |process| process.host = "elsewhere".to_owned()),
        ("the first process", |process| process.pid = 1),
    ]
}

#[test]
fn a_dead_writer_is_recovered_whoever_has_its_number_now() {
    let mut tally = Tally::default();
    for (what, change) in changes() {
        let folder = tempfile::tempdir().expect("folder");
        let run = RunId::generate();
        let mut writer =
            Writer::start(Setup { folder: folder.path(), run, rank: 0, lane: 0, threads: 2, pause_micros: 500 });
        writer.await_records(500);
        writer.helper.kill();
        rewrite(folder.path(), run, change);
        assert_eq!(info_of(&look(folder.path()), run).state, RunState::Died, "{what}");
        let store = open(folder.path());
        assert_eq!(store.recovery().writers.len(), 1, "{what}");
        let snapshot = check_store(&store, &[(run, RunState::Died)]);
        writer.count(&LaneRows::read(&snapshot, run).expect("each row once"), &mut tally);
        tally.cases += 1;
    }
    tally.close("numbers used again");
}

#[test]
fn a_living_writer_is_left_alone_whatever_its_log_says_of_its_process() {
    let mut tally = Tally::default();
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    // Not a line is appended while the log is rewritten: with one lane that is not due for a segment.
    let mut writer =
        Writer::start(Setup { folder: folder.path(), run, rank: 0, lane: 0, threads: 1, pause_micros: 1_000 });
    writer.await_records(200);
    for (what, change) in changes() {
        stepwell_tests::forks::send(writer.helper.pid(), libc::SIGSTOP);
        stepwell_tests::forks::wait_until_stopped(writer.helper.pid()).expect("stopped");
        rewrite(folder.path(), run, change);
        assert_eq!(info_of(&look(folder.path()), run).state, RunState::Running, "{what}");
        assert!(open(folder.path()).recovery().writers.is_empty(), "{what}");
        stepwell_tests::forks::send(writer.helper.pid(), libc::SIGCONT);
        writer.await_records(100);
        tally.cases += 1;
    }
    writer.finish();
    let snapshot = check_store(&open(folder.path()), &[(run, RunState::Finished)]);
    writer.count(&LaneRows::read(&snapshot, run).expect("each row once"), &mut tally);
    tally.close("living under a wrong name");
}
