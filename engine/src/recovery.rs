//! Recovery: journals of dead writers become segments.
//!
//! What a crash can leave, and what becomes of it:
//!
//! | found | meaning | done |
//! |---|---|---|
//! | journal with records above the watermark | the writer died before they were in a segment | a segment, and an event that names it |
//! | segment that no event names | died between rename and event; or the event was damaged, or the store copied while it was written | removed when its rows were in the journal, taken up when none was (`orphans.rs`) |
//! | `.tmp-` file | died while writing it | removed |
//! | last line of the event log cut off | died while appending | cut off: nobody was told of it |
//! | no journals where the writer had them, in scratch | the machine was restarted, or its scratch emptied | counted as a gap: nothing says how many records they held |
//! | event log without its first line, or without any | a power cut kept its name and not its content; or it was damaged | written anew from what is known elsewhere, the loss is told |
//! | slot whose check does not fit, empty slot before a filled one | a power cut lost or tore pages | counted as a gap, told in the report, a row in SQL |

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::batch::{Batcher, NamedRows};
use crate::catalog::CatalogSnapshot;
use crate::compaction::Mark;
use crate::config::EngineConfig;
use crate::doctor;
use crate::error::{Error, Result, with_causes};
use crate::event_log::{Durability, EventLog, read_log};
use crate::events::{
    Event, GapEvent, GapKind, MetricsCommitted, SegmentRecord, SegmentsEvent, Watermark, WriterStarted,
};
use crate::fail_point;
use crate::host::{Life, WriterPlace, current_process, life_of, went_down};
use crate::ids::{RunId, WriterId};
use crate::journal::{Definition, JournalImage, Scan};
use crate::layout::{Layout, TEMP_PREFIX, journal_in, parse_journal_file};
use crate::manifest::Manifest;
use crate::orphans::{self, KnownRows, Orphan};
use crate::run::MetricsArtifact;
use crate::scratch::{self, Scratch, Takeover};
use crate::segment::{SegmentContext, identity_of_segments, write_segment};
use crate::snapshot::{RunState, WriterInfo};
use crate::storage::{list_if_there, remove_file};
use crate::verify::check_on;

/// What opening a store recovered.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// One entry per dead writer whose journals were read.
    pub writers: Vec<RecoveredWriter>,
    /// Writers that could not be recovered, with the reason; their files are left as they are.
    pub failures: Vec<(RunId, WriterId, String)>,
}

/// One dead writer that was recovered.
#[derive(Clone, Debug)]
pub struct RecoveredWriter {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Records that were in its journals and in no segment.
    pub rows_recovered: u64,
    /// Records of this writer in segments now.
    pub rows_total: u64,
    /// What was lost, with the reasons; empty after the death of a process alone.
    pub gaps: Vec<GapEvent>,
}

impl RecoveredWriter {
    /// Whether anything was found that was not known before.
    fn has_news(&self) -> bool {
        self.rows_recovered > 0 || !self.gaps.is_empty()
    }
}

/// Numbers of the rings that have a journal in the folder of a writer; sorted.
pub(crate) fn journals_of(layout: &Layout, started: &WriterStarted) -> Result<Vec<u32>> {
    let entries = list_if_there(layout.storage(), &started.journal_folder(layout))?;
    let mut rings: Vec<u32> = entries.iter().filter_map(|entry| parse_journal_file(&entry.name)).collect();
    rings.sort_unstable();
    Ok(rings)
}

/// What a dead writer left, taken over.
pub(crate) struct Taken {
    /// Under its lock, and that of the journals where they are in scratch.
    pub log: EventLog,
    pub manifest: Manifest,
    /// The folder of the journals was in scratch, and is gone.
    pub lost: bool,
}

/// Takes over what a dead writer left; `None` when it is alive, or its journals are out of reach.
///
/// # Errors
/// Those of reading the event log, and of taking the locks.
pub(crate) fn take_over(layout: &Layout, run: RunId, writer: WriterId) -> Result<Option<Taken>> {
    let path = layout.events(run, writer);
    let (scratch, lost) = match Manifest::of(&read_log(layout, &path)?, &path)?.started.journals {
        None => (None, false),
        Some(folder) => match Scratch::take_over(&folder, run, writer)? {
            Takeover::Taken(scratch) => (Some(scratch), false),
            Takeover::Gone => (None, true),
            Takeover::Refused => return Ok(None),
        },
    };
    let Some((log, contents)) = EventLog::take_over(layout, &path, scratch)? else { return Ok(None) };
    let manifest = Manifest::of(&contents, &path)?;
    Ok(Some(Taken { log, manifest, lost }))
}

