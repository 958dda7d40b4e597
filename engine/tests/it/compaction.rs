use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{
    Access, CompactOptions, CompactReport, EngineConfig, Error, RunId, RunOptions, Snapshot, Store, doctor,
};

use crate::common::{TestRow, open, rows, small_config};
use crate::dead::{calm, wait_until_gone};

/// Segments of the run that the tests log: more than are left alone.
const SEGMENTS: i64 = 30;

/// Keeps replaced files for `secs`.
fn config(secs: u64) -> EngineConfig {
    let mut config = small_config();
    config.replaced_grace = Duration::from_secs(secs);
    config.compact_at_finish_rows_max = 0;
    config
}

/// Logs a finished run of `segments` segments of two metrics names, committed after each of them. Steps go back and repeat; values
/// are such as a comparison would lose: NaN with a payload, both zeros, infinities.
fn log_run(store: &Store, segments: i64) -> RunId {
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let train = run.row("train", &["loss", "accuracy", "a/very long name"]).expect("row");
    let eval = run.row("eval", &["loss"]).expect("row");
    let mut log = run.logger().expect("logger");
    let odd = [f64::from_bits(0x7ff8_dead_beef_0001), -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324, 1.0 / 3.0];
    for segment in 0..segments {
        for row in 0..20 {
            let step = segment * 13 + row - 2 * (row % 5);
            let value = odd[(segment + row) as usize % odd.len()];
            log.log_row(&train, step, &[value, segment as f64, row as f64]).expect("logged");
        }
        log.log_row(&eval, segment, &[0.5]).expect("logged");
        run.commit("train").expect("commit");
    }
    drop(log);
    run.finish().expect("finish");
    run.id()
}

fn compact(store: &Store, options: &CompactOptions) -> CompactReport {
    store.compact(options, &mut |_, _| {}).expect("compact")
}

fn files(snapshot: &Snapshot) -> Vec<PathBuf> {
    snapshot.segments().iter().map(|segment| segment.path.clone()).collect()
}

fn assert_sound(store: &Store) {
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
}

/// The metrics artifacts: name, identity, version, rows.
fn artifacts(store: &Store) -> Vec<(String, String, Option<u32>, String)> {
    let artifacts = store.snapshot().expect("snapshot").artifacts().expect("artifacts").into_iter();
    let rows = |artifact: &stepwell_engine::ArtifactInfo| artifact.properties["rows"].to_display();
    artifacts.map(|artifact| (artifact.name.clone(), artifact.uri.clone(), artifact.version, rows(&artifact))).collect()
}

#[test]
fn compaction_keeps_every_row_and_every_identity() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    let run = log_run(&store, SEGMENTS);
    let before = store.snapshot().expect("snapshot");
    let (rows_before, artifacts_before, runs_before) = (rows(&before), artifacts(&store), before.runs().to_vec());
    let (lineage, summary) = (before.lineage().expect("lineage"), before.summary().expect("summary"));
    assert_eq!(before.segments().len() as i64, 2 * SEGMENTS);

    let report = compact(&store, &CompactOptions::default());
    assert!(report.failures.is_empty() && report.skipped.is_empty(), "{report:?}");
    let merged: Vec<_> = report.compacted.iter().map(|name| (name.segments_before, name.segments_after)).collect();
    assert_eq!(merged, [(SEGMENTS as u64, 1), (SEGMENTS as u64, 1)]);
    assert_eq!((report.removed, report.waiting.0), ((0, 0), 2 * SEGMENTS as u64));

    let after = store.snapshot().expect("snapshot");
    assert_eq!(after.segments().len(), 2);
    assert_eq!(rows(&after), rows_before, "each value, time, step and sequence number, bit by bit");
    assert_eq!(artifacts(&store), artifacts_before);
    assert_eq!((after.runs(), after.lineage().expect("lineage")), (&*runs_before, lineage));
    for (old, new) in summary.iter().zip(after.summary().expect("summary")) {
        let facts = |row: &stepwell_engine::SummaryRow| {
            let stats = row.stats.clone();
            let place = |value: stepwell_engine::events::PlacedValue| (value.step, value.time, value.seq);
            let extremes = [stats.min, stats.max].map(|extreme| extreme.map(|extreme| (extreme.value, extreme.step)));
            (stats.metric, stats.count, stats.non_finite, extremes, place(stats.first), place(stats.last))
        };
        assert_eq!((facts(old), &old.metrics_name, old.run_id), (facts(&new), &new.metrics_name, new.run_id));
        assert!(
            (old.stats.sum - new.stats.sum).abs() <= old.stats.sum.abs() * 1e-12,
            "sums may round in another order"
        );
    }
    assert_sorted(&after);
    assert_sound(&store);
    let found = doctor::examine(folder.path(), Some(run), &mut |_, _| {}).expect("doctor");
    assert!(found.findings.is_empty(), "{:?}", found.findings);
}

