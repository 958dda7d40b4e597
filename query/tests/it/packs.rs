//! Questions over many small segments are answered from packs, and need none.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use stepwell_engine::packs::{PackFile, list, pack};
use stepwell_engine::{CompactOptions, SegmentInfo};
use stepwell_query::Session;

use crate::support::{Fixture, Placement, ask};

const RUNS: usize = 40;
const EVERY_LOSS: &str = "SELECT run_id, step, value FROM metrics WHERE metric = 'loss' ORDER BY run_id, step";

/// 40 runs of two metrics and 50 steps.
fn fixture() -> Fixture {
    let mut fixture = Fixture::new();
    for index in 0..RUNS {
        let run =
            fixture.run("sweep", if index % 2 == 0 { "train" } else { "eval" }, Some(&format!("run {index}")), &[]);
        for metric in ["loss", "accuracy"] {
            let values: Vec<f64> = (0..50).map(|step| (index * 1000 + step) as f64).collect();
            fixture.log(run, "training", metric, &values);
        }
    }
    fixture
}

fn packed(fixture: &Fixture) -> Vec<PackFile> {
    pack_segments(fixture, &fixture.snapshot(Placement::Committed).segments)
}

fn pack_segments(fixture: &Fixture, segments: &[SegmentInfo]) -> Vec<PackFile> {
    let mut options = CompactOptions::default();
    options.pack_segments_min = 2;
    let report = pack(fixture.root(), segments, &options).expect("packed");
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    list(fixture.root()).expect("packs")
}

/// Packs that a question reads, and segments.
fn files_read(session: &Session, sql: &str) -> [usize; 2] {
    let plan = ask(session, &format!("EXPLAIN ANALYZE {sql}")).join("\n");
    ["packs_read=", "segments_read="].map(|counter| {
        let counts = plan.split(counter).skip(1);
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        counts.filter_map(|text| digits(text).parse::<usize>().ok()).sum()
    })
}

#[test]
fn a_metric_of_all_runs_is_read_from_one_pack() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let questions = [
        EVERY_LOSS,
        "SELECT * FROM metrics ORDER BY run_id, metric, step",
        "SELECT run_name, stage, count(*), sum(value) FROM metrics WHERE stage = 'eval' GROUP BY ALL ORDER BY 1",
        "SELECT run_id, max(value), min(step) FROM metrics WHERE metric = 'accuracy' GROUP BY 1 ORDER BY 1",
        "SELECT run_id, avg(value) OVER (PARTITION BY run_id ORDER BY step) AS mean FROM metrics WHERE metric = 'loss'
         ORDER BY run_id, mean",
    ];
    let before = questions.map(|sql| ask(&session, sql));
    assert_eq!(files_read(&session, EVERY_LOSS), [0, RUNS]);
    assert_eq!(packed(&fixture).len(), 1);
    for (sql, expected) in questions.iter().zip(before) {
        assert_eq!(ask(&session, sql), expected, "{sql}");
    }
    let plan = ask(&session, &format!("EXPLAIN {EVERY_LOSS}")).join("\n");
    assert!(plan.contains("segments=40 of 40") && plan.contains("packs=1") && plan.contains("order=[run_id"), "{plan}");
    let [packs, segments] = files_read(&session, EVERY_LOSS);
    assert!(packs >= 1 && segments == 0, "{packs} packs, {segments} segments");
}

#[test]
fn a_curve_is_read_from_its_segment_and_few_runs_are_too() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    packed(&fixture);
    let first = fixture.runs[0].run_id;
    assert_eq!(files_read(&session, &format!("SELECT * FROM metrics WHERE run_id = '{first}'")), [0, 1]);
    assert_eq!(files_read(&session, "SELECT * FROM metrics WHERE run_name LIKE 'run 1%' AND metric = 'loss'"), [0, 11]);
}

#[test]
fn runs_that_came_after_a_pack_are_read_beside_it() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let expected = ask(&session, EVERY_LOSS);
    let segments = fixture.snapshot(Placement::Committed).segments;
    // The store has runs that no pack has, and the pack has one that the store has not.
    assert_eq!(pack_segments(&fixture, &segments[..30]).len(), 1);
    assert_eq!(ask(&session, EVERY_LOSS), expected);
    let [packs, own] = files_read(&session, EVERY_LOSS);
    assert!(packs >= 1 && own == 10, "{packs} packs, {own} segments");
    let mut fewer = fixture.snapshot(Placement::Committed);
    let gone = fewer.segments.remove(3);
    let fewer = crate::support::session_of(fewer, stepwell_query::QueryOptions::default());
    let left: Vec<String> = expected.iter().filter(|line| !line.contains(&gone.run_id.to_string())).cloned().collect();
    assert_eq!(ask(&fewer, EVERY_LOSS), left);
}

#[test]
fn a_damaged_pack_is_passed_over_with_a_warning() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let expected = ask(&session, EVERY_LOSS);
    let pack = packed(&fixture).remove(0);
    let sound = fs::read(&pack.path).expect("a pack");
    for place in [100, sound.len() / 2, sound.len() - 20] {
        let mut damaged = sound.clone();
        damaged[place] ^= 1;
        fs::write(&pack.path, damaged).expect("damaged");
        let result = session.sql(EVERY_LOSS).expect("answered");
        assert_eq!(crate::support::lines(&result), expected);
        let [warning] = result.warnings() else { panic!("{:?}", result.warnings()) };
        assert!(warning.contains("the pack") && warning.contains("stepwell doctor --repair"), "{warning}");
    }
}

/// Between the plan of a question and its reading, a compaction may remove the pack.
#[test]
fn a_pack_that_goes_while_it_is_asked_for_changes_no_answer() {
    let fixture = fixture();
    let session = fixture.session(Placement::Committed);
    let expected = ask(&session, EVERY_LOSS);
    let pack = packed(&fixture).remove(0);
    let (aside, has_ended): (PathBuf, AtomicBool) = (pack.path.with_extension("aside"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !has_ended.load(Ordering::Relaxed) {
                fs::rename(&pack.path, &aside).expect("taken away");
                std::thread::yield_now();
                fs::rename(&aside, &pack.path).expect("put back");
            }
        });
        let answers: Vec<_> = (0..100).map(|_| session.sql(EVERY_LOSS).expect("answered")).collect();
        // Before anything is asserted: a failure would leave the other thread at it for good.
        has_ended.store(true, Ordering::Relaxed);
        for result in &answers {
            assert_eq!(crate::support::lines(result), expected);
            assert!(result.warnings().is_empty(), "{:?}", result.warnings());
        }
    });
}
