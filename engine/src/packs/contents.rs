//! What a pack has, by its footer.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::ContentHash;
use crate::segment::{check_format, footer_value};

/// Footer key of the contents, as JSON.
pub(super) const PACK_KEY: &str = "stepwell.pack";

/// The segments whose rows a pack has, and where.
#[derive(Clone, Debug)]
pub struct PackContents {
    metrics_name: String,
    metrics: Vec<String>,
    rows: u64,
    /// By the hash of the segment's file: number of each metric, rising, and its rows in the pack.
    segments: HashMap<ContentHash, Vec<(u32, Range<u64>)>>,
}

/// The footer's form.
#[derive(Deserialize, Serialize)]
pub(super) struct Listed {
    pub metrics_name: String,
    /// Sorted.
    pub metrics: Vec<String>,
    /// In the order of their rows: hash of the file, and number and rows of each metric that it has.
    pub segments: Vec<(ContentHash, Vec<(u32, u64)>)>,
}

impl PackContents {
    /// Reads the footer of the pack at `path`, whose hash was compared.
    ///
    /// # Errors
    /// [`Error::NewerFormat`]; [`Error::Damaged`] when it does not say what the pack has.
    pub fn of(footer: &ParquetMetaData, path: &Path) -> Result<Self> {
        check_format(footer, path)?;
        let damaged = |fault: &str| Error::Damaged { path: path.to_owned(), fault: fault.to_owned() };
        let text = footer_value(footer, PACK_KEY).ok_or_else(|| damaged("its footer does not say what it has"))?;
        let listed: Listed = serde_json::from_str(text).map_err(|error| damaged(&error.to_string()))?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default();
        Self::from_listed(listed)
            .filter(|contents| contents.rows == rows)
            .ok_or_else(|| damaged("its footer names other rows than it has"))
    }

    /// `None` when rows or metrics are named that cannot be.
    pub(super) fn from_listed(listed: Listed) -> Option<Self> {
        let Listed { metrics_name, metrics, segments } = listed;
        let mut rows_of: Vec<u64> = vec![0; metrics.len()];
        for (metric, rows) in segments.iter().flat_map(|(_, rows)| rows) {
            let of_metric = rows_of.get_mut(*metric as usize)?;
            *of_metric = of_metric.checked_add(*rows)?;
        }
        let mut start = 0_u64;
        let mut starts = Vec::with_capacity(metrics.len());
        for rows in rows_of {
            starts.push(start);
            start = start.checked_add(rows)?;
        }
        let mut placed = HashMap::with_capacity(segments.len());
        for (blake3, metrics) in segments {
            let place = |(metric, rows): (u32, u64)| {
                let start = &mut starts[metric as usize];
                *start += rows;
                (metric, *start - rows..*start)
            };
            placed.insert(blake3, metrics.into_iter().map(place).collect());
        }
        Some(Self { metrics_name, metrics, rows: start, segments: placed })
    }

    /// The metrics name of all its rows.
    pub fn metrics_name(&self) -> &str {
        &self.metrics_name
    }

    /// Its rows.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The files whose rows it has, by their BLAKE3, in no order.
    pub fn segments(&self) -> impl Iterator<Item = ContentHash> {
        self.segments.keys().copied()
    }

    /// Whether it has the rows of a segment.
    pub fn has(&self, segment: ContentHash) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Where the rows of a metric of a segment are, in their order there.
    pub fn rows_of(&self, segment: ContentHash, metric: &str) -> Option<Range<u64>> {
        let metrics = self.segments.get(&segment)?;
        let of_metric = metrics.binary_search_by(|(number, _)| self.metrics[*number as usize].as_str().cmp(metric));
        Some(metrics[of_metric.ok()?].1.clone())
    }

    /// All rows of a segment.
    pub fn rows_of_segment(&self, segment: ContentHash) -> u64 {
        let metrics = self.segments.get(&segment).into_iter().flatten();
        metrics.map(|(_, rows)| rows.end - rows.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> ContentHash {
        blake3::hash(&[number]).into()
    }

    #[test]
    fn rows_lie_by_metric_and_then_by_segment() {
        let segments = vec![(hash(0), vec![(0, 5), (1, 2)]), (hash(1), vec![(1, 7)]), (hash(2), vec![(0, 1)])];
        let listed =
            Listed { metrics_name: "train".to_owned(), metrics: vec!["a".to_owned(), "b".to_owned()], segments };
        let contents = PackContents::from_listed(listed).expect("contents");
        assert_eq!(contents.rows(), 15);
        assert_eq!(contents.rows_of(hash(0), "a"), Some(0..5));
        assert_eq!(contents.rows_of(hash(2), "a"), Some(5..6));
        assert_eq!(contents.rows_of(hash(0), "b"), Some(6..8));
        assert_eq!(contents.rows_of(hash(1), "b"), Some(8..15));
        assert_eq!(contents.rows_of(hash(1), "a"), None);
        assert_eq!(contents.rows_of(hash(3), "a"), None);
        assert_eq!(contents.rows_of_segment(hash(0)), 7);
    }

    #[test]
    fn a_metric_that_is_not_listed_is_refused() {
        let listed =
            Listed { metrics_name: String::new(), metrics: Vec::new(), segments: vec![(hash(0), vec![(0, 5)])] };
        assert!(PackContents::from_listed(listed).is_none());
    }
}
