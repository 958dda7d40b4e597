//! Writing a segment: Parquet with fixed encodings, BLAKE3 on the way, published by rename.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnPath;

use crate::batch::{MetricColumns, NamedRows, segment_schema};
use crate::error::{Error, Result};
use crate::events::{SegmentRecord, WriterStarted};
use crate::fail_point;
use crate::ids::ContentHash;
use crate::layout::{Layout, SegmentFile, TEMP_PREFIX};
use crate::names::MetricsName;
use crate::segment::text_column::{self, TextRuns};
use crate::segment::{FORMAT_KEY, METRICS_KEY, METRICS_NAME_KEY, SEGMENT_FORMAT, WRITER_KEY};
use crate::storage::{Storage, StorageFile, create_folder, publish, remove_file};

/// Whose segments are written, and where.
pub(crate) struct SegmentContext<'a> {
    pub layout: &'a Layout,
    /// First event of the writer: everything the catalog needs to know of run and writer goes into the footer.
    pub started: &'a WriterStarted,
}

/// A segment that is complete and synced under a temporary name.
pub(crate) struct PendingSegment {
    temp: PathBuf,
    target: PathBuf,
    record: SegmentRecord,
}

impl PendingSegment {
    /// Gives the segment its name and syncs the folder.
    pub(crate) fn publish(self, layout: &Layout) -> Result<SegmentRecord> {
        publish(layout.storage(), &self.temp, &self.target)?;
        fail_point::reach("segment.published");
        Ok(self.record)
    }

    /// Where it is until it has its name.
    pub(crate) fn temporary(&self) -> &Path {
        &self.temp
    }

    /// What an event will say of it.
    pub(crate) fn record(&self) -> &SegmentRecord {
        &self.record
    }

    /// Removes the temporary file.
    pub(crate) fn discard(self, layout: &Layout) {
        let _ = remove_file(layout.storage(), &self.temp);
    }
}

/// Writes the rows of one metrics name as segment number `n` of the writer.
///
/// # Errors
/// [`Error::Io`], [`Error::SyncFailed`], [`Error::Parquet`]; nothing is left behind then.
pub(crate) fn write_segment(context: &SegmentContext<'_>, n: u64, rows: &NamedRows) -> Result<PendingSegment> {
    let name = MetricsName::try_new(&rows.metrics_name)?;
    let folder = context.layout.segments(context.started.run_id, &name);
    create_folder(context.layout.storage(), &folder)?;
    let temp = folder.join(format!("{TEMP_PREFIX}{}-{n}", context.started.writer));
    let (blake3, bytes) = match write_file(context, n, rows, &temp) {
        Ok(written) => written,
        Err(error) => {
            let _ = remove_file(context.layout.storage(), &temp);
            return Err(error);
        }
    };
    let file = SegmentFile { writer: context.started.writer, n, blake3 };
    let times = || rows.columns.iter().map(|columns| columns.time.iter().copied());
    let record = SegmentRecord {
        n,
        metrics_name: rows.metrics_name.clone(),
        file: format!("{}/{}", name.folder(), file.file_name()),
        blake3,
        bytes,
        rows: rows.len() as u64,
        time_min: times().filter_map(Iterator::min).min().unwrap_or_default(),
        time_max: times().filter_map(Iterator::max).max().unwrap_or_default(),
        metrics: rows.metrics.clone(),
    };
    Ok(PendingSegment { temp, target: folder.join(file.file_name()), record })
}

fn write_file(context: &SegmentContext<'_>, n: u64, rows: &NamedRows, temp: &Path) -> Result<(ContentHash, u64)> {
    let run = context.started.run_id.to_string();
    let metrics = rows.metrics.iter().map(|stats| stats.metric.as_str()).collect();
    let WriterStarted { writer, .. } = context.started;
    let columns = FileColumns {
        run: TextRuns::constant(&run, rows.len()),
        metrics_name: TextRuns::constant(&rows.metrics_name, rows.len()),
        metric: TextRuns::rising(metrics, rows.ranges()),
        parts: rows.columns.iter().collect(),
        rank: vec![writer.rank; rows.len()],
        attempt: vec![writer.attempt; rows.len()],
    };
    let file = NewFile::create(context.layout.storage(), temp)?;
    fail_point::reach("segment.create");
    let file = file.write(&columns, properties([2, 3, 8], footer(context, n, rows)))?;
    fail_point::reach("segment.written");
    let written = file.sync()?;
    fail_point::reach("segment.synced");
    Ok(written)
}

/// The columns of a file in [`segment_schema`].
pub(crate) struct FileColumns<'a> {
    pub run: TextRuns<'a>,
    pub metrics_name: TextRuns<'a>,
    pub metric: TextRuns<'a>,
    /// Step, time, value and sequence number, in parts that adjoin.
    pub parts: Vec<&'a MetricColumns>,
    pub rank: Vec<i32>,
    pub attempt: Vec<i32>,
}

/// A Parquet file that is being written and hashed.
pub(crate) struct NewFile<'a> {
    path: &'a Path,
    hashing: HashingFile,
}

