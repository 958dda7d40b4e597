//! The catalog: an index that can be built anew at any time.

use super::{Examination, Finding, FindingKind, Severity, quarantine};
use crate::catalog::{Catalog, CatalogFault, fault_of, files_of};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::storage::create_folder;

impl Examination<'_> {
    /// Compares the catalog with what the event logs say. Of one run alone this is not asked: the catalog is of them all.
    pub(super) fn catalog(&mut self) -> Result<()> {
        // On a network file system each process keeps the catalog in memory.
        if self.only.is_some() || self.layout.file_system().is_remote {
            return Ok(());
        }
        let path = self.layout.catalog();
        let fault = match fault_of(self.layout) {
            Ok(fault) => fault,
            // An event log that cannot be read is told already, and the catalog cannot be compared with it.
            Err(Error::NewerFormat { .. } | Error::Damaged { .. } | Error::Io { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Some(fault) = fault else { return Ok(()) };
        let finding = |kind, severity, what: String| Finding::new(&path, kind, severity, what);
        let repair = "build it anew from the event logs";
        let damage = Severity::Damage;
        self.find(match fault {
            CatalogFault::Missing => {
                finding(FindingKind::CatalogMissing, Severity::Note, "there is no catalog".to_owned()).repair(repair)
            }
            CatalogFault::Foreign => {
                let what = "it is a database of another application; move it away".to_owned();
                finding(FindingKind::CatalogForeign, damage, what)
            }
            CatalogFault::Newer(what) => finding(FindingKind::CatalogNewer, damage, what),
            CatalogFault::Damaged(what) => finding(FindingKind::CatalogDamaged, damage, what).repair(repair),
            CatalogFault::Differs(tables) => {
                let what = format!("it does not say what the event logs say, in {}", tables.join(", "));
                finding(FindingKind::CatalogDiffers, damage, what).repair(repair)
            }
            CatalogFault::Unreadable(what) => finding(FindingKind::CatalogUnreadable, damage, what),
        });
        Ok(())
    }
}

/// Keeps a copy of the catalog: when a line of an event log is damaged, it may be the only place of what the line said.
pub(crate) fn keep(layout: &Layout) -> Result<()> {
    for file in files_of(layout) {
        create_folder(layout.storage(), &layout.quarantine())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let copied = layout.quarantine().join(format!("{}copy-{name}", crate::layout::TEMP_PREFIX));
        std::fs::copy(&file, &copied).map_err(Error::io("copy the catalog to", &copied))?;
        let sync = std::fs::File::open(&copied).and_then(|file| file.sync_all());
        sync.map_err(|source| Error::SyncFailed { path: copied.clone(), source })?;
        // A link takes no name that is there; an earlier repair that was cut short may have kept the same already.
        quarantine::keep_as(layout.storage(), &copied, &layout.quarantine().join(name))?;
        crate::storage::remove_file(layout.storage(), &copied)?;
    }
    Ok(())
}

/// Builds the catalog anew; how many runs it holds.
pub(super) fn rebuild(layout: &Layout) -> Result<u64> {
    Ok(Catalog::rebuild(layout)?.runs)
}
