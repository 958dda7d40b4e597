//! Power cuts: a file system loses everything that is not on its device, at a random moment under load. What the writer
//! was promised is there afterwards.
//!
//! `STEPWELL_CUTS` sets the number of cuts per file system (10 by default, 1,000 in `make powercut`); `STEPWELL_SEED`
//! repeats a campaign, as far as the moments of a real machine can be repeated.
//!
//! The cut is `FS_IOC_SHUTDOWN` without a flush of the log, on a loop device over a file in memory. What the file system
//! has sent to the device by then stays: a device that loses what it acknowledged without a flush is not simulated.

mod case;
mod check;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use case::{Case, Moment};
use check::{Cut, Promise, check};
use stepwell_engine::RunId;
use stepwell_tests::board::{Board, Signal, Stage, now_nanos};
use stepwell_tests::random::Random;
use stepwell_tests::settings::{number, seed};
use stepwell_tests::tally::Tally;
use stepwell_tests::volume::{EXT4_ORDERED, EXT4_WRITEBACK, Kind, Volume, XFS, memory_folder, run};

/// Cuts that one file system goes through before it is made anew.
const CUTS_PER_IMAGE: u64 = 8;
/// How long a writer may take to come to a stage.
const PATIENCE: Duration = Duration::from_secs(60);
const CUTS: &str = "STEPWELL_CUTS";
const CUTS_SHORT: u64 = 10;

#[test]
fn ext4_keeps_what_was_promised_through_power_cuts() {
    campaign(EXT4_ORDERED, number(CUTS, CUTS_SHORT));
}

#[test]
fn ext4_with_writeback_keeps_what_was_promised_through_power_cuts() {
    campaign(EXT4_WRITEBACK, if number(CUTS, CUTS_SHORT) == CUTS_SHORT { 2 } else { number(CUTS, CUTS_SHORT) });
}

#[test]
fn xfs_keeps_what_was_promised_through_power_cuts() {
    campaign(XFS, number(CUTS, CUTS_SHORT));
}

struct Campaign {
    volume: Volume,
    /// What lies outside the file system that is cut: boards, and the boot id that writers see.
    outside: tempfile::TempDir,
    random: Random,
    tally: Tally,
    seen: check::Seen,
    /// Runs on the file system as it is, with the rows that were there after their cut.
    earlier: Vec<(RunId, u64)>,
}

/// One campaign at a time: the mount namespace of a writer holds on to all that is mounted when it begins, and the clock's
/// part of the promises is better held against a quiet machine.
static TURN: Mutex<()> = Mutex::new(());

fn campaign(kind: Kind, cuts: u64) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut campaign) = Campaign::new(kind, "power cuts") else { return };
    while campaign.tally.cases < cuts {
        if campaign.tally.cases.is_multiple_of(CUTS_PER_IMAGE) {
            campaign.volume.format().expect("a new file system");
            campaign.earlier.clear();
        }
        let case = Case::draw(&mut campaign.random);
        campaign.one(&case, &[]);
    }
    println!("power cuts, {}: {}", kind.name, campaign.seen);
    campaign.tally.close(&format!("power cuts, {}", kind.name));
    // Two cuts alone may both come before the first record.
    assert!(cuts < 10 || campaign.tally.acknowledged > 0, "the writers logged nothing before they were cut off");
}

// The first sync of a run moved the durable position when the journal was on the device, and synced the event log, which
// says whose journal that is, after it. A cut in between left an event log without content, and recovery could not tell
// what the journal held: up to 26,624 records below the reported position were gone. Here, that moment lasts a while.
#[test]
fn a_position_is_reported_as_durable_only_once_the_event_log_is_on_the_device() {
    const SLOW: [&str; 9] = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_enter=100000",
    ];
    if let Err(why) = run("strace", &["-V"]) {
        return println!("skipped: power cuts while the event log is synced: {why}");
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(mut campaign) = Campaign::new(EXT4_ORDERED, "power cuts while the event log is synced") else { return };
    for _ in 0..2 {
        campaign.one(&Case::first_position(), &SLOW);
    }
    assert!(campaign.seen.promised[0] > 0, "nothing was reported as durable");
    campaign.tally.close("power cuts while the event log is synced");
}

