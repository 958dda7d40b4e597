//! The log call.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::clock::RecordClock;
use crate::error::LogError;
use crate::ring::{GateState, NoRoom, Producer, Record};
use crate::writer::core::WriterCore;
use crate::writer::ring::{Ring, RingPlace};

/// Most records written under one look at the ring's room; longer rows are written in parts.
const ROW_PART: usize = 512;

/// A metric of one run, interned once by [`crate::Run::metric`]. Pass it to [`Logger::log`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Metric {
    /// Number of the writer in this process in the upper half, number of the metric in the lower.
    pub(crate) key: u64,
}

/// Metrics of one metrics name that are logged together; made by [`crate::Run::row`].
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) metrics: Arc<[Metric]>,
    /// The metric with the highest number: once it is defined, all are.
    pub(crate) newest: Metric,
    pub(crate) next_step: Arc<AtomicI64>,
}

impl Row {
    /// The next step for callers that give none: counts up from 0 per metrics name and writer.
    pub fn next_step(&self) -> i64 {
        self.next_step.fetch_add(1, Ordering::Relaxed)
    }

    /// Its metrics, in the order in which [`Logger::log_row`] takes their values.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
}

/// What a log call does when the ring is full: the sealer cannot write segments as fast as records come, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Wait for room, at most [`crate::EngineConfig::wait_limit`]; then the record is dropped, counted, and the call
    /// fails with [`LogError::Full`]. Until there is room again, further calls fail at once.
    #[default]
    Wait,
    /// Fail with [`LogError::Full`] at once; the record is counted as dropped.
    Fail,
    /// Drop the record, count it, and succeed.
    DropNewest,
}

/// Outcome of [`Logger::wait_for_room`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomOutcome {
    /// There is room: log again.
    Room,
    /// The records were dropped and counted; go on.
    Dropped,
    /// The records were not taken, and the caller is to be told.
    Refused(LogError),
}

/// Logs from one thread into a ring of its own. `Send`, not `Sync`; made by [`crate::Run::logger`].
///
/// # Durability
/// When a call returns `Ok`, its record survives any death of the process (level L0); it survives power loss after at
/// most the sync interval and the seal deadline (L2).
pub struct Logger {
    producer: Producer,
    /// Upper half of the keys of this writer's metrics.
    tag: u64,
    /// Metrics defined in this ring's journal; their numbers are lower.
    defined: u64,
    clock: RecordClock,
    ring: Arc<Ring>,
    /// Rings it has left, because their journals no longer kept what was stored to them.
    left: Vec<Arc<Ring>>,
    core: Arc<WriterCore>,
    /// A wait has been in vain, and there has been no room since.
    gave_up: Cell<bool>,
    _not_sync: PhantomData<Cell<()>>,
}

impl std::fmt::Debug for Logger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logger")
            .field("ring", &self.ring.number)
            .field("index", &self.producer.index())
            .finish_non_exhaustive()
    }
}

impl Logger {
    pub(crate) fn new(core: Arc<WriterCore>, place: RingPlace) -> Self {
        let RingPlace { ring, index, defined } = place;
        Self {
            producer: Producer::new(&ring.core, index),
            tag: core.tag(),
            defined,
            clock: RecordClock::new(),
            ring,
            left: Vec::new(),
            core,
            gave_up: Cell::new(false),
            _not_sync: PhantomData,
        }
    }

    /// Logs one value at a step.
    ///
    /// # Errors
    /// [`LogError`]; the record was not taken, and a drop is counted.
    ///
    /// # Cost
    /// About 10 ns, nearly all of it the read of the processor's counter: no lock, no allocation, no system call. Every
    /// eighth of a ring the sealer is woken; a full ring is left to [`WhenFull`].
    #[inline]
    pub fn log(&mut self, metric: Metric, step: i64, value: f64) -> Result<(), LogError> {
        let number = metric.key.wrapping_sub(self.tag);
        if (number >= self.defined || !self.producer.has_room()) && !self.prepare(metric, 1)? {
            return Ok(());
        }
        let time = self.clock.now();
        self.put(number, time, step, value);
        Ok(())
    }

    /// Logs the values of a row, in the order of its metrics, under one clock read and one step.
    ///
    /// # Errors
    /// [`LogError`]; none of the row was taken, unless it has more than 512 metrics, and a drop is counted.
    #[inline]
    pub fn log_row(&mut self, row: &Row, step: i64, values: &[f64]) -> Result<(), LogError> {
        if row.metrics.len() != values.len() {
            return Err(LogError::WrongLength);
        }
        if values.len() > ROW_PART {
            return self.log_long_row(row, step, values);
        }
        let time = self.clock.now();
        if !self.has_room_for(row.newest, values.len()) && !self.prepare(row.newest, values.len() as u64)? {
            return Ok(());
        }
        self.put_all(&row.metrics, time, step, values);
        Ok(())
    }

