//! `stepwell gc`.

use std::fs;
use std::path::PathBuf;

use super::Place;

/// A store with an object that no run names.
fn place() -> (Place, PathBuf) {
    let place = Place::with_two_runs();
    let hash = blake3::hash(b"forgotten").to_string();
    let object = place.path().join(".stepwell/objects").join(&hash[..2]).join(&hash);
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(&object, "forgotten").unwrap();
    (place, object)
}

#[test]
fn it_lists_at_first_and_removes_when_told() {
    let (place, object) = place();
    let dry = place.run(&["gc", "--grace", "0s"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains("removable") && dry.stderr.contains("--yes"), "{}{}", dry.stdout, dry.stderr);
    assert!(object.exists());
    let young = place.ok(&["gc", "--yes", "--json"]);
    let young: serde_json::Value = serde_json::from_str(&young).unwrap();
    assert_eq!((young[0]["fate"].as_str(), young[0]["bytes"].as_u64()), (Some("young"), Some(9)));
    assert!(object.exists(), "it was stored a moment ago");
    let removed = place.ok(&["gc", "--yes", "--grace=0s", "--format=csv"]);
    assert!(removed.lines().nth(1).is_some_and(|line| line.ends_with(",removed")), "{removed}");
    assert!(!object.exists());
    assert_eq!(place.ok(&["gc"]), "");
    place.ok(&["verify"]);
}

#[test]
fn an_age_without_a_unit_is_refused() {
    let (place, _) = place();
    let ran = place.run(&["gc", "--grace", "24"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("24h"), "{}", ran.stderr);
}
