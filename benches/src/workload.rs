//! What is logged: noisy losses as training gives them, from a seed, neither constant nor trivially compressible.

/// Length of the table of noise; a power of two.
const NOISE: usize = 1 << 20;
/// Offset in the table between one metric and the next; odd.
const METRIC_OFFSET: usize = 77_777;
/// Steps after which the noiseless part of a loss is computed anew.
const BASE_STEPS: i64 = 256;

/// Losses of several metrics: a value that falls with the steps, times noise of 5 % in 24 random bits, computed in `f32`
/// and widened to `f64`, as what a training loop logs mostly is.
pub struct Losses {
    noise: Vec<f32>,
    base: f32,
}

impl Losses {
    /// The losses of a seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let noise = std::iter::repeat_with(|| (mix(&mut state) >> 40) as f32 / (1 << 24) as f32);
        Self { noise: noise.take(NOISE).collect(), base: 0.0 }
    }

    /// Writes the value of each metric at `step`. Steps have to rise from 0.
    #[inline]
    pub fn fill(&mut self, step: i64, values: &mut [f64]) {
        if step % BASE_STEPS == 0 {
            self.base = 2.0 + 9.0 / (1.0 + step as f32 * 1e-4);
        }
        for (metric, value) in values.iter_mut().enumerate() {
            let noise = self.noise[(step as usize).wrapping_add(metric * METRIC_OFFSET) & (NOISE - 1)];
            *value = f64::from(self.base * (0.95 + 0.1 * noise));
        }
    }
}

/// Names for `count` metrics.
pub fn metric_names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("loss_{number:03}")).collect()
}

/// The next number of the SplitMix64 generator (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
