//! Time of records: the processor's counter, calibrated to UTC.
//!
//! Reading the counter costs about 10 ns where `clock_gettime` costs 26 to 42 ns. Calibration (the `quanta` crate)
//! takes some milliseconds, so it happens on a thread of its own; until it is done, records take their time from
//! `clock_gettime`. Each logger re-anchors its counter to UTC about once a second, so that clock adjustments (NTP) are
//! followed. Its time never goes back: after the wall clock was set back, it stands still until the wall clock has caught up.

use std::sync::OnceLock;

use rustix::time::{ClockId, clock_gettime};

static CALIBRATED: OnceLock<Calibrated> = OnceLock::new();

/// Distance of two anchorings in nanoseconds.
const ANCHOR_INTERVAL_NANOS: u64 = 1_000_000_000;
/// Ticks are scaled by a factor with this many fractional bits: with at most 2^34 ticks between two anchorings the
/// product stays below 2^63.
const SCALE_BITS: u32 = 28;

struct Calibrated {
    clock: quanta::Clock,
    /// Nanoseconds per tick, times 2^[`SCALE_BITS`].
    scale: u64,
    /// Ticks until the next anchoring.
    anchor_ticks: u64,
}

/// Calibrates the counter, once per process. Takes 10 to 200 ms.
pub(crate) fn calibrate() {
    CALIBRATED.get_or_init(|| {
        let clock = quanta::Clock::new();
        let scale = clock.delta_as_nanos(0, 1 << SCALE_BITS).max(1);
        let anchor_ticks = ((u128::from(ANCHOR_INTERVAL_NANOS) << SCALE_BITS) / u128::from(scale)).min(1 << 34) as u64;
        Calibrated { clock, scale, anchor_ticks }
    });
}

/// Nanoseconds since the Unix epoch, UTC, from the operating system.
pub fn wall_nanos() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// The clock of one logger.
pub(crate) struct RecordClock {
    calibrated: Option<&'static Calibrated>,
    anchor_raw: u64,
    anchor_nanos: i64,
    last: i64,
}

impl RecordClock {
    pub(crate) fn new() -> Self {
        let mut clock = Self { calibrated: None, anchor_raw: 0, anchor_nanos: 0, last: 0 };
        clock.anchor();
        clock
    }

    /// Nanoseconds since the Unix epoch, UTC; never lower than the call before.
    #[inline(always)]
    pub(crate) fn now(&mut self) -> i64 {
        if let Some(calibrated) = self.calibrated {
            let ticks = calibrated.clock.raw().wrapping_sub(self.anchor_raw);
            if ticks < calibrated.anchor_ticks {
                let nanos = self.anchor_nanos + ((ticks * calibrated.scale) >> SCALE_BITS) as i64;
                // The counters of two cores may differ by some ticks.
                self.last = self.last.max(nanos);
                return self.last;
            }
        }
        self.anchor()
    }

    #[cold]
    #[inline(never)]
    fn anchor(&mut self) -> i64 {
        self.calibrated = CALIBRATED.get();
        if let Some(calibrated) = self.calibrated {
            self.anchor_raw = calibrated.clock.raw();
        }
        self.anchor_nanos = wall_nanos();
        self.last = self.last.max(self.anchor_nanos);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_time_follows_the_wall_clock_and_never_goes_back() {
        calibrate();
        let mut clock = RecordClock::new();
        let mut last = i64::MIN;
        for _ in 0..200_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        assert!((clock.now() - wall_nanos()).abs() < 100_000_000);
    }

    #[test]
    fn a_clock_set_back_makes_time_stand_still() {
        let mut clock = RecordClock::new();
        clock.last += 3_600_000_000_000;
        let ahead = clock.last;
        assert_eq!(clock.now(), ahead);
        assert_eq!(clock.now(), ahead);
    }
}
