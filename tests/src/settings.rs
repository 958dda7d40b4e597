//! Counts and seeds of campaigns, from the environment.

use std::time::{SystemTime, UNIX_EPOCH};

/// The number in an environment variable, or `default`.
///
/// # Panics
/// When the variable is set to something that is no number.
pub fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("{variable}={text:?} is not a whole number")),
        Err(_) => default,
    }
}

/// The seed of a campaign: `STEPWELL_SEED`, or the clock. Prints it, so that a failure can be repeated.
pub fn seed(campaign: &str) -> u64 {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64);
    let seed = number("STEPWELL_SEED", clock);
    println!("{campaign}: STEPWELL_SEED={seed} repeats this campaign");
    seed
}
