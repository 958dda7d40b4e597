//! What is played through: each scenario fails by a panic, and counts what was logged and kept.

use crate::ring::{GateState, NoRoom, SlotContent};
use crate::sides::{Logger, Ring, Sealer};
use crate::sync::thread;
use crate::tally::Tally;

/// How large a scenario is played.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Slots of a ring, a power of two.
    pub capacity: u64,
    /// How often a producer is stopped in a lap.
    pub gates_per_lap: u64,
    /// Calls of a producer.
    pub calls: u64,
    /// Looks of the sealer while the producer is at work.
    pub looks: u64,
}

/// A scenario and its name.
pub type Scenario = (&'static str, fn(Size) -> Tally);

/// One logger and the sealer; what finds the ring full is dropped.
pub const SEVERAL_LAPS: Scenario = ("several laps", several_laps);
/// The same with rows of two records, which are taken whole or not at all, behind a single one.
pub const ROWS: Scenario = ("rows", rows);
/// A logger that waits for room: once the wait has seen room, the call finds it, and no record is dropped.
pub const FULL_RING: Scenario = ("a full ring", full_ring);
/// Two loggers with a ring each, and one sealer for both.
pub const TWO_LOGGERS: Scenario = ("two loggers", two_loggers);
/// A logger is dropped, and its ring goes to another in another thread.
pub const HANDOVER: Scenario = ("one logger after the other", handover);
/// The sealer commits one record at a time, and hands back only at every second look: a sync may have failed.
pub const PARTS: Scenario = ("segments in parts", parts);
/// The run is finished while the logger may be inside a call. What that call writes is found when the logger is gone; a
/// call that begins after `finish` returned is refused.
pub const FINISH: Scenario = ("finish during a call", finish);
/// A fork and `finish` close the ring at the same time. One reason stays, and every refused call is told that one.
pub const FORK_AND_FINISH: Scenario = ("fork and finish", fork_and_finish);
/// A third thread reads slots at any time, and no slot is handed back yet: it finds nothing or the record.
pub const READER: Scenario = ("a reader", reader);
/// The same while slots are cleared and written again under the reader: it may find neither, but never takes another
/// record for the one it asked for.
pub const READER_OF_LAPS: Scenario = ("a reader of later laps", reader_of_laps);
/// All of them.
pub const ALL: [Scenario; 10] =
    [SEVERAL_LAPS, ROWS, FULL_RING, TWO_LOGGERS, HANDOVER, PARTS, FINISH, FORK_AND_FINISH, READER, READER_OF_LAPS];

/// A ring, its logger and its sealer.
fn sides(size: Size) -> (Ring, Logger, Sealer) {
    let ring = Ring::new(0, size.capacity, size.gates_per_lap);
    let (logger, sealer) = (Logger::new(&ring, 0), Sealer::new(&ring));
    (ring, logger, sealer)
}

fn tally(acknowledged: u64, dropped: u64, sealer: &Sealer) -> Tally {
    let kept = sealer.committed;
    assert_eq!(kept, acknowledged, "records kept, and records whose call had returned");
    Tally { cases: 1, acknowledged, kept, lost_within: dropped, lost_beyond: 0, invented: 0 }
}

/// Calls `log` so often; a record that finds no room is dropped and counted. Returns the drops.
fn log_or_drop(calls: u64, log: impl FnMut() -> Result<(), NoRoom>) -> u64 {
    let (drops, closed) = log_until_closed(calls, log);
    assert_eq!(closed, None, "nobody closed the ring");
    drops
}

/// Calls `log` so often, or until the ring is closed. Returns the drops, and what the refused call was told.
fn log_until_closed(calls: u64, mut log: impl FnMut() -> Result<(), NoRoom>) -> (u64, Option<GateState>) {
    let mut drops = 0;
    for _ in 0..calls {
        match log() {
            Ok(()) => {}
            Err(NoRoom::Full) => drops += 1,
            Err(NoRoom::Closed(state)) => return (drops, Some(state)),
        }
    }
    (drops, None)
}

fn several_laps(size: Size) -> Tally {
    let (_, mut logger, mut sealer) = sides(size);
    let worker = thread::spawn(move || (log_or_drop(size.calls, || logger.log()), logger.index()));
    (0..size.looks).for_each(|_| sealer.look());
    let (drops, index) = worker.join().expect("the logger's thread");
    sealer.look();
    assert_eq!(index + drops, size.calls);
    tally(index, drops, &sealer)
}

fn rows(size: Size) -> Tally {
    let (_, mut logger, mut sealer) = sides(size);
    let worker = thread::spawn(move || {
        let single = u64::from(logger.log().is_ok());
        let drops = log_or_drop(size.calls, || logger.log_row(2));
        (drops, single, logger.index())
    });
    (0..size.looks).for_each(|_| sealer.look());
    let (drops, single, index) = worker.join().expect("the logger's thread");
    sealer.look();
    assert_eq!(index + 2 * drops, single + 2 * size.calls);
    tally(index, 2 * drops, &sealer)
}

fn full_ring(size: Size) -> Tally {
    let (ring, mut logger, mut sealer) = sides(size);
    let core = ring.core;
    let worker = thread::spawn(move || {
        for _ in 0..size.calls {
            if logger.log() == Err(NoRoom::Full) {
                while core.room(logger.index()) == 0 {
                    thread::yield_now();
                }
                logger.log().expect("there was room");
            }
        }
    });
    while sealer.committed < size.calls {
        sealer.look();
        if sealer.committed < size.calls {
            thread::yield_now();
        }
    }
    worker.join().expect("the logger's thread");
    sealer.look();
    tally(size.calls, 0, &sealer)
}

fn two_loggers(size: Size) -> Tally {
    let rings = [0, 1].map(|number| Ring::new(number, size.capacity, size.gates_per_lap));
    let mut sealers = rings.each_ref().map(Sealer::new);
    let workers = rings.map(|ring| {
        let mut logger = Logger::new(&ring, 0);
        thread::spawn(move || (log_or_drop(size.calls, || logger.log()), logger.index()))
    });
    (0..size.looks).for_each(|_| sealers.iter_mut().for_each(Sealer::look));
    let mut total = Tally::default();
    for (worker, mut sealer) in workers.into_iter().zip(sealers) {
        let (drops, index) = worker.join().expect("a logger's thread");
        sealer.look();
        assert_eq!(index + drops, size.calls);
        total.add(&tally(index, drops, &sealer));
    }
    Tally { cases: 1, ..total }
}

fn handover(size: Size) -> Tally {
    let ring = Ring::new(0, size.capacity, size.gates_per_lap);
    let mut sealer = Sealer::new(&ring);
    let first = size.calls / 2;
    let worker = thread::spawn(move || {
        let mut logger = Logger::new(&ring, 0);
        let heir = thread::spawn({
            let drops = log_or_drop(first, || logger.log());
            let index = logger.index();
            drop(logger);
            move || {
                let mut logger = Logger::new(&ring, index);
                let drops = drops + log_or_drop(size.calls - first, || logger.log());
                (drops, logger.index())
            }
        });
        heir.join().expect("the second logger's thread")
    });
    (0..size.looks).for_each(|_| sealer.look());
    let (drops, index) = worker.join().expect("the first logger's thread");
    sealer.look();
    assert_eq!(index + drops, size.calls);
    tally(index, drops, &sealer)
}

fn parts(size: Size) -> Tally {
    let (_, mut logger, mut sealer) = sides(size);
    let worker = thread::spawn(move || (log_or_drop(size.calls, || logger.log()), logger.index()));
    for look in 0..size.looks {
        sealer.commit(1);
        if look % 2 == 1 {
            sealer.hand_back();
        }
    }
    let (drops, index) = worker.join().expect("the logger's thread");
    sealer.look();
    tally(index, drops, &sealer)
}

fn finish(size: Size) -> Tally {
    let (ring, mut logger, mut sealer) = sides(size);
    let worker = thread::spawn(move || (log_until_closed(size.calls, || logger.log()), logger));
    sealer.look();
    ring.core.close(GateState::Closed);
    sealer.look();
    let ((drops, seen), mut logger) = worker.join().expect("the logger's thread");
    assert!(seen.is_none_or(|seen| seen == GateState::Closed), "{seen:?}");
    assert_eq!(logger.log(), Err(NoRoom::Closed(GateState::Closed)), "a call after finish");
    let index = logger.index();
    drop(logger);
    sealer.look();
    tally(index, drops, &sealer)
}

fn fork_and_finish(size: Size) -> Tally {
    let (ring, mut logger, mut sealer) = sides(size);
    let worker = thread::spawn(move || (log_until_closed(size.calls, || logger.log()), logger));
    let gate = ring.core.gate.clone();
    let forker = thread::spawn(move || gate.close(GateState::Forked));
    ring.core.close(GateState::Closed);
    sealer.look();
    forker.join().expect("the forking thread");
    let ((drops, seen), mut logger) = worker.join().expect("the logger's thread");
    let state = ring.core.gate.state();
    assert_ne!(state, GateState::Open);
    assert!(seen.is_none_or(|seen| seen == state), "told {seen:?}, and it is {state:?}");
    assert_eq!(logger.log(), Err(NoRoom::Closed(state)));
    assert_eq!(ring.core.gate.limit(), 0);
    let index = logger.index();
    sealer.look();
    tally(index, drops, &sealer)
}

fn reader(size: Size) -> Tally {
    let (ring, mut logger, mut sealer) = sides(size);
    let eyes = thread::spawn(move || {
        // The youngest first: what is found then must be found again.
        let found = |index| match ring.core.read(index) {
            SlotContent::Valid(record) => {
                assert_eq!(record, ring.record(index));
                true
            }
            SlotContent::Empty => false,
            other => panic!("record {index} is {other:?}"),
        };
        let looks: Vec<bool> = (0..size.capacity.min(size.calls)).rev().map(found).collect();
        assert!(looks.is_sorted(), "records are there in the order in which they were logged: {looks:?}");
    });
    let worker = thread::spawn(move || (log_or_drop(size.calls, || logger.log()), logger.index()));
    (0..size.looks).for_each(|_| sealer.commit(u64::MAX));
    let (drops, index) = worker.join().expect("the logger's thread");
    eyes.join().expect("the reader's thread");
    sealer.look();
    tally(index, drops, &sealer)
}

fn reader_of_laps(size: Size) -> Tally {
    let (ring, mut logger, mut sealer) = sides(size);
    let eyes = thread::spawn(move || {
        // The last record of the first lap, and the first of the next.
        for index in [ring.core.capacity() - 1, ring.core.capacity()] {
            if let SlotContent::Valid(record) = ring.core.read(index) {
                assert_eq!(record, ring.record(index));
            }
        }
    });
    let worker = thread::spawn(move || (log_or_drop(size.calls, || logger.log()), logger.index()));
    (0..size.looks).for_each(|_| sealer.look());
    let (drops, index) = worker.join().expect("the logger's thread");
    eyes.join().expect("the reader's thread");
    sealer.look();
    tally(index, drops, &sealer)
}
