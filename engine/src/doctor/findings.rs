//! What the doctor tells of.

use std::path::PathBuf;

use crate::ids::{RunId, WriterId};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// What a crash leaves, and the next opening of the store for logging clears away. Nothing is lost.
    Note,
    /// Records are gone, and every file is what a crash or a full ring can make of it.
    Loss,
    /// A file is missing, or not what was written.
    Damage,
}

impl Severity {
    /// The word used in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Loss => "loss",
            Self::Damage => "damage",
        }
    }
}

macro_rules! finding_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident => $text:literal,)+) => {
        /// What is wrong with a file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl FindingKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word used in tables and JSON; it stays the same from version to version.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

finding_kinds! {
    /// The file that says which format the store has is missing.
    MarkerMissing => "marker_missing",
    /// The file that says which format the store has does not say it.
    MarkerDamaged => "marker_damaged",
    /// A newer Stepwell made the store.
    MarkerNewer => "marker_newer",
    /// The last line of an event log was cut off in the middle of writing.
    LogTorn => "log_torn",
    /// A line of an event log is damaged.
    LogDamagedLine => "log_damaged_line",
    /// The line that says who the writer was is missing.
    LogHeadless => "log_headless",
    /// An event log has no bytes.
    LogEmpty => "log_empty",
    /// A writer has journals or segments and no event log.
    LogMissing => "log_missing",
    /// An event log is that of another run or writer.
    LogMisplaced => "log_misplaced",
    /// A newer Stepwell wrote the event log.
    LogNewer => "log_newer",
    /// An event log could not be read.
    LogUnreadable => "log_unreadable",
    /// A journal that cannot be read at all.
    JournalUnreadable => "journal_unreadable",
    /// A newer Stepwell wrote the journal.
    JournalNewer => "journal_newer",
    /// The file of a journal is shorter than it was made.
    JournalCut => "journal_cut",
    /// Slots of a journal whose check does not fit them.
    JournalDamagedSlots => "journal_damaged_slots",
    /// Empty slots of a journal in front of its last record.
    JournalMissingSlots => "journal_missing_slots",
    /// A sealed block of a journal without the checksum that its table says.
    JournalBlock => "journal_block",
    /// Records of a journal whose metric no journal of the writer defines.
    JournalUndefined => "journal_undefined",
    /// The journals of a dead writer were in scratch, and are gone.
    JournalsGone => "journals_gone",
    /// Records that were dropped because a ring was full.
    JournalDrops => "journal_drops",
    /// The machine was restarted while the run was written.
    MachineDown => "machine_down",
    /// The journals of a dead writer are not in segments yet.
    JournalWaiting => "journal_waiting",
    /// A dead writer is not said to be one yet.
    WriterDied => "writer_died",
    /// A segment that an event names is not there.
    SegmentMissing => "segment_missing",
    /// A segment is not what it was registered as.
    SegmentDamaged => "segment_damaged",
    /// A segment whose footer cannot be found.
    SegmentUnreadable => "segment_unreadable",
    /// A segment that no event names.
    SegmentUnnamed => "segment_unnamed",
    /// A segment that others took the place of, and whose file may be removed.
    SegmentReplaced => "segment_replaced",
    /// The rows of a metrics artifact are not those that it was registered with.
    ArtifactDiffers => "artifact_differs",
    /// A file in the objects whose name is not a hash.
    ObjectMisnamed => "object_misnamed",
    /// An object is not what its name says.
    ObjectDamaged => "object_damaged",
    /// An object that an event names is not there.
    ObjectMissing => "object_missing",
    /// A pack is not what its name says.
    PackDamaged => "pack_damaged",
    /// A temporary file whose owner is gone.
    TemporaryFile => "temporary_file",
    /// There is no catalog.
    CatalogMissing => "catalog_missing",
    /// The catalog is a database of another application.
    CatalogForeign => "catalog_foreign",
    /// A newer Stepwell wrote the catalog.
    CatalogNewer => "catalog_newer",
    /// The catalog is no sound database.
    CatalogDamaged => "catalog_damaged",
    /// The catalog does not say what the event logs say.
    CatalogDiffers => "catalog_differs",
    /// The catalog could not be looked at.
    CatalogUnreadable => "catalog_unreadable",
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The run it belongs to.
    pub run: Option<RunId>,
    /// The writer it belongs to.
    pub writer: Option<WriterId>,
    /// What is wrong with it.
    pub kind: FindingKind,
    /// How bad that is.
    pub severity: Severity,
    /// The same in words.
    pub what: String,
    /// How many records are lost, as far as it is known.
    pub records_lost: u64,
    /// How many may be lost at most, where the number cannot be known.
    pub records_max: Option<u64>,
    /// What a repair does about it; `None` where there is none.
    pub repair: Option<String>,
}

impl Finding {
    pub(super) fn new(
        path: impl Into<PathBuf>,
        kind: FindingKind,
        severity: Severity,
        what: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            run: None,
            writer: None,
            kind,
            severity,
            what: what.into(),
            records_lost: 0,
            records_max: None,
            repair: None,
        }
    }

    pub(super) fn of(mut self, run: RunId, writer: WriterId) -> Self {
        self.run = Some(run);
        self.writer = Some(writer);
        self
    }

    pub(super) fn lost(mut self, records: u64, most: Option<u64>) -> Self {
        self.records_lost = records;
        self.records_max = most;
        self
    }

    pub(super) fn repair(mut self, what: impl Into<String>) -> Self {
        self.repair = Some(what.into());
        self
    }

    /// Says what a repair does, unless the writer is alive: nobody else touches its files.
    pub(super) fn repair_of_dead(self, alive: bool, what: &str) -> Self {
        if alive { self } else { self.repair(what) }
    }
}
