//! `stepwell doctor`: what is wrong with a store, what was lost, what can be rebuilt.
//!
//! [`examine`] reads and never writes; [`repair()`] does what the findings offer. Both need no store that opens: a damaged
//! catalog or marker is a finding like others. Nothing here judges by rules of its own: slots are read by the reader that
//! recovery uses, logs by the reader of the catalog, segments by the check of `verify`, which is a part of this.
//!
//! A repair deletes nothing that might be the only copy of something. A damaged file goes to `quarantine/`, below the path
//! that it had; an event log that is rebuilt leaves the one that was there as `<name>.damaged`. What was lost is told in the
//! event log first. Each repair may be cut short at any moment, and is finished by the next one. The lock on the event log
//! decides whether a writer lives, and the files of a living writer are left alone.

mod artifacts;
mod catalog;
mod findings;
mod journals;
mod logs;
mod marker;
mod objects;
mod packs;
mod quarantine;
mod rebuild;
mod repair;
mod segments;
mod temporaries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::compaction;
use crate::error::{Error, Result, with_causes};
use crate::ids::{ContentHash, RunId, WriterId};
use crate::layout::Layout;
use crate::snapshot::GapInfo;
use crate::store::{absolute, list_runs};
use crate::verify::{DamagedFile, VerifyReport, check_on};

pub use findings::{Finding, FindingKind, Severity};
pub use repair::{FailedRepair, RepairReport, Repaired, repair};

pub(crate) use catalog::keep as keep_catalog;
pub(crate) use rebuild::rebuild as rebuild_log;

use logs::WriterView;

/// What an examination found.
#[derive(Clone, Debug, Default)]
pub struct DoctorReport {
    /// What is not as it should be, by path.
    pub findings: Vec<Finding>,
    /// Losses that the event logs tell of already.
    pub told: Vec<GapInfo>,
    /// Segments and objects that were read.
    pub files: u64,
    /// Bytes read of them.
    pub bytes: u64,
    /// Metrics artifacts whose identity was computed anew from the rows.
    pub artifacts: u64,
    /// Writers that were looked at.
    pub writers: u64,
    /// Of them, those that are alive.
    pub alive: u64,
}

impl DoctorReport {
    /// Whether no file is damaged, and no record is lost that is not told yet. Notes are nothing wrong.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Note)
    }

    /// Records that are lost and not told yet, as far as the number is known.
    pub fn records_lost(&self) -> u64 {
        self.findings.iter().map(|finding| finding.records_lost).sum()
    }
}

/// What is read and compared with a hash.
struct Expected {
    path: PathBuf,
    hash: ContentHash,
    of: Subject,
}

/// What a hash is the hash of.
#[derive(Clone, Copy)]
enum Subject {
    /// A segment: place of its writer among the views, and of its record in the manifest.
    Segment(usize, usize),
    /// An object, and whether an event names it.
    Object(bool),
    /// A pack.
    Pack,
}

/// An examination at work.
struct Examination<'a> {
    layout: &'a Layout,
    /// Only this run.
    only: Option<RunId>,
    report: DoctorReport,
    views: Vec<WriterView>,
    /// Files that are missing or damaged.
    bad: BTreeSet<PathBuf>,
}

/// Examines the store at `path`, or one run of it. `progress` is told how many of how many files are read. Nothing is
/// written.
///
/// # Errors
/// [`Error::NoStore`], [`Error::StoreIsAFile`]; [`Error::Io`] when a folder cannot be listed.
pub fn examine(path: &Path, only: Option<RunId>, progress: &mut dyn FnMut(u64, u64)) -> Result<DoctorReport> {
    examine_layout(&layout_of(path)?, only, progress)
}

/// The run that `text` names: a run id, the beginning of one that fits a single run, or the name of a single run.
///
/// # Errors
/// [`Error::NotFound`], [`Error::AmbiguousRun`], and those of [`examine`].
pub fn find_run(path: &Path, text: &str) -> Result<RunId> {
    let layout = layout_of(path)?;
    let mut found = Vec::new();
    for run in list_runs(&layout)? {
        if run.to_string().starts_with(text) || logs::is_named(&layout, run, text) {
            found.push(run);
        }
    }
    match found.as_slice() {
        [run] => Ok(*run),
        _ if text.is_empty() || found.is_empty() => {
            Err(Error::NotFound { what: "run", name: text.to_owned(), hint: "`stepwell runs` lists them" })
        }
        _ => Err(Error::AmbiguousRun { prefix: text.to_owned(), count: found.len() }),
    }
}

