use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread;

use stepwell_engine::{Access, RunOptions, RunState, Store};

use crate::common::{assert_distinct, open, rows, small_config};
use crate::dead::starting;

/// The reader of another process sees what the log call just wrote, and each row once, while segments are committed and
/// slots recycled beneath it.
#[test]
fn a_second_reader_sees_each_row_exactly_once_while_segments_are_committed() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let done = AtomicBool::new(false);
    let logged = AtomicI64::new(0);
    let looks = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = run.logger().expect("logger");
            // On a busy machine the reader may not have got its turn by then.
            let mut step = 0;
            while step < 60_000 || looks.load(Ordering::Acquire) < 5 {
                log.log(metric, step, step as f64).expect("logged");
                step += 1;
                logged.store(step, Ordering::Release);
            }
            done.store(true, Ordering::Release);
        });
        let reader = Store::open_with(folder.path(), Access::Read, small_config()).expect("reader");
        loop {
            let finished = done.load(Ordering::Acquire);
            let before = logged.load(Ordering::Acquire);
            let snapshot = reader.snapshot().expect("snapshot");
            let found = rows(&snapshot);
            assert_distinct(&found);
            assert!(found.len() as i64 >= before, "{} of {before} acknowledged rows seen", found.len());
            assert!(found.iter().enumerate().all(|(index, row)| row.seq == index as i64), "a prefix, without holes");
            assert_eq!(snapshot.runs()[0].state, RunState::Running);
            looks.fetch_add(1, Ordering::Release);
            if finished {
                break;
            }
        }
    });
}

#[test]
fn a_store_copied_while_it_is_written_reads() {
    let folder = tempfile::tempdir().expect("folder");
    let source = folder.path().join("source");
    // No segment is published meanwhile: `cp` lists a folder before it copies it, and would miss one that comes in between.
    let mut config = small_config();
    (config.ring_records, config.segment_rows_max) = (1 << 14, 1 << 14);
    config.segment_age = std::time::Duration::from_secs(3600);
    let store = open(&source, config);
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "x").expect("metric");
    let mut log = run.logger().expect("logger");
    for step in 0..3000 {
        log.log(metric, step, 1.0).expect("logged");
    }
    let copy = folder.path().join("copy");
    // It may tell of a temporary file that got its name meanwhile; what it copied has to do.
    let _starting = starting();
    std::process::Command::new("cp").arg("-r").arg(&source).arg(&copy).status().expect("cp");
    let copied = open(&copy, small_config());
    let snapshot = copied.snapshot().expect("snapshot");
    assert_eq!(rows(&snapshot).len(), 3000);
    assert_eq!(snapshot.runs()[0].state, RunState::Died, "the copy has no writer");
    log.log(metric, 3000, 1.0).expect("the original goes on");
}
