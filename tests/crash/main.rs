//! SIGKILL at random moments: every record whose call had returned is there exactly once, and none is invented.
//!
//! `STEPWELL_KILLS` sets the number of kills (200 by default, 10,000 in `make kill`), `STEPWELL_FAIL_POINT_ROUNDS` how often
//! each fail point is met, `STEPWELL_SEED` repeats a campaign.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use stepwell_engine::fail_point::FAIL_POINTS;
use stepwell_engine::{Access, CompactOptions, RunId, RunState, Store};
use stepwell_tests::acknowledge::{Acknowledgements, THREADS_MAX};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::{COMPACT_AT_FINISH, tight_config};

/// Runs kept in one store before a fresh one is taken: later kills then meet a catalog with content.
const RUNS_PER_STORE: u64 = 10;

/// Processes of one run, and threads of each, that are killed together.
const SHAPES: [(usize, usize); 6] = [(1, 1), (1, 4), (1, 16), (2, 2), (4, 1), (4, 4)];

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// When it reaches a fail point for the n-th time; by itself, or when it has not come there for a while.
    At(&'static str, u64),
}

/// How long a process may take to reach its fail point; one that does not ends otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// One kill: who writes, and when it ends.
#[derive(Clone, Copy, Debug)]
struct Case {
    processes: usize,
    threads: usize,
    ring: u64,
    moment: Moment,
}

impl Case {
    /// The shapes take turns; the rest is chance.
    fn random(number: u64, random: &mut Random) -> Self {
        let (processes, threads) = SHAPES[number as usize % SHAPES.len()];
        let ring = if processes * threads > 4 { 4096 << random.below(2) } else { 4096 << random.below(5) };
        Self { processes, threads, ring, moment: Moment::After(Duration::from_micros(random.below(60_000))) }
    }
}

/// Starts `crash-writer` so that it meets its end at `moment`.
fn start(words: &[&str], moment: Moment) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crash-writer"));
    if let Moment::At(point, n) = moment {
        command.env("STEPWELL_FAIL_POINT", format!("{point}@{n}"));
        // The end of the run compacts it where its writer is to come to a fail point of that.
        if point.starts_with(COMPACTION) {
            command.env(COMPACT_AT_FINISH, u64::MAX.to_string());
        }
    }
    command.args(words).stdout(Stdio::null()).spawn().expect("start the writer")
}

