//! The training process that is killed: both its own side, and that of the demo which kills it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stepwell_engine::{Access, EngineConfig, RunId, Store};

use super::train::{self, DataSet, TrainSpec};
use crate::args::DemoWorkerArgs;
use crate::error::{CliError, Result};

/// Name of the run that is killed.
pub const RUN_NAME: &str = "killed half way";

/// What the process had confirmed when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The run.
    pub run: RunId,
    /// Its process.
    pub pid: u32,
    /// Last step confirmed.
    pub step: i64,
    /// Records confirmed.
    pub records: u64,
}

/// The side of the training process: it says on stdout which run it is, then after each log call the step and how many
/// records were logged so far. It never finishes the run; it waits to be killed.
///
/// # Errors
/// Those of training; [`CliError::Output`] when the demo is gone.
pub fn run(store: &Path, args: &DemoWorkerArgs) -> Result<()> {
    let store = Store::open_with(store, Access::Write, EngineConfig::from_env()?)?;
    let data = DataSet::read(&args.folder)?;
    let spec = TrainSpec { name: RUN_NAME.to_owned(), learning_rate: 0.1, seed: 0, epochs: args.epochs };
    let run = train::start(&store, &spec, &data)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", run.id())?;
    let mut confirm = |step: i64, records: u64| Ok(writeln!(stdout, "{step} {records}")?);
    train::train(&run, &spec, &data, &mut confirm)?;
    // Stdin stays open until the demo has gone, so that the process is alive when it is to be killed.
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    Ok(())
}

/// Starts the training process and kills it with SIGKILL half way. `progress` is told each confirmed step.
///
/// # Errors
/// [`CliError::Worker`] when the process ends by itself or says something else than it should.
pub fn kill_half_way(
    store: &Path,
    folder: &Path,
    epochs: u32,
    half: u64,
    progress: &mut dyn FnMut(i64),
) -> Result<Confirmed> {
    let program = std::env::current_exe().map_err(CliError::io("find", "the stepwell program"))?;
    let mut command = Command::new(&program);
    command.arg("--store").arg(store).arg("demo-worker").arg(folder).arg(epochs.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(CliError::io("start", &program))?;
    let confirmed = watch_and_kill(&mut child, half, progress);
    // Whatever went wrong, no process stays behind: killing one that has ended does nothing.
    let _ = child.kill();
    child.wait().map_err(CliError::io("wait for", &program))?;
    confirmed
}

fn watch_and_kill(child: &mut Child, half: u64, progress: &mut dyn FnMut(i64)) -> Result<Confirmed> {
    let fault = |fault: &str| CliError::Worker { fault: fault.to_owned() };
    let stdout = child.stdout.take().ok_or_else(|| fault("has no output"))?;
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).map_err(CliError::io("read from", "the training process"))?;
    let run = line.trim().parse().map_err(|_| fault("did not start its run"))?;
    let mut confirmed = Confirmed { run, pid: child.id(), step: -1, records: 0 };
    let mut is_killed = false;
    loop {
        line.clear();
        lines.read_line(&mut line).map_err(CliError::io("read from", "the training process"))?;
        // A line cut off by the end of the process confirms nothing.
        if !line.ends_with('\n') {
            break;
        }
        let (step, records) = parse(&line).ok_or_else(|| fault("confirmed something that is no step"))?;
        (confirmed.step, confirmed.records) = (step, records);
        progress(step);
        if !is_killed && records >= half {
            child.kill().map_err(CliError::io("kill", "the training process"))?;
            is_killed = true;
        }
    }
    if is_killed { Ok(confirmed) } else { Err(fault("ended before it was killed")) }
}

fn parse(line: &str) -> Option<(i64, u64)> {
    let (step, records) = line.trim_end().split_once(' ')?;
    Some((step.parse().ok()?, records.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_step_and_records() {
        assert_eq!(parse("12 39\n"), Some((12, 39)));
        assert_eq!(parse("12\n"), None);
        assert_eq!(parse("x 1\n"), None);
    }
}
