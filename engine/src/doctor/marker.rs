//! The marker: the small file that says which format the store has.

use super::{Examination, Finding, FindingKind, Severity, is_newer};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::storage::{Disk, sync_folder};
use crate::store::{check_marker, write_marker};

impl Examination<'_> {
    pub(super) fn marker(&mut self) {
        let path = self.layout.marker();
        let repair = "write it anew";
        if !path.exists() {
            let what = "there is no file that says which format the store has";
            self.find(Finding::new(path, FindingKind::MarkerMissing, Severity::Note, what).repair(repair));
            return;
        }
        if let Err(error) = check_marker(self.layout) {
            let kind = if is_newer(&error) { FindingKind::MarkerNewer } else { FindingKind::MarkerDamaged };
            let finding = Finding::new(path, kind, Severity::Damage, super::fault_of(&error));
            // One that cannot be read may say anything.
            let can_repair = matches!(error, Error::Damaged { .. });
            self.find(if can_repair { finding.repair(repair) } else { finding });
        }
    }
}

/// Writes the marker anew. Every format there has been so far is the one that this build writes.
pub(super) fn repair(layout: &Layout) -> Result<()> {
    write_marker(layout).map_err(Error::io("write", layout.marker()))?;
    sync_folder(&Disk, layout.root())
}
