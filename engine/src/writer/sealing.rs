//! What the sealer does with the rings of a writer: seal blocks, sync them, turn records into segments.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use crate::batch::{Batcher, NamedRows};
use crate::error::{Error, Result, with_causes};
use crate::event_log::Durability;
use crate::events::{Event, GapEvent, GapKind, SegmentRecord, SegmentsEvent, Watermark};
use crate::fail_point;
use crate::journal::BLOCK_SLOTS;
use crate::ring::SlotContent;
use crate::segment::{Identity, SegmentContext, write_segment};
use crate::storage::remove_file;
use crate::writer::broken::{Broken, lost_gap};
use crate::writer::core::WriterCore;
use crate::writer::ring::Ring;

/// Blocks whose pages the sealer makes present ahead of the producer in its first lap.
const POPULATE_AHEAD_BLOCKS: u64 = 64;
/// Pause after a segment could not be written, before it is tried again.
const RETRY_SECS: u64 = 1;

/// The sealer's view of a writer.
pub(crate) struct Sealing {
    pub(super) progress: BTreeMap<u32, Progress>,
    pub(super) names: BTreeMap<String, NameState>,
    next_segment: u64,
    /// Rows of each metric, by its number, in the set of segments written last.
    rows_of_metrics: Vec<usize>,
    last_sync: Instant,
    retry_at: Option<Instant>,
    /// The event log could not be synced: segments are no longer known to be durable, so the journal is kept.
    keep_journal: bool,
    /// Journals that were replaced.
    pub(super) replaced: u32,
    /// No journal is replaced before.
    pub(super) replace_at: Option<Instant>,
    /// Records, waits and drops of rings that were replaced and are gone.
    pub(super) gone: (u64, u64, u64),
    pub(super) rows_committed: u64,
    pub(super) segments: u64,
    pub(super) syncs: u64,
    /// `finish` has said in the event log how the run ended; from here on the last logger to go may settle it.
    pub(super) ended: bool,
    /// The event log says how the run ended.
    pub(super) end_told: bool,
    /// Records logged, waits and drops, once the rings are gone.
    pub(super) final_totals: Option<(u64, u64, u64)>,
    /// Kinds of trouble that were told on stderr already.
    told: Vec<&'static str>,
    /// Trouble is not told on stderr: thousands of simulated disks fail in one test.
    quiet: bool,
}

/// How far one ring has come. Indices of records.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// First index without a record when the ring was last looked at.
    pub head: u64,
    /// Blocks below are sealed; a multiple of a block.
    sealed: u64,
    /// Records below are in segments.
    pub committed: u64,
    /// Pages below are present; grows during the first lap only.
    populated: u64,
    /// When the oldest record in no segment was first seen.
    pending_since: Option<Instant>,
    /// The open block and when its first record was seen.
    open_since: Option<(u64, Instant)>,
    /// Why the journal no longer keeps what is stored to it.
    pub broken: Option<Broken>,
    /// Slots below that hold no record were told.
    told: u64,
    /// Records dropped, as the journal counted them when it was last looked at.
    drops: u64,
    /// Records dropped that were told.
    pub drops_told: u64,
    /// The ring was replaced, and its journal is removed. Somebody who has waited for the sealer may still hold the ring.
    pub gone: bool,
}

/// What is known of one metrics name.
#[derive(Default)]
pub(super) struct NameState {
    pub identity: Identity,
    /// Number and path of each segment.
    pub segments: Vec<(u64, PathBuf)>,
    /// The last commit, and how many records it covered.
    pub committed: Option<(crate::run::MetricsArtifact, u64)>,
}

