//! Reading a segment through the storage.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{ChunkReader, Length};

use super::check_format;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::storage::{StorageFile, read_exact_at};

/// A segment that is opened anew for each part that is read: a merge of thousands of segments keeps no descriptor.
pub(crate) struct SegmentSource {
    layout: Layout,
    path: PathBuf,
    bytes: u64,
}

impl SegmentSource {
    pub(crate) fn open(layout: &Layout, path: &Path) -> io::Result<Self> {
        let bytes = layout.storage().open(path)?.len()?;
        Ok(Self { layout: layout.clone(), path: path.to_owned(), bytes })
    }
}

/// Opens the file at `path` to read its rows.
///
/// # Errors
/// [`Error::Io`], [`Error::Parquet`], [`Error::NewerFormat`].
pub(crate) fn open_reader(layout: &Layout, path: &Path) -> Result<ParquetRecordBatchReaderBuilder<SegmentSource>> {
    let file = SegmentSource::open(layout, path).map_err(Error::io("open the segment", path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|source| Error::Parquet {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    check_format(builder.metadata(), path)?;
    Ok(builder)
}

impl Length for SegmentSource {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for SegmentSource {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let file = self.layout.storage().open(&self.path)?;
        Ok(BufReader::new(ReadFrom { file, offset: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // A damaged footer may ask for more than there is, and more than there is memory.
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(parquet::errors::ParquetError::EOF(format!(
                "{length} bytes are asked for at {start}, and the file has {}",
                self.bytes
            )));
        }
        let mut bytes = vec![0; length];
        read_exact_at(&*self.layout.storage().open(&self.path)?, &mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The bytes of a file from an offset on.
pub(crate) struct ReadFrom {
    file: Box<dyn StorageFile>,
    offset: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(bytes, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
