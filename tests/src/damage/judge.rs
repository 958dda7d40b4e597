//! Whether the engine did right by a damaged store.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use stepwell_engine::catalog::Catalog;
use stepwell_engine::doctor::{self, Finding, FindingKind, Severity};
use stepwell_engine::layout::Layout;
use stepwell_engine::{Access, Error};

use crate::damage::look::{Look, View, look, message, words};
use crate::damage::samples::{Row, quiet_config};
use crate::damage::strata::{Change, Role, Stratum};
use crate::tally::Tally;

/// What one case came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What became of the records.
    pub tally: Tally,
    /// What the engine did wrong: in words that are the same for all cases of a kind, and the particulars.
    pub faults: Vec<(String, String)>,
}

/// What was found of the records.
#[derive(Debug, Default)]
struct Found {
    kept: u64,
    lost_within: u64,
    lost_beyond: u64,
    invented: u64,
    /// What the loss or the invention is.
    example: Option<Row>,
}

impl Found {
    fn is_wrong(&self) -> bool {
        self.lost_within + self.lost_beyond + self.invented > 0
    }
}

/// Damages the sample in `root`, opens it for reading and then for logging, has the doctor repair it if `with_doctor`, and
/// judges what is seen each time.
///
/// # Errors
/// The error of the file system, when the case could not be set up.
pub fn judge(stratum: &Stratum, change: &Change, root: &Path, with_doctor: bool) -> io::Result<Verdict> {
    let sample = &stratum.sample;
    let path = root.join(&sample.image.files[stratum.file].path);
    sample.image.write(root)?;
    change.apply(&path, stratum.sound())?;
    let mut case = Case { stratum, change, root, path: &path, verdict: Verdict::default() };
    case.verdict.tally.cases = 1;
    case.verdict.tally.acknowledged = sample.records.len() as u64;
    if let Some(view) = case.open(Access::Read, "reading") {
        case.judge_view("reading", view);
    }
    let mut view = case.open(Access::Write, "logging");
    if view.as_mut().is_none_or(|view| case.is_misled(view)) {
        drop(view.take());
        view = case.repair();
    }
    let found = view.map(|view| case.judge_view("logging", view)).unwrap_or_default();
    if with_doctor {
        case.judge_doctor();
    }
    let tally = &mut case.verdict.tally;
    (tally.kept, tally.lost_within) = (found.kept, found.lost_within);
    (tally.lost_beyond, tally.invented) = (found.lost_beyond, found.invented);
    Ok(case.verdict)
}

struct Case<'a> {
    stratum: &'a Stratum,
    change: &'a Change,
    root: &'a Path,
    path: &'a Path,
    verdict: Verdict,
}

