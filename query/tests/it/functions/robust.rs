//! Median absolute deviation, interquartile mean, and whether numbers are finite.

use crate::functions::{Groups, Random, Row, close, empty, one, parsed, table};
use crate::support::ask;

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> Option<f64> {
    let n = values.len();
    (n > 0).then(|| (values[(n - 1) / 2] + values[n / 2]) / 2.0)
}

fn mad(values: &[f64]) -> Option<f64> {
    let middle = median(&sorted(values.iter().copied()))?;
    median(&sorted(values.iter().map(|value| (value - middle).abs())))
}

/// As scipy.stats.trim_mean(x, 0.25).
fn iqm(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values.iter().copied());
    let cut = (0.25 * sorted.len() as f64) as usize;
    let kept = &sorted[cut..sorted.len() - cut];
    (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
}

#[test]
fn mad_and_iqm_are_those_of_the_finite_values() {
    let mut random = Random::of("mad");
    let groups = Groups::random(&mut random, 40, 60);
    let (mads, iqms) = (groups.ask("mad(value)"), groups.ask("iqm(value)"));
    for (n, rows) in groups.finite().iter().enumerate() {
        let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
        close(&mads[n], mad(&values), &format!("mad of {values:?}"));
        close(&iqms[n], iqm(&values), &format!("iqm of {values:?}"));
    }
}

#[test]
fn mad_and_iqm_of_known_values() {
    let ask = |what: &str, values: &str| one(&empty(), &format!("SELECT {what}(v) FROM unnest([{values}]) AS t(v)"));
    // The example of Wikipedia's "Median absolute deviation".
    assert_eq!(ask("mad", "1, 1, 2, 2, 4, 6, 9"), "1.0");
    assert_eq!(ask("mad", "5"), "0.0");
    assert_eq!(ask("mad", "1, 2"), "0.5");
    // scipy.stats.trim_mean([1, 2, 3, 4, 5, 6, 7, 100], 0.25), and with one value more and less than a multiple of four.
    assert_eq!(ask("iqm", "100, 1, 7, 2, 6, 3, 5, 4"), "4.5");
    assert_eq!(ask("iqm", "1, 2, 3"), "2.0");
    assert_eq!(ask("iqm", "1, 2, 3, 4, 100"), "3.0");
    assert_eq!(ask("iqm", "NULL, 8"), "8.0");
}

#[test]
fn mad_moves_with_a_frame_of_rows() {
    let mut random = Random::of("moving mad");
    for _ in 0..4 {
        let rows: Vec<Row> = (0..80).map(|step| (step, random.value())).collect();
        let [before, after] = [random.below(60) as usize, random.below(3) as usize];
        let sql = format!(
            "SELECT mad(value) OVER (ORDER BY step ROWS BETWEEN {before} PRECEDING AND {after} FOLLOWING) FROM {}
             ORDER BY step",
            table(&rows)
        );
        for (n, found) in ask(&empty(), &sql).iter().enumerate() {
            let frame = &rows[n.saturating_sub(before)..rows.len().min(n + after + 1)];
            let values: Vec<f64> = frame.iter().map(|row| row.1).filter(|value| value.is_finite()).collect();
            close(found, mad(&values), &format!("row {n} of {rows:?}, {before} before and {after} after"));
        }
    }
}

#[test]
fn a_long_frame_that_jumps_gives_the_same_mad() {
    // A frame by values of `step` takes in and gives up many rows at once.
    let rows: Vec<Row> = (0..200).map(|n| (n / 50 * 10, f64::from((n * 37 % 101) as i32))).collect();
    let sql = format!(
        "SELECT step, mad(value) OVER (ORDER BY step RANGE BETWEEN 10 PRECEDING AND CURRENT ROW) FROM {}",
        table(&rows)
    );
    for line in ask(&empty(), &sql) {
        let (step, found) = line.split_once('|').expect("two columns");
        let step: i64 = step.parse().expect("a step");
        let frame = rows.iter().filter(|row| (step - 10..=step).contains(&row.0));
        close(found, mad(&frame.map(|row| row.1).collect::<Vec<_>>()), &line);
    }
}

#[test]
fn spikes_are_found_in_one_statement() {
    let rows: Vec<Row> = (0..60).map(|step| (step, if step == 41 { 30.0 } else { (step % 5) as f64 })).collect();
    let sql = format!(
        "SELECT step FROM (SELECT step, value, median(value) OVER w AS middle, mad(value) OVER w AS spread FROM {}
         WINDOW w AS (ORDER BY step ROWS BETWEEN 20 PRECEDING AND CURRENT ROW))
         WHERE abs(value - middle) > 6 * 1.4826 * spread AND spread > 0",
        table(&rows)
    );
    assert_eq!(ask(&empty(), &sql), ["41"]);
}

#[test]
fn isfinite_is_false_for_nan_and_infinities_alone() {
    let mut random = Random::of("isfinite");
    let groups = Groups::random(&mut random, 20, 40);
    let found = groups.ask("count(*) FILTER (WHERE isfinite(value))");
    let firsts = groups.ask("min(step) FILTER (WHERE NOT is_finite(value))");
    for (n, rows) in groups.groups.iter().enumerate() {
        assert_eq!(found[n], groups.finite()[n].len().to_string());
        let first = rows.iter().filter(|row| !row.1.is_finite()).map(|row| row.0).min();
        assert_eq!(parsed(&firsts[n]), first.map(|step| step as f64));
    }
    let sql = "SELECT isfinite(1), isfinite(1e308 * 10), isfinite('NaN'::double), isfinite(NULL), isfinite(0.5::real)";
    assert_eq!(one(&empty(), sql), "true|false|false|null|true");
}
