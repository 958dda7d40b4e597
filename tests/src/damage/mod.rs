//! Damaged stores: small stores in memory, ways to damage their files, and what the engine says of them afterwards.

pub mod catalog;
pub mod image;
pub mod judge;
pub mod look;
pub mod samples;
pub mod strata;
