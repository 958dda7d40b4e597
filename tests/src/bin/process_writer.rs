//! A writer that a campaign steers through shared pages: it logs lanes, claims runs at the same moment as another one, or
//! opens stores that need recovery at the same moment as another one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{Access, Run, RunId, RunOptions, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::control::Control;
use stepwell_tests::forks::{self, Ended};
use stepwell_tests::lanes::{Fault, log_lanes};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

/// Records per claimed run; both sides know it.
const CLAIM_RECORDS: i64 = 300;
/// Records that each of two namesakes logs: twice what a ring holds.
const NEST_RECORDS: i64 = 8192;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", store, run, rank, page, control, lane, threads, pause_micros] => {
            let (page, control) = (Acknowledgements::open(Path::new(page))?, Control::open(Path::new(control))?);
            let options = RunOptions::new("processes", "write").run_id(run.parse()?).rank(rank.parse()?);
            let pause = Duration::from_micros(pause_micros.parse()?);
            write(Path::new(store), options, &page, &control, (lane.parse()?, threads.parse()?, pause))
        }
        ["claim", store, control, lane, runs @ ..] => {
            claim(Path::new(store), &Control::open(Path::new(control))?, lane.parse()?, runs)
        }
        ["recover", control, stores @ ..] => recover(&Control::open(Path::new(control))?, stores),
        ["nest", store, run, page] => nest(Path::new(store), run.parse()?, &Acknowledgements::open(Path::new(page))?),
        _ => Err("process-writer write STORE RUN RANK PAGE CONTROL LANE THREADS PAUSE_MICROS | \
                  claim STORE CONTROL LANE RUN... | recover CONTROL STORE... | nest STORE RUN PAGE"
            .into()),
    }
}

/// State 1: the run has started, its attempt is told. Order 1: finish it. State 2: it is finished.
fn write(
    store: &Path,
    options: RunOptions,
    page: &Acknowledgements,
    control: &Control,
    (lane, threads, pause): (usize, usize, Duration),
) -> Result<(), Fault> {
    let store = Store::open_with(store, Access::Create, tight_config(4096))?;
    let run = store.start_run(options)?;
    control.tell_figure(run.writer().attempt.cast_unsigned().into());
    control.tell(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let logging = scope.spawn(|| log_lanes(&run, page, lane, threads, pause, &stop));
        while control.ordered() < 1 && !logging.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        stop.store(true, Ordering::Release);
        logging.join().map_err(|_| "logging panicked")?
    })?;
    let report = run.finish()?;
    if !report.warnings.is_empty() || report.drops > 0 {
        return Err(format!("{report:?}").into());
    }
    control.tell(2);
    Ok(())
}

/// State `n`: ready for the nth run. Order `n`: start it now. A claim that was refused is told as a figure.
fn claim(store: &Path, control: &Control, lane: usize, runs: &[&str]) -> Result<(), Fault> {
    let store = Store::open_with(store, Access::Create, tight_config(4096))?;
    let mut refused = 0;
    for (round, run) in (1..).zip(runs) {
        let options = RunOptions::new("processes", "claim").run_id(run.parse()?);
        control.tell(round);
        control.await_order(round);
        let run = match store.start_run(options) {
            Ok(run) => run,
            Err(error) => {
                eprintln!("round {round}: refused: {error}");
                refused += 1;
                control.tell_figure(refused);
                continue;
            }
        };
        let metric = run.metric(METRICS_NAME, &metric_of(lane))?;
        let mut log = run.logger()?;
        for step in 0..CLAIM_RECORDS {
            log.log(metric, step, value_of(lane, step))?;
        }
        drop(log);
        run.finish()?;
    }
    control.tell(runs.len() as u64 + 1);
    Ok(())
}

/// State `n`: ready for the nth store. Order `n`: open it now.
fn recover(control: &Control, stores: &[&str]) -> Result<(), Fault> {
    for (round, store) in (1..).zip(stores) {
        control.tell(round);
        control.await_order(round);
        let store = Store::open_with(store, Access::Create, tight_config(4096))?;
        if !store.recovery().failures.is_empty() {
            return Err(format!("{:?}", store.recovery().failures).into());
        }
    }
    control.tell(stores.len() as u64 + 1);
    Ok(())
}

/// The first process of a container has a child in a container of its own: both have number 1.
fn nest(store: &Path, run: RunId, page: &Acknowledgements) -> Result<(), Fault> {
    let store = Store::open_with(store, Access::Create, tight_config(4096))?;
    let run = store.start_run(RunOptions::new("processes", "nest").run_id(run))?;
    let metric = run.metric(METRICS_NAME, &metric_of(0))?;
    let mut log = run.logger()?;
    for step in 0..NEST_RECORDS {
        if step == NEST_RECORDS / 2 {
            forks::new_process_namespace()?;
            let child = forks::fork(|| as_namesake(&store, &run))?;
            if forks::wait(child)? != Ended::Exited(0) {
                return Err("the child failed".into());
            }
        }
        log.log(metric, step, value_of(0, step))?;
        page.acknowledge(0, step as u64 + 1);
    }
    Ok(())
}

fn as_namesake(store: &Store, run: &Run) -> Result<(), Fault> {
    if std::process::id() != 1 {
        return Err("the child is not the first process of its container".into());
    }
    for refused in [run.commit(METRICS_NAME).map(drop), run.logger().map(drop), run.finish().map(drop)] {
        if !matches!(refused, Err(stepwell_engine::Error::Forked { .. })) {
            return Err(format!("it passes for its parent: {refused:?}").into());
        }
    }
    // Its own writer has a sealer of its own: more records than a ring holds go through.
    let own = store.start_run(RunOptions::new("processes", "nested"))?;
    let metric = own.metric(METRICS_NAME, &metric_of(1))?;
    let mut log = own.logger()?;
    for step in 0..NEST_RECORDS {
        log.log(metric, step, value_of(1, step))?;
    }
    drop(log);
    own.finish()?;
    Ok(())
}