fn layout_of(path: &Path) -> Result<Layout> {
    let layout = Layout::new(absolute(path)?);
    match std::fs::metadata(layout.root()) {
        Ok(metadata) if !metadata.is_dir() => Err(Error::StoreIsAFile { path: layout.root().to_owned() }),
        Ok(_) if layout.runs().is_dir() => Ok(layout),
        _ => Err(Error::NoStore { path: layout.root().to_owned() }),
    }
}

fn examine_layout(layout: &Layout, only: Option<RunId>, progress: &mut dyn FnMut(u64, u64)) -> Result<DoctorReport> {
    let mut examination = Examination::new(layout, only);
    examination.marker();
    examination.logs()?;
    examination.files(progress)?;
    examination.artifacts();
    examination.journals()?;
    examination.orphans()?;
    examination.replaced();
    examination.temporaries()?;
    examination.catalog()?;
    Ok(examination.finish())
}

/// The part of an examination that compares what is registered with what is there, and the catalog with the event logs.
pub(crate) fn verify(layout: &Layout, progress: &mut dyn FnMut(u64, u64)) -> Result<VerifyReport> {
    let mut examination = Examination::new(layout, None);
    examination.logs()?;
    examination.files(progress)?;
    examination.artifacts();
    examination.orphans()?;
    examination.catalog()?;
    let DoctorReport { findings, files, bytes, artifacts, .. } = examination.finish();
    // The other losses are told in the event log; of an empty one nothing tells.
    let is_untold = |finding: &Finding| finding.severity == Severity::Damage || finding.kind == FindingKind::LogEmpty;
    let damaged = findings.into_iter().filter(is_untold);
    let damaged = damaged.map(|finding| DamagedFile { path: finding.path, fault: finding.what });
    Ok(VerifyReport { files, bytes, artifacts, damaged: damaged.collect() })
}

impl<'a> Examination<'a> {
    fn new(layout: &'a Layout, only: Option<RunId>) -> Self {
        Self { layout, only, report: DoctorReport::default(), views: Vec::new(), bad: BTreeSet::new() }
    }

    fn find(&mut self, finding: Finding) {
        self.report.findings.push(finding);
    }

    /// Runs that are looked at.
    fn runs(&self) -> Result<Vec<RunId>> {
        match self.only {
            Some(run) => Ok(vec![run]),
            None => list_runs(self.layout),
        }
    }

    /// Reads every event log.
    fn logs(&mut self) -> Result<()> {
        for run in self.runs()? {
            for writer in logs::writers_in(self.layout, run)? {
                let view = logs::look(self.layout, run, writer, &mut self.report)?;
                self.report.writers += 1;
                self.report.alive += u64::from(view.alive);
                self.views.push(view);
            }
        }
        Ok(())
    }

    /// Reads every segment and object and compares it with its hash.
    fn files(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let mut expected: BTreeMap<PathBuf, Expected> = BTreeMap::new();
        for file in segments::expected(self.layout, &self.views).into_iter().chain(self.objects()?).chain(self.packs()?)
        {
            expected.entry(file.path.clone()).or_insert(file);
        }
        let total = expected.len() as u64;
        for file in expected.into_values() {
            match check_on(self.layout.storage(), &file.path, file.hash) {
                Ok(bytes) => self.report.bytes += bytes,
                // Compaction put others in its place since the log was read.
                Err(error) if is_missing(&error) && compaction::retired(self.layout, &file.path).is_some() => {}
                Err(error) => {
                    let finding = match file.of {
                        Subject::Segment(view, at) => segments::bad(self.layout, &self.views[view], at, &file, &error),
                        Subject::Object(is_named) => objects::bad(&file, is_named, &error),
                        // Whoever compacts removes those of no use.
                        Subject::Pack if is_missing(&error) => continue,
                        Subject::Pack => packs::bad(&file, &error),
                    };
                    self.find(finding);
                    self.bad.insert(file.path);
                }
            }
            self.report.files += 1;
            progress(self.report.files, total);
        }
        Ok(())
    }

    fn finish(mut self) -> DoctorReport {
        self.report.findings.sort_by(|a, b| (&a.path, a.kind).cmp(&(&b.path, b.kind)));
        self.report
    }
}

/// What is wrong with a file, without its path: the finding names it beside.
fn fault_of(error: &Error) -> String {
    match error {
        Error::HashMismatch { expected, actual, .. } => format!("its BLAKE3 is {actual}, and {expected} is registered"),
        Error::Damaged { fault, .. } => fault.clone(),
        Error::Io { action, source, .. } => format!("could not {action} it: {source}"),
        error => with_causes(error),
    }
}

/// Whether an error says that a file is not there.
fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

/// Whether a newer Stepwell wrote a file.
fn is_newer(error: &Error) -> bool {
    matches!(error, Error::NewerFormat { .. })
}

/// What names a writer in words.
fn name_of(run: RunId, writer: WriterId) -> String {
    format!("writer {writer} of run {run}")
}