/// The rows of each metrics name, one segment after another, are in order.
fn assert_sorted(snapshot: &Snapshot) {
    for name in ["train", "eval"] {
        let mut keys: Vec<(String, i64, i64)> = Vec::new();
        for segment in snapshot.segments().iter().filter(|segment| segment.metrics_name == name) {
            let mut part = Vec::new();
            crate::common::read_segment(&segment.path, &mut part);
            keys.extend(part.into_iter().map(|row: TestRow| (row.metric, row.step, row.seq)));
        }
        assert!(keys.is_sorted() && !keys.is_empty(), "{name} is not sorted");
    }
}

#[test]
fn many_rows_become_several_segments_in_order() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    let before = rows(&store.snapshot().expect("snapshot"));
    // 1800 rows of "train": about ten of 200 rows each. Metrics and steps are cut in the middle.
    let mut options = CompactOptions::default();
    options.segment_rows_max = 200;
    let report = compact(&store, &options);
    assert!(report.failures.is_empty(), "{report:?}");
    let after = store.snapshot().expect("snapshot");
    let train: Vec<u64> =
        after.segments().iter().filter(|segment| segment.metrics_name == "train").map(|segment| segment.rows).collect();
    assert!((9..=11).contains(&train.len()), "{train:?}");
    assert!(train.iter().all(|rows| *rows <= 250), "{train:?}");
    assert_eq!(rows(&after), before);
    assert_sorted(&after);
    assert_sound(&store);
}

#[test]
fn compacting_again_changes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    assert_eq!(compact(&store, &CompactOptions::default()).compacted.len(), 2);
    let before = files(&store.snapshot().expect("snapshot"));
    let again = compact(&store, &CompactOptions::default());
    assert!(again.compacted.is_empty() && again.skipped.is_empty() && again.failures.is_empty(), "{again:?}");
    assert_eq!(files(&store.snapshot().expect("snapshot")), before);
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    log_run(&store, SEGMENTS);
    let before = files(&store.snapshot().expect("snapshot"));
    let mut options = CompactOptions::default();
    (options.dry_run, options.remove_now) = (true, true);
    let report = compact(&store, &options);
    let said: Vec<_> = report.compacted.iter().map(|name| (name.segments_after, name.bytes_after)).collect();
    assert_eq!(said, [(1, None), (1, None)]);
    assert_eq!(files(&store.snapshot().expect("snapshot")), before);
}

#[test]
fn only_named_runs_that_have_ended_are_compacted() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    let (first, second) = (log_run(&store, SEGMENTS), log_run(&store, SEGMENTS));
    let living = store.start_run(RunOptions::new("p", "s")).expect("run");
    let metric = living.metric("m", "x").expect("metric");
    let mut log = living.logger().expect("logger");
    for step in 0..SEGMENTS {
        log.log(metric, step, 0.5).expect("logged");
        living.commit("m").expect("commit");
    }
    let mut options = CompactOptions::default();
    options.runs = vec![first, living.id()];
    let report = compact(&store, &options);
    assert!(report.compacted.iter().all(|name| name.run_id == first) && report.compacted.len() == 2);
    let skipped: Vec<_> = report.skipped.iter().map(|skipped| skipped.run_id).collect();
    assert_eq!(skipped, [living.id()], "its writer lives");
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!(snapshot.segments().iter().filter(|segment| segment.run_id == second).count() as i64, 2 * SEGMENTS);
}

