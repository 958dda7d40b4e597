//! Rows that `unnest` makes of the list of a group.
//!
//! DataFusion takes what was grouped by for a key of these rows, too. `ORDER BY metric, p` then did not order by `p`,
//! `GROUP BY metric, p % 4` gave a row for each `p`, `DISTINCT metric` gave every row, and a join on `metric` left rows out:
//! wrong answers to the very queries that `m4`, `lttb` and `resample` are made for.

use crate::functions::{Groups, Random, Row};
use crate::support::{Placement, ask, fail};

/// Two groups whose steps are 0, 2, 4, ... 10.
fn groups() -> Groups {
    let rows = |base: i64| (0..6).map(|step| (step * 2, (base + step) as f64)).collect::<Vec<Row>>();
    Groups::of(vec![rows(0), rows(10)])
}

const LIST: &str = "(SELECT metric, unnest(array_agg(step)) AS p FROM metrics GROUP BY metric)";

#[test]
fn a_group_is_no_key_of_its_unnested_rows() {
    let cases: [(&str, &[&str]); 11] = [
        ("SELECT metric, count(*), max(p) FROM LIST GROUP BY metric ORDER BY metric", &["g000|6|10", "g001|6|10"]),
        ("SELECT max(p) FROM LIST GROUP BY metric", &["10", "10"]),
        (
            "SELECT metric, p % 4, count(*) FROM LIST GROUP BY 1, 2 ORDER BY 1, 2",
            &["g000|0|3", "g000|2|3", "g001|0|3", "g001|2|3"],
        ),
        (
            "SELECT metric AS m, p FROM LIST WHERE p > 5 ORDER BY m, p DESC",
            &["g000|10", "g000|8", "g000|6", "g001|10", "g001|8", "g001|6"],
        ),
        ("SELECT count(*) FROM (SELECT metric, count(*) FROM LIST GROUP BY metric, p)", &["12"]),
        ("SELECT DISTINCT metric FROM LIST ORDER BY metric", &["g000", "g001"]),
        ("SELECT count(*) FROM LIST a JOIN (SELECT DISTINCT metric FROM metrics) b ON a.metric = b.metric", &["12"]),
        (
            "SELECT count(*), sum(b.step) FROM LIST a JOIN (SELECT metric, step FROM metrics WHERE step = 2) b ON a.metric = b.metric",
            &["12|24"],
        ),
        ("SELECT (SELECT max(n) FROM (SELECT count(*) AS n FROM LIST GROUP BY metric))", &["6"]),
        (
            "WITH l AS LIST SELECT metric, sum(p) FROM l GROUP BY metric HAVING sum(p) > 1 ORDER BY metric",
            &["g000|30", "g001|30"],
        ),
        (
            "SELECT metric, p, count(*) FROM LIST GROUP BY ROLLUP(metric, p) HAVING metric IS NULL OR p = 4 ORDER BY 1, 2",
            &["g000|4|1", "g001|4|1", "null|null|12"],
        ),
    ];
    let groups = groups();
    for (sql, wanted) in cases {
        assert_eq!(groups.everywhere(&sql.replace("LIST", LIST)), wanted, "{sql}");
    }
}

#[test]
fn downsampled_curves_come_in_the_order_that_is_asked_for() {
    let mut random = Random::of("order of unnested rows");
    let groups = Groups::random(&mut random, 12, 200);
    let sql =
        "SELECT metric, p['step'], p['value'] FROM (SELECT metric, unnest(lttb(step, value, 40)) AS p FROM metrics
               GROUP BY metric) ORDER BY 1, 2 DESC, 3";
    let rows = groups.everywhere(sql);
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split('|').collect();
        (fields[0].to_owned(), -fields[1].parse::<i64>().expect("a step"), fields[2].parse::<f64>().expect("a value"))
    };
    assert!(rows.is_sorted_by(|a, b| fields(a) <= fields(b)), "{rows:#?}");
}

#[test]
fn a_filter_on_the_group_still_leaves_files_out() {
    let groups = groups();
    let sql = format!("EXPLAIN SELECT p FROM {LIST} WHERE metric = 'g001'");
    let plan = ask(&groups.session(Placement::Live, 1), &sql).join("\n");
    assert!(plan.contains("full_filters=[metrics.metric = "), "{plan}");
    assert!(!plan.contains("end of GROUP BY"), "{plan}");
}

#[test]
fn errors_do_not_tell_of_the_mend() {
    let groups = groups();
    let error = fail(&groups.session(Placement::Live, 1), &format!("SELECT metric, p FROM {LIST} GROUP BY metric"));
    let told = error.to_string();
    assert!(told.contains("\"p\" must appear in the GROUP BY clause") && !told.contains("end of"), "{told}");
}

#[test]
fn queries_without_groups_or_with_texts_alone_are_left_alone() {
    let session = groups().session(Placement::Live, 1);
    assert_eq!(ask(&session, "SELECT 'unnest', count(*) FROM metrics GROUP BY 'unnest'"), ["unnest|12"]);
    assert_eq!(ask(&session, "SELECT unnest([1, 2])"), ["1", "2"]);
    let plan = ask(&session, "EXPLAIN SELECT metric, unnest([1, 2]) FROM metrics GROUP BY metric").join("\n");
    assert!(plan.contains("Unnest"), "{plan}");
}
