//! What criterion found, as a table and as raw records.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;
use stepwell_benches::Result;
use stepwell_benches::report::Table;

/// The floor that all else is compared with.
const LIMIT: &str = "floor/TSC read + 32-byte store";

/// All results that criterion wrote below `home` since a moment, in the order in which they were found.
///
/// # Errors
/// When one of its files cannot be read.
pub fn table(home: &Path, since: SystemTime) -> Result<Table> {
    let mut files = Vec::new();
    for folder in folders(home)?.iter().flat_map(|group| folders(group).unwrap_or_default()) {
        let file = folder.join("new/estimates.json");
        let Ok(modified) = fs::metadata(&file).and_then(|found| found.modified()) else { continue };
        if modified >= since {
            files.push((modified, file));
        }
    }
    files.sort();
    let mut rows = Vec::new();
    for (_, file) in files {
        let (estimates, what) = (read(&file)?, read(&file.with_file_name("benchmark.json"))?);
        let mean = &estimates["mean"];
        let records = what["throughput"]["Elements"].as_f64().unwrap_or(1.0);
        let nanos = mean["point_estimate"].as_f64().ok_or("a result without a mean")?;
        let bound = |name: &str| mean["confidence_interval"][name].as_f64().unwrap_or(f64::NAN);
        let name = what["full_id"].as_str().ok_or("a result without a name")?.to_owned();
        rows.push((name, vec![nanos, bound("lower_bound"), bound("upper_bound"), nanos / records]));
    }
    let limit = rows.iter().find(|(name, _)| name == LIMIT).map_or(f64::NAN, |(_, numbers)| numbers[0]);
    rows.iter_mut().for_each(|(_, numbers)| numbers.push(numbers[0] / limit));
    Ok(Table {
        title: "nanoseconds a call, means with bounds of 95 %".to_owned(),
        columns: vec!["mean", "low", "high", "a record", "of the limit"],
        rows,
    })
}

fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
