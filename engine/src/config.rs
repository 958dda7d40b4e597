//! Settings of the engine: what they mean, their limits, and the environment variables that override them.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::scratch::JOURNAL_DIR;

/// Settings of the engine. [`EngineConfig::default`] suits training on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Records one ring holds: 32 bytes each, reserved on disk per logging thread. A power of two from 4,096 to 2^26;
    /// default 1,048,576 (32 MiB). `STEPWELL_RING_RECORDS`.
    pub ring_records: u64,
    /// Bytes for metric definitions in each journal; bounds the number of metrics of a run (about 60 bytes each).
    /// From 4,096 to 2^30; default 4 MiB. `STEPWELL_DEFINITION_BYTES`.
    pub definition_bytes: u64,
    /// Most rows of one segment; reaching it closes the segment. From 1,024; default 1,048,576. A full half of a ring
    /// closes one too. `STEPWELL_SEGMENT_ROWS`.
    pub segment_rows_max: u64,
    /// Age of the oldest record in no segment at which a segment is closed; default 60 s, and
    /// at most 10 s for a store on a network or FUSE file system. `STEPWELL_SEGMENT_SECS`.
    pub segment_age: Duration,
    /// Time between two syncs of the journal to the device; default 1 s. `STEPWELL_SYNC_MILLIS`.
    pub sync_interval: Duration,
    /// Age from which records in a block that is not full are part of a sync; default 100 ms. A power cut costs at most
    /// `sync_interval + seal_deadline` of records. `STEPWELL_SEAL_MILLIS`.
    pub seal_deadline: Duration,
    /// How long a log call waits for room in a full ring before the record is dropped and counted; default 10 s.
    /// Training is never hung for longer, and after one wait in vain calls drop at once until there is room again.
    /// `STEPWELL_WAIT_MILLIS`.
    pub wait_limit: Duration,
    /// How long the files of segments are kept that compaction put others in the place of: for processes that read from them
    /// what they began to ask before. Default 10 minutes. `STEPWELL_GRACE_SECS`.
    pub replaced_grace: Duration,
    /// Most rows that the end of a run compacts by itself: metrics names of its writer with many small segments become one file each,
    /// the smallest first, for as long as all of them together have no more rows than this; each segment counts for 2,000 rows more.
    /// What is left is for [`Store::compact`](crate::Store::compact). Default 4,194,304:
    /// about a second on the 2-core build machine, which merges 6 million rows or 3,000 small files in a second of processor time.
    /// 0 switches it off. Nothing is compacted so on network and FUSE file systems. `STEPWELL_COMPACT_AT_FINISH_ROWS`.
    pub compact_at_finish_rows_max: u64,
    /// Folder for journals on a disk of this machine, instead of the store; `STEPWELL_JOURNAL_DIR`. A store on a network or
    /// FUSE file system needs one, because a journal is a mapped file: when none is set, it is the first of `/var/tmp`, the
    /// folder for temporary files and `/dev/shm` that is local and can be written to. A store on a local disk needs none,
    /// but may be given a faster disk for its journals.
    ///
    /// # Durability
    /// A log call that returned survives the end of the process, as it does with journals in the store: the store, opened on
    /// the same machine, recovers it. What is in no segment yet - of a remote store, what was logged in the last 10 s -
    /// is lost with the machine or its disk, and `/dev/shm` does not survive a restart of the machine: such a loss is
    /// told as a gap `lost_journal`. The folder has to outlive the process: not one that a batch system empties at the
    /// end of a job.
    pub journal_folder: Option<PathBuf>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            ring_records: 1 << 20,
            definition_bytes: 4 << 20,
            segment_rows_max: 1 << 20,
            segment_age: Duration::from_secs(60),
            sync_interval: Duration::from_secs(1),
            seal_deadline: Duration::from_millis(100),
            wait_limit: Duration::from_secs(10),
            replaced_grace: Duration::from_secs(600),
            compact_at_finish_rows_max: 1 << 22,
            journal_folder: None,
        }
    }
}

