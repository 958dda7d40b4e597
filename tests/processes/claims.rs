//! Several processes at one run: they claim it at once, are killed together, come back, and are recovered at once.

use std::path::Path;

use stepwell_engine::{Access, RunId, RunState, Store};
use stepwell_tests::control::Control;
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::tight_config;

use crate::helper::{Helper, Setup, Writer, check_store, info_of, look, open, store_of, text};

/// Records that each of two claimants logs to each run.
const CLAIM_RECORDS: u64 = 300;

/// Two helpers that get their orders within the time of two stores to memory.
struct Pair {
    helpers: [Helper; 2],
    controls: [Control; 2],
}

impl Pair {
    fn start(folder: &Path, words: impl Fn(usize, &str) -> Vec<String>) -> Self {
        let paths = [0, 1].map(|number| folder.join(format!("pair{number}")));
        let helpers = [0, 1].map(|number| {
            let words = words(number, text(&paths[number]));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            Helper::start(env!("CARGO_BIN_EXE_process-writer"), &words)
        });
        Self { helpers, controls: paths.map(|path| Control::open(&path).expect("control")) }
    }

    fn rounds(&mut self, rounds: u64) {
        for round in 1..=rounds {
            self.controls.iter().for_each(|control| control.await_state(round));
            self.controls.iter().for_each(|control| control.order(round));
        }
        self.helpers.iter_mut().for_each(Helper::succeeds);
    }
}

/// Two processes that started the same run as the same rank at the same moment both saw no earlier writer, and both
/// became attempt 0: rows of the two had the same (run, rank, attempt, seq), by which a reader tells rows apart.
#[test]
fn two_processes_that_claim_a_run_at_once_become_two_attempts() {
    let rounds = number("STEPWELL_CLAIMS", 40);
    let folder = tempfile::tempdir().expect("folder");
    let runs: Vec<RunId> = (0..rounds).map(|_| RunId::generate()).collect();
    let mut pair = Pair::start(folder.path(), |number, control| {
        let store = text(&store_of(folder.path())).to_owned();
        let head = ["claim".to_owned(), store, control.to_owned(), number.to_string()];
        head.into_iter().chain(runs.iter().map(ToString::to_string)).collect()
    });
    pair.rounds(rounds);
    let refused: u64 = pair.controls.iter().map(Control::figure).sum();
    let store = open(folder.path());
    assert!(store.recovery().writers.is_empty(), "both had finished: {:?}", store.recovery());
    let mut tally = Tally { cases: rounds, ..Tally::default() };
    let snapshot = check_store(&store, &[]);
    for run in &runs {
        let info = info_of(&snapshot, *run);
        assert_eq!(info.state, RunState::Finished);
        let mut attempts: Vec<i32> = info.writers.iter().map(|writer| writer.writer.attempt).collect();
        attempts.sort_unstable();
        attempts.dedup();
        assert_eq!(attempts.len(), info.writers.len(), "{run}: two writers of one attempt: {:?}", info.writers);
        let rows = LaneRows::read(&snapshot, *run).expect("each row once");
        for lane in rows.lanes() {
            rows.count(lane, CLAIM_RECORDS, &mut tally);
        }
    }
    assert_eq!(tally.acknowledged, CLAIM_RECORDS * (2 * rounds - refused));
    println!("claims: {refused} of {} were refused", 2 * rounds);
    tally.close("claims");
}

#[test]
fn two_processes_that_recover_a_writer_at_once_keep_each_record_once() {
    let mut random = Random::new(seed("recover races"));
    let rounds = number("STEPWELL_RECOVER_RACES", 20);
    let folder = tempfile::tempdir().expect("folder");
    let folders: Vec<_> = (0..rounds).map(|round| folder.path().join(round.to_string())).collect();
    let dead: Vec<_> = folders.iter().map(|folder| dead_writer(folder, &mut random)).collect();
    let mut pair = Pair::start(folder.path(), |_, control| {
        let stores = folders.iter().map(|folder| text(&store_of(folder)).to_owned());
        ["recover".to_owned(), control.to_owned()].into_iter().chain(stores).collect()
    });
    let mut tally = Tally { cases: rounds, ..Tally::default() };
    std::thread::scope(|scope| {
        // A third one asks all the time, which must not keep the others from recovering.
        let asking = scope.spawn(|| folders.iter().for_each(|folder| drop(look(folder))));
        pair.rounds(rounds);
        asking.join().expect("readers see a whole store at any moment");
    });
    for (folder, (run, writer)) in folders.iter().zip(&dead) {
        let store = open(folder);
        assert!(store.recovery().writers.is_empty(), "left over by both: {:?}", store.recovery());
        let snapshot = check_store(&store, &[(*run, RunState::Died)]);
        assert!(snapshot.live().is_empty());
        writer.count(&LaneRows::read(&snapshot, *run).expect("each row once"), &mut tally);
    }
    tally.close("recover races");
}

