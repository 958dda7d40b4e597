//! Helper processes of the campaigns, and what is asked of a store after them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use stepwell_engine::events::GapKind;
use stepwell_engine::{Access, RunId, RunInfo, RunState, Snapshot, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::control::{Control, wait_until};
use stepwell_tests::lanes::LaneRows;
use stepwell_tests::tally::Tally;
use stepwell_tests::tight_config;

/// A child process that is killed when it is dropped.
pub struct Helper(pub Child);

impl Helper {
    pub fn start(program: &str, words: &[&str]) -> Self {
        Self(Command::new(program).args(words).spawn().expect("start the helper"))
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    pub fn kill(&mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("reaped");
    }

    /// Waits for its end; a helper that hangs is killed when it is dropped.
    pub fn succeeds(&mut self) {
        let mut status = None;
        wait_until("the helper's end", || {
            status = self.0.try_wait().expect("reaped");
            status.is_some()
        });
        let status = status.expect("it has ended");
        assert!(status.success(), "the helper ended with {status}");
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `process-writer` that logs lanes of its own.
pub struct Writer {
    pub helper: Helper,
    pub page: Acknowledgements,
    pub control: Control,
    pub lane: usize,
    pub threads: usize,
}

/// What a writer is started with.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Folder of the store and the pages.
    pub folder: &'a Path,
    pub run: RunId,
    pub rank: u32,
    /// First lane; also tells the pages of writers apart.
    pub lane: usize,
    pub threads: usize,
    pub pause_micros: u64,
}

/// The store of a campaign.
pub fn store_of(folder: &Path) -> PathBuf {
    folder.join("store")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Writer {
    /// Starts a writer, by way of the program and words in `before`.
    pub fn start_by(before: &[&str], setup: Setup<'_>) -> Self {
        let Setup { folder, run, rank, lane, threads, pause_micros } = setup;
        let (page, control) = (folder.join(format!("page{lane}")), folder.join(format!("control{lane}")));
        let program = env!("CARGO_BIN_EXE_process-writer");
        let numbers = [rank as usize, lane, threads, pause_micros as usize].map(|number| number.to_string());
        let [rank, lane_text, threads_text, pause] = numbers.each_ref().map(String::as_str);
        let (store, run) = (store_of(folder), run.to_string());
        let own =
            [program, "write", text(&store), &run, rank, text(&page), text(&control), lane_text, threads_text, pause];
        let words = [before, &own].concat();
        Self {
            page: Acknowledgements::open(&page).expect("page"),
            control: Control::open(&control).expect("control"),
            helper: Helper::start(words[0], &words[1..]),
            lane,
            threads,
        }
    }

    pub fn start(setup: Setup<'_>) -> Self {
        Self::start_by(&[], setup)
    }

    /// Waits until `records` more were acknowledged by every thread.
    pub fn await_records(&self, records: u64) {
        for thread in 0..self.threads {
            let before = self.page.of(thread);
            wait_until("records", || self.page.of(thread) >= before + records);
        }
    }

    pub fn finish(&mut self) {
        self.control.order(1);
        self.helper.succeeds();
    }

    /// Compares what it acknowledged with what is there.
    pub fn count(&self, rows: &LaneRows, tally: &mut Tally) {
        rows.count_lanes(self.lane, self.threads, &self.page, tally);
    }
}

/// Opens for writing, with recovery.
pub fn open(folder: &Path) -> Store {
    let store = Store::open_with(store_of(folder), Access::Create, tight_config(4096)).expect("open and recover");
    assert!(store.recovery().failures.is_empty(), "{:?}", store.recovery().failures);
    store
}

/// What a reader sees.
pub fn look(folder: &Path) -> Snapshot {
    let store = Store::open_with(store_of(folder), Access::Read, tight_config(4096)).expect("open for reading");
    store.snapshot().expect("snapshot")
}

pub fn info_of(snapshot: &Snapshot, run: RunId) -> RunInfo {
    snapshot.runs().iter().find(|info| info.run_id == run).expect("the run is known").clone()
}

/// Everything is in segments, whole and as registered; of the runs with a state, the state is that.
pub fn check_store(store: &Store, states: &[(RunId, RunState)]) -> Snapshot {
    let damaged = store.verify(&mut |_, _| {}).expect("verify").damaged;
    assert!(damaged.is_empty(), "{damaged:?}");
    let snapshot = store.snapshot().expect("snapshot");
    for (run, state) in states {
        assert_eq!(info_of(&snapshot, *run).state, *state, "{run}");
    }
    // A writer of another boot is told as one whose machine went down; that no record is missing is for the caller to check.
    let gaps = snapshot.gaps().expect("gaps");
    assert!(gaps.iter().all(|gap| gap.gap.kind == GapKind::MachineDown && gap.gap.records == 0), "{gaps:?}");
    snapshot
}
