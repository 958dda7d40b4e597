//! Commits: versioned metrics artifacts, and the end of a run.

use std::sync::Arc;

use crate::compaction::LeftName;
use crate::error::{Error, Result, with_causes};
use crate::event_log::Durability;
use crate::events::{Event, FinishState, MetricsCommitted};
use crate::fail_point;
use crate::run::{MetricsArtifact, RunStats};
use crate::scratch;
use crate::writer::core::{FinishOutcome, WriterCore};
use crate::writer::ring::Ring;
use crate::writer::sealing::{NameState, Sealing};

impl WriterCore {
    /// Publishes everything logged so far, and registers what was logged under `metrics_name` as an artifact.
    pub(crate) fn commit(&self, metrics_name: &str) -> Result<MetricsArtifact> {
        self.check_open()?;
        fail_point::reach("commit.begin");
        let rings = self.rings();
        let mut sealing = self.sealing();
        self.write_segments(&mut sealing, &rings)?;
        let Some(name) = sealing.names.get_mut(metrics_name) else {
            return Err(Error::NotFound {
                what: "metrics name with records",
                name: metrics_name.to_owned(),
                hint: "log something under it before committing it",
            });
        };
        self.register(metrics_name, name, Durability::Device)
    }

    /// Registers the artifact of a metrics name whose records are all in segments; the last one when nothing was added.
    fn register(&self, metrics_name: &str, name: &mut NameState, durability: Durability) -> Result<MetricsArtifact> {
        let rows = name.identity.rows();
        if let Some((artifact, covered)) = &name.committed
            && *covered == rows
        {
            return Ok(artifact.clone());
        }
        let (numbers, paths): (Vec<_>, Vec<_>) = name.segments.iter().cloned().unzip();
        let artifact = MetricsArtifact {
            metrics_name: metrics_name.to_owned(),
            version: name.committed.as_ref().map_or(1, |(artifact, _)| artifact.version + 1),
            identity: name.identity.digest(&self.layout, self.started.writer, &paths)?,
            rows,
            run_id: self.started.run_id,
            writer: self.started.writer,
        };
        let event = MetricsCommitted {
            metrics_name: artifact.metrics_name.clone(),
            version: artifact.version,
            identity: artifact.identity,
            rows,
            segments: numbers,
        };
        self.append(Event::MetricsCommitted(event), durability)?;
        name.committed = Some((artifact.clone(), rows));
        fail_point::reach("commit.end");
        Ok(artifact)
    }

    /// Registers an artifact for every metrics name that has records; synced by whoever appends the next event.
    fn register_all(&self, sealing: &mut Sealing) -> Result<Vec<MetricsArtifact>> {
        let names = sealing.names.iter_mut();
        names.map(|(metrics_name, name)| self.register(metrics_name, name, Durability::Process)).collect()
    }

    /// Counters of the run.
    pub(crate) fn stats(&self) -> RunStats {
        // The parent's threads may have held the locks at the fork.
        if self.is_foreign() {
            return RunStats::default();
        }
        let rings = self.rings();
        let sealing = self.sealing();
        let (rows_logged, waits, drops) = self.totals(&sealing, &rings);
        RunStats {
            rows_logged,
            rows_committed: sealing.rows_committed,
            waits,
            drops,
            syncs: sealing.syncs,
            segments: sealing.segments,
        }
    }

    /// The work of `finish`, after all handles and loggers were closed. What cannot be written stays in the journal, and
    /// becomes segments when the store is next opened; the warnings say so.
    pub(super) fn finish_closed(&self, state: FinishState) -> FinishOutcome {
        fail_point::reach("finish.begin");
        let rings = self.rings();
        let mut sealing = self.sealing();
        let mut outcome = FinishOutcome {
            artifacts: Vec::new(),
            rows: 0,
            waits: 0,
            drops: 0,
            gaps: Vec::new(),
            warnings: Vec::new(),
        };
        let ended = self.finish_steps(state, &mut sealing, &rings, &mut outcome);
        if let Err(error) = ended {
            outcome.warnings.push(format!(
                "{}; what is not in segments yet stays in the journal and becomes a segment when the store is opened next",
                with_causes(&error)
            ));
        }
        sealing.ended = true;
        drop(sealing);
        if !self.has_loggers() {
            self.settle();
        }
        outcome.gaps = self.gaps();
        outcome
    }

    /// After the run was closed and its last logger dropped: nobody is inside a log call any more. A record whose call
    /// overlapped `finish` still becomes a segment and part of an artifact; then the journals go, and with them the lock.
    pub(super) fn settle(&self) {
        let rings = self.rings();
        let mut sealing = self.sealing();
        // A logger that goes while `finish` is at work leaves the settling to it, and whoever comes second has nothing to do.
        if !sealing.ended || sealing.final_totals.is_some() {
            return;
        }
        self.note_ends();
        let settled = self.write_segments(&mut sealing, &rings).and_then(|()| self.register_all(&mut sealing));
        if settled.is_ok() && self.sync_log().is_ok() && self.all_committed(&sealing, &rings) {
            for ring in &rings {
                let _ = ring.journal.remove(self.layout.storage());
                fail_point::reach("finish.journals");
            }
            self.remove_journal_folder(&sealing);
        }
        sealing.final_totals = Some(self.totals(&sealing, &rings));
        drop(sealing);
        self.drop_rings();
        self.release_log();
        fail_point::reach("finish.end");
    }

    /// What the writer has in segments, by metrics name; nothing before it has let go of its event log.
    pub(crate) fn left(&self) -> Vec<LeftName> {
        if !self.is_released() {
            return Vec::new();
        }
        let of_name = |(name, state): (&String, &NameState)| LeftName {
            name: name.clone(),
            segments: state.segments.len() as u64,
            rows: state.identity.rows(),
        };
        self.sealing().names.iter().map(of_name).collect()
    }

    fn remove_journal_folder(&self, sealing: &Sealing) {
        let folder = self.started.journal_folder(&self.layout);
        if self.started.journals.is_none() {
            let _ = self.layout.storage().remove_folder(&folder);
        } else if sealing.end_told {
            // Of a run that does not say that it ended, a missing folder in scratch would count as lost.
            scratch::remove(&folder);
        }
    }

    fn finish_steps(
        &self,
        state: FinishState,
        sealing: &mut Sealing,
        rings: &[Arc<Ring>],
        outcome: &mut FinishOutcome,
    ) -> Result<()> {
        if !self.has_loggers() {
            self.note_ends();
        }
        self.find_broken(sealing, rings, true);
        let written = self.write_segments(sealing, rings);
        (outcome.rows, outcome.waits, outcome.drops) = self.totals(sealing, rings);
        written?;
        let registered = self.register_all(sealing);
        if outcome.drops > 0 {
            outcome.warnings.push(format!("{} records were dropped because the journal was full", outcome.drops));
        }
        rings.iter().try_for_each(|ring| self.tell_drops(sealing, ring))?;
        let end = Event::WriterFinished { state, rows: outcome.rows, waits: outcome.waits, drops: outcome.drops };
        self.append(end, Durability::Device)?;
        sealing.end_told = true;
        fail_point::reach("finish.event");
        outcome.artifacts = registered?;
        Ok(())
    }
}