fn dead_writer(folder: &Path, random: &mut Random) -> (RunId, Writer) {
    std::fs::create_dir(folder).expect("folder");
    let run = RunId::generate();
    let mut writer = Writer::start(Setup { folder, run, rank: 0, lane: 0, threads: 2, pause_micros: 500 });
    writer.await_records(1 + random.below(3_000));
    writer.helper.kill();
    (run, writer)
}

/// A reader asks whether a writer lives by a shared lock. While it held it, recovery took the dead writer for alive, and
/// left its records in the journal until somebody opened the store again.
#[test]
fn readers_do_not_keep_recovery_from_a_dead_writer() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = &folder.path().join("one");
    let (run, writer) = dead_writer(folder, &mut Random::new(seed("readers")));
    let id = info_of(&look(folder), run).writers[0].writer;
    let log = store_of(folder).join(format!("runs/{run}/{id}.events.jsonl"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut tally = Tally { cases: 1, ..Tally::default() };
    std::thread::scope(|scope| {
        for _ in 0..1 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Acquire) {
                    let file = std::fs::File::open(&log).expect("open");
                    let _ = file.try_lock_shared();
                    std::thread::yield_now();
                }
            });
        }
        let store = Store::open_with(store_of(folder), Access::Create, tight_config(4096)).expect("open");
        stop.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(store.recovery().writers.len(), 1, "{:?}", store.recovery());
        let snapshot = check_store(&store, &[(run, RunState::Died)]);
        writer.count(&LaneRows::read(&snapshot, run).expect("each row once"), &mut tally);
    });
    tally.close("readers beside recovery");
}

#[test]
fn sixteen_ranks_killed_together_and_resumed_keep_the_rows_of_both_attempts() {
    let mut random = Random::new(seed("ranks"));
    let folder = tempfile::tempdir().expect("folder");
    let run = RunId::generate();
    let setup = |rank: usize, lane: usize| Setup {
        folder: folder.path(),
        run,
        rank: rank as u32,
        lane,
        threads: 1,
        pause_micros: 4_000,
    };
    let mut ranks: Vec<Writer> = (0..16).map(|rank| Writer::start(setup(rank, rank))).collect();
    ranks.iter().for_each(|rank| rank.await_records(1 + random.below(500)));
    // The first one that comes back recovers the dead and leaves the living alone.
    let (dead, living) = ranks.split_at_mut(12);
    dead.iter_mut().for_each(|rank| rank.helper.kill());
    let mut resumed: Vec<Writer> = (0..12).map(|rank| Writer::start(setup(rank, 100 + rank))).collect();
    resumed.iter().for_each(|rank| rank.await_records(200));
    living.iter().for_each(|rank| rank.await_records(1));
    let states = info_of(&look(folder.path()), run).writers;
    let running = states.iter().filter(|writer| writer.state == RunState::Running).count();
    assert_eq!((states.len(), running), (28, 16), "{states:?}");
    ranks.drain(12..).for_each(|mut rank| {
        rank.helper.kill();
        resumed.push(rank);
    });
    resumed[..6].iter_mut().for_each(Writer::finish);
    resumed[6..12].iter_mut().for_each(|rank| rank.helper.kill());
    let store = open(folder.path());
    let snapshot = check_store(&store, &[(run, RunState::Died)]);
    let rows = LaneRows::read(&snapshot, run).expect("each row once");
    let mut tally = Tally { cases: 28, ..Tally::default() };
    for writer in ranks.iter().chain(&resumed) {
        writer.count(&rows, &mut tally);
        let attempts = rows.of(writer.lane).iter().map(|row| (row.writer.rank as usize, row.writer.attempt));
        let expected = (writer.lane % 100, i32::from(writer.lane >= 100));
        attempts.for_each(|found| assert_eq!(found, expected));
        assert_eq!(writer.control.figure(), expected.1 as u64);
    }
    tally.close("ranks");
}
