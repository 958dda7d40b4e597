//! Errors that say what a function takes, limits, and what SHOW FUNCTIONS tells.

use stepwell_query::{Error, QueryOptions};

use crate::functions::{Groups, empty, one};
use crate::support::{Fixture, Placement, ask, fail};

/// The error of `SELECT expression FROM metrics`.
fn refused(expression: &str) -> String {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", Some("name"), &[]);
    fixture.log(run, "m", "loss", &[3.0, 2.0, 1.0]);
    let error = fail(&fixture.session(Placement::Live), &format!("SELECT {expression} FROM metrics"));
    assert!(error.is_invalid_input(), "{expression}: {error:?}");
    error.to_string()
}

#[test]
fn wrong_arguments_are_told_with_what_the_function_takes() {
    let cases = [
        ("argmin(value)", "argmin(value, arg) was given 1 arguments"),
        ("argmin(value, step, 3)", "argmin(value, arg) was given 3 arguments"),
        ("argmin()", "argmin(value, arg)"),
        ("argmin(run_name, step)", "argmin(value, arg): value must be a number, not Dictionary(Int32, Utf8)"),
        ("auc(run_name, value)", "auc(step, value): step must be a number or a time"),
        ("first_cross(value, step)", "first_cross(value, step, threshold[, direction]) was given 2 arguments"),
        ("first_cross(value, step, 1, 2)", "direction must be text, not Int64"),
        ("first_cross(value, step, 1, 'up')", "first_cross: direction must be 'above' or 'below', not 'up'"),
        ("first_cross(value, step, 1, run_name)", "first_cross: direction must be a constant"),
        ("bootstrap_ci(value, 1.0)", "bootstrap_ci: confidence must be above 0 and below 1, not 1"),
        ("bootstrap_ci(value, 'NaN'::double)", "bootstrap_ci: confidence must be above 0 and below 1, not NaN"),
        ("bootstrap_ci(value, 0.9, 0)", "bootstrap_ci: resamples must be from 1 to 100000, not 0"),
        ("bootstrap_ci(value, 0.9, 1e5)", "resamples must be a whole number, not Float64"),
        ("bootstrap_ci(value, 0.9, 9, 9, 9)", "bootstrap_ci(value[, confidence[, resamples[, seed]]]) was given 5"),
        (
            "bootstrap_ci(value, 0.9, 100000) FROM (SELECT value FROM generate_series(1, 1001)) AS s --",
            "draws; ask for fewer",
        ),
        ("m4(step, value, 0)", "m4: n must be from 1 to 1000000, not 0"),
        ("m4(step, value, -3)", "m4: n must be from 1 to 1000000, not -3"),
        ("m4(step, value, NULL)", "m4: n must be from 1 to 1000000, not null"),
        ("m4(step, value, step)", "m4: n must be a constant"),
        ("lttb(step, value, 1)", "lttb: n must be from 2 to 1000000, not 1"),
        ("lttb(step, value, 9223372036854775807)", "lttb: n must be from 2 to 1000000, not 9223372036854775807"),
        ("interp_at(time, value, 3)", "interp_at(step, value, x): x must be of the same kind as the first argument"),
        ("interp_at(step, value, rank + seq)", "interp_at: x must be the same in all rows of a group"),
        ("resample(step, value, 0, 10, 0)", "resample: every must be a whole number above 0, not 0"),
        ("resample(step, value, 0, 10, 0.5)", "resample: every must be a whole number above 0, not 0.5"),
        ("resample(step, value, 0, NULL, 1)", "resample: start, stop and every must not be null"),
        ("resample(step, value, 0, 1000000, 1)", "resample: 1000001 points are more than 1000000"),
        ("resample(step, value, -9223372036854775808, 9223372036854775807, 1)", "points are more than 1000000"),
        ("resample(value, value, 'inf'::double, 1.0, 1)", "resample: start and stop must be finite"),
        ("mad(DISTINCT value), mad(value)", "mad takes no DISTINCT"),
        ("iqm(value) OVER (ORDER BY step ROWS 3 PRECEDING)", "iqm cannot be asked over a frame of rows that begins"),
        ("ema(value, 1) OVER (ORDER BY step)", "ema: decay must be at least 0 and below 1, not 1"),
        ("ema(value, 'NaN'::double) OVER (ORDER BY step)", "ema: decay must be at least 0 and below 1, not NaN"),
        ("ema(value, value) OVER (ORDER BY step)", "ema: decay must be a constant"),
        ("ema(value, NULL) OVER (ORDER BY step)", "ema: decay must not be null"),
        (
            "ema(value, 0.9, 1) OVER (ORDER BY step)",
            "ema(value, decay[, debias]): debias must be true or false, not Int64",
        ),
        ("isfinite(run_name)", "isfinite(x): x must be a number, not Dictionary(Int32, Utf8)"),
    ];
    for (expression, told) in cases {
        let error = refused(expression);
        assert!(error.contains(told), "{expression}: {error}");
        assert!(!error.contains("UserDefined") && !error.contains("Internal"), "{expression}: {error}");
    }
}

