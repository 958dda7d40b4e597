//! File systems that must not be mapped: the journal in node-local scratch, segments in the store. Shown with a FUSE mount
//! that refuses mappings, hard links and syncs of folders, with locks and without.
//!
//! `STEPWELL_NETWORK_KILLS` sets the number of kills (6 by default), `STEPWELL_SEED` repeats them.

mod compaction;
mod doctor;
mod mount;
mod processes;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mount::{Mount, Worker, command, command_elsewhere};
use stepwell_engine::events::GapKind;
use stepwell_engine::{Access, EngineConfig, Error, RunId, RunOptions, RunState, Snapshot, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::random::Random;
use stepwell_tests::rows::rows_of;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::{METRICS_NAME, metric_of, value_of};

fn config(scratch: &Path) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.journal_folder = Some(scratch.to_owned());
    config
}

fn open(mount: &Mount, access: Access) -> Store {
    Store::open_with(mount.store(), access, config(&mount.scratch())).expect("open")
}

fn state_of(snapshot: &Snapshot, run: RunId) -> RunState {
    snapshot.runs().iter().find(|info| info.run_id == run).expect("the run").state
}

/// Whether no journal and no folder of a writer is left in scratch.
fn is_empty(scratch: &Path) -> bool {
    let own = std::fs::read_dir(scratch).expect("scratch").map(|entry| entry.expect("entry").path());
    own.into_iter().all(|own| std::fs::read_dir(own).expect("folder of the user").count() == 0)
}

/// Removes a folder at the end, of a test that failed, too.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Steps of the first thread that are in the run, in order; checks their values.
fn steps(snapshot: &Snapshot, run: RunId) -> Vec<i64> {
    let rows = rows_of(snapshot, run).expect("each row once, each segment readable");
    let of_first = rows.into_iter().filter(|((metric, _), _)| *metric == metric_of(0));
    let checked = of_first.map(|(_, (step, value))| {
        assert_eq!(value, value_of(0, step).to_bits(), "step {step}");
        step
    });
    checked.collect()
}

#[test]
fn a_run_on_a_mount_keeps_journals_in_scratch_and_segments_in_the_store() {
    for has_locks in [true, false] {
        let Some(mount) = Mount::new(has_locks) else { return };
        let store = open(&mount, Access::Create);
        assert_eq!(store.file_system(), "fuse");
        let run = store.start_run(RunOptions::new("network", "write").param("lr", 0.1)).expect("start");
        let metric = run.metric(METRICS_NAME, &metric_of(0)).expect("metric");
        let mut log = run.logger().expect("logger");
        for step in 0..10_000 {
            log.log(metric, step, value_of(0, step)).expect("log");
        }
        let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
        let maps_below =
            |folder: &Path| maps.lines().filter(|line| line.contains(folder.to_str().expect("UTF-8"))).count();
        assert_eq!((maps_below(&mount.path()), maps_below(&mount.scratch())), (0, 1), "one journal, in scratch");
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!(steps(&snapshot, run.id()), (0..10_000).collect::<Vec<_>>());
        assert_eq!(snapshot.file_system(), "fuse");
        let folder = snapshot.runs()[0].writers[0].journal_folder.clone().expect("in scratch");
        assert!(folder.starts_with(mount.scratch()) && folder.join("0.journal").exists(), "{folder:?}");
        let stats = snapshot.writer_stats().expect("stats").swap_remove(0);
        assert_eq!(stats.journal_folder, folder);
        assert!(!["fuse", ""].contains(&stats.file_system), "that of the journals: {}", stats.file_system);
        drop(log);
        assert_eq!(run.commit(METRICS_NAME).expect("commit").rows, 10_000);
        let report = run.finish().expect("finish");
        assert_eq!((report.rows, report.drops, report.warnings), (10_000, 0, Vec::new()));
        assert!(is_empty(&mount.scratch()), "journals go once their rows are committed");

        let reindexed = store.reindex().expect("reindex");
        assert_eq!((reindexed.runs, reindexed.in_memory), (1, true));
        assert!(!mount.store_behind().join("catalog.db").exists(), "SQLite would map the index of its log");
        assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
        let snapshot = open(&mount, Access::Read).snapshot().expect("snapshot");
        assert_eq!((state_of(&snapshot, run.id()), steps(&snapshot, run.id()).len()), (RunState::Finished, 10_000));
    }
}

