//! Simulated histories: a writer, its sealer and its recovery on a disk that stops, fails and forgets by a seed.
//!
//! One thread plays all parts of a history, so that a seed gives the same one every time. What a history does is in
//! `history.rs`, what a disk may do in `disk.rs`. The idea is FoundationDB's (Zhou et al., "FoundationDB: A Distributed
//! Unbundled Transactional Key Value Store", SIGMOD 2021): the code that runs is the code that ships, the world is made up.

mod compacted;
mod disk;
mod history;
mod memory;
mod random;
mod readback;
mod replaced;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use history::{Fate, Outcome, play};

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.trim().parse().unwrap_or_else(|_| panic!("{variable}={text:?} is not a whole number")),
        Err(_) => default,
    }
}

/// Plays `STEPWELL_HISTORIES` histories (400 by default) with seeds from `STEPWELL_SEED` on, on two threads.
fn campaign(name: &str, fate: Fate) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64;
    let (first, count) = (number("STEPWELL_SEED", clock), number("STEPWELL_HISTORIES", 400));
    let (next, start) = (AtomicU64::new(0), Instant::now());
    let work = || {
        let mut total = Outcome::default();
        loop {
            let seed = first + next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return total;
            }
            match catch_unwind(AssertUnwindSafe(|| play(seed, fate))) {
                Ok(outcome) => total.add(&outcome),
                Err(panic) => {
                    println!("{name}: STEPWELL_SEED={seed} STEPWELL_HISTORIES=1 repeats this history");
                    resume_unwind(panic);
                }
            }
        }
    };
    let total = std::thread::scope(|scope| {
        let mut total = Outcome::default();
        for worker in [scope.spawn(work), scope.spawn(work)] {
            total.add(&worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        total
    });
    println!("{name}: {total}, {:.0} histories a minute", count as f64 / start.elapsed().as_secs_f64() * 60.0);
    assert!(total.acknowledged > 0, "nothing was logged");
}

#[test]
fn the_death_of_the_process_after_any_operation_loses_nothing() {
    campaign("simulated deaths", Fate::Death);
}

#[test]
fn a_power_cut_after_any_operation_loses_nothing_that_was_reported_durable() {
    campaign("simulated power cuts", Fate::PowerCut);
}

#[test]
fn an_operation_that_fails_loses_nothing() {
    campaign("simulated errors", Fate::Failures);
}
