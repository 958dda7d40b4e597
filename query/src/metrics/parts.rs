//! What a scan of `metrics` reads: ranges of rows of segments and live batches.
//!
//! Both are sorted by (metric, step, sequence number), and statistics count the records of each metric. So the rows of a
//! metric are known before a file is opened. The rows of many segments may be read from a pack, which has them once more.

use std::ops::Range;

use super::facts::Facts;
use crate::source::SnapshotSource;

/// Rows that a scan is shared out by: fewer are not worth another stream.
const STREAM_ROWS_MIN: usize = 32_768;
/// What opening a part costs, in rows.
pub(crate) const OPENING_ROWS: usize = 4096;

/// A segment or a batch of live rows, by its position in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    Segment(usize),
    Live(usize),
}

impl Origin {
    pub(crate) fn facts(self, snapshot: &dyn SnapshotSource) -> Facts<'_> {
        match self {
            Self::Segment(place) => Facts::of_segment(place, &snapshot.segments()[place]),
            Self::Live(place) => Facts::of_live(place, &snapshot.live()[place]),
        }
    }
}

/// Rows of one metric: they adjoin, sorted by (step, sequence number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MetricRows {
    pub(crate) origin: Origin,
    /// Position of the metric among those of its origin.
    pub(crate) metric: usize,
    /// Rows of the segment or batch.
    pub(crate) rows: Range<usize>,
    /// How much further on they are in the pack that they are read from; a pack has no fewer rows before them than their segment.
    pub(crate) shift: usize,
}

impl MetricRows {
    /// Rows of what is read.
    fn place(&self) -> Range<usize> {
        self.rows.start + self.shift..self.rows.end + self.shift
    }
}

/// Rows that are read one after another: of one segment or live batch, or of many segments from a pack.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Position of the pack among those of the scan.
    pub(crate) pack: Option<usize>,
    /// In the order in which they are read, none empty.
    pub(crate) picks: Vec<MetricRows>,
}

impl Part {
    /// Where the rows are from; without a pack, all of them.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.picks.first().map(|pick| pick.origin)
    }

    pub(crate) fn rows(&self) -> usize {
        self.picks.iter().map(|pick| pick.rows.len()).sum()
    }

    fn weight(&self) -> usize {
        self.rows() + OPENING_ROWS
    }

    /// Takes the first `rows` rows off.
    fn split_off_front(&mut self, mut rows: usize) -> Self {
        let fits = |pick: &&MetricRows| {
            let fits = pick.rows.len() <= rows;
            rows -= if fits { pick.rows.len() } else { 0 };
            fits
        };
        let whole = self.picks.iter().take_while(fits).count();
        let mut picks: Vec<MetricRows> = self.picks.drain(..whole).collect();
        if let Some(pick) = self.picks.first_mut().filter(|_| rows > 0) {
            let middle = pick.rows.start + rows;
            picks.push(MetricRows { rows: pick.rows.start..middle, ..pick.clone() });
            pick.rows.start = middle;
        }
        Self { pack: self.pack, picks }
    }

    /// Its rows in what is read, as few ranges: those of adjoining metrics are one.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for pick in &self.picks {
            let place = pick.place();
            match ranges.last_mut() {
                Some(last) if last.end == place.start => last.end = place.end,
                _ => ranges.push(place),
            }
        }
        ranges
    }
}

/// Rows that are read from the segments themselves, in the order of `picks`.
pub(crate) fn one_after_another(picks: Vec<MetricRows>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for pick in picks {
        let pick = MetricRows { shift: 0, ..pick };
        match parts.last_mut() {
            Some(last) if last.origin() == Some(pick.origin) => last.picks.push(pick),
            _ => parts.push(Part { pack: None, picks: vec![pick] }),
        }
    }
    parts
}

