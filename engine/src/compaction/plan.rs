//! What is due. Pure: no file is looked at.

use std::collections::BTreeMap;

use super::CompactOptions;

/// What the decision needs to know of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub bytes: u64,
    pub rows: u64,
}

impl CompactOptions {
    /// A segment of so many rows is not small, however few bytes they take.
    pub(crate) fn small_rows(&self) -> u64 {
        self.segment_rows_max / 2
    }

    /// Whether a segment is small: a question is better off with fewer of its kind.
    pub(crate) fn is_small(&self, bytes: u64, rows: u64) -> bool {
        bytes < self.small_bytes && rows < self.small_rows()
    }

    /// Whether the segments of one metrics name are to be merged: too many of them are small. What a merge makes is at most one
    /// small segment, so that it is not due again.
    pub(super) fn is_due(&self, segments: impl Iterator<Item = Size>) -> bool {
        segments.filter(|size| self.is_small(size.bytes, size.rows)).count() > self.segments_max.max(1)
    }

    /// Segments that `rows` rows become.
    pub(super) fn segments_of(&self, rows: u64) -> u64 {
        rows.div_ceil(self.segment_rows_max.max(1)).max(1)
    }

    /// The keys, in order, that are due.
    pub(super) fn due<K: Ord>(&self, segments: impl Iterator<Item = (K, Size)>) -> Vec<K> {
        let mut names: BTreeMap<K, Vec<Size>> = BTreeMap::new();
        for (key, size) in segments {
            names.entry(key).or_default().push(size);
        }
        let due = names.into_iter().filter(|(_, sizes)| self.is_due(sizes.iter().copied()));
        due.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { bytes: 5_000, rows: 500 };
    const LARGE: Size = Size { bytes: 5_000_000, rows: 1_000_000 };

    #[test]
    fn a_name_with_many_small_segments_is_due() {
        let options = CompactOptions::default();
        let due =
            |small: usize, large: usize| options.is_due([vec![SMALL; small], vec![LARGE; large]].concat().into_iter());
        assert!(due(9, 0) && due(9, 100));
        assert!(!due(8, 0) && !due(8, 100) && !due(0, 0));
    }

    #[test]
    fn what_a_merge_makes_is_not_due_again() {
        // Rows of a constant value take next to no bytes: half a segment of them is not small all the same.
        let options = CompactOptions { segment_rows_max: 1000, segments_max: 0, ..CompactOptions::default() };
        for rows in 1..5_000 {
            let segments = options.segments_of(rows);
            let each = Size { bytes: 1, rows: rows / segments };
            assert!(!options.is_due(vec![each; segments as usize].into_iter()), "{rows} rows in {segments} segments");
        }
    }
}
