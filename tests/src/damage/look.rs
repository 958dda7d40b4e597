//! What a user sees of a store: its rows, and what it tells of losses.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stepwell_engine::{Access, Error, RunId, Snapshot, Store, with_causes};

use crate::damage::samples::{Row, UNKNOWN, metric_number, quiet_config};

/// Rows of one segment, or of a journal.
#[derive(Debug, Default)]
pub struct Part {
    /// The segment; `None` for live rows.
    pub path: Option<PathBuf>,
    /// The rows, in the order in which they are stored.
    pub rows: Vec<Row>,
    /// Why it could not be read to the end.
    pub fault: Option<String>,
}

/// What opening a store showed.
#[derive(Debug)]
pub struct View {
    store: Store,
    /// The rows, by where they are.
    pub parts: Vec<Part>,
    /// Losses told by gaps and by the report of recovery: how many records, and in words.
    pub told: Vec<(u64, String)>,
    /// Files that `verify` calls damaged, and why; `None` before it was asked.
    pub damaged: Option<BTreeMap<PathBuf, String>>,
    /// Runs, artifacts and lineage in words, without what changes from one opening to the next.
    pub facts: String,
}

/// How a look at a store ended.
#[derive(Debug)]
pub enum Look {
    /// It could be opened.
    Seen(Box<View>),
    /// The engine refused, naming the reason.
    Refused(Error),
    /// The engine panicked.
    Panicked(String),
}

/// Opens the store at `root` and looks at everything in it.
pub fn look(root: &Path, access: Access, runs: &[RunId]) -> Look {
    match catch_unwind(AssertUnwindSafe(|| view(root, access, runs))) {
        Ok(Ok(view)) => Look::Seen(Box::new(view)),
        Ok(Err(error)) => Look::Refused(error),
        Err(panic) => Look::Panicked(words(&*panic)),
    }
}

fn view(root: &Path, access: Access, runs: &[RunId]) -> Result<View, Error> {
    let store = Store::open_with(root, access, quiet_config(4096))?;
    let failures = store.recovery().failures.iter();
    let told = failures.map(|(_, writer, reason)| (0, format!("{writer} was not recovered: {reason}"))).collect();
    let snapshot = store.snapshot()?;
    let mut view = View { store, parts: Vec::new(), told, damaged: None, facts: String::new() };
    view.told.extend(snapshot.gaps()?.into_iter().map(|told| (told.gap.records, told.gap.detail)));
    view.facts = facts(&snapshot)?;
    let number = |run: RunId| runs.iter().position(|known| *known == run).map_or(UNKNOWN, |number| number as u16);
    for segment in snapshot.segments() {
        view.parts.push(part_of(number(segment.run_id), &segment.path));
    }
    for live in snapshot.live() {
        let mut part = Part::default();
        add(number(live.run_id), &live.batch, &mut part.rows);
        view.parts.push(part);
    }
    Ok(view)
}

impl View {
    /// Has the store verified.
    ///
    /// # Errors
    /// What kept it from being verified, or the panic.
    pub fn verify(&mut self) -> Result<(), String> {
        let verified = catch_unwind(AssertUnwindSafe(|| self.store.verify(&mut |_, _| {})));
        let report = verified.map_err(|panic| format!("it panicked: {}", words(&*panic)))?;
        let report = report.map_err(|error| message(&error))?;
        self.damaged = Some(report.damaged.into_iter().map(|file| (file.path, file.fault)).collect());
        Ok(())
    }

    /// Whether anything tells of a loss.
    pub fn is_told(&self) -> bool {
        !self.told.is_empty() || self.damaged.as_ref().is_some_and(|damaged| !damaged.is_empty())
    }
}

fn facts(snapshot: &Snapshot) -> Result<String, Error> {
    let segments = snapshot.segments().iter().map(|part| (part.n, part.blake3, part.rows, &part.metrics));
    let segments: Vec<_> = segments.collect();
    Ok(format!("{:?} {:?} {:?} {segments:?}", snapshot.runs(), snapshot.artifacts()?, snapshot.lineage()?))
}

/// Reads a segment as any Parquet reader would; whatever that does on damage is a fault of the part, not of the engine.
fn part_of(run: u16, path: &Path) -> Part {
    let mut part = Part { path: Some(path.to_owned()), ..Part::default() };
    let rows = &mut part.rows;
    part.fault = match catch_unwind(AssertUnwindSafe(|| read_segment(run, path, rows))) {
        Ok(read) => read.err(),
        Err(panic) => Some(format!("the Parquet reader panicked: {}", words(&*panic))),
    };
    part
}

fn read_segment(run: u16, path: &Path, rows: &mut Vec<Row>) -> Result<(), String> {
    let bytes = Bytes::from(std::fs::read(path).map_err(|error| error.to_string())?);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| error.to_string())?;
    for batch in builder.build().map_err(|error| error.to_string())? {
        add(run, &batch.map_err(|error| error.to_string())?, rows);
    }
    Ok(())
}

fn add(run: u16, batch: &RecordBatch, rows: &mut Vec<Row>) {
    let metric = batch.column(2).as_dictionary::<Int32Type>();
    let names: Vec<u16> =
        metric.values().as_string::<i32>().iter().map(|name| name.map_or(UNKNOWN, metric_number)).collect();
    let step = batch.column(3).as_primitive::<Int64Type>();
    let value = batch.column(5).as_primitive::<Float64Type>();
    let seq = batch.column(8).as_primitive::<Int64Type>();
    rows.extend((0..batch.num_rows()).map(|row| {
        let name = names.get(metric.keys().value(row) as usize).copied().unwrap_or(UNKNOWN);
        ((run, name, seq.value(row)), step.value(row), value.value(row).to_bits())
    }));
}

/// What a panic said.
pub fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("something that is no text").to_owned()
}

/// The message of an error with those of its causes.
pub fn message(error: &Error) -> String {
    with_causes(error)
}
