//! The plan that reads segments: DataFusion's Parquet scan over verified files.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use stepwell_engine::SegmentInfo;
use stepwell_engine::batch::segment_schema;

use crate::facts::{Facts, Runs, run_fields, text_scalar};
use crate::integrity::{DamagedPolicy, Guard, SegmentFile};
use crate::segment_reader::SegmentReaders;

/// Name under which the scan's files are known to DataFusion. Nothing is ever fetched from it: the reader of a
/// segment opens the file itself.
pub(crate) const SEGMENTS_URL: &str = "stepwell://segments";

/// Bytes of a row of `metrics` in memory: four numbers of 8 bytes, two of 4, and keys of six dictionaries.
const ROW_BYTES: usize = 4 * 8 + 2 * 4 + 6 * 4;

/// How segments are to be read.
pub(crate) struct SegmentScan<'a> {
    /// The store folder.
    pub(crate) root: &'a Path,
    pub(crate) runs: &'a Runs<'a>,
    /// Columns of `metrics`; all when absent.
    pub(crate) projection: Option<&'a Vec<usize>>,
    /// Rows after which reading may end.
    pub(crate) limit: Option<usize>,
    /// Streams that read at the same time.
    pub(crate) partitions: usize,
    pub(crate) guard: &'a Arc<Guard>,
}

impl SegmentScan<'_> {
    /// The plan that reads `segments`.
    pub(crate) fn plan(&self, segments: &[&SegmentInfo]) -> Result<Arc<dyn ExecutionPlan>> {
        let run_columns: Vec<Arc<Field>> = run_fields().into_iter().map(Arc::new).collect();
        let schema = TableSchema::builder(segment_schema()).with_table_partition_cols(run_columns).build();
        let files = segments.iter().map(|segment| self.file(segment)).collect();
        let rows = segments.iter().map(|segment| usize_of(segment.rows)).sum();
        // The event log knows it, but a count is an answer, and no answer is given from files that were never read.
        let is_count = self.projection.is_some_and(Vec::is_empty) && self.guard.policy == DamagedPolicy::Refuse;
        let is_known = is_count && segments.iter().all(|segment| SegmentFile::new(segment).is_verified());
        let statistics = Statistics {
            num_rows: if is_known { Precision::Exact(rows) } else { Precision::Inexact(rows) },
            total_byte_size: Precision::Inexact(segments.iter().map(|segment| bytes_in_memory(segment)).sum()),
            column_statistics: vec![ColumnStatistics::new_unknown(); schema.table_schema().fields().len()],
        };
        let readers = SegmentReaders { guard: Arc::clone(self.guard) };
        let source = ParquetSource::new(schema)
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(SEGMENTS_URL)?, Arc::new(source))
            .with_file_groups(FileGroup::new(files).split_files(self.partitions))
            .with_statistics(statistics)
            .with_projection_indices(self.projection.cloned())?
            .with_limit(self.limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn file(&self, segment: &SegmentInfo) -> PartitionedFile {
        let shown = segment.path.strip_prefix(self.root).unwrap_or(&segment.path);
        let run = self.runs.columns(segment.run_id);
        let mut file = PartitionedFile::new(shown.to_string_lossy(), segment.bytes)
            .with_partition_values(run.map(text_scalar).to_vec())
            .with_extension(Arc::new(SegmentFile::new(segment)));
        file.statistics = Some(Arc::new(file_statistics(segment)));
        file
    }
}

/// Bounds of one file, with which a scan leaves it out when a join or a top-k narrows the answer while it runs.
///
/// `value` has none: its bounds in the event log leave out NaN.
fn file_statistics(segment: &SegmentInfo) -> Statistics {
    let facts = Facts::of_segment(segment);
    let schema = segment_schema();
    let mut columns: Vec<ColumnStatistics> = Vec::with_capacity(schema.fields().len() + run_fields().len());
    for field in schema.fields() {
        let bounds = match field.name().as_str() {
            "run_id" => same(text_scalar(Some(&segment.run_id.to_string()))),
            "metrics_name" => same(text_scalar(Some(&segment.metrics_name))),
            "metric" => segment
                .metrics
                .first()
                .zip(segment.metrics.last())
                .map(|(first, last)| (text_scalar(Some(&first.metric)), text_scalar(Some(&last.metric)))),
            "step" => facts.steps().map(|(low, high)| (ScalarValue::from(low), ScalarValue::from(high))),
            "time" => facts
                .times
                .map(|(low, high)| (time_scalar(low, field.data_type()), time_scalar(high, field.data_type()))),
            "rank" => same(ScalarValue::from(segment.writer.rank)),
            "attempt" => same(ScalarValue::from(segment.writer.attempt)),
            _ => None,
        };
        columns.push(column_statistics(bounds));
    }
    columns.resize(schema.fields().len() + run_fields().len(), ColumnStatistics::new_unknown());
    Statistics {
        num_rows: Precision::Inexact(usize_of(segment.rows)),
        total_byte_size: Precision::Inexact(bytes_in_memory(segment)),
        column_statistics: columns,
    }
}

fn column_statistics(bounds: Option<(ScalarValue, ScalarValue)>) -> ColumnStatistics {
    let unknown = ColumnStatistics { null_count: Precision::Exact(0), ..ColumnStatistics::new_unknown() };
    match bounds {
        Some((low, high)) => {
            ColumnStatistics { min_value: Precision::Exact(low), max_value: Precision::Exact(high), ..unknown }
        }
        None => unknown,
    }
}

fn same(value: ScalarValue) -> Option<(ScalarValue, ScalarValue)> {
    Some((value.clone(), value))
}

fn time_scalar(micros: i64, data_type: &DataType) -> ScalarValue {
    let zone = match data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    ScalarValue::TimestampMicrosecond(Some(micros), zone)
}

/// Planning compares this with tables in memory, so the size of the compressed file would mislead it.
fn bytes_in_memory(segment: &SegmentInfo) -> usize {
    usize_of(segment.rows).saturating_mul(ROW_BYTES)
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
