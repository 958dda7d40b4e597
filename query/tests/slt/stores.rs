//! Writes the runs to a store with the engine, so that their rows lie where a placement says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use stepwell_engine::{Access, ArtifactSpec, CompactOptions, EngineConfig, Metric, Run, RunId, RunOptions, Store};

use crate::spec::{End, File, Logged, RunSpec};
use crate::{digits, made, nanogpt};

/// Records of a ring; half of them have to hold the longest run, or it would become a segment by itself.
const RING_RECORDS: u64 = 1 << 14;

/// Where rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    Live,
    Committed,
    /// The first half of each writer's records committed, the rest live.
    Split,
    /// Committed in three parts, finished, and the segments merged to one.
    Compacted,
}

/// A store with every run, and the processes that still write to it.
pub struct TestStore {
    pub store: Store,
    placement: Placement,
    /// Kept, or the runs would count as died.
    open: Vec<Run>,
    /// Deleted with the store, unless the folder is somebody else's.
    _folder: Option<tempfile::TempDir>,
}

/// Every run, in the order in which they are started.
fn every_run() -> Vec<RunSpec> {
    [nanogpt::runs(), digits::runs(), made::runs()].concat()
}

impl TestStore {
    pub fn new(placement: Placement) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Self::write(placement, folder.path());
        store._folder = Some(folder);
        store
    }

    /// Writes the store into the folder `store` of `folder`, and leaves it there.
    fn write(placement: Placement, folder: &Path) -> Self {
        let mut config = EngineConfig::default();
        config.ring_records = RING_RECORDS;
        config.definition_bytes = 1 << 14;
        // Nothing becomes a segment because of its age while the questions are asked.
        config.segment_age = Duration::from_secs(86_400);
        let store = Store::open_with(folder.join("store"), Access::Create, config).expect("a store");
        let mut open = Vec::new();
        for spec in &every_run() {
            open.extend(write(&store, spec, placement, folder));
        }
        if placement == Placement::Compacted {
            let mut options = CompactOptions::default();
            options.segments_max = 1;
            let report = store.compact(&options, &mut |_, _| ()).expect("compacted");
            assert!(report.failures.is_empty() && !report.compacted.is_empty(), "{report:?}");
        }
        Self { store, placement, open, _folder: None }
    }

    /// Leaves a store with every run in the folder `store` of `folder`, as its processes leave it when they end: killed, where rows
    /// are live, and else finished, after which the store was opened for writing once more, so that the run that died is known to have.
    pub fn keep(placement: Placement, folder: &Path) {
        let mut kept = Self::write(placement, folder);
        kept.check_placement();
        if matches!(placement, Placement::Live | Placement::Split) {
            kept.open.clear();
            return;
        }
        drop(kept);
        Store::open_with(folder.join("store"), Access::Write, EngineConfig::default()).expect("recovered");
    }

    /// Checks that rows lie where the placement says.
    pub fn check_placement(&self) {
        let snapshot = self.store.snapshot().expect("a snapshot");
        let committed: u64 = snapshot.segments().iter().map(|segment| segment.rows).sum();
        let live: u64 = snapshot.live().iter().map(|live| live.batch.num_rows() as u64).sum();
        let all: usize = every_run().iter().flat_map(|run| &run.writers).map(|writer| writer.records.len()).sum();
        assert_eq!(committed + live, all as u64, "every record is there once");
        match self.placement {
            Placement::Live => assert_eq!(committed, 0),
            Placement::Committed => assert_eq!(live, 0),
            Placement::Compacted => {
                assert_eq!(live, 0);
                let segments = snapshot.segments();
                let writers: BTreeSet<_> =
                    segments.iter().map(|segment| (segment.run_id, segment.writer, &segment.metrics_name)).collect();
                assert_eq!(segments.len(), writers.len(), "one segment of each metrics name of a writer");
            }
            Placement::Split => assert!(committed.abs_diff(live) < 500, "{committed} committed, {live} live"),
        }
    }
}

impl Drop for TestStore {
    /// Ends the runs while their folder is there: the sealer would tell on stderr that it is gone.
    fn drop(&mut self) {
        for run in &self.open {
            drop(run.finish());
        }
    }
}

/// Writes one run. Returns its processes, where they are to go on.
fn write(store: &Store, spec: &RunSpec, placement: Placement, folder: &Path) -> Vec<Run> {
    let id = RunId::generate();
    let options = || {
        let mut options = RunOptions::new(spec.pipeline, spec.stage).name(&spec.name).run_id(id);
        for (key, value) in &spec.params {
            options = options.param(key, value.clone());
        }
        for (key, value) in &spec.tags {
            options = options.tag(key, value);
        }
        options
    };
    let mut runs = Vec::new();
    for writer in &spec.writers {
        let run = store.start_run(options().rank(writer.rank)).expect("a run");
        let records = &writer.records[..];
        let (parts, live): (Vec<&[Logged]>, &[Logged]) = match placement {
            Placement::Live => (vec![], records),
            Placement::Committed => (vec![records], &[]),
            Placement::Split => (vec![&records[..records.len() / 2]], &records[records.len() / 2..]),
            Placement::Compacted => (records.chunks(records.len().div_ceil(3).max(1)).collect(), &[]),
        };
        for part in parts {
            log(&run, part);
            let names: BTreeSet<&str> = part.iter().map(|record| record.metrics_name).collect();
            for name in names {
                run.commit(name).expect("committed");
            }
        }
        log(&run, live);
        runs.push(run);
    }
    if runs.is_empty() {
        runs.push(store.start_run(options()).expect("a run"));
    }
    for file in &spec.files {
        link(&runs[0], file, folder);
    }
    match spec.end {
        // Runs that are being written are not compacted.
        End::Open if placement == Placement::Compacted => {
            runs.iter().for_each(|run| drop(run.finish().expect("finished")));
            Vec::new()
        }
        End::Open => runs,
        End::Died => Vec::new(),
        End::Finished => {
            assert!(spec.writers.is_empty(), "finishing would commit what has to stay live");
            runs[0].finish().expect("finished");
            Vec::new()
        }
    }
}

fn log(run: &Run, records: &[Logged]) {
    let mut logger = run.logger().expect("a logger");
    let mut metrics: BTreeMap<(&str, &str), Metric> = BTreeMap::new();
    for record in records {
        let metric = *metrics
            .entry((record.metrics_name, &record.metric))
            .or_insert_with(|| run.metric(record.metrics_name, &record.metric).expect("a metric"));
        logger.log(metric, record.step, record.value).expect("logged");
    }
}

fn link(run: &Run, file: &File, folder: &Path) {
    let path = folder.join(file.name);
    fs::write(&path, file.content).expect("a file");
    let spec = ArtifactSpec::new(file.kind, &path).name(file.name);
    run.log_artifact(file.direction, spec).expect("an artifact");
}
