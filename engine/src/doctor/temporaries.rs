//! Temporary files that are left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::logs::WriterView;
use super::{Examination, Finding, FindingKind, Severity, rebuild};
use crate::compaction;
use crate::error::Result;
use crate::event_log::is_locked;
use crate::ids::{RunId, WriterId};
use crate::layout::{EVENTS_SUFFIX, TEMP_PREFIX};
use crate::objects::ABANDONED_AFTER;
use crate::storage::list_if_there;

/// Age from which a log under a temporary name has been locked by its owner, if it has one.
const LOCKED_AFTER: Duration = Duration::from_secs(60);

impl Examination<'_> {
    pub(super) fn temporaries(&mut self) -> Result<()> {
        let mut found: Vec<(PathBuf, Option<(RunId, WriterId)>)> = Vec::new();
        if self.only.is_none() {
            for folder in [self.layout.root().to_owned(), self.layout.objects(), self.layout.packs()] {
                let old = self.names_in(&folder)?.into_iter().filter(|path| is_older(path, ABANDONED_AFTER));
                found.extend(old.map(|path| (path, None)));
            }
        }
        for run in self.runs()? {
            let folder = self.layout.run(run);
            for path in self.names_in(&folder)? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // A log is written under a temporary name by whoever holds its lock.
                let is_log = name.ends_with(EVENTS_SUFFIX) || rebuild::is_temporary(&name);
                if is_log && is_older(&path, LOCKED_AFTER) && is_locked(self.layout, &path).is_ok_and(|locked| !locked)
                {
                    found.push((path, None));
                } else if let Some(writer) = compaction::mark_owner(&path) {
                    // A compaction sets it under the lock of the log.
                    let is_of = |view: &&WriterView| (view.run, view.writer) == (run, writer) && !view.alive;
                    if is_older(&path, LOCKED_AFTER) && self.views.iter().any(|view| is_of(&view)) {
                        found.push((path, Some((run, writer))));
                    }
                }
            }
            for entry in list_if_there(self.layout.storage(), &folder)?.iter().filter(|entry| entry.is_folder) {
                for path in self.names_in(&folder.join(&entry.name))? {
                    let owner = self.owner(run, &entry.name, &path);
                    let is_left = match owner {
                        Some(view) => !view.alive && view.manifest.is_some(),
                        None => is_older(&path, ABANDONED_AFTER),
                    };
                    if is_left {
                        let owner = owner.map(|view| (view.run, view.writer));
                        found.push((path, owner));
                    }
                }
            }
        }
        for (path, owner) in found {
            let what = "a file that somebody who is gone was writing";
            let finding = Finding::new(path, FindingKind::TemporaryFile, Severity::Note, what).repair("remove it");
            self.find(owner.map_or(finding.clone(), |(run, writer)| finding.of(run, writer)));
        }
        Ok(())
    }

    fn names_in(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let entries = list_if_there(self.layout.storage(), folder)?.into_iter();
        let temporary = entries.filter(|entry| !entry.is_folder && entry.name.starts_with(TEMP_PREFIX));
        Ok(temporary.map(|entry| folder.join(entry.name)).collect())
    }

    /// The writer that a temporary file belongs to: by the folder, if it is one of journals, else by the file's name.
    fn owner(&self, run: RunId, folder: &str, path: &Path) -> Option<&WriterView> {
        let name = path.file_name()?.to_str()?.strip_prefix(TEMP_PREFIX)?;
        let by_name = || name.rsplit_once('-')?.0.parse().ok();
        let writer: WriterId = folder.parse().ok().or_else(by_name)?;
        self.views.iter().find(|view| (view.run, view.writer) == (run, writer))
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.ok().and_then(|time| time.elapsed().ok()).is_some_and(|elapsed| elapsed >= age)
}
