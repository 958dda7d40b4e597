//! The wall clock is stepped by an hour, forwards and backwards, under a living writer.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use stepwell_engine::events::EventLine;
use stepwell_engine::{RunId, RunState};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::control::{Control, wait_until};
use stepwell_tests::lanes::{BURST, LaneRows};
use stepwell_tests::tally::Tally;

use crate::helper::{Helper, check_store, info_of, look, open, store_of, text};

const HOUR_NANOS: i64 = 3_600_000_000_000;
const HALF_HOUR_MICROS: i64 = HOUR_NANOS / 2_000;
/// Exit status of a helper that cannot step its clock.
const NOT_HERE: i32 = 77;

struct ClockWriter {
    helper: Helper,
    page: Acknowledgements,
    control: Control,
    lane: usize,
}

impl ClockWriter {
    /// `None` where the clock cannot be stepped.
    fn start(folder: &Path, run: RunId, lane: usize, clock: i64) -> Option<Self> {
        let (page, control) = (folder.join(format!("page{lane}")), folder.join(format!("control{lane}")));
        let (store, run, lane_text) = (store_of(folder), run.to_string(), lane.to_string());
        let mut writer = Self {
            page: Acknowledgements::open(&page).expect("page"),
            control: Control::open(&control).expect("control"),
            helper: {
                Control::open(&control).expect("control").set_clock(clock);
                let words = [text(&store), &run, text(&page), text(&control), &lane_text];
                Helper::start(env!("CARGO_BIN_EXE_clock-writer"), &words)
            },
            lane,
        };
        let mut ended = None;
        while writer.control.state() < 1 && ended.is_none() {
            ended = writer.helper.0.try_wait().expect("wait");
        }
        match ended {
            None => Some(writer),
            Some(status) if status.code() == Some(NOT_HERE) => {
                println!("skipped: the stepped wall clock, because the vDSO of this machine cannot be replaced");
                None
            }
            Some(status) => panic!("the writer ended with {status}"),
        }
    }

    /// Steps the clock, and waits until records and segments were written under it.
    fn step(&self, nanos: i64) {
        self.control.set_clock(nanos);
        let (records, written) = ((self.page.of(0), self.page.of(1)), self.control.figure());
        wait_until("records", || self.page.of(0) > records.0 + 200 && self.page.of(1) > records.1 + 200);
        // Segments are closed by age and journals synced at an interval: neither waits for the wall clock.
        wait_until("syncs and segments", || self.control.figure() > written + 2);
    }

    fn finish(&mut self) {
        self.control.order(1);
        self.helper.succeeds();
    }
}

fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64
}

#[test]
fn a_wall_clock_stepped_by_an_hour_costs_no_record_and_no_order() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    let run = RunId::generate();
    let started = now_micros();
    let Some(mut writer) = ClockWriter::start(folder, run, 0, 0) else { return };
    let mut tally = Tally::default();
    for hours in [0, 1, 0, -1, 0, 1, -1] {
        writer.step(hours * HOUR_NANOS);
        tally.cases += 1;
        if hours == 1 {
            wait_until("the old logger to take the new time over", || {
                let rows = LaneRows::read(&look(folder), run).expect("each row once");
                rows.of(0).last().is_some_and(|row| row.time > started + HALF_HOUR_MICROS)
            });
        }
        assert_eq!(info_of(&look(folder), run).state, RunState::Running);
    }
    writer.finish();
    // Resumed on a machine whose clock is an hour behind.
    let mut resumed = ClockWriter::start(folder, run, 10, -HOUR_NANOS).expect("it could step before");
    resumed.step(-HOUR_NANOS);
    resumed.finish();
    let ended = now_micros();

    let store = open(folder);
    let snapshot = check_store(&store, &[(run, RunState::Finished)]);
    let rows = LaneRows::read(&snapshot, run).expect("each row once");
    for writer in [&writer, &resumed] {
        rows.count_lanes(writer.lane, 2, &writer.page, &mut tally);
        // The time of one logger never goes back, whatever the clock does.
        assert!(rows.of(writer.lane).is_sorted_by_key(|row| row.time));
        let bursts = rows.of(writer.lane + 1).chunk_by(|a, b| a.step / BURST == b.step / BURST);
        bursts.for_each(|burst| assert!(burst.is_sorted_by_key(|row| row.time)));
    }
    let times: Vec<i64> = rows.of(1).iter().map(|row| row.time - started).collect();
    let (low, high) = (times.iter().min().expect("rows"), times.iter().max().expect("rows"));
    assert!(*low < -HALF_HOUR_MICROS && *high > HALF_HOUR_MICROS, "new loggers follow the steps: {low} to {high}");
    let within = started - 3 * HALF_HOUR_MICROS..ended + 3 * HALF_HOUR_MICROS;
    assert!(rows.lanes().all(|lane| rows.of(lane).iter().all(|row| within.contains(&row.time))));
    let info = info_of(&snapshot, run);
    let attempts: Vec<i32> = info.writers.iter().map(|writer| writer.writer.attempt).collect();
    assert_eq!(attempts, [0, 1]);
    assert!(info.ended.is_some_and(|ended| ended >= info.started), "{info:?}");
    check_events(folder, run);
    tally.close("clocks");
}

/// Times in an event log never go back.
fn check_events(folder: &Path, run: RunId) {
    for entry in std::fs::read_dir(store_of(folder).join(format!("runs/{run}"))).expect("run folder").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "jsonl") {
            let text = std::fs::read_to_string(entry.path()).expect("event log");
            let lines: Vec<EventLine> = text.lines().map(|line| EventLine::decode(line).expect("a line")).collect();
            assert!(lines.len() > 2 && lines.is_sorted_by_key(|line| (line.n, line.time)));
            assert!(lines.is_sorted_by_key(|line| line.time));
        }
    }
}
