//! Histories of compaction: a finished run of many segments is compacted on a disk that stops, fails and forgets.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::disk::SimDisk;
use super::history::{Fate, History};
use super::random::Random;
use super::readback::{Rows, stored_rows};
use crate::compaction::{
    Age, CompactOptions, CompactReport, LeftName, compact_at_finish, compact_writer, remove_of_writer,
};
use crate::config::EngineConfig;
use crate::events::FinishState;
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, SegmentFile, TEMP_PREFIX, compaction_mark};
use crate::recovery::recover_writer;

/// More operations than a compaction takes, reads among them.
const OPERATIONS: u64 = 5000;
/// Every so many operations a compaction is stopped, or one fails; `STEPWELL_COMPACTION_STRIDE=1` takes each.
const STRIDE: u64 = 23;

/// A finished run, its disk and what it logged.
struct Finished {
    disk: SimDisk,
    run: RunId,
    writer: WriterId,
    rows: Rows,
    config: EngineConfig,
}

/// Logs to four names in two metrics names, in `segments` segments each. Steps go back now and then.
fn finished(seed: u64, segments: u64) -> Finished {
    let mut random = Random::new(seed);
    let disk = SimDisk::new();
    let mut history = History::begin(&disk, &mut random, Fate::Death);
    let core = history.start().expect("a sound disk");
    let mut logger = history.loggers.remove(0);
    for segment in 0..segments {
        for row in 0..4 + random.below(20) {
            let metric = history.metrics[random.below(4) as usize];
            let step = (segment * 10 + row) as i64 - random.below(30) as i64;
            logger.log(metric, step, random.number() as f64).expect("room");
        }
        // A commit writes what there is of every name; half of the versions are of a part of the rows.
        core.commit(if random.coin() { "train" } else { "eval" }).ok();
        history.now += Duration::from_millis(40);
    }
    drop(logger);
    history.loggers.clear();
    core.finish(FinishState::Finished).expect("finished");
    drop(core);
    let (run, writer, config) = (history.run, history.writer, history.config.clone());
    drop(history);
    let (rows, gaps) = stored_rows(&layout_of(&disk), run, writer);
    assert!(rows.len() > 4 * segments as usize && gaps == 0);
    Finished { disk, run, writer, rows, config }
}

fn layout_of(disk: &SimDisk) -> Layout {
    Layout::on(Arc::new(disk.clone()), "/store")
}

fn options(random: &mut Random) -> CompactOptions {
    let names = [1 << 20, 100, 40];
    let segment_rows_max = names[random.below(3) as usize];
    CompactOptions { segments_max: 2, segment_rows_max, ..CompactOptions::default() }
}

/// What a process does that opens the store, compacts it, and removes what is due. A power cut may bring journals back that the end
/// of the run had removed; that is for recovery to see.
fn compact_and_remove(layout: &Layout, of: &Finished, options: &CompactOptions) -> CompactReport {
    let mut report = CompactReport::default();
    let names: BTreeSet<String> = ["train", "eval"].map(str::to_owned).into();
    let _ = recover_writer(layout, &of.config, of.run, of.writer);
    let _ = compact_writer(layout, options, (of.run, of.writer), &names, &mut report);
    let _ = remove_of_writer(layout, of.run, of.writer, Age::Any);
    report
}

/// The first compaction of the run: that of whoever opens the store, or of the end of the run itself. How many names it compacted.
fn compact_first(layout: &Layout, of: &Finished, options: &CompactOptions, at_finish: bool) -> usize {
    if !at_finish {
        return compact_and_remove(layout, of, options).compacted.len();
    }
    // As above: the names of the journals, which the end of the run removed, may not be gone from the device.
    let _ = recover_writer(layout, &of.config, of.run, of.writer);
    let left = ["train", "eval"].map(|name| LeftName { name: name.to_owned(), segments: 9, rows: 0 });
    compact_at_finish(layout, u64::MAX, (of.run, of.writer), left.into()).compacted.len()
}

/// The segments and temporary files in the folders of the metrics names.
fn files(layout: &Layout, run: RunId) -> Vec<String> {
    let mut files = Vec::new();
    for folder in ["train", "eval"] {
        let listed = layout.storage().list(&layout.run(run).join(folder)).expect("a folder");
        files.extend(listed.into_iter().map(|entry| entry.name));
    }
    files
}

