//! A run that has ended and whose segments are due to be merged, and what has to be true of it whatever became of that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stepwell_engine::doctor::{self, Finding, Severity};
use stepwell_engine::{Access, CompactOptions, EngineConfig, RunId, RunOptions, Store};
use stepwell_tests::damage::image::StoreImage;
use stepwell_tests::rows::{Rows, rows_of};
use stepwell_tests::tally::Tally;
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

/// Segments of the run.
pub const SEGMENTS: u64 = 12;
/// Most records of each segment that they become.
pub const NEW_SEGMENT_ROWS: u64 = 1000;

/// After this long, what is left to be compacted is left for good.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run that finished.
pub struct EndedRun {
    store: PathBuf,
    run: RunId,
    rows: Rows,
    /// Its files as they were before anybody compacted.
    before: StoreImage,
}

/// Settings under which segments are closed by commits alone.
pub fn config() -> EngineConfig {
    let mut config = tight_config(16_384);
    config.segment_age = Duration::from_secs(3600);
    config
}

/// All segments of the run are merged, and the files they took the place of are removed. There are several new ones, so that
/// one may fail after another.
pub fn options() -> CompactOptions {
    let mut options = CompactOptions::default();
    (options.remove_now, options.segment_rows_max) = (true, NEW_SEGMENT_ROWS);
    options
}

impl EndedRun {
    /// Writes it into the store at `store`, `segment_rows` records to a segment.
    pub fn write(store: &Path, segment_rows: i64) -> Self {
        let opened = Store::open_with(store, Access::Create, config()).expect("a store");
        let run = opened.start_run(RunOptions::new("fault", "ended")).expect("a run");
        let metric = run.metric(METRICS_NAME, &metric_of(0)).expect("a metric");
        let mut log = run.logger().expect("a logger");
        for step in 0..SEGMENTS as i64 * segment_rows {
            log.log(metric, step, value_of(0, step)).expect("room");
            if (step + 1) % segment_rows == 0 {
                run.commit(METRICS_NAME).expect("a segment");
            }
        }
        drop(log);
        run.finish().expect("finished");
        let snapshot = opened.snapshot().expect("snapshot");
        assert_eq!(snapshot.segments().len() as u64, SEGMENTS);
        let rows = rows_of(&snapshot, run.id()).expect("rows");
        Self { store: store.to_owned(), run: run.id(), rows, before: files_of(store) }
    }

    /// Nothing of the run was changed: its segments are as they were, and no other file is there. Its log may say that events of
    /// a newer format come.
    ///
    /// # Errors
    /// What was changed, in words.
    pub fn check_untouched(&self) -> Result<(), String> {
        let now = files_of(&self.store);
        let paths = |image: &StoreImage| image.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        if paths(&now) != paths(&self.before) {
            return Err(format!("there are other files: {:?}", paths(&now)));
        }
        for (file, before) in now.files.iter().zip(&self.before.files) {
            let added =
                file.bytes.strip_prefix(&*before.bytes).ok_or_else(|| format!("{:?} was changed", file.path))?;
            let added = String::from_utf8_lossy(added);
            if !added.is_empty() && (added.lines().count() > 1 || !added.contains("\"event\":\"writer_started\"")) {
                return Err(format!("added to {:?}: {added}", file.path));
            }
        }
        Ok(())
    }

    /// Each row is there once, as it was logged, for whoever opens the store to read; and all files are what the log says.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let store = Store::open_with(&self.store, Access::Read, config()).map_err(|error| format!("{error:?}"))?;
        let snapshot = store.snapshot().map_err(|error| format!("{error:?}"))?;
        if rows_of(&snapshot, self.run)? != self.rows {
            return Err("the rows are not what they were".to_owned());
        }
        let gaps = snapshot.gaps().map_err(|error| format!("{error:?}"))?;
        let damaged = store.verify(&mut |_, _| {}).map_err(|error| format!("{error:?}"))?.damaged;
        if damaged.is_empty() && gaps.is_empty() { Ok(()) } else { Err(format!("{gaps:?} {damaged:?}")) }
    }

    /// Opens the store anew with a sound disk, checks it, compacts what is left to be, and checks again.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check_and_compact(&self) -> Result<Tally, String> {
        let store = Store::open_with(&self.store, Access::Write, config()).map_err(|error| format!("{error:?}"))?;
        if !store.recovery().failures.is_empty() {
            return Err(format!("{:?}", store.recovery().failures));
        }
        self.check()?;
        // A program that another test starts just now has the locks of this process until its image is loaded: what is locked
        // is left for the next time.
        let start = Instant::now();
        loop {
            let report = store.compact(&options(), &mut |_, _| {}).map_err(|error| format!("{error:?}"))?;
            let is_left = !report.skipped.is_empty() || report.waiting.0 > 0;
            if !report.failures.is_empty() || is_left && start.elapsed() > PATIENCE {
                return Err(format!("{report:?}"));
            }
            if !is_left {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.check()?;
        let named = store.snapshot().map_err(|error| format!("{error:?}"))?.segments().len();
        drop(store);
        let report = doctor::examine(&self.store, None, &mut |_, _| {}).map_err(|error| format!("{error:?}"))?;
        let is_wrong = |finding: &&Finding| finding.severity != Severity::Note;
        if let Some(finding) = report.findings.iter().find(is_wrong) {
            return Err(format!("{finding:?}"));
        }
        if files_of(&self.store).files.len() != named + 1 {
            return Err(format!("more files than the log and {named} segments: {:?}", files_of(&self.store).files));
        }
        let rows = self.rows.len() as u64;
        Ok(Tally { cases: 1, acknowledged: rows, kept: rows, ..Tally::default() })
    }
}

/// Event log and segments.
fn files_of(store: &Path) -> StoreImage {
    StoreImage::read(&store.join("runs")).expect("the files of the run")
}
