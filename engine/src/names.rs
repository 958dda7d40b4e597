//! Names that users choose, checked once where they enter.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::WriterId;

/// Longest name in bytes of UTF-8. A metrics name becomes a folder name, and file systems stop at 255 bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// What a name is used for; said in the error when it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NameKind {
    /// Name of a pipeline.
    Pipeline,
    /// Name of a stage.
    Stage,
    /// Display name of a run.
    Run,
    /// The name given to `log_metric(name, ...)`.
    MetricsName,
    /// One key of a metrics dict, such as `loss`.
    Metric,
    /// Name of a parameter.
    Param,
    /// Name of a tag.
    Tag,
    /// Name of an artifact.
    Artifact,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipeline => "pipeline name",
            Self::Stage => "stage name",
            Self::Run => "run name",
            Self::MetricsName => "metrics name",
            Self::Metric => "metric",
            Self::Param => "parameter name",
            Self::Tag => "tag name",
            Self::Artifact => "artifact name",
        })
    }
}

/// Checks a name: 1 to [`NAME_BYTES_MAX`] bytes, no control characters (NUL and newline among them).
///
/// # Errors
/// [`Error::InvalidName`] says which rule was broken.
pub fn check_name(kind: NameKind, name: &str) -> Result<()> {
    let fault = if name.is_empty() {
        "it is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 200 bytes"
    } else if name.chars().any(char::is_control) {
        "it holds a control character (NUL, newline, tab, ...)"
    } else if name.trim() != name {
        "it starts or ends with white space"
    } else if kind == NameKind::MetricsName && encoded_folder(name).len() > 255 {
        "its folder name would be longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName { kind, name: shorten(name), fault })
}

fn shorten(name: &str) -> String {
    if name.chars().count() <= 60 { name.to_owned() } else { name.chars().take(57).chain("...".chars()).collect() }
}

/// A checked metrics name: the name given to `log_metric(name, ...)`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetricsName(String);

impl MetricsName {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn try_new(name: &str) -> Result<Self> {
        check_name(NameKind::MetricsName, name)?;
        Ok(Self(name.to_owned()))
    }

    /// The name as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the folder in the run folder that holds the segments of this metrics name.
    pub fn folder(&self) -> String {
        encoded_folder(&self.0)
    }
}

impl fmt::Display for MetricsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Percent-encodes what a folder name cannot hold or what would mean something else there.
fn encoded_folder(name: &str) -> String {
    let mut folder = String::with_capacity(name.len());
    // A leading dot hides a folder, and a folder named like a writer would collide with that writer's journals.
    let first_needs_escape = name.starts_with('.') || name.parse::<WriterId>().is_ok();
    for (index, c) in name.chars().enumerate() {
        if matches!(c, '/' | '\\' | '%' | ':' | '*' | '?' | '"' | '<' | '>' | '|') || (index == 0 && first_needs_escape)
        {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                folder.push_str(&format!("%{byte:02X}"));
            }
        } else {
            folder.push(c);
        }
    }
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass() {
        for name in ["loss", "train/loss", "vérité", "a b", "λ", &"x".repeat(NAME_BYTES_MAX)] {
            check_name(NameKind::Metric, name).expect(name);
        }
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (name, part) in
            [("", "empty"), (long.as_str(), "longer"), ("a\0b", "control"), ("a\nb", "control"), (" a", "white space")]
        {
            let error = check_name(NameKind::Metric, name).expect_err("refused").to_string();
            assert!(error.contains(part) && error.contains("metric"), "{error}");
        }
    }

    #[test]
    fn folders_are_distinct_and_safe() {
        let names = ["train/loss", "train%2Floss", ".", "..", ".hidden", "w-0-0-00000000", "plain"];
        let folders: std::collections::BTreeSet<_> =
            names.iter().map(|name| MetricsName::try_new(name).expect(name).folder()).collect();
        assert_eq!(folders.len(), names.len());
        for folder in folders {
            assert!(
                !folder.contains('/') && !folder.starts_with('.') && folder.parse::<WriterId>().is_err(),
                "{folder}"
            );
        }
    }
}
