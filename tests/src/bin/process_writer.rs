//! A writer that a campaign steers through shared pages: it logs lanes, claims runs at the same moment as another one, or
//! opens stores that need recovery at the same moment as another one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{Access, RunOptions, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::control::Control;
use stepwell_tests::lanes::{Fault, log_lanes};
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

/// Records per claimed run; both sides know it.
const CLAIM_RECORDS: i64 = 300;

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
        _ => Err("process-writer write STORE RUN RANK PAGE CONTROL LANE THREADS PAUSE_MICROS | \
                  claim STORE CONTROL LANE RUN... | recover CONTROL STORE..."
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
