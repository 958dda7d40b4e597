//! The end of a run compacts what its writer left.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use stepwell_engine::{
    Access, CompactOptions, EngineConfig, FinishState, Logger, Run, RunOptions, RunReport, RunState, Store,
};

use crate::common::{open, rows, small_config};

const SEGMENTS: i64 = 12;
const SEGMENT_ROWS: i64 = 50;
const ROWS: u64 = (SEGMENTS * SEGMENT_ROWS) as u64;

/// Logs a run of twelve segments of `train` and eight of `eval`.
fn log_run(store: &Store) -> (Run, Logger) {
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let (loss, other) = (run.metric("train", "loss").expect("metric"), run.metric("eval", "loss").expect("metric"));
    let mut log = run.logger().expect("logger");
    for segment in 0..SEGMENTS {
        for row in 0..SEGMENT_ROWS {
            // Steps go back in each segment.
            let value = if row == 7 { f64::from_bits(0x7ff8_dead_beef_0001) } else { row as f64 / 3.0 };
            log.log(loss, segment * 10 + row, value).expect("logged");
        }
        if segment < 8 {
            log.log(other, segment, 0.5).expect("logged");
        }
        run.commit("train").expect("commit");
    }
    (run, log)
}

fn finish((run, log): (Run, Logger)) -> RunReport {
    drop(log);
    run.finish().expect("finish")
}

fn merged(report: &RunReport) -> Vec<(&str, u64, u64, u64)> {
    let names = report.compacted.iter();
    names.map(|name| (&*name.metrics_name, name.rows, name.segments_before, name.segments_after)).collect()
}

/// The Parquet files of `train`, whether they count or not.
fn files(store: &Store) -> Vec<PathBuf> {
    let run = store.snapshot().expect("snapshot").runs()[0].run_id;
    let listed = std::fs::read_dir(store.layout().run(run).join("train")).expect("folder");
    listed.map(|entry| entry.expect("entry").path()).collect()
}

fn with_bound(rows_max: u64) -> EngineConfig {
    let mut config = small_config();
    config.compact_at_finish_rows_max = rows_max;
    config
}

fn state(store: &Store) -> RunState {
    store.snapshot().expect("snapshot").runs()[0].state
}

fn assert_sound(store: &Store) {
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
}

#[test]
fn a_run_of_many_small_segments_ends_with_one_file() {
    for end in [FinishState::Finished, FinishState::Failed] {
        let folder = tempfile::tempdir().expect("folder");
        let store = open(folder.path(), small_config());
        let (run, log) = log_run(&store);
        let before = rows(&store.snapshot().expect("snapshot"));
        drop(log);
        let report = run.finish_as(end).expect("finish");
        assert_eq!(merged(&report), [("train", ROWS, SEGMENTS as u64, 1)], "eight segments of `eval` are not due");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!(rows(&snapshot), before, "each value, time, step and sequence number, bit by bit");
        assert_eq!(snapshot.segments().len(), 9);
        assert_eq!(files(&store).len(), 1, "whoever reads by a pattern finds each row once");
        let registered = report.artifacts.iter().find(|artifact| artifact.metrics_name == "train").expect("artifact");
        let artifacts = snapshot.artifacts().expect("artifacts");
        let last = artifacts.iter().filter(|artifact| artifact.name.contains("/train:")).max_by_key(|one| one.version);
        assert_eq!(last.expect("indexed").uri, registered.identity.to_string());
        let expected = if end == FinishState::Finished { RunState::Finished } else { RunState::Failed };
        assert_eq!(state(&store), expected);
        assert_sound(&store);
        let again = store.compact(&CompactOptions::default(), &mut |_, _| {}).expect("compact");
        assert!(again.compacted.is_empty() && again.waiting == (0, 0), "nothing is left to do: {again:?}");
        // From the event logs alone it is the same.
        store.reindex().expect("reindex");
        assert_eq!(rows(&store.snapshot().expect("snapshot")), before);
    }
}

