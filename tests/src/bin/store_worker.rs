//! A process that does with a store what it is told, line by line, and answers each line with one line. At the end of its
//! input it ends as a training process does that knows nothing of metrics: with an exit code of its own, 7.

use std::error::Error;
use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use stepwell_engine::doctor;
use stepwell_engine::{Access, CompactOptions, EngineConfig, Logger, Metric, Run, RunId, RunOptions, Store};
use stepwell_tests::forks;
use stepwell_tests::rows::rows_of;
use stepwell_tests::{METRICS_NAME, metric_of, value_of};

const EXIT_CODE: u8 = 7;

/// The run that this process writes.
struct Training {
    run: Run,
    logger: Logger,
    metric: Metric,
    next_step: i64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let store = std::env::args().nth(1).ok_or("store-worker STORE, commands on standard input")?;
    let mut training = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match obey(Path::new(&store), &words, &mut training) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error: {error}"),
        }
    }
    Ok(ExitCode::from(EXIT_CODE))
}

fn obey(store: &Path, words: &[&str], training: &mut Option<Training>) -> Result<String, Box<dyn Error>> {
    match (words, &mut *training) {
        (["start", run], None) => {
            let run = Store::open(store)?.start_run(RunOptions::new("network", "write").run_id(run.parse()?))?;
            let metric = run.metric(METRICS_NAME, &metric_of(0))?;
            *training = Some(Training { logger: run.logger()?, run, metric, next_step: 0 });
            Ok("started".to_owned())
        }
        (["log", count], Some(training)) => Ok(format!("logged {}", training.log(count.parse()?))),
        (["commit"], Some(training)) => Ok(format!("committed {}", training.run.commit(METRICS_NAME)?.rows)),
        (["finish"], Some(Training { run, .. })) => {
            let report = run.finish()?;
            // With the logger go the journals.
            *training = None;
            Ok(format!("finished {} {} {:?}", report.rows, report.drops, report.warnings))
        }
        (["recover"], _) => {
            let store = Store::open(store)?;
            Ok(format!("recovered {} {:?}", store.recovery().writers.len(), store.recovery().failures))
        }
        (["fork"], Some(_)) => Ok(format!("forked {}", fork()?)),
        (["examine"], _) => {
            let report = doctor::examine(store, None, &mut |_, _| {})?;
            let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind.as_str()).collect();
            let repairs = report.findings.iter().filter(|finding| finding.repair.is_some()).count();
            Ok(format!("{} alive, {repairs} repairs of {kinds:?}", report.alive))
        }
        (["repair"], _) => {
            let report = doctor::repair(store, None, &EngineConfig::from_env()?, &mut |_, _| {})?;
            Ok(format!("{} left, {:?} failed", report.left().count(), report.failed))
        }
        (["compact"], _) => {
            let mut options = CompactOptions::default();
            options.remove_now = true;
            let report = Store::open(store)?.compact(&options, &mut |_, _| {})?;
            let merged = report.compacted.iter().map(|name| (name.segments_before, name.segments_after));
            let merged: Vec<_> = merged.collect();
            let why: Vec<_> = report.skipped.iter().map(|skipped| &skipped.why).collect();
            Ok(format!("merged {merged:?} removed {} skipped {why:?} failed {:?}", report.removed.0, report.failures))
        }
        (["look", run], _) => look(store, run.parse()?),
        _ => Err(format!("{words:?} is no command, or not one for now").into()),
    }
}

/// Forks a child that does nothing. It has let go of the locks of its parent once its own code runs, which it tells.
fn fork() -> Result<forks::Pid, Box<dyn Error>> {
    let (mut begun, mut tell) = std::io::pipe()?;
    let child = forks::fork(|| {
        tell.write_all(b"!")?;
        forks::wait_for_the_end()
    })?;
    begun.read_exact(&mut [0])?;
    Ok(child)
}

impl Training {
    /// Logs `count` records; how many of the calls returned that they were taken.
    fn log(&mut self, count: i64) -> usize {
        let steps = self.next_step..self.next_step + count;
        self.next_step = steps.end;
        steps.filter(|step| self.logger.log(self.metric, *step, value_of(0, *step)).is_ok()).count()
    }
}

/// State, rows and losses of a run, as a reader sees them.
fn look(store: &Path, run: RunId) -> Result<String, Box<dyn Error>> {
    let snapshot = Store::open_with(store, Access::Read, EngineConfig::default())?.snapshot()?;
    let info = snapshot.runs().iter().find(|info| info.run_id == run).ok_or("there is no such run")?;
    let gaps = snapshot.gaps()?;
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.gap.kind.as_str(), gap.gap.records)).collect();
    Ok(format!("{} {} {gaps:?}", info.state.as_str(), rows_of(&snapshot, run)?.len()))
}