#[test]
fn without_a_setting_the_journals_are_in_a_local_folder_and_one_line_says_so() {
    let Some(mount) = Mount::new(true) else { return };
    let mut command = command(&mount.store(), Path::new(""));
    command.stderr(Stdio::piped());
    let mut worker = Worker::start(command);
    let run = RunId::generate();
    assert_eq!(worker.ask(&format!("start {run}")), "started");
    assert_eq!(worker.ask("log 10"), "logged 10");
    let snapshot = open(&mount, Access::Read).snapshot().expect("snapshot");
    let folder = snapshot.runs()[0].writers[0].journal_folder.clone().expect("in scratch");
    let _removed = Removed(folder.clone());
    assert!(!folder.starts_with(mount.path()) && folder.join("0.journal").exists(), "{folder:?}");
    assert!(worker.ask("finish").starts_with("finished 10 0 []"));
    assert!(!folder.exists());
    let told = worker.end_and_tell();
    let own = folder.ancestors().nth(2).expect("folder of the user").to_str().expect("UTF-8");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("lies on fuse") && told.contains(own) && told.contains("every 10 s"), "{told}");
}

#[test]
fn a_folder_for_journals_that_must_not_be_mapped_is_refused() {
    let Some(mount) = Mount::new(true) else { return };
    let store = Store::open_with(mount.local("store"), Access::Create, config(&mount.path())).expect("open");
    let refused = store.start_run(RunOptions::new("network", "write")).expect_err("refused");
    assert!(matches!(refused, Error::InvalidSetting { setting: "STEPWELL_JOURNAL_DIR", .. }), "{refused}");
}

#[test]
fn every_acknowledged_record_survives_sigkill_on_a_mount_exactly_once() {
    let seed = seed("network kill");
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    for kill in 0..number("STEPWELL_NETWORK_KILLS", 6) {
        let Some(mount) = Mount::new(kill % 2 == 0) else { return };
        kill_one(&mount, &mut random, &mut tally);
    }
    tally.close("network kill");
}

fn kill_one(mount: &Mount, random: &mut Random, tally: &mut Tally) {
    let (run, page) = (RunId::generate(), mount.local("page"));
    let page_of = Acknowledgements::open(&page).expect("page");
    let mut writer = Command::new(env!("CARGO_BIN_EXE_crash-writer"))
        .arg("write")
        .args([&mount.store(), Path::new(&run.to_string()), &page, Path::new("1"), Path::new("16384")])
        .env("STEPWELL_JOURNAL_DIR", mount.scratch())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the writer");
    let enough = random.below(60_000);
    while page_of.of(0) <= enough {
        assert!(writer.try_wait().expect("wait").is_none(), "the writer ended by itself");
        std::thread::yield_now();
    }
    // A reader beside the writer sees what was acknowledged before it looked.
    let before = page_of.of(0);
    let snapshot = open(mount, Access::Read).snapshot().expect("snapshot");
    assert_eq!(state_of(&snapshot, run), RunState::Running);
    assert!(steps(&snapshot, run).len() as u64 >= before);
    writer.kill().expect("SIGKILL");
    writer.wait().expect("reaped");

    let store = open(mount, Access::Create);
    assert_eq!((store.recovery().writers.len(), &*store.recovery().failures), (1, &[][..]));
    let snapshot = store.snapshot().expect("snapshot");
    assert!(snapshot.live().is_empty() && state_of(&snapshot, run) == RunState::Died);
    assert!(snapshot.gaps().expect("gaps").is_empty());
    let found = steps(&snapshot, run);
    assert_eq!(store.commit(run, None).expect("the rows of a dead writer")[0].rows, found.len() as u64);
    let acknowledged = page_of.of(0);
    let kept = found.len() as u64;
    assert_eq!(found, (0..kept as i64).collect::<Vec<_>>());
    assert!(is_empty(&mount.scratch()), "recovery removes the journals it has read");
    assert!(store.verify(&mut |_, _| {}).expect("verify").damaged.is_empty());
    tally.cases += 1;
    tally.acknowledged += acknowledged;
    tally.kept += kept;
    tally.lost_beyond += acknowledged.saturating_sub(kept);
    // The call that was under way when the signal came may have been finished, and no other.
    tally.invented += kept.saturating_sub(acknowledged + 1);
}

