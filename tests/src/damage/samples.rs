//! The stores that are damaged: made by the engine, with every record known.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use stepwell_engine::catalog::Catalog;
use stepwell_engine::layout::Layout;
use stepwell_engine::{
    Access, ArtifactSpec, CompactOptions, Direction, EngineConfig, Logger, Metric, Run, RunId, RunOptions, Store,
    WriterId,
};

use crate::damage::image::StoreImage;
use crate::value_of;

/// Bits of a sequence number that count the records of a ring (docs/FORMAT.md).
pub const INDEX_BITS: u32 = 44;
/// Bytes of a slot (docs/FORMAT.md).
pub const SLOT_BYTES: usize = 32;

/// The metrics that are logged: metrics name, metric, and the order in which journals define them.
pub const METRICS: [(&str, &str); 3] = [("train", "loss"), ("train", "accuracy"), ("eval", "score")];
/// Stands for a run or metric that nobody logged.
pub const UNKNOWN: u16 = u16::MAX;

/// Number of the run, number of the metric, and sequence number of a record.
pub type Key = (u16, u16, i64);
/// A record: key, step and value bits.
pub type Row = (Key, i64, u64);

/// Number of a metric in [`METRICS`].
pub fn metric_number(metric: &str) -> u16 {
    METRICS.iter().position(|(_, known)| *known == metric).map_or(UNKNOWN, |number| number as u16)
}

/// A store whose records are known.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its files.
    pub image: StoreImage,
    /// Its runs, by their numbers in keys.
    pub runs: Vec<RunId>,
    /// What was logged, sorted.
    pub records: Vec<Row>,
    /// Records of ring 0 with lower numbers are in segments.
    pub committed: u64,
    /// Slots of each ring.
    pub capacity: u64,
}

/// Settings under which nothing happens that the caller did not ask for.
pub fn quiet_config(ring_records: u64) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.ring_records = ring_records;
    config.definition_bytes = 4096;
    config.segment_age = Duration::from_secs(3600);
    config.sync_interval = Duration::from_secs(3600);
    config.replaced_grace = Duration::from_secs(24 * 3600);
    config.compact_at_finish_rows_max = 0;
    config
}

/// Logs known values with one logger, and remembers them.
struct Scribe {
    run: u16,
    log: Logger,
    ring: u32,
    index: u64,
    step: i64,
    steps_back: bool,
    records: Vec<Row>,
}

impl Scribe {
    fn new(number: u16, run: &Run, ring: u32) -> Self {
        let log = run.logger().expect("logger");
        Self { run: number, log, ring, index: 0, step: 0, steps_back: false, records: Vec::new() }
    }

    /// Logs `count` records, the metrics in `range` taking turns.
    fn log(&mut self, metrics: &[Metric], range: Range<usize>, count: u64) {
        for _ in 0..count {
            let number = range.start + self.index as usize % range.len();
            let value = match self.index % 97 {
                13 => f64::from_bits(0x7ff8_0000_0000_0000 | self.index),
                14 => f64::NEG_INFINITY,
                _ => value_of(self.ring as usize, self.step),
            };
            self.log.log(metrics[number], self.step, value).expect("room in the ring");
            let seq = (i64::from(self.ring) << INDEX_BITS) | self.index as i64;
            self.records.push(((self.run, number as u16, seq), self.step, value.to_bits()));
            self.index += 1;
            // Steps go back now and then.
            self.step += if self.steps_back && self.index.is_multiple_of(7) { -3 } else { 1 };
        }
    }
}

/// What the samples say of their process is the same wherever they are made.
fn options() -> RunOptions {
    RunOptions::new("digits", "train").command("python train.py")
}

fn metrics(run: &Run) -> Vec<Metric> {
    METRICS.iter().map(|(name, metric)| run.metric(name, metric).expect("metric")).collect()
}

fn sample(folder: &Path, runs: Vec<RunId>, mut records: Vec<Row>, committed: u64, capacity: u64) -> Sample {
    records.sort_unstable();
    // A copy: its catalog is one file, without a write-ahead log that would cover the damage.
    let copy = folder.with_extension("copy");
    StoreImage::read(folder).and_then(|image| image.write(&copy)).expect("a copy");
    let remove = |suffix| drop(std::fs::remove_file(copy.join(format!("catalog.db{suffix}"))));
    ["", "-wal", "-shm"].into_iter().for_each(remove);
    Catalog::rebuild(&Layout::new(&copy)).expect("catalog");
    ["-wal", "-shm"].into_iter().for_each(remove);
    Sample { image: StoreImage::read(&copy).expect("the store in memory"), runs, records, committed, capacity }
}

/// A dead writer with two rings. Of ring 0, 5,000 records are in segments and 3,500 are not: in a block that was partly
/// recycled, in the last block of the file, which is sealed, and in an open block that lies at the start of the ring. Ring
/// 1 holds 300 records in an open block.
///
/// # Panics
/// When the engine refuses.
pub fn wrapped_journal(folder: &Path) -> Sample {
    let store = Store::open_with(folder, Access::Create, quiet_config(8192)).expect("store");
    let run = store.start_run(options().param("lr", 0.1)).expect("run");
    let metrics = metrics(&run);
    let mut first = Scribe::new(0, &run, 0);
    for _ in 0..2 {
        first.log(&metrics, 2..3, 2500);
        run.commit("eval").expect("commit");
    }
    first.log(&metrics, 0..3, 3500);
    let mut second = Scribe::new(0, &run, 1);
    second.log(&metrics, 0..2, 300);
    run.sync().expect("sync");
    let records = [first.records, second.records].concat();
    let sample = sample(folder, vec![run.id()], records, 5000, 8192);
    run.finish().expect("finish");
    sample
}

