//! The doctor, asked about stores that the engine made and a test damaged.

mod catalog;
#[path = "../it/common.rs"]
mod common;
mod interrupted;
mod journals;
mod living;
mod logs;
mod segments;
mod stats;
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use stepwell_engine::doctor::{self, DoctorReport, Finding, FindingKind, RepairReport};
use stepwell_engine::layout::Layout;
use stepwell_engine::{Access, Run, RunId, RunOptions, Store, WriterId};
use tempfile::TempDir;

use common::{TestRow, small_config};

/// Held for writing while a process is started: between fork and exec it has copies of all locked files, whose locks look
/// held in the meantime although their owner let them go.
static STARTING: RwLock<()> = RwLock::new(());

fn while_nothing_starts<T>(work: impl FnOnce() -> T) -> T {
    let _guard = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// A folder with a store in it.
struct Place {
    folder: TempDir,
}

/// One writer of a store.
#[derive(Clone, Copy)]
struct Writer {
    run: RunId,
    writer: WriterId,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("folder") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn layout(&self) -> Layout {
        Layout::new(self.path())
    }

    fn open(&self) -> Store {
        while_nothing_starts(|| common::open(&self.path(), small_config()))
    }

    /// A run that logged 2 x `steps` records and is still open.
    fn start(&self, steps: i64) -> (Store, Run) {
        let store = self.open();
        let run = store.start_run(RunOptions::new("digits", "train").name("best").param("lr", 0.1)).expect("run");
        let row = run.row("m", &["x", "y"]).expect("row");
        let mut log = run.logger().expect("logger");
        for step in 0..steps {
            log.log_row(&row, step, &[step as f64, 0.5]).expect("logged");
        }
        drop(log);
        (store, run)
    }

    /// A run whose writer is gone: its lock is let go, its journal stays.
    fn died(&self, steps: i64) -> Writer {
        self.all_died(&[steps])[0]
    }

    /// Several such runs. The catalog knows them.
    fn all_died(&self, steps: &[i64]) -> Vec<Writer> {
        let runs: Vec<_> = steps.iter().map(|steps| self.start(*steps)).collect();
        runs[0].0.snapshot().expect("a snapshot brings the catalog up to date");
        let writers: Vec<_> = runs.iter().map(|(_, run)| Writer { run: run.id(), writer: run.writer() }).collect();
        drop(runs);
        writers.iter().for_each(|writer| self.wait_for_end(*writer));
        writers
    }

    /// The sealer may hold a run for a moment longer than its handles.
    fn wait_for_end(&self, writer: Writer) {
        let log = fs::File::open(self.log_of(writer)).expect("log");
        while rustix::fs::flock(&log, rustix::fs::FlockOperation::NonBlockingLockShared).is_err() {
            std::thread::yield_now();
        }
    }

    /// A run that was finished after two commits, the second of which covers 100 records more.
    fn finished(&self, steps: i64) -> Writer {
        let (store, run) = self.start(steps);
        run.commit("m").expect("commit");
        let metric = run.metric("m", "x").expect("metric");
        let mut log = run.logger().expect("logger");
        (steps..steps + 100).for_each(|step| log.log(metric, step, 1.0).expect("logged"));
        drop(log);
        run.finish().expect("finish");
        store.snapshot().expect("a snapshot brings the catalog up to date");
        Writer { run: run.id(), writer: run.writer() }
    }

    fn examine(&self) -> DoctorReport {
        while_nothing_starts(|| doctor::examine(&self.path(), None, &mut |_, _| {})).expect("examined")
    }

    fn repair(&self) -> RepairReport {
        while_nothing_starts(|| doctor::repair(&self.path(), None, &small_config(), &mut |_, _| {})).expect("repaired")
    }

    /// Repairs, and makes sure that nothing is left to be found and nothing to be done.
    fn heal(&self) -> RepairReport {
        let report = self.repair();
        assert!(report.is_complete(), "{:?} {:?}", report.failed, report.left().collect::<Vec<_>>());
        let after = self.examine();
        assert!(after.findings.is_empty(), "{:?}", after.findings);
        let again = self.repair();
        assert!(again.done.is_empty() && again.failed.is_empty(), "{again:?}");
        report
    }

    /// The rows, read by a store that is opened for reading.
    fn rows(&self) -> Vec<TestRow> {
        let store = Store::open_with(self.path(), Access::Read, small_config()).expect("open");
        let snapshot = store.snapshot().expect("snapshot");
        let rows = common::rows(&snapshot);
        if snapshot.runs().len() == 1 {
            common::assert_distinct(&rows);
        }
        assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
        rows
    }

    fn log_of(&self, writer: Writer) -> PathBuf {
        self.layout().events(writer.run, writer.writer)
    }

    fn journal_of(&self, writer: Writer) -> PathBuf {
        self.layout().journal(writer.run, writer.writer, 0)
    }

    /// The segments of a run, by their numbers.
    fn segments_of(&self, writer: Writer) -> Vec<PathBuf> {
        let folder = self.layout().run(writer.run).join("m");
        let mut files: Vec<_> = fs::read_dir(folder).expect("list").map(|entry| entry.expect("entry").path()).collect();
        let number =
            |path: &PathBuf| stepwell_engine::layout::SegmentFile::parse(&name_of(path)).expect("a segment's name").n;
        files.sort_by_key(number);
        files
    }

    /// All losses that SQL shows.
    fn gaps(&self) -> Vec<(String, u64)> {
        let store = Store::open_with(self.path(), Access::Read, small_config()).expect("open");
        let gaps = store.snapshot().expect("snapshot").gaps().expect("gaps");
        gaps.iter().map(|gap| (gap.gap.kind.as_str().to_owned(), gap.gap.records)).collect()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("name").to_string_lossy().into_owned()
}

fn kinds(report: &DoctorReport) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn the(report: &DoctorReport, kind: FindingKind) -> &Finding {
    let mut found = report.findings.iter().filter(|finding| finding.kind == kind);
    let finding = found.next().unwrap_or_else(|| panic!("no {} in {:?}", kind.as_str(), report.findings));
    assert!(found.next().is_none(), "{} is there twice", kind.as_str());
    finding
}

/// Changes the bytes of a file.
fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read");
    change(&mut bytes);
    fs::write(path, bytes).expect("write");
}

/// Flips one bit in the middle of a file.
fn flip_middle(path: &Path) {
    damage(path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

/// Damages the line of an event log that holds `text`.
fn damage_line(path: &Path, text: &str) {
    let log = fs::read_to_string(path).expect("log");
    let at = log.find(text).unwrap_or_else(|| panic!("{text} is not in {log}"));
    damage(path, |bytes| bytes[at] ^= 1);
}

#[test]
fn nothing_is_wrong_with_a_sound_store() {
    let place = Place::new();
    place.finished(1000);
    let report = place.examine();
    assert!(report.findings.is_empty() && report.is_healthy(), "{:?}", report.findings);
    assert_eq!((report.files, report.artifacts, report.writers, report.alive), (2, 1, 1, 0));
    assert!(place.heal().done.is_empty());
}

#[test]
fn kinds_have_names_of_their_own() {
    let mut names: Vec<_> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FindingKind::ALL.len());
}
