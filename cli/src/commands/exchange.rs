//! `stepwell import cmf` and `dvc`, `export cmf`, `pipeline`, `execution`, `artifact` and `metadata`.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use stepwell_engine::Access;
use stepwell_exchange::cmf::{
    Listing, View, document_text, list_artifacts, list_executions, list_pipelines, show_artifacts, show_executions,
};
use stepwell_exchange::mlmd::MlmdStore;
use stepwell_exchange::{
    CmfOptions, DvcOptions, ImportReport, export_cmf as export, import_cmf as import, import_dvc as import_project,
    mirror_of,
};

use crate::args::{Format, OutputArgs};
use crate::error::{CliError, Result};
use crate::exchange_args::{
    ArtifactListArgs, ExecutionListArgs, ExportCmfArgs, ImportCmfArgs, ImportDvcArgs, MetadataExportArgs,
    PipelineListArgs, SourceArgs,
};
use crate::out::{self, Out};
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

use super::open;

/// Columns of numbers.
const NUMBERS: [&str; 4] = ["id", "stages", "executions", "create_time_since_epoch"];

/// Imports a store of CMF.
///
/// # Errors
/// [`CliError::Exchange`], [`CliError::Engine`].
pub fn import_cmf(store: &Path, args: &ImportCmfArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let options =
        CmfOptions { folder: args.artifacts.clone(), caches: args.cache.clone(), pipeline: args.pipeline.clone() };
    tell(&import(&open(store, Access::Create)?, &args.path, &options)?, &args.output, out)
}

/// Imports a project of DVC.
///
/// # Errors
/// As [`import_cmf`].
pub fn import_dvc(store: &Path, args: &ImportDvcArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let options = DvcOptions { pipeline: args.pipeline.clone() };
    tell(&import_project(&open(store, Access::Create)?, &args.folder, &options)?, &args.output, out)
}

fn tell(report: &ImportReport, output: &OutputArgs, out: &mut Out) -> Result<()> {
    report.notes.iter().for_each(|note| messages::say(&note.to_string()));
    let (new, known) = (report.new.len() as u64, report.known.len() as u64);
    if new > 0 {
        messages::say(&format!(
            "imported {} with {}; the source has {} and {}",
            text::plural(new, "run"),
            text::plural(report.records, "record"),
            text::plural(report.artifacts, "artifact"),
            text::plural(report.events, "event"),
        ));
    }
    if known > 0 {
        messages::say(&format!("{} imported before, left as they are", text::plural(known, "run")));
    }
    if output.format() == Format::Table && output.output.is_none() {
        for run in &report.new {
            writeln!(out, "{run}")?;
        }
        return Ok(());
    }
    let runs = || report.new.iter().map(|run| (run, true)).chain(report.known.iter().map(|run| (run, false)));
    let ids = Arc::new(StringArray::from_iter_values(runs().map(|(run, _)| run.to_string()))) as ArrayRef;
    let is_new = Arc::new(BooleanArray::from(runs().map(|(_, is_new)| is_new).collect::<Vec<_>>())) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([("run_id", ids, false), ("is_new", is_new, false)])?;
    sql::print(&batch.schema(), &[batch], output, out)
}

/// Writes an ML Metadata file.
///
/// # Errors
/// As [`import_cmf`].
pub fn export_cmf(store: &Path, args: &ExportCmfArgs, out: &mut Out) -> Result<()> {
    let report = export(&open(store, Access::Read)?, &args.path)?;
    report.notes.iter().for_each(|note| messages::say(note));
    messages::say(&format!(
        "wrote {}, {} and {} beside them",
        text::plural(report.executions, "execution"),
        text::plural(report.artifacts, "artifact"),
        text::plural(report.files.len() as u64, "file"),
    ));
    writeln!(out, "{}", report.path.display())?;
    Ok(())
}

/// The rows of the file that was named, or of the store.
fn read(store: &Path, source: &SourceArgs) -> Result<MlmdStore> {
    Ok(match &source.file_name {
        Some(path) => MlmdStore::read(path)?,
        None => mirror_of(&open(store, Access::Read)?)?,
    })
}

/// Lists pipelines.
///
/// # Errors
/// As [`import_cmf`].
pub fn pipelines(store: &Path, args: &PipelineListArgs, out: &mut Out) -> Result<()> {
    let mlmd = read(store, &args.source)?;
    print(&list_pipelines(&View::new(&mlmd)), "pipelines", &args.output, out)
}