/// Recovers the writers that have not finished and are gone, and what a writer that did finish left in a journal. A damaged
/// line may have been the one that named a segment, or said who the writer was: such writers are recovered, too.
pub(crate) fn recover_dead(
    layout: &Layout,
    config: &EngineConfig,
    catalog: &CatalogSnapshot,
) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    let mut writers = BTreeSet::new();
    for (run, writer) in catalog.writers()? {
        let WriterInfo { writer, state, journal_folder, .. } = writer;
        let journals = layout.journal_folder(run, writer, journal_folder.as_deref());
        if state == RunState::Running || layout.storage().exists(&journals) {
            writers.insert((run, writer));
        }
    }
    let damaged: BTreeSet<_> = catalog.damaged_logs()?.into_iter().collect();
    for (run, writer) in writers.union(&damaged).copied() {
        match recover_if_dead(layout, config, run, writer) {
            Ok(Some(recovered)) if writers.contains(&(run, writer)) || recovered.has_news() => {
                report.writers.push(recovered);
            }
            Ok(_) => {}
            Err(error) => report.failures.push((run, writer, with_causes(&error))),
        }
    }
    Ok(report)
}

fn recover_if_dead(
    layout: &Layout,
    config: &EngineConfig,
    run: RunId,
    writer: WriterId,
) -> Result<Option<RecoveredWriter>> {
    let path = layout.events(run, writer);
    let manifest = Manifest::of(&read_log(layout, &path)?, &path)?;
    if life_of(layout, &WriterPlace::of(&manifest.started))? != Life::Dead
        || manifest.is_anonymous && !doctor::rebuild_log(layout, run, writer)?
    {
        return Ok(None);
    }
    recover_writer(layout, config, run, writer)
}

/// What was lost of a ring, as its journal shows.
pub(crate) fn losses(ring: u32, image: &JournalImage, scan: &Scan, machine_down: bool) -> Vec<GapEvent> {
    let mut gaps = Vec::new();
    if scan.damaged > 0 {
        gaps.push(GapEvent::exact(GapKind::DamagedSlot, ring, scan.damaged, "slots whose check does not fit them"));
    }
    if scan.missing > 0 {
        gaps.push(GapEvent::exact(GapKind::MissingSlots, ring, scan.missing, "empty slots before the last record"));
    }
    if scan.cut_off > 0 {
        let detail = "the journal's file is shorter than it was made; what its missing slots held is lost";
        gaps.push(GapEvent::between(GapKind::CutJournal, ring, 0, scan.cut_off, detail));
    }
    if machine_down {
        let most = image.header.geometry.capacity.saturating_sub(scan.records.len() as u64);
        let detail = match scan.records.last() {
            Some((_, record)) => format!(
                "the machine was restarted while the run was written; the last record found is of {} ns, and those \
                 logged in the moments after it may not have reached the device",
                record.time
            ),
            None => "the machine was restarted while the run was written; what had not reached the device is lost"
                .to_owned(),
        };
        gaps.push(GapEvent::between(GapKind::MachineDown, ring, 0, most, detail));
    }
    if image.drops > 0 {
        gaps.push(GapEvent::ring_full(ring, image.drops));
    }
    gaps
}

/// Records whose metric no journal of the writer defines.
pub(crate) fn undefined(records: u64) -> Option<GapEvent> {
    let gap = || GapEvent::exact(GapKind::UndefinedMetric, 0, records, "metric numbers without a definition");
    (records > 0).then(gap)
}

/// A journal that cannot be read at all.
pub(crate) fn unreadable(ring: u32, error: &Error) -> GapEvent {
    GapEvent::exact(GapKind::DamagedSlot, ring, 0, with_causes(error))
}