    /// Logs a row in parts that fit between two gates.
    #[cold]
    #[inline(never)]
    fn log_long_row(&mut self, row: &Row, step: i64, values: &[f64]) -> Result<(), LogError> {
        let time = self.clock.now();
        for (metrics, values) in row.metrics.chunks(ROW_PART).zip(values.chunks(ROW_PART)) {
            if self.has_room_for(row.newest, values.len()) || self.prepare(row.newest, values.len() as u64)? {
                self.put_all(metrics, time, step, values);
            }
        }
        Ok(())
    }

    /// Like [`Logger::log_row`], but never waits and counts nothing: on [`LogError::Full`] nothing of the row was
    /// written, and the caller decides, usually by [`Logger::wait_for_room`].
    ///
    /// # Errors
    /// [`LogError`].
    #[inline]
    pub fn try_log_row(&mut self, row: &Row, step: i64, values: &[f64]) -> Result<(), LogError> {
        if row.metrics.len() != values.len() {
            return Err(LogError::WrongLength);
        }
        if !self.has_room_for(row.newest, values.len()) {
            self.try_prepare(row.newest, values.len() as u64)?;
        }
        let time = self.clock.now();
        self.put_all(&row.metrics, time, step, values);
        Ok(())
    }

    /// Like [`Logger::try_log_row`] for metrics given one by one.
    ///
    /// # Errors
    /// [`LogError`].
    #[inline]
    pub fn try_log_pairs(&mut self, step: i64, pairs: &[(Metric, f64)]) -> Result<(), LogError> {
        for (metric, _) in pairs {
            if !self.has_room_for(*metric, pairs.len()) {
                self.try_prepare(*metric, pairs.len() as u64)?;
            }
        }
        let time = self.clock.now();
        for (metric, value) in pairs {
            self.put(metric.key.wrapping_sub(self.tag), time, step, *value);
        }
        Ok(())
    }

    /// Waits until a ring that was full has room for `records`, by the run's [`WhenFull`].
    pub fn wait_for_room(&self, records: u64) -> RoomOutcome {
        self.room_waiter(records).wait()
    }

    /// The wait of [`Logger::wait_for_room`] as a thing of its own, which may wait while the logger is with another
    /// thread: a binding gives up its interpreter's lock meanwhile.
    pub fn room_waiter(&self, records: u64) -> RoomWaiter {
        RoomWaiter {
            index: self.producer.index(),
            records,
            ring: Arc::clone(&self.ring),
            core: Arc::clone(&self.core),
            limit: if self.gave_up.replace(true) { Duration::ZERO } else { self.core.config().wait_limit },
        }
    }

    /// Sequence number of the next record; a higher one when the sealer gives the logger another journal meanwhile, because
    /// this one was lost or cannot be synced.
    pub fn next_seq(&self) -> i64 {
        crate::ring::sequence(self.ring.number, self.producer.index())
    }

    /// Sequence number below which every record of this logger is on the device: it survives power loss (level L2). Records
    /// that were lost with their journal, and told in `gaps`, do not hold it back.
    pub fn durable_seq(&self) -> i64 {
        let ring = self.left.iter().find(|ring| !ring.is_settled()).unwrap_or(&self.ring);
        crate::ring::sequence(ring.number, ring.journal.synced().load(Ordering::Acquire))
    }

    #[inline(always)]
    fn has_room_for(&self, metric: Metric, records: usize) -> bool {
        metric.key.wrapping_sub(self.tag) < self.defined && self.producer.has_room_for(records as u64)
    }

    #[inline(always)]
    fn put_all(&mut self, metrics: &[Metric], time: i64, step: i64, values: &[f64]) {
        let tag = self.tag;
        self.producer.write_all(metrics.iter().zip(values).map(|(metric, value)| {
            let number = metric.key.wrapping_sub(tag) as u32;
            Record { metric: number, time, step, value_bits: value.to_bits() }
        }));
    }

    #[inline(always)]
    fn put(&mut self, number: u64, time: i64, step: i64, value: f64) {
        self.producer.write(&Record { metric: number as u32, time, step, value_bits: value.to_bits() });
    }