#[test]
fn old_files_stay_for_their_grace_period_and_go_with_the_next_opening() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    let old = files(&store.snapshot().expect("snapshot"));
    compact(&store, &CompactOptions::default());
    drop(open(folder.path(), config(600)));
    assert!(old.iter().all(|file| file.exists()), "their grace period has not passed");
    drop(Store::open_with(folder.path(), Access::Read, config(0)).expect("reader"));
    assert!(old.iter().all(|file| file.exists()), "a reader removes nothing");
    let reopened = open(folder.path(), config(0));
    assert!(old.iter().all(|file| !file.exists()), "it has passed");
    assert_eq!(reopened.snapshot().expect("snapshot").segments().len(), 2);
    // The store that was open all the while sees it, too.
    assert_eq!(rows(&store.snapshot().expect("snapshot")).len() as i64, SEGMENTS * 61);
    assert_sound(&store);
    assert_eq!(compact(&store, &CompactOptions::default()).waiting, (0, 0));
}

#[test]
fn a_snapshot_of_this_process_keeps_its_files() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    log_run(&store, SEGMENTS);
    let snapshot = store.snapshot().expect("snapshot");
    let expected = rows(&snapshot);
    let mut options = CompactOptions::default();
    options.remove_now = true;
    let report = compact(&store, &options);
    assert_eq!((report.removed.0, report.waiting.0), (0, 2 * SEGMENTS as u64));
    assert_eq!(rows(&snapshot), expected, "what the snapshot names is there");
    let (old, later) = (files(&snapshot), store.snapshot().expect("snapshot"));
    drop(snapshot);
    let report = compact(&store, &options);
    assert_eq!((report.removed.0, report.waiting.0), (2 * SEGMENTS as u64, 0));
    assert!(old.iter().all(|file| !file.exists()));
    assert_eq!(rows(&later), expected, "one that was taken after the compaction names the new ones");
}

#[test]
fn a_file_that_is_gone_is_told_to_be_compacted() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    let run = log_run(&store, SEGMENTS);
    let old = files(&store.snapshot().expect("snapshot"));
    compact(&store, &CompactOptions::default());
    let snapshot = store.snapshot().expect("snapshot");
    assert!(!old[0].exists(), "there is no grace period");
    let error = stepwell_engine::segment::retired(&old[0]).expect("compaction put others in its place");
    assert!(matches!(&error, Error::SegmentRetired { run: of, .. } if *of == run) && error.is_retryable(), "{error}");
    assert!(stepwell_engine::segment::retired(&files(&snapshot)[0]).is_none(), "this one counts");
    assert!(stepwell_engine::segment::retired(Path::new("/elsewhere/x.parquet")).is_none());
}

#[test]
fn a_damaged_segment_keeps_its_name_as_it_is_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    let (damaged, sound) = (log_run(&store, SEGMENTS), log_run(&store, SEGMENTS));
    let snapshot = store.snapshot().expect("snapshot");
    let victim =
        snapshot.segments().iter().find(|segment| segment.run_id == damaged && segment.metrics_name == "train");
    let victim = victim.expect("a segment").path.clone();
    drop(snapshot);
    let mut bytes = std::fs::read(&victim).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&victim, bytes).expect("written");
    let mut options = CompactOptions::default();
    options.remove_now = true;
    let report = compact(&store, &options);
    let [failure] = report.failures.as_slice() else { panic!("{report:?}") };
    assert!(failure.run_id == damaged && failure.is_corruption && failure.why.contains("is damaged"), "{failure:?}");
    let done: Vec<_> = report.compacted.iter().map(|name| (name.run_id == sound, name.metrics_name.as_str())).collect();
    assert_eq!(done.len(), 3, "{done:?}");
    assert!(done.contains(&(false, "eval")) && done.contains(&(true, "train")) && done.contains(&(true, "eval")));
    let snapshot = store.snapshot().expect("snapshot");
    let left = |name| {
        let of_name =
            |segment: &&stepwell_engine::SegmentInfo| segment.run_id == damaged && segment.metrics_name == name;
        snapshot.segments().iter().filter(of_name).filter(|segment| segment.path.exists()).count() as i64
    };
    assert_eq!((left("train"), left("eval")), (SEGMENTS, 1), "nothing of it is removed");
    let temporary = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".tmp-");
    let entries = std::fs::read_dir(victim.parent().expect("folder")).expect("list");
    assert_eq!(entries.filter(|entry| entry.as_ref().is_ok_and(temporary)).count(), 0);
}

