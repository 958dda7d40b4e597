//! Text columns of a segment: dictionary pages and run-length encoded data pages, written from runs of equal values.
//!
//! A segment is sorted by metric, and its other text columns are constant, so each column is a handful of runs; a pack has a run for
//! each metric of each of its segments. The general encoder would hash and compare the text of every row to find that out, which was nearly half of the sealer's time. The
//! encodings are those of the Parquet specification: PLAIN for the dictionary, RLE_DICTIONARY for the data ("Parquet
//! encoding definitions", run-length / bit-packing hybrid).

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

/// A page is closed at the end of a run once it has this many rows, so that pages begin and end with metrics.
const PAGE_ROWS: usize = 8192;

/// A text column as runs of equal values, whose rows adjoin.
pub(crate) struct TextRuns<'a> {
    /// Rising and distinct.
    pub values: Vec<Cow<'a, str>>,
    /// Number of the value, and rows that have it.
    pub runs: Vec<(u32, Range<usize>)>,
}

impl<'a> TextRuns<'a> {
    /// Each of `values` once, in the rows beside it.
    pub(crate) fn rising(values: Vec<&'a str>, rows: impl IntoIterator<Item = Range<usize>>) -> Self {
        Self { values: values.into_iter().map(Cow::Borrowed).collect(), runs: (0..).zip(rows).collect() }
    }

    /// One value in all rows.
    pub(crate) fn constant(value: &'a str, rows: usize) -> Self {
        Self { values: vec![Cow::Borrowed(value)], runs: vec![(0, 0..rows)] }
    }

    fn is_rising(&self) -> bool {
        self.runs.is_sorted_by_key(|(key, _)| *key)
    }
}

/// An encoded column chunk, to be appended to a row group.
pub(crate) struct EncodedColumn {
    pub bytes: Bytes,
    pub close: ColumnCloseResult,
}

/// Encodes a required text column.
pub(crate) fn encode(column: ColumnDescPtr, runs: &TextRuns<'_>) -> Result<EncodedColumn> {
    let mut sink = TrackedWrite::new(Vec::new());
    let mut pages = SerializedPageWriter::new(&mut sink);
    let mut column_index = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
    let mut offset_index = OffsetIndexBuilder::new();
    let order = if runs.is_rising() { BoundaryOrder::ASCENDING } else { BoundaryOrder::UNORDERED };
    column_index.set_boundary_order(order);

    let dictionary = dictionary_page(&runs.values);
    let mut spec = pages.write_page(dictionary)?;
    let dictionary_offset = spec.offset as i64;
    let mut uncompressed = spec.uncompressed_size;
    let data_offset = spec.bytes_written as i64;

    let mut rest = runs.runs.as_slice();
    while let Some((_, first)) = rest.first() {
        let closes = rest.iter().position(|(_, rows)| rows.end - first.start >= PAGE_ROWS);
        let (page, after) = rest.split_at(closes.map_or(rest.len(), |run| run + 1));
        let rows = page.last().map_or(0, |(_, rows)| rows.end - first.start);
        spec = pages.write_page(data_page(page, runs.values.len(), rows))?;
        uncompressed += spec.uncompressed_size;
        let keys = || page.iter().map(|(key, _)| *key as usize);
        let bytes = |key: Option<usize>| key.map_or_else(Vec::new, |key| runs.values[key].as_bytes().to_vec());
        column_index.append(false, bytes(keys().min()), bytes(keys().max()), 0);
        offset_index.append_row_count(rows as i64);
        offset_index.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
        offset_index.append_unencoded_byte_array_data_bytes(None);
        rest = after;
    }
    pages.close()?;

    let bytes = Bytes::from(sink.into_inner()?);
    let rows = runs.runs.last().map_or(0, |(_, rows)| rows.end);
    let edge = |value: Option<&Cow<'_, str>>| value.map(|value| ByteArray::from(value.as_bytes().to_vec()));
    let statistics = ValueStatistics::new(edge(runs.values.first()), edge(runs.values.last()), None, Some(0), false);
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(Compression::UNCOMPRESSED)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE_DICTIONARY])
        .set_total_compressed_size(bytes.len() as i64)
        .set_total_uncompressed_size(uncompressed as i64)
        .set_num_values(rows as i64)
        .set_dictionary_page_offset(Some(dictionary_offset))
        .set_data_page_offset(data_offset)
        .set_statistics(Statistics::ByteArray(statistics))
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: bytes.len() as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: Some(column_index.build()?),
        offset_index: Some(offset_index.build()),
    };
    Ok(EncodedColumn { bytes, close })
}

fn dictionary_page(values: &[Cow<'_, str>]) -> CompressedPage {
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value.as_bytes());
    }
    let length = bytes.len();
    let page = Page::DictionaryPage {
        buf: bytes.into(),
        num_values: values.len() as u32,
        encoding: Encoding::PLAIN,
        is_sorted: true,
    };
    CompressedPage::new(page, length)
}

/// A data page of runs: the bit width of the keys, then per run its length times two as a variable-length integer, and
/// the key in as many bytes as the width needs.
fn data_page(runs: &[(u32, Range<usize>)], values: usize, rows: usize) -> CompressedPage {
    let width = (values - 1).checked_ilog2().map_or(0, |bits| bits + 1);
    let mut bytes = vec![width as u8];
    for (key, run) in runs {
        let mut header = (run.len() as u64) << 1;
        while header >= 0x80 {
            bytes.push(header as u8 | 0x80);
            header >>= 7;
        }
        bytes.push(header as u8);
        bytes.extend(&key.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
    let length = bytes.len();
    let page = Page::DataPageV2 {
        buf: bytes.into(),
        num_values: rows as u32,
        encoding: Encoding::RLE_DICTIONARY,
        num_nulls: 0,
        num_rows: rows as u32,
        def_levels_byte_len: 0,
        rep_levels_byte_len: 0,
        is_compressed: false,
        statistics: None,
    };
    CompressedPage::new(page, length)
}
