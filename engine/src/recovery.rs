//! Recovery: journals of dead writers become segments.
//!
//! What a crash can leave, and what becomes of it:
//!
//! | found | meaning | done |
//! |---|---|---|
//! | journal with records above the watermark | the writer died before they were in a segment | a segment, and an event that names it |
//! | segment that no event names | died between rename and event; or the event was damaged, or the store copied while it was written | removed when its rows are in the journal or in other segments, taken up when none is (`orphans.rs`) |
//! | `.tmp-` file | died while writing it | removed |
//! | last line of the event log cut off | died while appending | cut off: nobody was told of it |
//! | slot whose check does not fit, empty slot before a filled one | a power cut lost or tore pages | counted as a gap, told in the report, a row in SQL |

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::batch::{Batcher, NamedRows};
use crate::config::EngineConfig;
use crate::error::{Result, with_causes};
use crate::event_log::{Durability, EventLog};
use crate::events::{Event, GapEvent, GapKind, MetricsCommitted, SegmentRecord, SegmentsEvent, Watermark};
use crate::fsutil::remove_file;
use crate::host::current_process;
use crate::ids::{RunId, WriterId};
use crate::journal::{Definition, JournalImage};
use crate::layout::{Layout, TEMP_PREFIX, parse_journal_file};
use crate::manifest::Manifest;
use crate::orphans::{self, Orphan};
use crate::run::MetricsArtifact;
use crate::segment::{SegmentContext, identity_of_segments, write_segment};

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

/// Numbers of the rings that have a journal in the folder of a writer; sorted.
pub(crate) fn journals_of(layout: &Layout, run: RunId, writer: WriterId) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(layout.journals(run, writer)) else { return Vec::new() };
    let mut rings: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(parse_journal_file)).collect();
    rings.sort_unstable();
    rings
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
    let path = layout.events(run, writer);
    let Some((log, contents)) = EventLog::take_over(&path)? else { return Ok(None) };
    let manifest = Manifest::of(&contents, &path)?;
    let orphans = orphans::find(layout, run, writer, &manifest.segments);
    let reread = (!orphans.is_empty()).then(BTreeMap::new);
    let mut recovery =
        Recovery { layout, config, manifest, log, rows: 0, gaps: Vec::new(), told: 0, unreadable: false, reread };
    recovery.read_journals()?;
    recovery.judge(orphans)?;
    recovery.tell()?;
    recovery.commit_names()?;
    recovery.clean_up()?;
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
    manifest: Manifest,
    log: EventLog,
    rows: u64,
    gaps: Vec<GapEvent>,
    /// How many of them are in the event log.
    told: usize,
    /// A journal could not be read; it is left where it is.
    unreadable: bool,
    /// Indices of the records read from each journal; kept only when there are orphans to be compared with.
    reread: Option<BTreeMap<u32, Vec<u64>>>,
}

