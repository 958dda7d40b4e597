//! One history: a run is logged to, synced, committed and perhaps finished, until its disk stops; then it is recovered.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::SimDisk;
use super::random::Random;
use super::readback::{Rows, live_rows, stored_rows};
use crate::config::EngineConfig;
use crate::error::LogError;
use crate::events::{EVENT_FORMAT, FinishState, WriterStarted};
use crate::host::current_process;
use crate::ids::{RunId, WriterId};
use crate::layout::Layout;
use crate::recovery::recover_writer;
use crate::run::{Logger, Metric, WhenFull};
use crate::storage::Storage;
use crate::writer::{WriterCore, WriterSetup};

/// What becomes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The process dies; the disk keeps everything.
    Death,
    /// The power is cut; the disk keeps what was synced, and what it pleases of the rest.
    PowerCut,
    /// Operations fail now and then; in the end the process dies, or the power is cut.
    Failures,
}

/// What became of the records.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub histories: u64,
    pub acknowledged: u64,
    pub kept: u64,
    /// Not reported durable before a power cut, and gone.
    pub lost: u64,
    /// Recoveries that were cut short.
    pub recoveries_cut: u64,
}

impl Outcome {
    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.acknowledged += other.acknowledged;
        self.kept += other.kept;
        self.lost += other.lost;
        self.recoveries_cut += other.recoveries_cut;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { histories, acknowledged, kept, lost, recoveries_cut } = self;
        write!(
            f,
            "{histories} cases, {acknowledged} records acknowledged, {kept} kept, {lost} lost within the promise, 0 lost \
             beyond it, 0 invented; {recoveries_cut} recoveries cut short"
        )
    }
}

const NAMES: [(&str, &str); 4] = [("train", "loss"), ("train", "accuracy"), ("eval", "loss"), ("eval", "time/step")];

/// Plays the history of a seed.
///
/// # Panics
/// When a promise is broken.
pub(super) fn play(seed: u64, fate: Fate) -> Outcome {
    let mut random = Random::new(seed);
    let disk = SimDisk::new();
    let mut history = History::begin(&disk, &mut random, fate);
    disk.stop_after(random.skewed(11));
    history.run(&mut random);
    disk.stop();
    let mut outcome = Outcome { histories: 1, acknowledged: history.logged.len() as u64, ..Outcome::default() };
    let Ended { run, writer, logged, durable, config } = history.end();
    let power_cut = fate == Fate::PowerCut || fate == Fate::Failures && random.coin();
    let mut disk = after(&disk, power_cut, &mut random);
    // Recovery may be cut short too, and again.
    while random.below(3) == 0 {
        disk.stop_after(random.below(80));
        let _ = recover_writer(&Layout::on(Arc::new(disk.clone()), "/store"), &config, run, writer);
        disk = after(&disk, power_cut, &mut random);
        outcome.recoveries_cut += 1;
    }
    let layout = Layout::on(Arc::new(disk.clone()), "/store");
    let known = layout.storage().exists(&layout.events(run, writer));
    if known {
        match recover_writer(&layout, &config, run, writer) {
            Ok(recovered) => assert!(recovered.is_some(), "nobody else holds the lock"),
            Err(error) => assert!(durable.is_empty(), "recovery fails: {error}"),
        }
    }
    let (rows, gaps) = if known { stored_rows(&layout, run, writer) } else { Default::default() };
    for (seq, row) in &rows {
        assert_eq!(logged.get(seq), Some(row), "a record that was not logged so: seq {seq:#x}");
    }
    for (seq, row) in &logged {
        let safe = !power_cut || durable.get(&(seq >> 44)).is_some_and(|end| seq < end);
        assert!(!safe || rows.contains_key(seq), "{row:?} with seq {seq:#x} is lost; durable {durable:x?}");
    }
    outcome.kept = rows.len().min(logged.len()) as u64;
    outcome.lost = logged.keys().filter(|seq| !rows.contains_key(seq)).count() as u64;
    assert!(
        outcome.lost == 0 || gaps > 0 || durable.is_empty(),
        "{} records are lost, and no gap tells it",
        outcome.lost
    );
    if known {
        check_recovered_is_durable(&disk, run, writer, &rows, &mut random);
    }
    outcome
}

