//! Segments: immutable Parquet files, named by their hash, and the identity of what they hold.

mod identity;
mod source;
mod text_column;
mod writer;

pub(crate) use identity::{Identity, identity_of_segments};
pub(crate) use source::SegmentSource;
pub(crate) use writer::{SegmentContext, write_segment};

use std::path::Path;

use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};

/// Refuses a segment that a newer Stepwell wrote in a form this build does not know.
///
/// # Errors
/// [`Error::NewerFormat`].
pub fn check_format(footer: &ParquetMetaData, path: &Path) -> Result<()> {
    let pairs = footer.file_metadata().key_value_metadata().into_iter().flatten();
    let version = pairs.filter(|pair| pair.key == FORMAT_KEY).find_map(|pair| pair.value.as_ref()?.parse().ok());
    match version {
        Some(found) if found > SEGMENT_FORMAT => {
            Err(Error::NewerFormat { path: path.to_owned(), found, supported: SEGMENT_FORMAT })
        }
        _ => Ok(()),
    }
}

/// Footer key of the format version.
const FORMAT_KEY: &str = "stepwell.format";
/// Footer key of the metrics name.
pub(crate) const METRICS_NAME_KEY: &str = "stepwell.metrics_name";
/// Footer key of the summaries: what the segment holds of each metric, as JSON.
pub(crate) const METRICS_KEY: &str = "stepwell.metrics";

/// Version of the segment format written by this build, and the newest it reads.
pub const SEGMENT_FORMAT: u32 = 1;