/// Lists the executions of a pipeline, or shows one.
///
/// # Errors
/// As [`import_cmf`]; [`CliError::NoneFound`].
pub fn executions(store: &Path, args: &ExecutionListArgs, out: &mut Out) -> Result<()> {
    let mlmd = read(store, &args.source)?;
    let view = View::new(&mlmd);
    match &args.execution_uuid {
        Some(uuid) => {
            let found = show_executions(&view, &args.pipeline, uuid)?;
            details(&found, "execution", uuid, &args.output, out)
        }
        None => print(&list_executions(&view, &args.pipeline)?, "executions", &args.output, out),
    }
}

/// Lists the artifacts of a pipeline, or shows some.
///
/// # Errors
/// As [`import_cmf`]; [`CliError::NoneFound`].
pub fn artifacts(store: &Path, args: &ArtifactListArgs, out: &mut Out) -> Result<()> {
    let mlmd = read(store, &args.source)?;
    let view = View::new(&mlmd);
    match &args.artifact_name {
        Some(name) => {
            let found = show_artifacts(&view, &args.pipeline, name)?;
            details(&found, "artifact", name, &args.output, out)
        }
        None => print(&list_artifacts(&view, &args.pipeline)?, "artifacts", &args.output, out),
    }
}

/// Writes the document of a pipeline.
///
/// # Errors
/// As [`import_cmf`].
pub fn metadata_export(store: &Path, args: &MetadataExportArgs, out: &mut Out) -> Result<()> {
    let mlmd = read(store, &args.source)?;
    let document = document_text(&View::new(&mlmd), &args.pipeline, args.execution_uuid.as_deref())?;
    match &args.json_file_name {
        Some(path) => out::write_file(path, |file| Ok(writeln!(file, "{document}")?)),
        None => Ok(writeln!(out, "{document}")?),
    }
}

fn print(listing: &Listing, what: &str, output: &OutputArgs, out: &mut Out) -> Result<()> {
    sql::check_target(output, out)?;
    if output.format() != Format::Table || output.output.is_some() {
        let batch = batch(listing)?;
        return sql::print(&batch.schema(), &[batch], output, out);
    }
    if listing.rows.is_empty() {
        messages::say(&format!("no {what}"));
        return Ok(());
    }
    let side = |name: &String| if NUMBERS.contains(&name.as_str()) { Side::Right } else { Side::Left };
    let columns: Vec<(&str, Side)> = listing.columns.iter().map(|name| (name.as_str(), side(name))).collect();
    let mut table = TextTable::new(&columns);
    listing.rows.iter().for_each(|row| table.row(row.clone()));
    Ok(out.write_all(table.lines(0).as_bytes())?)
}

/// Prints one table for each thing that was found; in other formats one, with the number of the thing before each row.
fn details(found: &[Listing], what: &'static str, name: &str, output: &OutputArgs, out: &mut Out) -> Result<()> {
    if found.is_empty() {
        return Err(CliError::NoneFound { what, name: name.to_owned() });
    }
    if output.format() == Format::Table && output.output.is_none() {
        for (place, listing) in found.iter().enumerate() {
            if place > 0 {
                writeln!(out)?;
            }
            print(listing, what, output, out)?;
        }
        return Ok(());
    }
    let mut columns = vec![what.to_owned()];
    columns.extend(found.iter().take(1).flat_map(|listing| listing.columns.clone()));
    let rows = found.iter().zip(1..).flat_map(|(listing, number): (_, i64)| {
        listing.rows.iter().map(move |row| [vec![number.to_string()], row.clone()].concat())
    });
    print(&Listing { columns, rows: rows.collect() }, what, output, out)
}

fn batch(listing: &Listing) -> Result<RecordBatch> {
    let columns = listing.columns.iter().enumerate().map(|(place, name)| {
        let cells = listing.rows.iter().map(|row| row[place].as_str());
        let array: ArrayRef = if NUMBERS.contains(&name.as_str()) {
            Arc::new(Int64Array::from_iter(cells.map(|cell| cell.parse().ok())))
        } else {
            Arc::new(StringArray::from_iter_values(cells))
        };
        (name.as_str(), array, true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
