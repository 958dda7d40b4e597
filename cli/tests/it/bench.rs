//! `stepwell bench`.

use super::Place;

#[test]
fn a_short_measurement_tells_shares_and_leaves_nothing() {
    let place = Place::new();
    let ran = place.run(&["bench", "--seconds=1", "--metrics=3", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let steps: Vec<i64> = rows.as_array().unwrap().iter().map(|row| row["step_ns"].as_i64().unwrap()).collect();
    assert_eq!(steps, [200_000, 1_000_000, 10_000_000, 100_000_000]);
    let calls: i64 = rows.as_array().unwrap().iter().map(|row| row["calls"].as_i64().unwrap()).sum();
    let row = &rows[0];
    let share = row["mean_ns"].as_f64().unwrap() / 200_000.0;
    assert!((row["share_of_step"].as_f64().unwrap() - share).abs() < 1e-12);
    // Each call logged three records, and all of them arrived.
    assert!(ran.stderr.contains(&format!("{} records", thousands(3 * calls))), "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the store of the measurement is gone");
}

fn thousands(number: i64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", thousands(number / 1000), number % 1000) }
}
