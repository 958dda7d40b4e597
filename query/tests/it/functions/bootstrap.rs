//! Confidence intervals by the bootstrap.

use crate::functions::{Groups, Random, empty, one, shuffled};

fn interval(values: &[f64], rest: &str) -> [f64; 2] {
    let values: Vec<String> = values.iter().map(|value| format!("'{value}'::double")).collect();
    let from = format!("FROM unnest([{}]) AS t(v)", values.join(", "));
    let sql = format!("SELECT ci['low'], ci['high'] FROM (SELECT bootstrap_ci(v{rest}) AS ci {from})");
    let answer = one(&empty(), &sql);
    let (low, high) = answer.split_once('|').expect("two columns");
    [low, high].map(|bound| bound.parse().expect("a number"))
}

#[test]
fn an_interval_depends_on_values_and_seed_alone() {
    let mut random = Random::of("bootstrap order");
    let values: Vec<f64> = (0..40).map(|_| random.share()).collect();
    let first = interval(&values, ", 0.9, 500, 7");
    assert_eq!(first, interval(&shuffled(&mut random, &values), ", 0.9, 500, 7"));
    assert_ne!(first, interval(&values, ", 0.9, 500, 8"));
    let groups = Groups::random(&mut random, 8, 60);
    // Equal wherever rows lie, as `ask` checks.
    let answers = groups.ask("bootstrap_ci(value, 0.9, 50, 3)['low']");
    assert_eq!(answers.last().map(String::as_str), Some("null"));
    assert_eq!(answers[answers.len() - 2], "1.5");
}

#[test]
fn intervals_of_two_values_are_those_of_a_coin() {
    // Means of two draws from {0, 1}: 0 with 1/4, 0.5 with 1/2, 1 with 1/4.
    assert_eq!(interval(&[0.0, 1.0], ""), [0.0, 1.0]);
    assert_eq!(interval(&[0.0, 1.0], ", 0.6"), [0.0, 1.0]);
    assert_eq!(interval(&[0.0, 1.0], ", 0.4"), [0.5, 0.5]);
    assert_eq!(interval(&[3.25], ""), [3.25, 3.25]);
    assert_eq!(interval(&[2.0, 2.0, f64::NAN, 2.0, f64::INFINITY], ", 0.99, 100"), [2.0, 2.0]);
}

#[test]
fn intervals_are_as_wide_as_those_of_the_normal_distribution() {
    let mut random = Random::of("bootstrap width");
    let values: Vec<f64> = (0..400).map(|_| random.share()).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt() / n.sqrt();
    let [low, high] = interval(&values, ", 0.95, 4000");
    for (found, wanted) in [(low, mean - 1.96 * error), (high, mean + 1.96 * error)] {
        // The end of an interval of 4,000 resamples strays by 0.04 standard errors; 0.3 is more than six times that.
        assert!((found - wanted).abs() < 0.3 * error, "{found} is not {wanted}");
    }
}

#[test]
fn nineteen_of_twenty_intervals_hold_the_mean() {
    let mut random = Random::of("bootstrap coverage");
    let holds = (0..200).filter(|_| {
        let values: Vec<f64> = (0..30).map(|_| random.share() + random.share()).collect();
        let [low, high] = interval(&values, ", 0.95, 400");
        low <= 1.0 && 1.0 <= high
    });
    // 93 % or so with 30 values, more than four standard deviations above the bound.
    let held = holds.count();
    assert!((168..200).contains(&held), "{held} of 200 hold it");
}
