//! Reading many small segments from packs, where that is less work.

use std::ops::Range;

use datafusion::error::{DataFusionError, Result};
use stepwell_engine::SegmentInfo;
use stepwell_engine::packs::{PackContents, PackFile, list};

use super::facts::Facts;
use super::parts::{MetricRows, OPENING_ROWS, Origin, Part, one_after_another};
use crate::error::SegmentFault;
use crate::integrity::{Guard, OpenPack};
use crate::source::SnapshotSource;

/// Segments to be read from which on packs are looked for.
const SEGMENTS_MIN: usize = 16;
/// Rows of a page, about: what is read of a pack at least.
const PAGE_ROWS: usize = 20_000;

/// The packs of the store of `snapshot`, verified, when so much is `picked` that they may be of use. One that is damaged is noted and left
/// out.
pub(super) async fn of_use(
    snapshot: &dyn SnapshotSource,
    guard: &Guard,
    picked: &[Vec<MetricRows>],
) -> Result<Vec<OpenPack>> {
    let is_of_segment = |pick: &MetricRows| matches!(pick.origin, Origin::Segment(_));
    let segments = picked.iter().filter(|picks| picks.first().is_some_and(is_of_segment)).count();
    if segments < SEGMENTS_MIN {
        return Ok(Vec::new());
    }
    let root = snapshot.root().to_owned();
    let open = move || {
        // Without packs, the segments have every row.
        let packs = list(&root).unwrap_or_default();
        packs.into_iter().map(|pack| (OpenPack::open_blocking(&pack), pack)).collect::<Vec<_>>()
    };
    let opened = tokio::task::spawn_blocking(open).await;
    let opened = opened.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?;
    let usable = opened.into_iter().filter_map(|(open, PackFile { path, .. })| match open {
        Ok(pack) => Some(pack),
        // A compaction removed it since it was listed.
        Err(SegmentFault::Missing) => None,
        Err(fault) => {
            guard.note_pack(&path, &fault);
            None
        }
    });
    Ok(usable.collect())
}

/// Makes parts of what is picked of each segment and live batch, and says which of `packs` they are read from.
pub(super) fn parts(
    snapshot: &dyn SnapshotSource,
    picked: Vec<Vec<MetricRows>>,
    packs: Vec<OpenPack>,
) -> (Vec<Part>, Vec<OpenPack>) {
    let mut parts = Vec::new();
    let mut packed: Vec<Vec<MetricRows>> = vec![Vec::new(); packs.len()];
    for picks in picked.into_iter().filter(|picks| !picks.is_empty()) {
        let mut shifted = packs.iter().map(|pack| shift(&picks, &pack.contents, snapshot)).enumerate();
        match shifted.find_map(|(pack, shifted)| Some((pack, shifted?))) {
            Some((pack, shifted)) => packed[pack].extend(shifted),
            None => parts.push(Part { pack: None, picks }),
        }
    }
    let mut used = Vec::new();
    for (pack, mut picks) in packs.into_iter().zip(packed) {
        picks.sort_by_key(|pick| pick.rows.start + pick.shift);
        if is_worth_it(&picks) {
            parts.push(Part { pack: Some(used.len()), picks });
            used.push(pack);
        } else {
            picks.sort_by_key(|pick| (pick.origin, pick.rows.start));
            parts.extend(one_after_another(picks));
        }
    }
    (parts, used)
}

/// The rows of a segment in a pack; `None` when it does not have them.
fn shift(picks: &[MetricRows], contents: &PackContents, snapshot: &dyn SnapshotSource) -> Option<Vec<MetricRows>> {
    let Origin::Segment(place) = picks.first()?.origin else { return None };
    let segment: &SegmentInfo = &snapshot.segments()[place];
    if !contents.has(segment.blake3) || segment.metrics_name != contents.metrics_name() {
        return None;
    }
    let own: Vec<Range<usize>> = Facts::of_segment(place, segment).rows().collect();
    let shifted = picks.iter().map(|pick| {
        let packed = contents.rows_of(segment.blake3, &segment.metrics[pick.metric].metric)?;
        let own = own.get(pick.metric)?;
        let has_all = usize::try_from(packed.end - packed.start).ok()? == own.len();
        let shift = usize::try_from(packed.start).ok()?.checked_sub(own.start)?;
        has_all.then(|| MetricRows { shift, ..pick.clone() })
    });
    shifted.collect()
}

/// Whether reading `picks` from their pack, in the order of its rows, takes less work than opening their segments.
fn is_worth_it(picks: &[MetricRows]) -> bool {
    let mut origins: Vec<Origin> = picks.iter().map(|pick| pick.origin).collect();
    origins.sort_unstable();
    origins.dedup();
    let rows: usize = picks.iter().map(|pick| pick.rows.len()).sum();
    // Pages are read whole: what lies between rows that are near each other is read with them.
    let (mut read, mut end) = (0, 0);
    for pick in picks {
        let place = pick.rows.start + pick.shift..pick.rows.end + pick.shift;
        let from = if place.start > end + PAGE_ROWS { place.start.saturating_sub(PAGE_ROWS) } else { end };
        read += place.end.saturating_sub(from);
        end = place.end;
    }
    read + OPENING_ROWS < rows + origins.len() * OPENING_ROWS
}
