//! Loom: every order of the steps of two or three threads, and every value that a weak memory order lets a load see.
//!
//! The first group plays small sizes without a bound: all orders there are. The second plays larger ones with at most
//! `STEPWELL_PREEMPTIONS` preemptions (3 by default): all orders in which no more than so many threads are stopped in
//! the middle of their work. Nearly every known fault needs 2 or fewer.

use std::sync::{Arc, Mutex};

use stepwell_model::scenarios::{self, Scenario, Size};
use stepwell_model::settings::number;
use stepwell_model::tally::Tally;

/// A lap of two slots, and a stop of the producer at each of them unless said otherwise.
fn size(calls: u64, looks: u64) -> Size {
    Size { capacity: 2, gates_per_lap: 2, calls, looks }
}

/// One stop of the producer a lap: it writes two records under one look at the gate.
fn one_gate(calls: u64, looks: u64) -> Size {
    Size { gates_per_lap: 1, ..size(calls, looks) }
}

/// Plays a scenario in every order.
fn all_orders(scenario: Scenario, size: Size) {
    explore(scenario, size, 0);
}

/// Plays a scenario in every order with a bounded number of preemptions.
fn bounded(scenario: Scenario, size: Size) {
    explore(scenario, size, number("STEPWELL_PREEMPTIONS", 3));
}

fn explore((name, play): Scenario, size: Size, preemptions: u64) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = (preemptions > 0).then_some(preemptions as usize);
    builder.max_branches = 10_000;
    // The whole, and the most records that one order had.
    let total = Arc::new(Mutex::new((Tally::default(), 0)));
    let counted = Arc::clone(&total);
    builder.check(move || {
        let tally = play(size);
        let mut counted = counted.lock().expect("no order failed before");
        counted.1 = tally.acknowledged.max(counted.1);
        counted.0.add(&tally);
    });
    let (total, most) = &*total.lock().expect("no order failed");
    let bound = if preemptions == 0 { "all orders".to_owned() } else { format!("{preemptions} preemptions") };
    total.close(&format!("loom, {name}, {bound}, {size:?}"));
    assert!(*most >= size.calls.min(size.capacity), "no order logged more than {most} records");
}

#[test]
fn several_laps_in_all_orders() {
    all_orders(scenarios::SEVERAL_LAPS, one_gate(4, 2));
    all_orders(scenarios::SEVERAL_LAPS, size(3, 2));
}

#[test]
fn rows_in_all_orders() {
    all_orders(scenarios::ROWS, one_gate(3, 2));
}

#[test]
fn segments_in_parts_in_all_orders() {
    all_orders(scenarios::PARTS, one_gate(5, 3));
}

#[test]
fn one_logger_after_the_other_in_all_orders() {
    all_orders(scenarios::HANDOVER, one_gate(4, 2));
}

#[test]
fn a_full_ring_in_all_orders() {
    all_orders(scenarios::FULL_RING, one_gate(2, 1));
}

#[test]
fn finish_during_a_call_in_all_orders() {
    all_orders(scenarios::FINISH, one_gate(2, 1));
}

#[test]
fn several_laps_with_bounded_preemption() {
    bounded(scenarios::SEVERAL_LAPS, one_gate(7, 4));
    bounded(scenarios::SEVERAL_LAPS, Size { capacity: 4, ..size(7, 3) });
}

#[test]
fn rows_with_bounded_preemption() {
    bounded(scenarios::ROWS, Size { capacity: 4, ..one_gate(4, 3) });
}

#[test]
fn a_full_ring_with_bounded_preemption() {
    bounded(scenarios::FULL_RING, one_gate(5, 1));
}

#[test]
fn two_loggers_with_bounded_preemption() {
    bounded(scenarios::TWO_LOGGERS, one_gate(3, 2));
}

#[test]
fn one_logger_after_the_other_with_bounded_preemption() {
    bounded(scenarios::HANDOVER, one_gate(6, 3));
}

#[test]
fn segments_in_parts_with_bounded_preemption() {
    bounded(scenarios::PARTS, Size { capacity: 4, ..size(7, 5) });
}

#[test]
fn finish_during_a_call_with_bounded_preemption() {
    bounded(scenarios::FINISH, one_gate(4, 1));
}

#[test]
fn fork_and_finish_with_bounded_preemption() {
    bounded(scenarios::FORK_AND_FINISH, one_gate(3, 1));
}

#[test]
fn a_reader_with_bounded_preemption() {
    bounded(scenarios::READER, one_gate(2, 2));
    bounded(scenarios::READER_OF_LAPS, one_gate(3, 1));
}

#[test]
#[ignore = "minutes: part of the full form"]
fn three_threads_in_all_orders() {
    all_orders(scenarios::FORK_AND_FINISH, one_gate(1, 1));
    all_orders(scenarios::READER, one_gate(1, 1));
    all_orders(scenarios::TWO_LOGGERS, one_gate(2, 1));
}

#[test]
#[ignore = "minutes: part of the full form"]
fn more_looks_and_laps_in_all_orders() {
    all_orders(scenarios::SEVERAL_LAPS, one_gate(5, 3));
    all_orders(scenarios::ROWS, one_gate(5, 3));
    all_orders(scenarios::PARTS, one_gate(6, 4));
    all_orders(scenarios::FULL_RING, one_gate(3, 1));
}
