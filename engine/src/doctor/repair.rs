//! Doing what the findings offer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{
    DoctorReport, Examination, Finding, FindingKind, Severity, catalog, examine_layout, journals, layout_of, marker,
    name_of, quarantine, rebuild, segments,
};
use crate::compaction::{self, Age};
use crate::config::EngineConfig;
use crate::error::{Result, with_causes};
use crate::event_log::read_log;
use crate::events::WriterStarted;
use crate::ids::{RunId, WriterId};
use crate::layout::{Layout, journal_in};
use crate::manifest::Manifest;
use crate::recovery::{RecoveredWriter, journals_of, recover_writer};
use crate::scratch;
use crate::storage::remove_file;

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// What was found before.
    pub found: DoctorReport,
    /// What was done, in order.
    pub done: Vec<Repaired>,
    /// What could not be done.
    pub failed: Vec<FailedRepair>,
    /// Writers whose journals, or segments that no event named, were taken up, with the losses told for them.
    pub recovered: Vec<RecoveredWriter>,
}

/// One repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// The file.
    pub path: PathBuf,
    /// What was done with it.
    pub what: String,
}

/// A repair that failed. What it would have changed is as it was, or the next repair goes on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRepair {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

impl RepairReport {
    /// Findings that no repair is known for: somebody has to decide, or to wait for a writer to end.
    pub fn left(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.found.findings.iter();
        findings.filter(|finding| finding.repair.is_none() && finding.severity != Severity::Note)
    }

    /// Whether everything that was wrong is put right, or told as lost.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.left().next().is_none()
    }
}

/// Examines the store at `path`, or one run of it, and does what the findings offer. `progress` is told how many of how
/// many files are read.
///
/// # Errors
/// Those of [`super::examine`], [`crate::Error::InvalidSetting`]. A repair that fails is no error but in the report.
pub fn repair(
    path: &Path,
    only: Option<RunId>,
    config: &EngineConfig,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<RepairReport> {
    config.check()?;
    let layout = layout_of(path)?;
    let found = examine_layout(&layout, only, progress)?;
    // What a newer version made is not for this one to judge.
    if found.findings.iter().any(|finding| finding.kind == FindingKind::MarkerNewer) {
        return Ok(RepairReport { found, ..RepairReport::default() });
    }
    let mut work = Work { layout: &layout, config, report: RepairReport::default() };
    work.store(&found);
    for (run, writer) in writers_of(&found) {
        let findings: Vec<_> = found
            .findings
            .iter()
            .filter(|finding| finding.run == Some(run) && finding.writer == Some(writer))
            .collect();
        work.writer(run, writer, &findings);
    }
    work.replaced(&found);
    work.objects(&found);
    work.temporaries(only);
    work.catalog(&found);
    Ok(RepairReport { found, ..work.report })
}

/// Writers with a finding that can be repaired; sorted.
fn writers_of(found: &DoctorReport) -> BTreeSet<(RunId, WriterId)> {
    let is_of_writer = |finding: &&Finding| finding.repair.is_some() && finding.kind != FindingKind::SegmentReplaced;
    let repairable = found.findings.iter().filter(is_of_writer);
    repairable.filter_map(|finding| finding.run.zip(finding.writer)).collect()
}

fn is_broken_log(kind: FindingKind) -> bool {
    use FindingKind::{LogDamagedLine, LogEmpty, LogHeadless, LogMissing};
    matches!(kind, LogDamagedLine | LogHeadless | LogEmpty | LogMissing)
}

fn is_bad_segment(kind: FindingKind) -> bool {
    use FindingKind::{SegmentDamaged, SegmentMissing, SegmentUnreadable};
    matches!(kind, SegmentMissing | SegmentDamaged | SegmentUnreadable)
}

/// A repair at work.
struct Work<'a> {
    layout: &'a Layout,
    config: &'a EngineConfig,
    report: RepairReport,
}

