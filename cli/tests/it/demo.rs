//! `stepwell demo`, from start to end.

use super::Place;

#[test]
fn the_demo_runs_twice_and_loses_nothing() {
    let place = Place::new();
    for _ in 0..2 {
        let text = place.ok(&["demo", "--quick"]);
        for word in [
            "Prepare",
            "Train",
            "Kill",
            "Import",
            "Runs",
            "Ask",
            "Plot",
            "Cost",
            "Try next",
            "state         died",
            "missing       0 of the",
            "2024-10-29_Optimizers",
            "killed half way",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    let store = ["--store", ".stepwell-demo"];
    let ask = |query: &str| place.ok(&[&store[..], &["sql", query, "--format=csv"]].concat());
    assert_eq!(ask("SELECT state, count(*) AS n FROM runs GROUP BY 1 ORDER BY 1"), "state,n\ndied,1\nfinished,41\n");
    assert_eq!(ask("SELECT count(*) AS n FROM metrics WHERE pipeline = 'nanogpt'"), "n\n110192\n");
    assert_eq!(place.run(&[&store[..], &["verify"]].concat()).code, 0);
}

#[test]
fn the_demo_deletes_nothing_that_it_did_not_make() {
    let place = Place::with_two_runs();
    place.fails(&["demo", "--quick", "--store", ".stepwell"], 5, &["`stepwell demo` did not make"]);
    assert_eq!(place.sql("SELECT count(*) FROM runs"), ["2"]);
}
