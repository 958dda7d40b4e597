//! How long a store takes to open after its writer died: by records in the journal.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use stepwell_benches::environment::fresh_folder;
use stepwell_benches::report::{Report, Table, median};
use stepwell_benches::{Result, cpu, dead};

/// Records of the ring: more than twice as many as the longest journal holds, so that no segment was closed before.
const RING_RECORDS: u64 = 1 << 21;
/// Records in the journals. None at all tells what opening the store and reading an empty journal take.
const RECORDS: [i64; 4] = [0, 10_000, 100_000, 1_000_000];

/// Recovery time by records in the journal of a writer that was killed.
#[derive(Parser)]
struct Arguments {
    /// Rounds; each recovers a fresh copy of every dead writer once.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Writes the raw records to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Logs to a store in this folder and ends as if killed. The benchmark starts itself so.
    #[arg(long, hide = true, requires = "records")]
    leave_behind: Option<PathBuf>,
    #[arg(long, hide = true)]
    records: Option<i64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let (Some(folder), Some(records)) = (&arguments.leave_behind, arguments.records) {
        return dead::die_after_logging(folder, records, RING_RECORDS);
    }
    if arguments.rounds == 0 {
        return Err("--rounds has to be above 0".into());
    }
    let folder = fresh_folder()?;
    let mut report = Report::begin("recovery", folder.path());
    let path = |records: i64| folder.path().join(format!("dead-{records}"));
    for records in RECORDS {
        dead::have_one_die(&["--records", &records.to_string(), "--leave-behind", &path(records).to_string_lossy()])?;
    }
    let mut times: [Vec<(f64, f64)>; RECORDS.len()] = Default::default();
    for round in 0..arguments.rounds {
        for (records, times) in RECORDS.into_iter().zip(&mut times) {
            let copy = folder.path().join(format!("copy-{round}"));
            dead::copy(&path(records), &copy)?;
            // The pages of the copy are not on the device yet, and a sync of the recovery would wait for all of them.
            rustix::fs::sync();
            let (before, begin) = (cpu::of_process(), Instant::now());
            let store = dead::recover(&copy, records as u64)?;
            let (wall, used) = (begin.elapsed(), cpu::of_process() - before);
            times.push((wall.as_secs_f64() * 1e3, used.as_secs_f64() * 1e3));
            drop(store);
            std::fs::remove_dir_all(&copy)?;
        }
    }
    let rows = RECORDS.into_iter().zip(&times).map(|(records, times)| {
        let wall = || times.iter().map(|(wall, _)| *wall);
        let wall_median = median(wall());
        let per_second = if records == 0 { f64::NAN } else { records as f64 / wall_median * 1e3 };
        let numbers = vec![
            wall_median,
            wall().fold(f64::NAN, f64::min),
            wall().fold(f64::NAN, f64::max),
            median(times.iter().map(|(_, used)| *used)),
            per_second,
        ];
        (format!("{records} records"), numbers)
    });
    report.add(&Table {
        title: format!("Store::open after a kill, milliseconds, {} rounds", arguments.rounds),
        columns: vec!["median", "min", "max", "CPU", "records / s"],
        rows: rows.collect(),
    });
    report.write_json(arguments.json.as_deref())
}
