//! Journals that no longer keep what is stored to them: deleted, cut off, lost pages, or a sync failed.
//!
//! Their records become segments at once, and their loggers go on with a new journal. Where none can be created, records go
//! on becoming segments every sync interval: those logged since the last one would be lost with the process or the power.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::event_log::Durability;
use crate::events::{Event, GapEvent, GapKind};
use crate::writer::core::WriterCore;
use crate::writer::ring::Ring;
use crate::writer::sealing::Sealing;

/// Most journals that a writer replaces: a disk that fails again and again is not given one after the other for ever.
const REPLACED_MAX: u32 = 64;
/// Pause after a journal could not be replaced, before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Why a journal no longer keeps what is stored to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// Its file was deleted: its content goes with the process.
    Deleted,
    /// Its file was cut off, or pages of it cannot be stored to: part of the content may be gone, and the rest goes with the
    /// process.
    Lost,
    /// A sync failed; the kernel may have dropped the error with the data, so none is tried again.
    Unsynced,
}

impl WriterCore {
    /// Looks for journals that were lost. That a page was missed is known at once; the file is looked at when it is to be
    /// synced, `thoroughly`.
    pub(super) fn find_broken(&self, sealing: &mut Sealing, rings: &[Arc<Ring>], thoroughly: bool) {
        for ring in rings {
            let progress = sealing.progress.entry(ring.number).or_default();
            if progress.broken == Some(Broken::Lost) || progress.gone {
                continue;
            }
            let (run, journal) = (self.started.run_id, &ring.journal);
            if journal.is_lost() || thoroughly && journal.is_cut() {
                progress.broken = Some(Broken::Lost);
                let text = format!(
                    "run {run}: pages of its journal cannot be stored to: it was cut off, or its disk failed or is full; what \
                     cannot be read any more is told in `gaps`, the rest becomes segments, and new records go to a new journal"
                );
                sealing.tell("lost", &text);
            } else if thoroughly && progress.broken.is_none() && journal.is_deleted() {
                progress.broken = Some(Broken::Deleted);
                let text = format!(
                    "run {run}: its journal was deleted; its records become segments, and new ones go to a new journal"
                );
                sealing.tell("deleted", &text);
            }
        }
    }

    /// Gives the loggers of broken journals new ones; whether records are to become segments now. `regularly`: this is the
    /// look of a sync interval.
    pub(super) fn replace_broken(
        &self,
        sealing: &mut Sealing,
        rings: &[Arc<Ring>],
        now: Instant,
        regularly: bool,
    ) -> bool {
        let mut due = false;
        for ring in rings {
            let Some(broken) = sealing.progress.get(&ring.number).and_then(|progress| progress.broken) else {
                continue;
            };
            if ring.successor().is_none()
                && sealing.replaced < REPLACED_MAX
                && sealing.replace_at.is_none_or(|at| now >= at)
            {
                match self.replace_ring(ring) {
                    Ok(true) => {
                        sealing.replaced += 1;
                        sealing.replace_at = None;
                    }
                    Ok(false) => {}
                    Err(_) => sealing.replace_at = Some(now + RETRY),
                }
            }
            // Which slots were lost is known once the logger has left; it is not waited for.
            let progress = &sealing.progress[&ring.number];
            let pending = ring.end().map_or(progress.head > progress.committed, |end| end > progress.committed);
            due |= match broken {
                Broken::Lost if ring.end().is_none() => regularly,
                _ => pending && (regularly || ring.successor().is_some()),
            };
        }
        due
    }

    /// Removes journals that were replaced, left by their loggers, and whose records are all in durable segments.
    pub(super) fn drop_replaced(&self, sealing: &mut Sealing, rings: &[Arc<Ring>]) {
        for ring in rings {
            if ring.successor().is_none() || !ring.is_settled() || sealing.is_gone(ring) {
                continue;
            }
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let (waits, drops) = (count(ring.journal.waits()), count(ring.journal.drops()));
            // The journal goes, and with it its own count. It is kept where that cannot be told.
            if self.tell_drops(sealing, ring).is_err() || self.sync_log().is_err() {
                continue;
            }
            if ring.journal.remove(self.layout.storage()).is_err() {
                continue;
            }
            sealing.gone.0 += ring.end().unwrap_or(0);
            sealing.gone.1 += waits;
            sealing.gone.2 += drops;
            if let Some(progress) = sealing.progress.get_mut(&ring.number) {
                progress.gone = true;
            }
            self.drop_ring(ring.number);
        }
    }

    /// Tells of the records that were dropped because a ring was full, once.
    pub(super) fn tell_drops(&self, sealing: &mut Sealing, ring: &Ring) -> Result<()> {
        let told = &mut sealing.progress.entry(ring.number).or_default().drops_told;
        let drops = ring.journal.drops().load(Ordering::Relaxed);
        if drops > *told {
            // Recovery tells it in the same words, so that a journal that stays behind is not counted twice.
            self.append(Event::Gap(GapEvent::ring_full(ring.number, drops - *told)), Durability::Process)?;
            *told = drops;
        }
        Ok(())
    }
}

/// The loss of `records` below `to` in a ring whose pages were lost.
pub(super) fn lost_gap(ring: &Ring, to: u64, records: u64) -> GapEvent {
    let detail = "pages of the mapped journal were lost while it was written to";
    match ring.end() {
        Some(_) => GapEvent::exact(GapKind::LostJournal, ring.number, records, detail),
        // The logger has not been seen since; more of what it wrote may be gone.
        None => {
            let most = records + (ring.core.end_of_lap() - to);
            GapEvent::between(GapKind::LostJournal, ring.number, records, most, detail)
        }
    }
}