#[test]
fn old_files_stay_when_what_took_their_place_is_damaged() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    let old = files(&store.snapshot().expect("snapshot"));
    compact(&store, &CompactOptions::default());
    let new = files(&store.snapshot().expect("snapshot"));
    File::options().append(true).open(&new[0]).expect("open").write_all(b"x").expect("written");
    let mut options = CompactOptions::default();
    options.remove_now = true;
    let report = compact(&store, &options);
    assert!(report.failures.len() == 1 && report.failures[0].is_corruption && report.removed.0 == 0, "{report:?}");
    assert!(old.iter().all(|file| file.exists()), "they are the only sound copy");
    drop(open(folder.path(), config(0)));
    assert!(old.iter().all(|file| file.exists()), "nor does opening the store remove them");
}

#[test]
fn two_compactions_at_once_do_the_work_once() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    for _ in 0..4 {
        log_run(&store, SEGMENTS);
    }
    let before = rows_by_run(&store);
    let reports: Vec<CompactReport> = std::thread::scope(|scope| {
        let compact_one = || {
            let store = open(folder.path(), config(0));
            compact(&store, &CompactOptions::default())
        };
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(compact_one)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(reports.iter().all(|report| report.failures.is_empty()), "{reports:?}");
    assert_eq!(reports.iter().map(|report| report.compacted.len()).sum::<usize>(), 8, "each name once");
    assert_eq!(rows_by_run(&store), before);
    assert_sound(&store);
}

/// Sorted rows of each run.
fn rows_by_run(store: &Store) -> Vec<Vec<TestRow>> {
    let snapshot = store.snapshot().expect("snapshot");
    let runs = snapshot.runs().iter().map(|run| {
        let mut rows = Vec::new();
        let segments = snapshot.segments().iter().filter(|segment| segment.run_id == run.run_id);
        segments.for_each(|segment| crate::common::read_segment(&segment.path, &mut rows));
        rows.sort();
        rows
    });
    runs.collect()
}

#[test]
fn readers_see_each_row_once_while_runs_are_compacted() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    for _ in 0..6 {
        log_run(&store, SEGMENTS);
    }
    let expected = 6 * SEGMENTS as usize * 61;
    let (stop, reads) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    std::thread::scope(|scope| {
        let read = || {
            // Another store of this process: it has a catalog of its own.
            let reader = Store::open_with(folder.path(), Access::Read, config(0)).expect("reader");
            while !stop.load(Ordering::Relaxed) || reads.load(Ordering::Relaxed) == 0 {
                let snapshot = reader.snapshot().expect("snapshot");
                let mut rows = Vec::new();
                for segment in snapshot.segments() {
                    crate::common::read_segment(&segment.path, &mut rows);
                }
                assert_eq!(rows.len(), expected);
                reads.fetch_add(1, Ordering::Relaxed);
            }
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        let mut options = CompactOptions::default();
        options.remove_now = true;
        for run in store.snapshot().expect("snapshot").runs() {
            options.runs = vec![run.run_id];
            assert_eq!(compact(&store, &options).compacted.len(), 2);
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("each row once"));
    });
    let last = compact(&store, &CompactOptions::default());
    assert_eq!(last.waiting, (0, 0), "no snapshot is left");
}

#[test]
fn the_catalog_is_the_same_whether_it_follows_or_is_built_anew() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    // A second process that saw the run before, and whose catalog knows it as closed.
    let reader = Store::open_with(folder.path(), Access::Read, config(600)).expect("reader");
    reader.snapshot().expect("snapshot");
    compact(&store, &CompactOptions::default());
    assert_eq!(reader.snapshot().expect("snapshot").segments().len(), 2);
    let view = |store: &Store| {
        let snapshot = store.snapshot().expect("snapshot");
        (snapshot.segments().to_vec(), snapshot.runs().to_vec(), snapshot.artifacts().expect("artifacts"))
    };
    let followed = view(&store);
    store.reindex().expect("reindex");
    assert_eq!(view(&store), followed);
    assert_sound(&store);
    // Artifacts say in which segments their rows are now.
    let numbers: Vec<u64> = followed.0.iter().map(|segment| segment.n).collect();
    let train = followed.0.iter().find(|segment| segment.metrics_name == "train").expect("train").n;
    assert!(numbers.iter().all(|n| *n >= 2 * SEGMENTS as u64), "{numbers:?}");
    let named = followed.2.iter().filter(|artifact| artifact.name.contains("/train:"));
    assert!(named.clone().count() as i64 == SEGMENTS);
    for artifact in named {
        assert_eq!(artifact.properties["segments"].to_display(), train.to_string());
    }
}