#[test]
fn what_is_over_the_bound_is_left_to_the_command() {
    let work = ROWS + SEGMENTS as u64 * 2000;
    for (rows_max, segments) in [(0, SEGMENTS), (work - 1, SEGMENTS), (work, 1)] {
        let folder = tempfile::tempdir().expect("folder");
        let store = open(folder.path(), with_bound(rows_max));
        let report = finish(log_run(&store));
        assert_eq!(report.compacted.len(), usize::from(segments == 1));
        assert_eq!(files(&store).len() as i64, segments, "bound {rows_max}");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    }
}

#[test]
fn a_snapshot_of_this_process_keeps_the_old_files() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let logged = log_run(&store);
    let snapshot = store.snapshot().expect("snapshot");
    let expected = rows(&snapshot);
    let report = finish(logged);
    assert_eq!(merged(&report), [("train", ROWS, SEGMENTS as u64, 1)]);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    assert_eq!(rows(&snapshot), expected, "what the snapshot names is there");
    assert_eq!(files(&store).len() as i64, SEGMENTS + 1);
    assert_eq!(rows(&store.snapshot().expect("snapshot")), expected, "and a later one names the new file");
    drop(snapshot);
    let mut options = CompactOptions::default();
    options.remove_now = true;
    assert_eq!(store.compact(&options, &mut |_, _| {}).expect("compact").removed.0 as i64, SEGMENTS);
    assert_eq!(files(&store).len(), 1);
}

#[test]
fn nothing_is_compacted_while_a_logger_exists_or_time_is_short() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let (run, log) = log_run(&store);
    assert!(run.finish().expect("finish").compacted.is_empty());
    drop(log);
    assert_eq!(files(&store).len() as i64, SEGMENTS);
    assert_eq!(state(&store), RunState::Finished);

    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let (run, log) = log_run(&store);
    drop(log);
    assert!(run.close_as(FinishState::Finished).expect("finish").compacted.is_empty());
    assert_eq!(files(&store).len() as i64, SEGMENTS);
    assert_eq!(state(&store), RunState::Finished);
}

#[test]
fn a_damaged_segment_is_a_warning_and_the_run_is_finished_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let logged = log_run(&store);
    let victim = files(&store).swap_remove(0);
    let mut bytes = std::fs::read(&victim).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, &bytes).expect("written");
    let mut before = files(&store);
    let report = finish(logged);
    assert!(report.compacted.is_empty());
    let [warning] = report.warnings.as_slice() else { panic!("{:?}", report.warnings) };
    assert!(warning.starts_with("small segments were not compacted") && warning.contains("damaged"), "{warning}");
    assert_eq!(state(&store), RunState::Finished);
    let mut after = files(&store);
    before.sort();
    after.sort();
    assert_eq!(after, before, "all files are as they were");
}

// A run goes from one that is written to one of a single file under the eyes of its readers. Other processes read in
// python/tests/test_snapshots.py.
#[test]
fn readers_see_each_row_once_while_runs_end() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || {
            let reader = Store::open_with(folder.path(), Access::Read, small_config()).expect("reader");
            let (mut reads, mut highest) = (0, 0);
            while !stop.load(Ordering::Relaxed) || reads == 0 {
                let found = rows(&reader.snapshot().expect("snapshot"));
                let mut keys: Vec<_> = found.iter().map(|row| (row.value_bits, row.time, row.seq)).collect();
                keys.sort_unstable();
                keys.dedup();
                assert_eq!(keys.len(), found.len(), "no row is there twice");
                assert!(found.len() >= highest, "and none is gone");
                highest = found.len();
                reads += 1;
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        for _ in 0..5 {
            assert_eq!(finish(log_run(&store)).compacted.len(), 1);
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("each row once"));
    });
    assert_eq!(rows(&store.snapshot().expect("snapshot")).len() as u64, 5 * (ROWS + 8));
    assert_sound(&store);
}