impl Sealing {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            progress: BTreeMap::new(),
            names: BTreeMap::new(),
            next_segment: 0,
            rows_of_metrics: Vec::new(),
            last_sync: Instant::now(),
            retry_at: None,
            keep_journal: false,
            replaced: 0,
            replace_at: None,
            gone: (0, 0, 0),
            rows_committed: 0,
            segments: 0,
            syncs: 0,
            ended: false,
            end_told: false,
            final_totals: None,
            told: Vec::new(),
            quiet,
        }
    }

    /// Whether a ring was replaced, and is counted in `gone`.
    pub(super) fn is_gone(&self, ring: &Ring) -> bool {
        self.progress.get(&ring.number).is_some_and(|progress| progress.gone)
    }

    /// Tells of trouble on stderr, once per kind and writer.
    pub(super) fn tell(&mut self, kind: &'static str, text: &str) {
        if !self.quiet && !self.told.contains(&kind) {
            self.told.push(kind);
            // `eprintln!` would panic when stderr is a file on the very disk that is full.
            let _ = writeln!(std::io::stderr(), "stepwell: {text}");
        }
    }
}

impl WriterCore {
    pub(super) fn sealing(&self) -> MutexGuard<'_, Sealing> {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at all rings, by the sealer thread.
    pub(crate) fn tick(&self, now: Instant) {
        let rings = self.rings();
        let mut sealing = self.sealing();
        if self.is_closed() {
            return;
        }
        let mut due = false;
        let mut pending = 0;
        for ring in &rings {
            let progress = sealing.progress.entry(ring.number).or_default();
            progress.look(ring, now);
            let waiting = progress.head - progress.committed;
            pending += waiting;
            let aged = progress.pending_since.is_some_and(|since| now - since >= self.config.segment_age);
            due |= waiting >= ring.capacity() / 2 || aged;
        }
        let is_sync_due = now - sealing.last_sync >= self.config.sync_interval;
        self.find_broken(&mut sealing, &rings, is_sync_due);
        if is_sync_due {
            // A failure was told, and shows in the position that is reported as durable.
            let _ = self.sync_rings(&mut sealing, &rings, Some(now));
            sealing.last_sync = now;
        }
        due |= pending >= self.config.segment_rows_max;
        due |= self.replace_broken(&mut sealing, &rings, now, is_sync_due);
        if due && sealing.retry_at.is_none_or(|at| now >= at) {
            match self.write_segments(&mut sealing, &rings) {
                Ok(()) => sealing.retry_at = None,
                Err(error) => {
                    let text = format!(
                        "run {}: {}; the records stay in the journal, and it is tried again",
                        self.started.run_id,
                        with_causes(&error)
                    );
                    sealing.tell("segment", &text);
                    sealing.retry_at = Some(now + std::time::Duration::from_secs(RETRY_SECS));
                }
            }
        }
        if due || is_sync_due {
            self.drop_replaced(&mut sealing, &rings);
        }
    }

    /// After a tick that panicked: the records stay in the journal, and writing them is tried again later.
    pub(crate) fn rest_after_panic(&self) {
        let mut sealing = self.sealing();
        sealing.retry_at = Some(Instant::now() + std::time::Duration::from_secs(60 * RETRY_SECS));
        let text = format!("run {}: sealing failed; its records stay in the journal", self.started.run_id);
        sealing.tell("panic", &text);
    }