impl Case<'_> {
    fn fault(&mut self, kind: &str, particulars: String) {
        self.verdict.faults.push((format!("{}: {kind}", self.stratum.name), particulars));
    }

    /// Opens the store; `None` when it is refused for a reason that may be one.
    fn open(&mut self, access: Access, what: &str) -> Option<View> {
        match look(self.root, access, &self.stratum.sample.runs) {
            Look::Seen(view) => return Some(*view),
            Look::Panicked(words) => self.fault(&format!("opened for {what}, the engine panicked"), words),
            Look::Refused(error) => self.judge_refusal(what, &error),
        }
        None
    }

    /// One damaged file of a run must not keep the others from being read. Without its marker, a folder may be anything; and
    /// a catalog may look like one of a newer version, or like a database of another application.
    fn judge_refusal(&mut self, what: &str, error: &Error) {
        let text = message(error);
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !text.contains(&name) {
            self.fault(&format!("opened for {what}, the store is refused without the damaged file's name"), text);
            return;
        }
        let is_newer = text.contains("newer Stepwell") || text.contains("format version");
        let may_be_refused = match self.stratum.role {
            Role::Catalog => is_newer || text.contains("another application"),
            _ => name == "stepwell.json" && (is_newer || text.contains("stepwell doctor --repair")),
        };
        if !may_be_refused {
            self.fault(&format!("opened for {what}, the whole store is refused"), text);
        }
    }

    /// Whether a damaged catalog hides rows, and `verify` says so; or a damaged log names files that were removed, and hides
    /// those that took their place, which is told. What they ask for has to bring the rows back.
    fn is_misled(&mut self, view: &mut View) -> bool {
        let may_be_misled = self.stratum.role == Role::Catalog || self.stratum.takes_doctor;
        if !may_be_misled || !self.compare(view).is_wrong() {
            return false;
        }
        view.verify().is_ok() && view.is_told()
    }

    /// Does what the error says: builds the catalog anew, or removes it; has the doctor write the marker anew.
    fn repair(&mut self) -> Option<View> {
        let layout = Layout::new(self.root);
        if self.stratum.role == Role::Catalog {
            if Catalog::rebuild(&layout).is_err() {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(self.root.join(format!("catalog.db{suffix}")));
                }
            }
        } else {
            let repaired = doctor::repair(self.root, None, &quiet_config(4096), &mut |_, _| {});
            if !repaired.is_ok_and(|report| report.is_complete()) {
                if self.stratum.takes_doctor {
                    self.fault("the doctor cannot bring rows back that are there", String::new());
                }
                // It says that a newer version made the store.
                std::fs::write(self.path, self.stratum.sound()).ok()?;
            }
        }
        self.open(Access::Write, "logging after the repair")
    }

    /// What the doctor repairs stays repaired, and costs no record but the damaged.
    fn judge_doctor(&mut self) {
        let config = quiet_config(4096);
        let repair = || doctor::repair(self.root, None, &config, &mut |_, _| {});
        let report = match catch_unwind(AssertUnwindSafe(repair)) {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return self.fault("the doctor refuses to repair", message(&error)),
            Err(panic) => return self.fault("the doctor panicked", words(&*panic)),
        };
        if !report.failed.is_empty() {
            self.fault("a repair failed", format!("{:?}", report.failed));
        }
        if !report.is_complete() {
            return;
        }
        match doctor::examine(self.root, None, &mut |_, _| {}) {
            Ok(again) => {
                // The content of an artifact that is gone cannot be made anew, and stays a finding.
                let is_left = |finding: &&Finding| {
                    finding.severity != Severity::Note && finding.kind != FindingKind::ObjectMissing
                };
                if let Some(finding) = again.findings.iter().find(is_left) {
                    self.fault("what the doctor repaired is not healthy", format!("{finding:?}"));
                }
            }
            Err(error) => self.fault("what the doctor repaired cannot be examined", message(&error)),
        }
        match look(self.root, Access::Write, &self.stratum.sample.runs) {
            Look::Seen(view) => drop(self.judge_view("logging after the doctor", *view)),
            Look::Panicked(words) => self.fault("opened after the doctor, the engine panicked", words),
            Look::Refused(error) => self.fault("opened after the doctor, the store is refused", message(&error)),
        }
    }

    /// Verifying reads all segments, so it is asked where it has to say something: when a file other than a journal was
    /// damaged, and when something is missing that nothing else tells of.
    fn judge_view(&mut self, what: &str, mut view: View) -> Found {
        let is_journal = matches!(self.stratum.role, Role::Journal(_));
        let mut found = self.compare(&view);
        if !is_journal || found.is_wrong() && !view.is_told() {
            if let Err(error) = view.verify() {
                self.fault(&format!("{what}, the store cannot be verified"), error);
            }
            found = self.compare(&view);
        }
        let example = found.example.map_or_else(String::new, |row| format!("{row:?}"));
        let lost = found.lost_within + found.lost_beyond;
        if found.invented > 0 {
            self.fault(&format!("{what}, rows that nobody logged"), format!("{} such as {example}", found.invented));
        }
        // Whoever only reads cannot put right what is next to the damage; to be told is enough.
        let may_repair = what != "reading";
        if found.lost_beyond > 0 && may_repair {
            let told = format!("{} such as {example}; told: {:?}", found.lost_beyond, view.told);
            self.fault(&format!("{what}, records are missing whose bytes were not touched"), told);
        }
        if lost > 0 && !view.is_told() {
            self.fault(&format!("{what}, records are missing and nothing tells of it"), format!("{lost}: {example}"));
        }
        // A loss of 0 records is one that could not be counted.
        let counted: u64 = view.told.iter().map(|(records, _)| *records).fold(0, u64::saturating_add);
        if counted < lost && !view.told.is_empty() && view.told.iter().all(|(records, _)| *records > 0) && is_journal {
            self.fault(&format!("{what}, fewer records are told lost than are"), format!("{counted} of {lost}"));
        }
        self.judge_facts(what, &view);
        found
    }

    /// A file without records still says something: what it said must be there, or its loss be told.
    fn judge_facts(&mut self, what: &str, view: &View) {
        if self.stratum.facts_stay && view.facts != self.stratum.facts && !view.is_told() {
            let difference = first_difference(&self.stratum.facts, &view.facts);
            self.fault(&format!("{what}, what is said of runs is wrong and nothing tells of it"), difference);
        }
    }

    /// Compares rows with records. In segments that `verify` calls damaged, rows that nobody logged do not count.
    fn compare(&self, view: &View) -> Found {
        let is_damaged = |path: &PathBuf| view.damaged.as_ref().is_some_and(|damaged| damaged.contains_key(path));
        let is_trusted = |path: &Option<PathBuf>| !path.as_ref().is_some_and(is_damaged);
        let mut rows: Vec<Row> = Vec::with_capacity(self.stratum.sample.records.len());
        for part in &view.parts {
            let is_trusted = is_trusted(&part.path);
            let counts = |row: &&Row| is_trusted || self.stratum.sample.records.binary_search(row).is_ok();
            rows.extend(part.rows.iter().filter(counts));
        }
        rows.sort_unstable();
        let mut found = Found::default();
        let mut rows = rows.into_iter().peekable();
        for record in &self.stratum.sample.records {
            while let Some(row) = rows.next_if(|row| row < record) {
                found.invented += 1;
                found.example = Some(row);
            }
            if rows.next_if_eq(record).is_some() {
                found.kept += 1;
                continue;
            }
            found.example = found.example.or(Some(*record));
            if self.stratum.may_cost(self.change, record) {
                found.lost_within += 1;
            } else {
                found.lost_beyond += 1;
            }
        }
        let rest: Vec<Row> = rows.collect();
        found.invented += rest.len() as u64;
        found.example = found.example.or(rest.first().copied());
        found
    }
}

fn first_difference(expected: &str, found: &str) -> String {
    let same = expected.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let part = |text: &str| -> String {
        let bytes = text.as_bytes();
        String::from_utf8_lossy(&bytes[same.saturating_sub(40).min(bytes.len())..(same + 60).min(bytes.len())])
            .into_owned()
    };
    format!("expected {:?}, found {:?}", part(expected), part(found))
}
