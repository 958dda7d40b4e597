//! Options of `stepwell import cmf` and `dvc`, `export`, and of the commands that read ML Metadata: `pipeline`, `execution`,
//! `artifact`, `metadata`. Flags are CMF's where it has such a command.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::args::OutputArgs;

/// `stepwell import cmf`.
#[derive(Args)]
#[command(after_help = "\
Every execution becomes a run; what was imported before is left as it is. Rows of metrics come from cmf_artifacts/ beside the
file, or from DVC's cache and remotes on this machine. docs/FROM-CMF.md says what becomes what.")]
pub struct ImportCmfArgs {
    /// The `mlmd` file, or the folder it lies in
    pub path: PathBuf,
    /// Only this pipeline
    #[arg(short, long = "pipeline", visible_alias = "pipeline_name", value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Folder that holds cmf_artifacts [default: that of the file]
    #[arg(long, value_name = "FOLDER")]
    pub artifacts: Option<PathBuf>,
    /// Another cache or remote of DVC: a folder with files/md5 in it; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub cache: Vec<PathBuf>,
    /// How to print the imported runs.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell import dvc`.
#[derive(Args)]
#[command(after_help = "\
Each stage of dvc.lock and each .dvc file becomes a run with its inputs, outputs and parameters; hashes are those of the lock, and
no data is read. What was imported before, and has not changed, is left as it is.")]
pub struct ImportDvcArgs {
    /// Folder of the project
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Name of the pipeline [default: that of the folder]
    #[arg(short, long = "pipeline", visible_alias = "pipeline_name", value_name = "NAME")]
    pub pipeline: Option<String>,
    /// How to print the imported runs.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What can be exported.
#[derive(Subcommand)]
pub enum ExportCommand {
    /// An `mlmd` file that CMF and ml-metadata open, with cmf_artifacts/ beside it
    Cmf(ExportCmfArgs),
}

/// `stepwell export cmf`.
#[derive(Args)]
pub struct ExportCmfArgs {
    /// The file to make; nothing is overwritten
    pub path: PathBuf,
}

/// `stepwell pipeline`.
#[derive(Subcommand)]
pub enum PipelineCommand {
    /// List pipelines
    List(PipelineListArgs),
}

/// Where pipelines, executions and artifacts are read.
#[derive(Args)]
pub struct SourceArgs {
    /// Read this `mlmd` file instead of the store
    #[arg(short, long = "file_name", visible_alias = "file-name", value_name = "FILE")]
    pub file_name: Option<PathBuf>,
}

/// `stepwell pipeline list`.
#[derive(Args)]
pub struct PipelineListArgs {
    /// Where to read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell execution`.
#[derive(Subcommand)]
pub enum ExecutionCommand {
    /// List the executions of a pipeline, or show one
    List(ExecutionListArgs),
}

/// `stepwell execution list`.
#[derive(Args)]
pub struct ExecutionListArgs {
    /// The pipeline
    #[arg(short, long = "pipeline_name", visible_alias = "pipeline-name", value_name = "NAME")]
    pub pipeline: String,
    /// Show all of the execution with this uuid
    #[arg(short, long = "execution_uuid", visible_alias = "execution-uuid", value_name = "UUID")]
    pub execution_uuid: Option<String>,
    /// Where to read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell artifact`.
#[derive(Subcommand)]
pub enum ArtifactCommand {
    /// List the artifacts of a pipeline, or show some
    List(ArtifactListArgs),
}

/// `stepwell artifact list`.
#[derive(Args)]
pub struct ArtifactListArgs {
    /// The pipeline
    #[arg(short, long = "pipeline_name", visible_alias = "pipeline-name", value_name = "NAME")]
    pub pipeline: String,
    /// Show all of the artifacts that this means: a whole name, a path, or a file name
    #[arg(short, long = "artifact_name", visible_alias = "artifact-name", value_name = "NAME")]
    pub artifact_name: Option<String>,
    /// Where to read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `stepwell metadata`.
#[derive(Subcommand)]
pub enum MetadataCommand {
    /// Write a pipeline as the JSON document that CMF's clients and servers exchange
    Export(MetadataExportArgs),
}

/// `stepwell metadata export`.
#[derive(Args)]
pub struct MetadataExportArgs {
    /// The pipeline
    #[arg(short, long = "pipeline_name", visible_alias = "pipeline-name", value_name = "NAME")]
    pub pipeline: String,
    /// Write to this file instead of stdout
    #[arg(short, long = "json_file_name", visible_alias = "json-file-name", value_name = "FILE")]
    pub json_file_name: Option<PathBuf>,
    /// Only the execution with this uuid
    #[arg(short, long = "execution_uuid", visible_alias = "execution-uuid", value_name = "UUID")]
    pub execution_uuid: Option<String>,
    /// Where to read.
    #[command(flatten)]
    pub source: SourceArgs,
}
