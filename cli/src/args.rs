//! The command line: every command, option and default.

mod lineage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use stepwell_query::Parameter;

use crate::exchange_args::{
    ArtifactCommand, ExecutionCommand, ExportCommand, ImportCmfArgs, ImportDvcArgs, MetadataCommand, PipelineCommand,
};
use crate::remote_args::{InitCommand, PullArgs, PushArgs, RemoteCommand};
pub use lineage::{DirectionArg, LineageArgs, LineageFormat};

/// Default store, when neither `--store` nor the environment names one.
pub const DEFAULT_STORE: &str = ".stepwell";
/// Default store of `stepwell demo`.
pub const DEFAULT_DEMO_STORE: &str = ".stepwell-demo";
/// The environment variable that names the store.
pub const STORE_VARIABLE: &str = "STEPWELL_STORE";

/// Metrics of every training step, kept through any crash, answered in SQL.
#[derive(Parser)]
#[command(name = "stepwell", version, about, after_help = crate::exit::HELP, arg_required_else_help = true)]
#[command(max_term_width = 110)]
pub struct Cli {
    /// Folder of the store [default: $STEPWELL_STORE, or .stepwell]
    #[arg(long, global = true, value_name = "PATH")]
    pub store: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The store the user means.
    pub fn store(&self) -> PathBuf {
        let from_environment = || std::env::var_os(STORE_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.store.clone().or_else(from_environment).unwrap_or_else(|| DEFAULT_STORE.into())
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Train, crash, recover, import and ask: a tour of Stepwell on real data, in seconds
    Demo(DemoArgs),
    /// List runs
    Runs(RunsArgs),
    /// Show one run: parameters, writers, metrics, artifacts, losses
    Show(ShowArgs),
    /// Answer an SQL query over all runs, those still running included
    Sql(SqlArgs),
    /// Draw the curves of one metric, in the terminal or as SVG or PNG
    Plot(PlotArgs),
    /// Show what an artifact or a run came from and what came of it, as a tree, or for other programs
    Lineage(LineageArgs),
    /// Publish what a run's ended writers left as versioned metrics artifacts
    Commit(CommitArgs),
    /// Read every file of the store and compare it with its hash
    Verify(VerifyArgs),
    /// Say what is wrong with a store, what was lost, and what can be rebuilt; also of a store that does not open
    Doctor(DoctorArgs),
    /// Build the catalog anew from the event logs
    Reindex,
    /// Merge the many small segments of ended runs into few, and remove those merged before
    Compact(CompactArgs),
    /// List the content of artifacts that no run needs any more, and remove it when told to
    Gc(GcArgs),
    /// Measure what share of a training step logging would take on this machine
    Bench(BenchArgs),
    /// Import runs from other files
    #[command(subcommand)]
    Import(ImportCommand),
    /// Write the store for other programs
    #[command(subcommand)]
    Export(ExportCommand),
    /// Pipelines, as CMF lists them
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// Executions, as CMF lists them
    #[command(subcommand)]
    Execution(ExecutionCommand),
    /// Artifacts, as CMF lists them
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    /// Metadata as CMF's JSON document
    #[command(subcommand)]
    Metadata(MetadataCommand),
    /// Send committed runs to a remote
    Push(PushArgs),
    /// Fetch runs from a remote
    Pull(PullArgs),
    /// Add, list or remove remotes
    #[command(subcommand)]
    Remote(RemoteCommand),
    /// Set up the remote `origin`, with the names and flags of CMF's `init`
    #[command(subcommand)]
    Init(InitCommand),
    /// The training process that `stepwell demo` kills
    #[command(hide = true)]
    DemoWorker(DemoWorkerArgs),
}

/// What can be imported.
#[derive(Subcommand)]
pub enum ImportCommand {
    /// A CSV file with one row per step, plain or gzipped
    Csv(ImportCsvArgs),
    /// What CMF recorded: an `mlmd` file, its metrics and slices
    Cmf(ImportCmfArgs),
    /// What DVC recorded: dvc.lock and .dvc files as stages with inputs and outputs
    Dvc(ImportDvcArgs),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// A JSON array with one object per row
    Json,
    /// One JSON object a line
    Ndjson,
    /// An Arrow IPC stream
    Arrow,
    /// A Parquet file
    Parquet,
}

impl Format {
    /// The format that a file's name asks for.
    pub fn of_extension(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "arrow" | "arrows" | "ipc" => Some(Self::Arrow),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// How and where data is printed.
#[derive(Args, Default)]
pub struct OutputArgs {
    /// How to print the data [default: from the name of --output, else table]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Write the data to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

impl OutputArgs {
    /// The format the user means.
    pub fn format(&self) -> Format {
        let from_name = || self.output.as_deref().and_then(Format::of_extension);
        if self.json { Format::Json } else { self.format.or_else(from_name).unwrap_or(Format::Table) }
    }
}

/// `stepwell demo`.
#[derive(Args)]
#[command(after_help = "\
The store is .stepwell-demo, or the folder given by --store. It starts empty: what an earlier demo left there is
deleted, and nothing else ever is.")]
pub struct DemoArgs {
    /// A smaller grid and fewer epochs
    #[arg(long)]
    pub quick: bool,
}

/// `stepwell runs`.
#[derive(Args)]
pub struct RunsArgs {
    /// Only runs of this pipeline
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Only runs of this stage
    #[arg(long, value_name = "NAME")]
    pub stage: Option<String>,
    /// Only runs in this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<StateArg>,
    /// Add the last value of these metrics
    #[arg(long, value_name = "METRIC,...", value_delimiter = ',')]
    pub metric: Vec<String>,
    /// At most this many runs, the newest first
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// States of a run on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// A writer is alive
    Running,
    /// Every writer finished
    Finished,
    /// A writer ended with a failure
    Failed,
    /// A writer is gone without having finished
    Died,
}

impl From<StateArg> for stepwell_engine::RunState {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Running => Self::Running,
            StateArg::Finished => Self::Finished,
            StateArg::Failed => Self::Failed,
            StateArg::Died => Self::Died,
        }
    }
}

/// `stepwell show`.
#[derive(Args)]
pub struct ShowArgs {
    /// Run id, the beginning of one, or a run's name
    pub run: String,
    /// How to print. CSV, Arrow and Parquet hold the metrics.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell sql`.
#[derive(Args)]
pub struct SqlArgs {
    /// The statement; `-` reads it from stdin
    #[arg(required_unless_present = "file")]
    pub query: Option<String>,
    /// Read the statement from this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "query")]
    pub file: Option<PathBuf>,
    /// Answer from the other files when a segment is damaged
    #[arg(long)]
    pub skip_damaged: bool,
    /// What $NAME in the statement stands for: a number, true, false, null or a list as in JSON, else text
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    pub params: Vec<(String, Parameter)>,
    /// Stop the query after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// End the result after so many rows, and say so
    #[arg(long, value_name = "ROWS")]
    pub max_rows: Option<usize>,
    /// Memory the query may take, in MiB [default: 4096]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub memory_limit: Option<u32>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `NAME=VALUE` of a parameter. What is no JSON is text, as it is.
fn parameter(text: &str) -> Result<(String, Parameter), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    let name = name.strip_prefix('$').unwrap_or(name);
    if name.is_empty() {
        return Err("write NAME=VALUE".to_owned());
    }
    let parameter = match serde_json::from_str(value) {
        Ok(value) => of_json(value)?,
        Err(_) => Parameter::from(value),
    };
    Ok((name.to_owned(), parameter))
}

fn of_json(value: serde_json::Value) -> Result<Parameter, String> {
    use serde_json::Value;

    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(value) => value.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(float)) => float.into(),
            (None, None) => return Err(format!("{number} does not fit into 64 bits")),
        },
        Value::String(text) => text.into(),
        Value::Array(values) => Parameter::List(values.into_iter().map(of_json).collect::<Result<_, _>>()?),
        Value::Object(_) => return Err("an object is no value of a parameter".to_owned()),
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "write a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "write a number of seconds, 0 or more".to_owned())
}

/// What the x axis of a plot shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XAxis {
    /// The step.
    Step,
    /// Seconds since the run's first value.
    Time,
    /// The value of another metric at the same step.
    Metric(String),
}

impl std::str::FromStr for XAxis {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "step" => Self::Step,
            "time" => Self::Time,
            metric => Self::Metric(metric.to_owned()),
        })
    }
}