/// Recovers one writer; `None` when it is alive.
///
/// # Errors
/// Whatever kept its files from being read or its segments from being written; nothing is lost then.
pub(crate) fn recover_writer(
    layout: &Layout,
    config: &EngineConfig,
    run: RunId,
    writer: WriterId,
) -> Result<Option<RecoveredWriter>> {
    let Some(Taken { log, manifest, lost }) = take_over(layout, run, writer)? else { return Ok(None) };
    let orphans = orphans::find(layout, run, writer, &manifest)?;
    // A segment of no event may be taken up with its number, which no other may have then.
    let next_segment = orphans.iter().map(|orphan| orphan.number() + 1).max().unwrap_or(0).max(manifest.next_segment());
    let mut recovery = Recovery {
        layout,
        config,
        next_segment,
        manifest,
        log,
        mark: None,
        rows: 0,
        gaps: Vec::new(),
        told: 0,
        unreadable: false,
        machine_down: false,
    };
    recovery.machine_down = went_down(&recovery.manifest.started.process) && recovery.manifest.finished.is_none();
    // Their names were lost, and the records behind the watermark may be among those that only a person can name.
    recovery.unreadable = recovery.manifest.gaps.iter().any(|gap| gap.kind == GapKind::UndefinedMetric);
    fail_point::reach("recovery.begin");
    if lost {
        recovery.miss_journals();
    }
    recovery.read_journals()?;
    fail_point::reach("recovery.journals");
    recovery.judge(orphans)?;
    fail_point::reach("recovery.orphans");
    recovery.tell()?;
    let committed = recovery.commit_names();
    // A segment that cannot be registered has nothing to do with the journals, whose rows are in other ones by now.
    recovery.clean_up()?;
    committed?;
    match recovery.mark.take() {
        Some(mark) => mark.remove()?,
        None => Mark::remove_left(layout, run, writer)?,
    }
    fail_point::reach("recovery.end");
    let rows_total = recovery.manifest.segments.iter().map(|segment| segment.rows).sum();
    Ok(Some(RecoveredWriter { run_id: run, writer, rows_recovered: recovery.rows, rows_total, gaps: recovery.gaps }))
}

/// The artifact that a writer registered last for a metrics name.
pub(crate) fn artifact_of(manifest: &Manifest, metrics_name: &str) -> Option<MetricsArtifact> {
    manifest.commits.get(metrics_name).map(|commit| MetricsArtifact {
        metrics_name: commit.metrics_name.clone(),
        version: commit.version,
        identity: commit.identity,
        rows: commit.rows,
        run_id: manifest.started.run_id,
        writer: manifest.started.writer,
    })
}

struct Recovery<'a> {
    layout: &'a Layout,
    config: &'a EngineConfig,
    /// Number of the next segment.
    next_segment: u64,
    manifest: Manifest,
    log: EventLog,
    /// Says that lines are added to the log of a writer that had finished.
    mark: Option<Mark<'a>>,
    rows: u64,
    gaps: Vec<GapEvent>,
    /// How many of the gaps are in the event log.
    told: usize,
    /// The machine was restarted since the writer started, and before it finished.
    machine_down: bool,
    /// A journal could not be read, or some of its records not be named; it is left where it is.
    unreadable: bool,
}

