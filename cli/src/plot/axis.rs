//! An axis: its range and the round numbers on it.

use crate::text;

/// Fewer of the numbers 1, 2, 5, 10, 20, ... are too few to read a logarithmic axis by.
const LOG_TICKS_MIN: usize = 3;

/// Range and scale of one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    min: f64,
    max: f64,
    is_log: bool,
}

impl Axis {
    /// An axis that shows the values from `min` to `max`; above zero when it is logarithmic.
    pub fn new((min, max): (f64, f64), is_log: bool) -> Self {
        let (min, max) = if is_log { (min.log10(), max.log10()) } else { (min, max) };
        // A curve that never changes is drawn in the middle.
        let margin = if max > min { 0.0 } else { (min.abs() * 0.1).max(0.5) };
        Self { min: min - margin, max: max + margin, is_log }
    }

    /// The position of a value, in the units of [`Axis::range`].
    pub fn position(&self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }

    /// Lowest and highest position.
    pub fn range(&self) -> [f64; 2] {
        [self.min, self.max]
    }

    /// Positions and labels of at most about `count` round numbers on the axis.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let span = self.max - self.min;
        if self.is_log && span >= 2.0 {
            let step = (span / count.max(1) as f64).ceil().max(1.0);
            return self.multiples(step).into_iter().map(|at| (at, text::number(10f64.powf(at)))).collect();
        }
        if self.is_log {
            let between = (self.min.floor() as i32..=self.max.ceil() as i32)
                .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)))
                .filter(|value| (self.min..=self.max).contains(&value.log10()));
            let between: Vec<f64> = between.collect();
            if between.len() >= LOG_TICKS_MIN {
                return between.into_iter().map(|value| (value.log10(), text::number(value))).collect();
            }
            // Less than a power of ten: round numbers as on a linear axis say more.
            let whole = Self { min: 10f64.powf(self.min), max: 10f64.powf(self.max), is_log: false };
            return whole.ticks(count).into_iter().map(|(value, label)| (value.log10(), label)).collect();
        }
        let step = round_step(span / count.max(1) as f64);
        self.multiples(step).into_iter().map(|at| (at, text::number(at))).collect()
    }

    fn multiples(&self, step: f64) -> Vec<f64> {
        let first = (self.min / step - 1e-9).ceil() as i64;
        let last = (self.max / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

/// The lowest of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, count: usize) -> Vec<String> {
        axis.ticks(count).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(Axis::new((0.0, 1.0), false), 5), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(Axis::new((3.17, 4.9), false), 4), ["3.5", "4", "4.5"]);
        assert_eq!(labels(Axis::new((0.0, 5100.0), false), 6), ["0", "1000", "2000", "3000", "4000", "5000"]);
        assert_eq!(labels(Axis::new((-0.02, 0.02), false), 4), ["-0.02", "-0.01", "0", "0.01", "0.02"]);
    }

    #[test]
    fn a_logarithmic_axis_counts_in_powers_of_ten() {
        let axis = Axis::new((0.001, 10.0), true);
        assert_eq!(labels(axis, 5), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(axis.position(0.1), -1.0);
        assert_eq!(labels(Axis::new((0.15, 2.3), true), 4), ["0.2", "0.5", "1", "2"]);
        assert_eq!(labels(Axis::new((3.0, 16.0), true), 4), ["5", "10", "15"]);
        assert_eq!(labels(Axis::new((1e-12, 1.0), true), 4), ["1e-12", "1e-9", "1e-6", "0.001", "1"]);
    }

    #[test]
    fn a_constant_has_a_range_around_it() {
        let [min, max] = Axis::new((7.0, 7.0), false).range();
        assert!(min < 7.0 && max > 7.0);
        assert!(!Axis::new((0.0, 0.0), false).ticks(4).is_empty());
    }
}