/// `stepwell plot`.
#[derive(Args)]
pub struct PlotArgs {
    /// Run ids, beginnings of ids, or names; none means every run that has the metric
    pub runs: Vec<String>,
    /// The metric to draw
    #[arg(long, short)]
    pub metric: String,
    /// The metrics name it was logged under, when there are several
    #[arg(long, value_name = "NAME")]
    pub metrics_name: Option<String>,
    /// Without named runs: only those of this pipeline
    #[arg(long, value_name = "NAME", conflicts_with = "runs")]
    pub pipeline: Option<String>,
    /// Without named runs: only those of this stage
    #[arg(long, value_name = "NAME", conflicts_with = "runs")]
    pub stage: Option<String>,
    /// Draw runs with the same value of this parameter in the same colour
    #[arg(long, value_name = "PARAM")]
    pub by: Option<String>,
    /// step, time (seconds since the first value), or another metric
    #[arg(long, default_value = "step", value_name = "AXIS")]
    pub x: XAxis,
    /// Write an SVG picture to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write a PNG picture to this file
    #[arg(long, value_name = "FILE")]
    pub png: Option<PathBuf>,
    /// Width: pixels of an SVG, half those of a PNG [default: 960]; columns of the terminal [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(20..=10_000))]
    pub width: Option<u16>,
    /// Height: pixels of an SVG but for its legend, half those of a PNG, 540 by default; lines of the terminal, 20 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(6..=10_000))]
    pub height: Option<u16>,
    /// Lowest value shown; what lies below is drawn at the edge
    #[arg(long, value_name = "Y", allow_negative_numbers = true)]
    pub y_min: Option<f64>,
    /// Highest value shown; what lies above is drawn at the edge
    #[arg(long, value_name = "Y", allow_negative_numbers = true)]
    pub y_max: Option<f64>,
    /// Logarithmic y axis
    #[arg(long)]
    pub log_y: bool,
    /// Exponential smoothing: 0 leaves the values as they are, near 1 smooths most
    #[arg(long, default_value_t = 0.0, value_name = "0..1", value_parser = smoothing)]
    pub smooth: f64,
}

