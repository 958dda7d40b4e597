//! Logs as fast as it can until it is killed, and acknowledges each call that returned on a shared page; or recovers a
//! store, to be killed in the middle of that.

use std::error::Error;
use std::path::Path;
use std::thread;

use stepwell_engine::{Access, RunOptions, Store};
use stepwell_tests::acknowledge::Acknowledgements;
use stepwell_tests::{METRICS_NAME, metric_of, tight_config, value_of};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", store, run, page, threads, ring] => {
            write(Path::new(store), run, Path::new(page), threads.parse()?, ring.parse()?)
        }
        ["recover", store] => {
            Store::open_with(store, Access::Create, tight_config(4096))?;
            Ok(())
        }
        _ => Err("crash-writer write STORE RUN PAGE THREADS RING | recover STORE".into()),
    }
}

fn write(store: &Path, run: &str, page: &Path, threads: usize, ring: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let page = Acknowledgements::open(page)?;
    let store = Store::open_with(store, Access::Create, tight_config(ring))?;
    let run = store.start_run(RunOptions::new("crash", "write").run_id(run.parse()?))?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let (run, page) = (run.clone(), &page);
                scope.spawn(move || -> Result<(), Box<dyn Error + Send + Sync>> {
                    let metric = run.metric(METRICS_NAME, &metric_of(thread))?;
                    let mut log = run.logger()?;
                    for step in 0.. {
                        log.log(metric, step, value_of(thread, step))?;
                        page.acknowledge(thread, step as u64 + 1);
                    }
                    Ok(())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a thread panicked")?)
    })
}
