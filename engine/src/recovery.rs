//! Recovery of dead writers' journals.
use crate::ids::{RunId, WriterId};
/// What opening a store recovered.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport { /// One entry per dead writer whose journals were read.
 pub writers: Vec<RecoveredWriter> }
/// One dead writer that was recovered.
#[derive(Clone, Debug)]
pub struct RecoveredWriter { /// The run.
 pub run_id: RunId, /// The writer.
 pub writer: WriterId, /// Rows that were in the journal and in no segment.
 pub rows_recovered: u64, /// Rows of this writer in segments now.
 pub rows_total: u64, /// Slots lost, with the reasons.
 pub gaps: Vec<crate::events::GapEvent> }