fn smoothing(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(weight) if (0.0..1.0).contains(&weight) => Ok(weight),
        _ => Err("give a number from 0 to below 1".to_owned()),
    }
}

/// `stepwell commit`.
#[derive(Args)]
pub struct CommitArgs {
    /// Run id, the beginning of one, or a run's name
    pub run: String,
    /// Only this metrics name
    pub metrics_name: Option<String>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell verify`.
#[derive(Args)]
pub struct VerifyArgs {
    /// How to print the damaged files.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell compact`.
#[derive(Args)]
#[command(after_help = "\
Every row stays as it is. Files that others took the place of are kept for 10 minutes (STEPWELL_GRACE_SECS), for whoever
began to read them; the next command that writes to the store removes them then. Runs that are being written are left alone.")]
pub struct CompactArgs {
    /// Run ids, beginnings of ids, or names; none means all runs
    pub runs: Vec<String>,
    /// Only say what is due
    #[arg(long)]
    pub dry_run: bool,
    /// Remove replaced files at once; refused while another process has the store open
    #[arg(long)]
    pub remove_now: bool,
    /// Merge a metrics name that has more small segments than this
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub segments: u32,
    /// How to print what was merged.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell gc`.
#[derive(Args)]
#[command(after_help = "\
Content of artifacts is kept by its hash. What no event log of a run names, nor the list of files of a folder that one names, is
needed by nobody. What was stored or used within the grace period is left alone: its event may be still to come.")]
pub struct GcArgs {
    /// Remove it, and not only list it
    #[arg(long)]
    pub yes: bool,
    /// Leave alone what was stored or used within so long: 90s, 30m, 24h, 7d; below 2h only while nobody writes to the store
    #[arg(long, default_value = "24h", value_name = "AGE", value_parser = age)]
    pub grace: Duration,
    /// How to print the list.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A number with a unit, such as `24h`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "write a whole number and s, m, h or d, such as 24h".to_owned();
    let digits = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let secs = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(secs).map(Duration::from_secs).ok_or_else(wrong)
}

/// `stepwell bench`.
#[derive(Args)]
#[command(after_help = "\
A row of metrics is logged at each step of four pretended trainings, whose steps take 0.2, 1, 10 and 100 ms of computing, with syncing and
sealing on as they are by default. The store that is written lies beside the one that --store names, and is removed at the end.")]
pub struct BenchArgs {
    /// How long to measure, in all
    #[arg(long, default_value_t = 20, value_name = "SECS", value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
    /// Metrics logged at each step, by one call
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub metrics: u16,
    /// How to print what was measured.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell doctor`.
#[derive(Args)]
#[command(after_help = "\
Without --repair nothing is written. A repair deletes nothing that might be the only copy of something: damaged files go
to `quarantine/` in the store, a log that is written anew leaves the old one as `.damaged`, and what was lost is told in
the event log. The files of a run that is still being written are left alone.")]
pub struct DoctorArgs {
    /// Only this run: a run id, the beginning of one, or a run's name
    pub run: Option<String>,
    /// Repair what can be repaired
    #[arg(long)]
    pub repair: bool,
    /// How to print the findings.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell import csv`.
#[derive(Args)]
#[command(after_help = "\
Each distinct value of the run column becomes a run of that name; every other numeric column becomes a metric.
An empty cell is no record. The whole file is checked before the first run is started.")]
pub struct ImportCsvArgs {
    /// The file; its first line names the columns
    pub file: PathBuf,
    /// Pipeline of the runs
    #[arg(long, default_value = "imported", value_name = "NAME")]
    pub pipeline: String,
    /// Stage of the runs
    #[arg(long, default_value = "train", value_name = "NAME")]
    pub stage: String,
    /// Column that tells the runs apart; without it the file is one run, named after the file
    #[arg(long, value_name = "COLUMN")]
    pub run_column: Option<String>,
    /// Column with one value per run that becomes a parameter of the run
    #[arg(long, value_name = "COLUMN")]
    pub group_column: Option<String>,
    /// Column with the step; without it rows count up from 0 in each run
    #[arg(long, value_name = "COLUMN")]
    pub step_column: Option<String>,
    /// Columns to import as metrics [default: all others]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    pub metric_columns: Vec<String>,
    /// Metrics name that the records are logged under
    #[arg(long, default_value = "metrics", value_name = "NAME")]
    pub metrics_name: String,
    /// Import again what was imported from the same content before
    #[arg(long)]
    pub force: bool,
    /// How to print the imported runs.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell demo-worker`.
#[derive(Args)]
pub struct DemoWorkerArgs {
    /// Where the prepared images lie.
    pub folder: PathBuf,
    /// Epochs to train.
    pub epochs: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_format_comes_from_the_option_or_the_file_name() {
        let output = |format, json, file: Option<&str>| OutputArgs { format, json, output: file.map(PathBuf::from) };
        assert_eq!(output(None, false, None).format(), Format::Table);
        assert_eq!(output(None, false, Some("x.PARQUET")).format(), Format::Parquet);
        assert_eq!(output(Some(Format::Csv), false, Some("x.parquet")).format(), Format::Csv);
        assert_eq!(output(None, true, None).format(), Format::Json);
    }