/// How many of the children SIGKILL ended.
fn end(children: Vec<Child>, moment: Moment) -> usize {
    let mut ending = children;
    match moment {
        Moment::After(delay) => std::thread::sleep(delay),
        Moment::At(..) => {
            let start = Instant::now();
            let ended = |child: &mut Child| child.try_wait().expect("a child").is_some();
            while !ending.iter_mut().all(ended) && start.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    let reached = ending.iter_mut().filter_map(|child| child.try_wait().expect("a child"));
    let reached = reached.filter(|status| status.signal() == Some(9)).count();
    // All are killed before the first is waited for.
    ending.iter_mut().for_each(|child| child.kill().expect("SIGKILL"));
    for mut child in ending {
        child.wait().expect("reaped");
    }
    reached
}

#[test]
fn every_acknowledged_record_survives_sigkill_exactly_once() {
    let kills = number("STEPWELL_KILLS", 200);
    let mut random = Random::new(seed("kill"));
    let mut campaign = Campaign::default();
    for kill in 0..kills {
        let case = Case::random(kill, &mut random);
        campaign.kill(case, &mut random);
    }
    println!("kill: {} recoveries were killed too", campaign.recoveries_killed);
    assert!(campaign.tally.acknowledged > 0, "the writers logged nothing before they were killed");
    campaign.tally.close("kill");
}

#[test]
fn a_kill_at_every_fail_point_loses_nothing() {
    let rounds = number("STEPWELL_FAIL_POINT_ROUNDS", 1);
    let mut random = Random::new(seed("fail points"));
    let mut campaign = Campaign::default();
    for _ in 0..rounds {
        for point in FAIL_POINTS {
            // What a run, or each of its threads, does once is met once.
            let once = ["log.", "journal.", "finish."].iter().any(|group| point.starts_with(group));
            campaign.kill_at(point, 1 + if once { 0 } else { random.below(3) }, &mut random);
        }
    }
    // Whether a run comes to a point a third time is chance.
    for point in FAIL_POINTS {
        if !campaign.reached.contains(point) {
            campaign.kill_at(point, 1, &mut random);
        }
    }
    let missed: Vec<_> = FAIL_POINTS.iter().filter(|point| !campaign.reached.contains(*point)).collect();
    println!("fail points: {} of {} were reached; not: {missed:?}", campaign.reached.len(), FAIL_POINTS.len());
    assert!(missed.is_empty(), "every fail point is reached; not {missed:?}");
    campaign.tally.close("fail points");
}

/// Fail points that a compaction shares with whoever else writes segments and events.
const SHARED_POINTS: [&str; 11] = [
    "segment.create",
    "segment.written",
    "segment.synced",
    "segment.rename.begin",
    "segment.rename.end",
    "segment.published",
    "event.append.begin",
    "event.append.middle",
    "event.append.end",
    "event.sync.begin",
    "event.sync.end",
];

#[test]
fn a_kill_at_every_fail_point_of_a_compaction_leaves_each_row_once() {
    let rounds = number("STEPWELL_FAIL_POINT_ROUNDS", 1);
    let mut random = Random::new(seed("compaction"));
    let mut campaign = Campaign::default();
    let own = FAIL_POINTS.into_iter().filter(|point| point.starts_with(COMPACTION) || point.starts_with(PACKING));
    let points: Vec<&'static str> = own.chain(SHARED_POINTS).collect();
    for round in 0..rounds {
        for point in &points {
            campaign.kill_compaction(point, 1 + round % 3, &mut random);
        }
    }
    let missed: Vec<_> = points.iter().filter(|point| !campaign.reached.contains(*point)).collect();
    assert!(missed.is_empty(), "every fail point is reached; not {missed:?}");
    campaign.tally.close("compaction");
}

#[test]
fn a_kill_at_every_fail_point_of_the_compaction_at_the_end_of_a_run_leaves_each_row_once() {
    let rounds = number("STEPWELL_FAIL_POINT_ROUNDS", 1);
    let mut random = Random::new(seed("compaction at the end of a run"));
    let mut campaign = Campaign::default();
    // The end of a run leaves the catalog for later.
    let of_compaction = |point: &&str| point.starts_with(COMPACTION) && *point != "compact.catalog";
    let points: Vec<&'static str> = FAIL_POINTS.into_iter().filter(of_compaction).collect();
    for _ in 0..rounds {
        for point in &points {
            campaign.kill_at_the_end(point, &mut random);
        }
    }
    let missed: Vec<_> = points.iter().filter(|point| !campaign.reached.contains(*point)).collect();
    assert!(missed.is_empty(), "every fail point is reached; not {missed:?}");
    campaign.tally.close("compaction at the end of a run");
}

/// What the fail points of compaction begin with.
const COMPACTION: &str = "compact.";
/// What the fail points of packing begin with.
const PACKING: &str = "pack.";

#[derive(Default)]
struct Campaign {
    /// Fail points at which a process ended.
    reached: BTreeSet<&'static str>,
    tally: Tally,
    recoveries_killed: u64,
    folder: Option<tempfile::TempDir>,
}

impl Campaign {
    /// The folder of the next case.
    fn folder(&mut self) -> PathBuf {
        if self.tally.cases.is_multiple_of(RUNS_PER_STORE) {
            self.folder = None;
        }
        let folder = self.folder.get_or_insert_with(|| tempfile::tempdir().expect("folder"));
        folder.path().to_owned()
    }

    fn kill(&mut self, case: Case, random: &mut Random) {
        self.kill_then(case, None, random);
    }

    /// A kill when a writer, or a process that recovers, reaches `point` for the n-th time.
    fn kill_at(&mut self, point: &'static str, n: u64, random: &mut Random) {
        if point.starts_with(COMPACTION) || point.starts_with(PACKING) {
            return self.kill_compaction(point, 1, random);
        }
        let in_recovery = point.starts_with("recovery.");
        let moment = if in_recovery { Moment::After(Duration::from_millis(40)) } else { Moment::At(point, n) };
        let case = Case { processes: 1, threads: 1 + random.below(4) as usize, ring: 4096, moment };
        self.kill_then(case, in_recovery.then_some(("recover", Moment::At(point, 1))), random);
    }

    /// A run that ends by itself, and a kill when its compaction reaches `point` for the n-th time.
    fn kill_compaction(&mut self, point: &'static str, n: u64, random: &mut Random) {
        // A fail point that no run comes to so often has it commit a few times and finish.
        let case = Case { processes: 1, threads: 2, ring: 4096, moment: Moment::At("finish.end", u64::MAX) };
        self.kill_then(case, Some(("compact", Moment::At(point, n))), random);
    }

    /// A run that finishes, and a kill when the compaction at its end reaches `point`.
    fn kill_at_the_end(&mut self, point: &'static str, random: &mut Random) {
        let case = Case { processes: 1, threads: 2, ring: 4096, moment: Moment::At(point, 1) };
        self.kill_then(case, None, random);
    }

    fn note(&mut self, moment: Moment, killed: usize) {
        if let Moment::At(point, _) = moment
            && killed > 0
        {
            self.reached.insert(point);
        }
    }

    /// A kill, and then one of a process that recovers or compacts the store.
    fn kill_then(&mut self, case: Case, then: Option<(&str, Moment)>, random: &mut Random) {
        let folder = self.folder();
        let store = folder.join("store");
        let run = RunId::generate();
        let pages: Vec<PathBuf> =
            (0..case.processes).map(|rank| folder.join(format!("page{}.{rank}", self.tally.cases))).collect();
        let children = pages.iter().enumerate().map(|(rank, page)| write(&store, run, rank, page, case));
        let killed = end(children.collect(), case.moment);
        self.note(case.moment, killed);
        self.tally.cases += 1;
        if let Some((deed, moment)) = then {
            let useless = store.join(format!("packs/1-1-{}.parquet", "0".repeat(64)));
            if matches!(moment, Moment::At(point, _) if point.starts_with(PACKING)) {
                // One that is damaged, and so of no use to anybody: there is something to remove.
                std::fs::create_dir_all(useless.parent().expect("a folder")).expect("a folder");
                std::fs::write(&useless, b"no pack").expect("a file");
            }
            let killed = end(vec![start(&[deed, text(&store)], moment)], moment);
            // What a kill left of it is ours, and no damage.
            let _ = std::fs::remove_file(&useless);
            self.note(moment, killed);
            self.recoveries_killed += 1;
        }
        // Recovery may be killed too, and again.
        while random.below(3) == 0 {
            let moment = Moment::After(Duration::from_micros(random.below(8_000)));
            end(vec![start(&["recover", text(&store)], moment)], moment);
            self.recoveries_killed += 1;
        }
        let store = Store::open_with(&store, Access::Create, tight_config(4096)).expect("open and recover");
        assert!(store.recovery().failures.is_empty(), "{case:?}: {:?}", store.recovery().failures);
        self.check(&store, run, &pages, case);
        let at_finish = matches!(case.moment, Moment::At(point, _) if point.starts_with(COMPACTION));
        if at_finish || then.is_some_and(|(deed, _)| deed == "compact") {
            // What was cut short is finished by the next one; the rows are counted twice, before and after.
            let mut options = CompactOptions::default();
            (options.segments_max, options.remove_now) = (1, true);
            let report = store.compact(&options, &mut |_, _| {}).expect("compact");
            assert!(report.failures.is_empty() && report.waiting == (0, 0), "{report:?}");
            self.check(&store, run, &pages, case);
        }
    }

    fn check(&mut self, store: &Store, run: RunId, pages: &[PathBuf], case: Case) {
        let snapshot = store.snapshot().expect("snapshot");
        assert!(snapshot.live().is_empty(), "recovery leaves nothing in journals");
        let rows = LaneRows::read(&snapshot, run).expect("each row once, each segment readable");
        let before = self.tally.clone();
        for (rank, page) in pages.iter().enumerate() {
            let page = Acknowledgements::open(page).expect("page");
            rows.count_lanes(rank * THREADS_MAX, case.threads, &page, &mut self.tally);
        }
        let bad = |tally: &Tally| (tally.lost_beyond, tally.invented);
        assert_eq!(bad(&self.tally), bad(&before), "{case:?}: records lost beyond the promise, or invented");
        let lanes = |lane: usize| lane / THREADS_MAX < case.processes && lane % THREADS_MAX < case.threads;
        assert!(rows.lanes().all(lanes), "{case:?}: rows of nobody");
        if let Some(info) = snapshot.runs().iter().find(|info| info.run_id == run) {
            // At a fail point behind the last event, the run had finished already.
            let may_have_finished = matches!(case.moment, Moment::At(..));
            assert!(info.state == RunState::Died || may_have_finished && info.state == RunState::Finished);
        }
        let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
        assert!(damaged.is_empty(), "{damaged:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn write(store: &Path, run: RunId, rank: usize, page: &Path, case: Case) -> Child {
    let numbers = [case.threads as u64, case.ring, rank as u64].map(|number| number.to_string());
    let [threads, ring, rank] = numbers.each_ref().map(String::as_str);
    start(&["write", text(store), &run.to_string(), text(page), threads, ring, rank], case.moment)
}
