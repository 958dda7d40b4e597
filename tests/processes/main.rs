//! Processes and clocks: forks, stops, stepped clocks, claims on the same run, numbers that are used again.
//!
//! | variable | what it counts | default | in full |
//! |---|---|---|---|
//! | `STEPWELL_FORKS` | children of the fork campaign | 60 | 1,000 |
//! | `STEPWELL_STOPS` | stops of one writer | 5 | 50 |
//! | `STEPWELL_CLAIMS` | runs that two processes claim at once | 40 | 200 |
//! | `STEPWELL_RECOVER_RACES` | dead writers that two processes recover at once | 20 | 100 |
//!
//! `STEPWELL_SEED` repeats a campaign.

mod claims;
mod clocks;
mod forks;
mod helper;
mod identity;
mod namespaces;
mod stops;
