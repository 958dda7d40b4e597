//! Segments: those that events name, and those that none does.

use std::path::{Path, PathBuf};

use super::logs::WriterView;
use super::repair::Repaired;
use super::{Examination, Expected, Finding, FindingKind, Severity, Subject, fault_of, is_missing, quarantine};
use crate::compaction::Age;
use crate::config::EngineConfig;
use crate::error::{Error, Result};
use crate::event_log::{Durability, EventLog};
use crate::events::{Event, GapEvent, GapKind, SegmentRecord};
use crate::ids::{RunId, WriterId};
use crate::journal::JournalImage;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::orphans::{self, KnownRows, Orphan};
use crate::recovery::{Taken, journals_of, take_over};
use crate::storage::{read_exact_at, read_up_to};
use crate::verify::check_on;

/// First and last bytes of a Parquet file.
const MAGIC: &[u8; 4] = b"PAR1";
/// Bytes behind the footer: its length, and the magic again.
const TRAILER_BYTES: usize = 8;

/// The segments that events name, and the objects that they say were stored.
pub(super) fn expected(layout: &Layout, views: &[WriterView]) -> Vec<Expected> {
    let mut expected = Vec::new();
    for (at, view) in views.iter().enumerate() {
        let segments = view.manifest.iter().flat_map(|manifest| manifest.segments.iter().enumerate());
        expected.extend(segments.map(|(n, segment)| Expected {
            path: layout.run(view.run).join(&segment.file),
            hash: segment.blake3,
            of: Subject::Segment(at, n),
        }));
        expected.extend(view.stored.iter().map(|hash| Expected {
            path: layout.object(*hash),
            hash: *hash,
            of: Subject::Object(true),
        }));
    }
    expected
}

/// What is wrong with a segment that is not as registered.
pub(super) fn bad(layout: &Layout, view: &WriterView, at: usize, file: &Expected, error: &Error) -> Finding {
    let rows = view.manifest.as_ref().map_or(0, |manifest| manifest.segments[at].rows);
    let fault = fault_of(error);
    let (kind, what) = if is_missing(error) {
        (FindingKind::SegmentMissing, fault)
    } else if error.is_corruption() && !has_footer(layout, &file.path) {
        (FindingKind::SegmentUnreadable, format!("{fault}; its footer cannot be found"))
    } else {
        (FindingKind::SegmentDamaged, fault)
    };
    let finding = Finding::new(&file.path, kind, Severity::Damage, what).of(view.run, view.writer).lost(rows, None);
    // A file that could not be read may be sound.
    if !is_bad(error) {
        return finding;
    }
    finding.repair_of_dead(view.alive, "tell its records as lost in the event log, and set it aside")
}

/// Whether an error says that a file is gone or damaged, and not that it could not be read this time.
fn is_bad(error: &Error) -> bool {
    is_missing(error) || error.is_corruption()
}

/// Whether the ends of a Parquet file are where they should be. What lies between is not looked at: the file is damaged.
fn has_footer(layout: &Layout, path: &Path) -> bool {
    let Ok(file) = layout.storage().open(path) else { return false };
    let Ok(bytes) = file.len() else { return false };
    let (mut head, mut trailer) = ([0; MAGIC.len()], [0; TRAILER_BYTES]);
    let Some(at) = bytes.checked_sub(TRAILER_BYTES as u64) else { return false };
    if read_up_to(&*file, &mut head, 0).is_err() || read_exact_at(&*file, &mut trailer, at).is_err() {
        return false;
    }
    let footer = u64::from(u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]));
    head == *MAGIC && trailer[4..] == *MAGIC && footer + MAGIC.len() as u64 <= at
}

impl Examination<'_> {
    /// Looks for files of segments that others took the place of long enough ago. Nothing is wrong with them, but for the room
    /// they take.
    pub(super) fn replaced(&mut self) {
        let age = Age::Grace(EngineConfig::from_env().unwrap_or_default().replaced_grace);
        for view in self.views.iter().filter(|view| !view.alive) {
            let replaced = view.manifest.iter().flat_map(|manifest| &manifest.replaced);
            for old in replaced.filter(|old| age.is_due(old.time)) {
                let path = self.layout.run(view.run).join(&old.record.file);
                if self.layout.storage().exists(&path) {
                    let mut what = format!("compaction put others in its place, with its {} records", old.record.rows);
                    if old.is_needed {
                        what += "; one of them was set aside, and it may be the last copy of some";
                    }
                    let finding = Finding::new(path, FindingKind::SegmentReplaced, Severity::Note, what);
                    let finding = finding.of(view.run, view.writer);
                    let repair = "remove it, unless one that took its place is damaged";
                    self.report.findings.push(if old.is_needed { finding } else { finding.repair(repair) });
                }
            }
        }
    }

    /// Looks for segments that no event names. A living writer may be about to name one.
    pub(super) fn orphans(&mut self) -> Result<()> {
        let mut findings = Vec::new();
        for view in self.views.iter().filter(|view| !view.alive) {
            let Some(manifest) = &view.manifest else { continue };
            for orphan in orphans::find(self.layout, view.run, view.writer, manifest)? {
                let finding = match orphan.read(self.layout) {
                    Ok(found) => {
                        // A writer that dies between publishing a segment and the event that names it leaves one; and a power
                        // cut may bring one back that recovery had removed.
                        let severity = if rows_elsewhere(self.layout, view, manifest)?.has_all(&found) {
                            Severity::Note
                        } else if manifest.gaps.iter().any(|gap| gap.detail.contains(&orphan.relative)) {
                            // Recovery kept it because part of its rows are elsewhere, and said so.
                            Severity::Loss
                        } else {
                            Severity::Damage
                        };
                        let what = format!("no event names it, and it holds {} records", found.record.rows);
                        let repair = "take it up, unless its records are in the journal or in other segments";
                        Finding::new(&orphan.path, FindingKind::SegmentUnnamed, severity, what).repair(repair)
                    }
                    Err(error) => {
                        let what = format!("no event names it, and it is damaged: {}", fault_of(&error));
                        let finding = Finding::new(&orphan.path, FindingKind::SegmentUnnamed, Severity::Damage, what);
                        if is_bad(&error) { finding.repair("set it aside, and tell it") } else { finding }
                    }
                };
                findings.push(finding.of(view.run, view.writer));
            }
        }
        self.report.findings.extend(findings);
        Ok(())
    }
}

