//! Curves: what is drawn, before anyone knows where.

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The run.
    pub label: String,
    /// Its entry in the legend, and what gives it its colour: curves of one group share both.
    pub group: String,
    /// Points (x, y), by rising x.
    pub points: Vec<(f64, f64)>,
}

/// The groups of the curves in the order they first occur, and the group of each curve.
pub fn groups(curves: &[Curve]) -> (Vec<&str>, Vec<usize>) {
    let mut names: Vec<&str> = Vec::new();
    let mut indices = Vec::with_capacity(curves.len());
    for curve in curves {
        let known = names.iter().position(|name| *name == curve.group);
        indices.push(known.unwrap_or_else(|| {
            names.push(&curve.group);
            names.len() - 1
        }));
    }
    (names, indices)
}

/// Points that were left out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// NaN or infinite.
    pub non_finite: usize,
    /// Zero or below, on a logarithmic axis.
    pub not_positive: usize,
}

impl Curve {
    /// Removes what cannot be drawn, and counts it.
    pub fn clean(&mut self, is_log_y: bool) -> Skipped {
        let before = self.points.len();
        self.points.retain(|(x, y)| x.is_finite() && y.is_finite());
        let finite = self.points.len();
        if is_log_y {
            self.points.retain(|(_, y)| *y > 0.0);
        }
        Skipped { non_finite: before - finite, not_positive: finite - self.points.len() }
    }

    /// Exponential moving average: `weight` of what was before, the rest of the new value. The first values are not
    /// pulled towards zero: each average is divided by the sum of its weights.
    pub fn smooth(&mut self, weight: f64) {
        let (mut average, mut total) = (0.0, 0.0);
        for (_, y) in &mut self.points {
            average = weight * average + (1.0 - weight) * *y;
            total = weight * total + (1.0 - weight);
            *y = average / total;
        }
    }

    /// Draws what lies above or below the shown range at its edge.
    pub fn clamp(&mut self, min: Option<f64>, max: Option<f64>) {
        for (_, y) in &mut self.points {
            *y = min.map_or(*y, |min| y.max(min));
            *y = max.map_or(*y, |max| y.min(max));
        }
    }

    /// Keeps the first, lowest, highest and last point of each of `columns` equal parts of the x range: drawn that
    /// many columns wide, the curve looks as with all its points, and no extreme is lost.
    ///
    /// After U. Jugel et al., "M4: A Visualization-Oriented Time Series Data Aggregation", 2014.
    pub fn thin(&mut self, columns: usize, (x_min, x_max): (f64, f64)) {
        if self.points.len() <= columns * 4 || x_max <= x_min {
            return;
        }
        let column_of = |x: f64| (((x - x_min) / (x_max - x_min)) * columns as f64) as usize;
        let mut kept = Vec::with_capacity(columns * 4);
        let mut start = 0;
        while start < self.points.len() {
            let column = column_of(self.points[start].0);
            let length = self.points[start..].iter().take_while(|(x, _)| column_of(*x) == column).count().max(1);
            keep_extremes(&self.points, start, start + length, &mut kept);
            start += length;
        }
        self.points = kept;
    }
}

fn keep_extremes(points: &[(f64, f64)], start: usize, end: usize, kept: &mut Vec<(f64, f64)>) {
    let (mut low, mut high) = (start, start);
    for i in start..end {
        if points[i].1 < points[low].1 {
            low = i;
        }
        if points[i].1 > points[high].1 {
            high = i;
        }
    }
    let mut indices = [start, low, high, end - 1];
    indices.sort_unstable();
    let mut last = None;
    for index in indices {
        if last != Some(index) {
            kept.push(points[index]);
            last = Some(index);
        }
    }
}

/// Lowest and highest x, then y, over all curves; `None` when there is no point.
pub fn bounds(curves: &[Curve]) -> Option<((f64, f64), (f64, f64))> {
    let mut points = curves.iter().flat_map(|curve| &curve.points);
    let first = points.next()?;
    let start = ((first.0, first.0), (first.1, first.1));
    Some(
        points
            .fold(start, |(x, y), point| ((x.0.min(point.0), x.1.max(point.0)), (y.0.min(point.1), y.1.max(point.1)))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: impl IntoIterator<Item = (f64, f64)>) -> Curve {
        Curve { label: "a".into(), group: "a".into(), points: points.into_iter().collect() }
    }

    #[test]
    fn what_cannot_be_drawn_is_counted() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 0.0), (4.0, -1.0)];
        let mut linear = curve(points);
        assert_eq!(linear.clean(false), Skipped { non_finite: 2, not_positive: 0 });
        assert_eq!(linear.points.len(), 3);
        let mut logarithmic = curve(points);
        assert_eq!(logarithmic.clean(true), Skipped { non_finite: 2, not_positive: 2 });
        assert_eq!(logarithmic.points, [(0.0, 1.0)]);
    }

    #[test]
    fn groups_keep_their_order() {
        let of = |group: &str| Curve { group: group.into(), ..curve([]) };
        let curves = [of("y"), of("x"), of("y")];
        assert_eq!(groups(&curves), (vec!["y", "x"], vec![0, 1, 0]));
    }

    #[test]
    fn smoothing_keeps_a_constant_and_follows_a_step() {
        let mut constant = curve((0..10).map(|x| (f64::from(x), 2.0)));
        constant.smooth(0.9);
        assert!(constant.points.iter().all(|(_, y)| (y - 2.0).abs() < 1e-12));
        let mut same = curve([(0.0, 1.0), (1.0, 5.0)]);
        same.smooth(0.0);
        assert_eq!(same.points, [(0.0, 1.0), (1.0, 5.0)]);
        let mut half = curve([(0.0, 0.0), (1.0, 3.0)]);
        half.smooth(0.5);
        assert!((half.points[1].1 - 2.0).abs() < 1e-12);
    }

    #[test]
    fn values_beyond_the_range_lie_at_its_edge() {
        let mut wild = curve([(0.0, 16.0), (1.0, 3.0), (2.0, -5.0)]);
        wild.clamp(Some(0.0), Some(4.0));
        assert_eq!(wild.points, [(0.0, 4.0), (1.0, 3.0), (2.0, 0.0)]);
        wild.clamp(None, None);
        assert_eq!(wild.points[0], (0.0, 4.0));
    }

    #[test]
    fn thinning_keeps_ends_and_extremes() {
        let mut spiky = curve((0..100_000).map(|i| {
            let y = match i {
                31_415 => 1000.0,
                92_653 => -1000.0,
                _ => f64::from(i % 7),
            };
            (f64::from(i), y)
        }));
        let whole = spiky.clone();
        let range = bounds(std::slice::from_ref(&whole)).unwrap();
        spiky.thin(100, range.0);
        assert!(spiky.points.len() <= 404, "{}", spiky.points.len());
        assert_eq!(bounds(std::slice::from_ref(&spiky)), Some(range));
        assert_eq!(spiky.points.first(), whole.points.first());
        assert_eq!(spiky.points.last(), whole.points.last());
        assert!(spiky.points.contains(&(31_415.0, 1000.0)));
        assert!(spiky.points.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn thinning_leaves_short_and_flat_ranges_alone() {
        let mut short = curve([(0.0, 1.0), (1.0, 2.0)]);
        short.thin(1, (0.0, 1.0));
        assert_eq!(short.points.len(), 2);
        let mut same_x = curve((0..100).map(|y| (3.0, f64::from(y))));
        same_x.thin(1, (3.0, 3.0));
        assert_eq!(same_x.points.len(), 100);
        assert_eq!(bounds(&[]), None);
    }
}
