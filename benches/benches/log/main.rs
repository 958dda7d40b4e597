//! Mean cost of the log call, against the least that such a call could cost.
//!
//! A producer is many times as fast as the sealer. To measure the call, and not the wait for room, calls are timed in
//! batches of 100,000 records into a ring that has room for them; between two batches the ring is emptied by
//! `Run::commit`, outside the timing. The engine's thread seals and syncs all the while. The time is the processor time
//! of the logging threads, so that other work on the machine does not count. What a full ring costs is a group of its own.

mod engine;
mod floors;
mod full;
mod record;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use criterion::Criterion;
use stepwell_benches::environment::{bench_folder, fresh_folder};
use stepwell_benches::report::Report;
use stepwell_benches::workload::Losses;
use stepwell_benches::{Result, cpu};

/// Records logged between two times that the ring is emptied.
const BATCH: u64 = 100_000;
/// Values that calls take in turn.
const VALUES: usize = 4096;
/// Threads that call at once.
const THREADS: [usize; 3] = [2, 4, 8];

/// What a queue in private memory would carry: as much as a slot of the engine's ring.
type Record = [u64; 4];

fn main() -> Result<()> {
    let folder = fresh_folder()?;
    let mut report = Report::begin("log", folder.path());
    let home = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
    let home = home.unwrap_or(bench_folder()?.join("stepwell-criterion"));
    std::fs::create_dir_all(&home)?;
    let begin = SystemTime::now();
    let mut criterion = Criterion::default()
        .output_directory(&home)
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        // Emptying the ring counts as well, and takes about twenty times as long as the calls.
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    let mut values = vec![0.0; VALUES];
    Losses::new(3).fill(0, &mut values);
    floors::floors(&mut criterion, &values, folder.path())?;
    engine::calls(&mut criterion, &values, folder.path())?;
    full::full_ring(&mut criterion, folder.path())?;
    criterion.final_summary();
    report.add(&record::table(&home, begin)?);
    // The arguments are criterion's.
    report.write_json(std::env::var_os("STEPWELL_BENCH_JSON").as_ref().map(Path::new))
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

/// The same on a thread for each of `workers`, which begin each batch together: mean processor time of a thread.
fn on_threads<W: Send>(
    calls: u64,
    batch: u64,
    workers: &mut [W],
    timed: impl Fn(&mut W, i64, u64) + Sync,
    mut empty: impl FnMut(u64),
) -> Duration {
    let (mut total, mut done) = (Duration::ZERO, 0);
    let threads = workers.len();
    while done < calls {
        let count = batch.min(calls - done);
        let barrier = Barrier::new(threads);
        let (timed, barrier) = (&timed, &barrier);
        total += std::thread::scope(|scope| {
            let work = |worker| {
                scope.spawn(move || {
                    barrier.wait();
                    let begin = cpu::of_thread();
                    timed(worker, done as i64, count);
                    cpu::of_thread() - begin
                })
            };
            let started: Vec<_> = workers.iter_mut().map(work).collect();
            started.into_iter().map(|thread| thread.join().expect("does not panic")).sum::<Duration>()
        });
        empty(count * threads as u64);
        done += count;
    }
    total / threads as u32
}

/// Has the compiler believe that a result is looked at.
fn drop_result<T>(result: T) {
    let _ = black_box(result);
}
