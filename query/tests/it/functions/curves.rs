//! Areas under curves, and curves between their points.

use std::collections::BTreeMap;

use crate::functions::{Groups, Random, Row, by_place, close, empty, one, table};
use crate::support::ask;

/// The mean value at each step.
fn curve(rows: &[Row]) -> Vec<(f64, f64)> {
    let mut steps: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    rows.iter().for_each(|(step, value)| steps.entry(*step).or_default().push(*value));
    steps.iter().map(|(step, values)| (*step as f64, values.iter().sum::<f64>() / values.len() as f64)).collect()
}

fn area(rows: &[Row]) -> Option<f64> {
    let curve = curve(rows);
    let area = curve.windows(2).map(|ends| (ends[1].0 - ends[0].0) * (ends[0].1 + ends[1].1) / 2.0).sum();
    (!curve.is_empty()).then_some(area)
}

fn at(rows: &[Row], x: f64) -> Option<f64> {
    let curve = curve(rows);
    let before = curve.iter().rfind(|point| point.0 <= x)?;
    let after = curve.iter().find(|point| point.0 >= x)?;
    let slope = if after.0 > before.0 { (after.1 - before.1) / (after.0 - before.0) } else { 0.0 };
    Some(before.1 + slope * (x - before.0))
}

#[test]
fn auc_is_the_sum_of_trapezoids() {
    let mut random = Random::of("auc");
    let groups = Groups::random(&mut random, 40, 60);
    let (whole, float) = (groups.ask("auc(step, value)"), groups.ask("auc(step / 4.0, value) * 4"));
    let seconds = groups.ask("auc(to_timestamp_seconds(step), value)");
    for (n, rows) in groups.finite().iter().enumerate() {
        close(&whole[n], area(rows), &format!("{rows:?}"));
        close(&float[n], area(rows), &format!("{rows:?}"));
        close(&seconds[n], area(rows), &format!("{rows:?}"));
    }
}

#[test]
fn auc_of_known_curves() {
    let auc = |rows: &[Row]| one(&empty(), &format!("SELECT auc(step, value) FROM {}", table(rows)));
    assert_eq!(auc(&[(10, 2.0), (0, 0.0)]), "10.0");
    assert_eq!(auc(&[(5, 3.0)]), "0.0");
    assert_eq!(auc(&[(0, 1.0), (1, f64::NAN), (2, 1.0)]), "2.0");
    // Two values at a step count as their mean.
    assert_eq!(auc(&[(0, 1.0), (2, 5.0), (2, 1.0)]), "4.0");
    assert_eq!(auc(&[(i64::MIN, 1.0), (i64::MAX, 1.0)]), "1.8446744073709552e19");
    assert_eq!(one(&empty(), "SELECT auc(step, value) FROM metrics"), "null");
    let time = "(VALUES (to_timestamp_micros(0), 2.0), (to_timestamp_micros(500000), 2.0)) AS t(time, value)";
    assert_eq!(one(&empty(), &format!("SELECT auc(time, value) FROM {time}")), "1.0");
}

#[test]
fn interp_at_reads_the_curve_anywhere() {
    let mut random = Random::of("interp_at");
    let groups = Groups::random(&mut random, 40, 60);
    for x in ["-7", "-5", "3", "10", "10.25", "31.5", "54", "200"] {
        let answers = groups.ask(&format!("interp_at(step, value, {x})"));
        for (n, rows) in groups.finite().iter().enumerate() {
            close(&answers[n], at(rows, x.parse().expect("a number")), &format!("{rows:?} at {x}"));
        }
    }
}

#[test]
fn interp_at_is_exact_at_points_and_null_outside() {
    let rows: [Row; 4] = [(0, 0.1), (3, 0.3), (3, 0.3), (9, f64::INFINITY)];
    let at = |x: &str| one(&empty(), &format!("SELECT interp_at(step, value, {x}) FROM {}", table(&rows)));
    assert_eq!(at("0"), "0.1");
    assert_eq!(at("3"), "0.3");
    assert_eq!(at("4"), "null");
    assert_eq!(at("-1"), "null");
    assert_eq!(at("NULL"), "null");
    assert_eq!(at("'NaN'::double"), "null");
}

#[test]
fn a_place_may_come_from_another_table() {
    let sql = format!(
        "SELECT g.x, interp_at(step, value, g.x) FROM {} CROSS JOIN (VALUES (1), (2), (3)) AS g(x) GROUP BY g.x ORDER BY 1",
        table(&[(0, 0.0), (4, 8.0)])
    );
    assert_eq!(ask(&empty(), &sql), ["1|2.0", "2|4.0", "3|6.0"]);
}

#[test]
fn resample_puts_curves_on_common_steps() {
    let mut random = Random::of("resample");
    let groups = Groups::random(&mut random, 20, 60);
    for (start, stop, every) in [("-10", "70", "3"), ("0", "12", "12"), ("2.5", "40", "0.75")] {
        let list = format!("resample(step, value, {start}, {stop}, {every})");
        let sql = format!(
            "SELECT metric, p['step'], p['value'] FROM (SELECT metric, unnest({list}) AS p FROM metrics GROUP BY metric)"
        );
        let answers = groups.everywhere_as(&sql, by_place);
        let [start, stop, every] = [start, stop, every].map(|text| text.parse::<f64>().expect("a number"));
        let mut wanted = Vec::new();
        for (n, rows) in groups.finite().iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let steps = (0..).map(|n| start + f64::from(n) * every).take_while(|step| *step <= stop);
            wanted.extend(steps.map(|step| (format!("g{n:03}"), step, at(rows, step))));
        }
        assert_eq!(answers.len(), wanted.len());
        for (answer, (group, step, value)) in answers.iter().zip(wanted) {
            let fields: Vec<&str> = answer.split('|').collect();
            assert_eq!(fields[0], group);
            close(fields[1], Some(step), answer);
            close(fields[2], value, answer);
        }
    }
}

#[test]
fn resampled_times_are_times() {
    let rows = "(VALUES (to_timestamp_micros(0), 0.0), (to_timestamp_micros(2000000), 4.0)) AS t(time, value)";
    let sql = format!(
        "SELECT p['step'], p['value'] FROM (SELECT unnest(resample(time, value, '1970-01-01T00:00:00', '1970-01-01T00:00:02', 0.5)) AS p
         FROM {rows})"
    );
    let seconds = ["00", "00.500", "01", "01.500", "02"];
    let wanted: Vec<String> =
        seconds.iter().enumerate().map(|(n, second)| format!("1970-01-01T00:00:{second}Z|{n}.0")).collect();
    assert_eq!(ask(&empty(), &sql), wanted);
}
