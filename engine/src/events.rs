//! Events: what a writer says about its run, one checksummed JSON line each. The truth that the catalog indexes.
//!
//! A line is a JSON object whose last field is the CRC-32C of the bytes before it:
//!
//! ```text
//! {"n":3,"time":1795403358728123456,"event":"tags","tags":{"team":"vision"},"crc":"9a0b1c2d"}
//! ```
//!
//! `docs/FORMAT.md` lists the fields of every event.

mod gap;
mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{ContentHash, RunId, WriterId};
use crate::layout::stays_inside;

pub use gap::{GapEvent, GapKind};
pub use records::{
    AliasEvent, ArtifactKey, ArtifactRecord, ContextRecord, ExecutionRecord, LinkEvent, Origin, Properties,
};

/// Newest version of the event log's format that is read, said in [`WriterStarted::format`].
pub const EVENT_FORMAT: u32 = 2;
/// Version that a log begins with. It is raised to [`EVENT_FORMAT`], by another [`WriterStarted`], before an event that a
/// reader of this version would take for none of its business, and read the wrong files: [`SegmentsReplaced`].
pub const EVENT_FORMAT_FIRST: u32 = 1;

/// One line of an event log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// Position in the log, from 0.
    pub n: u64,
    /// Nanoseconds since the Unix epoch, UTC; never lower than in the line before.
    pub time: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened to a run, as told by one of its writers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Always the first line. Told again, with all fields the same but a higher format, before the first event that needs it.
    WriterStarted(Box<WriterStarted>),
    /// Parameters were set; a later value of a key replaces the earlier one.
    Params {
        /// Name to typed value.
        params: BTreeMap<String, ParamValue>,
    },
    /// Tags were set; a later value of a key replaces the earlier one.
    Tags {
        /// Name to text.
        tags: BTreeMap<String, String>,
    },
    /// The run read or wrote an artifact.
    Artifact(Box<ArtifactEvent>),
    /// The run read or wrote an artifact that is described in ML Metadata's own terms.
    Record(Box<ArtifactRecord>),
    /// What the run's execution is called in ML Metadata.
    Execution(Box<ExecutionRecord>),
    /// Properties of a pipeline or stage.
    Context(Box<ContextRecord>),
    /// One artifact came of another.
    Link(Box<LinkEvent>),
    /// A name for a version of an artifact was set, moved or taken away.
    Alias(Box<AliasEvent>),
    /// Final values of an execution (CMF's `log_execution_metrics`).
    ExecutionMetrics {
        /// Name of the set of values.
        name: String,
        /// Key to typed value.
        metrics: BTreeMap<String, ParamValue>,
    },
    /// Segments were published and the watermarks moved: the commit point of their rows.
    Segments(Box<SegmentsEvent>),
    /// A segment that is missing or damaged was set aside: it is no longer one of its writer's segments.
    SegmentSetAside {
        /// Path below the run folder, as in the event that published it.
        file: String,
        /// Records in it.
        rows: u64,
    },
    /// Compaction: segments took the place of others, with the same records. From this line on the new ones count, and the
    /// old ones do not.
    SegmentsReplaced(Box<SegmentsReplaced>),
    /// The files of segments that others took the place of were removed.
    ReplacedRemoved {
        /// Their numbers.
        segments: Vec<u64>,
    },
    /// A versioned metrics artifact was registered.
    MetricsCommitted(MetricsCommitted),
    /// Records were lost; each loss is told once.
    Gap(GapEvent),
    /// A dead writer's journal was read by another process, which appended this and the events after it.
    Recovered {
        /// Host of the recovering process.
        host: String,
        /// Its process id.
        pid: u32,
        /// Rows found in the journal that were in no segment yet.
        rows: u64,
    },
    /// Always the last line of a run that was finished.
    WriterFinished {
        /// How it ended.
        state: FinishState,
        /// Records logged by this writer.
        rows: u64,
        /// Calls that had to wait for room in the ring.
        waits: u64,
        /// Records dropped because the ring was full.
        drops: u64,
    },
    /// An event of a newer version that this one does not know; kept in the log, not indexed.
    #[serde(other)]
    Unknown,
}

