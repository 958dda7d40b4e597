//! Aggregates over windows of rows.

use crate::functions::{Groups, Random, Row, close, empty, parsed, table};
use crate::support::ask;

const FUNCTIONS: [&str; 8] = ["avg", "sum", "min", "max", "stddev", "stddev_pop", "var", "var_pop"];

/// The aggregate of a window, from its definition.
fn plain(function: &str, window: &[Option<f64>]) -> Option<f64> {
    let values: Vec<f64> = window.iter().copied().flatten().collect();
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let squares = || values.iter().map(|value| (value - sum / count).powi(2)).sum::<f64>();
    let sample = || (count > 1.0).then(|| squares() / (count - 1.0));
    if values.is_empty() {
        return None;
    }
    match function {
        "avg" => Some(sum / count),
        "sum" => Some(sum),
        "min" => values.into_iter().min_by(f64::total_cmp),
        "max" => values.into_iter().max_by(f64::total_cmp),
        "stddev" => sample().map(f64::sqrt),
        "stddev_pop" => Some((squares() / count).sqrt()),
        "var" => sample(),
        _ => Some(squares() / count),
    }
}

fn check(found: &str, wanted: Option<f64>, what: &str) {
    match (parsed(found), wanted) {
        (Some(found), Some(wanted)) if !wanted.is_finite() => {
            assert!(found == wanted || found.is_nan() && wanted.is_nan(), "{what}")
        }
        _ => close(found, wanted, what),
    }
}

#[test]
fn windows_hold_what_their_rows_say() {
    let mut random = Random::of("rolling");
    for (frame, before, after) in [
        ("ROWS 6 PRECEDING", 6, 0),
        ("ROWS CURRENT ROW", 0, 0),
        ("ROWS BETWEEN 3 PRECEDING AND 2 FOLLOWING", 3, 2),
        ("ROWS BETWEEN CURRENT ROW AND 4 FOLLOWING", 0, 4),
        ("ROWS BETWEEN 500 PRECEDING AND 0 FOLLOWING", 500, 0),
    ] {
        let values: Vec<Option<f64>> = (0..200).map(|_| (random.below(9) > 0).then(|| random.value())).collect();
        let rows: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(step, value)| {
                value.map_or_else(|| format!("({step}, NULL)"), |value| format!("({step}, '{value}'::double)"))
            })
            .collect();
        let calls: Vec<String> = FUNCTIONS.iter().map(|name| format!("{name}(value) OVER w")).collect();
        let calls = calls.join(", ");
        // The second needs all rows of a partition at once, and takes the other way through the function; the third turns the
        // order around that the rows have.
        for (other, order, is_turned) in [
            ("row_number() OVER (ORDER BY step)", "step", false),
            ("count(*) OVER ()", "step", false),
            ("last_value(step) OVER (ORDER BY step ROWS 1 PRECEDING)", "step DESC", true),
        ] {
            let sql = format!(
                "SELECT {calls} FROM (SELECT step, value FROM (VALUES {}) AS t(step, value) ORDER BY step)
                 WINDOW w AS (ORDER BY {order} {frame}) ORDER BY step, {other}",
                rows.join(", ")
            );
            let answers = ask(&empty(), &sql);
            assert_eq!(answers.len(), values.len());
            let (before, after) = if is_turned { (after, before) } else { (before, after) };
            for (n, line) in answers.iter().enumerate() {
                let window = &values[n.saturating_sub(before)..(n + after + 1).min(values.len())];
                for (function, found) in FUNCTIONS.iter().zip(line.split('|')) {
                    check(
                        found,
                        plain(function, window),
                        &format!("{function} of {window:?} in row {n}, {frame}, {order}"),
                    );
                }
            }
        }
    }
}

/// With an accumulator that subtracts what leaves, every window after the third row would be NaN, and the last ones off by 1e16's rounding.
#[test]
fn a_window_forgets_what_has_left_it() {
    let rows: [Row; 7] = [(0, 1.0), (1, f64::NAN), (2, f64::INFINITY), (3, 2.0), (4, 4.0), (5, 1e16), (6, 0.1)];
    let later: Vec<Row> = (7..10).map(|step| (step, 0.1)).collect();
    let all = table(&[rows.as_slice(), &later].concat());
    let sql = format!("SELECT avg(value) OVER (ORDER BY step ROWS 1 PRECEDING) FROM {all} ORDER BY step");
    assert_eq!(
        ask(&empty(), &sql),
        ["1.0", "NaN", "NaN", "inf", "3.0", "5000000000000002.0", "5000000000000000.0", "0.1", "0.1", "0.1"]
    );
}

#[test]
fn windows_over_runs_are_the_same_wherever_rows_lie() {
    let mut random = Random::of("rolling runs");
    // More rows than a batch has, so that windows lie across its ends.
    let rows: Vec<Row> = (0..20_000).map(|step| (step, random.below(1000) as f64)).collect();
    let groups = Groups::of(vec![rows.clone(), rows[..3000].to_vec()]);
    let sql = "SELECT metric, max(abs(mean - (prefix - coalesce(before, 0)) / least(n, 100))) < 1e-9, count(*) FROM (
                   SELECT metric, n, mean, prefix, lag(prefix, 100) OVER (PARTITION BY metric ORDER BY step) AS before FROM (
                       SELECT metric, step, row_number() OVER w AS n,
                              avg(value) OVER (PARTITION BY metric ORDER BY step ROWS 99 PRECEDING) AS mean,
                              sum(value) OVER (PARTITION BY metric ORDER BY step ROWS UNBOUNDED PRECEDING) AS prefix
                       FROM metrics WINDOW w AS (PARTITION BY metric ORDER BY step)))
               GROUP BY metric ORDER BY metric";
    assert_eq!(groups.everywhere(sql), ["g000|true|20000", "g001|true|3000"]);
}

#[test]
fn what_is_no_plain_window_of_rows_is_left_to_datafusion_under_the_same_names() {
    let rows: Vec<Row> = (0..6).map(|step| (step, step as f64)).collect();
    let over = |call: &str, frame: &str| {
        let sql = format!("SELECT {call} OVER (ORDER BY step {frame}) AS x FROM {} ORDER BY step", table(&rows));
        ask(&empty(), &sql)
    };
    assert_eq!(
        over("avg(value) FILTER (WHERE step > 2)", "ROWS 1 PRECEDING"),
        ["null", "null", "null", "3.0", "3.5", "4.5"]
    );
    assert_eq!(over("sum(value)", "RANGE 2 PRECEDING"), ["0.0", "1.0", "3.0", "6.0", "9.0", "12.0"]);
    assert_eq!(
        over("sum(value)", "ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING"),
        ["null", "0.0", "1.0", "3.0", "5.0", "7.0"]
    );
    assert_eq!(over("sum(step)", "ROWS 1 PRECEDING"), ["0", "1", "3", "5", "7", "9"]);
    let sql = format!("SELECT avg(value) OVER (ORDER BY step ROWS 1 PRECEDING) FROM {}", table(&rows));
    let result = empty().sql(&sql).expect("answer");
    let name = result.schema().field(0).name().clone();
    assert!(name.starts_with("avg(t.value) ORDER BY [t.step"), "{name}");
}