    /// Syncs the journals. With `now`, only what the seal deadline asks for: full blocks, and an open block whose first
    /// record has waited that long. Without, everything. A journal that cannot be synced is not tried again: the kernel may
    /// have dropped the error with the data. Its records become durable as segments.
    ///
    /// # Errors
    /// What leads to the journals cannot be synced.
    fn sync_rings(&self, sealing: &mut Sealing, rings: &[Arc<Ring>], now: Option<Instant>) -> Result<()> {
        fail_point::reach("sync.begin");
        // First what leads to the journals: a record that cannot be found after a power cut is not durable.
        let reached = self.sync_names().and_then(|()| self.sync_log());
        if let Err(error) = &reached {
            sealing.keep_journal |= matches!(error, Error::SyncFailed { .. });
            sealing.tell("sync", &format!("run {}: {}", self.started.run_id, with_causes(error)));
        }
        fail_point::reach("sync.log");
        for ring in rings {
            let Some(progress) = sealing.progress.get_mut(&ring.number) else { continue };
            let open_due = now.is_none_or(|now| {
                progress.open_since.is_some_and(|(_, since)| now - since >= self.config.seal_deadline)
            });
            let to = if open_due { progress.head } else { progress.sealed };
            // A block that was synced while it was open is synced again from its start once more records are in it.
            let from = ring.journal.synced().load(Ordering::Relaxed).max(progress.committed);
            if to <= from || progress.broken.is_some() || reached.is_err() {
                continue;
            }
            match ring.journal.sync(from, to) {
                // A page that was lost is none of the file's, and has nothing to sync.
                Ok(()) if ring.journal.is_lost() => progress.broken = Some(Broken::Lost),
                Ok(()) => {
                    sealing.syncs += 1;
                    ring.journal.synced().store(to, Ordering::Release);
                }
                Err(source) => {
                    progress.broken = Some(Broken::Unsynced);
                    let error = Error::SyncFailed { path: ring.journal.path().to_owned(), source };
                    let text = format!(
                        "run {}: {}; its records become segments, and new ones go to a new journal",
                        self.started.run_id,
                        with_causes(&error)
                    );
                    sealing.tell("journal sync", &text);
                }
            }
            fail_point::reach("sync.journal");
        }
        fail_point::reach("sync.end");
        reached
    }

    /// Syncs everything logged so far.
    pub(crate) fn sync(&self) -> Result<()> {
        self.check_open()?;
        let rings = self.rings();
        let mut sealing = self.sealing();
        let mut logged = Vec::new();
        for ring in &rings {
            let progress = sealing.progress.entry(ring.number).or_default();
            progress.look(ring, Instant::now());
            logged.push(progress.head);
        }
        self.find_broken(&mut sealing, &rings, true);
        self.sync_rings(&mut sealing, &rings, None)?;
        let reached = || {
            let durable = rings.iter().map(|ring| ring.journal.synced().load(Ordering::Acquire));
            durable.zip(&logged).all(|(durable, logged)| durable >= *logged)
        };
        if !reached() && !sealing.keep_journal {
            self.write_segments(&mut sealing, &rings)?;
        }
        if reached() && !sealing.keep_journal {
            return Ok(());
        }
        let path = self.started.journal_folder(&self.layout);
        Err(Error::SyncFailed { path, source: std::io::Error::other("an earlier or this sync failed") })
    }

    /// Turns every record in the rings into segments.
    pub(super) fn write_segments(&self, sealing: &mut Sealing, rings: &[Arc<Ring>]) -> Result<()> {
        for ring in rings {
            let progress = sealing.progress.entry(ring.number).or_default();
            progress.look(ring, Instant::now());
            progress.look_behind_holes(ring);
        }
        let heads: BTreeMap<u32, u64> =
            sealing.progress.iter().map(|(ring, progress)| (*ring, progress.head)).collect();
        while rings.iter().any(|ring| sealing.progress[&ring.number].committed < heads[&ring.number]) {
            self.write_one_set(sealing, rings, &heads)?;
        }
        Ok(())
    }

