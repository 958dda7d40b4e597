//! Losses, as an event log tells them.

use serde::{Deserialize, Serialize};

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GapKind {
    /// The ring was full, and the policy was to drop, or a wait timed out.
    RingFull,
    /// The journal holds a slot whose check does not match: torn by a power cut, or damaged.
    DamagedSlot,
    /// The journal has an empty slot before a filled one: pages that a power cut lost.
    MissingSlots,
    /// A metric id without a definition.
    UndefinedMetric,
    /// The event log itself was damaged.
    DamagedEvent,
    /// The journal's file is shorter than it was made: somebody cut it off. `records_max` bounds what was behind.
    CutJournal,
    /// The journal's file was deleted, or its pages were lost, while it was written to.
    LostJournal,
    /// The machine went down while the run was written: what had not been synced may be gone. `records_max` bounds it.
    MachineDown,
    /// A segment that is missing or is not what it was registered as, and was set aside.
    DamagedSegment,
}

impl GapKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::RingFull,
        Self::DamagedSlot,
        Self::MissingSlots,
        Self::UndefinedMetric,
        Self::DamagedEvent,
        Self::CutJournal,
        Self::LostJournal,
        Self::MachineDown,
        Self::DamagedSegment,
    ];

    /// The name used in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::DamagedSlot => "damaged_slot",
            Self::MissingSlots => "missing_slots",
            Self::UndefinedMetric => "undefined_metric",
            Self::DamagedEvent => "damaged_event",
            Self::CutJournal => "cut_journal",
            Self::LostJournal => "lost_journal",
            Self::MachineDown => "machine_down",
            Self::DamagedSegment => "damaged_segment",
        }
    }
}

/// Records were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapEvent {
    /// Why.
    pub kind: GapKind,
    /// Ring it happened in.
    pub ring: u32,
    /// How many records are known to be lost.
    pub records: u64,
    /// How many may be lost at most, where the number cannot be known; absent where `records` is exact, and where nothing
    /// bounds the loss: `detail` says so then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_max: Option<u64>,
    /// In words.
    pub detail: String,
}

impl GapEvent {
    /// A loss of exactly `records` records.
    pub(crate) fn exact(kind: GapKind, ring: u32, records: u64, detail: impl Into<String>) -> Self {
        Self { kind, ring, records, records_max: None, detail: detail.into() }
    }

    /// A loss of at least `records` and at most `records_max` records.
    pub(crate) fn between(kind: GapKind, ring: u32, records: u64, records_max: u64, detail: impl Into<String>) -> Self {
        Self { kind, ring, records, records_max: Some(records_max), detail: detail.into() }
    }

    /// Records dropped because a ring was full.
    pub(crate) fn ring_full(ring: u32, records: u64) -> Self {
        Self::exact(GapKind::RingFull, ring, records, "the ring was full")
    }
}