impl Recovery<'_> {
    fn run(&self) -> RunId {
        self.manifest.started.run_id
    }

    fn writer(&self) -> WriterId {
        self.manifest.started.writer
    }

    /// Appends to the event log. The catalog looks into the log of a closed run only when its folder has changed.
    fn append(&mut self, event: Event, durability: Durability) -> Result<()> {
        if self.mark.is_none() && self.manifest.finished.is_some() {
            self.mark = Some(Mark::set(self.layout, self.run(), self.writer())?);
        }
        self.log.append(event, durability)
    }

    /// Tells that the journals are gone. Those of a writer that finished, or that was recovered, were removed.
    fn miss_journals(&mut self) {
        if self.manifest.finished.is_none() && !self.manifest.recovered {
            let detail = format!(
                "the journals in {} are gone: what was logged after the last segment is lost, and nothing says how much that was",
                self.manifest.started.journal_folder(self.layout).display()
            );
            self.gap(GapKind::LostJournal, 0, 0, detail);
        }
    }

    /// Turns the records of all journals into segments, a bounded number at a time.
    fn read_journals(&mut self) -> Result<()> {
        // Journals of one writer define the same metrics in the same order, each as far as it needed: the longest list serves
        // them all, also when damage has cut the list of one short.
        let definitions = self.longest_definitions()?;
        let mut batcher: Option<Batcher> = None;
        let mut watermarks = Vec::new();
        for ring in journals_of(self.layout, &self.manifest.started)? {
            let image = match JournalImage::open_ring(self.layout, &self.manifest.started, ring) {
                Ok(Some(image)) => image,
                Ok(None) => continue,
                Err(error) if error.is_corruption() => {
                    self.unreadable = true;
                    self.keep_gap(unreadable(ring, &error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let full = batcher.as_ref().is_some_and(|batcher| batcher.rows() >= self.config.segment_rows_max);
            if full {
                self.publish(batcher.take(), &definitions, std::mem::take(&mut watermarks))?;
            }
            let batcher = batcher.get_or_insert_with(|| Batcher::new(definitions.len()));
            watermarks.push(self.read_journal(ring, &image, batcher)?);
        }
        self.publish(batcher, &definitions, watermarks)
    }

    fn longest_definitions(&self) -> Result<Vec<Definition>> {
        let rings = journals_of(self.layout, &self.manifest.started)?.into_iter();
        let images =
            rings.filter_map(|ring| JournalImage::open_ring(self.layout, &self.manifest.started, ring).ok()?);
        Ok(images.map(|image| image.definitions).max_by_key(Vec::len).unwrap_or_default())
    }

    fn read_journal(&mut self, ring: u32, image: &JournalImage, batcher: &mut Batcher) -> Result<Watermark> {
        let from = self.manifest.watermark(ring);
        let scan = image.scan_dead(from)?;
        for (index, record) in &scan.records {
            batcher.push(ring, *index, record);
        }
        losses(ring, image, &scan, self.machine_down).into_iter().for_each(|gap| self.keep_gap(gap));
        Ok(Watermark { ring, committed: scan.end })
    }

    fn gap(&mut self, kind: GapKind, ring: u32, records: u64, detail: String) {
        self.keep_gap(GapEvent::exact(kind, ring, records, detail));
    }

    fn keep_gap(&mut self, gap: GapEvent) {
        // A journal that stays where it is would be told again at every opening.
        if !self.manifest.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    fn publish(
        &mut self,
        batcher: Option<Batcher>,
        definitions: &[Definition],
        watermarks: Vec<Watermark>,
    ) -> Result<()> {
        let Some(batcher) = batcher else { return Ok(()) };
        if let Some(gap) = undefined(batcher.undefined()) {
            // The records are there and cannot be named: the journal is kept for whoever can.
            self.unreadable = true;
            self.keep_gap(gap);
        }
        self.tell_gaps()?;
        if batcher.rows() == 0 {
            return Ok(());
        }
        self.rows += batcher.rows();
        let batches = batcher.finish(definitions);
        let segments = self.write(&batches)?;
        for watermark in &watermarks {
            self.manifest.watermarks.insert(watermark.ring, watermark.committed);
        }
        self.manifest.segments.extend(segments.iter().cloned());
        self.append(Event::Segments(Box::new(SegmentsEvent { segments, watermarks })), Durability::Device)
    }

    fn write(&mut self, batches: &[NamedRows]) -> Result<Vec<SegmentRecord>> {
        let context = SegmentContext { layout: self.layout, started: &self.manifest.started };
        let numbered = batches.iter().zip(self.next_segment..);
        self.next_segment += batches.len() as u64;
        numbered.map(|(batch, n)| write_segment(&context, n, batch)?.publish(self.layout)).collect()
    }

    /// Removes, takes up or keeps the segments that no event names.
    fn judge(&mut self, orphans: Vec<Orphan>) -> Result<()> {
        if orphans.is_empty() {
            return Ok(());
        }
        // What the journals held is in segments by now, and so is what an earlier recovery read before it was cut short.
        let folder = self.layout.run(self.run());
        let named = self.manifest.segments.iter().map(|segment| folder.join(&segment.file));
        let mut known = KnownRows::read(self.layout, named);
        for orphan in orphans {
            // The same rows under the same number make the same file: it has just been published anew.
            if self.manifest.segments.iter().any(|segment| segment.file == orphan.relative) {
                continue;
            }
            let found = match orphan.read(self.layout) {
                Ok(found) => found,
                Err(error) => {
                    self.gap(
                        GapKind::DamagedEvent,
                        0,
                        0,
                        format!("a segment that no event names is kept: {}", with_causes(&error)),
                    );
                    continue;
                }
            };
            let rows_known = known.count(&found);
            if rows_known == found.record.rows {
                remove_file(self.layout.storage(), &orphan.path)?;
            } else if rows_known == 0 && known.is_complete() {
                known.add(&found);
                self.rows += found.record.rows;
                let watermarks = found.watermarks();
                self.manifest.segments.push(found.record.clone());
                let event = SegmentsEvent { segments: vec![found.record], watermarks };
                self.append(Event::Segments(Box::new(event)), Durability::Device)?;
            } else {
                let detail =
                    format!("{:?}, which no event names, is kept: part of its rows are elsewhere", orphan.path);
                self.gap(GapKind::DamagedEvent, 0, found.record.rows - rows_known, detail);
            }
        }
        Ok(())
    }

    /// Appends the gaps that are not in the event log yet. A gap goes before the event that moves the watermark over it: a
    /// recovery that is cut short would otherwise begin above it the next time, and never tell.
    fn tell_gaps(&mut self) -> Result<()> {
        while let Some(gap) = self.gaps.get(self.told).cloned() {
            self.append(Event::Gap(gap), Durability::Process)?;
            self.told += 1;
        }
        Ok(())
    }

    /// Says in the event log what was found, so that the run counts as ended.
    fn tell(&mut self) -> Result<()> {
        self.tell_gaps()?;
        if self.manifest.finished.is_none() && (!self.manifest.recovered || self.rows > 0) {
            let process = current_process();
            let event = Event::Recovered { host: process.host, pid: process.pid, rows: self.rows };
            self.append(event, Durability::Process)?;
        }
        Ok(())
    }

    /// Registers a metrics artifact for each metrics name whose last commit does not cover all its records.
    fn commit_names(&mut self) -> Result<()> {
        let names: BTreeSet<&str> =
            self.manifest.segments.iter().map(|segment| segment.metrics_name.as_str()).collect();
        let mut commits = Vec::new();
        let mut damaged = None;
        for name in names {
            let segments: Vec<_> =
                self.manifest.segments.iter().filter(|segment| segment.metrics_name == name).collect();
            let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
            let last = self.manifest.commits.get(name);
            if last.is_some_and(|commit| commit.rows == rows) {
                continue;
            }
            let folder = self.layout.run(self.run());
            // What is damaged must not be registered as if it were the truth; the other names still can be.
            let checked = segments.iter().map(|segment| {
                let path = folder.join(&segment.file);
                check_on(self.layout.storage(), &path, segment.blake3).map(|_| path)
            });
            let paths = checked.collect::<Result<Vec<PathBuf>>>();
            let (rows, identity) =
                match paths.and_then(|paths| identity_of_segments(self.layout, self.writer(), &paths)) {
                    Ok(identity) => identity,
                    Err(error) => {
                        damaged.get_or_insert(error);
                        continue;
                    }
                };
            commits.push(MetricsCommitted {
                metrics_name: name.to_owned(),
                version: last.map_or(1, |commit| commit.version + 1),
                identity,
                rows,
                segments: segments.iter().map(|segment| segment.n).collect(),
            });
        }
        for commit in commits {
            self.append(Event::MetricsCommitted(commit.clone()), Durability::Process)?;
            self.manifest.commits.insert(commit.metrics_name.clone(), commit);
        }
        self.log.sync()?;
        damaged.map_or(Ok(()), Err)
    }

    /// Removes journals whose records are all in segments, and temporary files.
    fn clean_up(&self) -> Result<()> {
        let storage = self.layout.storage();
        let folder = self.manifest.started.journal_folder(self.layout);
        let scratch = self.log.scratch();
        let is_of_a_copy = scratch.is_some() && !scratch::is_of(&folder, self.layout, self.run(), self.writer());
        if !self.unreadable && !is_of_a_copy {
            for ring in journals_of(self.layout, &self.manifest.started)? {
                remove_file(storage, &journal_in(&folder, ring))?;
            }
            for entry in list_if_there(storage, &folder)? {
                if entry.name.starts_with(TEMP_PREFIX) {
                    remove_file(storage, &folder.join(&entry.name))?;
                }
            }
            if scratch.is_some() {
                scratch::remove(&folder);
            } else {
                let _ = storage.remove_folder(&folder);
            }
        }
        let run = self.layout.run(self.run());
        for entry in list_if_there(storage, &run)?.iter().filter(|entry| entry.is_folder) {
            let segments = run.join(&entry.name);
            if segments == folder {
                continue;
            }
            for entry in list_if_there(storage, &segments)?.iter().filter(|entry| self.is_own_temporary(&entry.name)) {
                remove_file(storage, &segments.join(&entry.name))?;
            }
        }
        Ok(())
    }

    fn is_own_temporary(&self, name: &str) -> bool {
        let rest = name.strip_prefix(TEMP_PREFIX);
        rest.and_then(|rest| rest.rsplit_once('-')).is_some_and(|(writer, _)| writer == self.writer().to_string())
    }
}