    /// Writes at most `segment_rows_max` records: one segment per metrics name, made known by one event.
    fn write_one_set(&self, sealing: &mut Sealing, rings: &[Arc<Ring>], heads: &BTreeMap<u32, u64>) -> Result<()> {
        let definitions = self.interner().definitions().to_vec();
        let mut batcher = Batcher::new(definitions.len());
        // A set is mostly like the one before.
        batcher.reserve(&sealing.rows_of_metrics);
        let mut left = self.config.segment_rows_max;
        let mut watermarks = Vec::new();
        let mut damaged = Vec::new();
        for ring in rings {
            let Progress { committed: from, told, .. } = sealing.progress[&ring.number];
            let to = heads[&ring.number].min(from + left);
            left -= to - from;
            let mut bad = 0;
            for index in from..to {
                match ring.core.read(index) {
                    SlotContent::Valid(record) => batcher.push(ring.number, index, &record),
                    _ => bad += u64::from(index >= told),
                }
            }
            if bad > 0 {
                damaged.push((Arc::clone(ring), to, bad));
            }
            watermarks.push(Watermark { ring: ring.number, committed: to });
        }
        let rows = batcher.rows();
        let undefined = batcher.undefined();
        sealing.rows_of_metrics = batcher.rows_of_metrics();
        let batches = batcher.finish(&definitions);
        let records = self.publish(sealing, &batches)?;
        // Before the event that moves the watermark over it: a process that dies in between would never tell.
        self.tell_damage(sealing, damaged)?;
        let files: Vec<PathBuf> = records.iter().map(|record| self.path_of(&record.file)).collect();
        let event = SegmentsEvent { segments: records.clone(), watermarks: watermarks.clone() };
        if let Err(error) = self.append(Event::Segments(Box::new(event)), Durability::Process) {
            // The event is the commit point; without it the files are rubbish.
            files.iter().for_each(|file| drop(remove_file(self.layout.storage(), file)));
            return Err(error);
        }
        sealing.rows_committed += rows;
        sealing.segments += records.len() as u64;
        for ((record, rows), file) in records.iter().zip(&batches).zip(files) {
            let name = sealing.names.entry(record.metrics_name.clone()).or_default();
            name.identity.add(rows);
            name.segments.push((record.n, file));
        }
        self.retire(sealing, rings, &watermarks);
        if undefined > 0 {
            let detail = "records carry a metric number without a definition";
            let gap = GapEvent::exact(GapKind::UndefinedMetric, 0, undefined, detail);
            self.append(Event::Gap(gap), Durability::Process)?;
        }
        Ok(())
    }

    /// Writes all segments under temporary names, then publishes them.
    fn publish(&self, sealing: &mut Sealing, batches: &[NamedRows]) -> Result<Vec<SegmentRecord>> {
        let context = SegmentContext { layout: &self.layout, started: &self.started };
        let mut pending = Vec::new();
        for (offset, batch) in batches.iter().enumerate() {
            match write_segment(&context, sealing.next_segment + offset as u64, batch) {
                Ok(segment) => pending.push(segment),
                Err(error) => {
                    pending.into_iter().for_each(|segment| segment.discard(&self.layout));
                    return Err(error);
                }
            }
        }
        let mut records: Vec<SegmentRecord> = Vec::new();
        for segment in pending {
            match segment.publish(&self.layout) {
                Ok(record) => records.push(record),
                Err(error) => {
                    records
                        .iter()
                        .for_each(|record| drop(remove_file(self.layout.storage(), &self.path_of(&record.file))));
                    return Err(error);
                }
            }
        }
        sealing.next_segment += records.len() as u64;
        Ok(records)
    }

    /// Hands the slots of committed records back to the producers, once the event that names their segments is durable.
    fn retire(&self, sealing: &mut Sealing, rings: &[Arc<Ring>], watermarks: &[Watermark]) {
        let synced = self.sync_names().and_then(|()| self.sync_log());
        if let Err(error) = &synced {
            // A sync that failed is final. What failed before it, for want of a descriptor say, is tried again next time.
            sealing.keep_journal |= matches!(error, Error::SyncFailed { .. });
            sealing.tell("sync", &format!("run {}: {}", self.started.run_id, with_causes(error)));
        }
        for (ring, watermark) in rings.iter().zip(watermarks) {
            let progress = sealing.progress.entry(ring.number).or_default();
            progress.committed = watermark.committed;
            progress.pending_since = (progress.head > progress.committed).then(Instant::now);
            if synced.is_ok() {
                ring.journal.synced().fetch_max(watermark.committed, Ordering::Release);
            }
            if synced.is_ok() && !sealing.keep_journal {
                fail_point::reach("recycle.begin");
                ring.core.recycle(watermark.committed);
                fail_point::reach("recycle.end");
            }
        }
    }

