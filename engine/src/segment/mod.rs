//! Segments: immutable Parquet files, named by their hash, and the identity of what they hold.

mod identity;
mod source;
mod text_column;
mod writer;

pub(crate) use identity::{Identity, identity_of_segments};
pub(crate) use source::{SegmentSource, open_reader};
pub(crate) use text_column::TextRuns;
pub(crate) use writer::{FileColumns, NewFile, PendingSegment, SegmentContext, key_values, properties, write_segment};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::compaction;
use crate::error::{Error, Result};
use crate::events::WriterStarted;
use crate::layout::Layout;

/// The value of a key of a footer.
pub(crate) fn footer_value<'a>(footer: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    pairs.filter(|pair| pair.key == key).find_map(|pair| pair.value.as_deref())
}

/// Refuses a segment that a newer Stepwell wrote in a form this build does not know.
///
/// # Errors
/// [`Error::NewerFormat`].
pub fn check_format(footer: &ParquetMetaData, path: &Path) -> Result<()> {
    match footer_value(footer, FORMAT_KEY).and_then(|version| version.parse().ok()) {
        Some(found) if found > SEGMENT_FORMAT => {
            Err(Error::NewerFormat { path: path.to_owned(), found, supported: SEGMENT_FORMAT })
        }
        _ => Ok(()),
    }
}

/// Whether the segment at `path`, of a store in a file system, is gone because compaction put others in its place. For whoever
/// finds a file missing that a snapshot named: [`Error::SegmentRetired`] then, and the same question asked again is answered.
pub fn retired(path: &Path) -> Option<Error> {
    // Store, `runs`, run, folder of the metrics name, file.
    let root = path.ancestors().nth(4)?;
    compaction::retired(&Layout::new(root), path)
}

/// Calls what reads the segment at `path`. The Parquet and Arrow readers answer some footers with a panic.
///
/// # Errors
/// Those of `read`; [`Error::Damaged`] in the place of a panic.
pub(crate) fn without_panic<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(Error::Damaged { path: path.to_owned(), fault: "the Parquet reader cannot make sense of it".to_owned() })
    })
}

/// The first event of the writer of a segment, as the footer keeps it.
///
/// # Errors
/// [`Error::Damaged`], [`Error::NewerFormat`], [`Error::Parquet`], [`Error::Io`]. The caller has compared the file with its
/// hash: a footer that is not what was written may be anything.
pub(crate) fn writer_of(layout: &Layout, path: &Path) -> Result<WriterStarted> {
    let file = SegmentSource::open(layout, path).map_err(Error::io("open the segment", path))?;
    let footer = without_panic(path, || {
        let footer = ParquetMetaDataReader::new().parse_and_finish(&file);
        footer.map_err(|source| Error::Parquet { action: "read", path: path.to_owned(), source })
    })?;
    check_format(&footer, path)?;
    let text = footer_value(&footer, WRITER_KEY);
    let damaged = |fault: String| Error::Damaged { path: path.to_owned(), fault };
    let text = text.ok_or_else(|| damaged("its footer does not say who wrote it".to_owned()))?;
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// Footer key of the format version.
pub(crate) const FORMAT_KEY: &str = "stepwell.format";
/// Footer key of the metrics name.
pub(crate) const METRICS_NAME_KEY: &str = "stepwell.metrics_name";
/// Footer key of the first event of the writer, as JSON.
const WRITER_KEY: &str = "stepwell.writer";
/// Footer key of the summaries: what the segment holds of each metric, as JSON.
pub(crate) const METRICS_KEY: &str = "stepwell.metrics";

/// Version of the segment format written by this build, and the newest it reads.
pub const SEGMENT_FORMAT: u32 = 1;