/// Once a recovery has ended, a power cut takes nothing away.
fn check_recovered_is_durable(disk: &SimDisk, run: RunId, writer: WriterId, rows: &Rows, random: &mut Random) {
    let layout = Layout::on(Arc::new(disk.after_power_cut(random)), "/store");
    if rows.is_empty() {
        return;
    }
    let (again, _) = stored_rows(&layout, run, writer);
    assert_eq!(again.len(), rows.len(), "records of a finished recovery are lost in a power cut");
}

fn after(disk: &SimDisk, power_cut: bool, random: &mut Random) -> SimDisk {
    if power_cut { disk.after_power_cut(random) } else { disk.after_death() }
}

pub(super) struct History {
    pub disk: SimDisk,
    layout: Layout,
    pub config: EngineConfig,
    pub run: RunId,
    pub writer: WriterId,
    fate: Fate,
    /// `None` when the disk failed before the writer had started.
    core: Option<Arc<WriterCore>>,
    pub loggers: Vec<Logger>,
    pub metrics: Vec<Metric>,
    /// Every record whose call returned, by sequence number.
    logged: Rows,
    /// Per ring: sequence number below which records were reported to be on the device.
    durable: BTreeMap<i64, i64>,
    pub now: Instant,
}

struct Ended {
    run: RunId,
    writer: WriterId,
    logged: Rows,
    durable: BTreeMap<i64, i64>,
    config: EngineConfig,
}

impl History {
    pub(super) fn begin(disk: &SimDisk, random: &mut Random, fate: Fate) -> Self {
        let layout = Layout::on(Arc::new(disk.clone()), "/store");
        let (run, writer) = (RunId::generate(), WriterId::generate(0, 0));
        for folder in [PathBuf::from("/store"), layout.runs(), layout.run(run)] {
            disk.create_folder(&folder).expect("an empty disk");
            disk.sync_folder(folder.parent().expect("below the root")).expect("an empty disk");
        }
        let config = EngineConfig {
            ring_records: 4096,
            definition_bytes: 4096,
            segment_rows_max: 1024 << random.below(3),
            segment_age: Duration::from_millis(50 << random.below(6)),
            sync_interval: Duration::from_millis(20),
            seal_deadline: Duration::from_millis(10),
            wait_limit: Duration::ZERO,
            replaced_grace: Duration::ZERO,
            compact_at_finish_rows_max: 0,
            journal_folder: None,
        };
        Self {
            disk: disk.clone(),
            layout,
            config,
            run,
            writer,
            fate,
            core: None,
            loggers: Vec::new(),
            metrics: Vec::new(),
            logged: Rows::new(),
            durable: BTreeMap::new(),
            now: Instant::now(),
        }
    }

    pub(super) fn start(&mut self) -> Option<Arc<WriterCore>> {
        let mut process = current_process();
        if self.fate != Fate::Death {
            "before the power cut".clone_into(&mut process.boot_id);
        }
        let started = WriterStarted {
            format: EVENT_FORMAT,
            run_id: self.run,
            writer: self.writer,
            pipeline: "p".to_owned(),
            stage: "s".to_owned(),
            name: None,
            started: 1,
            process,
            version: "0".to_owned(),
            command: String::new(),
            git_repo: None,
            git_commit: None,
            git_branch: None,
            journals: None,
        };
        let (layout, config) = (self.layout.clone(), self.config.clone());
        let setup = WriterSetup { layout, config, started, when_full: WhenFull::Fail };
        let core = WriterCore::start_unattended(setup, None).ok()?;
        for (name, metric) in NAMES {
            self.metrics.push(core.metric(name, metric).expect("a short list"));
        }
        self.loggers.extend(core.logger());
        Some(core)
    }