impl<'a> NewFile<'a> {
    /// Creates the file; one that exists is emptied.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn create(storage: &dyn Storage, path: &'a Path) -> Result<Self> {
        let file = storage.create(path).map_err(Error::io("create the segment", path))?;
        Ok(Self { path, hashing: HashingFile { file, hasher: blake3::Hasher::new(), bytes: 0 } })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Parquet`].
    pub(crate) fn write(self, columns: &FileColumns<'_>, properties: WriterProperties) -> Result<Self> {
        let path = self.path;
        let hashing = encode(self.hashing, columns, properties).map_err(|source| match source {
            // An error of the file below is ours to tell, a full disk above all.
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(source) => Error::Io { action: "write the segment", path: path.to_owned(), source: *source },
                Err(cause) => {
                    Error::Parquet { action: "write", path: path.to_owned(), source: ParquetError::External(cause) }
                }
            },
            source => Error::Parquet { action: "write", path: path.to_owned(), source },
        })?;
        Ok(Self { path, hashing })
    }

    /// Brings it to the device; its hash and size.
    ///
    /// # Errors
    /// [`Error::SyncFailed`].
    pub(crate) fn sync(self) -> Result<(ContentHash, u64)> {
        let synced = self.hashing.file.sync();
        synced.map_err(|source| Error::SyncFailed { path: self.path.to_owned(), source })?;
        Ok((self.hashing.hasher.finalize().into(), self.hashing.bytes))
    }
}

/// Writes one row group: text columns from their runs, the others by the general encoders.
fn encode(
    file: HashingFile,
    columns: &FileColumns<'_>,
    properties: WriterProperties,
) -> Result<HashingFile, ParquetError> {
    let (mut writer, _) = ArrowWriter::try_new(file, segment_schema(), Some(properties))?.into_serialized_writer()?;
    let described = writer.schema_descr().columns().to_vec();
    let mut group = writer.next_row_group()?;
    for (column, runs) in described.into_iter().zip([&columns.run, &columns.metrics_name, &columns.metric]) {
        let encoded = text_column::encode(column, runs)?;
        group.append_column(&encoded.bytes, encoded.close)?;
    }
    let parts = || columns.parts.iter();
    write_column::<Int64Type>(&mut group, parts().map(|part| part.step.as_slice()))?;
    write_column::<Int64Type>(&mut group, parts().map(|part| part.time.as_slice()))?;
    write_column::<DoubleType>(&mut group, parts().map(|part| part.value.as_slice()))?;
    write_column::<Int32Type>(&mut group, std::iter::once(columns.rank.as_slice()))?;
    write_column::<Int32Type>(&mut group, std::iter::once(columns.attempt.as_slice()))?;
    write_column::<Int64Type>(&mut group, parts().map(|part| part.seq.as_slice()))?;
    group.close()?;
    writer.into_inner()
}

/// Writes the next column of a row group from parts that adjoin.
fn write_column<'a, T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, HashingFile>,
    parts: impl Iterator<Item = &'a [T::T]>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns".to_owned()))?;
    for part in parts {
        column.typed::<T>().write_batch(part, None, None)?;
    }
    column.close()
}

/// Encodings of DESIGN section 4: text as dictionaries, step, time and seq as deltas, values split by byte. `sorted_by` are the positions of
/// the columns that the rows are sorted by.
pub(crate) fn properties<const N: usize>(sorted_by: [i32; N], footer: Vec<KeyValue>) -> WriterProperties {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default());
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("stepwell ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(zstd)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_sorting_columns(Some(sorted_by.map(ascending).to_vec()))
        .set_key_value_metadata(Some(footer));
    for column in ["step", "time", "rank", "attempt", "seq"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(column), false)
            .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
    }
    for column in ["rank", "attempt", "seq"] {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Chunk);
    }
    properties
        .set_column_compression(ColumnPath::from("time"), Compression::UNCOMPRESSED)
        .set_column_dictionary_enabled(ColumnPath::from("value"), false)
        .set_column_encoding(ColumnPath::from("value"), Encoding::BYTE_STREAM_SPLIT)
        .build()
}

fn ascending(column_idx: i32) -> SortingColumn {
    SortingColumn { column_idx, descending: false, nulls_first: false }
}

/// Footer metadata: with the footers of all segments alone, the catalog could be rebuilt.
fn footer(context: &SegmentContext<'_>, n: u64, rows: &NamedRows) -> Vec<KeyValue> {
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    key_values([
        (FORMAT_KEY, SEGMENT_FORMAT.to_string()),
        ("stepwell.segment", n.to_string()),
        (METRICS_NAME_KEY, rows.metrics_name.clone()),
        (WRITER_KEY, json(serde_json::to_string(context.started))),
        (METRICS_KEY, json(serde_json::to_string(&rows.metrics))),
    ])
}

/// Footer metadata of these keys and values.
pub(crate) fn key_values<const N: usize>(pairs: [(&str, String); N]) -> Vec<KeyValue> {
    pairs.into_iter().map(|(key, value)| KeyValue::new(key.to_owned(), value)).collect()
}

struct HashingFile {
    file: Box<dyn StorageFile>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.append(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