    /// Slow path, with the run's policy applied: `Ok(true)` when the records may be written, `Ok(false)` when they were
    /// dropped as asked.
    #[cold]
    #[inline(never)]
    fn prepare(&mut self, metric: Metric, records: u64) -> Result<bool, LogError> {
        loop {
            match self.try_prepare(metric, records) {
                Err(LogError::Full) => match self.wait_for_room(records) {
                    RoomOutcome::Room => {}
                    RoomOutcome::Dropped if self.core.when_full() == WhenFull::DropNewest => return Ok(false),
                    RoomOutcome::Dropped => return Err(LogError::Full),
                    RoomOutcome::Refused(error) => return Err(error),
                },
                Err(error) => return Err(error),
                Ok(()) => return Ok(true),
            }
        }
    }

    /// Slow path without waiting: defines new metrics and moves the gate.
    #[cold]
    #[inline(never)]
    fn try_prepare(&mut self, metric: Metric, records: u64) -> Result<(), LogError> {
        loop {
            match self.producer.state() {
                GateState::Open => {}
                GateState::Moved => {
                    self.move_on();
                    continue;
                }
                state => return Err(closed(state)),
            }
            if metric.key.wrapping_sub(self.tag) >= self.defined {
                self.define(metric)?;
            }
            match self.producer.make_room(records) {
                Ok(moved) => {
                    if moved {
                        self.gave_up.set(false);
                        if self.producer.index() > 0 {
                            self.core.wake_sealer();
                        }
                    }
                    return Ok(());
                }
                Err(NoRoom::Full) => {
                    self.core.wake_sealer();
                    return Err(LogError::Full);
                }
                Err(NoRoom::Closed(GateState::Moved)) => {}
                Err(NoRoom::Closed(state)) => return Err(closed(state)),
            }
        }
    }

    /// Goes on in the ring that took the place of this one.
    fn move_on(&mut self) {
        let RingPlace { ring, index, defined } = self.place().newest();
        self.producer = Producer::new(&ring.core, index);
        self.defined = defined;
        self.left.retain(|ring| !ring.is_settled());
        self.left.push(std::mem::replace(&mut self.ring, ring));
        // The sealer knows the end of the old ring now.
        self.core.wake_sealer();
    }

    fn place(&self) -> RingPlace {
        RingPlace { ring: Arc::clone(&self.ring), index: self.producer.index(), defined: self.defined }
    }

    /// Writes the definitions that this journal lacks, up to all the run knows.
    fn define(&mut self, metric: Metric) -> Result<(), LogError> {
        let interner = self.core.interner();
        let definitions = interner.definitions();
        if metric.key.wrapping_sub(self.tag) >= definitions.len() as u64 {
            return Err(LogError::ForeignMetric);
        }
        for definition in &definitions[self.defined as usize..] {
            let fits = self.ring.journal.define(&definition.metrics_name, &definition.metric);
            debug_assert!(fits, "the interner refuses what does not fit");
            self.defined += 1;
        }
        Ok(())
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        self.core.hand_back(self.place());
    }
}

fn closed(state: GateState) -> LogError {
    if state == GateState::Forked { LogError::Forked } else { LogError::Closed }
}

/// A wait for room in a ring; see [`Logger::room_waiter`].
pub struct RoomWaiter {
    index: u64,
    records: u64,
    ring: Arc<Ring>,
    core: Arc<WriterCore>,
    limit: Duration,
}

impl RoomWaiter {
    /// Waits, at most the configured time; drops and counts the records by the run's policy.
    pub fn wait(self) -> RoomOutcome {
        let counters = &self.ring.journal;
        if self.records > self.ring.capacity() || self.core.when_full() != WhenFull::Wait {
            return self.drop_records();
        }
        if !self.limit.is_zero() {
            counters.waits().fetch_add(1, Ordering::Relaxed);
        }
        let start = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            match self.ring.core.gate.state() {
                GateState::Open => {}
                // The next call goes to the ring that took the place of this one.
                GateState::Moved => return RoomOutcome::Room,
                state => return RoomOutcome::Refused(closed(state)),
            }
            if self.ring.core.room(self.index) >= self.records {
                return RoomOutcome::Room;
            }
            if start.elapsed() >= self.limit {
                return self.drop_records();
            }
            self.core.wake_sealer();
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(1));
        }
    }

    fn drop_records(&self) -> RoomOutcome {
        self.ring.journal.drops().fetch_add(self.records, Ordering::Relaxed);
        match self.core.when_full() {
            WhenFull::Fail => RoomOutcome::Refused(LogError::Full),
            WhenFull::Wait | WhenFull::DropNewest => RoomOutcome::Dropped,
        }
    }
}
