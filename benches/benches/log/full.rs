//! What a call costs when the ring is full: waiting for the sealer, or dropping the record.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use stepwell_benches::{Result, check_count, cpu};
use stepwell_engine::{Access, EngineConfig, LogError, RunOptions, Store, WhenFull};

const METRICS_NAME: &str = "training_metrics";
/// Records of the ring that stays full: the smallest there is.
const SMALL_RING: u64 = 4096;

/// All that can happen when the ring is full.
///
/// # Errors
/// When a record was neither kept nor counted as dropped.
pub fn full_ring(criterion: &mut Criterion, folder: &Path) -> Result<()> {
    waiting(criterion, folder)?;
    for (name, when_full) in [
        ("a call that drops (DropNewest)", WhenFull::DropNewest),
        ("a call that fails (Fail)", WhenFull::Fail),
        ("a call that drops after a wait in vain (Wait)", WhenFull::Wait),
    ] {
        dropping(criterion, folder, name, when_full)?;
    }
    Ok(())
}

/// Flat out through whole rings, one after the other: wall time, because calls sleep while they wait. The producer then has the pace
/// of the sealer.
fn waiting(criterion: &mut Criterion, folder: &Path) -> Result<()> {
    let config = EngineConfig::default();
    let lap = config.ring_records;
    let store = Store::open_with(folder.join("waiting"), Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "full"))?;
    let metric = run.metric(METRICS_NAME, "loss")?;
    let mut logger = run.logger()?;
    let (mut step, mut failed) = (0, 0_u64);
    let mut group = criterion.benchmark_group("full ring");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(lap));
    group.bench_function("1,048,576 calls that wait where they have to (wall time)", |bencher| {
        bencher.iter_custom(|laps| {
            let begin = Instant::now();
            for _ in 0..laps * lap {
                failed += u64::from(logger.log(metric, step, step as f64).is_err());
                step += 1;
            }
            begin.elapsed()
        });
    });
    group.finish();
    drop(logger);
    let report = run.finish()?;
    println!("  calls that waited: {} of {step}", report.waits);
    check_count("calls that failed", failed, 0)?;
    check_count("records kept", report.rows, step as u64)
}

/// A ring that nothing empties: a file lies where the folder of the segments has to be. Processor time, because the calls do not wait.
fn dropping(criterion: &mut Criterion, folder: &Path, name: &str, when_full: WhenFull) -> Result<()> {
    let mut config = EngineConfig::default();
    config.ring_records = SMALL_RING;
    config.wait_limit = Duration::from_millis(1);
    let store = Store::open_with(folder.join("dropping"), Access::Create, config)?;
    let run = store.start_run(RunOptions::new("bench", "full").when_full(when_full))?;
    let metric = run.metric(METRICS_NAME, "loss")?;
    let mut logger = run.logger()?;
    let obstacle = store.layout().run(run.id()).join(METRICS_NAME);
    std::fs::write(&obstacle, "")?;
    for step in 0..SMALL_RING as i64 {
        logger.log(metric, step, 1.0)?;
    }
    let (mut calls, mut refused) = (0, 0);
    let mut group = criterion.benchmark_group("full ring");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let begin = cpu::of_thread();
            for step in 0..count as i64 {
                refused += u64::from(logger.log(metric, step, 1.0) == Err(LogError::Full));
            }
            calls += count;
            cpu::of_thread() - begin
        });
    });
    group.finish();
    drop(logger);
    std::fs::remove_file(&obstacle)?;
    let told = if when_full == WhenFull::DropNewest { 0 } else { calls };
    check_count("calls that were told of the drop", refused, told)?;
    let report = run.finish()?;
    check_count("records kept", report.rows, SMALL_RING)?;
    check_count("records counted as dropped", report.drops, calls)
}
