//! Rows that are in a journal and in no segment, read while their writer may go on.
//!
//! The order of reading decides that each row is seen exactly once: the journal first, the manifest after it. A record
//! that was in the journal when it was read is either above the manifest's watermark, and live, or below, and in a
//! segment that the manifest names. When the watermark moved while the journal was read, slots may have been cleared
//! before they were seen; the journal is then read again from there.

use crate::batch::Batcher;
use crate::error::{Error, Result};
use crate::event_log::read_log;
use crate::events::GapEvent;
use crate::host::{Life, WriterPlace, life_of, went_down};
use crate::ids::{RunId, WriterId};
use crate::journal::{Definition, JournalImage, Scan};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::recovery::{journals_of, losses, undefined, unreadable};
use crate::snapshot::LiveRows;
use crate::stats::Counters;

/// Most times the journals are read again because segments were committed meanwhile.
const READS_MAX: usize = 64;

/// A writer that has not finished, as seen at one moment.
pub(crate) struct LiveWriter {
    pub manifest: Manifest,
    pub alive: bool,
    pub rows: Vec<LiveRows>,
    pub counters: Counters,
    /// What a dead writer lost, as its journals show; recovery will say so in its event log.
    pub gaps: Vec<GapEvent>,
}

/// Reads a writer that has not finished.
pub(crate) fn read_writer(layout: &Layout, run: RunId, writer: WriterId) -> Result<LiveWriter> {
    let path = layout.events(run, writer);
    let mut manifest = Manifest::of(&read_log(layout, &path)?, &path)?;
    let life = life_of(layout, &WriterPlace::of(&manifest.started))?;
    let alive = life != Life::Dead;
    for _ in 0..READS_MAX {
        let (scans, mut gaps) = scan_journals(layout, &manifest, life)?;
        let after = Manifest::of(&read_log(layout, &path)?, &path)?;
        let moved = after.watermarks != manifest.watermarks;
        manifest = after;
        if !moved {
            let counters = count(&scans);
            let rows = to_rows(&manifest, scans, &mut gaps)?;
            gaps.retain(|gap| !alive && !manifest.gaps.contains(gap));
            return Ok(LiveWriter { manifest, alive, rows, counters, gaps });
        }
    }
    Err(Error::CommittedTooFast { run })
}

struct RingScan {
    ring: u32,
    definitions: Vec<Definition>,
    scan: Scan,
    waits: u64,
    drops: u64,
    /// First index that is not known to be on the device.
    synced: u64,
}

fn scan_journals(layout: &Layout, manifest: &Manifest, life: Life) -> Result<(Vec<RingScan>, Vec<GapEvent>)> {
    let (mut scans, mut gaps) = (Vec::new(), Vec::new());
    if life == Life::OutOfReach {
        return Ok((scans, gaps));
    }
    let machine_down = went_down(&manifest.started.process) && manifest.finished.is_none();
    for ring in journals_of(layout, &manifest.started)? {
        let mut image = match JournalImage::open_ring(layout, &manifest.started, ring) {
            Ok(Some(image)) => image,
            Ok(None) => continue,
            // A journal that cannot be read does not keep the other rows from being asked.
            Err(error) if error.is_corruption() || matches!(error, Error::NewerFormat { .. }) => {
                gaps.push(unreadable(ring, &error));
                continue;
            }
            Err(error) => return Err(error),
        };
        let from = manifest.watermark(ring);
        let scan = if life == Life::Alive { image.scan_live(from)? } else { image.scan_dead(from)? };
        // Definitions are written before the records that use them; read after the records, they cover all of them.
        image.read_definitions()?;
        gaps.extend(losses(ring, &image, &scan, machine_down));
        let (waits, drops, synced) = (image.waits, image.drops, image.synced);
        scans.push(RingScan { ring, definitions: image.definitions, scan, waits, drops, synced });
    }
    Ok((scans, gaps))
}

fn count(scans: &[RingScan]) -> Counters {
    let synced = |scan: &RingScan| scan.scan.records.partition_point(|(index, _)| *index < scan.synced) as u64;
    Counters {
        waits: scans.iter().map(|scan| scan.waits).sum(),
        drops: scans.iter().map(|scan| scan.drops).sum(),
        synced: scans.iter().map(synced).sum(),
    }
}

fn to_rows(manifest: &Manifest, scans: Vec<RingScan>, gaps: &mut Vec<GapEvent>) -> Result<Vec<LiveRows>> {
    let (run, writer) = (manifest.started.run_id, manifest.started.writer);
    let longest = scans.iter().map(|scan| &scan.definitions).max_by_key(|definitions| definitions.len());
    let definitions = longest.cloned().unwrap_or_default();
    let mut batcher = Batcher::new(definitions.len());
    for RingScan { ring, scan, .. } in &scans {
        for (index, record) in &scan.records {
            batcher.push(*ring, *index, record);
        }
    }
    gaps.extend(undefined(batcher.undefined()));
    let live = batcher.finish(&definitions).into_iter().map(|rows| {
        let batch = rows.to_batch(run, writer)?;
        Ok(LiveRows { run_id: run, writer, metrics_name: rows.metrics_name, batch, metrics: rows.metrics })
    });
    live.collect()
}