/// How a writer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishState {
    /// By `finish()`, or the end of the `with` block.
    Finished,
    /// By an exception, or `finish` with a failure.
    Failed,
}

/// First line of an event log: which run, which writer, on which machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriterStarted {
    /// [`EVENT_FORMAT`] of the writer.
    pub format: u32,
    /// The run.
    pub run_id: RunId,
    /// The writer.
    pub writer: WriterId,
    /// Pipeline of the run.
    pub pipeline: String,
    /// Stage of the run.
    pub stage: String,
    /// Display name of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the run this writer belongs to was started by its first writer, as far as this writer knows; nanoseconds.
    pub started: i64,
    /// Where the process runs.
    #[serde(flatten)]
    pub process: ProcessInfo,
    /// Version of Stepwell.
    pub version: String,
    /// Command line, as text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Git repository the process was started in; read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_repo: Option<String>,
    /// Commit checked out there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// Branch checked out there; absent when none is, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_branch: Option<String>,
    /// Folder of the journals on the writer's machine; absent when they are in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journals: Option<PathBuf>,
}

/// Identity of a process that survives the reuse of its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Host name.
    pub host: String,
    /// Identity of the machine's current boot; empty where unknown.
    pub boot_id: String,
    /// Process id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot; 0 where unknown.
    pub pid_start: u64,
}

/// A typed parameter or property value.
///
/// In JSON: `true`, `7`, `0.5`, `"text"`; a float that JSON cannot write is `{"float":"NaN"}` (or `inf`, `-inf`).
#[derive(Clone, Debug, PartialEq)]
pub enum ParamValue {
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// Text.
    Text(String),
}

impl ParamValue {
    /// The value as SQL and tables show it.
    pub fn to_display(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ParamJson {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Special { float: String },
}

impl Serialize for ParamValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => ParamJson::Bool(*value),
            Self::Int(value) => ParamJson::Int(*value),
            Self::Float(value) if value.is_finite() => ParamJson::Float(*value),
            Self::Float(value) => ParamJson::Special { float: value.to_string() },
            Self::Text(value) => ParamJson::Text(value.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ParamValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match ParamJson::deserialize(deserializer)? {
            ParamJson::Bool(value) => Self::Bool(value),
            ParamJson::Int(value) => Self::Int(value),
            ParamJson::Float(value) => Self::Float(value),
            ParamJson::Text(value) => Self::Text(value),
            ParamJson::Special { float } => Self::Float(float.parse().map_err(serde::de::Error::custom)?),
        })
    }
}

/// Direction of an edge between a run and an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The run read the artifact.
    Input,
    /// The run wrote the artifact.
    Output,
    /// The run wrote the artifact for itself: a result of validation, for instance. Only records have it.
    InternalOutput,
}

impl Direction {
    /// The word used in SQL and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::InternalOutput => "internal_output",
        }
    }
}

/// The run read or wrote an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArtifactEvent {
    /// Direction of the edge.
    pub direction: Direction,
    /// ML Metadata type: `Dataset`, `Model`, or another name the caller chose.
    pub artifact_type: String,
    /// Name the caller gave it, usually the path.
    pub name: String,
    /// BLAKE3 of the content. Of a folder: of its manifest.
    pub hash: ContentHash,
    /// Size of the content in bytes.
    pub bytes: u64,
    /// Whether the content was copied to `objects/`.
    pub stored: bool,
    /// Properties the caller gave it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, ParamValue>,
}

/// Segments were published; every row below the watermarks is in a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentsEvent {
    /// The new segments.
    pub segments: Vec<SegmentRecord>,
    /// For each ring: every lower sequence number of it is in a segment.
    pub watermarks: Vec<Watermark>,
}

/// Segments took the place of others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentsReplaced {
    /// The metrics name of them all.
    pub metrics_name: String,
    /// Numbers of those that no longer count.
    pub replaced: Vec<u64>,
    /// Those that count instead.
    pub segments: Vec<SegmentRecord>,
}

