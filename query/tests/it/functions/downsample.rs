//! Few points for many: M4 and LTTB.

use std::collections::BTreeMap;

use crate::functions::{Groups, Random, Row, by_place, empty, one, table};
use crate::support::ask;

/// Rows in the order that both functions take them in.
fn ordered(rows: &[Row]) -> Vec<Row> {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    rows
}

/// First, last, lowest and highest of each bucket, found one by one.
fn m4(rows: &[Row], n: i128) -> Vec<Row> {
    let rows = ordered(rows);
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Vec::new() };
    let (first, width) = (i128::from(first.0), i128::from(last.0) - i128::from(first.0));
    let mut buckets: BTreeMap<i128, Vec<usize>> = BTreeMap::new();
    for (place, row) in rows.iter().enumerate() {
        let bucket = if width == 0 { 0 } else { (n * (i128::from(row.0) - first) / width).min(n - 1) };
        buckets.entry(bucket).or_default().push(place);
    }
    let mut kept = Vec::new();
    for places in buckets.values() {
        let value = |place: &&usize| rows[**place].1;
        let lowest = places.iter().map(|place| rows[*place].1).fold(f64::INFINITY, f64::min);
        let highest = places.iter().map(|place| rows[*place].1).fold(f64::NEG_INFINITY, f64::max);
        let mut four = vec![places[0], places[places.len() - 1]];
        four.extend(places.iter().find(|place| value(place) == lowest));
        four.extend(places.iter().find(|place| value(place) == highest));
        four.sort_unstable();
        four.dedup();
        kept.extend(four.into_iter().map(|place| rows[place]));
    }
    kept
}

/// As in Steinarsson's own program (flot-downsample, `largestTriangleThreeBuckets`), line by line.
fn lttb(rows: &[Row], threshold: usize) -> Vec<Row> {
    let data = ordered(rows);
    let data_length = data.len();
    if threshold >= data_length {
        return data;
    }
    let x = |n: usize| data[n].0 as f64;
    let mut sampled = vec![data[0]];
    let every = (data_length - 2) as f64 / (threshold as f64 - 2.0);
    let mut a = 0;
    for i in 0..threshold - 2 {
        let mut avg = (0.0, 0.0);
        let mut avg_range_start = ((i + 1) as f64 * every).floor() as usize + 1;
        let avg_range_end = (((i + 2) as f64 * every).floor() as usize + 1).min(data_length);
        let avg_range_length = (avg_range_end - avg_range_start) as f64;
        while avg_range_start < avg_range_end {
            avg = (avg.0 + x(avg_range_start), avg.1 + data[avg_range_start].1);
            avg_range_start += 1;
        }
        avg = (avg.0 / avg_range_length, avg.1 / avg_range_length);
        let mut range_offs = (i as f64 * every).floor() as usize + 1;
        let range_to = ((i + 1) as f64 * every).floor() as usize + 1;
        let (mut max_area, mut next_a) = (-1.0, range_offs);
        while range_offs < range_to {
            let area = ((x(a) - avg.0) * (data[range_offs].1 - data[a].1)
                - (x(a) - x(range_offs)) * (avg.1 - data[a].1))
                .abs()
                * 0.5;
            if area > max_area {
                max_area = area;
                next_a = range_offs;
            }
            range_offs += 1;
        }
        sampled.push(data[next_a]);
        a = next_a;
    }
    sampled.push(data[data_length - 1]);
    sampled
}

/// What `function` keeps of each group, as lines of group, step and value.
fn kept(groups: &Groups, function: &str) -> Vec<String> {
    let sql = format!(
        "SELECT metric, p['step'], p['value'] FROM (SELECT metric, unnest({function}) AS p FROM metrics GROUP BY metric)"
    );
    let lines = groups.everywhere_as(&sql, by_place);
    // A value that is nearly 0 is written in another way there than here.
    let written_here = |line: &String| {
        let (rest, value) = line.rsplit_once('|').expect("three fields");
        format!("{rest}|{:?}", value.parse::<f64>().expect("a number"))
    };
    lines.iter().map(written_here).collect()
}