/// Shares `parts` out among at most `streams` streams, in their order.
pub(crate) fn share_out(parts: Vec<Part>, streams: usize) -> Vec<Vec<Part>> {
    let total: usize = parts.iter().map(Part::weight).sum();
    let streams = (total / STREAM_ROWS_MIN).clamp(1, streams.max(1));
    let share = total.div_ceil(streams);
    let mut shares: Vec<Vec<Part>> = vec![Vec::new()];
    let mut room = share;
    for mut part in parts {
        while part.weight() > room && shares.len() < streams {
            // A stump of less than what opening costs is not worth a second opening.
            let head = room.saturating_sub(OPENING_ROWS);
            if head > OPENING_ROWS && part.rows() > head + OPENING_ROWS {
                let head = part.split_off_front(head);
                shares.last_mut().into_iter().for_each(|last| last.push(head.clone()));
            } else if part.weight() <= room + OPENING_ROWS {
                break;
            }
            shares.push(Vec::new());
            room = share;
        }
        room = room.saturating_sub(part.weight());
        shares.last_mut().into_iter().for_each(|last| last.push(part.clone()));
    }
    shares.retain(|parts| !parts.is_empty());
    if shares.is_empty() {
        shares.push(Vec::new());
    }
    shares
}

/// Cuts parts into those of at most `rows` rows.
pub(crate) fn cut(parts: Vec<Part>, rows: usize) -> Vec<Part> {
    let mut pieces = Vec::with_capacity(parts.len());
    for mut part in parts {
        while part.rows() > rows {
            pieces.push(part.split_off_front(rows));
        }
        pieces.push(part);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(place: usize, picks: impl IntoIterator<Item = Range<usize>>) -> Part {
        let origin = Origin::Segment(place);
        let picks = picks.into_iter().enumerate();
        let picks =
            picks.map(|(metric, rows)| MetricRows { origin, metric, rows, shift: 0 }).filter(|p| !p.rows.is_empty());
        Part { pack: None, picks: picks.collect() }
    }

    #[test]
    fn adjoining_metrics_are_read_as_one_range() {
        assert_eq!(part(0, [0..5, 5..7, 9..10]).ranges(), [0..7, 9..10]);
    }

    #[test]
    fn every_row_is_in_one_share_in_order() {
        for streams in 1..9 {
            for sizes in [vec![10], vec![1_000_000], vec![100; 900], vec![700_000, 5, 80_000, 3, 3], vec![]] {
                let parts: Vec<Part> =
                    sizes.iter().enumerate().map(|(place, rows)| part(place, [0..rows / 2, rows / 2..*rows])).collect();
                let shares = share_out(parts, streams);
                assert!(shares.len() <= streams && !shares.is_empty(), "{streams} {sizes:?}");
                let read = |part: &Part| part.picks.iter().flat_map(|pick| pick.rows.clone()).collect::<Vec<_>>();
                let mut rows: Vec<Vec<usize>> = vec![Vec::new(); sizes.len()];
                let mut last = Origin::Segment(0);
                for part in shares.iter().flatten() {
                    let origin = part.origin().expect("rows");
                    assert!(origin >= last);
                    last = origin;
                    let Origin::Segment(place) = origin else { panic!("a segment") };
                    rows[place].extend(read(part));
                }
                for (rows, size) in rows.iter().zip(&sizes) {
                    assert_eq!(*rows, (0..*size).collect::<Vec<_>>(), "{streams} {sizes:?}");
                }
            }
        }
    }

    #[test]
    fn a_large_scan_is_shared_evenly_and_a_small_one_is_not_shared() {
        let shares = share_out(vec![part(0, [0..5_000_000, 5_000_000..10_000_000])], 4);
        assert_eq!(shares.len(), 4);
        for share in &shares {
            let rows: usize = share.iter().map(Part::rows).sum();
            assert!((2_400_000..2_600_000).contains(&rows), "{rows}");
        }
        assert_eq!(share_out(vec![part(0, Some(0..2000))], 4).len(), 1);
    }
}