impl SegmentsReplaced {
    /// Whether it can be followed: nothing was put in the place of one of them before, and no file is outside of the run.
    pub(crate) fn is_usable(&self, replaced: &BTreeSet<u64>) -> bool {
        let is_new = |n: &u64| !replaced.contains(n);
        self.replaced.iter().all(is_new) && self.segments.iter().all(|segment| stays_inside(&segment.file))
    }
}

/// Position in one ring of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Number of the ring: the `<n>` of `<n>.journal`.
    pub ring: u32,
    /// Records of this ring that are in segments; the next record has this index.
    pub committed: u64,
}

/// One published segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Number of the segment, counted by its writer from 0.
    pub n: u64,
    /// Metrics name of its rows.
    pub metrics_name: String,
    /// Path below the run folder.
    pub file: String,
    /// BLAKE3 of the file.
    pub blake3: ContentHash,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
    /// Lowest time in microseconds since the Unix epoch.
    pub time_min: i64,
    /// Highest time in microseconds since the Unix epoch.
    pub time_max: i64,
    /// What it holds of each metric, sorted by metric.
    pub metrics: Vec<MetricStats>,
}

/// A value with the position that decides which of several comes first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedValue {
    /// Step of the record.
    pub step: i64,
    /// Time of the record in microseconds since the Unix epoch.
    pub time: i64,
    /// Sequence number of the record.
    pub seq: i64,
    /// Value of the record; NaN and infinities kept (a NaN's payload is not).
    #[serde(with = "json_float")]
    pub value: f64,
}

/// What a set of records of one metric holds: the summary of a segment, or of a whole run after merging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricStats {
    /// The metric.
    pub metric: String,
    /// Records.
    pub count: u64,
    /// Records whose value is NaN or infinite.
    pub non_finite: u64,
    /// Lowest finite value, and the lowest step it was seen at.
    pub min: Option<Extreme>,
    /// Highest finite value, and the lowest step it was seen at.
    pub max: Option<Extreme>,
    /// Record with the lowest (step, time, sequence number).
    pub first: PlacedValue,
    /// Record with the highest (step, time, sequence number).
    pub last: PlacedValue,
    /// Sum of the finite values; infinite when it is too large for a float.
    #[serde(with = "json_float")]
    pub sum: f64,
}

/// An extreme value and its step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extreme {
    /// The value.
    pub value: f64,
    /// Lowest step at which it was seen.
    pub step: i64,
}

impl MetricsCommitted {
    /// Notes that the segments `new` hold the records of those in `replaced` now.
    pub(crate) fn follow(&mut self, replaced: &BTreeSet<u64>, new: &[SegmentRecord]) {
        let before = self.segments.len();
        self.segments.retain(|n| !replaced.contains(n));
        if self.segments.len() < before {
            self.segments.extend(new.iter().map(|segment| segment.n));
        }
    }
}

/// A versioned metrics artifact: everything one writer logged under one metrics name up to a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsCommitted {
    /// The metrics name.
    pub metrics_name: String,
    /// 1 for the writer's first commit of this name, then 2, 3, ...
    pub version: u32,
    /// Identity: BLAKE3 of the records in canonical order (`docs/FORMAT.md`).
    pub identity: ContentHash,
    /// Records in it.
    pub rows: u64,
    /// Numbers of the segments that hold them; where others took the place of some, those do.
    pub segments: Vec<u64>,
}

