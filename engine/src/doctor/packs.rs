//! Packs: rows of segments once more.

use super::{Examination, Expected, Finding, FindingKind, Severity, Subject, fault_of};
use crate::error::{Error, Result};
use crate::packs::list_on;

impl Examination<'_> {
    /// The packs that are there. Their name has their hash.
    pub(super) fn packs(&mut self) -> Result<Vec<Expected>> {
        if self.only.is_some() {
            return Ok(Vec::new());
        }
        let packs = list_on(self.layout.storage(), &self.layout.packs())?.into_iter();
        Ok(packs.map(|pack| Expected { path: pack.path, hash: pack.blake3, of: Subject::Pack }).collect())
    }
}

/// What is wrong with a pack that is not what its name says.
pub(super) fn bad(file: &Expected, error: &Error) -> Finding {
    let what = format!("{}; it repeats rows of segments, and none is lost with it", fault_of(error));
    let finding = Finding::new(&file.path, FindingKind::PackDamaged, Severity::Damage, what);
    if error.is_corruption() { finding.repair("remove it; `stepwell compact` makes another") } else { finding }
}