/// Each row is there once; a compaction that nothing disturbs leaves the segments that count, and nothing else.
fn check(disk: &SimDisk, of: &Finished, options: &CompactOptions, case: &str) {
    let layout = layout_of(disk);
    let (rows, gaps) = stored_rows(&layout, of.run, of.writer);
    assert!(rows == of.rows && gaps == 0, "{case}: {} rows of {}", rows.len(), of.rows.len());
    let report = compact_and_remove(&layout, of, options);
    assert!(report.failures.is_empty() && report.skipped.is_empty(), "{case}: {report:?}");
    let (rows, _) = stored_rows(&layout, of.run, of.writer);
    assert!(rows == of.rows, "{case}, compacted: {} rows of {}", rows.len(), of.rows.len());
    let left = files(&layout, of.run);
    assert!(left.iter().all(|name| !name.starts_with(TEMP_PREFIX)), "{case}: {left:?}");
    let numbers: BTreeSet<u64> = left.iter().filter_map(|name| SegmentFile::parse(name)).map(|file| file.n).collect();
    assert_eq!(numbers.len(), left.len(), "{case}: a number is given twice: {left:?}");
    assert!(!layout.storage().exists(&compaction_mark(&layout, of.run, of.writer)), "{case}: a mark is left");
    let path = layout.events(of.run, of.writer);
    let contents = crate::event_log::read_log(&layout, &path).expect("log");
    let manifest = crate::manifest::Manifest::of(&contents, &path).expect("manifest");
    assert_eq!(manifest.segments.len(), left.len(), "{case}: files that do not count are left: {left:?}");
}

/// A compaction that could not go on has removed what it had written, or its event names it.
fn check_cleared(layout: &Layout, of: &Finished, case: &str) {
    let left = files(layout, of.run);
    assert!(left.iter().all(|name| !name.starts_with(TEMP_PREFIX)), "{case}: {left:?}");
    let path = layout.events(of.run, of.writer);
    let contents = crate::event_log::read_log(layout, &path).expect("log");
    let manifest = crate::manifest::Manifest::of(&contents, &path).expect("manifest");
    let orphans = crate::orphans::find(layout, of.run, of.writer, &manifest).expect("folders");
    assert!(orphans.is_empty(), "{case}: segments that no event names are left: {left:?}");
}

/// Stops compactions after each of their operations, more than once, and lets the process die or the power be cut.
fn stop_everywhere(power_cut: bool) -> u64 {
    let mut cases = 0;
    for seed in 0..super::number("STEPWELL_COMPACTIONS", 3) {
        // The end of every second run compacts it itself.
        let at_finish = seed % 2 == 1;
        let of = finished(seed, segments(seed));
        for stop in (seed..OPERATIONS).step_by(stride()) {
            let mut random = Random::new(seed << 32 | stop);
            let options = options(&mut random);
            let mut disk = of.disk.after_death();
            disk.stop_after(stop);
            let compacted = compact_first(&layout_of(&disk), &of, &options, at_finish);
            let whole = !disk.has_stopped();
            assert!(!whole || compacted == 2, "{compacted} names are compacted where nothing stops it");
            loop {
                disk = if power_cut { disk.after_power_cut(&mut random) } else { disk.after_death() };
                if random.coin() {
                    break;
                }
                disk.stop_after(random.below(60));
                compact_and_remove(&layout_of(&disk), &of, &options);
            }
            check(&disk, &of, &options, &format!("seed {seed}, stopped after {stop}, {options:?}"));
            cases += 1;
            if whole {
                break;
            }
            assert!(stop + STRIDE < OPERATIONS, "a compaction takes more operations");
        }
    }
    cases
}

/// Segments of each name; those of every second run are as many as the end of a run compacts.
fn segments(seed: u64) -> u64 {
    if seed % 2 == 1 { 9 + seed % 5 } else { 4 + seed % 5 }
}

fn stride() -> usize {
    super::number("STEPWELL_COMPACTION_STRIDE", STRIDE) as usize
}

#[test]
fn a_compaction_that_dies_after_any_operation_leaves_each_row_once() {
    println!("simulated compactions: {} deaths, each row there once", stop_everywhere(false));
}

#[test]
fn a_power_cut_after_any_operation_of_a_compaction_leaves_each_row_once() {
    println!("simulated compactions: {} power cuts, each row there once", stop_everywhere(true));
}

#[test]
fn an_operation_of_a_compaction_that_fails_loses_nothing() {
    let mut cases = 0;
    for seed in 0..super::number("STEPWELL_COMPACTIONS", 3) {
        let at_finish = seed % 2 == 1;
        let of = finished(seed, segments(seed));
        'operations: for operation in (seed..OPERATIONS).step_by(stride()) {
            for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
                let mut random = Random::new(seed << 32 | operation);
                let options = options(&mut random);
                let disk = of.disk.after_death();
                disk.fail_after(operation, kind);
                compact_first(&layout_of(&disk), &of, &options, at_finish);
                let is_over = !disk.take_failure();
                let case = format!("seed {seed}, operation {operation} failed with {kind:?}");
                let (rows, _) = stored_rows(&layout_of(&disk), of.run, of.writer);
                assert!(rows == of.rows, "{case}: {} rows of {}", rows.len(), of.rows.len());
                check_cleared(&layout_of(&disk), &of, &case);
                // What a failed sync left in the page cache may be gone, too.
                let disk = if random.coin() { disk.after_power_cut(&mut random) } else { disk.after_death() };
                check(&disk, &of, &options, &case);
                cases += 1;
                // The compaction has ended before.
                if is_over {
                    break 'operations;
                }
            }
        }
    }
    println!("simulated compactions: {cases} failures, each row there once");
}
