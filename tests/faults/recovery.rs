//! A recovery that is ended at any of its system calls, and done again.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stepwell_engine::events::GapKind;
use stepwell_engine::{Access, RunId, RunOptions, Store};
use stepwell_tests::rows::rows_of;
use stepwell_tests::volume::{memory_folder, run};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

use crate::vanished::journals;

const RING: u64 = 4096;
const RECORDS: i64 = 1_500;
/// Records on one page of a journal.
const HOLE: std::ops::Range<i64> = 256..384;

/// What a power cut left of a writer, besides a journal that lost a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Nothing.
    Journal,
    /// A segment with all records of the journal; the event that names it was lost.
    JournalAndOrphan,
}

/// Leaves a store whose writer died, and whose journal lost a page.
fn dead_writer_with_a_hole(store: &Path, left: Left) -> RunId {
    let mut config = tight_config(RING);
    config.segment_age = Duration::from_secs(3600);
    let opened = Store::open_with(store, Access::Create, config).expect("a store");
    let run = opened.start_run(RunOptions::new("fault", "hole")).expect("a run");
    let metric = run.metric(METRICS_NAME, &metric_of(0)).expect("a metric");
    let mut log = run.logger().expect("a logger");
    (0..RECORDS).for_each(|step| log.log(metric, step, value_of(0, step)).expect("room"));
    let id = run.id();
    let [journal] = journals(store).try_into().expect("one journal");
    let events = opened.layout().events(id, run.writer());
    let before = [&journal, &events].map(|path| std::fs::read(path).expect("what is there"));
    if left == Left::JournalAndOrphan {
        run.commit(METRICS_NAME).expect("a segment");
    }
    // Without `finish`, this is a writer that died.
    drop((log, run, opened));
    for (path, bytes) in [&journal, &events].iter().zip(before) {
        // The sealer may still look at the mapped file: another one takes its place.
        let aside = store.join("aside");
        std::fs::write(&aside, bytes).and_then(|()| std::fs::rename(&aside, path)).expect("put back");
    }
    let file = OpenOptions::new().write(true).open(journal).expect("the journal");
    let slots = file.metadata().expect("its length").len() - RING * 32;
    file.write_all_at(&[0; 4096], slots + HOLE.start as u64 * 32).expect("a page of zeros");
    id
}

/// Recovers in another process that is killed at the `n`-th use of `call`; whether it came that far.
fn recover_and_kill(store: &Path, call: &str, n: u32) -> bool {
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:signal=KILL:when={n}"))
        .arg(env!("CARGO_BIN_EXE_fault-writer"))
        .arg("recover")
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace");
    !status.success()
}

fn check(store: &Path, id: RunId, case: &str) {
    let store = Store::open_with(store, Access::Create, tight_config(RING)).expect("recovered at last");
    assert!(store.recovery().failures.is_empty(), "{case}: {:?}", store.recovery().failures);
    let snapshot = store.snapshot().expect("snapshot");
    let rows = rows_of(&snapshot, id).unwrap_or_else(|fault| panic!("{case}: {fault}"));
    assert_eq!(snapshot.segments().iter().map(|segment| segment.rows).sum::<u64>(), rows.len() as u64, "{case}");
    let steps: BTreeSet<i64> = rows.values().map(|(step, _)| *step).collect();
    assert!(steps.iter().copied().eq((0..RECORDS).filter(|step| !HOLE.contains(step))), "{case}: {}", steps.len());
    let gaps = snapshot.gaps().expect("gaps");
    let told: Vec<_> = gaps.iter().filter(|gap| gap.gap.kind == GapKind::MissingSlots).collect();
    let records: u64 = told.iter().map(|gap| gap.gap.records).sum();
    assert_eq!(records, (HOLE.end - HOLE.start) as u64, "{case}: the hole is told once: {told:?}");
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty(), "{case}");
}

/// Kills recovery at each use of each call, recovers again, and once more; returns how many were killed.
fn kill_everywhere(left: Left) -> u32 {
    let mut cases = 0;
    for call in ["write", "fdatasync", "fsync", "rename", "unlink", "ftruncate", "rmdir"] {
        for n in 1.. {
            let folder = memory_folder();
            let store = folder.path().join("store");
            let id = dead_writer_with_a_hole(&store, left);
            let killed = recover_and_kill(&store, call, n);
            check(&store, id, &format!("{left:?}, {call} {n}"));
            if !killed {
                break;
            }
            cases += 1;
        }
    }
    println!("{left:?}: recoveries killed at their system calls: {cases}");
    cases
}

// Recovery made the segments of a journal known before it told which slots were missing. When it was killed, or the power
// went, in between, the next recovery began above the watermark and never saw the hole: the loss was told nowhere.
#[test]
fn a_recovery_killed_at_any_call_still_tells_what_was_lost() {
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: recovery killed at each of its system calls: {why}");
    }
    assert!(kill_everywhere(Left::Journal) > 10, "strace killed none");
}

// A power cut left a segment without its event, and a journal with part of its rows. Recovery published what the journal
// held, kept the segment aside, and was cut off. The next one found nothing above the watermark, so no row of the segment
// seemed known, and took it up: its rows were there twice, and the merge of the two segments never ended.
#[test]
fn a_recovery_killed_at_any_call_does_not_take_rows_up_twice() {
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: recovery killed at each of its system calls: {why}");
    }
    assert!(kill_everywhere(Left::JournalAndOrphan) > 10, "strace killed none");
}