/// The rows of a dead writer that are in segments which events name, or in a journal.
fn rows_elsewhere(layout: &Layout, view: &WriterView, manifest: &Manifest) -> Result<KnownRows> {
    let folder = layout.run(view.run);
    let mut known = KnownRows::read(layout, manifest.segments.iter().map(|segment| folder.join(&segment.file)));
    for ring in journals_of(layout, &manifest.started)? {
        if let Ok(Some(image)) = JournalImage::open_ring(layout, &manifest.started, ring) {
            let records = image.scan_dead(manifest.watermark(ring))?.records;
            known.add_indices(ring, records.iter().map(|(index, _)| *index));
        }
    }
    Ok(known)
}

/// Sets aside what is damaged among the segments of a dead writer, and tells it in the event log: of those in `suspects`
/// that events name, and of those that none does. What is left can be recovered. `None` when the writer lives.
pub(super) fn set_damaged_aside(
    layout: &Layout,
    run: RunId,
    writer: WriterId,
    suspects: &[PathBuf],
) -> Result<Option<Vec<Repaired>>> {
    let Some(Taken { log, manifest, .. }) = take_over(layout, run, writer)? else { return Ok(None) };
    let mut repair = SegmentRepair { layout, run, log, manifest, done: Vec::new() };
    for segment in repair.manifest.segments.clone() {
        let path = layout.run(run).join(&segment.file);
        if suspects.contains(&path) {
            repair.named(&segment, &path)?;
        }
    }
    let orphans = orphans::find(layout, run, writer, &repair.manifest)?;
    if !orphans.is_empty() {
        let known = repair.rows_of_named();
        orphans.iter().try_for_each(|orphan| repair.unnamed(orphan, &known))?;
    }
    Ok(Some(repair.done))
}

struct SegmentRepair<'a> {
    layout: &'a Layout,
    run: RunId,
    /// Under its lock.
    log: EventLog,
    manifest: Manifest,
    done: Vec<Repaired>,
}

impl SegmentRepair<'_> {
    /// The file goes first, the events after it: cut short in between, the segment is one that is missing.
    fn named(&mut self, segment: &SegmentRecord, path: &Path) -> Result<()> {
        match check_on(self.layout.storage(), path, segment.blake3) {
            Ok(_) => return Ok(()),
            Err(error) if is_missing(&error) => {}
            Err(error) if error.is_corruption() => drop(quarantine::set_aside(self.layout, path)?),
            Err(error) => return Err(error),
        }
        let SegmentRecord { file, rows, metrics_name, .. } = segment;
        let detail = format!("the segment {file} of {metrics_name:?} is missing or damaged, and is no longer read");
        self.tell(GapEvent::exact(GapKind::DamagedSegment, 0, *rows, detail))?;
        let event = Event::SegmentSetAside { file: file.clone(), rows: *rows };
        self.log.append(event, Durability::Device)?;
        self.manifest.segments.retain(|kept| kept.file != *file);
        self.done.push(Repaired {
            path: path.to_owned(),
            what: format!("set aside, with {rows} records; the loss is told"),
        });
        Ok(())
    }

    /// Recovery takes up an orphan none of whose rows is in the journal. One whose rows are in other segments would be there
    /// twice.
    fn unnamed(&mut self, orphan: &Orphan, known: &KnownRows) -> Result<()> {
        let (lost, why) = match orphan.read(self.layout) {
            Ok(found) => match known.count(&found) {
                0 => return Ok(()),
                twice => (found.record.rows - twice, "holds records that other segments hold"),
            },
            Err(error) if is_bad(&error) => (0, "is damaged"),
            Err(error) => return Err(error),
        };
        quarantine::set_aside(self.layout, &orphan.path)?;
        let detail = format!("the segment {}, which no event names, {why}, and was set aside", orphan.relative);
        if lost > 0 || why == "is damaged" {
            self.tell(GapEvent::exact(GapKind::DamagedSegment, 0, lost, detail))?;
            self.log.sync()?;
        }
        self.done.push(Repaired { path: orphan.path.clone(), what: format!("set aside: it {why}") });
        Ok(())
    }

    fn tell(&mut self, gap: GapEvent) -> Result<()> {
        if !self.manifest.gaps.contains(&gap) {
            self.log.append(Event::Gap(gap.clone()), Durability::Process)?;
            self.manifest.gaps.push(gap);
        }
        Ok(())
    }

    /// The rows in the segments that events name.
    fn rows_of_named(&self) -> KnownRows {
        let folder = self.layout.run(self.run);
        KnownRows::read(self.layout, self.manifest.segments.iter().map(|segment| folder.join(&segment.file)))
    }
}
