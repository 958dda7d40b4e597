//! Reading artifacts, the edges between them and runs, links and aliases.

use std::collections::BTreeMap;

use super::mlmd::{direction, typed_value};
use super::reader::{CatalogSnapshot, parsed};
use crate::error::Result;
use crate::events::{ArtifactKey, Properties};
use crate::snapshot::{AliasInfo, ArtifactInfo, LineageEdge, LinkInfo};

/// What all uses of an artifact say of it together.
#[derive(Default)]
struct Uses {
    bytes: Option<u64>,
    version: Option<u32>,
    scope: String,
    source_id: Option<i64>,
}

impl CatalogSnapshot {
    /// All artifacts, ordered by creation time, then id. Properties are those the runs gave, with their types; of final
    /// metrics their values; of committed metrics what was committed.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn artifacts(&self) -> Result<Vec<ArtifactInfo>> {
        let mut properties: BTreeMap<(i64, bool), Properties> = BTreeMap::new();
        // In the order of uses: a later one replaces what an earlier one said.
        for (artifact, name, value) in self.rows(
            "SELECT reference.artifact_id, property.declared, property.name, property.kind, property.value
             FROM stepwell_reference AS reference JOIN stepwell_reference_property AS property USING (run_id, writer, n)
             ORDER BY reference.artifact_id, reference.time, reference.run_id, reference.writer, reference.n",
            |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?, typed_value(row, 3)?)),
        )? {
            properties.entry(artifact).or_default().insert(name, value);
        }
        let mut uses: BTreeMap<i64, Uses> = BTreeMap::new();
        for (artifact, found) in self.rows(
            "SELECT artifact_id, max(bytes), max(version), max(scope), min(source_id) FROM stepwell_reference
             GROUP BY artifact_id",
            |row| {
                let bytes = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
                let (version, scope, source_id) = (row.get(2)?, row.get(3)?, row.get(4)?);
                Ok((row.get::<_, i64>(0)?, Uses { bytes, version, scope, source_id }))
            },
        )? {
            uses.insert(artifact, found);
        }
        self.rows(
            "SELECT artifact.id, type.name, artifact.name, artifact.uri, artifact.create_time_since_epoch
             FROM Artifact AS artifact JOIN Type AS type ON type.id = artifact.type_id
             ORDER BY artifact.create_time_since_epoch, artifact.id",
            |row| {
                let (id, artifact_type): (i64, String) = (row.get(0)?, row.get(1)?);
                let uri = row.get::<_, Option<String>>(3)?.unwrap_or_default();
                let Uses { bytes, version, scope, source_id } = uses.remove(&id).unwrap_or_default();
                Ok(ArtifactInfo {
                    id,
                    artifact_type: artifact_type.clone(),
                    name: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                    uri: uri.clone(),
                    bytes,
                    version,
                    created_millis: row.get(4)?,
                    properties: properties.remove(&(id, false)).unwrap_or_default(),
                    declared: properties.remove(&(id, true)).unwrap_or_default(),
                    key: ArtifactKey { artifact_type, uri, scope },
                    source_id,
                })
            },
        )
    }

    /// All edges between runs and artifacts, ordered by time, run, artifact.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn lineage(&self) -> Result<Vec<LineageEdge>> {
        self.rows(
            "SELECT run.run_id, event.artifact_id, event.type, event.milliseconds_since_epoch AS time
             FROM Event AS event JOIN stepwell_run AS run ON run.execution_id = event.execution_id
             ORDER BY time, run.run_id, event.artifact_id, event.type",
            |row| {
                Ok(LineageEdge {
                    run_id: parsed(row, 0)?,
                    artifact_id: row.get(1)?,
                    direction: direction(row.get(2)?),
                    time_millis: row.get::<_, Option<i64>>(3)?.unwrap_or_default(),
                })
            },
        )
    }

    /// All links between artifacts, ordered by time, run and writer.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn links(&self) -> Result<Vec<LinkInfo>> {
        self.rows(
            "SELECT run_id, source_id, target_id, relation FROM stepwell_link ORDER BY time, run_id, writer, n",
            |row| {
                let (source, target, relation) = (row.get(1)?, row.get(2)?, row.get(3)?);
                Ok(LinkInfo { run_id: parsed(row, 0)?, source, target, relation })
            },
        )
    }

    /// All aliases that stand for a version, ordered by name and alias. The latest event of an alias counts.
    ///
    /// # Errors
    /// As [`CatalogSnapshot::runs`].
    pub fn aliases(&self) -> Result<Vec<AliasInfo>> {
        let mut latest: BTreeMap<(String, String), Option<i64>> = BTreeMap::new();
        for (key, artifact) in self.rows(
            "SELECT name, alias, artifact_id FROM stepwell_alias ORDER BY name, alias, time, run_id, writer, n",
            |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)),
        )? {
            latest.insert(key, artifact);
        }
        let held = latest
            .into_iter()
            .filter_map(|((name, alias), artifact)| Some(AliasInfo { name, alias, artifact_id: artifact? }));
        Ok(held.collect())
    }
}
