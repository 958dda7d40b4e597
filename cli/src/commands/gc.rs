//! `stepwell gc`.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use stepwell_engine::Store;
use stepwell_engine::objects::{Fate, GarbageReport, GcOptions, UnreferencedObject, collect_garbage};

use crate::args::{Format, GcArgs};
use crate::error::{CliError, Result};
use crate::out::Out;
use crate::table::{Side, TextTable};
use crate::{messages, sql, text};

/// Lists the objects that no run names; with `--yes`, removes those older than the grace period.
///
/// # Errors
/// [`CliError::NotRemoved`] when some could not be removed; [`CliError::Engine`] when an event log or a manifest is damaged.
pub fn run(store: &Store, args: &GcArgs, out: &mut Out) -> Result<()> {
    sql::check_target(&args.output, out)?;
    let options = GcOptions { grace: args.grace, dry_run: !args.yes };
    let report = collect_garbage(store.layout(), &options)?;
    let printed = print(&report, args, out);
    tell(&report);
    let failed = report.count(&Fate::Failed(String::new())).0;
    // What failed is told by the exit code, also when nobody reads the list.
    if failed > 0 {
        return Err(CliError::NotRemoved { objects: text::plural(failed, "object") });
    }
    printed
}

/// Says on stderr what was found.
fn tell(report: &GarbageReport) {
    let named = format!("{}, {}", text::plural(report.referenced, "object"), text::bytes(report.referenced_bytes));
    messages::say(&format!("needed: {named}"));
    for (fate, what) in [
        (Fate::Young, "named by no run, and too young to be removed"),
        (Fate::Removable, "named by no run; --yes removes it"),
        (Fate::Removed, "removed"),
    ] {
        let (count, bytes) = report.count(&fate);
        if count > 0 {
            messages::say(&format!("{what}: {}, {}", text::plural(count, "object"), text::bytes(bytes)));
        }
    }
    for object in &report.unreferenced {
        if let Fate::Failed(why) = &object.fate {
            messages::say(&format!("{}: {why}", object.hash));
        }
    }
}

fn print(report: &GarbageReport, args: &GcArgs, out: &mut Out) -> Result<()> {
    if args.output.format() == Format::Table && args.output.output.is_none() {
        if !report.unreferenced.is_empty() {
            out.write_all(table(&report.unreferenced).lines(0).as_bytes())?;
        }
    } else {
        let batch = batch(&report.unreferenced)?;
        sql::print(&batch.schema(), &[batch], &args.output, out)?;
    }
    out.flush()?;
    Ok(())
}

fn table(objects: &[UnreferencedObject]) -> TextTable {
    use Side::{Left, Right};
    let mut table = TextTable::new(&[("object", Left), ("size", Right), ("age", Right), ("fate", Left)]);
    for object in objects {
        let nanos = i64::try_from(object.age.as_nanos()).unwrap_or(i64::MAX);
        table.row([
            object.hash.to_string(),
            text::bytes(object.bytes),
            text::duration(nanos),
            object.fate.as_str().to_owned(),
        ]);
    }
    table
}

fn batch(objects: &[UnreferencedObject]) -> Result<RecordBatch> {
    let whole = |of: fn(&UnreferencedObject) -> u64| -> ArrayRef {
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        Arc::new(Int64Array::from_iter_values(objects.iter().map(|object| signed(of(object)))))
    };
    let hashes = objects.iter().map(|object| object.hash.to_string());
    let fates = objects.iter().map(|object| object.fate.as_str());
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("object", Arc::new(StringArray::from_iter_values(hashes)), false),
        ("bytes", whole(|object| object.bytes), false),
        ("age_secs", whole(|object| object.age.as_secs()), false),
        ("fate", Arc::new(StringArray::from_iter_values(fates)), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