    /// Tells of slots without a record below the positions that the rings are committed to next, once.
    fn tell_damage(&self, sealing: &mut Sealing, damaged: Vec<(Arc<Ring>, u64, u64)>) -> Result<()> {
        for (ring, to, records) in damaged {
            let progress = sealing.progress.entry(ring.number).or_default();
            let gap = match progress.broken {
                Some(Broken::Lost) => lost_gap(&ring, to, records),
                // It was cut off since it was looked at.
                _ if ring.journal.is_lost() => lost_gap(&ring, to, records),
                _ => {
                    let detail = "slots of the mapped journal do not fit their check";
                    GapEvent::exact(GapKind::DamagedSlot, ring.number, records, detail)
                }
            };
            self.append(Event::Gap(gap), Durability::Process)?;
            progress.told = to;
        }
        Ok(())
    }

    /// Whether every record of every ring is in a segment, and the journals are no longer needed.
    pub(super) fn all_committed(&self, sealing: &Sealing, rings: &[Arc<Ring>]) -> bool {
        !sealing.keep_journal
            && rings.iter().all(|ring| {
                sealing
                    .progress
                    .get(&ring.number)
                    .is_some_and(|progress| progress.committed == ring.core.head_from(progress.committed))
            })
    }

    /// Records logged so far, and calls that waited and records dropped.
    pub(super) fn totals(&self, sealing: &Sealing, rings: &[Arc<Ring>]) -> (u64, u64, u64) {
        if let Some(totals) = sealing.final_totals {
            return totals;
        }
        let from = |ring: &Ring| sealing.progress.get(&ring.number).map_or(0, |progress| progress.committed);
        let here = || rings.iter().filter(|ring| !sealing.is_gone(ring));
        let counter = |read: fn(&Ring) -> u64| here().map(|ring| read(ring)).sum::<u64>();
        let head = |ring: &Ring| ring.end().unwrap_or_else(|| ring.core.head_from(from(ring)));
        let (rows, waits, drops) = sealing.gone;
        (
            rows + here().map(|ring| head(ring)).sum::<u64>(),
            waits + counter(|ring| ring.journal.waits().load(Ordering::Relaxed)),
            drops + counter(|ring| ring.journal.drops().load(Ordering::Relaxed)),
        )
    }
}

impl Progress {
    /// Follows the producer: finds the head, seals full blocks, makes pages present ahead.
    fn look(&mut self, ring: &Ring, now: Instant) {
        // Where the producer has left, slots that hold no record are none that it has yet to write.
        let known = self.head.max(self.committed);
        self.head = ring.end().unwrap_or_else(|| ring.core.head_from(known));
        while self.sealed + BLOCK_SLOTS <= self.head {
            // A block whose slots were partly handed back already needs no checksum.
            if self.sealed >= self.committed && self.broken != Some(Broken::Lost) {
                ring.journal.seal_block(self.sealed);
            }
            self.sealed += BLOCK_SLOTS;
        }
        let drops = ring.journal.drops();
        if drops.load(Ordering::Relaxed) < self.drops {
            // The page of the counter was lost, and memory without it is in its place.
            drops.fetch_add(self.drops, Ordering::Relaxed);
        }
        self.drops = drops.load(Ordering::Relaxed);
        if self.head > self.committed {
            self.pending_since.get_or_insert(now);
        }
        self.open_since = match self.open_since {
            _ if self.head == self.sealed => None,
            Some((block, since)) if block == self.sealed => Some((block, since)),
            _ => Some((self.sealed, now)),
        };
        let ahead = (self.head + POPULATE_AHEAD_BLOCKS * BLOCK_SLOTS).min(ring.capacity());
        if self.populated < ahead && self.broken != Some(Broken::Lost) {
            ring.journal.populate(self.populated, ahead - self.populated);
            self.populated = ahead;
        }
    }

    /// Finds the records behind slots that were lost.
    fn look_behind_holes(&mut self, ring: &Ring) {
        if self.broken == Some(Broken::Lost) && ring.end().is_none() {
            self.head = ring.core.head_behind_holes(self.head);
        }
    }
}
