//! Journals: what a dead writer left in them, and what is wrong with it.

use std::path::Path;

use super::logs::WriterView;
use super::{Examination, Finding, FindingKind, Severity, fault_of, is_newer};
use crate::error::Result;
use crate::events::{GapEvent, WriterStarted};
use crate::host::went_down;
use crate::journal::{JournalImage, Scan};
use crate::layout::{Layout, journal_in};
use crate::manifest::Manifest;
use crate::recovery::journals_of;
use crate::ring::RECORD_BYTES;
use crate::scratch::{self, Found};

/// What a repair does with the journal of a dead writer.
const RECOVER: &str = "make segments of the records that are sound, and tell the loss in the event log";

impl Examination<'_> {
    pub(super) fn journals(&mut self) -> Result<()> {
        let mut findings = Vec::new();
        for view in &self.views {
            if let Some(manifest) = &view.manifest {
                look(self.layout, view, manifest, &mut findings)?;
            }
        }
        self.report.findings.extend(findings);
        Ok(())
    }
}

/// Looks at the journals of a writer. Those of a living one are only opened: it is at work in them.
fn look(layout: &Layout, view: &WriterView, manifest: &Manifest, findings: &mut Vec<Finding>) -> Result<()> {
    let mut images = Vec::new();
    let folder = manifest.started.journal_folder(layout);
    for ring in journals_of(layout, &manifest.started)? {
        match JournalImage::open_ring(layout, &manifest.started, ring) {
            Ok(image) => images.extend(image.map(|image| (ring, image))),
            Err(error) if error.is_corruption() || is_newer(&error) => {
                let path = journal_in(&folder, ring);
                let finding = if is_newer(&error) {
                    Finding::new(path, FindingKind::JournalNewer, Severity::Damage, fault_of(&error))
                } else {
                    let repair = "tell the loss in the event log, and set the journal aside";
                    let most = std::fs::metadata(&path).map_or(0, |metadata| metadata.len() / RECORD_BYTES as u64);
                    Finding::new(path, FindingKind::JournalUnreadable, Severity::Damage, fault_of(&error))
                        .lost(0, Some(most))
                        .repair_of_dead(view.alive, repair)
                };
                findings.push(finding.of(view.run, view.writer));
            }
            Err(error) => return Err(error),
        }
    }
    if view.alive {
        return Ok(());
    }
    if let Some(folder) = &manifest.started.journals
        && !view.has_ended()
        && scratch::look(folder, view.run, view.writer)? == Found::Gone
    {
        let what = "the journals were there, and are gone; nothing says how many records were in no segment yet";
        let finding = Finding::new(folder, FindingKind::JournalsGone, Severity::Loss, what);
        findings.push(finding.of(view.run, view.writer).repair("tell the loss in the event log"));
    }
    // Journals of one writer define the same metrics in the same order, each as far as it needed.
    let defined = images.iter().map(|(_, image)| image.definitions.len()).max().unwrap_or(0);
    let machine_down = went_down(&manifest.started.process) && !view.has_ended();
    for (ring, image) in images {
        let from = view.watermark(ring);
        let left = Left { image: &image, ring, from, scan: image.scan_dead(from)?, defined, machine_down };
        let path = journal_in(&folder, ring);
        let found = left.findings(&path, manifest)?.into_iter();
        findings.extend(found.map(|finding| finding.of(view.run, view.writer).repair(RECOVER)));
    }
    Ok(())
}

/// What a dead writer left in the journal of one ring.
struct Left<'a> {
    image: &'a JournalImage,
    ring: u32,
    /// Records below are in segments.
    from: u64,
    scan: Scan,
    /// Metrics that any journal of the writer defines.
    defined: usize,
    machine_down: bool,
}

impl Left<'_> {
    fn findings(&self, path: &Path, manifest: &Manifest) -> Result<Vec<Finding>> {
        use Severity::{Damage, Loss, Note};
        let Scan { records, damaged, missing, cut_off, .. } = &self.scan;
        let finding = |kind, severity, what: String| Finding::new(path, kind, severity, what);
        let what = format!("it holds {} records that are in no segment; its writer is gone", records.len());
        let mut found = vec![finding(FindingKind::JournalWaiting, Note, what)];
        if *damaged > 0 {
            let what = format!("{damaged} slots hold what does not fit their check");
            found.push(finding(FindingKind::JournalDamagedSlots, Damage, what).lost(*damaged, None));
        }
        if *missing > 0 {
            let what = format!("{missing} slots before the last record are empty: pages that a power cut lost");
            found.push(finding(FindingKind::JournalMissingSlots, Loss, what).lost(*missing, None));
        }
        if *cut_off > 0 {
            let what = format!("the file is shorter than it was made: {cut_off} slots are cut off");
            found.push(finding(FindingKind::JournalCut, Damage, what).lost(0, Some(*cut_off)));
        }
        for first in self.image.blocks_that_do_not_fit(self.from)? {
            let what = format!(
                "the block from record {first} on does not have the checksum that it was sealed with; each record in it is \
                 judged by its own check"
            );
            found.push(finding(FindingKind::JournalBlock, Damage, what));
        }
        let undefined = records.iter().filter(|(_, record)| record.metric as usize >= self.defined).count() as u64;
        if undefined > 0 {
            let what = format!("{undefined} records are of metrics that no journal of the writer defines");
            found.push(finding(FindingKind::JournalUndefined, Damage, what).lost(undefined, None));
        }
        let drops = self.image.drops;
        if drops > 0 && !manifest.gaps.contains(&GapEvent::ring_full(self.ring, drops)) {
            let what = format!("{drops} records were dropped because the ring was full");
            found.push(finding(FindingKind::JournalDrops, Loss, what).lost(drops, None));
        }
        if self.machine_down {
            let most = self.image.header.geometry.capacity - records.len() as u64;
            let what = "the machine was restarted while the run was written; what had not reached the device is lost";
            found.push(finding(FindingKind::MachineDown, Loss, what.to_owned()).lost(0, Some(most)));
        }
        Ok(found)
    }
}

/// The journals of a writer that cannot be read at all.
pub(super) fn unreadable(layout: &Layout, started: &WriterStarted) -> Result<Vec<u32>> {
    let mut rings = journals_of(layout, started)?;
    rings.retain(|ring| JournalImage::open_ring(layout, started, *ring).is_err_and(|error| error.is_corruption()));
    Ok(rings)
}
