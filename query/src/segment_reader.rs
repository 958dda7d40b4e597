//! Reads verified segments for DataFusion's Parquet scan.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;
use stepwell_engine::batch::segment_schema;
use stepwell_engine::without_forks;

use crate::integrity::{DamagedPolicy, Guard, OpenSegment, SegmentFile};

/// Most bytes that are read on the thread of the query. They are mostly in memory, since the file was hashed or written
/// not long ago; from a disk that is slow they hold up one of its threads for some milliseconds.
const READ_AT_ONCE_MAX: u64 = 1 << 20;

/// Makes a reader for each segment of one query.
#[derive(Debug)]
pub(crate) struct SegmentReaders {
    pub(crate) guard: Arc<Guard>,
}

impl ParquetFileReaderFactory for SegmentReaders {
    fn create_reader(
        &self,
        partition_index: usize,
        partitioned_file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> PlanResult<Box<dyn AsyncFileReader + Send>> {
        let location = partitioned_file.object_meta.location.as_ref();
        let file = partitioned_file
            .extension::<Arc<SegmentFile>>()
            .ok_or_else(|| DataFusionError::Internal(format!("{location} is not a segment of this query")))?;
        Ok(Box::new(SegmentReader {
            file: Arc::clone(file),
            guard: Arc::clone(&self.guard),
            metrics: ParquetFileMetrics::new(partition_index, location, metrics),
            bytes_hashed: MetricBuilder::new(metrics).counter("bytes_hashed", partition_index),
            open: None,
        }))
    }
}

struct SegmentReader {
    file: Arc<SegmentFile>,
    guard: Arc<Guard>,
    metrics: ParquetFileMetrics,
    bytes_hashed: Count,
    open: Option<Arc<File>>,
}

impl SegmentReader {
    async fn footer(&mut self) -> Result<Arc<ParquetMetaData>> {
        let file = Arc::clone(&self.file);
        // To hand a few microseconds of work to another thread takes longer than the work.
        let opened = match file.open_verified() {
            Some(opened) => Ok(opened),
            None => blocking(move || file.open_blocking()).await?,
        };
        match opened {
            Ok(OpenSegment { file, footer, hashed_bytes }) => {
                self.bytes_hashed.add(usize::try_from(hashed_bytes).unwrap_or(usize::MAX));
                self.open = Some(file);
                Ok(footer)
            }
            Err(damaged) => {
                self.guard.note(&damaged);
                match self.guard.policy {
                    DamagedPolicy::Refuse => Err(ParquetError::External(Box::new(damaged))),
                    // The scan goes on as if the file held no rows; the note becomes a warning of the result.
                    DamagedPolicy::Skip => empty_footer(),
                }
            }
        }
    }

    async fn read(&mut self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        if self.open.is_none() {
            self.footer().await?;
        }
        let Some(file) = self.open.clone() else {
            return Err(ParquetError::General("a segment that was left out is read".to_owned()));
        };
        let total: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.metrics.bytes_scanned.add(usize::try_from(total).unwrap_or(usize::MAX));
        let read = move || ranges.into_iter().map(|range| read_range(&file, range)).collect::<io::Result<Vec<Bytes>>>();
        let read = if total <= READ_AT_ONCE_MAX { read() } else { blocking(read).await? };
        read.map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// This reader owns the file's cursor: the scan asks it for one thing at a time.
fn read_range(mut file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut buffer = vec![0; length];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ParquetError::External(Box::new(error)))
}

impl AsyncFileReader for SegmentReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            let mut read = self.read(vec![range]).await?;
            read.pop().ok_or_else(|| ParquetError::General("a read returned nothing".to_owned()))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        self.read(ranges).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        self.footer().boxed()
    }
}

/// Footer of a segment without rows.
fn empty_footer() -> Result<Arc<ParquetMetaData>> {
    static FOOTER: LazyLock<Option<Arc<ParquetMetaData>>> = LazyLock::new(|| {
        let writer = ArrowWriter::try_new(io::sink(), segment_schema(), None).ok()?;
        Some(Arc::new(writer.close().ok()?))
    });
    without_forks(|| FOOTER.clone()).ok_or_else(|| ParquetError::General("could not make an empty segment".to_owned()))
}
