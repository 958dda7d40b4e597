//! What CMF puts into names.

/// The parts of an artifact's name: `<path>:<hash>`, `<path>:<hash>:<execution id>` and longer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactName<'a> {
    /// The path, or what stands in its place.
    pub path: &'a str,
    /// What follows the hash, without the colon.
    pub rest: Option<&'a str>,
}

impl<'a> ArtifactName<'a> {
    /// Parts a name at the hash, which is the artifact's uri; a name without it is all path.
    pub fn new(name: &'a str, uri: &str) -> Self {
        let whole = Self { path: name, rest: None };
        if uri.is_empty() {
            return whole;
        }
        let at = |colon: usize| {
            let rest = name[colon + 1..].strip_prefix(uri)?;
            match rest.strip_prefix(':') {
                Some(rest) => Some(Self { path: &name[..colon], rest: Some(rest) }),
                None => rest.is_empty().then_some(Self { path: &name[..colon], rest: None }),
            }
        };
        name.match_indices(':').find_map(|(colon, _)| at(colon)).unwrap_or(whole)
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &'a str {
        self.path.rsplit('/').next().unwrap_or(self.path)
    }

    /// Whether `text` means this artifact in CMF's way: the whole name, its path, or its file name.
    pub fn is_meant_by(&self, name: &str, text: &str) -> bool {
        text == name || text == self.path || text == self.file_name()
    }
}

/// The stage in the name of a context: what follows `<pipeline>/`.
pub fn stage_of<'a>(pipeline: &str, context_name: &'a str) -> &'a str {
    let rest = context_name.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('/'));
    rest.filter(|stage| !stage.is_empty()).unwrap_or(context_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parted_at_the_hash() {
        let name = ArtifactName::new("a/b:c.csv:69e6", "69e6");
        assert_eq!((name.path, name.rest, name.file_name()), ("a/b:c.csv", None, "b:c.csv"));
        let name = ArtifactName::new("cmf_artifacts/u/metrics/m:b2:2:5d6d", "b2");
        assert_eq!((name.path, name.rest), ("cmf_artifacts/u/metrics/m", Some("2:5d6d")));
        assert_eq!(ArtifactName::new("a:69e6f", "69e6").path, "a:69e6f");
        assert_eq!(ArtifactName::new("a:", "").path, "a:");
        assert!(name.is_meant_by("cmf_artifacts/u/metrics/m:b2:2:5d6d", "m"));
    }

    #[test]
    fn a_stage_is_what_follows_its_pipeline() {
        assert_eq!(stage_of("demo", "demo/train"), "train");
        assert_eq!(stage_of("demo", "demonstration/train"), "demonstration/train");
        assert_eq!(stage_of("a/b", "a/b/c/d"), "c/d");
        assert_eq!(stage_of("demo", "demo/"), "demo/");
    }
}
