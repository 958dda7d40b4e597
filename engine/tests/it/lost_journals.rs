//! Journals that are cut off or deleted while they are written to.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stepwell_engine::events::GapKind;
use stepwell_engine::{Access, EngineConfig, Logger, Metric, RunOptions, Store};

use crate::common::{assert_distinct, open, rows, small_config};

/// After this long, what was to happen does not.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Where the slots of a journal of these tests begin: behind header, block table and definitions.
const SLOTS: u64 = 3 * 4096;

fn config() -> EngineConfig {
    let mut config = small_config();
    config.definition_bytes = 4096;
    config.sync_interval = Duration::from_millis(10);
    config
}

/// Journals below a folder, sorted.
fn journals(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(journals(&path));
        } else if path.extension().is_some_and(|extension| extension == "journal") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn cut(journal: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(journal).and_then(|file| file.set_len(bytes)).expect("cut off");
}

fn log(logger: &mut Logger, metric: Metric, steps: std::ops::Range<i64>) {
    for step in steps {
        logger.log(metric, step, step as f64).expect("room");
    }
}

/// Number of the ring that the next record goes to.
fn ring_of(logger: &Logger) -> i64 {
    logger.next_seq() >> 44
}

/// Logs one value after the other from `step` on until `happened`; the step after the last.
fn log_until(
    logger: &mut Logger,
    metric: Metric,
    mut step: i64,
    what: &str,
    happened: impl Fn(&Logger) -> bool,
) -> i64 {
    let start = Instant::now();
    while !happened(logger) {
        assert!(start.elapsed() < WATCHDOG, "{what} never came");
        log(logger, metric, step..step + 1);
        step += 1;
        std::thread::sleep(Duration::from_micros(500));
    }
    step
}

/// Each record that was logged is there as it was, or is told as lost with its exact number. Returns that.
fn check(store: &Store, logged: i64) -> u64 {
    let snapshot = store.snapshot().expect("snapshot");
    let found = rows(&snapshot);
    assert_distinct(&found);
    assert!(found.windows(2).all(|pair| pair[0].step < pair[1].step), "each once, in order");
    for row in &found {
        assert!((0..logged).contains(&row.step) && row.value_bits == (row.step as f64).to_bits(), "{row:?}");
    }
    let gaps = snapshot.gaps().expect("gaps");
    assert!(gaps.iter().all(|gap| gap.gap.kind == GapKind::LostJournal), "{gaps:?}");
    let told: u64 = gaps.iter().map(|gap| gap.gap.records).sum();
    assert_eq!(found.len() as u64 + told, logged as u64, "{gaps:?}");
    told
}

// A journal that another process cut off ended the training process with SIGBUS at its next log call.
#[test]
fn a_journal_that_is_cut_off_costs_what_was_behind_the_cut_and_the_rest_goes_to_a_new_one() {
    for bytes in [0, 1, 4096, 8192, SLOTS, SLOTS + 4096, SLOTS + 2 * 4096 + 32] {
        let folder = tempfile::tempdir().expect("folder");
        let store = open(folder.path(), config());
        let run = store.start_run(RunOptions::new("p", "s")).expect("run");
        let metric = run.metric("m", "loss").expect("metric");
        let mut logger = run.logger().expect("logger");
        log(&mut logger, metric, 0..1000);
        let old = journals(folder.path());
        assert_eq!(old.len(), 1);
        cut(&old[0], bytes);
        let step = log_until(&mut logger, metric, 1000, "a new journal", |logger| ring_of(logger) == 1);
        // More than a ring holds.
        log(&mut logger, metric, step..step + 5000);
        let logged = step + 5000;
        // The old journal is removed once its records are in segments.
        let settled = |logger: &Logger| logger.durable_seq() >> 44 == 1 && !old[0].exists();
        let synced = log_until(&mut logger, metric, logged, "a sync of the new journal", settled);
        assert_eq!(journals(folder.path()).len(), 1);
        let report = {
            drop(logger);
            run.finish().expect("finish")
        };
        assert_eq!((report.rows, report.drops), (synced as u64, 0), "cut to {bytes}");
        assert!(report.warnings.is_empty(), "{report:?}");
        let told = check(&store, synced);
        // Whatever lay in front of the cut is there.
        let kept = bytes.saturating_sub(SLOTS) / 32;
        assert!(told <= (step as u64).saturating_sub(kept), "cut to {bytes}: {told} told");
        assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    }
}

#[test]
fn journals_that_are_cut_off_again_and_again_cost_no_more_than_what_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "loss").expect("metric");
    let mut logger = run.logger().expect("logger");
    let mut step = 0;
    for ring in 0..6 {
        log(&mut logger, metric, step..step + 700);
        step += 700;
        cut(journals(folder.path()).last().expect("a journal"), 0);
        step = log_until(&mut logger, metric, step, "a new journal", |logger| ring_of(logger) > ring);
    }
    drop(logger);
    // A logger that was dropped while its journal was replaced leaves the new one to the next.
    let mut logger = run.logger().expect("logger");
    log(&mut logger, metric, step..step + 10);
    drop(logger);
    let report = run.finish().expect("finish");
    assert_eq!(report.rows, step as u64 + 10);
    assert!(check(&store, step + 10) > 0);
}

#[test]
fn what_an_idle_logger_lost_is_told_when_it_is_dropped() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "loss").expect("metric");
    let mut logger = run.logger().expect("logger");
    log(&mut logger, metric, 0..300);
    cut(&journals(folder.path())[0], 0);
    // It never calls again.
    run.finish().expect("finish");
    drop(logger);
    assert!(journals(folder.path()).is_empty());
    let snapshot = store.snapshot().expect("snapshot");
    let told: u64 = snapshot.gaps().expect("gaps").iter().map(|gap| gap.gap.records).sum();
    assert_eq!(rows(&snapshot).len() as u64 + told, 300);
}

// Everything logged since the last sync interval was lost with the process.
#[test]
fn a_logger_whose_journal_is_deleted_goes_on_with_a_new_one() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = run.metric("m", "loss").expect("metric");
    let mut logger = run.logger().expect("logger");
    log(&mut logger, metric, 0..100);
    std::fs::remove_dir_all(journals(folder.path())[0].parent().expect("a folder")).expect("deleted");
    let step = log_until(&mut logger, metric, 100, "a new journal", |logger| ring_of(logger) == 1);
    run.sync().expect("everything is on the device");
    assert!(logger.durable_seq() >= logger.next_seq());
    log(&mut logger, metric, step..step + 50);
    // Another process sees what is in segments and what is in the new journal.
    let reader = Store::open_with(folder.path(), Access::Read, config()).expect("a reader");
    assert_eq!(check(&reader, step + 50), 0);
    drop(logger);
    run.finish().expect("finish");
    assert_eq!(check(&store, step + 50), 0);
}
