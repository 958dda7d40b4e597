//! Ids of rows in ML Metadata's tables: hashes of what the row stands for.
//!
//! An id is 52 bits of the BLAKE3 of a kind, a salt and the parts of a natural key. 52 bits because these ids pass through
//! programs that hold numbers as 64-bit floats (data frames, JavaScript), which are exact up to 2^53.
//!
//! Two keys of one table may fall on the same id: with a million rows the chance is 1 in 9,000. SQLite then refuses the
//! second row, and the catalog is built anew with the next salt, until no two keys meet. A set of keys that meets under some
//! salt still does when keys are added, so the salt found step by step is the one a rebuild finds.

use std::fmt::Display;

use crate::ids::RunId;

/// Bits of an id.
pub(super) const ID_BITS: u32 = 52;
/// Where AUTOINCREMENT goes on counting: above all ids of Stepwell, as `0001_initial.sql` says.
pub(super) const SEQUENCE_START: i64 = 1 << ID_BITS;
/// Ids below are those of the fixed types of `0001_initial.sql`.
const ID_FIRST: u64 = 1_000;
/// Salts tried before giving up. Reached only with some hundred million rows in one table.
pub(super) const SALT_MAX: u32 = 64;

/// Makes ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    pub salt: u32,
    pub bits: u32,
}

impl Ids {
    pub fn execution_type(self, stage: &str) -> i64 {
        self.id("execution type", &[stage])
    }

    pub fn artifact_type(self, name: &str) -> i64 {
        self.id("artifact type", &[name])
    }

    pub fn pipeline(self, name: &str) -> i64 {
        self.id("pipeline", &[name])
    }

    pub fn stage(self, context_name: &str) -> i64 {
        self.id("stage", &[context_name])
    }

    pub fn execution(self, run: RunId) -> i64 {
        self.id("execution", &[&run.to_string()])
    }

    /// Id of the artifact that (type, uri, scope) identifies.
    pub fn artifact(self, artifact_type: &str, uri: &str, scope: &str) -> i64 {
        self.id("artifact", &[artifact_type, uri, scope])
    }

    pub fn event(self, artifact: i64, execution: i64, direction: i64) -> i64 {
        self.id("event", &[&number(artifact), &number(execution), &number(direction)])
    }

    pub fn association(self, context: i64, execution: i64) -> i64 {
        self.id("association", &[&number(context), &number(execution)])
    }

    pub fn attribution(self, context: i64, artifact: i64) -> i64 {
        self.id("attribution", &[&number(context), &number(artifact)])
    }

    pub fn segment(self, run: RunId, writer: &str, file: &str) -> i64 {
        self.id("segment", &[&run.to_string(), writer, file])
    }

    fn id(self, kind: &str, parts: &[&str]) -> i64 {
        let hash = hash_parts(kind, self.salt, parts);
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        let limit = 1_u64 << self.bits;
        (ID_FIRST + u64::from_le_bytes(bytes) % (limit - ID_FIRST)).cast_signed()
    }
}

fn number(value: impl Display) -> String {
    value.to_string()
}

/// A UUID for something that CMF gives a random one: made from what it stands for, so that it stays the same.
pub(super) fn stable_uuid(kind: &str, parts: &[&str]) -> String {
    let hash = hash_parts(kind, 0, parts);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn hash_parts(kind: &str, salt: u32, parts: &[&str]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    // The length in front of each part keeps ("ab", "c") and ("a", "bc") apart.
    for part in [kind].iter().chain(parts) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        // These values are in the catalogs of users: a change needs a new catalog version.
        let ids = Ids { salt: 0, bits: ID_BITS };
        assert_eq!(ids.pipeline("digits"), PIPELINE_DIGITS);
        assert_ne!(ids.pipeline("digits"), ids.stage("digits"));
        assert_ne!(ids.pipeline("digits"), Ids { salt: 1, ..ids }.pipeline("digits"));
        assert_ne!(ids.artifact("ab", "c", ""), ids.artifact("a", "bc", ""));
        assert_eq!(stable_uuid("metrics", &["a"]), UUID_A);
    }

    #[test]
    fn ids_stay_in_their_range() {
        let ids = Ids { salt: 0, bits: ID_BITS };
        for n in 0..10_000 {
            let id = ids.pipeline(&n.to_string());
            assert!((1_000..1 << ID_BITS).contains(&id), "{id}");
        }
    }

    const PIPELINE_DIGITS: i64 = 2_774_470_758_133_068;
    const UUID_A: &str = "dbc23012-9664-83e9-b25c-9f36df66eac6";
}
