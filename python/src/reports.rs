//! What calls give back: artifacts, counters and the report of a finished run.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stepwell_engine::ArtifactKey;

/// An artifact that was linked to a run.
#[pyclass(frozen, get_all, module = "stepwell")]
pub struct Artifact {
    /// Name, usually the path.
    name: String,
    /// Type, such as "Dataset" or "Model".
    artifact_type: String,
    /// BLAKE3 of the content, 64 hex digits.
    hash: String,
    /// Size of the content in bytes.
    bytes: u64,
}

impl From<stepwell_engine::LinkedArtifact> for Artifact {
    fn from(linked: stepwell_engine::LinkedArtifact) -> Self {
        Self {
            name: linked.name,
            artifact_type: linked.artifact_type,
            hash: linked.hash.to_string(),
            bytes: linked.bytes,
        }
    }
}

impl Artifact {
    /// What identifies it.
    pub fn key(&self) -> ArtifactKey {
        ArtifactKey { artifact_type: self.artifact_type.clone(), uri: self.hash.clone(), scope: String::new() }
    }

    /// The name it was logged under.
    pub fn name_of(&self) -> String {
        self.name.clone()
    }
}

#[pymethods]
impl Artifact {
    fn __repr__(&self) -> String {
        format!(
            "<stepwell.Artifact {} {:?} {} bytes, blake3 {}>",
            self.artifact_type,
            self.name,
            self.bytes,
            &self.hash[..12]
        )
    }
}

/// A versioned metrics artifact: everything logged under one metrics name up to a commit.
#[pyclass(frozen, get_all, module = "stepwell")]
pub struct MetricsArtifact {
    /// The metrics name.
    metrics_name: String,
    /// Counted by commit, from 1.
    version: u32,
    /// BLAKE3 of the records in canonical order, 64 hex digits: equal content, equal identity.
    identity: String,
    /// Rows in it.
    rows: u64,
    /// Id of the run.
    run_id: String,
}

impl From<stepwell_engine::MetricsArtifact> for MetricsArtifact {
    fn from(artifact: stepwell_engine::MetricsArtifact) -> Self {
        Self {
            metrics_name: artifact.metrics_name,
            version: artifact.version,
            identity: artifact.identity.to_string(),
            rows: artifact.rows,
            run_id: artifact.run_id.to_string(),
        }
    }
}

#[pymethods]
impl MetricsArtifact {
    fn __repr__(&self) -> String {
        format!(
            "<stepwell.MetricsArtifact {:?} version {}, {} rows, {}>",
            self.metrics_name,
            self.version,
            self.rows,
            &self.identity[..12]
        )
    }
}

/// What a finished run says about itself.
#[pyclass(frozen, module = "stepwell")]
pub struct Report {
    told: stepwell_engine::RunReport,
}

impl From<stepwell_engine::RunReport> for Report {
    fn from(told: stepwell_engine::RunReport) -> Self {
        Self { told }
    }
}

#[pymethods]
impl Report {
    /// Id of the run.
    #[getter]
    fn run_id(&self) -> String {
        self.told.run_id.to_string()
    }

    /// Records logged.
    #[getter]
    fn rows(&self) -> u64 {
        self.told.rows
    }

    /// Log calls that had to wait for room.
    #[getter]
    fn waits(&self) -> u64 {
        self.told.waits
    }

    /// Records dropped because the journal was full.
    #[getter]
    fn drops(&self) -> u64 {
        self.told.drops
    }

    /// The metrics artifacts that were committed.
    #[getter]
    fn artifacts(&self) -> Vec<MetricsArtifact> {
        self.told.artifacts.iter().cloned().map(MetricsArtifact::from).collect()
    }

    /// What was lost, by kind and ring: dictionaries with `kind`, `ring`, `records`, `records_max` and `detail`, as in the SQL
    /// table `gaps`. Empty when nothing was.
    #[getter]
    fn gaps<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let gap = |gap: &stepwell_engine::events::GapEvent| {
            let row = PyDict::new(py);
            row.set_item("kind", gap.kind.as_str())?;
            row.set_item("ring", gap.ring)?;
            row.set_item("records", gap.records)?;
            row.set_item("records_max", gap.records_max)?;
            row.set_item("detail", &gap.detail)?;
            Ok(row)
        };
        self.told.gaps.iter().map(gap).collect()
    }

    /// What the end of the run compacted: dictionaries with `metrics_name`, `rows`, `segments_before` and `segments_after`.
    #[getter]
    fn compacted<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let name = |name: &stepwell_engine::CompactedName| {
            let row = PyDict::new(py);
            row.set_item("metrics_name", &name.metrics_name)?;
            row.set_item("rows", name.rows)?;
            row.set_item("segments_before", name.segments_before)?;
            row.set_item("segments_after", name.segments_after)?;
            Ok(row)
        };
        self.told.compacted.iter().map(name).collect()
    }

    /// What could not be done, in words.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.told.warnings.clone()
    }

    fn __repr__(&self) -> String {
        let told = &self.told;
        format!(
            "<stepwell.Report run {}: {} rows, {} waits, {} drops, {} warnings>",
            told.run_id,
            told.rows,
            told.waits,
            told.drops,
            told.warnings.len()
        )
    }
}

/// Counters of a run.
#[pyclass(frozen, get_all, module = "stepwell")]
pub struct Stats {
    /// Records logged.
    rows_logged: u64,
    /// Records in committed segments.
    rows_committed: u64,
    /// Log calls that had to wait for room.
    waits: u64,
    /// Records dropped because the journal was full.
    drops: u64,
    /// Synchronisations to the device.
    syncs: u64,
    /// Segments published.
    segments: u64,
}

impl From<stepwell_engine::RunStats> for Stats {
    fn from(stats: stepwell_engine::RunStats) -> Self {
        Self {
            rows_logged: stats.rows_logged,
            rows_committed: stats.rows_committed,
            waits: stats.waits,
            drops: stats.drops,
            syncs: stats.syncs,
            segments: stats.segments,
        }
    }
}

#[pymethods]
impl Stats {
    fn __repr__(&self) -> String {
        format!(
            "<stepwell.Stats {} rows logged, {} committed, {} waits, {} drops, {} syncs, {} segments>",
            self.rows_logged, self.rows_committed, self.waits, self.drops, self.syncs, self.segments
        )
    }
}
