//! A file is never trusted.

use std::fs;
use std::path::Path;

use stepwell_engine::SegmentInfo;
use stepwell_query::{DamagedPolicy, Error, QueryOptions, SegmentFault};

use crate::support::{Fixture, Placement, ask, lines, session_of};

fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    for index in 0..3 {
        let run = fixture.run("p", "s", Some(&format!("run {index}")), &[]);
        fixture.log(run, "m", "loss", &[f64::from(index); 100]);
    }
    fixture
}

fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).expect("segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("damaged");
}

fn check(damage: fn(&SegmentInfo), expected: fn(&SegmentFault) -> bool, corruption: bool) {
    let fixture = fixture();
    let data = fixture.snapshot(Placement::Committed);
    let victim = data.segments[1].path.clone();
    damage(&data.segments[1]);
    let session = session_of(data, QueryOptions::default());
    for sql in ["SELECT count(*) FROM metrics", "SELECT max(value) FROM metrics", "SELECT DISTINCT run_id FROM metrics"]
    {
        let error = session.sql(sql).expect_err("a damaged file is refused");
        let Error::Damaged { segment } = &error else { panic!("{error}") };
        assert_eq!(segment.path, victim);
        assert!(expected(&segment.fault), "{:?}", segment.fault);
        assert_eq!(error.is_corruption(), corruption);
        assert!(
            error.to_string().contains(victim.file_name().and_then(|name| name.to_str()).expect("name")),
            "{error}"
        );
    }
    // What does not need the file is answered.
    assert_eq!(ask(&session, "SELECT count(*) FROM metrics WHERE run_name = 'run 0'"), ["100"]);
    // On request, the others answer, and the file is named.
    let skip = session.options().clone().with_damaged(DamagedPolicy::Skip);
    let sql = "SELECT run_name, count(*), sum(value) FROM metrics GROUP BY run_name ORDER BY run_name";
    let result = session.sql_with(sql, &skip).expect("the others");
    assert_eq!(lines(&result), ["run 0|100|0.0", "run 2|100|200.0"]);
    assert_eq!(result.warnings().len(), 1, "{:?}", result.warnings());
    assert!(result.warnings()[0].contains(victim.to_str().expect("path")), "{:?}", result.warnings());
    assert_eq!(lines(&session.sql_with("SELECT count(*) FROM metrics", &skip).expect("the others")), ["200"]);
}

#[test]
fn a_flipped_byte_is_refused_by_name() {
    check(|segment| flip_a_byte(&segment.path), |fault| matches!(fault, SegmentFault::WrongHash { .. }), true);
}

#[test]
fn a_file_cut_short_is_refused_by_name() {
    let cut = |segment: &SegmentInfo| {
        let bytes = fs::read(&segment.path).expect("segment");
        fs::write(&segment.path, &bytes[..bytes.len() - 1]).expect("cut");
    };
    check(cut, |fault| matches!(fault, SegmentFault::WrongSize { .. }), true);
}

#[test]
fn a_missing_file_is_refused_by_name() {
    check(|segment| fs::remove_file(&segment.path).expect("removed"), |fault| *fault == SegmentFault::Missing, true);
}

#[test]
fn a_folder_in_place_of_a_file_is_refused_by_name() {
    let replace = |segment: &SegmentInfo| {
        fs::remove_file(&segment.path).expect("removed");
        fs::create_dir(&segment.path).expect("folder");
    };
    check(replace, |fault| matches!(fault, SegmentFault::WrongSize { .. } | SegmentFault::Unreadable { .. }), true);
}

/// A file that was verified once and changed since is noticed by its time, even by a process that knew it.
#[test]
fn damage_after_the_first_query_is_noticed() {
    let fixture = fixture();
    let data = fixture.snapshot(Placement::Committed);
    let victim = data.segments[0].path.clone();
    let session = session_of(data, QueryOptions::default());
    assert_eq!(ask(&session, "SELECT count(*) FROM metrics"), ["300"]);
    let before = fs::metadata(&victim).expect("metadata").modified().expect("time");
    flip_a_byte(&victim);
    let file = fs::OpenOptions::new().write(true).open(&victim).expect("open");
    file.set_modified(before + std::time::Duration::from_secs(1)).expect("time set");
    let error = session.sql("SELECT count(*) FROM metrics").expect_err("noticed");
    assert!(error.is_corruption(), "{error}");
}

/// Known files are not hashed again.
#[test]
fn repeated_queries_hash_once() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let hashed = || {
        let plan = ask(&session, "EXPLAIN ANALYZE SELECT max(value) FROM metrics").join("\n");
        let tail = plan.split("bytes_hashed=").nth(1).expect("the metric").to_owned();
        tail.split([',', ']']).next().expect("a value").to_owned()
    };
    assert_ne!(hashed(), "0.0 B");
    assert_eq!(hashed(), "0");
}
