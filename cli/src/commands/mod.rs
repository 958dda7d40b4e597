//! One module per command.

mod bench;
mod commit;
mod compact;
mod doctor;
mod exchange;
mod gc;
mod lineage;
mod lineage_load;
mod pull;
mod push;
mod reindex;
mod remote;
mod runs;
mod show;
mod sql;
mod verify;

use std::path::Path;

use stepwell_engine::{Access, EngineConfig, Store};

use crate::args::{Cli, Command, ImportCommand};
use crate::error::Result;
use crate::exchange_args::{ArtifactCommand, ExecutionCommand, ExportCommand, MetadataCommand, PipelineCommand};
use crate::out::Out;
use crate::{csv_import, demo, messages, plot, text};

pub use runs::{RunFilter, Totals};

/// Does what the command line says.
///
/// # Errors
/// What the command returns.
pub fn run(cli: Cli, out: &mut Out) -> Result<()> {
    let store = cli.store();
    match &cli.command {
        Command::Demo(args) => demo::run(cli.store.as_deref(), args, out),
        Command::Runs(args) => runs::run(&open(&store, Access::Read)?, args, out),
        Command::Show(args) => show::run(&open(&store, Access::Read)?, args, out),
        Command::Sql(args) => sql::run(&store, args, out),
        Command::Plot(args) => plot::run(&open(&store, Access::Read)?, args, out),
        Command::Lineage(args) => lineage::run(&open(&store, Access::Read)?, args, out),
        Command::Commit(args) => commit::run(&open(&store, Access::Write)?, args, out),
        Command::Verify(args) => verify::run(&open(&store, Access::Read)?, args, out),
        Command::Doctor(args) => doctor::run(&store, args, out),
        Command::Compact(args) => compact::run(&open(&store, Access::Write)?, args, out),
        Command::Gc(args) => gc::run(&open(&store, if args.yes { Access::Write } else { Access::Read })?, args, out),
        Command::Reindex => reindex::run(&open(&store, Access::Write)?),
        Command::Bench(args) => bench::run(&store, args, out),
        Command::Import(ImportCommand::Csv(args)) => csv_import::run(&store, args, out),
        Command::Import(ImportCommand::Cmf(args)) => exchange::import_cmf(&store, args, out),
        Command::Import(ImportCommand::Dvc(args)) => exchange::import_dvc(&store, args, out),
        Command::Export(ExportCommand::Cmf(args)) => exchange::export_cmf(&store, args, out),
        Command::Pipeline(PipelineCommand::List(args)) => exchange::pipelines(&store, args, out),
        Command::Execution(ExecutionCommand::List(args)) => exchange::executions(&store, args, out),
        Command::Artifact(ArtifactCommand::List(args)) => exchange::artifacts(&store, args, out),
        Command::Metadata(MetadataCommand::Export(args)) => exchange::metadata_export(&store, args, out),
        Command::Push(args) => push::run(&store, args, out),
        Command::Pull(args) => pull::run(&store, args, out),
        Command::Remote(command) => remote::run(&store, command, out),
        Command::Init(command) => remote::init(&store, command, out),
        Command::DemoWorker(args) => demo::worker::run(&store, args),
    }
}

/// Opens the store, and says what was recovered in doing so.
///
/// # Errors
/// Those of [`Store::open_with`].
pub fn open(path: &Path, access: Access) -> Result<Store> {
    let store = Store::open_with(path, access, EngineConfig::from_env()?)?;
    for writer in &store.recovery().writers {
        messages::say(&format!(
            "recovered {} rows of run {} whose process {} is gone",
            text::count(writer.rows_recovered),
            writer.run_id,
            writer.writer,
        ));
        for gap in &writer.gaps {
            messages::tell_loss(writer.run_id, gap);
        }
    }
    for (run, writer, reason) in &store.recovery().failures {
        messages::say(&format!("could not recover what process {writer} of run {run} left: {reason}"));
    }
    Ok(store)
}
