//! Logs from several threads, commits and asks, and forks at random moments meanwhile. Each child does one of the things
//! that children do; what it finds wrong goes to its exit status, and from there to the file `failures`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{Access, LogError, Logger, Metric, Run, RunId, RunOptions, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::forks::{self, Ended, Pid};
use stepwell_tests::lanes::{Fault, Lane};
use stepwell_tests::random::Random;
use stepwell_tests::storm::{CHILD_LANES, CHILD_RECORDS, Deed, OWN_LANE, THREADS};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

/// Children that live at the same time.
const CHILDREN_MAX: usize = 4;
/// Runs that are started and dropped meanwhile, at most: every child indexes them.
const BRIEF_RUNS_MAX: usize = 500;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [folder, run, seed, forks, end] = words.as_slice() else {
        return Err("fork-storm FOLDER RUN SEED FORKS finish|exit|abort|kill".into());
    };
    let folder = Path::new(folder);
    let run: RunId = run.parse()?;
    let store = Store::open_with(folder.join("store"), Access::Create, tight_config(4096))?;
    let run = store.start_run(RunOptions::new("processes", "fork").run_id(run))?;
    let page = Acknowledgements::open(&folder.join("page"))?;
    let stop = AtomicBool::new(false);
    let mut storm = Storm {
        folder,
        log: Some(run.logger()?),
        metric: run.metric(METRICS_NAME, &metric_of(OWN_LANE))?,
        run: Some(run.clone()),
        store: Some(store.clone()),
        step: 0,
        page: &page,
        random: Random::new(seed.parse()?),
        children: Vec::new(),
    };
    std::thread::scope(|scope| {
        for lane in 0..THREADS {
            let lane = Lane { lane, page: &page, counter: lane, pause: Duration::from_micros(300) };
            let (run, stop) = (&run, &stop);
            scope.spawn(move || lane.log(run, stop).expect("the parent logs on"));
        }
        scope.spawn(|| commit_and_ask(&store, &run, &stop));
        scope.spawn(|| start_and_drop(&store, &stop));
        let outcome = storm.rage(forks.parse()?);
        stop.store(true, Ordering::Release);
        outcome
    })?;
    // The page has all that was acknowledged; from here on nothing is logged.
    match *end {
        "finish" => {
            drop(storm.log.take());
            let report = run.finish()?;
            if report.drops > 0 || !report.warnings.is_empty() {
                return Err(format!("{report:?}").into());
            }
            Ok(())
        }
        "exit" => std::process::exit(0),
        "abort" => std::process::abort(),
        _ => forks::end_by(libc::SIGKILL),
    }
}

