//! Logs as fast as it can until it is killed, and acknowledges each call that returned on a shared page; or recovers a
//! store, or compacts it, to be killed in the middle of that.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stepwell_engine::{Access, CompactOptions, RunOptions, Store};
use stepwell_tests::acknowledge::{Acknowledgements, THREADS_MAX};
use stepwell_tests::lanes::{Fault, log_lanes};
use stepwell_tests::{METRICS_NAME, tight_config};

/// Commits of a run that is to end at a fail point.
const COMMITS: u32 = 8;

fn main() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", store, run, page, threads, ring] => write(store, run, 0, page, threads.parse()?, ring.parse()?),
        ["write", store, run, page, threads, ring, rank] => {
            write(store, run, rank.parse()?, page, threads.parse()?, ring.parse()?)
        }
        ["recover", store] => {
            Store::open_with(store, Access::Create, tight_config(4096))?;
            Ok(())
        }
        ["compact", store] => compact(store),
        _ => Err("crash-writer write STORE RUN PAGE THREADS RING [RANK] | recover STORE | compact STORE".into()),
    }
}

/// Compacts whatever has more than one segment, and removes what was replaced at once; packs every small segment that is left.
fn compact(store: &str) -> Result<(), Fault> {
    let store = Store::open_with(store, Access::Create, tight_config(4096))?;
    let mut options = CompactOptions::default();
    (options.segments_max, options.remove_now) = (1, true);
    (options.pack_segments_min, options.small_bytes) = (1, u64::MAX);
    if !std::env::var("STEPWELL_FAIL_POINT").is_ok_and(|point| point.starts_with("pack.")) {
        // Small, so that a name becomes several segments. Of these none is small enough to be packed.
        options.segment_rows_max = 20_000;
    }
    let report = store.compact(&options, &mut |_, _| {})?;
    if report.failures.is_empty() && report.not_packed.is_none() { Ok(()) } else { Err(format!("{report:?}").into()) }
}

fn write(store: &str, run: &str, rank: u16, page: &str, threads: usize, ring: u64) -> Result<(), Fault> {
    let page = Acknowledgements::open(Path::new(page))?;
    let store = Store::open_with(store, Access::Create, tight_config(ring))?;
    let run = store.start_run(RunOptions::new("crash", "write").run_id(run.parse()?).rank(rank.into()))?;
    let first = usize::from(rank) * THREADS_MAX;
    let stop = AtomicBool::new(false);
    if std::env::var_os("STEPWELL_FAIL_POINT").is_none() {
        return log_lanes(&run, &page, first, threads, Duration::ZERO, &stop);
    }
    // A run that meets every fail point: it is committed a few times, and finished.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..COMMITS {
                std::thread::sleep(Duration::from_millis(10));
                let _ = run.commit(METRICS_NAME);
            }
            stop.store(true, Ordering::Release);
        });
        log_lanes(&run, &page, first, threads, Duration::ZERO, &stop)
    })?;
    run.finish()?;
    Ok(())
}
