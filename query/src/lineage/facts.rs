//! What the forms say about runs, artifacts and times, read from the engine's types in one place.

use arrow::temporal_conversions::timestamp_ms_to_datetime;
use stepwell_engine::{ArtifactInfo, RunInfo};

/// Address of the project: producer of events, and the space its names are in.
pub(super) const PROJECT: &str = "https://github.com/stepwell/stepwell";
/// Version of Stepwell that writes.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The years 1 to 9999, which RFC 3339 can write; milliseconds since the Unix epoch.
const MILLIS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// A moment as RFC 3339 has it, in UTC, to the millisecond.
pub(super) fn moment_of_millis(millis: i64) -> String {
    let moment = timestamp_ms_to_datetime(millis.clamp(*MILLIS.start(), *MILLIS.end()));
    moment.unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// A moment of a run.
pub(super) fn moment_of_nanos(nanos: i64) -> String {
    moment_of_millis(nanos.div_euclid(1_000_000))
}

/// What CMF calls the id of an execution.
pub(super) fn execution_id(run: &RunInfo) -> String {
    run.execution.id.to_string()
}

/// Type of the execution.
pub(super) fn execution_type(run: &RunInfo) -> &str {
    if run.execution.execution_type.is_empty() { &run.stage } else { &run.execution.execution_type }
}

/// Command line of the run; empty where it was not told.
pub(super) fn command(run: &RunInfo) -> &str {
    &run.execution.command
}

/// Address of the git repository that the run was started in.
pub(super) fn git_remote(run: &RunInfo) -> Option<&str> {
    run.execution.git.remote.as_deref()
}

/// Commit that was checked out there.
pub(super) fn git_commit(run: &RunInfo) -> Option<&str> {
    run.execution.git.commit.as_deref()
}

/// A declared or custom property of an artifact as text.
pub(super) fn property(artifact: &ArtifactInfo, key: &str) -> Option<String> {
    artifact.properties.get(key).or_else(|| artifact.declared.get(key)).map(stepwell_engine::ParamValue::to_display)
}
