//! Corruption: truncations and damaged bytes of every file of a store.
//!
//! After each, the store is opened as a user would, and repaired. No panic, no hang, no invented record; a loss is confined to the records
//! whose bytes were touched, and is told.
//!
//! `STEPWELL_CORRUPTIONS` sets the number of cases (1,000 by default, spread over all kinds; 0 stands for all of them),
//! `STEPWELL_SEED` repeats a campaign, `STEPWELL_CORRUPT` keeps it to the kinds whose name contains the text.

mod campaign;
mod kinds;
mod regressions;
mod replay;