/// Floats that JSON cannot write as strings.
mod json_float {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Float {
        Number(f64),
        Text(String),
    }

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { Float::Number(*value) } else { Float::Text(value.to_string()) }.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Float::deserialize(deserializer)? {
            Float::Number(value) => Ok(value),
            Float::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A line that is not a valid event.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct LineError {
    /// What is wrong with it.
    pub fault: String,
}

const CRC_FIELD: &str = ",\"crc\":\"";

impl EventLine {
    /// Whether the line tells how the files of an ended writer are kept, and nothing about its run.
    pub(crate) fn is_upkeep(&self) -> bool {
        match self.event {
            Event::SegmentsReplaced(_) | Event::ReplacedRemoved { .. } => true,
            Event::WriterStarted(_) => self.n > 0,
            _ => false,
        }
    }

    /// The line as written to the log, newline included.
    pub fn encode(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap_or_else(|error| {
            // Every type above serialises: maps have text keys, and floats JSON cannot write are strings.
            unreachable!("an event does not serialise: {error}")
        });
        text.pop();
        let crc = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("{CRC_FIELD}{crc:08x}\"}}\n"));
        text
    }

    /// Reads one line, without its newline.
    ///
    /// # Errors
    /// [`LineError`] when the checksum does not match or the content is not an event.
    pub fn decode(line: &str) -> Result<Self, LineError> {
        let fault = |fault: &str| LineError { fault: fault.to_owned() };
        let body_end = line.rfind(CRC_FIELD).ok_or_else(|| fault("it has no checksum"))?;
        let (body, tail) = line.split_at(body_end);
        let crc_text = tail
            .strip_prefix(CRC_FIELD)
            .and_then(|rest| rest.strip_suffix("\"}"))
            .ok_or_else(|| fault("its end is cut off"))?;
        let crc = u32::from_str_radix(crc_text, 16).map_err(|_| fault("its checksum is not a number"))?;
        if crc != crc32c::crc32c(body.as_bytes()) {
            return Err(fault("its checksum does not match"));
        }
        serde_json::from_str(&format!("{body}}}")).map_err(|error| LineError { fault: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> EventLine {
        let params = BTreeMap::from([
            ("lr".to_owned(), ParamValue::Float(1.0)),
            ("n".to_owned(), ParamValue::Int(i64::MAX)),
            ("flag".to_owned(), ParamValue::Bool(true)),
            ("limit".to_owned(), ParamValue::Float(f64::NEG_INFINITY)),
            ("text".to_owned(), ParamValue::Text("a \"crc\":\" b\n".to_owned())),
        ]);
        EventLine { n: 3, time: 1_795_403_358_728_123_456, event: Event::Params { params } }
    }

    #[test]
    fn lines_round_trip_with_their_types() {
        let line = sample();
        let text = line.encode();
        assert_eq!(EventLine::decode(text.trim_end()).expect("decodes"), line);
        assert!(text.contains("\"lr\":1.0"), "a float stays a float: {text}");
        serde_json::from_str::<serde_json::Value>(&text).expect("plain JSON");
    }

    #[test]
    fn every_single_byte_change_is_noticed() {
        let text = sample().encode();
        let line = text.trim_end();
        for index in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[index] ^= 1;
            if let Ok(changed) = std::str::from_utf8(&bytes) {
                assert!(EventLine::decode(changed).is_err(), "byte {index}");
            }
            assert!(EventLine::decode(&line[..index]).is_err(), "cut at {index}");
        }
    }

    #[test]
    fn values_json_cannot_write_are_kept() {
        let placed = PlacedValue { step: 1, time: 2, seq: 3, value: f64::NAN };
        let text = serde_json::to_string(&placed).expect("json");
        assert!(serde_json::from_str::<PlacedValue>(&text).expect("back").value.is_nan());
        let placed = PlacedValue { value: f64::INFINITY, ..placed };
        let text = serde_json::to_string(&placed).expect("json");
        assert_eq!(serde_json::from_str::<PlacedValue>(&text).expect("back"), placed);
    }

    /// Two finite values whose sum is not: the sum was written as `null`, and the line that named the segment could not be
    /// read back, so its rows were gone from SQL.
    #[test]
    fn a_sum_that_overflows_can_be_read_back() {
        let placed = PlacedValue { step: 1, time: 2, seq: 3, value: f64::MAX };
        let (min, max) = (None, None);
        let metric = "loss".to_owned();
        let sum = f64::MAX + f64::MAX;
        let stats = MetricStats { metric, count: 2, non_finite: 0, min, max, first: placed, last: placed, sum };
        let text = serde_json::to_string(&stats).expect("json");
        assert_eq!(serde_json::from_str::<MetricStats>(&text).expect("back"), stats);
    }

    #[test]
    fn unknown_events_are_read_as_unknown() {
        let body = r#"{"n":9,"time":5,"event":"teleported","to":"moon""#;
        let line = format!("{body}{CRC_FIELD}{:08x}\"}}", crc32c::crc32c(body.as_bytes()));
        assert_eq!(EventLine::decode(&line).expect("decodes").event, Event::Unknown);
    }
}
