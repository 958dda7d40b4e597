//! What belongs to a lowest or highest value, and first crossings.

use crate::functions::{Groups, Random, Row, empty, one, text};
use crate::support::{Placement, ask};

/// The step at the extreme value of each group, the plain way.
fn at_extreme(groups: &[Vec<Row>], better: fn(f64, f64) -> bool) -> Vec<String> {
    let of_group = |rows: &Vec<Row>| {
        let mut best: Option<Row> = None;
        for (step, value) in rows {
            let wins = best.is_none_or(|(at, kept)| better(*value, kept) || *value == kept && *step < at);
            best = if wins { Some((*step, *value)) } else { best };
        }
        text(best.map(|best| best.0))
    };
    groups.iter().map(of_group).collect()
}

#[test]
fn argmin_and_argmax_find_the_step_of_the_extreme() {
    let mut random = Random::of("argmin");
    let groups = Groups::random(&mut random, 30, 60);
    let (lowest, highest) = (at_extreme(&groups.finite(), |a, b| a < b), at_extreme(&groups.finite(), |a, b| a > b));
    assert_eq!(groups.ask("argmin(value, step)"), lowest);
    assert_eq!(groups.ask("argmax(value, step)"), highest);
    assert_eq!(groups.ask("min_by(step, value)"), lowest);
    assert_eq!(groups.ask("max_by(step, value)"), highest);
    // Other types of what is given, by way of the same steps: text has an order of its own, so it gets leading zeros.
    assert_eq!(groups.ask("argmin(value, step::double)::bigint"), lowest);
    assert_eq!(groups.ask("argmin(value, step::int)"), lowest);
    assert_eq!(groups.ask("argmin(value, to_timestamp_micros(step + 1000))::bigint - 1000"), lowest);
    assert_eq!(groups.ask("argmax(value, lpad((step + 1000)::text, 9, '0'))::bigint - 1000"), highest);
    assert_eq!(groups.ask("argmax(value, struct(step))['c0']"), highest);
    assert_eq!(groups.ask("argmax(value, [step])[1]"), highest);
    assert_eq!(groups.ask("argmin(value, step) FILTER (WHERE value > 0)"), {
        let positive: Vec<Vec<Row>> =
            groups.finite().iter().map(|rows| rows.iter().copied().filter(|row| row.1 > 0.0).collect()).collect();
        at_extreme(&positive, |a, b| a < b)
    });
}

#[test]
fn argmin_without_groups_is_that_of_all_rows() {
    let mut random = Random::of("argmin without groups");
    let groups = Groups::random(&mut random, 12, 80);
    let all = vec![groups.finite().concat()];
    let (lowest, highest) = (at_extreme(&all, |a, b| a < b), at_extreme(&all, |a, b| a > b));
    assert_eq!(groups.everywhere("SELECT argmin(value, step) FROM metrics"), lowest);
    assert_eq!(groups.everywhere("SELECT argmax(value, step) FROM metrics"), highest);
    assert_eq!(groups.everywhere("SELECT argmax(value, step) FROM metrics WHERE step > 1000000"), ["null"]);
    // Texts that a file keeps in a dictionary stay what they are.
    let names: Vec<usize> =
        groups.finite().iter().enumerate().flat_map(|(n, rows)| rows.iter().map(move |_| n)).collect();
    let rows: Vec<Row> = names.iter().zip(&all[0]).map(|(name, row)| (*name as i64, row.1)).collect();
    let best = at_extreme(&[rows], |a, b| a > b)[0].parse::<usize>().expect("a group");
    assert_eq!(groups.everywhere("SELECT argmax(value, metric) FROM metrics"), [format!("g{best:03}")]);
}

#[test]
fn first_by_and_last_by_settle_repeated_orders_by_the_value() {
    let mut random = Random::of("last_by");
    let groups = Groups::random(&mut random, 30, 60);
    let of = |pick: fn(&mut dyn Iterator<Item = Row>) -> Option<Row>| {
        let of_group = |rows: &Vec<Row>| format!("{:?}", pick(&mut rows.iter().copied()).expect("a row").1);
        groups.groups.iter().map(of_group).collect::<Vec<_>>()
    };
    let last = of(|rows| rows.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))));
    let first = of(|rows| rows.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))));
    // Parsed, because values that are nearly 0 are written in another way there than here.
    let ask = |what: &str| {
        let lines = groups.ask(what);
        lines.iter().map(|line| format!("{:?}", line.parse::<f64>().expect("a number"))).collect::<Vec<_>>()
    };
    assert_eq!(ask("last_by(value, step)"), last);
    assert_eq!(ask("first_by(value, step)"), first);
    assert_eq!(ask("last_by(value, struct(step))"), last);
}

