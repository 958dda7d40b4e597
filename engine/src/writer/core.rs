//! What the parts of a writer share: handles, loggers and the sealer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::clock::wall_nanos;
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::event_log::{Durability, EventLog};
use crate::events::{Event, FinishState, GapEvent, WriterStarted};
use crate::fork::{self, ProcessMark};
use crate::journal::{Geometry, Header, JournalFile};
use crate::layout::{Layout, journal_in};
use crate::ring::{GateState, RINGS_MAX};
use crate::run::MetricsArtifact;
use crate::scratch::{self, Scratch};
use crate::storage::{create_folder_unsynced, sync_folder};
use crate::writer::interner::Interner;
use crate::writer::logger::{Logger, Metric, Row, WhenFull};
use crate::writer::ring::{Ring, RingPlace};
use crate::writer::sealer::Sealer;
use crate::writer::sealing::Sealing;

static NEXT_TAG: AtomicU32 = AtomicU32::new(1);

/// What a writer is made from.
pub(crate) struct WriterSetup {
    pub layout: Layout,
    pub config: EngineConfig,
    pub started: WriterStarted,
    pub when_full: WhenFull,
}

/// What closing a writer came to.
pub(crate) struct FinishOutcome {
    pub artifacts: Vec<MetricsArtifact>,
    pub rows: u64,
    pub waits: u64,
    pub drops: u64,
    pub gaps: Vec<GapEvent>,
    pub warnings: Vec<String>,
}

/// One process attached to one run.
pub(crate) struct WriterCore {
    pub(super) layout: Layout,
    pub(super) config: EngineConfig,
    pub(super) started: WriterStarted,
    when_full: WhenFull,
    tag: u64,
    process: ProcessMark,
    interner: RwLock<Interner>,
    rings: Mutex<Rings>,
    /// `None` once the run was finished and its lock let go.
    log: Mutex<Option<EventLog>>,
    /// Losses told so far, for the report at the end.
    gaps: Mutex<Vec<GapEvent>>,
    pub(super) sealing: Mutex<Sealing>,
    closed: AtomicBool,
    /// A file or folder was created whose name may not be on the device.
    unsynced_names: AtomicBool,
    /// `None` when nobody looks after the writer by itself: the simulation ticks it by hand.
    sealer: Option<Arc<Sealer>>,
}

