use std::collections::BTreeMap;

use stepwell_engine::packs::{PackFile, list};
use stepwell_engine::{Access, CompactOptions, CompactReport, EngineConfig, RunId, RunOptions, Store, doctor};

use crate::common::{TestRow, open, read_segment, small_config};

fn config() -> EngineConfig {
    let mut config = small_config();
    config.compact_at_finish_rows_max = 0;
    config
}

/// Logs a run of `segments` segments and two metrics names; values are such as a comparison would lose.
fn log_run(store: &Store, segments: i64) -> stepwell_engine::Run {
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let train = run.row("train", &["loss", "accuracy"]).expect("row");
    let eval = run.row("eval", &["loss"]).expect("row");
    let mut log = run.logger().expect("logger");
    for segment in 0..segments {
        for step in 0..30 {
            let value = if step % 7 == 3 { f64::from_bits(0x7ff8_dead_beef_0001) } else { -0.0 };
            log.log_row(&train, step - segment, &[value, step as f64]).expect("logged");
        }
        log.log_row(&eval, segment, &[f64::INFINITY]).expect("logged");
        run.commit("train").expect("commit");
        run.commit("eval").expect("commit");
    }
    drop(log);
    run
}

fn finished(store: &Store) -> RunId {
    let run = log_run(store, 1);
    run.finish().expect("finish");
    run.id()
}

fn compact(store: &Store, segments_min: usize) -> CompactReport {
    let mut options = CompactOptions::default();
    options.pack_segments_min = segments_min;
    let report = store.compact(&options, &mut |_, _| {}).expect("compact");
    assert!(report.failures.is_empty() && report.not_packed.is_none(), "{report:?}");
    report
}

fn packs(store: &Store) -> Vec<PackFile> {
    list(store.layout().root()).expect("packs")
}

/// The rows of packs or segments, by run, without an order.
fn rows_of<'a>(files: impl Iterator<Item = &'a std::path::Path>) -> Vec<TestRow> {
    let mut rows = Vec::new();
    files.for_each(|file| read_segment(file, &mut rows));
    rows.sort();
    rows
}

#[test]
fn small_segments_of_ended_runs_are_packed_and_stay() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    let runs: Vec<RunId> = (0..5).map(|_| finished(&store)).collect();
    let running = log_run(&store, 1);
    assert!(compact(&store, 6).packed.is_empty(), "too few have ended");
    assert!(packs(&store).is_empty());
    let report = compact(&store, 5);
    let packed: BTreeMap<_, _> =
        report.packed.iter().map(|packed| (packed.metrics_name.as_str(), (packed.segments, packed.rows))).collect();
    assert_eq!(packed, BTreeMap::from([("train", (5, 300)), ("eval", (5, 5))]));
    let snapshot = store.snapshot().expect("snapshot");
    let of_ended = snapshot.segments().iter().filter(|segment| runs.contains(&segment.run_id));
    let files: Vec<_> = of_ended.map(|segment| segment.path.as_path()).collect();
    assert_eq!(files.len(), 10);
    let packs_now = packs(&store);
    assert_eq!(rows_of(packs_now.iter().map(|pack| pack.path.as_path())), rows_of(files.into_iter()));
    assert!(compact(&store, 1).packed.is_empty(), "all are packed");
    assert_eq!(packs(&store), packs_now);
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    running.finish().expect("finish");
    assert_eq!(compact(&store, 1).packed.iter().map(|packed| packed.segments).sum::<u64>(), 2);
}

#[test]
fn a_pack_is_sorted_by_metric_run_and_step() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    (0..3).for_each(|_| _ = finished(&store));
    compact(&store, 1);
    let pack = packs(&store).into_iter().max_by_key(|pack| pack.rows).expect("a pack");
    let mut rows = Vec::new();
    read_segment(&pack.path, &mut rows);
    assert_eq!(rows.len(), 180);
    assert!(rows.is_sorted_by_key(|row| row.metric.clone()), "first by metric");
    // Within a metric, each run begins anew.
    let falls = rows.windows(2).filter(|pair| (&pair[0].metric, pair[0].step) > (&pair[1].metric, pair[1].step));
    assert_eq!(falls.count(), 4);
}

#[test]
fn packs_of_deleted_runs_go_and_many_small_ones_become_one() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    let runs: Vec<RunId> = (0..4).map(|_| finished(&store)).collect();
    compact(&store, 4);
    assert_eq!(packs(&store).len(), 2);
    for run in &runs[..2] {
        std::fs::remove_dir_all(store.layout().run(*run)).expect("deleted");
    }
    let report = compact(&store, 64);
    assert_eq!((report.packs_removed, packs(&store).len()), (2, 0), "half of their rows are nobody's");
    for _ in 0..8 {
        finished(&store);
        compact(&store, 1);
    }
    let of_train = |store: &Store| packs(store).iter().filter(|pack| pack.rows > 20).count();
    assert_eq!(of_train(&store), 8);
    finished(&store);
    let report = compact(&store, 1);
    assert_eq!((report.packs_removed, of_train(&store)), (16, 1));
    let segments: Vec<u64> = packs(&store).iter().map(|pack| pack.segments).collect();
    assert_eq!(segments, [11, 11], "two were left of the first four, and nine came");
}

#[test]
fn a_damaged_pack_is_told_and_removed_and_costs_no_row() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config());
    (0..3).for_each(|_| _ = finished(&store));
    compact(&store, 3);
    let pack = packs(&store).remove(0);
    let damage = || {
        let mut bytes = std::fs::read(&pack.path).expect("a pack");
        bytes[40] ^= 1;
        std::fs::write(&pack.path, bytes).expect("damaged");
    };
    damage();
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert_eq!(damaged.iter().map(|file| &file.path).collect::<Vec<_>>(), [&pack.path]);
    let report = doctor::repair(folder.path(), None, &config(), &mut |_, _| {}).expect("repaired");
    assert!(report.is_complete() && !pack.path.exists(), "{report:?}");
    assert!(doctor::examine(folder.path(), None, &mut |_, _| {}).expect("examined").is_healthy());
    // Whoever compacts makes it anew: the same rows are the same file.
    assert_eq!(compact(&store, 3).packed.len(), 1);
    damage();
    let report = compact(&store, 3);
    assert_eq!((report.packs_removed, report.packed.len()), (0, 1));
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
}

#[test]
fn the_end_of_a_run_packs_once_256_segments_are_in_none() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), small_config());
    for number in 1..=33 {
        let report = log_run(&store, 8).finish().expect("finish");
        assert!(report.warnings.is_empty(), "{:?}", report.warnings);
        let segments: u64 = packs(&store).iter().map(|pack| pack.segments).sum();
        assert_eq!(segments, if number < 32 { 0 } else { 512 }, "after {number} runs");
    }
    let reader = Store::open_with(folder.path(), Access::Read, small_config()).expect("a reader");
    assert!(reader.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
}