#[test]
fn constants_of_all_sizes_give_answers() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "loss", &[3.0, 2.0, 1.0]);
    let session = fixture.session(Placement::Split);
    let ask = |what: &str| one(&session, &format!("SELECT {what} FROM metrics"));
    assert_eq!(ask("cardinality(m4(step, value, 1000000))"), "3");
    assert_eq!(ask("cardinality(resample(step, value, 5, 4, 1))"), "0");
    assert_eq!(ask("cardinality(resample(step, value, -9223372036854775808, 9223372036854775807, 9e18))"), "3");
    assert_eq!(ask("interp_at(step, value, 9223372036854775807)"), "null");
    assert_eq!(ask("bootstrap_ci(value, 0.5, 10, -1) IS NOT NULL"), "true");
    assert_eq!(ask("bootstrap_ci(value, seed => 5, confidence => 0.9, resamples => 10) IS NOT NULL"), "true");
}

#[test]
fn nothing_to_answer_from_is_null_and_no_panic() {
    let functions = [
        "argmin(value, step)",
        "argmax(value, run_name)",
        "min_by(step, value)",
        "last_by(value, step)",
        "first_by(value, time)",
        "first_cross(value, step, 0)",
        "auc(step, value)",
        "interp_at(step, value, 1)",
        "resample(step, value, 0, 9, 1)",
        "mad(value)",
        "iqm(value)",
        "bootstrap_ci(value)",
        "m4(step, value, 10)",
        "lttb(step, value, 10)",
    ];
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "odd", &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    let odd = fixture.session(Placement::Split);
    for function in functions {
        assert_eq!(one(&empty(), &format!("SELECT ({function}) IS NULL FROM metrics")), "true", "{function}");
        assert_eq!(ask(&empty(), &format!("SELECT {function} FROM metrics GROUP BY metric")), [] as [&str; 0]);
        let nulls = function.replace("value", "NULL").replace("step", "NULL").replace("time", "NULL");
        assert_eq!(one(&odd, &format!("SELECT ({nulls}) IS NULL FROM metrics")), "true", "{nulls}");
        if !function.contains("_by(value") {
            assert_eq!(one(&odd, &format!("SELECT ({function}) IS NULL FROM metrics")), "true", "{function}");
            let grouped = format!("SELECT ({function}) IS NULL FROM metrics GROUP BY metric");
            assert_eq!(one(&odd, &grouped), "true", "{function}");
        }
    }
}

#[test]
fn what_is_collected_counts_against_the_memory_limit() {
    let options = QueryOptions::default().with_parallelism(2).with_memory_limit_bytes(1 << 20);
    let session = Fixture::new().session_with(Placement::Live, options);
    for function in ["m4(value, value, 10)", "iqm(value)", "resample(value, value, 0, 9, 1)"] {
        for group in ["", " GROUP BY value % 2"] {
            let error = fail(&session, &format!("SELECT {function} FROM generate_series(1, 200000){group}"));
            assert!(matches!(error, Error::MemoryLimit { .. }), "{function}{group}: {error:?}");
        }
    }
    // A result that is larger than what it is made of.
    let error = fail(&session, "SELECT resample(value, value, 0, 99999, 1) FROM generate_series(1, 2)");
    assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
}

#[test]
fn parallel_queries_merge_partial_results() {
    // What the comparisons of one stream with four rest on.
    let groups = Groups::of(vec![vec![(1, 1.0), (2, 2.0)], vec![(1, 3.0), (2, 4.0)]]);
    let session = groups.session(Placement::Split, 4);
    for function in ["argmin(value, step)", "m4(step, value, 3)", "mad(value)", "interp_at(step, value, 1)"] {
        let plan = ask(&session, &format!("EXPLAIN SELECT {function} FROM metrics GROUP BY metric")).join("\n");
        assert!(plan.contains("mode=Partial") && plan.contains("mode=FinalPartitioned"), "{plan}");
    }
}

#[test]
fn show_functions_tells_what_each_function_does() {
    let functions = ask(&empty(), "SHOW FUNCTIONS").join("\n");
    let told = [
        "argmin(value, arg)",
        "argmax(value, arg)",
        "min_by(arg, value)",
        "max_by(arg, value)",
        "first_by(value, order)",
        "last_by(value, order)",
        "first_cross(value, step, threshold[, direction])",
        "auc(step, value)",
        "interp_at(step, value, x)",
        "resample(step, value, start, stop, every)",
        "mad(value)",
        "iqm(value)",
        "bootstrap_ci(value[, confidence[, resamples[, seed]]])",
        "m4(step, value, n)",
        "lttb(step, value, n)",
        "ema(value, decay[, debias]) OVER ([PARTITION BY ...] ORDER BY ...)",
        "isfinite(x)",
    ];
    for syntax in told {
        assert!(functions.contains(syntax), "{syntax}");
    }
}
