//! Reads rows of a verified segment: those columns alone that differ from row to row, and those pages alone that hold rows
//! that are wanted.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_plan::metrics::Count;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};

use super::parts::MetricRows;
use super::pruning::{Page, PageBounds};
use crate::integrity::{OpenSegment, rows_of};

/// Positions of the columns of a segment that bounds are kept for.
pub(crate) const STEP: usize = 3;
const TIME: usize = 4;
pub(crate) const VALUE: usize = 5;

/// Starts to read the columns at `columns` of the rows in `ranges`, in batches of up to `batch_rows`.
pub(crate) fn read(
    segment: OpenSegment,
    ranges: Vec<Range<usize>>,
    columns: &[usize],
    batch_rows: usize,
    bytes_read: Count,
) -> Result<ParquetRecordBatchReader> {
    let OpenSegment { file, footer, .. } = segment;
    let rows = usize::try_from(rows_of(footer.metadata())).unwrap_or_default();
    let selection = RowSelection::from_consecutive_ranges(ranges.into_iter(), rows);
    let mask = ProjectionMask::leaves(footer.parquet_schema(), columns.iter().copied());
    let bytes = SegmentBytes { file, bytes_read };
    ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, footer)
        .with_batch_size(batch_rows)
        .with_projection(mask)
        .with_row_selection(selection)
        .build()
        .map_err(DataFusionError::from)
}

/// The next batch of a reader.
pub(crate) fn next_batch(reader: &mut ParquetRecordBatchReader) -> Result<Option<RecordBatch>> {
    Ok(reader.next().transpose()?)
}

/// How many row groups hold rows in `ranges`, and how many do not.
pub(crate) fn row_groups(footer: &ParquetMetaData, ranges: &[Range<usize>]) -> (usize, usize) {
    let (mut start, mut read) = (0, 0);
    for group in footer.row_groups() {
        let end = start + usize::try_from(group.num_rows()).unwrap_or_default();
        read += usize::from(ranges.iter().any(|range| range.start < end && start < range.end));
        start = end;
    }
    (read, footer.num_row_groups() - read)
}

/// Cuts `picks` where pages of the column `step` end, and says what is known of each piece.
pub(crate) fn pages(footer: &ParquetMetaData, picks: &[MetricRows]) -> Vec<Page> {
    let known = known_pages(footer);
    let mut pages = Vec::new();
    let mut next = 0;
    for pick in picks {
        let mut start = pick.rows.start;
        while start < pick.rows.end {
            while known.get(next).is_some_and(|page| page.end <= start) {
                next += 1;
            }
            let (end, bounds) =
                known.get(next).map_or((usize::MAX, PageBounds::default()), |page| (page.end, page.bounds));
            let end = end.min(pick.rows.end);
            pages.push(Page { rows: MetricRows { rows: start..end, ..pick.clone() }, bounds });
            start = end;
        }
    }
    pages
}

/// Joins pieces of the same metric that adjoin.
pub(crate) fn join(pieces: impl Iterator<Item = MetricRows>) -> Vec<MetricRows> {
    let mut joined: Vec<MetricRows> = Vec::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if last.metric == piece.metric && last.rows.end == piece.rows.start => {
                last.rows.end = piece.rows.end;
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// A page of the column `step`, and the rows of other columns beside it.
struct KnownPage {
    /// Where it ends, counted in rows of the file.
    end: usize,
    bounds: PageBounds,
}

/// The pages that the footer knows bounds of; nothing of a file without page indexes.
fn known_pages(footer: &ParquetMetaData) -> Vec<KnownPage> {
    let (Some(offsets), Some(columns)) = (footer.offset_index(), footer.column_index()) else { return Vec::new() };
    let mut pages = Vec::new();
    let mut group_start = 0;
    for ((group, offsets), columns) in footer.row_groups().iter().zip(offsets).zip(columns) {
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let starts = |column: usize| -> Vec<usize> {
            let pages = offsets.get(column).map(|index| index.page_locations().as_slice()).unwrap_or_default();
            pages.iter().filter_map(|page| usize::try_from(page.first_row_index).ok()).collect()
        };
        let steps = starts(STEP);
        // Pages of other columns are of use where they begin with the same rows.
        let beside = |column: usize| columns.get(column).filter(|_| starts(column) == steps);
        let (times, values) = (beside(TIME), beside(VALUE));
        for (page, _) in steps.iter().enumerate() {
            let end = steps.get(page + 1).copied().unwrap_or(rows);
            let bounds = PageBounds {
                steps: columns.get(STEP).and_then(|index| ints(index, page)),
                times: times.and_then(|index| ints(index, page)),
                values: values.and_then(|index| floats(index, page)),
            };
            pages.push(KnownPage { end: group_start + end, bounds });
        }
        group_start += rows;
    }
    pages
}

fn ints(index: &ColumnIndexMetaData, page: usize) -> Option<(i64, i64)> {
    match index {
        ColumnIndexMetaData::INT64(index) => Some((*index.min_values().get(page)?, *index.max_values().get(page)?)),
        _ => None,
    }
}

/// Statistics of floats leave NaN out; they are of use for metrics without any.
fn floats(index: &ColumnIndexMetaData, page: usize) -> Option<(f64, f64)> {
    match index {
        ColumnIndexMetaData::DOUBLE(index) if !index.is_null_page(page) => {
            Some((*index.min_values().get(page)?, *index.max_values().get(page)?))
        }
        _ => None,
    }
}

/// The bytes of a file that stays open, counted as they are read.
struct SegmentBytes {
    file: Arc<File>,
    bytes_read: Count,
}

impl Length for SegmentBytes {
    fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for SegmentBytes {
    type T = BufReader<FileFrom>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(FileFrom { file: Arc::clone(&self.file), at: start, bytes_read: self.bytes_read.clone() }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut buffer = vec![0; length];
        self.file.read_exact_at(&mut buffer, start)?;
        self.bytes_read.add(length);
        Ok(buffer.into())
    }
}

/// A file from some place on. It has a place of its own, as streams share the file.
struct FileFrom {
    file: Arc<File>,
    at: u64,
    bytes_read: Count,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        self.bytes_read.add(read);
        Ok(read)
    }
}
