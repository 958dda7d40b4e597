//! Where a benchmark ran: machine, kernel, file system, commit, compiler, profile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::Result;

/// Names the folder under which stores are made.
const FOLDER_VARIABLE: &str = "STEPWELL_BENCH_DIR";

/// A fresh folder for the stores of one benchmark, removed in the end: below `STEPWELL_BENCH_DIR`, or else in the
/// target folder of the build. It should lie on the file system that training would log to, not in memory.
///
/// # Errors
/// When the folder cannot be made.
pub fn fresh_folder() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("stepwell-bench-").tempdir_in(bench_folder()?)?)
}

/// The folder in which benchmarks make theirs; what takes long to make may be kept in it.
///
/// # Errors
/// When it cannot be made.
pub fn bench_folder() -> Result<PathBuf> {
    let folder = std::env::var_os(FOLDER_VARIABLE).map_or_else(target_folder, PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// `tmp` in the target folder that holds the running program.
fn target_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(std::env::temp_dir, |target| target.join("tmp"))
}

/// The profile of this build. Only an optimised build without debug assertions may call itself a release.
pub fn profile() -> String {
    let level = env!("STEPWELL_BENCH_OPT_LEVEL");
    match (env!("STEPWELL_BENCH_PROFILE"), cfg!(debug_assertions)) {
        (name, false) if level == "3" => format!("{name}, opt-level 3"),
        (name, true) => format!("{name}, opt-level {level}, debug assertions: NOT A RELEASE BUILD"),
        (name, false) => format!("{name}, opt-level {level}: NOT A RELEASE BUILD"),
    }
}

/// Whether this is an optimised build without debug assertions, the only one whose numbers mean something.
pub fn is_release() -> bool {
    env!("STEPWELL_BENCH_OPT_LEVEL") == "3" && !cfg!(debug_assertions)
}

/// Facts about a measurement that results are worth nothing without, as pairs of name and value. `folder` is where the
/// stores lie.
pub fn facts(folder: &Path) -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("date", utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))),
        ("machine", format!("{}, {cores} cores, {}", field(&cpu, "model name"), field(&memory, "MemTotal"))),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load", read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")),
        ("file system", file_system(&read("/proc/self/mounts"), folder)),
        ("commit", commit()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("compiler", env!("STEPWELL_BENCH_RUSTC").to_owned()),
        ("profile", profile()),
    ]
}

/// Value of `name: value` in a file of such lines.
fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':').map(|(_, value)| value.trim()));
    value.unwrap_or("unknown").to_owned()
}

/// Type of the file system that `folder` lies on, by a table of mounts.
fn file_system(mounts: &str, folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let parts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = parts.filter(|(point, _)| folder.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map_or("unknown", |(_, kind)| kind).to_owned()
}

/// The commit of the repository in the current folder, and whether files differ from it.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("--no-optional-locks").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "engine", "benches"]).is_some_and(|files| !files.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}

/// Seconds since the Unix epoch as date and time, UTC (ISO 8601).
fn utc(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", days + 1, second / 3600, second / 60 % 60, second % 60)
}
