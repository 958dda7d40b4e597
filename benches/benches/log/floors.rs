//! What the log call is measured against: the limit, queues in private memory, and the appender of `tracing`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use crossbeam_queue::ArrayQueue;
use stepwell_benches::limit::PrivateRing;
use stepwell_benches::{Result, check_count};

use crate::{BATCH, Record, THREADS, VALUES, drop_result, in_batches, on_threads};

/// How long the worker of the appender may take for the lines of a batch.
const APPENDER_LIMIT: Duration = Duration::from_secs(60);

/// All floors. Each carries the same 32 bytes with the counter of the processor read for each, but for the appender, which
/// writes lines of text with a time of its own.
///
/// # Errors
/// When a file cannot be made, or when lines were lost.
pub fn floors(criterion: &mut Criterion, values: &[f64], folder: &Path) -> Result<()> {
    let mut group = criterion.benchmark_group("floor");
    let group = &mut group;
    group.throughput(Throughput::Elements(1));
    limits(group, values);
    channels(group, values);
    shared(group, values);
    appender(group, values, &folder.join("tracing.log"))
}

/// Value of a step.
fn value_at(values: &[f64], step: i64) -> f64 {
    values[step as usize % VALUES]
}

/// What a queue carries.
fn record(clock: &quanta::Clock, values: &[f64], step: i64) -> Record {
    [1, clock.raw(), step as u64, value_at(values, step).to_bits()]
}

/// The least that the call could cost.
fn limits(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64]) {
    let clock = quanta::Clock::new();
    let steps = |first: i64, count: u64| first..first + count as i64;
    group.bench_function("TSC read", |bencher| {
        let read = |first, count| steps(first, count).for_each(|_| drop_result(clock.raw()));
        bencher.iter_custom(|calls| in_batches(calls, BATCH, read, |_| {}));
    });
    let mut ring = PrivateRing::new(1 << 20);
    group.bench_function("TSC read + 32-byte store", |bencher| {
        bencher.iter_custom(|calls| {
            let put = |first, count| steps(first, count).for_each(|step| ring.put(0, step, value_at(values, step)));
            let total = in_batches(calls, BATCH, put, |_| {});
            let last = calls.min(BATCH) as usize;
            assert_eq!(ring.in_order(last), last, "records in the ring");
            total
        });
    });
}

/// Queues of one producer.
fn channels(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64]) {
    let clock = quanta::Clock::new();
    let steps = |first: i64, count: u64| first..first + count as i64;
    let (mut producer, mut consumer) = rtrb::RingBuffer::<Record>::new(BATCH as usize);
    group.bench_function("TSC read + rtrb", |bencher| {
        bencher.iter_custom(|calls| {
            let push = |first, count| {
                steps(first, count).for_each(|step| drop_result(producer.push(record(&clock, values, step))));
            };
            let pop = |count| {
                let popped = std::iter::from_fn(|| consumer.pop().ok()).count();
                assert_eq!(popped as u64, count, "records popped");
            };
            in_batches(calls, BATCH, push, pop)
        });
    });
    let (sender, receiver) = mpsc::channel::<Record>();
    group.bench_function("TSC read + std mpsc channel", |bencher| {
        bencher.iter_custom(|calls| {
            let send = |first, count| {
                steps(first, count).for_each(|step| drop_result(sender.send(record(&clock, values, step))));
            };
            let receive = |count| assert_eq!(receiver.try_iter().count() as u64, count, "records received");
            in_batches(calls, BATCH, send, receive)
        });
    });
}

/// Queues that all threads share.
fn shared(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64]) {
    let clock = quanta::Clock::new();
    let most = *THREADS.last().unwrap_or(&1);
    let queue = ArrayQueue::<Record>::new(BATCH as usize * most);
    let push = |_: &mut (), first: i64, count: u64| {
        (first..first + count as i64).for_each(|step| drop_result(queue.push(record(&clock, values, step))));
    };
    let pop = |count: u64| assert_eq!(std::iter::from_fn(|| queue.pop()).count() as u64, count, "records popped");
    for threads in std::iter::once(1).chain(THREADS) {
        group.bench_function(named("TSC read + crossbeam ArrayQueue", threads), |bencher| {
            let mut workers = vec![(); threads];
            bencher.iter_custom(|calls| on_threads(calls, BATCH, &mut workers, push, pop));
        });
    }
    let list = Mutex::new(Vec::<Record>::with_capacity(BATCH as usize * most));
    let push = |_: &mut (), first: i64, count: u64| {
        for step in first..first + count as i64 {
            let record = record(&clock, values, step);
            if let Ok(mut list) = list.lock() {
                list.push(record);
            }
        }
    };
    let clear = |count: u64| {
        let taken = list.lock().map_or(0, |mut list| list.drain(..).count());
        assert_eq!(taken as u64, count, "records in the list");
    };
    for threads in std::iter::once(1).chain(THREADS) {
        group.bench_function(named("TSC read + Mutex<Vec>", threads), |bencher| {
            let mut workers = vec![(); threads];
            bencher.iter_custom(|calls| on_threads(calls, BATCH, &mut workers, push, clear));
        });
    }
}

fn named(name: &str, threads: usize) -> String {
    if threads == 1 { name.to_owned() } else { format!("{name}, {threads} threads") }
}

/// A file that counts its lines.
struct Lines {
    file: File,
    count: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        let lines = bytes[..written].iter().filter(|byte| **byte == b'\n').count();
        self.count.fetch_add(lines as u64, Ordering::Release);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The `tracing` crate with the non-blocking appender, as its documentation has it: the `fmt` subscriber, global, and the default
/// buffer, which is larger than a batch. Without colours, which a file does not need.
fn appender(group: &mut BenchmarkGroup<'_, WallTime>, values: &[f64], path: &Path) -> Result<()> {
    let count = Arc::new(AtomicU64::new(0));
    let (writer, guard) =
        tracing_appender::non_blocking(Lines { file: File::create(path)?, count: Arc::clone(&count) });
    let dropped = writer.error_counter();
    tracing::subscriber::set_global_default(tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish())?;
    let mut logged = 0;
    group.bench_function("tracing, non-blocking appender to a file", |bencher| {
        bencher.iter_custom(|calls| {
            let log = |first: i64, count: u64| {
                for step in first..first + count as i64 {
                    let loss = value_at(values, step);
                    tracing::info!(step, loss);
                }
            };
            let wait = |batch: u64| {
                logged += batch;
                let begin = Instant::now();
                while count.load(Ordering::Acquire) < logged {
                    assert!(begin.elapsed() < APPENDER_LIMIT, "lines are missing");
                    std::thread::yield_now();
                }
            };
            in_batches(calls, BATCH, log, wait)
        });
    });
    drop(guard);
    check_count("lines dropped", dropped.dropped_lines() as u64, 0)?;
    check_count("lines written", count.load(Ordering::Acquire), logged)
}
