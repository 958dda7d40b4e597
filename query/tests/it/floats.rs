//! NaN, infinities and signed zeros: statistics leave NaN out, SQL does not.

use crate::support::{Fixture, PLACEMENTS, ask};

/// A metric whose pages are plain numbers but for a NaN, both infinities, and both zeros.
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    let mut values: Vec<f64> = (0..600).map(|step| f64::from(step % 4)).collect();
    values[123] = f64::NAN;
    values[200] = f64::INFINITY;
    values[300] = f64::NEG_INFINITY;
    values[400] = -0.0;
    fixture.log(run, "m", "special", &values);
    fixture.log(run, "m", "only_nan", &[f64::NAN; 60]);
    // No special value here: these segments may be left out by the statistics of `value`.
    fixture.log(run, "m", "plain", &(0..300).map(f64::from).collect::<Vec<_>>());
    fixture.log(run, "m", "zeros", &[-0.0; 10]);
    fixture
}

#[test]
fn filters_on_values_lose_no_special_value() {
    for segment_per_metric in [false, true] {
        let mut fixture = fixture();
        fixture.segment_per_metric = segment_per_metric;
        for placement in PLACEMENTS {
            let session = fixture.session(placement);
            let count = |filter: &str| ask(&session, &format!("SELECT count(*) FROM metrics WHERE {filter}")).join("");
            let special = |filter: &str| count(&format!("metric = 'special' AND {filter}"));
            // In SQL's order of floats NaN is above everything, and equal to itself.
            assert_eq!(special("value > 5"), "2", "{placement:?}");
            assert_eq!(special("value > 5 AND NOT isnan(value)"), "1");
            assert_eq!(special("value = 'NaN'"), "1");
            assert_eq!(special("isnan(value)"), "1");
            assert_eq!(special("value = 'inf'"), "1");
            assert_eq!(special("value < -5"), "1");
            assert_eq!(special("value = '-inf'"), "1");
            assert_eq!(special("value >= 'inf'"), "2");
            assert_eq!(special("NOT (value <= 3)"), "2");
            assert_eq!(special("value <> 0 AND value <> 1 AND value <> 2 AND value <> 3"), "3");
            assert_eq!(special("value < 0.0"), "1", "-0.0 equals 0.0");
            for equal in ["value = 0", "value = -0.0", "value <= -0.0", "value >= 0.0"] {
                assert_eq!(count(&format!("metric = 'zeros' AND {equal}")), "10", "{equal}");
            }
            assert_eq!(count("metric = 'only_nan' AND value > 1e300"), "60");
            assert_eq!(count("isnan(value)"), "61");
            assert_eq!(count("metric = 'plain' AND value >= 299"), "1");
            assert_eq!(count("value > 250"), "111");
        }
    }
}

#[test]
fn aggregates_and_orders_agree_wherever_rows_lie() {
    let fixture = fixture();
    let sql = [
        "SELECT metric, max(value), min(value), sum(value) FROM metrics GROUP BY metric ORDER BY metric",
        "SELECT metric, step, value FROM metrics ORDER BY value DESC, metric, step LIMIT 65",
        "SELECT metric, step, value FROM metrics ORDER BY value, metric, step",
    ];
    for sql in sql {
        let [committed, live, split] = PLACEMENTS.map(|placement| ask(&fixture.session(placement), sql));
        assert_eq!(committed, live, "{sql}");
        assert_eq!(committed, split, "{sql}");
    }
    let top = ask(&fixture.session(PLACEMENTS[0]), sql[1]);
    assert_eq!(top[60], "special|123|NaN");
    assert_eq!(top[61], "special|200|inf");
}

#[test]
fn bit_patterns_are_kept() {
    let odd = f64::from_bits(0xfff8_0000_dead_beef);
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    let values = [odd, -0.0, f64::from_bits(1), f64::MAX, f64::NAN, f64::NEG_INFINITY];
    fixture.log(run, "m", "x", &values);
    for placement in PLACEMENTS {
        let result = fixture.session(placement).sql("SELECT value FROM metrics ORDER BY step").expect("rows");
        let found: Vec<u64> = result
            .batches()
            .iter()
            .flat_map(|batch| {
                let column = batch.column(0).as_any().downcast_ref::<arrow::array::Float64Array>().expect("floats");
                column.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(found, values.map(f64::to_bits), "{placement:?}");
    }
}

// The lowest loss of a run that diverged was that after the NaN, or NaN: DataFusion's fast path for groups forgot what came before.
#[test]
fn a_group_with_a_nan_has_the_extremes_that_it_has_alone() {
    let mut fixture = Fixture::new();
    let run = fixture.run("p", "s", None, &[]);
    fixture.log(run, "m", "diverged", &[0.1, f64::NAN, 5.0]);
    fixture.log(run, "m", "ends", &[0.5, 0.2, f64::NAN]);
    fixture.log(run, "m", "infinite", &[f64::NEG_INFINITY; 3]);
    for placement in PLACEMENTS {
        let session = fixture.session(placement);
        for metric in ["diverged", "ends", "infinite"] {
            let alone = format!("SELECT min(value), max(value) FROM metrics WHERE metric = '{metric}'");
            let alone = ask(&session, &alone);
            let grouped = "SELECT metric, min(value) AS low, max(value) AS high, count(*) FROM metrics GROUP BY metric";
            let grouped = ask(&session, &format!("SELECT low, high FROM ({grouped}) WHERE metric = '{metric}'"));
            assert_eq!(grouped, alone, "{placement:?} {metric}");
        }
        let sql = "SELECT metric, min(value), max(value) FROM metrics GROUP BY metric ORDER BY metric";
        assert_eq!(ask(&session, sql), ["diverged|0.1|NaN", "ends|0.2|NaN", "infinite|-inf|-inf"], "{placement:?}");
    }
}
