//! The summary of a window that moves on over rows, in two stacks: nothing that was added is ever taken away.

use std::marker::PhantomData;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::PartitionEvaluator;

/// A monoid over values: what is known of a few rows that follow each other.
pub(super) trait Summary: Copy + std::fmt::Debug + Send {
    /// Of no rows.
    const EMPTY: Self;

    /// Of one row.
    fn of(value: f64) -> Self;

    /// Of these rows and those that follow them.
    fn join(self, later: Self) -> Self;
}

/// What is asked of a summary; null where it is not defined.
pub(super) trait Answer: std::fmt::Debug + Send + 'static {
    /// The summary that it is read from.
    type Summary: Summary;

    fn of(summary: Self::Summary) -> Option<f64>;
}

/// The windows over one partition, row by row.
///
/// Rows up to `split` are in `front`, as the summaries of the window's rows from each of them to `split`, the first row on top; those
/// after it in `back`, as one summary. When the last row of `front` has left the window, `front` is made anew of all rows in it.
#[derive(Debug)]
pub(super) struct Windows<A: Answer> {
    /// Rows before the current one that are in its window.
    before: usize,
    /// The current row, counted from the partition's first.
    row: usize,
    front: Vec<A::Summary>,
    split: usize,
    back: A::Summary,
    /// The row after the last one in `back`.
    end: usize,
    answer: PhantomData<A>,
}

impl<A: Answer> Windows<A> {
    pub(super) fn new(before: usize) -> Self {
        Self { before, row: 0, front: Vec::new(), split: 0, back: A::Summary::EMPTY, end: 0, answer: PhantomData }
    }

    /// The answer for the next row, whose window is `range` of the values at hand.
    fn next(&mut self, values: &Float64Array, range: &Range<usize>) -> Option<f64> {
        let start = self.row.saturating_sub(self.before);
        // Values that no window needs any more are dropped from the beginning of those at hand.
        let dropped = start - range.start;
        let end = range.end + dropped;
        self.row += 1;
        let of = |row: usize| {
            let at = row - dropped;
            if values.is_valid(at) { A::Summary::of(values.value(at)) } else { A::Summary::EMPTY }
        };
        if start > self.split {
            let mut summary = A::Summary::EMPTY;
            self.front.clear();
            self.front.extend((start..end).rev().map(|row| {
                summary = of(row).join(summary);
                summary
            }));
            (self.split, self.back) = (end, A::Summary::EMPTY);
        } else {
            self.front.truncate(self.split - start);
            self.back = (self.end..end).fold(self.back, |back, row| back.join(of(row)));
        }
        self.end = end;
        A::of(self.front.last().map_or(self.back, |front| front.join(self.back)))
    }
}

impl<A: Answer> PartitionEvaluator for Windows<A> {
    /// Called once for each row, in order.
    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.next(values[0].as_primitive::<Float64Type>(), range)))
    }

    fn uses_window_frame(&self) -> bool {
        true
    }

    fn supports_bounded_execution(&self) -> bool {
        true
    }
}

/// Number and sum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    count: u64,
    sum: f64,
}

impl Summary for Total {
    const EMPTY: Self = Self { count: 0, sum: 0.0 };

    fn of(value: f64) -> Self {
        Self { count: 1, sum: value }
    }

    fn join(self, later: Self) -> Self {
        Self { count: self.count + later.count, sum: self.sum + later.sum }
    }
}

/// `sum`.
#[derive(Debug)]
pub(super) struct Sum;

impl Answer for Sum {
    type Summary = Total;

    fn of(total: Total) -> Option<f64> {
        (total.count > 0).then_some(total.sum)
    }
}

/// `avg`.
#[derive(Debug)]
pub(super) struct Mean;

impl Answer for Mean {
    type Summary = Total;

    fn of(total: Total) -> Option<f64> {
        (total.count > 0).then(|| total.sum / total.count as f64)
    }
}

/// The lowest value, or the highest; NaN is above all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extreme<const HIGHEST: bool>(Option<f64>);

impl<const HIGHEST: bool> Summary for Extreme<HIGHEST> {
    const EMPTY: Self = Self(None);

    fn of(value: f64) -> Self {
        Self(Some(value))
    }

    fn join(self, later: Self) -> Self {
        match (self.0, later.0) {
            (Some(a), Some(b)) if a.total_cmp(&b).is_lt() == HIGHEST => later,
            (Some(_), _) => self,
            (None, _) => later,
        }
    }
}

/// `max`, or `min`.
#[derive(Debug)]
pub(super) struct Outermost<const HIGHEST: bool>;

impl<const HIGHEST: bool> Answer for Outermost<HIGHEST> {
    type Summary = Extreme<HIGHEST>;

    fn of(extreme: Extreme<HIGHEST>) -> Option<f64> {
        extreme.0
    }
}

/// Number, mean and sum of squared deviations. Joined as in Chan, Golub, LeVeque: "Updating Formulae and a Pairwise Algorithm for
/// Computing Sample Variances", 1979.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Summary for Moments {
    const EMPTY: Self = Self { count: 0, mean: 0.0, squares: 0.0 };

    fn of(value: f64) -> Self {
        // 0, or NaN where there is no mean to deviate from.
        Self { count: 1, mean: value, squares: value * 0.0 }
    }

    fn join(self, later: Self) -> Self {
        if self.count == 0 {
            return later;
        }
        if later.count == 0 {
            return self;
        }
        let count = self.count + later.count;
        let apart = later.mean - self.mean;
        let share = later.count as f64 / count as f64;
        Self {
            count,
            mean: self.mean + apart * share,
            squares: self.squares + later.squares + apart * apart * share * self.count as f64,
        }
    }
}

/// Variance of a sample, or of all there is; or its root.
#[derive(Debug)]
pub(super) struct Spread<const SAMPLE: bool, const ROOT: bool>;

impl<const SAMPLE: bool, const ROOT: bool> Answer for Spread<SAMPLE, ROOT> {
    type Summary = Moments;

    fn of(moments: Moments) -> Option<f64> {
        let divisor = moments.count.checked_sub(u64::from(SAMPLE)).filter(|divisor| *divisor > 0)?;
        let variance = moments.squares / divisor as f64;
        Some(if ROOT { variance.sqrt() } else { variance })
    }
}