impl Work<'_> {
    fn done(&mut self, path: impl Into<PathBuf>, what: impl Into<String>) {
        self.report.done.push(Repaired { path: path.into(), what: what.into() });
    }

    /// Notes what came of a repair.
    fn note(&mut self, path: PathBuf, result: Result<()>, what: &str) {
        match result {
            Ok(()) => self.done(path, what),
            Err(error) => self.report.failed.push(FailedRepair { path, why: with_causes(&error) }),
        }
    }

    /// The marker, and a copy of the catalog before anything that it may know better is written anew.
    fn store(&mut self, found: &DoctorReport) {
        let has = |wanted: &dyn Fn(FindingKind) -> bool| {
            found.findings.iter().any(|finding| finding.repair.is_some() && wanted(finding.kind))
        };
        if has(&|kind| matches!(kind, FindingKind::MarkerMissing | FindingKind::MarkerDamaged)) {
            self.note(self.layout.marker(), marker::repair(self.layout), "written anew");
        }
        let is_catalog = |kind| matches!(kind, FindingKind::CatalogDamaged | FindingKind::CatalogDiffers);
        if has(&|kind| is_catalog(kind) || is_broken_log(kind))
            && let Err(error) = catalog::keep(self.layout)
        {
            self.report.failed.push(FailedRepair { path: self.layout.catalog(), why: with_causes(&error) });
        }
    }

    fn writer(&mut self, run: RunId, writer: WriterId, findings: &[&Finding]) {
        if let Err(error) = self.writer_steps(run, writer, findings) {
            let path = self.layout.events(run, writer);
            self.report.failed.push(FailedRepair { path, why: with_causes(&error) });
        }
    }

    fn writer_steps(&mut self, run: RunId, writer: WriterId, findings: &[&Finding]) -> Result<()> {
        let path = self.layout.events(run, writer);
        if findings.iter().any(|finding| is_broken_log(finding.kind)) {
            if !rebuild::rebuild(self.layout, run, writer)? {
                return self.lives(run, writer);
            }
            self.done(path.clone(), "written anew from what is sound; what is lost is told in it");
        }
        let suspects: Vec<PathBuf> = findings
            .iter()
            .filter(|finding| is_bad_segment(finding.kind))
            .map(|finding| finding.path.clone())
            .collect();
        match segments::set_damaged_aside(self.layout, run, writer, &suspects)? {
            Some(done) => self.report.done.extend(done),
            None => return self.lives(run, writer),
        }
        self.recover(run, writer)?;
        let started = Manifest::of(&read_log(self.layout, &path)?, &path)?.started;
        if started.journals.as_deref().is_some_and(|folder| !scratch::is_of(folder, self.layout, run, writer)) {
            // This store is a copy: recovery has read the journals, and they belong to the one that it is a copy of.
            return Ok(());
        }
        for ring in journals::unreadable(self.layout, &started)? {
            self.set_journal_aside(&started, ring)?;
        }
        if !journals_of(self.layout, &started)?.is_empty() {
            // Those that can be read and are still there have been left for the sake of the others, or hold what cannot be
            // named. What is in segments goes now.
            self.recover(run, writer)?;
            for ring in journals_of(self.layout, &started)? {
                self.set_journal_aside(&started, ring)?;
            }
        }
        // An empty folder is left where all journals were set aside.
        match &started.journals {
            Some(folder) => scratch::remove(folder),
            None => drop(self.layout.storage().remove_folder(&self.layout.journals(run, writer))),
        }
        Ok(())
    }

    fn lives(&mut self, run: RunId, writer: WriterId) -> Result<()> {
        let path = self.layout.events(run, writer);
        let why = format!("{} is alive, or another process is repairing what it left", name_of(run, writer));
        self.report.failed.push(FailedRepair { path, why });
        Ok(())
    }

    fn recover(&mut self, run: RunId, writer: WriterId) -> Result<()> {
        let Some(recovered) = recover_writer(self.layout, self.config, run, writer)? else {
            return self.lives(run, writer);
        };
        let is_first = !self.report.recovered.iter().any(|known| (known.run_id, known.writer) == (run, writer));
        if is_first {
            let rows = recovered.rows_recovered;
            let what = format!("{} recovered: {rows} records became segments", name_of(run, writer));
            self.done(self.layout.events(run, writer), what);
        }
        if is_first || recovered.rows_recovered > 0 || !recovered.gaps.is_empty() {
            self.report.recovered.push(recovered);
        }
        Ok(())
    }

    fn set_journal_aside(&mut self, started: &WriterStarted, ring: u32) -> Result<()> {
        let path = journal_in(&started.journal_folder(self.layout), ring);
        let (run, writer) = (started.run_id, started.writer);
        quarantine::set_aside_as(self.layout, &path, &self.layout.journal(run, writer, ring))?;
        self.done(path, "set aside: it cannot be read; the loss is told");
        Ok(())
    }

    /// Removes the files of segments that others took the place of.
    fn replaced(&mut self, found: &DoctorReport) {
        let findings = || found.findings.iter().filter(|finding| finding.kind == FindingKind::SegmentReplaced);
        let writers: BTreeSet<_> = findings().filter_map(|finding| finding.run.zip(finding.writer)).collect();
        for (run, writer) in writers {
            let age = Age::Grace(self.config.replaced_grace);
            if let Err(error) = compaction::remove_of_writer(self.layout, run, writer, age) {
                let path = self.layout.events(run, writer);
                self.report.failed.push(FailedRepair { path, why: with_causes(&error) });
            }
        }
        for finding in findings().filter(|finding| !self.layout.storage().exists(&finding.path)) {
            self.report.done.push(Repaired { path: finding.path.clone(), what: "removed".to_owned() });
        }
    }

    /// Objects and packs.
    fn objects(&mut self, found: &DoctorReport) {
        for finding in found.findings.iter().filter(|finding| finding.repair.is_some()) {
            if matches!(finding.kind, FindingKind::ObjectDamaged | FindingKind::ObjectMisnamed) {
                let result = quarantine::set_aside(self.layout, &finding.path).map(drop);
                self.note(finding.path.clone(), result, "set aside");
            } else if finding.kind == FindingKind::PackDamaged {
                // It is a copy, and the copy of nothing else.
                let result = remove_file(self.layout.storage(), &finding.path);
                self.note(finding.path.clone(), result, "removed");
            }
        }
    }

    /// Removes the temporary files that are left once the dead writers are recovered.
    fn temporaries(&mut self, only: Option<RunId>) {
        let mut examination = Examination::new(self.layout, only);
        if let Err(error) = examination.logs().and_then(|()| examination.temporaries()) {
            let path = self.layout.runs();
            self.report.failed.push(FailedRepair { path, why: with_causes(&error) });
            return;
        }
        for finding in examination.finish().findings {
            if finding.kind == FindingKind::TemporaryFile {
                let result = remove_file(self.layout.storage(), &finding.path);
                self.note(finding.path, result, "removed");
            }
        }
    }

    fn catalog(&mut self, found: &DoctorReport) {
        use FindingKind::{CatalogDamaged, CatalogDiffers, CatalogForeign, CatalogMissing, CatalogNewer};
        let path = self.layout.catalog();
        let has = |kinds: &[FindingKind]| found.findings.iter().any(|finding| kinds.contains(&finding.kind));
        if has(&[CatalogForeign, CatalogNewer]) {
            return;
        }
        // Anew also after repairs: to the log of a run that was closed, lines were added that a refresh does not look for.
        if has(&[CatalogMissing, CatalogDamaged, CatalogDiffers]) || !self.report.done.is_empty() {
            match catalog::rebuild(self.layout) {
                Ok(runs) => self.done(path, format!("built anew from the event logs of {runs} runs")),
                Err(error) => self.report.failed.push(FailedRepair { path, why: with_causes(&error) }),
            }
        }
    }
}
