//! Timing of single calls by the processor's counter.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::Result;

/// Values that a timed call may log, prepared beforehand.
pub const VALUES: usize = 1 << 16;
/// Records logged one after the other in a burst, for which a ring always has room.
pub const BURST_RECORDS: u64 = 100_000;
/// Most ticks that are told apart from more.
const TICKS_MAX: u64 = 1 << 44;

/// Durations of calls, in ticks of the counter.
pub type Ticks = Histogram<u64>;

/// How long, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long calls are made.
    pub duration: Duration,
    /// Calls a second, on average.
    pub rate: u64,
}

/// Durations of the calls of one measurement.
pub struct Timed {
    /// From the call to its return.
    pub service: Ticks,
    /// From the moment at which the call was due to its return: a call that comes late because the one before it hung
    /// is counted in full. Empty for bursts.
    pub response: Ticks,
}

/// The counter, read twice around each call.
pub struct Stopwatch {
    clock: quanta::Clock,
    nanos_per_tick: f64,
    values: Vec<f64>,
}

impl Stopwatch {
    /// A stopwatch whose calls get `values`, [`VALUES`] or more of them. Calibrates the counter.
    pub fn new(values: Vec<f64>) -> Self {
        let clock = quanta::Clock::new();
        let ticks = 1_u64 << 32;
        let nanos_per_tick = clock.delta_as_nanos(0, ticks) as f64 / ticks as f64;
        Self { clock, nanos_per_tick, values }
    }

    /// Length of a tick in nanoseconds.
    pub fn nanos_per_tick(&self) -> f64 {
        self.nanos_per_tick
    }

    /// A histogram for the raw records: for each duration that was seen, in nanoseconds a record of `per_call` and with two digits, how many
    /// calls took it.
    ///
    /// # Errors
    /// When a histogram cannot be made.
    pub fn buckets(&self, name: &str, ticks: &Ticks, per_call: usize) -> Result<Value> {
        let mut coarse = Histogram::<u64>::new_with_max(TICKS_MAX, 2)?;
        coarse.add(ticks)?;
        let scale = self.nanos_per_tick / per_call as f64;
        // Tenths of a nanosecond are more than the counter resolves.
        let nanos = |ticks: u64| (ticks as f64 * scale * 10.0).round() / 10.0;
        let buckets = coarse.iter_recorded();
        let buckets = buckets.map(|bucket| json!([nanos(bucket.value_iterated_to()), bucket.count_at_value()]));
        Ok(json!({ "name": name, "unit": "ns", "buckets": buckets.collect::<Vec<_>>() }))
    }

    /// The `count` values for a call.
    #[inline]
    fn values_at(&self, step: u64, count: usize) -> &[f64] {
        let start = step as usize % (VALUES - count);
        &self.values[start..start + count]
    }

    /// Calls flat out in bursts of [`BURST_RECORDS`], with pauses in between so that the rate of the plan is met: sealing,
    /// syncing and segment writing go on beside. `count` values are passed to each call.
    ///
    /// # Errors
    /// When a histogram cannot be made.
    pub fn bursts(&self, plan: Plan, count: usize, mut call: impl FnMut(i64, &[f64])) -> Result<Timed> {
        let mut timed = Timed { service: ticks()?, response: ticks()? };
        // Recorded only after the burst, because recording would push the ring out of the cache.
        let mut durations = vec![0_u64; BURST_RECORDS as usize / count];
        let start = Instant::now();
        let mut step = 0;
        while start.elapsed() < plan.duration {
            for duration in &mut durations {
                let values = self.values_at(step, count);
                let begin = self.clock.raw();
                call(step as i64, values);
                *duration = self.clock.raw().wrapping_sub(begin);
                step += 1;
            }
            for duration in &durations {
                timed.service.saturating_record(in_order(*duration));
            }
            let due = Duration::from_secs_f64(step as f64 / plan.rate as f64);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        Ok(timed)
    }

    /// Calls at even distances, waiting for each by looking at the counter.
    ///
    /// # Errors
    /// When a histogram cannot be made.
    pub fn paced(&self, plan: Plan, count: usize, mut call: impl FnMut(i64, &[f64])) -> Result<Timed> {
        let mut timed = Timed { service: ticks()?, response: ticks()? };
        let ticks_per_call = 1e9 / self.nanos_per_tick / plan.rate as f64;
        let calls = (plan.duration.as_secs_f64() * plan.rate as f64) as u64;
        let start = self.clock.raw();
        for step in 0..calls {
            let values = self.values_at(step, count);
            let due = start + (step as f64 * ticks_per_call) as u64;
            while self.clock.raw() < due {
                std::hint::spin_loop();
            }
            let begin = self.clock.raw();
            call(step as i64, values);
            let end = self.clock.raw();
            timed.service.saturating_record(in_order(end.wrapping_sub(begin)));
            timed.response.saturating_record(in_order(end.wrapping_sub(due)));
        }
        Ok(timed)
    }
}

/// An empty histogram with three significant digits.
fn ticks() -> Result<Ticks> {
    Ok(Histogram::new_with_max(TICKS_MAX, 3)?)
}

/// The counters of two cores may differ by some ticks: a difference below zero counts as none.
fn in_order(ticks: u64) -> u64 {
    if ticks > u64::MAX / 2 { 0 } else { ticks }
}
