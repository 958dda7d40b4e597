//! Rows of segments.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::apply::{Applier, Outcome};
use super::digest::{RunFacts, clamp};
use crate::events::{MetricStats, SegmentRecord};
use crate::ids::{RunId, WriterId};

impl Applier<'_> {
    /// Makes the segments of a run those in `facts`. A run that has trained for days has thousands, which never change, so
    /// only the difference is written.
    pub(super) fn write_segments(&self, run_id: RunId, facts: Option<&RunFacts>) -> Outcome {
        let text = run_id.to_string();
        let mut gone: BTreeSet<i64> = self
            .connection
            .prepare_cached("SELECT id FROM stepwell_segment WHERE run_id = ?1")?
            .query_map([&text], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut added = Vec::new();
        for ((writer, file), segment) in facts.iter().flat_map(|facts| &facts.segments) {
            let id = self.ids.segment(run_id, &writer.to_string(), file);
            if !gone.remove(&id) {
                added.push((id, *writer, segment));
            }
        }
        for id in gone {
            self.run("DELETE FROM stepwell_segment WHERE id = ?1", [id])?;
            self.run("DELETE FROM stepwell_segment_metric WHERE segment_id = ?1", [id])?;
        }
        for (id, writer, segment) in added {
            self.write_segment(id, &text, writer, segment)?;
        }
        Ok(())
    }

    fn write_segment(&self, id: i64, run_id: &str, writer: WriterId, segment: &SegmentRecord) -> Outcome {
        self.insert(
            "INSERT INTO stepwell_segment (id, run_id, writer, n, metrics_name, file, blake3, bytes, rows, time_min, time_max)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            params![
                id,
                run_id,
                writer.to_string(),
                clamp(segment.n),
                segment.metrics_name,
                segment.file,
                segment.blake3.to_string(),
                clamp(segment.bytes),
                clamp(segment.rows),
                segment.time_min,
                segment.time_max,
            ],
        )?;
        let stats: BTreeMap<&str, &MetricStats> =
            segment.metrics.iter().map(|stats| (stats.metric.as_str(), stats)).collect();
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO stepwell_segment_metric (segment_id, metric, count, non_finite, min_bits, min_step, max_bits, max_step,
                 first_step, first_time, first_seq, first_bits, last_step, last_time, last_seq, last_bits, sum_bits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?;
        for stats in stats.into_values() {
            insert.execute(params![
                id,
                stats.metric,
                clamp(stats.count),
                clamp(stats.non_finite),
                stats.min.map(|extreme| bits(extreme.value)),
                stats.min.map(|extreme| extreme.step),
                stats.max.map(|extreme| bits(extreme.value)),
                stats.max.map(|extreme| extreme.step),
                stats.first.step,
                stats.first.time,
                stats.first.seq,
                bits(stats.first.value),
                stats.last.step,
                stats.last.time,
                stats.last.seq,
                bits(stats.last.value),
                bits(stats.sum),
            ])?;
        }
        Ok(())
    }
}

/// Floats that carry data are stored as their bits: SQL has no NaN, and makes -0.0 an integer.
fn bits(value: f64) -> i64 {
    value.to_bits().cast_signed()
}
