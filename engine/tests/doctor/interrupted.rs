//! Repairs that were cut short.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use stepwell_engine::doctor;

use super::{Place, STARTING, common, damage, damage_line, flip_middle, name_of, small_config};

const STORE: &str = "STEPWELL_TEST_DOCTOR_STORE";

/// The body of a child process; a test without effect when it is not asked to be one.
#[test]
fn child_repairs() {
    let Ok(store) = std::env::var(STORE) else { return };
    let report = doctor::repair(Path::new(&store), None, &small_config(), &mut |_, _| {}).expect("repaired");
    assert!(report.is_complete(), "{:?}", report.failed);
}

/// Repairs in a process of its own; whether it got to the end.
fn repair_in_child(place: &Place, fail_point: Option<&str>) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["interrupted::child_repairs", "--exact", "--test-threads=1"]).env(STORE, place.path());
    if let Some(fail_point) = fail_point {
        command.env("STEPWELL_FAIL_POINT", fail_point);
    }
    let child = {
        let _guard = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("child")
    };
    child.wait_with_output().expect("child").status.success()
}

/// A store in which much is wrong, and how many records can be read after its repair.
fn sick() -> (Place, usize) {
    let place = Place::new();
    let (damaged, headless, empty) = (place.finished(300), place.finished(200), place.died(1000));
    flip_middle(&place.segments_of(damaged)[0]);
    damage_line(&place.log_of(damaged), "\"lr\"");
    damage_line(&place.log_of(headless), "\"pipeline\"");
    damage_line(&place.log_of(headless), "\"event\":\"segments\"");
    damage(&place.log_of(empty), Vec::clear);
    fs::write(place.layout().catalog(), [b'x'; 5000]).expect("write");
    (place, 100 + 500 + 2000)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("list") {
        let path = entry.expect("entry").path();
        let target = to.join(name_of(&path));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copy");
        }
    }
}

/// Killed at each point that a repair meets, and then again in the next one, it comes to the same end.
#[test]
fn a_repair_that_is_killed_is_finished_by_the_next_one() {
    let (sick, expected) = sick();
    let points = [
        "event.append.begin",
        "event.append.middle",
        "event.append.end",
        "event.sync.begin",
        "event.sync.end",
        "segment.create",
        "segment.written",
        "segment.synced",
        "segment.rename.begin",
        "segment.rename.end",
        "recovery.begin",
        "recovery.journals",
        "recovery.orphans",
        "recovery.end",
    ];
    let mut killed = 0;
    for point in points {
        for count in [1, 3] {
            let place = Place::new();
            copy(&sick.path(), &place.path());
            let fail_point = format!("{point}@{count}");
            let ended = [repair_in_child(&place, Some(&fail_point)), repair_in_child(&place, Some(&fail_point))];
            killed += ended.iter().filter(|ended| !**ended).count();
            assert!(repair_in_child(&place, None), "{fail_point}");
            assert_eq!(place.rows().len(), expected, "{fail_point}");
            assert!(place.examine().findings.is_empty(), "{fail_point}: {:?}", place.examine().findings);
        }
    }
    println!("repairs killed: {killed}");
    // Without the feature that the fail points need, no process is killed; the workspace is tested with it.
    assert!(killed == 0 || killed > points.len(), "{killed}");
}

#[test]
fn a_log_that_was_about_to_be_replaced_is_replaced() {
    let place = Place::new();
    let writer = place.finished(100);
    let log = place.log_of(writer);
    damage_line(&log, "\"lr\"");
    let kept = log.with_file_name(format!("{}.damaged", name_of(&log)));
    fs::hard_link(&log, &kept).expect("kept under a second name, before the new one took the first");
    fs::write(log.with_file_name(format!(".tmp-repair-{}", name_of(&log))), "half of the new one").expect("write");
    place.heal();
    assert!(!kept.with_extension("damaged.2").exists());
    let names =
        fs::read_dir(place.layout().run(writer.run)).expect("list").map(|entry| name_of(&entry.expect("entry").path()));
    assert_eq!(names.filter(|name| name.contains("events.jsonl")).count(), 2);
    assert_eq!(place.rows().len(), 300);
}

#[test]
fn a_segment_that_was_moved_and_not_told_is_told() {
    let place = Place::new();
    let writer = place.finished(100);
    let segment = place.segments_of(writer).swap_remove(0);
    let aside = place.path().join("quarantine").join(segment.strip_prefix(place.path()).expect("below"));
    fs::create_dir_all(aside.parent().expect("parent")).expect("folder");
    fs::rename(&segment, &aside).expect("moved");
    place.heal();
    assert!(aside.exists());
    assert_eq!(place.gaps(), [("damaged_segment".to_owned(), 200)]);
    common::assert_distinct(&place.rows());
}