fn lines(groups: &Groups, keep: impl Fn(&[Row]) -> Vec<Row>) -> Vec<String> {
    let of_group = |(n, rows): (usize, &Vec<Row>)| {
        let kept = keep(rows);
        kept.into_iter().map(move |(step, value)| format!("g{n:03}|{step}|{value:?}")).collect::<Vec<_>>()
    };
    groups.finite().iter().enumerate().flat_map(of_group).collect()
}

#[test]
fn m4_keeps_the_four_points_of_each_bucket() {
    let mut random = Random::of("m4");
    let groups = Groups::random(&mut random, 12, 400);
    for n in [1, 7, 50, 1_000_000] {
        let wanted = lines(&groups, |rows| m4(rows, i128::from(n)));
        assert_eq!(kept(&groups, &format!("m4(step, value, {n})")), wanted, "{n}");
    }
    let wanted = lines(&groups, |rows| m4(rows, 3));
    assert_eq!(kept(&groups, "bucket_minmax(step, value, 3)"), wanted);
}

#[test]
fn lttb_keeps_the_points_that_its_authors_program_keeps() {
    let mut random = Random::of("lttb");
    let mut rows: Vec<Vec<Row>> = Vec::new();
    for length in [1, 2, 3, 4, 5, 17, 300] {
        // No two values of a step: the program takes rows in the order they come in.
        rows.push((0..length).map(|step| (step * 3 + random.below(3) as i64, random.share())).collect());
    }
    let groups = Groups::of(rows);
    for n in [3, 4, 16, 100, 1_000_000] {
        assert_eq!(kept(&groups, &format!("lttb(step, value, {n})")), lines(&groups, |rows| lttb(rows, n)), "{n}");
    }
    let two = lines(&groups, |rows| if rows.len() < 2 { rows.to_vec() } else { vec![rows[0], rows[rows.len() - 1]] });
    assert_eq!(kept(&groups, "lttb(step, value, 2)"), two);
}

#[test]
fn lttb_copes_with_any_numbers() {
    let mut random = Random::of("lttb of anything");
    let groups = Groups::random(&mut random, 20, 300);
    for n in [2, 3, 10, 100] {
        let counts = groups.ask(&format!("cardinality(lttb(step, value, {n}))"));
        for (count, rows) in counts.iter().zip(groups.finite()) {
            let wanted = if rows.is_empty() { "null".to_owned() } else { rows.len().min(n).to_string() };
            assert_eq!(*count, wanted);
        }
    }
    // The lowest and the highest points of the middle bucket are the first of their value.
    let far: Vec<Row> = vec![(i64::MIN, 1e308), (-1, -1e308), (0, 1e308), (1, 0.0), (2, -1e308), (i64::MAX, 1e308)];
    let sql = format!("SELECT cardinality(lttb(step, value, 4)), cardinality(m4(step, value, 3)) FROM {}", table(&far));
    assert_eq!(one(&empty(), &sql), "4|5");
}

#[test]
fn rows_of_a_downsampled_curve_take_one_line() {
    let rows = table(&[(0, 1.0), (1, 3.0), (2, 2.0), (10, 0.0)]);
    let sql = format!("SELECT unnest(unnest(m4(step, value, 2))) FROM {rows}");
    assert_eq!(ask(&empty(), &sql), ["0|1.0", "1|3.0", "2|2.0", "10|0.0"]);
}

#[test]
fn times_and_floats_are_axes_too() {
    let rows = "(VALUES (0, 1.0), (1, 3.0), (2, 2.0), (10, 0.0)) AS t(n, value)";
    let time = format!("SELECT m4(to_timestamp_millis(n), value, 1)[2]['step'] FROM {rows}");
    assert_eq!(one(&empty(), &time), "1970-01-01T00:00:00.001Z");
    let float = format!("SELECT lttb(n / 2.0, value, 3)[2]['step'] FROM {rows}");
    assert_eq!(one(&empty(), &float), "0.5");
}
