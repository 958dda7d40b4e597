//! One process attached to a run: its rings, its sealing, its event log.

mod broken;
mod commit;
mod core;
mod interner;
mod logger;
mod ring;
mod sealer;
mod sealing;

pub use logger::{Logger, Metric, RoomOutcome, RoomWaiter, Row, WhenFull};

pub(crate) use core::{WriterCore, WriterSetup};
