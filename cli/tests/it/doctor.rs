//! `stepwell doctor`, and what `engine_stats` tells.

use std::fs;
use std::path::PathBuf;

use super::Place;

/// The event log of the run of this name.
fn log_of(place: &Place, run: &str) -> PathBuf {
    let id = &place.sql(&format!("SELECT run_id FROM runs WHERE name = '{run}'"))[0];
    let folder = place.path().join(".stepwell/runs").join(id);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.to_string_lossy().ends_with(".events.jsonl")).unwrap()
}

fn damage_line(log: &std::path::Path, text: &str) {
    let mut bytes = fs::read(log).unwrap();
    let at = String::from_utf8_lossy(&bytes).find(text).unwrap();
    bytes[at] ^= 1;
    fs::write(log, bytes).unwrap();
}

#[test]
fn doctor_says_that_nothing_is_wrong() {
    let place = Place::with_two_runs();
    for arguments in [vec!["doctor"], vec!["doctor", "--repair"], vec!["doctor", "a"]] {
        let ran = place.run(&arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains("nothing is wrong"), "{}", ran.stderr);
    }
    assert_eq!(place.ok(&["doctor", "--json"]).split_whitespace().collect::<String>(), "[]");
}

#[test]
fn doctor_finds_repairs_and_then_finds_nothing() {
    let place = Place::with_two_runs();
    let log = log_of(&place, "a");
    damage_line(&log, "\"group\"");
    let before = fs::read(&log).unwrap();
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 6, "{}", ran.stderr);
    assert!(ran.stdout.contains("SEVERITY") && ran.stdout.contains("log_damaged_line"), "{}", ran.stdout);
    assert!(ran.stderr.contains("--repair"), "{}", ran.stderr);
    assert_eq!(fs::read(&log).unwrap(), before, "without --repair nothing is written");
    assert_eq!(place.run(&["doctor", "b"]).code, 0, "nothing is wrong with the other run");
    let json = place.run(&["doctor", "--format=json"]).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let line = json.as_array().unwrap().iter().find(|row| row["kind"] == "log_damaged_line").unwrap();
    assert_eq!((line["severity"].as_str(), line["records_lost"].as_i64()), (Some("damage"), Some(0)));
    let repaired = place.run(&["doctor", "--repair"]);
    assert_eq!(repaired.code, 0, "{}", repaired.stderr);
    assert!(repaired.stderr.contains("written anew"), "{}", repaired.stderr);
    let again = place.run(&["doctor", "--repair"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{}", again.stderr);
    assert_eq!(place.sql("SELECT kind, records FROM gaps"), ["damaged_event,0"]);
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["7"]);
}

#[test]
fn doctor_works_where_the_store_does_not_open() {
    let place = Place::with_two_runs();
    fs::write(place.path().join(".stepwell/stepwell.json"), "rubbish").unwrap();
    fs::write(place.path().join(".stepwell/catalog.db"), [b'x'; 5000]).unwrap();
    assert_ne!(place.run(&["runs"]).code, 0);
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 6);
    assert!(ran.stdout.contains("marker_damaged") && ran.stdout.contains("catalog_damaged"), "{}", ran.stdout);
    assert_eq!(place.run(&["doctor", "--repair"]).code, 0);
    assert_eq!(place.sql("SELECT count(*) FROM metrics"), ["7"]);
}

#[test]
fn doctor_says_when_something_cannot_be_repaired() {
    let place = Place::with_two_runs();
    fs::write(place.path().join(".stepwell/stepwell.json"), "{\"format\":9}").unwrap();
    let ran = place.run(&["doctor", "--repair"]);
    assert_eq!(ran.code, 6);
    assert!(ran.stderr.contains("1 finding was not repaired"), "{}", ran.stderr);
    place.fails(&["doctor", "no-such-run"], 4, &["no-such-run"]);
}

#[test]
fn engine_stats_have_a_row_per_writer() {
    let place = Place::with_two_runs();
    let query = "SELECT state, records_logged, records_committed, records_live, records_durable, waits, drops, \
                 records_lost, durability, segments > 0, bytes > 0, journal_folder LIKE 'runs/%' FROM engine_stats \
                 ORDER BY run_id";
    assert_eq!(
        place.sql(query),
        ["finished,3,3,0,3,0,0,0,device,true,true,true", "finished,4,4,0,4,0,0,0,device,true,true,true"]
    );
}
