//! Segments that no event names.
//!
//! A writer that dies between publishing a segment and the event that names it leaves one, and its rows are in the journal
//! still. But a segment may also be the only place of its rows: when the event was damaged, or when a store was copied
//! while it was written, the event log first and the segments later. So an orphan is looked at before it is judged: it is
//! removed when all its rows were read from the journal, taken up when none was, and otherwise kept and told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ProjectionMask;
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};
use crate::events::{SegmentRecord, Watermark};
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, SegmentFile};
use crate::manifest::Manifest;
use crate::ring::SEQ_INDEX_BITS;
use crate::segment::{METRICS_KEY, METRICS_NAME_KEY, footer_value, open_reader, without_panic};
use crate::storage::list_if_there;
use crate::verify::check_on;

/// Indices of records, by ring.
type Indices = BTreeMap<u32, Vec<u64>>;

/// A segment that no event names.
pub(crate) struct Orphan {
    pub path: PathBuf,
    file: SegmentFile,
    /// Path below the run folder.
    pub relative: String,
}

/// What an orphan holds.
pub(crate) struct OrphanRows {
    /// What an event would say of it.
    pub record: SegmentRecord,
    /// Indices of its rows, by ring.
    indices: Indices,
}

/// The segments of a writer that its event log does not name, by their numbers. Those that others took the place of are named,
/// whether their files are still there or not.
pub(crate) fn find(layout: &Layout, run: RunId, writer: WriterId, manifest: &Manifest) -> Result<Vec<Orphan>> {
    let mut orphans = Vec::new();
    let named: BTreeSet<&str> = manifest.segments.iter().map(|segment| segment.file.as_str()).collect();
    let is_named = |relative: &str, n: u64| named.contains(relative) || manifest.replaced_numbers.contains(&n);
    for folder in list_if_there(layout.storage(), &layout.run(run))?.iter().filter(|entry| entry.is_folder) {
        for entry in list_if_there(layout.storage(), &layout.run(run).join(&folder.name))? {
            let relative = format!("{}/{}", folder.name, entry.name);
            match SegmentFile::parse(&entry.name) {
                Some(file) if file.writer == writer && !is_named(&relative, file.n) => {
                    orphans.push(Orphan { path: layout.run(run).join(&relative), file, relative });
                }
                _ => {}
            }
        }
    }
    orphans.sort_by_key(|orphan| orphan.file.n);
    Ok(orphans)
}

impl Orphan {
    /// Its number among the segments of its writer.
    pub(crate) fn number(&self) -> u64 {
        self.file.n
    }

    /// Reads what the segment holds, after checking that it is whole.
    ///
    /// # Errors
    /// [`Error::HashMismatch`], [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Parquet`], [`Error::Io`].
    pub(crate) fn read(&self, layout: &Layout) -> Result<OrphanRows> {
        let bytes = check_on(layout.storage(), &self.path, self.file.blake3)?;
        without_panic(&self.path, || self.read_checked(layout, bytes))
    }

    fn read_checked(&self, layout: &Layout, bytes: u64) -> Result<OrphanRows> {
        let parquet = |source| Error::Parquet { action: "read", path: self.path.clone(), source };
        let builder = open_reader(layout, &self.path)?;
        let metrics_name = self.footer_value(builder.metadata(), METRICS_NAME_KEY)?;
        let metrics = self.footer_value(builder.metadata(), METRICS_KEY)?;
        let metrics = serde_json::from_str(&metrics).map_err(|error| self.damaged(&error.to_string()))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["time", "seq"]);
        let mut record = SegmentRecord {
            n: self.file.n,
            metrics_name,
            file: self.relative.clone(),
            blake3: self.file.blake3,
            bytes,
            rows: 0,
            time_min: i64::MAX,
            time_max: i64::MIN,
            metrics,
        };
        let mut indices = Indices::new();
        for batch in builder.with_projection(mask).build().map_err(parquet)? {
            let batch = batch?;
            record.rows += batch.num_rows() as u64;
            for time in batch.column(0).as_primitive::<TimestampMicrosecondType>().values() {
                record.time_min = record.time_min.min(*time);
                record.time_max = record.time_max.max(*time);
            }
            add_indices(&mut indices, batch.column(1).as_primitive());
        }
        Ok(OrphanRows { record, indices })
    }

    fn footer_value(&self, footer: &ParquetMetaData, key: &str) -> Result<String> {
        let value = footer_value(footer, key).map(str::to_owned);
        value.ok_or_else(|| self.damaged("its footer does not say what it holds"))
    }

    fn damaged(&self, fault: &str) -> Error {
        Error::Damaged { path: self.path.clone(), fault: fault.to_owned() }
    }
}

impl OrphanRows {
    /// Positions behind its rows.
    pub(crate) fn watermarks(&self) -> Vec<Watermark> {
        let ends = self.indices.iter().map(|(ring, indices)| (*ring, indices.iter().max().map_or(0, |last| last + 1)));
        ends.map(|(ring, committed)| Watermark { ring, committed }).collect()
    }
}

/// The rows of a writer that are in segments which an event names.
pub(crate) struct KnownRows {
    indices: Indices,
    complete: bool,
}

impl KnownRows {
    /// Reads the sequence numbers of `segments`.
    pub(crate) fn read(layout: &Layout, segments: impl Iterator<Item = PathBuf>) -> Self {
        let mut known = Self { indices: Indices::new(), complete: true };
        for path in segments {
            known.complete &= without_panic(&path, || known.read_one(layout, &path)).is_ok();
        }
        known.indices.values_mut().for_each(|indices| indices.sort_unstable());
        known
    }

    fn read_one(&mut self, layout: &Layout, path: &Path) -> Result<()> {
        let parquet = |source| Error::Parquet { action: "read", path: path.to_owned(), source };
        let builder = open_reader(layout, path)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["seq"]);
        for batch in builder.with_projection(mask).build().map_err(parquet)? {
            add_indices(&mut self.indices, batch?.column(0).as_primitive());
        }
        Ok(())
    }

    /// Whether every segment could be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many rows of an orphan are known.
    pub(crate) fn count(&self, orphan: &OrphanRows) -> u64 {
        let count = |(ring, indices): (&u32, &Vec<u64>)| {
            let known = self.indices.get(ring).map_or(&[][..], Vec::as_slice);
            indices.iter().filter(|index| known.binary_search(index).is_ok()).count() as u64
        };
        orphan.indices.iter().map(count).sum()
    }

    /// Whether all rows of an orphan are known.
    pub(crate) fn has_all(&self, orphan: &OrphanRows) -> bool {
        self.count(orphan) == orphan.record.rows
    }

    /// Adds the rows of an orphan that is taken up.
    pub(crate) fn add(&mut self, orphan: &OrphanRows) {
        for (ring, indices) in &orphan.indices {
            self.add_indices(*ring, indices.iter().copied());
        }
    }

    /// Adds records of a ring.
    pub(crate) fn add_indices(&mut self, ring: u32, indices: impl Iterator<Item = u64>) {
        let known = self.indices.entry(ring).or_default();
        known.extend(indices);
        known.sort_unstable();
    }
}

fn add_indices(indices: &mut Indices, column: &Int64Array) {
    for seq in column.values() {
        let ring = (*seq >> SEQ_INDEX_BITS) as u32;
        indices.entry(ring).or_default().push(*seq as u64 & ((1 << SEQ_INDEX_BITS) - 1));
    }
}
