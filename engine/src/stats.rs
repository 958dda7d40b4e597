//! What the engine did for each writer: records, waits, losses, where its journals lie.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::catalog::CatalogSnapshot;
use crate::error::Result;
use crate::events::GapKind;
use crate::host::is_here;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::snapshot::{RunState, Snapshot, WriterInfo};

/// One writer in numbers, at the moment of a snapshot. Of a living writer, and of a dead one that was not recovered yet, the
/// numbers come from the headers of its journals; of one that ended, from its event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterStats {
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Its state.
    pub state: RunState,
    /// Records logged: as told at the end, else those that are in segments and journals.
    pub records_logged: u64,
    /// Records in segments.
    pub records_committed: u64,
    /// Records in journals and in no segment.
    pub records_live: u64,
    /// Records known to be on the device: those in segments, and those in journals up to the last sync.
    pub records_durable: u64,
    /// Calls that waited for room in a ring.
    pub waits: u64,
    /// Records dropped because a ring was full.
    pub drops: u64,
    /// Records that the event log tells as lost.
    pub records_lost: u64,
    /// Folder of its journals; gone once their records are in segments.
    pub journal_folder: PathBuf,
    /// Kind of file system that the journals lie on; `unknown` of those in the scratch of another machine.
    pub file_system: &'static str,
    /// What records survive once they are synced: `device` (power loss), or `process` (the end of the process alone), also
    /// where that is not known.
    pub durability: &'static str,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segments.
    pub bytes: u64,
}

/// Counters in the headers of a writer's journals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub waits: u64,
    pub drops: u64,
    /// Records above the watermarks that are known to be on the device.
    pub synced: u64,
}

/// Where the journals of writers lie, and what that means for them.
struct JournalPlaces<'a> {
    layout: &'a Layout,
    /// Kind of file system of the store; asked once.
    file_system: &'static str,
}

struct JournalPlace {
    folder: PathBuf,
    file_system: &'static str,
    durability: &'static str,
}

impl<'a> JournalPlaces<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self { layout, file_system: layout.file_system().name }
    }

    fn of(&self, run: RunId, info: &WriterInfo) -> JournalPlace {
        let folder = self.layout.journal_folder(run, info.writer, info.journal_folder.as_deref());
        let file_system = match &info.journal_folder {
            None => self.file_system,
            // The folder of a writer that has ended is gone.
            Some(folder) if is_here(&info.process) => {
                let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
                self.layout.storage().file_system(there).name
            }
            Some(_) => "unknown",
        };
        let forgets = info.journal_folder.is_some() && matches!(file_system, "tmpfs" | "unknown");
        JournalPlace { folder, file_system, durability: if forgets { "process" } else { "device" } }
    }
}

/// Sums over what a snapshot holds of one writer.
#[derive(Clone, Copy, Default)]
struct Sums {
    committed: u64,
    live: u64,
    segments: u64,
    bytes: u64,
    lost: u64,
    dropped: u64,
}

impl Snapshot {
    /// One entry per writer, ordered by run, rank, attempt and id.
    ///
    /// # Errors
    /// [`crate::Error::Catalog`].
    pub fn writer_stats(&self) -> Result<Vec<WriterStats>> {
        let sums = self.sums()?;
        let logged = self.indexed(CatalogSnapshot::records_logged)?;
        let places = JournalPlaces::new(self.layout());
        let writers = self.runs().iter().flat_map(|run| run.writers.iter().map(|writer| (run.run_id, writer)));
        let stats = writers.map(|(run_id, info)| {
            let key = (run_id, info.writer);
            let sums = sums.get(&key).copied().unwrap_or_default();
            let told = logged.get(&key).copied().unwrap_or_default();
            stats_of(run_id, info, sums, told, self.counters(key), places.of(run_id, info))
        });
        Ok(stats.collect())
    }

    fn sums(&self) -> Result<BTreeMap<(RunId, WriterId), Sums>> {
        let mut sums: BTreeMap<(RunId, WriterId), Sums> = BTreeMap::new();
        for segment in self.segments() {
            let sums = sums.entry((segment.run_id, segment.writer)).or_default();
            sums.committed += segment.rows;
            sums.segments += 1;
            sums.bytes += segment.bytes;
        }
        for live in self.live() {
            sums.entry((live.run_id, live.writer)).or_default().live += live.batch.num_rows() as u64;
        }
        for gap in self.gaps()? {
            let sums = sums.entry((gap.run_id, gap.writer)).or_default();
            sums.lost += gap.gap.records;
            sums.dropped += if gap.gap.kind == GapKind::RingFull { gap.gap.records } else { 0 };
        }
        Ok(sums)
    }
}

fn stats_of(
    run_id: RunId,
    info: &WriterInfo,
    sums: Sums,
    told: u64,
    counters: Option<Counters>,
    place: JournalPlace,
) -> WriterStats {
    let counters = counters.unwrap_or_default();
    let Sums { committed, live, segments, bytes, lost, dropped } = sums;
    WriterStats {
        run_id,
        writer: info.writer,
        state: info.state,
        // A call that overlapped `finish` is logged after the number was told.
        records_logged: told.max(committed + live),
        records_committed: committed,
        records_live: live,
        records_durable: committed + counters.synced,
        waits: info.waits.max(counters.waits),
        drops: info.drops.max(counters.drops).max(dropped),
        records_lost: lost,
        journal_folder: place.folder,
        file_system: place.file_system,
        durability: place.durability,
        segments,
        bytes,
    }
}
