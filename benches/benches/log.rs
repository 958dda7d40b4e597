//! Mean cost of the log call, against the least that such a call could cost.
//!
//! A producer is many times as fast as the sealer. To measure the call, and not the wait for room, calls are timed in
//! batches of 100,000 records into a ring that has room for them; between two batches the ring is emptied by
//! `Run::commit`, outside the timing. The engine's thread seals and syncs all the while. The time is the processor time
//! of the logging thread, so that other work on the machine does not count.

use std::hint::black_box;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use crossbeam_queue::ArrayQueue;
use stepwell_benches::environment::{fresh_folder, profile};
use stepwell_benches::limit::PrivateRing;
use stepwell_benches::workload::{Losses, metric_names};
use stepwell_benches::{Result, check_count, cpu};
use stepwell_engine::{RunOptions, Store};

/// Records logged between two times that the ring is emptied.
const BATCH: u64 = 100_000;
/// Metrics in the rows that are measured.
const ROWS: [usize; 4] = [1, 3, 10, 100];
const METRICS_NAME: &str = "training_metrics";
/// Values that calls take in turn.
const VALUES: usize = 4096;

/// What a queue in private memory would carry: as much as a slot of the engine's ring.
type Record = [u64; 4];

fn main() -> Result<()> {
    println!("profile: {}", profile());
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(2))
        // Of timed calls; emptying the ring takes about twenty times as long.
        .measurement_time(Duration::from_millis(400))
        .configure_from_args();
    let mut values = vec![0.0; VALUES];
    Losses::new(3).fill(0, &mut values);
    floors(&mut criterion.benchmark_group("floor"), &values);
    engine(&mut criterion.benchmark_group("engine"), &values)?;
    criterion.final_summary();
    Ok(())
}

/// Adds up the processor time of `calls` calls, made in batches of at most `batch`: `timed` makes that many from a first
/// step on, `empty` is told how many there were and is not timed.
fn in_batches(calls: u64, batch: u64, mut timed: impl FnMut(i64, u64), mut empty: impl FnMut(u64)) -> Duration {
    let (mut total, mut done) = (Duration::ZERO, 0);
    while done < calls {
        let count = batch.min(calls - done);
        let begin = cpu::of_thread();
        timed(done as i64, count);
        total += cpu::of_thread() - begin;
        empty(count);
        done += count;
    }
    total
}

/// Has the compiler believe that a result is looked at.
fn drop_result<T>(result: T) {
    let _ = black_box(result);
}

fn floors(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64]) {
    let clock = quanta::Clock::new();
    let value = |step: i64| values[step as usize % VALUES];
    let steps = |first: i64, count: u64| first..first + count as i64;
    let record = |step: i64| [1, clock.raw(), step as u64, value(step).to_bits()];
    group.throughput(Throughput::Elements(1));
    group.bench_function("TSC read", |bencher| {
        let read = |first, count| steps(first, count).for_each(|_| drop_result(clock.raw()));
        bencher.iter_custom(|calls| in_batches(calls, BATCH, read, |_| {}));
    });
    let mut ring = PrivateRing::new(1 << 20);
    group.bench_function("TSC read + 32-byte store", |bencher| {
        bencher.iter_custom(|calls| {
            let put = |first, count| steps(first, count).for_each(|step| ring.put(0, step, value(step)));
            let total = in_batches(calls, BATCH, put, |_| {});
            let last = calls.min(BATCH) as usize;
            assert_eq!(ring.in_order(last), last, "records in the ring");
            total
        });
    });
    let queue = ArrayQueue::<Record>::new(BATCH as usize);
    group.bench_function("TSC read + crossbeam ArrayQueue", |bencher| {
        bencher.iter_custom(|calls| {
            let push = |first, count| {
                steps(first, count).for_each(|step| drop_result(queue.push(record(step))));
            };
            let pop = |count| assert_eq!(std::iter::from_fn(|| queue.pop()).count() as u64, count, "records popped");
            in_batches(calls, BATCH, push, pop)
        });
    });
    let (sender, receiver) = mpsc::channel::<Record>();
    group.bench_function("TSC read + std mpsc channel", |bencher| {
        bencher.iter_custom(|calls| {
            let send = |first, count| {
                steps(first, count).for_each(|step| drop_result(sender.send(record(step))));
            };
            let receive = |count| assert_eq!(receiver.try_iter().count() as u64, count, "records received");
            in_batches(calls, BATCH, send, receive)
        });
    });
    let list = Mutex::new(Vec::<Record>::with_capacity(BATCH as usize));
    group.bench_function("TSC read + Mutex<Vec>", |bencher| {
        bencher.iter_custom(|calls| {
            let push = |first, count| {
                steps(first, count).for_each(|step| {
                    let record = record(step);
                    if let Ok(mut list) = list.lock() {
                        list.push(record);
                    }
                });
            };
            let clear = |count| {
                let taken = list.lock().map_or(0, |mut list| list.drain(..).count());
                assert_eq!(taken as u64, count, "records in the list");
            };
            in_batches(calls, BATCH, push, clear)
        });
    });
}

/// The engine's calls; each in a run of its own.
fn engine(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64]) -> Result<()> {
    let folder = fresh_folder()?;
    let store = Store::open(folder.path().join("store"))?;
    for metrics in std::iter::once(None).chain(ROWS.map(Some)) {
        let width = metrics.unwrap_or(1);
        let name = metrics.map_or("log".to_owned(), |metrics| format!("log_row of {metrics}"));
        let run = store.start_run(RunOptions::new("bench", "log").name(&name))?;
        let names = metric_names(width);
        let row = run.row(METRICS_NAME, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let metric = row.metrics()[0];
        let mut logger = run.logger()?;
        let (mut first, mut failed, mut committed) = (0, 0_u64, 0);
        group.throughput(Throughput::Elements(width as u64));
        group.bench_function(&name, |bencher| {
            bencher.iter_custom(|calls| {
                let call = |begin: i64, count: u64| {
                    for step in first + begin..first + begin + count as i64 {
                        let at = step as usize % (VALUES - width);
                        let result = match metrics {
                            None => logger.log(metric, step, values[at]),
                            Some(_) => logger.log_row(&row, step, &values[at..at + width]),
                        };
                        failed += u64::from(result.is_err());
                    }
                };
                let empty = |count: u64| {
                    run.commit(METRICS_NAME).expect("commits");
                    committed += count * width as u64;
                    let stats = run.stats();
                    assert_eq!((stats.rows_committed, stats.waits, stats.drops), (committed, 0, 0));
                };
                let total = in_batches(calls, BATCH / width as u64, call, empty);
                first += calls as i64;
                total
            });
        });
        drop(logger);
        check_count("calls that failed", failed, 0)?;
        check_count("records logged", run.finish()?.rows, committed)?;
    }
    Ok(())
}