    fn run(&mut self, random: &mut Random) {
        self.core = self.start();
        let Some(core) = self.core.clone() else { return };
        for _ in 0..random.below(120) {
            if self.disk.has_stopped() {
                return;
            }
            if self.fate == Fate::Failures && random.below(4) == 0 {
                let kinds =
                    [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::Interrupted, ErrorKind::Other];
                self.disk.fail_after(random.below(12), kinds[random.below(4) as usize]);
            }
            if !self.act(&core, random) {
                return;
            }
            if !self.disk.has_stopped() {
                self.note_durable();
            }
        }
    }

    /// One thing that a program or the sealer does; `false` once the run is finished.
    fn act(&mut self, core: &Arc<WriterCore>, random: &mut Random) -> bool {
        self.now += Duration::from_millis(random.below(40));
        match random.below(24) {
            0..=9 => self.log(random),
            10..=15 => core.tick(self.now),
            16 | 17 => {
                let logged = core.sync().is_ok();
                self.all_durable_if(logged);
            }
            18 => {
                // It covers every metrics name: all segments are written before one name is registered.
                let committed = core.commit(NAMES[random.below(4) as usize].0).is_ok();
                self.all_durable_if(committed);
            }
            19 if self.loggers.len() < 3 => self.loggers.extend(core.logger()),
            20 if self.loggers.len() > 1 => drop(self.loggers.pop()),
            21 if !self.disk.has_stopped() => self.check_live(),
            22 if random.below(8) == 0 => {
                if random.coin() {
                    self.loggers.clear();
                }
                let finished = core.finish(FinishState::Finished).is_ok_and(|outcome| outcome.warnings.is_empty());
                self.all_durable_if(finished);
                self.loggers.clear();
                return false;
            }
            _ => {}
        }
        true
    }

    fn log(&mut self, random: &mut Random) {
        if self.loggers.is_empty() {
            return;
        }
        let chosen = random.below(self.loggers.len() as u64) as usize;
        let logger = &mut self.loggers[chosen];
        let count = 1 + random.skewed(12);
        for _ in 0..count {
            // A machine that has stopped logs nothing; the slow path of a call may be what stopped it.
            if self.disk.has_stopped() {
                return;
            }
            let name = random.below(4) as usize;
            // Steps go back and repeat now and then.
            let step = (self.logged.len() as i64) - if random.below(50) == 0 { random.below(100) as i64 } else { 0 };
            let value = if random.below(100) == 0 { f64::NAN } else { random.number() as f64 };
            match logger.log(self.metrics[name], step, value) {
                Ok(()) => {
                    // Asked after the call, which may have gone on in another journal.
                    let seq = logger.next_seq() - 1;
                    let (metrics_name, metric) = NAMES[name];
                    let row = (format!("{metrics_name} {metric}"), step, value.to_bits());
                    assert!(self.logged.insert(seq, row).is_none(), "a sequence number is given twice");
                }
                Err(LogError::Full) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn note_durable(&mut self) {
        for logger in &self.loggers {
            let end = logger.durable_seq();
            let known = self.durable.entry(end >> 44).or_insert(end);
            *known = end.max(*known);
        }
        self.durable.retain(|ring, end| *end > ring << 44);
    }

    fn all_durable_if(&mut self, true_so: bool) {
        if true_so {
            for seq in self.logged.keys() {
                self.durable.insert(seq >> 44, seq + 1);
            }
        }
    }

    /// Another process reads the run while it is written.
    fn check_live(&self) {
        if self.fate == Fate::Failures {
            return;
        }
        let rows = live_rows(&self.layout, self.run, self.writer);
        if let Some(rows) = rows
            && !self.disk.has_stopped()
        {
            assert!(rows == self.logged, "a reader sees {} of {} records", rows.len(), self.logged.len());
        }
    }

    fn end(self) -> Ended {
        let Self { run, writer, logged, durable, config, .. } = self;
        Ended { run, writer, logged, durable, config }
    }
}
