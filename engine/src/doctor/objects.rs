//! Objects: the content of artifacts, by hash.

use super::{Examination, Expected, Finding, FindingKind, Severity, Subject, fault_of, is_missing};
use crate::error::{Error, Result};
use crate::ids::ContentHash;
use crate::storage::list_if_there;

impl Examination<'_> {
    /// The objects that are there. Their name is their hash.
    pub(super) fn objects(&mut self) -> Result<Vec<Expected>> {
        let mut found = Vec::new();
        if self.only.is_some() {
            return Ok(found);
        }
        let (root, storage) = (self.layout.objects(), self.layout.storage());
        for folder in list_if_there(storage, &root)?.iter().filter(|entry| entry.is_folder) {
            let folder = root.join(&folder.name);
            for entry in list_if_there(storage, &folder)? {
                let path = folder.join(&entry.name);
                match entry.name.parse::<ContentHash>() {
                    Ok(hash) => found.push(Expected { path, hash, of: Subject::Object(false) }),
                    Err(_) => {
                        let what = "its name is not a BLAKE3 hash";
                        let finding = Finding::new(path, FindingKind::ObjectMisnamed, Severity::Damage, what);
                        self.find(finding.repair("set it aside"));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// What is wrong with an object that is not what its name says.
pub(super) fn bad(file: &Expected, is_named: bool, error: &Error) -> Finding {
    if is_missing(error) {
        let what = "an artifact was stored as this object, and it is not there";
        return Finding::new(&file.path, FindingKind::ObjectMissing, Severity::Damage, what);
    }
    let whose = if is_named { "" } else { "; no event names it, a folder's manifest may" };
    let what = format!("{}{whose}", fault_of(error));
    let finding = Finding::new(&file.path, FindingKind::ObjectDamaged, Severity::Damage, what);
    if error.is_corruption() {
        finding.repair("set it aside, so that the content can be stored again")
    } else {
        finding
    }
}