#[test]
fn an_older_stepwell_refuses_a_compacted_log() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    log_run(&store, SEGMENTS);
    let log = || {
        let run = store.snapshot().expect("snapshot").runs()[0].clone();
        std::fs::read_to_string(store.layout().events(run.run_id, run.writers[0].writer)).expect("log")
    };
    let formats = |text: &str| -> Vec<u64> {
        let line = |line: &str| serde_format(line);
        text.lines().filter_map(line).collect()
    };
    assert_eq!(formats(&log()), [1], "a log without replaced segments is read by every version");
    compact(&store, &CompactOptions::default());
    assert_eq!(formats(&log()), [1, 2], "told once, before the first event that needs it");
}

/// The format that a line says its log has.
fn serde_format(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("\"event\":\"writer_started\",\"format\":")?;
    rest.split(',').next()?.parse().ok()
}

#[test]
fn the_doctor_removes_old_files_and_what_a_compaction_left() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    let run = log_run(&store, SEGMENTS);
    let before = store.snapshot().expect("snapshot");
    let (old, writer) = (files(&before), before.runs()[0].writers[0].writer);
    drop(before);
    compact(&store, &CompactOptions::default());
    let snapshot = store.snapshot().expect("snapshot");
    // A segment of no event whose rows are all in others, as a compaction leaves that dies before its line.
    let mut left = snapshot.segments()[0].path.clone();
    let text = left
        .file_name()
        .expect("name")
        .to_string_lossy()
        .replace(&format!("{writer}-{}-", snapshot.segments()[0].n), &format!("{writer}-500-"));
    left.set_file_name(text);
    std::fs::copy(&snapshot.segments()[0].path, &left).expect("copied");
    drop((snapshot, store));
    let found = doctor::examine(folder.path(), Some(run), &mut |_, _| {}).expect("doctor");
    assert!(found.is_healthy() && found.findings.len() == 1, "{:?}", found.findings);
    let report = doctor::repair(folder.path(), Some(run), &config(0), &mut |_, _| {}).expect("repair");
    assert!(report.is_complete(), "{report:?}");
    assert!(!left.exists());
    // They are a finding, and removed, once their grace period has passed.
    assert!(old.iter().all(|file| file.exists()));
    let store = open(folder.path(), config(0));
    assert!(old.iter().all(|file| !file.exists()));
    assert_sound(&store);
}

#[test]
fn a_compaction_clears_away_what_one_before_left() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(0));
    let run = log_run(&store, SEGMENTS);
    let snapshot = store.snapshot().expect("snapshot");
    let segment = snapshot.segments().iter().find(|segment| segment.metrics_name == "train").expect("train").clone();
    drop(snapshot);
    let of_run = store.layout().run(run);
    let temporary = segment.path.with_file_name(format!(".tmp-{}-77", segment.writer));
    let mark = of_run.join(format!(".tmp-compact-{}", segment.writer));
    let name = segment.path.file_name().expect("name").to_string_lossy();
    let unnamed = segment.path.with_file_name(name.replacen(&format!("-{}-", segment.n), "-90-", 1));
    std::fs::write(&temporary, "half").expect("written");
    std::fs::write(&mark, "").expect("written");
    std::fs::copy(&segment.path, &unnamed).expect("copied");
    let before = rows(&store.snapshot().expect("snapshot"));
    let report = compact(&store, &CompactOptions::default());
    assert_eq!((report.compacted.len(), report.failures.len()), (2, 0), "{report:?}");
    assert!(!temporary.exists() && !mark.exists() && !unnamed.exists());
    assert_eq!(rows(&store.snapshot().expect("snapshot")), before);
    // A mark alone is reason enough to look.
    std::fs::write(&mark, "").expect("written");
    assert!(compact(&store, &CompactOptions::default()).failures.is_empty() && !mark.exists());
    assert_sound(&store);
}

