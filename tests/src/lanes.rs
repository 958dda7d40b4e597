//! Lanes: what one thread logs, and what is found of it afterwards.
//!
//! A lane is a metric of its own whose value is a function of lane and step, so that a row which was lost, doubled, moved to
//! another writer or made up is seen as such.

use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::{Run, RunId, Snapshot, WriterId};

use crate::acknowledge::Acknowledgements;
use crate::tally::Tally;
use crate::{METRICS_NAME, metric_of, value_of};

/// Records logged without a pause.
pub const BURST: i64 = 64;

/// Error of a helper program.
pub type Fault = Box<dyn Error + Send + Sync>;

/// One thread's share: which lane, and where it acknowledges.
#[derive(Clone, Copy)]
pub struct Lane<'a> {
    /// Number of the lane.
    pub lane: usize,
    /// The shared page.
    pub page: &'a Acknowledgements,
    /// The counter of this lane on it.
    pub counter: usize,
    /// Pause between two bursts; zero to log as fast as possible.
    pub pause: Duration,
}

impl Lane<'_> {
    /// Logs until `stop`, acknowledging each call that returned.
    ///
    /// # Errors
    /// The first call that failed.
    pub fn log(&self, run: &Run, stop: &AtomicBool) -> Result<(), Fault> {
        let metric = run.metric(METRICS_NAME, &metric_of(self.lane))?;
        let mut log = run.logger()?;
        let mut step = 0;
        while !stop.load(Ordering::Acquire) {
            for _ in 0..BURST {
                log.log(metric, step, value_of(self.lane, step))?;
                step += 1;
                self.page.acknowledge(self.counter, step as u64);
            }
            if !self.pause.is_zero() {
                std::thread::sleep(self.pause);
            }
        }
        Ok(())
    }
}

/// Logs `threads` lanes from `first` on, each from a thread of its own, until `stop`.
///
/// # Errors
/// The first call that failed.
pub fn log_lanes(
    run: &Run,
    page: &Acknowledgements,
    first: usize,
    threads: usize,
    pause: Duration,
    stop: &AtomicBool,
) -> Result<(), Fault> {
    std::thread::scope(|scope| {
        let work = |counter| move || Lane { lane: first + counter, page, counter, pause }.log(run, stop);
        let threads: Vec<_> = (0..threads).map(|counter| scope.spawn(work(counter))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

/// A row as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Sequence number of the writer.
    pub seq: i64,
    /// The step.
    pub step: i64,
    /// Microseconds since the Unix epoch.
    pub time: i64,
    /// Bits of the value.
    pub value_bits: u64,
    /// Its writer.
    pub writer: WriterId,
}

/// The rows of one run, by lane; sorted by sequence number.
#[derive(Default)]
pub struct LaneRows {
    lanes: BTreeMap<usize, Vec<Found>>,
    seen: HashSet<(i32, i32, i64)>,
}

impl LaneRows {
    /// All rows of a run, from segments and journals.
    ///
    /// # Errors
    /// In words: a segment that cannot be read, a row of another writer than its file, and a row whose (rank, attempt,
    /// sequence number) another row has.
    pub fn read(snapshot: &Snapshot, run: RunId) -> Result<Self, String> {
        let mut rows = Self::default();
        for segment in snapshot.segments().iter().filter(|segment| segment.run_id == run) {
            for batch in batches_of(&segment.path)? {
                rows.add(&batch, segment.writer)?;
            }
        }
        for live in snapshot.live().iter().filter(|live| live.run_id == run) {
            rows.add(&live.batch, live.writer)?;
        }
        rows.lanes.values_mut().for_each(|lane| lane.sort_unstable());
        Ok(rows)
    }

    fn add(&mut self, batch: &RecordBatch, writer: WriterId) -> Result<(), String> {
        let metric = batch.column(2).as_dictionary::<Int32Type>();
        let names = metric.values().as_string::<i32>();
        let step = batch.column(3).as_primitive::<Int64Type>();
        let time = batch.column(4).as_primitive::<TimestampMicrosecondType>();
        let value = batch.column(5).as_primitive::<Float64Type>();
        let rank = batch.column(6).as_primitive::<Int32Type>();
        let attempt = batch.column(7).as_primitive::<Int32Type>();
        let seq = batch.column(8).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let name = names.value(metric.keys().value(row) as usize);
            let lane = name.strip_prefix("thread").and_then(|lane| lane.parse().ok());
            let lane: usize = lane.ok_or_else(|| format!("{name:?} is no lane"))?;
            let key = (rank.value(row), attempt.value(row), seq.value(row));
            if (key.0, key.1) != (writer.rank, writer.attempt) {
                return Err(format!("a row of {writer} says (rank, attempt, seq) = {key:?}"));
            }
            if !self.seen.insert(key) {
                return Err(format!("(rank, attempt, seq) = {key:?} is there twice, the second time in {writer}"));
            }
            self.lanes.entry(lane).or_default().push(Found {
                seq: seq.value(row),
                step: step.value(row),
                time: time.value(row),
                value_bits: value.value(row).to_bits(),
                writer,
            });
        }
        Ok(())
    }

    /// The rows of one lane.
    pub fn of(&self, lane: usize) -> &[Found] {
        self.lanes.get(&lane).map_or(&[], Vec::as_slice)
    }

    /// The lanes that have rows.
    pub fn lanes(&self) -> impl Iterator<Item = usize> {
        self.lanes.keys().copied()
    }

    /// Rows of all lanes.
    pub fn rows(&self) -> usize {
        self.seen.len()
    }

    /// Compares a lane with what its thread acknowledged. The one call that was under way at the end may have been
    /// finished, and no other.
    ///
    /// # Panics
    /// When rows of the lane are in another order than they were logged in, or from more than one writer.
    pub fn count(&self, lane: usize, acknowledged: u64, tally: &mut Tally) {
        let found = self.of(lane);
        let mut times = vec![0_u64; acknowledged as usize + 1];
        for row in found {
            let fits = usize::try_from(row.step).ok().and_then(|step| times.get_mut(step));
            match fits {
                Some(count) if row.value_bits == value_of(lane, row.step).to_bits() => *count += 1,
                _ => tally.invented += 1,
            }
        }
        for pair in found.windows(2) {
            assert!(pair[0].step < pair[1].step, "lane {lane}: {pair:?} are not in the order of their calls");
            assert_eq!(pair[0].writer, pair[1].writer, "lane {lane} has rows of two writers");
        }
        tally.acknowledged += acknowledged;
        tally.kept += times.iter().filter(|count| **count > 0).count() as u64;
        tally.invented += times.iter().map(|count| count.saturating_sub(1)).sum::<u64>();
        tally.lost_beyond += times[..acknowledged as usize].iter().filter(|count| **count == 0).count() as u64;
    }

    /// Compares `threads` lanes from `first` on with their page.
    pub fn count_lanes(&self, first: usize, threads: usize, page: &Acknowledgements, tally: &mut Tally) {
        for counter in 0..threads {
            self.count(first + counter, page.of(counter), tally);
        }
    }
}

fn batches_of(path: &Path) -> Result<Vec<RecordBatch>, String> {
    let say = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| say(&error))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build());
    reader.map_err(|error| say(&error))?.map(|batch| batch.map_err(|error| say(&error))).collect()
}
