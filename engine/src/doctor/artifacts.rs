//! Metrics artifacts: whether the rows of the segments have the identity that was registered.

use std::path::PathBuf;

use super::{Examination, Finding, FindingKind, Severity};
use crate::compaction;
use crate::error::with_causes;
use crate::segment::identity_of_segments;

impl Examination<'_> {
    /// Computes the identity of the last artifact of each metrics name anew, from the rows of its segments.
    pub(super) fn artifacts(&mut self) {
        let mut findings = Vec::new();
        for view in &self.views {
            let Some(manifest) = &view.manifest else { continue };
            let folder = self.layout.run(view.run);
            for commit in manifest.commits.values() {
                let segments = manifest.segments.iter().filter(|segment| commit.segments.contains(&segment.n));
                let paths: Vec<PathBuf> = segments.map(|segment| folder.join(&segment.file)).collect();
                // Damaged segments are told already; of those set aside, the log tells.
                let is_told = manifest.set_aside.iter().any(|segment| commit.segments.contains(&segment.n));
                if is_told || paths.iter().any(|path| self.bad.contains(path)) {
                    continue;
                }
                self.report.artifacts += 1;
                let what = match identity_of_segments(self.layout, view.writer, &paths) {
                    Ok((rows, identity)) if identity == commit.identity && rows == commit.rows => continue,
                    Ok((rows, identity)) => format!(
                        "the metrics artifact {} has {} records and identity {}; its segments hold {rows} and {identity}",
                        commit.metrics_name, commit.rows, commit.identity
                    ),
                    // Compaction put others in the place of some since the log was read.
                    Err(_) if paths.iter().any(|path| compaction::retired(self.layout, path).is_some()) => continue,
                    Err(error) => with_causes(&error),
                };
                let finding = Finding::new(&view.path, FindingKind::ArtifactDiffers, Severity::Damage, what);
                let repair = "register the records that are there as another version";
                findings.push(finding.of(view.run, view.writer).repair_of_dead(view.alive, repair));
            }
        }
        self.report.findings.extend(findings);
    }
}