#[test]
fn last_by_takes_the_last_attempt_by_a_struct() {
    let rows =
        "(VALUES (1, 0, 10, 0.5), (1, 1, 3, 0.25), (1, 1, 2, 9.0), (2, 0, 11, 0.125)) AS t(step, attempt, seq, value)";
    let sql = format!("SELECT step, last_by(value, struct(attempt, seq)) FROM {rows} GROUP BY step ORDER BY step");
    assert_eq!(ask(&empty(), &sql), ["1|0.25", "2|0.125"]);
}

#[test]
fn an_order_that_is_nan_does_not_count_and_an_infinite_one_does() {
    let rows =
        "(VALUES (1.0, 'NaN'::double), (2.0, 5.0), (3.0, 'inf'::double), (4.0, NULL), (NULL, 9.0)) AS t(value, at)";
    assert_eq!(one(&empty(), &format!("SELECT last_by(value, at) FROM {rows}")), "3.0");
    assert_eq!(one(&empty(), &format!("SELECT first_by(value, at) FROM {rows}")), "2.0");
    assert_eq!(one(&empty(), &format!("SELECT first_by(value, at) FROM {rows} GROUP BY 1 = 1")), "2.0");
}

#[test]
fn either_zero_is_as_low_as_the_other() {
    for order in ["1, 2", "2, 1"] {
        let rows =
            format!("(SELECT * FROM (VALUES (7, '-0.0'::double), (3, 0.0)) AS r(step, value) ORDER BY {order}) AS t");
        assert_eq!(one(&empty(), &format!("SELECT argmin(value, step) FROM {rows}")), "3");
        assert_eq!(one(&empty(), &format!("SELECT argmax(value, step) FROM {rows} GROUP BY 1 = 1")), "3");
    }
}

#[test]
fn a_running_argmin_can_be_asked_for() {
    let rows = "(VALUES (1, 5.0), (2, 3.0), (3, 4.0), (4, 1.0)) AS t(step, value)";
    let sql = format!("SELECT argmin(value, step) OVER (ORDER BY step) FROM {rows} ORDER BY step");
    assert_eq!(ask(&empty(), &sql), ["1", "2", "2", "4"]);
}

#[test]
fn first_cross_finds_the_first_step_beyond_a_threshold() {
    let mut random = Random::of("first_cross");
    let groups = Groups::random(&mut random, 30, 60);
    for threshold in [-40.0, 0.0, 2.0, 49.5, 1e9] {
        let first = |beyond: &dyn Fn(f64) -> bool| {
            let of_group = |rows: &Vec<Row>| text(rows.iter().filter(|row| beyond(row.1)).map(|row| row.0).min());
            groups.finite().iter().map(of_group).collect::<Vec<_>>()
        };
        let (above, below) = (first(&|value| value >= threshold), first(&|value| value <= threshold));
        assert_eq!(groups.ask(&format!("first_cross(value, step, {threshold})")), above);
        assert_eq!(groups.ask(&format!("first_cross(value, step, {threshold}, 'above')")), above);
        assert_eq!(groups.ask(&format!("first_cross(value, step, {threshold}, 'below')")), below);
        assert_eq!(groups.ask(&format!("first_cross(value, step::double, {threshold}, 'below')::bigint")), below);
    }
}

#[test]
fn a_threshold_may_differ_from_row_to_row() {
    let rows =
        "(VALUES (1, 0.5, 0.6), (2, 0.5, 0.4), (3, 0.9, NULL), (0, 0.9, 'NaN'::double)) AS t(step, value, target)";
    assert_eq!(one(&empty(), &format!("SELECT first_cross(value, step, target) FROM {rows}")), "2");
}

#[test]
fn a_first_time_is_a_time() {
    let rows = "(VALUES (to_timestamp_micros(7), 0.5), (to_timestamp_micros(5), 0.9)) AS t(time, value)";
    let sql = format!("SELECT first_cross(value, time, 0.9), argmin(value, time) FROM {rows} GROUP BY 1 = 1");
    assert_eq!(one(&empty(), &sql), "1970-01-01T00:00:00.000005Z|1970-01-01T00:00:00.000007Z");
}

#[test]
fn groups_as_many_as_rows_give_what_one_stream_gives() {
    // From 100,000 rows on, DataFusion no longer groups before it sends rows on: another way through the accumulators.
    let sql = "SELECT count(x), sum(x), sum(y), sum(c) FROM (
        SELECT k, argmin(v, s) AS x, last_by(s, v) AS y, first_cross(v, s, 0.5) AS c
        FROM (SELECT value % 230000 AS k, value AS s, ((value * 7919) % 10007)::double / 10007 AS v
              FROM generate_series(1, 250000))
        GROUP BY k)";
    let groups = Groups::of(vec![]);
    let [one, four] = [1, 4].map(|streams| ask(&groups.session(Placement::Live, streams), sql));
    assert_eq!(one, four);
}
