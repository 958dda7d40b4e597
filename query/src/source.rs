//! Where a query finds its rows: a snapshot of a store, or plain data in its place.

use std::path::{Path, PathBuf};

use stepwell_engine::{
    AliasInfo, ArtifactInfo, GapInfo, LineageEdge, LinkInfo, LiveRows, Result, RunId, RunInfo, SegmentInfo, Snapshot,
    SummaryRow, WriterStats,
};

/// What one query sees of a store: one moment, in which each row is in a segment or live, never both.
pub trait SnapshotSource: Send + Sync {
    /// The store folder. Paths below it are shown without it.
    fn root(&self) -> &Path;
    /// All runs.
    fn runs(&self) -> &[RunInfo];
    /// Committed segments.
    fn segments(&self) -> &[SegmentInfo];
    /// Rows still in journals.
    fn live(&self) -> &[LiveRows];
    /// One row per run, metrics name and metric that fit, from stored statistics.
    ///
    /// # Errors
    /// What the engine met while merging them.
    fn summary_where(&self, fits: &dyn Fn(RunId, &str, &str) -> bool) -> Result<Vec<SummaryRow>>;
    /// All artifacts.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn artifacts(&self) -> Result<Vec<ArtifactInfo>>;
    /// All edges between runs and artifacts.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn lineage(&self) -> Result<Vec<LineageEdge>>;
    /// All links between artifacts.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn links(&self) -> Result<Vec<LinkInfo>>;
    /// All aliases.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn aliases(&self) -> Result<Vec<AliasInfo>>;
    /// All losses that were told.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn gaps(&self) -> Result<Vec<GapInfo>>;
    /// What the engine did for each writer.
    ///
    /// # Errors
    /// What the engine met while reading the catalog.
    fn writer_stats(&self) -> Result<Vec<WriterStats>>;
}

impl SnapshotSource for Snapshot {
    fn root(&self) -> &Path {
        self.layout().root()
    }

    fn runs(&self) -> &[RunInfo] {
        self.runs()
    }

    fn segments(&self) -> &[SegmentInfo] {
        self.segments()
    }

    fn live(&self) -> &[LiveRows] {
        self.live()
    }

    fn summary_where(&self, fits: &dyn Fn(RunId, &str, &str) -> bool) -> Result<Vec<SummaryRow>> {
        self.summary_where(fits)
    }

    fn artifacts(&self) -> Result<Vec<ArtifactInfo>> {
        self.artifacts()
    }

    fn lineage(&self) -> Result<Vec<LineageEdge>> {
        self.lineage()
    }

    fn links(&self) -> Result<Vec<LinkInfo>> {
        self.links()
    }

    fn aliases(&self) -> Result<Vec<AliasInfo>> {
        self.aliases()
    }

    fn gaps(&self) -> Result<Vec<GapInfo>> {
        self.gaps()
    }

    fn writer_stats(&self) -> Result<Vec<WriterStats>> {
        self.writer_stats()
    }
}

/// A snapshot held as plain data: for tests, and for rows that come from somewhere other than a store.
#[derive(Clone, Debug, Default)]
pub struct SnapshotData {
    /// The folder paths are shown relative to.
    pub root: PathBuf,
    /// All runs.
    pub runs: Vec<RunInfo>,
    /// Committed segments.
    pub segments: Vec<SegmentInfo>,
    /// Rows in no segment.
    pub live: Vec<LiveRows>,
    /// Merged statistics.
    pub summary: Vec<SummaryRow>,
    /// Artifacts.
    pub artifacts: Vec<ArtifactInfo>,
    /// Edges between runs and artifacts.
    pub lineage: Vec<LineageEdge>,
    /// Links between artifacts.
    pub links: Vec<LinkInfo>,
    /// Aliases.
    pub aliases: Vec<AliasInfo>,
    /// Losses.
    pub gaps: Vec<GapInfo>,
    /// Writers in numbers.
    pub writer_stats: Vec<WriterStats>,
}

impl SnapshotSource for SnapshotData {
    fn root(&self) -> &Path {
        &self.root
    }

    fn runs(&self) -> &[RunInfo] {
        &self.runs
    }

    fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    fn live(&self) -> &[LiveRows] {
        &self.live
    }

    fn summary_where(&self, fits: &dyn Fn(RunId, &str, &str) -> bool) -> Result<Vec<SummaryRow>> {
        let rows = self.summary.iter().filter(|row| fits(row.run_id, &row.metrics_name, &row.stats.metric));
        Ok(rows.cloned().collect())
    }

    fn artifacts(&self) -> Result<Vec<ArtifactInfo>> {
        Ok(self.artifacts.clone())
    }

    fn lineage(&self) -> Result<Vec<LineageEdge>> {
        Ok(self.lineage.clone())
    }

    fn links(&self) -> Result<Vec<LinkInfo>> {
        Ok(self.links.clone())
    }

    fn aliases(&self) -> Result<Vec<AliasInfo>> {
        Ok(self.aliases.clone())
    }

    fn gaps(&self) -> Result<Vec<GapInfo>> {
        Ok(self.gaps.clone())
    }

    fn writer_stats(&self) -> Result<Vec<WriterStats>> {
        Ok(self.writer_stats.clone())
    }
}
