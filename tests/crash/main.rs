//! SIGKILL at random moments: every record whose call had returned is there exactly once, and none is invented.
//!
//! `STEPWELL_KILLS` sets the number of kills (200 by default, 10,000 in `make kill`), `STEPWELL_SEED` repeats a campaign.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use stepwell_engine::{Access, RunId, RunState, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::random::Random;
use stepwell_tests::rows::rows_of;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::{metric_of, tight_config, value_of};

/// Runs kept in one store before a fresh one is taken: later kills then meet a catalog with content.
const RUNS_PER_STORE: u64 = 10;

fn writer(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_crash-writer"))
        .args(arguments)
        .stdout(Stdio::null())
        .spawn()
        .expect("start the writer")
}

fn kill_after(mut child: Child, delay: Duration) {
    std::thread::sleep(delay);
    child.kill().expect("SIGKILL");
    child.wait().expect("reaped");
}

#[derive(Default, Debug)]
struct Totals {
    kills: u64,
    acknowledged: u64,
    rows: u64,
    in_flight: u64,
    recoveries_killed: u64,
}

#[test]
fn every_acknowledged_record_survives_sigkill_exactly_once() {
    let seed = seed("kill");
    let kills = number("STEPWELL_KILLS", 200);
    let mut random = Random::new(seed);
    let mut totals = Totals::default();
    let mut folder = tempfile::tempdir().expect("folder");
    while totals.kills < kills {
        if totals.kills.is_multiple_of(RUNS_PER_STORE) {
            folder = tempfile::tempdir().expect("folder");
        }
        kill_one(folder.path(), &mut random, &mut totals);
    }
    println!("{totals:?}");
    assert!(totals.acknowledged > 0, "the writers logged nothing before they were killed");
}

fn kill_one(folder: &Path, random: &mut Random, totals: &mut Totals) {
    let store = folder.join("store");
    let page_path = folder.join(format!("page{}", totals.kills));
    let run = RunId::generate();
    let threads = 1 + random.below(4) as usize;
    let ring = 4096 << random.below(5);
    let page = Acknowledgements::open(&page_path).expect("page");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let child =
        writer(&["write", &text(&store), &run.to_string(), &text(&page_path), &threads.to_string(), &ring.to_string()]);
    kill_after(child, Duration::from_micros(random.below(60_000)));
    totals.kills += 1;
    // Recovery may be killed too, and again.
    while random.below(3) == 0 {
        kill_after(writer(&["recover", &text(&store)]), Duration::from_micros(random.below(8_000)));
        totals.recoveries_killed += 1;
    }
    let store = Store::open_with(&store, Access::Create, tight_config(4096)).expect("open and recover");
    assert!(store.recovery().failures.is_empty(), "{:?}", store.recovery().failures);
    check(&store, run, threads, &page, totals);
}

fn check(store: &Store, run: RunId, threads: usize, page: &Acknowledgements, totals: &mut Totals) {
    let snapshot = store.snapshot().expect("snapshot");
    assert!(snapshot.live().is_empty(), "recovery leaves nothing in journals");
    let rows = rows_of(&snapshot, run).expect("each row once, each segment readable");
    for thread in 0..threads {
        let acknowledged = page.of(thread);
        let metric = metric_of(thread);
        let own: Vec<_> = rows.iter().filter(|((name, _), _)| *name == metric).map(|(_, row)| *row).collect();
        let found = own.len() as u64;
        assert!(found >= acknowledged, "{metric}: {found} rows of {acknowledged} acknowledged");
        // The call that was under way when the signal came may have been finished, and no other.
        assert!(found <= acknowledged + 1, "{metric}: {found} rows, {acknowledged} acknowledged");
        for (step, row) in own.iter().enumerate() {
            let step = step as i64;
            assert_eq!(*row, (step, value_of(thread, step).to_bits()), "{metric} at {step}");
        }
        totals.acknowledged += acknowledged;
        totals.in_flight += found - acknowledged;
    }
    totals.rows += rows.len() as u64;
    if let Some(info) = snapshot.runs().iter().find(|info| info.run_id == run) {
        assert_eq!(info.state, RunState::Died);
    }
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
}