impl Campaign {
    /// `None`: that kind of file system cannot be had here, and the reader was told.
    fn new(kind: Kind, name: &str) -> Option<Self> {
        let volume = Volume::create(kind).map_err(|why| println!("skipped: {name}, {}: {why}", kind.name)).ok()?;
        Some(Self {
            volume,
            outside: memory_folder(),
            random: Random::new(seed(&format!("{name}, {}", kind.name))),
            tally: Tally::default(),
            seen: check::Seen::default(),
            earlier: Vec::new(),
        })
    }

    fn store(&self) -> PathBuf {
        self.volume.path().join("store")
    }

    /// One cut. `wrapper` is a command that is to start the writer.
    fn one(&mut self, case: &Case, wrapper: &[&str]) {
        let run = RunId::generate();
        let board_path = self.outside.path().join(format!("board{}", self.tally.cases));
        let board = Board::open(&board_path).expect("board");
        let mut child = self.writer(wrapper, &case.arguments(&self.store(), run, &board_path));
        self.wait_for(&board, &mut child, case);
        // A promise is one that was made while there was power. The kernel goes on for a moment after the device was shut
        // down: a sync that meets that moment may return without an error, because its transaction is gone.
        let told = (0..case.threads).map(|thread| board.told(thread)).collect();
        let time = self.cut(child);
        self.tally.cases += 1;
        while self.random.below(3) == 0 {
            // After the restart, so with the machine's own boot id.
            let mut command = Command::new(env!("CARGO_BIN_EXE_fault-writer"));
            let command = command.arg("recover").arg(self.store()).stdout(Stdio::null()).stderr(Stdio::null());
            let child = command.spawn().expect("start the recovery");
            std::thread::sleep(Duration::from_micros(self.random.below(12_000)));
            self.cut(child);
            self.seen.recoveries_cut += 1;
        }
        let cut = Cut { run, threads: case.threads, told, time, promise: Promise::of(case), case: format!("{case:?}") };
        check(&self.store(), &cut, &board, &mut self.earlier, &mut self.tally, &mut self.seen);
        std::fs::remove_file(board_path).expect("board removed");
    }

    /// Starts a writer that takes the machine for one that was booted before: `/proc` shows it another boot id.
    fn writer(&self, wrapper: &[&str], arguments: &[String]) -> Child {
        let boot_id = self.outside.path().join("boot_id");
        std::fs::write(&boot_id, "0c1d2e3f-0000-4000-8000-00000000b007\n").expect("boot id");
        let script = "mount --bind \"$0\" /proc/sys/kernel/random/boot_id; exec \"$@\"";
        Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(boot_id)
            .args(wrapper)
            .arg(env!("CARGO_BIN_EXE_fault-writer"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the writer")
    }

    fn wait_for(&mut self, board: &Board, child: &mut Child, case: &Case) {
        let Moment { stage, delay } = case.moment;
        let start = Instant::now();
        while !board.has_reached(stage) {
            assert!(start.elapsed() < PATIENCE, "the writer hangs: {case:?}");
            if let Some(status) = child.try_wait().expect("the writer's state") {
                panic!("the writer ended on its own before the cut: {status}, {case:?}");
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        std::thread::sleep(delay);
        let reached = [Stage::Opened, Stage::Started, Stage::Logging, Stage::Durable, Stage::Done];
        let reached = reached.iter().filter(|stage| board.get(Signal::Stage) >= **stage as u64).count();
        self.seen.reached[reached] += 1;
    }

    /// Cuts the power, ends the writer, and starts the machine again. When the cut began, by the monotonic clock.
    fn cut(&mut self, mut child: Child) -> u64 {
        let time = now_nanos();
        self.volume.cut().expect("FS_IOC_SHUTDOWN");
        child.kill().expect("SIGKILL");
        child.wait().expect("reaped");
        self.volume.unmount().expect("unmounted");
        self.volume.mount().expect("mounted again");
        time
    }
}
