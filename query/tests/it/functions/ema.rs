//! Exponential moving averages.

use crate::functions::{Groups, Random, Row, close, empty, table};
use crate::support::{Placement, ask};

/// The averages as sums with explicit weights; `None` for what is not finite, which gives itself.
fn averages(values: &[f64], decay: f64, debias: bool) -> Vec<Option<f64>> {
    let mut seen: Vec<f64> = Vec::new();
    let mut average = |value: f64| {
        if !value.is_finite() {
            return None;
        }
        seen.push(value);
        let newest = seen.len() - 1;
        let weight = |n: usize| {
            let age = decay.powi((newest - n) as i32);
            // Without correction the first value stands for all that came before it.
            if n == 0 && !debias { age } else { (1.0 - decay) * age }
        };
        let total: f64 = (0..seen.len()).map(weight).sum();
        Some(seen.iter().enumerate().map(|(n, value)| weight(n) * value).sum::<f64>() / total)
    };
    values.iter().map(|value| average(*value)).collect()
}

#[test]
fn ema_is_the_weighted_sum_of_all_values_before() {
    let mut random = Random::of("ema");
    for decay in [0.0, 0.5, 0.9, 0.999] {
        for debias in [false, true] {
            let rows: Vec<Row> = (0..120).map(|step| (step, random.value())).collect();
            let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
            let wanted = averages(&values, decay, debias);
            // The second needs all rows of a partition at once, and takes the other way through the function.
            for other in ["row_number() OVER (ORDER BY step)", "count(*) OVER ()"] {
                let sql = format!(
                    "SELECT e FROM (SELECT step, {other}, ema(value, {decay}, {debias}) OVER (ORDER BY step) AS e FROM {})
                     ORDER BY step",
                    table(&rows)
                );
                for (n, (found, wanted)) in ask(&empty(), &sql).iter().zip(&wanted).enumerate() {
                    match wanted {
                        Some(_) => close(found, *wanted, &format!("row {n} of {rows:?}, decay {decay}, {debias}")),
                        None => assert_eq!(*found, values[n].to_string()),
                    }
                }
            }
        }
    }
}

#[test]
fn ema_of_known_values() {
    let rows =
        "(VALUES (1, 4.0), (2, NULL), (3, 'NaN'::double), (4, 2.0), (5, '-inf'::double), (6, 0.0)) AS t(step, value)";
    let ema = |rest: &str| {
        ask(&empty(), &format!("SELECT ema(value, 0.5{rest}) OVER (ORDER BY step) FROM {rows} ORDER BY step"))
    };
    assert_eq!(ema(""), ["4.0", "null", "NaN", "3.0", "-inf", "1.5"]);
    // m = 2, 2, 1; divided by 0.5, 0.75, 0.875.
    assert_eq!(ema(", true")[..4], ["4.0", "null", "NaN", "2.6666666666666665"]);
    assert_eq!(ema(", debias => true"), ema(", true"));
    assert_eq!(ema(", false"), ema(", NULL"));
}

#[test]
fn each_partition_has_an_average_of_its_own() {
    let mut random = Random::of("ema of partitions");
    let groups: Vec<Vec<Row>> = (0..5).map(|_| (0..40).map(|step| (step, random.share() * 10.0)).collect()).collect();
    let wanted: Vec<Option<f64>> =
        groups.iter().flat_map(|rows| averages(&rows.iter().map(|row| row.1).collect::<Vec<_>>(), 0.9, true)).collect();
    let groups = Groups::of(groups);
    let sql =
        "SELECT ema(value, 0.9, true) OVER (PARTITION BY metric ORDER BY step) FROM metrics ORDER BY metric, step";
    for (n, (found, wanted)) in groups.everywhere(sql).iter().zip(wanted).enumerate() {
        close(found, wanted, &format!("row {n}"));
    }
    let last = "SELECT ema(value, 0.9) OVER (PARTITION BY metric ORDER BY step DESC) FROM metrics WHERE step > 100";
    assert_eq!(groups.everywhere(last), [] as [&str; 0]);
}

#[test]
fn batches_do_not_start_the_average_anew() {
    let session = Groups::of(vec![]).session(Placement::Live, 4);
    let sql = "SELECT max(abs(e - value)) FROM (SELECT value, ema(value::double, 0.5) OVER (ORDER BY value) AS e
               FROM generate_series(1, 30000))";
    // The average of a ramp comes to lag one step behind it, and never goes back.
    assert_eq!(ask(&session, sql), ["1.0"]);
}