/// A dead writer with a small journal and two small segments.
///
/// # Panics
/// When the engine refuses.
pub fn small_journal(folder: &Path) -> Sample {
    let store = Store::open_with(folder, Access::Create, quiet_config(4096)).expect("store");
    let options = options().name("small").param("lr", 0.1).tag("team", "vision");
    let run = store.start_run(options).expect("run");
    let metrics = metrics(&run);
    let mut scribe = Scribe::new(0, &run, 0);
    scribe.steps_back = true;
    scribe.log(&metrics, 0..3, 40);
    run.commit("train").expect("commit");
    scribe.log(&metrics, 0..3, 35);
    let sample = sample(folder, vec![run.id()], scribe.records, 40, 4096);
    run.finish().expect("finish");
    sample
}

/// A dead writer that logged nothing: its files without the catalog, its run, and its id.
///
/// # Panics
/// When the engine refuses.
pub fn idle_writer(folder: &Path) -> (StoreImage, RunId, WriterId) {
    let store = Store::open_with(folder, Access::Create, quiet_config(4096)).expect("store");
    let run = store.start_run(options().param("lr", 0.1)).expect("run");
    let logger = run.logger().expect("logger");
    let sample = sample(folder, vec![run.id()], Vec::new(), 0, 4096);
    drop(logger);
    run.finish().expect("finish");
    (sample.image, run.id(), run.writer())
}

/// Three runs that finished, with segments of two metrics names, parameters, tags, final values and a stored object.
///
/// # Panics
/// When the engine refuses.
pub fn finished_runs(folder: &Path) -> Sample {
    let object = folder.with_extension("object");
    std::fs::write(&object, "pixels\n".repeat(20)).expect("object");
    let (mut runs, mut records) = (Vec::new(), Vec::new());
    let store = Store::open_with(folder, Access::Create, quiet_config(4096)).expect("store");
    for number in 0..3 {
        let options = options().name(format!("run {number}")).param("lr", 0.1);
        let run = store.start_run(options.tag("team", "vision")).expect("run");
        run.log_artifact(Direction::Input, ArtifactSpec::new("Dataset", &object).name("pixels")).expect("artifact");
        let metrics = metrics(&run);
        let mut scribe = Scribe::new(number, &run, 0);
        scribe.log(&metrics, 0..3, 60);
        run.commit("train").expect("commit");
        scribe.log(&metrics, 0..3, 50);
        records.extend(scribe.records);
        let values = BTreeMap::from([("accuracy".to_owned(), 0.9.into())]);
        run.log_execution_metrics("final", values).expect("values");
        drop(scribe.log);
        run.finish().expect("finish");
        runs.push(run.id());
    }
    std::fs::remove_file(&object).expect("object");
    sample(folder, runs, records, u64::MAX, 4096)
}

/// The same, with packs of their segments.
///
/// # Panics
/// When the engine refuses.
pub fn packed_runs(folder: &Path) -> Sample {
    let Sample { image, runs, records, .. } = finished_runs(&folder.with_extension("finished"));
    image.write(folder).expect("the store");
    let mut options = CompactOptions::default();
    options.pack_segments_min = 2;
    let store = Store::open_with(folder, Access::Write, quiet_config(4096)).expect("store");
    let report = store.compact(&options, &mut |_, _| {}).expect("packed");
    assert_eq!(report.packed.len(), 2, "{report:?}");
    sample(folder, runs, records, u64::MAX, 4096)
}

/// A run that finished, whose four segments of one metrics name were merged into three; a segment of another name was not. The
/// files of the four wait to be removed.
///
/// # Panics
/// When the engine refuses.
pub fn compacted_run(folder: &Path) -> Sample {
    compacted(folder, false)
}

/// The same, and the files of the four were removed.
///
/// # Panics
/// When the engine refuses.
pub fn compacted_run_alone(folder: &Path) -> Sample {
    compacted(folder, true)
}

fn compacted(folder: &Path, remove_now: bool) -> Sample {
    const SMALL_ROWS: u64 = 25;
    let store = Store::open_with(folder, Access::Create, quiet_config(4096)).expect("store");
    let run = store.start_run(options().name("compacted").param("lr", 0.1)).expect("run");
    let metrics = metrics(&run);
    let mut scribe = Scribe::new(0, &run, 0);
    scribe.steps_back = true;
    for _ in 0..4 {
        scribe.log(&metrics, 0..2, SMALL_ROWS);
        run.commit("train").expect("commit");
    }
    scribe.log(&metrics, 2..3, 10);
    drop(scribe.log);
    run.finish().expect("finish");
    let mut compact = CompactOptions::default();
    (compact.segments_max, compact.segment_rows_max, compact.remove_now) = (1, 2 * SMALL_ROWS + 10, remove_now);
    let report = store.compact(&compact, &mut |_, _| {}).expect("compacted");
    let merged: Vec<_> = report.compacted.iter().map(|name| (name.segments_before, name.segments_after)).collect();
    assert_eq!((merged, report.failures.len()), (vec![(4, 3)], 0));
    let (removed, waiting) = if remove_now { (4, 0) } else { (0, 4) };
    assert_eq!((report.removed.0, report.waiting.0), (removed, waiting));
    sample(folder, vec![run.id()], scribe.records, u64::MAX, 4096)
}
