//! Compaction of a store whose catalog is in memory and whose journals were in scratch.

use std::process::Stdio;

use stepwell_engine::{Access, RunId, RunState, Store};

use crate::mount::{Mount, Worker, command, command_elsewhere};
use crate::{is_empty, open, state_of, steps};

/// Segments of the run: more than are left alone.
const SEGMENTS: i64 = 12;
const SEGMENT_ROWS: i64 = 200;
const COMPACTED: &str = "merged [(12, 1)] removed 12 skipped [] failed []";

/// Logs a run with many segments; the process that did.
fn write(mount: &Mount, run: RunId) -> Worker {
    let mut writer = Worker::start(command(&mount.store(), &mount.scratch()));
    assert_eq!(writer.ask(&format!("start {run}")), "started");
    for segment in 1..=SEGMENTS {
        assert_eq!(writer.ask(&format!("log {SEGMENT_ROWS}")), format!("logged {SEGMENT_ROWS}"));
        assert_eq!(writer.ask("commit"), format!("committed {}", segment * SEGMENT_ROWS));
    }
    writer
}

/// The rows are what was logged, in as many segments, and all files are what the log says.
fn check(store: &Store, run: RunId, state: RunState, segments: usize) {
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(steps(&snapshot, run), (0..SEGMENTS * SEGMENT_ROWS).collect::<Vec<_>>());
    assert_eq!((state_of(&snapshot, run), snapshot.segments().len()), (state, segments));
    assert!(snapshot.gaps().expect("gaps").is_empty());
    let report = store.verify(&mut |_, _| {}).expect("verify");
    assert!(report.damaged.is_empty() && report.files == segments as u64, "{report:?}");
}

/// Where nothing can be locked, two processes that compact one run could not be told apart: nothing is done.
fn refused_without_locks(mount: &Mount, run: RunId, state: RunState, said: &str) {
    assert!(said.starts_with("merged [] removed 0 skipped [] failed [") && said.contains("could not lock"), "{said}");
    check(&open(mount, Access::Read), run, state, SEGMENTS as usize);
}

#[test]
fn a_run_on_a_mount_is_compacted_once_its_writer_ended() {
    for (has_locks, finishes) in [(true, true), (false, true), (true, false), (false, false)] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let run = RunId::generate();
        let mut writer = write(&mount, run);
        let mut compacting = Worker::start(command(&mount.store(), &mount.scratch()));
        let said = compacting.ask("compact");
        assert!(said.starts_with("merged [] removed 0 skipped [\"its writer is alive"), "{said}");
        check(&open(&mount, Access::Read), run, RunState::Running, SEGMENTS as usize);
        let state = if finishes {
            assert!(writer.ask("finish").starts_with("finished 2400 0 []"));
            assert_eq!(writer.end().code(), Some(7));
            RunState::Finished
        } else {
            writer.kill();
            RunState::Died
        };
        let before = open(&mount, Access::Create);
        check(&before, run, state, SEGMENTS as usize);
        let said = compacting.ask("compact");
        if !has_locks {
            refused_without_locks(&mount, run, state, &said);
            continue;
        }
        assert_eq!(said, COMPACTED);
        // Also to one that was open before.
        check(&before, run, state, 1);
        check(&open(&mount, Access::Read), run, state, 1);
        assert_eq!(compacting.ask("compact"), "merged [] removed 0 skipped [] failed []");
        assert_eq!(compacting.ask("examine"), "0 alive, 0 repairs of []");
        assert!(is_empty(&mount.scratch()));
    }
}

#[test]
fn a_run_that_ended_is_compacted_from_another_machine() {
    for has_locks in [true, false] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let run = RunId::generate();
        let mut writer = write(&mount, run);
        let mut command = command_elsewhere(&mount.store(), &mount.local("nothing"));
        command.stderr(Stdio::null());
        let mut elsewhere = Worker::start(command);
        let said = elsewhere.ask("compact");
        assert!(said.starts_with("merged [] removed 0 skipped [\"its writer is alive"), "{said}");
        assert!(writer.ask("finish").starts_with("finished 2400 0 []"));
        let said = elsewhere.ask("compact");
        if !has_locks {
            refused_without_locks(&mount, run, RunState::Finished, &said);
            continue;
        }
        assert_eq!(said, COMPACTED);
        check(&open(&mount, Access::Create), run, RunState::Finished, 1);
    }
}