/// What a reader says of a run with 1,000 committed records, when 500 later ones cannot be seen: they may be in a segment, too,
/// if the machine was so busy that they grew old.
fn in_segments(state: &str, gaps: &str) -> [String; 2] {
    [1000, 1500].map(|rows| format!("{state} {rows} {gaps}"))
}

/// A writer that has logged 1,000 records and committed them, and then 500 more.
fn writer_of(mount: &Mount, run: RunId) -> Worker {
    let mut writer = Worker::start(command(&mount.store(), &mount.scratch()));
    assert_eq!(writer.ask(&format!("start {run}")), "started");
    assert_eq!(writer.ask("log 1000"), "logged 1000");
    assert_eq!(writer.ask("commit"), "committed 1000");
    assert_eq!(writer.ask("log 500"), "logged 500");
    writer
}

#[test]
fn another_machine_neither_recovers_a_run_nor_calls_it_dead() {
    // Without locks the event log says nothing of the writer, as on a file system that does not carry locks across.
    let Some(mount) = Mount::new(false) else { return };
    let run = RunId::generate();
    let mut writer = writer_of(&mount, run);
    assert!(!writer.maps().contains(mount.path().to_str().expect("UTF-8")), "{}", writer.maps());
    let mut elsewhere = Worker::start(command_elsewhere(&mount.store(), &mount.scratch()));
    let look = format!("look {run}");
    for alive in [true, false] {
        assert_eq!(elsewhere.ask("recover"), "recovered 0 []", "alive: {alive}");
        let seen = elsewhere.ask(&look);
        assert!(in_segments("running", "[]").contains(&seen), "alive: {alive}, {seen}");
        if alive {
            let snapshot = open(&mount, Access::Read).snapshot().expect("snapshot");
            assert_eq!((state_of(&snapshot, run), steps(&snapshot, run).len()), (RunState::Running, 1500));
            std::mem::replace(&mut writer, Worker::start(Command::new("true"))).kill();
        }
    }
    let snapshot = open(&mount, Access::Read).snapshot().expect("snapshot");
    assert_eq!((state_of(&snapshot, run), steps(&snapshot, run).len()), (RunState::Died, 1500));
    let store = open(&mount, Access::Create);
    assert_eq!(store.recovery().writers[0].rows_total, 1500);
    assert_eq!(elsewhere.ask(&look), "died 1500 []");
}

#[test]
fn scratch_that_did_not_survive_a_restart_is_told_as_a_loss_once() {
    let Some(mount) = Mount::new(true) else { return };
    let run = RunId::generate();
    let writer = writer_of(&mount, run);
    writer.kill();
    std::fs::remove_dir_all(mount.scratch()).expect("the machine forgets");
    // Without a restart the writer may live in a container whose scratch is not seen from here.
    let store = open(&mount, Access::Create);
    assert!(store.recovery().writers.is_empty() && store.recovery().failures.is_empty());
    assert_eq!(state_of(&store.snapshot().expect("snapshot"), run), RunState::Running);
    let mut restarted = command(&mount.store(), &mount.scratch());
    restarted.env("STEPWELL_BOOT_ID", "after-the-restart");
    let mut restarted = Worker::start(restarted);
    assert_eq!(restarted.ask("recover"), "recovered 1 []");
    assert_eq!(restarted.ask("recover"), "recovered 0 []");
    let seen = restarted.ask(&format!("look {run}"));
    assert!(in_segments("died", "[(\"lost_journal\", 0)]").contains(&seen), "{seen}");
}