impl Recovery<'_> {
    fn run(&self) -> RunId {
        self.manifest.started.run_id
    }

    fn writer(&self) -> WriterId {
        self.manifest.started.writer
    }

    /// Turns the records of all journals into segments, a bounded number at a time.
    fn read_journals(&mut self) -> Result<()> {
        let mut definitions: Vec<Definition> = Vec::new();
        let mut batcher: Option<Batcher> = None;
        let mut watermarks = Vec::new();
        for ring in journals_of(self.layout, self.run(), self.writer()) {
            let image = match JournalImage::open_ring(self.layout, self.run(), self.writer(), ring) {
                Ok(Some(image)) => image,
                Ok(None) => continue,
                Err(error) if error.is_corruption() => {
                    self.unreadable = true;
                    self.gap(GapKind::DamagedSlot, ring, 0, with_causes(&error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            // Journals of one writer define the same metrics in the same order, each as far as it needed.
            if image.definitions.len() > definitions.len() && batcher.is_some() {
                self.publish(batcher.take(), &definitions, std::mem::take(&mut watermarks))?;
            }
            if image.definitions.len() > definitions.len() {
                definitions.clone_from(&image.definitions);
            }
            let full = batcher.as_ref().is_some_and(|batcher| batcher.rows() >= self.config.segment_rows_max);
            if full {
                self.publish(batcher.take(), &definitions, std::mem::take(&mut watermarks))?;
            }
            let batcher = batcher.get_or_insert_with(|| Batcher::new(definitions.len()));
            watermarks.push(self.read_journal(ring, &image, batcher)?);
        }
        self.publish(batcher, &definitions, watermarks)
    }

    fn read_journal(&mut self, ring: u32, image: &JournalImage, batcher: &mut Batcher) -> Result<Watermark> {
        let from = self.manifest.watermark(ring);
        let scan = image.scan_dead(from)?;
        for (index, record) in &scan.records {
            batcher.push(ring, *index, record);
        }
        if let Some(reread) = &mut self.reread {
            reread.insert(ring, scan.records.iter().map(|(index, _)| *index).collect());
        }
        if scan.damaged > 0 {
            self.gap(GapKind::DamagedSlot, ring, scan.damaged, "slots whose check does not fit them".to_owned());
        }
        if scan.missing > 0 {
            self.gap(GapKind::MissingSlots, ring, scan.missing, "empty slots before the last record".to_owned());
        }
        if image.drops > 0 {
            self.keep_gap(GapEvent::ring_full(ring, image.drops));
        }
        Ok(Watermark { ring, committed: scan.end })
    }

    fn gap(&mut self, kind: GapKind, ring: u32, records: u64, detail: String) {
        self.keep_gap(GapEvent { kind, ring, records, detail });
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
        if batcher.undefined() > 0 {
            self.gap(
                GapKind::UndefinedMetric,
                0,
                batcher.undefined(),
                "metric numbers without a definition".to_owned(),
            );
        }
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
        // Above the watermarks of this event, a next recovery would not see the holes any more.
        self.tell_gaps()?;
        self.log.append(Event::Segments(Box::new(SegmentsEvent { segments, watermarks })), Durability::Device)
    }

    fn write(&self, batches: &[NamedRows]) -> Result<Vec<SegmentRecord>> {
        let context = SegmentContext { layout: self.layout, started: &self.manifest.started };
        let first = self.manifest.next_segment();
        let numbered = batches.iter().zip(first..);
        numbered.map(|(batch, n)| write_segment(&context, n, batch)?.publish()).collect()
    }

    /// Removes, takes up or keeps the segments that no event names.
    fn judge(&mut self, orphans: Vec<Orphan>) -> Result<()> {
        let mut known_rows = self.reread.take().unwrap_or_default();
        // A recovery that did not come to its end may have published them already.
        orphans::add_named_rows(self.layout, self.run(), &self.manifest.segments, &orphans, &mut known_rows)?;
        for orphan in orphans {
            // The same rows under the same number make the same file: it has just been published anew.
            if self.manifest.segments.iter().any(|segment| segment.file == orphan.relative) {
                continue;
            }
            let found = match orphan.read() {
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
            let known = found.rows_among(&known_rows);
            if known == found.record.rows {
                remove_file(&orphan.path)?;
            } else if known == 0 {
                self.rows += found.record.rows;
                let watermarks = found.watermarks();
                self.manifest.segments.push(found.record.clone());
                let event = SegmentsEvent { segments: vec![found.record], watermarks };
                self.log.append(Event::Segments(Box::new(event)), Durability::Device)?;
            } else {
                let detail =
                    format!("{:?}, which no event names, is kept: the journal holds part of its rows", orphan.path);
                self.gap(GapKind::DamagedEvent, 0, found.record.rows - known, detail);
            }
        }
        Ok(())
    }

    /// Says in the event log what was lost, as far as it does not say so yet.
    fn tell_gaps(&mut self) -> Result<()> {
        for gap in &self.gaps[self.told..] {
            self.log.append(Event::Gap(gap.clone()), Durability::Process)?;
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
            self.log.append(event, Durability::Process)?;
        }
        Ok(())
    }

    /// Registers a metrics artifact for each metrics name whose last commit does not cover all its records.
    fn commit_names(&mut self) -> Result<()> {
        let names: BTreeSet<&str> =
            self.manifest.segments.iter().map(|segment| segment.metrics_name.as_str()).collect();
        let mut commits = Vec::new();
        for name in names {
            let segments: Vec<_> =
                self.manifest.segments.iter().filter(|segment| segment.metrics_name == name).collect();
            let rows: u64 = segments.iter().map(|segment| segment.rows).sum();
            let last = self.manifest.commits.get(name);
            if last.is_some_and(|commit| commit.rows == rows) {
                continue;
            }
            let folder = self.layout.run(self.run());
            let paths: Vec<PathBuf> = segments.iter().map(|segment| folder.join(&segment.file)).collect();
            let (rows, identity) = identity_of_segments(self.writer(), &paths)?;
            commits.push(MetricsCommitted {
                metrics_name: name.to_owned(),
                version: last.map_or(1, |commit| commit.version + 1),
                identity,
                rows,
                segments: segments.iter().map(|segment| segment.n).collect(),
            });
        }
        for commit in commits {
            self.log.append(Event::MetricsCommitted(commit.clone()), Durability::Process)?;
            self.manifest.commits.insert(commit.metrics_name.clone(), commit);
        }
        self.log.sync()
    }

    /// Removes journals whose records are all in segments, and temporary files.
    fn clean_up(&self) -> Result<()> {
        let folder = self.layout.journals(self.run(), self.writer());
        if !self.unreadable {
            for ring in journals_of(self.layout, self.run(), self.writer()) {
                remove_file(&self.layout.journal(self.run(), self.writer(), ring))?;
            }
            if let Ok(entries) = std::fs::read_dir(&folder) {
                entries.flatten().filter(is_temporary).for_each(|entry| drop(remove_file(&entry.path())));
            }
            let _ = std::fs::remove_dir(&folder);
        }
        for entry in std::fs::read_dir(self.layout.run(self.run())).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == folder || !path.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
                if self.is_own_temporary(&entry) {
                    remove_file(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn is_own_temporary(&self, entry: &std::fs::DirEntry) -> bool {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(TEMP_PREFIX));
        rest.and_then(|rest| rest.rsplit_once('-')).is_some_and(|(writer, _)| writer == self.writer().to_string())
    }
}

fn is_temporary(entry: &std::fs::DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX))
}
