//! Text columns of a segment: dictionary pages and run-length encoded data pages, written from runs of equal values.
//!
//! A segment is sorted by metric, and its other text columns are constant, so each column is a handful of runs. The general
//! encoder would hash and compare the text of every row to find that out, which was nearly half of the sealer's time. The
//! encodings are those of the Parquet specification: PLAIN for the dictionary, RLE_DICTIONARY for the data ("Parquet
//! encoding definitions", run-length / bit-packing hybrid).

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

/// A text column as runs: value and rows of each, values rising and distinct, rows adjoining.
pub(crate) struct TextRuns<'a> {
    pub values: Vec<&'a str>,
    pub rows: &'a [Range<usize>],
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
    column_index.set_boundary_order(BoundaryOrder::ASCENDING);

    let dictionary = dictionary_page(&runs.values);
    let mut spec = pages.write_page(dictionary)?;
    let dictionary_offset = spec.offset as i64;
    let mut uncompressed = spec.uncompressed_size;
    let data_offset = spec.bytes_written as i64;

    let mut first = 0;
    while first < runs.rows.len() {
        let start = runs.rows[first].start;
        let last = (first..runs.rows.len() - 1).find(|run| runs.rows[*run].end - start >= PAGE_ROWS);
        let last = last.unwrap_or(runs.rows.len() - 1);
        let rows = runs.rows[last].end - start;
        spec = pages.write_page(data_page(first, &runs.rows[first..=last], runs.values.len(), rows))?;
        uncompressed += spec.uncompressed_size;
        let bytes = |value: &str| value.as_bytes().to_vec();
        column_index.append(false, bytes(runs.values[first]), bytes(runs.values[last]), 0);
        offset_index.append_row_count(rows as i64);
        offset_index.append_offset_and_size(spec.offset as i64, spec.compressed_size as i32);
        offset_index.append_unencoded_byte_array_data_bytes(None);
        first = last + 1;
    }
    pages.close()?;

    let bytes = Bytes::from(sink.into_inner()?);
    let rows = runs.rows.last().map_or(0, |run| run.end);
    let edge = |value: Option<&&str>| value.map(|value| ByteArray::from(value.as_bytes().to_vec()));
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

fn dictionary_page(values: &[&str]) -> CompressedPage {
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
fn data_page(first_key: usize, runs: &[Range<usize>], values: usize, rows: usize) -> CompressedPage {
    let width = (values - 1).checked_ilog2().map_or(0, |bits| bits + 1);
    let mut bytes = vec![width as u8];
    for (key, run) in (first_key as u32..).zip(runs) {
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
