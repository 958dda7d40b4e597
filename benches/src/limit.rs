//! The limit of what a log call can cost: one read of the processor's counter and one store of 32 bytes.

/// 32 bytes, as large as a record in the engine's ring.
#[repr(align(32))]
#[derive(Clone, Copy, Default)]
struct Slot([u64; 4]);

/// A ring in private memory, all pages present, with nobody at the other end.
pub struct PrivateRing {
    slots: Box<[Slot]>,
    index: usize,
    clock: quanta::Clock,
}

impl PrivateRing {
    /// A ring of `capacity` records, rounded up to a power of two.
    pub fn new(capacity: usize) -> Self {
        // Ones, because a vector of zeros would be pages that are not present yet.
        let slots = vec![Slot([1; 4]); capacity.next_power_of_two()];
        Self { slots: slots.into_boxed_slice(), index: 0, clock: quanta::Clock::new() }
    }

    /// Reads the counter and stores a record.
    #[inline]
    pub fn put(&mut self, metric: u64, step: i64, value: f64) {
        let time = self.clock.raw();
        let mask = self.slots.len() - 1;
        self.slots[self.index & mask] = Slot([metric + 1, time, step as u64, value.to_bits()]);
        self.index += 1;
    }

    /// How many of the last `count` records hold the step that follows the one before.
    pub fn in_order(&self, count: usize) -> usize {
        let mask = self.slots.len() - 1;
        let step = |back: usize| self.slots[self.index.wrapping_sub(back) & mask].0[2];
        (1..count).filter(|back| step(*back) == step(back + 1) + 1).count() + 1
    }
}