#[derive(Default)]
struct Rings {
    all: Vec<Arc<Ring>>,
    /// Rings whose logger was dropped; the next logger takes one over.
    free: Vec<RingPlace>,
    /// Rings that a logger has.
    in_use: usize,
    /// Number of the next ring.
    next: u32,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WriterCore {
    /// Attaches a writer: creates its event log, says that it started, and hands it to the sealer.
    pub(crate) fn start(setup: WriterSetup) -> Result<Arc<Self>> {
        let sealer = Sealer::of_process().map_err(Error::io("start the sealer thread for", setup.layout.root()))?;
        let core = Self::start_unattended(setup, Some(Arc::clone(&sealer)))?;
        sealer.register(&core);
        Ok(core)
    }

    /// The same without handing it to the sealer.
    pub(crate) fn start_unattended(setup: WriterSetup, sealer: Option<Arc<Sealer>>) -> Result<Arc<Self>> {
        let WriterSetup { layout, config, started, when_full } = setup;
        let log = Self::start_log(&layout, &started)?;
        Ok(Arc::new(Self {
            tag: u64::from(NEXT_TAG.fetch_add(1, Ordering::Relaxed)) << 32,
            process: ProcessMark::own(),
            interner: RwLock::new(Interner::new(config.definition_bytes)),
            rings: Mutex::new(Rings::default()),
            log: Mutex::new(Some(log)),
            gaps: Mutex::new(Vec::new()),
            sealing: Mutex::new(Sealing::new(sealer.is_none())),
            closed: AtomicBool::new(false),
            unsynced_names: AtomicBool::new(true),
            layout,
            config,
            started,
            when_full,
            sealer,
        }))
    }

    /// Creates the event log and the folder of the journals; their names are synced by the sealer, with the first records: a
    /// start waits for no device.
    fn start_log(layout: &Layout, started: &WriterStarted) -> Result<EventLog> {
        let path = layout.events(started.run_id, started.writer);
        let first = Event::WriterStarted(Box::new(started.clone()));
        match &started.journals {
            // Locked before the log has its name: a log whose writer does not hold its lock is never seen.
            Some(folder) => {
                let scratch = Scratch::create(layout, folder)?;
                EventLog::create(layout, &path, first, Some(scratch)).inspect_err(|_| scratch::remove(folder))
            }
            None => {
                let log = EventLog::create(layout, &path, first, None)?;
                create_folder_unsynced(layout.storage(), &started.journal_folder(layout))?;
                Ok(log)
            }
        }
    }

    pub(crate) fn started(&self) -> &WriterStarted {
        &self.started
    }

    pub(crate) fn config(&self) -> &EngineConfig {
        &self.config
    }

    pub(crate) fn when_full(&self) -> WhenFull {
        self.when_full
    }

    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn wake_sealer(&self) {
        if let Some(sealer) = &self.sealer {
            sealer.wake();
        }
    }

    pub(crate) fn interner(&self) -> RwLockReadGuard<'_, Interner> {
        self.interner.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether this is a forked child of the process that owns the writer.
    pub(super) fn is_foreign(&self) -> bool {
        self.process.is_foreign()
    }

    /// Refuses calls in a forked child and after the run was finished.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_foreign() {
            return Err(Error::Forked { parent: self.process.pid });
        }
        if self.is_closed() { Err(Error::RunClosed { run: self.started.run_id }) } else { Ok(()) }
    }

    pub(crate) fn metric(&self, metrics_name: &str, metric: &str) -> Result<Metric> {
        self.check_open()?;
        if let Some(number) = self.interner().get(metrics_name, metric) {
            return Ok(Metric { key: self.tag | u64::from(number) });
        }
        let mut interner = self.interner.write().unwrap_or_else(PoisonError::into_inner);
        let number = interner.intern(self.started.run_id, metrics_name, metric)?;
        Ok(Metric { key: self.tag | u64::from(number) })
    }

    pub(crate) fn row(&self, metrics_name: &str, metrics: &[&str]) -> Result<Row> {
        let keys = metrics.iter().map(|metric| self.metric(metrics_name, metric)).collect::<Result<Arc<[_]>>>()?;
        let mut interner = self.interner.write().unwrap_or_else(PoisonError::into_inner);
        let newest = keys.iter().copied().max_by_key(|metric| metric.key).unwrap_or(Metric { key: self.tag });
        Ok(Row { newest, next_step: interner.next_step(metrics_name)?, metrics: keys })
    }

    /// A logger with a ring of its own: one that a dropped logger left, or a new one.
    pub(crate) fn logger(self: &Arc<Self>) -> Result<Logger> {
        self.check_open()?;
        let mut rings = lock(&self.rings);
        // Again under the lock: a run that is being finished has closed the gates of the rings it saw.
        self.check_open()?;
        let place = match rings.free.pop() {
            Some(place) => place,
            None => RingPlace::beginning(self.add_ring(&mut rings)?),
        };
        rings.in_use += 1;
        drop(rings);
        // It makes the first pages present, while the caller gets on with its own start.
        self.wake_sealer();
        Ok(Logger::new(Arc::clone(self), place))
    }

    fn add_ring(&self, rings: &mut Rings) -> Result<Arc<Ring>> {
        let ring = Arc::new(self.create_ring(rings.next)?);
        rings.next += 1;
        rings.all.push(Arc::clone(&ring));
        Ok(ring)
    }

    /// Has the logger of a ring go on with a new one; `false` when the run was closed meanwhile.
    pub(super) fn replace_ring(&self, old: &Ring) -> Result<bool> {
        let mut rings = lock(&self.rings);
        // Under the lock: a run that is being finished has closed the gates of the rings it saw.
        if self.is_closed() {
            return Ok(false);
        }
        // The folder may have been removed together with the journal. One in scratch carries the lock, and is not made anew.
        if self.started.journals.is_none() {
            create_folder_unsynced(self.layout.storage(), &self.started.journal_folder(&self.layout))?;
        }
        old.move_to(self.add_ring(&mut rings)?);
        let free = std::mem::take(&mut rings.free);
        rings.free = free.into_iter().map(RingPlace::newest).collect();
        Ok(true)
    }

    /// Forgets a ring that was replaced and whose journal was removed.
    pub(super) fn drop_ring(&self, number: u32) {
        // After a power cut it would be there again, and perhaps not readable.
        self.unsynced_names.store(true, Ordering::Release);
        lock(&self.rings).all.retain(|ring| ring.number != number);
    }

    /// After the last logger is gone: no record follows in any ring.
    pub(super) fn note_ends(&self) {
        lock(&self.rings).free.iter().for_each(|place| place.ring.leave(place.index));
    }

    fn create_ring(&self, number: u32) -> Result<Ring> {
        if number >= RINGS_MAX {
            return Err(Error::InvalidSetting {
                setting: "loggers",
                value: number.to_string(),
                fault: "a run cannot have more rings at a time".to_owned(),
            });
        }
        let (run, writer) = (self.started.run_id, self.started.writer);
        let geometry = Geometry { capacity: self.config.ring_records, definitions_bytes: self.config.definition_bytes };
        let salt = crate::ids::random_u64();
        let header = Header { run, writer, ring: number, geometry, salt, created: wall_nanos() };
        let path = journal_in(&self.started.journal_folder(&self.layout), number);
        let ring = Ring::new(JournalFile::create(self.layout.storage(), &path, header)?);
        fork::register_gate(&ring.core.gate);
        self.unsynced_names.store(true, Ordering::Release);
        Ok(ring)
    }

    /// Takes the ring of a dropped logger back.
    pub(crate) fn hand_back(&self, place: RingPlace) {
        if self.is_foreign() {
            return;
        }
        let mut rings = lock(&self.rings);
        rings.in_use -= 1;
        rings.free.push(place.newest());
        drop(rings);
        if self.is_closed() && !self.has_loggers() {
            self.settle();
        }
    }

    pub(super) fn rings(&self) -> Vec<Arc<Ring>> {
        lock(&self.rings).all.clone()
    }

    /// Unmaps the journals now rather than when the last handle of the run goes, which may be at a worse moment.
    pub(super) fn drop_rings(&self) {
        *lock(&self.rings) = Rings::default();
    }

    /// Whether a logger still exists.
    pub(super) fn has_loggers(&self) -> bool {
        lock(&self.rings).in_use > 0
    }

    /// Appends an event to the log of this writer.
    pub(crate) fn append(&self, event: Event, durability: Durability) -> Result<()> {
        let gap = if let Event::Gap(gap) = &event { Some(gap.clone()) } else { None };
        match &mut *lock(&self.log) {
            Some(log) => log.append(event, durability)?,
            None => return Err(Error::RunClosed { run: self.started.run_id }),
        }
        lock(&self.gaps).extend(gap);
        Ok(())
    }

    /// Losses so far, by kind and ring.
    pub(super) fn gaps(&self) -> Vec<GapEvent> {
        let mut gaps = lock(&self.gaps).clone();
        gaps.sort_by_key(|gap| (gap.kind.as_str(), gap.ring));
        gaps
    }

    /// Syncs the folders that hold the journals' names, if any was created since the last time.
    pub(super) fn sync_names(&self) -> Result<()> {
        if self.unsynced_names.swap(false, Ordering::AcqRel) {
            let run = self.started.run_id;
            let journals = self.started.journal_folder(&self.layout);
            let (of_run, all) = (self.layout.run(run), self.layout.runs());
            let in_scratch = self.started.journals.is_some();
            let above = scratch::folders_above(&journals).take(if in_scratch { usize::MAX } else { 1 });
            let mut folders = above.chain([&*of_run, &*all]);
            if let Err(error) = folders.try_for_each(|folder| sync_folder(self.layout.storage(), folder)) {
                self.unsynced_names.store(true, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn sync_log(&self) -> Result<()> {
        lock(&self.log).as_mut().map_or(Ok(()), EventLog::sync)
    }

    /// Closes the run for all handles and loggers; `false` when it was closed before.
    pub(super) fn close(&self) -> bool {
        if self.closed.swap(true, Ordering::AcqRel) {
            return false;
        }
        for ring in self.rings() {
            ring.core.close(GateState::Closed);
        }
        true
    }

    /// Lets the lock on the event log go.
    pub(super) fn release_log(&self) {
        drop(lock(&self.log).take());
    }

    /// Whether the run was finished and settled, and its lock let go.
    pub(super) fn is_released(&self) -> bool {
        lock(&self.log).is_none()
    }

    /// Commits the rest, says how the run ended, and closes it.
    ///
    /// # Errors
    /// [`Error::RunClosed`], [`Error::Forked`].
    pub(crate) fn finish(&self, state: FinishState) -> Result<FinishOutcome> {
        self.check_open()?;
        if !self.close() {
            return Err(Error::RunClosed { run: self.started.run_id });
        }
        Ok(self.finish_closed(state))
    }

    pub(crate) fn path_of(&self, file: &str) -> std::path::PathBuf {
        self.layout.run(self.started.run_id).join(Path::new(file))
    }
}

impl Drop for WriterCore {
    fn drop(&mut self) {
        if !self.is_foreign() {
            self.release_log();
        }
    }
}