#[test]
fn a_resumed_run_is_compacted_writer_by_writer() {
    let folder = tempfile::tempdir().expect("folder");
    let store = open(folder.path(), config(600));
    let run = log_run(&store, SEGMENTS);
    let resumed = store.start_run(RunOptions::new("p", "s").run_id(run)).expect("resumed");
    let metric = resumed.metric("train", "loss").expect("metric");
    let mut log = resumed.logger().expect("logger");
    for step in 0..SEGMENTS {
        log.log(metric, step, 0.25).expect("logged");
        resumed.commit("train").expect("commit");
    }
    drop(log);
    resumed.finish().expect("finish");
    let before = rows(&store.snapshot().expect("snapshot"));
    assert_eq!(compact(&store, &CompactOptions::default()).compacted.len(), 3);
    let snapshot = store.snapshot().expect("snapshot");
    assert_eq!((snapshot.segments().len(), snapshot.runs().len()), (3, 1));
    assert_eq!(rows(&snapshot), before);
    assert_sound(&store);
}

#[test]
fn a_dead_writer_is_compacted_once_it_was_recovered() {
    let _calm = calm();
    let folder = tempfile::tempdir().expect("folder");
    {
        let store = open(folder.path(), config(600));
        let run = store.start_run(RunOptions::new("p", "s")).expect("run");
        let metric = run.metric("m", "x").expect("metric");
        let mut log = run.logger().expect("logger");
        for step in 0..SEGMENTS {
            log.log(metric, step, step as f64).expect("logged");
            run.commit("m").expect("commit");
        }
        log.log(metric, SEGMENTS, 0.5).expect("in no segment yet");
        // Its handles are dropped and nobody finishes it: the writer is gone.
        drop((log, run));
        wait_until_gone(&store);
    }
    let store = open(folder.path(), config(600));
    assert_eq!(store.recovery().writers.len(), 1);
    let before = (rows(&store.snapshot().expect("snapshot")), store.snapshot().expect("snapshot").runs().to_vec());
    let report = compact(&store, &CompactOptions::default());
    assert_eq!((report.compacted.len(), report.compacted[0].segments_before), (1, SEGMENTS as u64 + 1));
    let after = store.snapshot().expect("snapshot");
    assert_eq!((rows(&after), after.runs().to_vec()), before, "when it ended and how stays as it was");
    assert_sound(&store);
    assert!(open(folder.path(), config(0)).recovery().writers.is_empty());
    assert_sound(&store);
}

#[test]
fn hundreds_of_segments_that_overlap_are_merged() {
    const COUNT: i64 = 400;
    // In memory, where syncs cost nothing: it is the number that counts here.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("folder");
    let store = open(folder.path(), config(600));
    let run = store.start_run(RunOptions::new("p", "s")).expect("run");
    let (row, other) = (run.row("m", &["x", "y"]).expect("row"), run.metric("other", "z").expect("metric"));
    let mut log = run.logger().expect("logger");
    log.log(other, 0, 0.5).expect("logged");
    for step in 0..COUNT {
        // The steps of every second segment go back, so that the segments overlap all over.
        let step = if step % 2 == 0 { step } else { COUNT - step };
        log.log_row(&row, step, &[step as f64, 0.5]).expect("logged");
        // It writes the segments of all names, and registers nothing new.
        run.commit("other").expect("commit");
    }
    drop(log);
    run.finish().expect("finish");
    let before = rows(&store.snapshot().expect("snapshot"));
    let mut options = CompactOptions::default();
    options.segment_rows_max = 300;
    let report = compact(&store, &options);
    assert_eq!((report.compacted[0].segments_before, report.failures.len()), (COUNT as u64, 0), "{report:?}");
    let after = store.snapshot().expect("snapshot");
    assert_eq!(after.segments().len(), 4, "three, and the one of the other name");
    assert_eq!(rows(&after), before);
}
