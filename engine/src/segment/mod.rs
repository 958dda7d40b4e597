//! Segments: immutable Parquet files, named by their hash, and the identity of what they hold.

mod identity;
mod text_column;
mod writer;

pub(crate) use identity::{Identity, identity_of_segments};
pub(crate) use writer::{PendingSegment, SegmentContext, write_segment};

/// Version of the segment format written by this build, and the newest it reads.
pub const SEGMENT_FORMAT: u32 = 1;