/// Keeps the sealer, the event log and the catalog busy.
fn commit_and_ask(store: &Store, run: &Run, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        match run.commit(METRICS_NAME) {
            Ok(_) | Err(stepwell_engine::Error::NotFound { .. }) => {}
            Err(error) => panic!("commit: {error}"),
        }
        match store.snapshot() {
            // A reader that meets segments at every turn gives up; it is told so, and asks again.
            Ok(_) | Err(stepwell_engine::Error::CommittedTooFast { .. }) => {}
            Err(error) => panic!("snapshot: {error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs that start and go without an end: a child that is forked in the middle of a start must not keep one "running".
fn start_and_drop(store: &Store, stop: &AtomicBool) {
    for _ in 0..BRIEF_RUNS_MAX {
        if stop.load(Ordering::Acquire) {
            return;
        }
        drop(store.start_run(RunOptions::new("processes", "brief")).expect("start"));
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Storm<'a> {
    folder: &'a Path,
    run: Option<Run>,
    log: Option<Logger>,
    store: Option<Store>,
    metric: Metric,
    step: i64,
    page: &'a Acknowledgements,
    random: Random,
    children: Vec<(u64, Deed, Pid)>,
}

impl Storm<'_> {
    fn rage(&mut self, forks: u64) -> Result<(), Fault> {
        for number in 0..forks {
            self.log_some()?;
            let deed = Deed::ALL[self.random.below(Deed::ALL.len() as u64) as usize];
            if self.children.len() >= CHILDREN_MAX {
                self.reap_first()?;
            }
            std::thread::sleep(Duration::from_micros(self.random.below(3_000)));
            let choice = self.random.number();
            match deed {
                Deed::Exec => self.spawn(choice)?,
                deed => {
                    let pid = forks::fork(|| self.as_child(number, deed, choice))?;
                    if deed != Deed::Outlive {
                        self.children.push((number, deed, pid));
                    }
                }
            }
        }
        while !self.children.is_empty() {
            self.reap_first()?;
        }
        self.log_some()
    }

    /// The forking thread has a logger of its own, which the child inherits.
    fn log_some(&mut self) -> Result<(), Fault> {
        let log = self.log.as_mut().ok_or("the logger is gone")?;
        for _ in 0..1 + self.random.below(200) {
            log.log(self.metric, self.step, value_of(OWN_LANE, self.step))?;
            self.step += 1;
            self.page.acknowledge(OWN_LANE, self.step as u64);
        }
        Ok(())
    }

    fn reap_first(&mut self) -> Result<(), Fault> {
        let (number, deed, pid) = self.children.remove(0);
        let ended = forks::wait(pid)?;
        if ended != deed.expected_end() {
            note(self.folder, "failures", &format!("fork {number}, {deed:?}: {ended:?}\n"));
        }
        Ok(())
    }

    /// Programs started the usual two ways: `fork` and `exec` in turn, and `posix_spawn`, which is `vfork` and `exec`.
    fn spawn(&mut self, choice: u64) -> Result<(), Fault> {
        let lives_on = choice.is_multiple_of(5);
        let mut command = Command::new(if lives_on { "sleep" } else { "true" });
        command.args(lives_on.then_some("600"));
        if choice.is_multiple_of(2) {
            forks::spawn_by_fork(&mut command);
        }
        let mut child = command.spawn()?;
        if lives_on {
            note(self.folder, "survivors", &format!("{}\n", child.id()));
        } else {
            child.wait()?;
        }
        Ok(())
    }

    fn as_child(&mut self, number: u64, deed: Deed, choice: u64) -> Result<(), Fault> {
        match deed {
            Deed::Refused => self.is_refused(),
            Deed::OwnWriter => self.own_writer(number, choice, true),
            Deed::Killed => forks::end_by(libc::SIGKILL),
            Deed::Outlive => {
                note(self.folder, "survivors", &format!("{}\n", std::process::id()));
                self.is_refused()?;
                forks::live_on()
            }
            Deed::DropAll => {
                drop(self.log.take());
                drop(self.run.take());
                drop(self.store.take());
                Ok(())
            }
            Deed::Exit => std::process::exit(0),
            Deed::Abort => forks::end_by(libc::SIGABRT),
            Deed::Grandchild => {
                // Half of them are orphans, which may come to it when the first parent has ended.
                let orphan = choice.is_multiple_of(2);
                let pid = forks::fork(|| self.is_refused().and_then(|()| self.own_writer(number, choice, !orphan)))?;
                note(self.folder, "orphans", &format!("{pid}\n"));
                match orphan || matches!(forks::wait(pid)?, Ended::Exited(0)) {
                    true => Ok(()),
                    false => Err("the grandchild failed".into()),
                }
            }
            Deed::InheritedStore => self.use_inherited_store(),
            Deed::Exec => Err("exec needs no child of ours".into()),
        }
    }

    /// Everything of the parent's run says that it is the parent's.
    fn is_refused(&mut self) -> Result<(), Fault> {
        let run = self.run.as_ref().ok_or("no run")?;
        let log = self.log.as_mut().ok_or("no logger")?;
        let forked = |name: &str, result: stepwell_engine::Result<()>| match result {
            Err(stepwell_engine::Error::Forked { .. }) => Ok(()),
            other => Err(format!("{name}: {other:?}")),
        };
        for step in 0..3 {
            let logged = log.log(self.metric, -1 - step, f64::NAN);
            if logged != Err(LogError::Forked) {
                return Err(format!("log: {logged:?}").into());
            }
        }
        forked("metric", run.metric("child", "x").map(drop))?;
        forked("logger", run.logger().map(drop))?;
        forked("commit", run.commit(METRICS_NAME).map(drop))?;
        forked("sync", run.sync())?;
        forked("set_tags", run.set_tags([("child".to_owned(), "yes".to_owned())].into()))?;
        forked("finish", run.finish().map(drop))?;
        run.stats();
        Ok(())
    }

    /// A child that opens the store and logs to a run of its own, or to the parent's as another rank.
    fn own_writer(&self, number: u64, choice: u64, parent_lives: bool) -> Result<(), Fault> {
        let store = Store::open_with(self.folder.join("store"), Access::Create, tight_config(4096))?;
        if !store.recovery().failures.is_empty() {
            return Err(format!("{:?}", store.recovery().failures).into());
        }
        let parent = self.run.as_ref().ok_or("no run")?.id();
        let mut recovered = store.recovery().writers.iter();
        if parent_lives && recovered.any(|writer| (writer.run_id, writer.writer.rank) == (parent, 0)) {
            return Err("the child recovered its parent, which lives".into());
        }
        let options = RunOptions::new("processes", "fork");
        let options = if choice.is_multiple_of(2) { options.run_id(parent).rank(1 + number as i32) } else { options };
        let run = store.start_run(options)?;
        let lane = CHILD_LANES + number as usize;
        let page = Acknowledgements::open(&child_page(self.folder, run.id(), lane))?;
        let metric = run.metric(METRICS_NAME, &metric_of(lane))?;
        let mut log = run.logger()?;
        for step in 0..CHILD_RECORDS {
            log.log(metric, step, value_of(lane, step))?;
            page.acknowledge(0, step as u64 + 1);
        }
        match choice / 2 % 3 {
            0 => {
                drop(log);
                run.finish().map(drop).map_err(Into::into)
            }
            1 => forks::exit_at_once(0),
            _ => Ok(()),
        }
    }

    /// Asking the store that was opened before the fork works: it does not hang, nor harm the parent.
    fn use_inherited_store(&self) -> Result<(), Fault> {
        let store = self.store.as_ref().ok_or("no store")?;
        match store.snapshot() {
            Ok(_) | Err(stepwell_engine::Error::CommittedTooFast { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn child_page(folder: &Path, run: RunId, lane: usize) -> PathBuf {
    folder.join(format!("child.{run}.{lane}"))
}

fn note(folder: &Path, file: &str, line: &str) {
    use std::io::Write;
    let file = fs::OpenOptions::new().create(true).append(true).open(folder.join(file));
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("note");
}