impl EngineConfig {
    /// The defaults, overridden by the environment variables named at the fields.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] when a variable is not a number or outside its limits.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(read: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &'static str, default: u64| match read(name) {
            None => Ok(default),
            Some(text) => text.trim().parse::<u64>().map_err(|_| Error::InvalidSetting {
                setting: name,
                value: text,
                fault: "it is not a whole number".to_owned(),
            }),
        };
        let millis = |name, default: Duration| number(name, default.as_millis() as u64).map(Duration::from_millis);
        let default = Self::default();
        let config = Self {
            ring_records: number("STEPWELL_RING_RECORDS", default.ring_records)?,
            definition_bytes: number("STEPWELL_DEFINITION_BYTES", default.definition_bytes)?,
            segment_rows_max: number("STEPWELL_SEGMENT_ROWS", default.segment_rows_max)?,
            segment_age: number("STEPWELL_SEGMENT_SECS", default.segment_age.as_secs()).map(Duration::from_secs)?,
            sync_interval: millis("STEPWELL_SYNC_MILLIS", default.sync_interval)?,
            seal_deadline: millis("STEPWELL_SEAL_MILLIS", default.seal_deadline)?,
            wait_limit: millis("STEPWELL_WAIT_MILLIS", default.wait_limit)?,
            replaced_grace: number("STEPWELL_GRACE_SECS", default.replaced_grace.as_secs()).map(Duration::from_secs)?,
            compact_at_finish_rows_max: number("STEPWELL_COMPACT_AT_FINISH_ROWS", default.compact_at_finish_rows_max)?,
            journal_folder: read(JOURNAL_DIR).filter(|folder| !folder.is_empty()).map(PathBuf::from),
        };
        config.check()?;
        Ok(config)
    }

    /// Checks every setting against its limits.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`].
    pub fn check(&self) -> Result<()> {
        let fault = |setting, value: u64, fault: &str| {
            Err(Error::InvalidSetting { setting, value: value.to_string(), fault: fault.to_owned() })
        };
        if !self.ring_records.is_power_of_two() || !(1 << 12..=1 << 26).contains(&self.ring_records) {
            return fault("ring_records", self.ring_records, "it must be a power of two from 4096 to 67108864");
        }
        if !(1 << 12..=1 << 30).contains(&self.definition_bytes) {
            return fault("definition_bytes", self.definition_bytes, "it must be from 4096 to 1073741824");
        }
        if self.segment_rows_max < 1024 {
            return fault("segment_rows_max", self.segment_rows_max, "it must be 1024 or more");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_override_defaults_and_are_checked() {
        let with = |name: &'static str, value: &'static str| {
            EngineConfig::from_variables(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(with("", "").expect("defaults"), EngineConfig::default());
        assert_eq!(with("STEPWELL_RING_RECORDS", "8192").expect("set").ring_records, 8192);
        let folder = with("STEPWELL_JOURNAL_DIR", "/scratch").expect("set").journal_folder;
        assert_eq!(folder.as_deref(), Some(std::path::Path::new("/scratch")));
        assert_eq!(with("STEPWELL_JOURNAL_DIR", "").expect("set").journal_folder, None);
        assert_eq!(with("STEPWELL_SYNC_MILLIS", "20").expect("set").sync_interval, Duration::from_millis(20));
        assert_eq!(with("STEPWELL_COMPACT_AT_FINISH_ROWS", "0").expect("set").compact_at_finish_rows_max, 0);
        for (name, value) in
            [("STEPWELL_RING_RECORDS", "5000"), ("STEPWELL_RING_RECORDS", "lots"), ("STEPWELL_SEGMENT_ROWS", "1")]
        {
            assert!(matches!(with(name, value), Err(Error::InvalidSetting { .. })), "{name}={value}");
        }
    }
}
