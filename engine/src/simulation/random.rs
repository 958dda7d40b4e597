//! A small seeded generator (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016),
//! so that a failing history can be run again.

/// xorshift64*.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike.
        let mut random = Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1);
        random.number();
        random.number();
        random
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        (self.number() >> 11) % end
    }

    /// A number below 2^`bits`, small ones as likely as large ones.
    pub(super) fn skewed(&mut self, bits: u64) -> u64 {
        let end = 1 << self.below(bits);
        self.below(end)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
