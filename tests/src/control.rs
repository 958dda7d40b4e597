//! A second shared page, by which a campaign steers a helper process and hears of it: no sleeping, no guessing.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::acknowledge::Acknowledgements;

/// The helper's progress: what it means is agreed between the two.
const STATE: usize = 0;
/// The campaign's order.
const ORDER: usize = 1;
/// A number the helper tells, such as an attempt.
const FIGURE: usize = 2;
/// Nanoseconds by which the helper's wall clock is wrong, as the bits of an `i64`.
const CLOCK: usize = 3;

/// Longest wait for the other side. Only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// The shared words.
pub struct Control {
    page: Acknowledgements,
}

impl Control {
    /// Opens the page at `path`, creating it with all words at 0.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { page: Acknowledgements::open(path)? })
    }

    /// The helper says how far it is.
    pub fn tell(&self, state: u64) {
        self.page.acknowledge(STATE, state);
    }

    /// How far the helper is.
    pub fn state(&self) -> u64 {
        self.page.of(STATE)
    }

    /// The campaign gives an order.
    pub fn order(&self, order: u64) {
        self.page.acknowledge(ORDER, order);
    }

    /// The last order.
    pub fn ordered(&self) -> u64 {
        self.page.of(ORDER)
    }

    /// The helper tells a number.
    pub fn tell_figure(&self, figure: u64) {
        self.page.acknowledge(FIGURE, figure);
    }

    /// The number that was told last.
    pub fn figure(&self) -> u64 {
        self.page.of(FIGURE)
    }

    /// Sets by how many nanoseconds the helper's wall clock is wrong.
    pub fn set_clock(&self, nanos: i64) {
        self.page.acknowledge(CLOCK, nanos.cast_unsigned());
    }

    /// By how many nanoseconds the wall clock is to be wrong.
    pub fn clock(&self) -> i64 {
        self.page.of(CLOCK).cast_signed()
    }

    /// Waits until an order of at least `order` was given; spins, so that two helpers get on within microseconds.
    pub fn await_order(&self, order: u64) {
        look_until("the campaign's order", || self.ordered() >= order, std::thread::yield_now);
    }

    /// Waits until the helper is at least so far.
    pub fn await_state(&self, state: u64) {
        wait_until("the helper", || self.state() >= state);
    }
}

/// Looks every 0.1 ms until `done`.
///
/// # Panics
/// After two minutes: the other side hangs or is gone.
pub fn wait_until(what: &str, done: impl FnMut() -> bool) {
    look_until(what, done, || std::thread::sleep(Duration::from_micros(100)));
}

fn look_until(what: &str, mut done: impl FnMut() -> bool, between: impl Fn()) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited for {what} in vain");
        between();
    }
}