#[test]
fn training_goes_on_when_the_mount_dies_and_what_is_in_scratch_is_kept() {
    for ring in [4096_i64, 1 << 17] {
        let Some(mut mount) = Mount::new(true) else { return };
        let run = RunId::generate();
        let mut command = command(&mount.store(), &mount.scratch());
        // Records wait for room no longer than this once the ring is full, because no segment can be written.
        command.env("STEPWELL_RING_RECORDS", ring.to_string()).env("STEPWELL_WAIT_MILLIS", "1");
        let mut writer = Worker::start(command);
        assert_eq!(writer.ask(&format!("start {run}")), "started");
        assert_eq!(writer.ask("log 1000"), "logged 1000");
        mount.kill();
        let answer = writer.ask("log 100000");
        let taken: usize = answer.strip_prefix("logged ").and_then(|count| count.parse().ok()).expect("a count");
        // A record is taken as long as the ring has room; what was logged before may have gone to a segment meanwhile.
        let room = ring as usize - 1000..=ring as usize;
        assert!(taken == 100_000 || room.contains(&taken), "{taken} records in a ring of {ring}");
        assert_eq!(taken < 100_000, ring < 100_000);
        let drops = 100_000 - taken;
        let finished = writer.ask("finish");
        assert!(finished.starts_with(&format!("finished {} {drops} [\"", 1000 + taken)), "{finished}");
        assert_eq!(writer.end().code(), Some(7), "the process ends as it would have");

        mount.unmount();
        mount.mount();
        let store = open(&mount, Access::Create);
        assert_eq!(store.recovery().failures, []);
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!(steps(&snapshot, run), (0..1000 + taken as i64).collect::<Vec<_>>());
        let gaps = snapshot.gaps().expect("gaps");
        let told: Vec<_> = gaps.iter().map(|gap| (gap.gap.kind, gap.gap.records)).collect();
        let lost = [(GapKind::RingFull, drops as u64)];
        assert_eq!(told, lost[..usize::from(drops > 0)]);
        assert!(is_empty(&mount.scratch()));
    }
}

#[test]
fn a_mount_that_hangs_does_not_hold_up_log_calls() {
    let Some(mount) = Mount::new(true) else { return };
    let run = RunId::generate();
    let mut writer = Worker::start(command(&mount.store(), &mount.scratch()));
    assert_eq!(writer.ask(&format!("start {run}")), "started");
    mount.signal("STOP");
    assert_eq!(writer.ask("log 50000"), "logged 50000");
    mount.signal("CONT");
    assert_eq!(writer.ask("finish"), "finished 50000 0 []");
    assert_eq!(writer.end().code(), Some(7));
    assert_eq!(steps(&open(&mount, Access::Read).snapshot().expect("snapshot"), run).len(), 50_000);
}

#[test]
fn a_copy_of_a_store_does_not_take_the_journals_from_it() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("scratch")).expect("scratch");
    let run = RunId::generate();
    let mut writer = Worker::start(command(&path("store"), &path("scratch")));
    assert_eq!(writer.ask(&format!("start {run}")), "started");
    assert_eq!(writer.ask("log 1000"), "logged 1000");
    writer.kill();
    let copied = Command::new("cp").arg("-r").args([path("store"), path("copy")]).status().expect("cp");
    assert!(copied.success());
    for store in ["copy", "copy", "store"] {
        let store = Store::open_with(path(store), Access::Create, EngineConfig::default()).expect("open");
        assert!(store.recovery().failures.is_empty());
        let snapshot = store.snapshot().expect("snapshot");
        assert_eq!((state_of(&snapshot, run), steps(&snapshot, run).len()), (RunState::Died, 1000), "{store:?}");
    }
    assert!(is_empty(&path("scratch")));
}