    #[test]
    fn parameters_are_json_or_text() {
        for (text, name, value) in [
            ("lr=0.1", "lr", Parameter::Float(0.1)),
            ("$seed=3", "seed", Parameter::Int(3)),
            ("name=adam=w", "name", Parameter::from("adam=w")),
            ("name=\"3\"", "name", Parameter::from("3")),
            ("name=", "name", Parameter::from("")),
            ("x=null", "x", Parameter::Null),
            ("x=true", "x", Parameter::Bool(true)),
            ("steps=[1, 2]", "steps", vec![1, 2].into()),
        ] {
            assert_eq!(parameter(text), Ok((name.to_owned(), value)), "{text}");
        }
        assert!(parameter("lr").is_err());
        assert!(parameter("=1").is_err());
        assert!(parameter("x={}").is_err());
    }

    #[test]
    fn ages_have_a_unit() {
        let hours = |hours: u64| Ok(Duration::from_secs(hours * 3600));
        assert_eq!((age("24h"), age("0s"), age("7d"), age("60m")), (hours(24), hours(0), hours(168), hours(1)));
        for wrong in ["", "24", "h", "-1h", "1.5h", "1w", "99999999999999999999d", "300000000000000000d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn smoothing_stays_below_one() {
        assert_eq!(smoothing("0.9"), Ok(0.9));
        assert!(smoothing("1").is_err());
        assert!(smoothing("-0.1").is_err());
        assert!(smoothing("nan").is_err());
    }
}
