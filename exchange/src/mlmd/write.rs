//! Writing an ML Metadata store as a new file.

use std::path::Path;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Transaction, params};

use super::model::{MlmdStore, Property, SCHEMA_VERSION, Value};
use crate::error::{Error, Result};

/// The schema of version 10, statement for statement as ML Metadata makes it.
const SCHEMA: &str = include_str!("schema.sql");

/// Name that a new file has until it is whole.
const TEMP_SUFFIX: &str = ".stepwell-new";

impl MlmdStore {
    /// Writes the store to a new file at `path`, in schema version 10. The file is there as a whole or not at all. A property
    /// without a value is left out: ML Metadata could not read its entity.
    ///
    /// # Durability
    /// On the device when it returns.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is something at `path`; [`Error::Write`], [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".mlmd-").suffix(TEMP_SUFFIX);
        #[cfg(unix)]
        {
            // A temporary file is its owner's alone; this one is for whom the user's mask lets read it.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let temp = builder.tempfile_in(folder).map_err(Error::io("write", path))?;
        self.fill(temp.path()).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        temp.as_file().sync_all().map_err(Error::io("write", path))?;
        let made = temp.persist_noclobber(path);
        made.map_err(|error| match error.error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
            _ => Error::io("write", path)(error.error),
        })?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync the folder of", path))
    }

    fn fill(&self, path: &Path) -> rusqlite::Result<()> {
        let mut connection = Connection::open(path)?;
        // The file has no name that anybody looks for: it is synced once, at the end.
        connection.execute_batch("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;")?;
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO MLMDEnv (schema_version) VALUES (?1)", [SCHEMA_VERSION])?;
        self.write_types(&transaction)?;
        self.write_entities(&transaction)?;
        self.write_edges(&transaction)?;
        for (table, given) in &self.sequences {
            transaction.execute("UPDATE sqlite_sequence SET seq = ?2 WHERE name = ?1", params![table, given])?;
        }
        transaction.commit()?;
        connection.close().map_err(|(_, error)| error)
    }

    fn write_types(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut insert = to.prepare("INSERT INTO Type VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for row in &self.types {
            insert.execute(params![
                row.id,
                row.name,
                row.version,
                row.kind as i64,
                row.description,
                row.input_type,
                row.output_type,
                row.external_id
            ])?;
        }
        let mut insert = to.prepare("INSERT INTO TypeProperty VALUES (?1, ?2, ?3)")?;
        for row in &self.types {
            for (name, data_type) in &row.properties {
                insert.execute(params![row.id, name, data_type])?;
            }
        }
        let mut insert = to.prepare("INSERT INTO ParentType VALUES (?1, ?2)")?;
        self.parent_types.iter().try_for_each(|pair| insert.execute(params![pair.0, pair.1]).map(drop))
    }

    fn write_entities(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut insert = to.prepare("INSERT INTO Context VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for row in &self.contexts {
            let (created, updated) = (row.created_millis, row.updated_millis);
            insert.execute(params![row.id, row.type_id, row.name, row.external_id, created, updated])?;
            write_properties(to, "ContextProperty", row.id, &row.properties)?;
        }
        let mut insert = to.prepare("INSERT INTO Execution VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        for row in &self.executions {
            let (created, updated) = (row.created_millis, row.updated_millis);
            insert.execute(params![row.id, row.type_id, row.state, row.name, row.external_id, created, updated])?;
            write_properties(to, "ExecutionProperty", row.id, &row.properties)?;
        }
        let mut insert = to.prepare("INSERT INTO Artifact VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
        for row in &self.artifacts {
            let (created, updated) = (row.created_millis, row.updated_millis);
            insert.execute(params![
                row.id,
                row.type_id,
                row.uri,
                row.state,
                row.name,
                row.external_id,
                created,
                updated
            ])?;
            write_properties(to, "ArtifactProperty", row.id, &row.properties)?;
        }
        Ok(())
    }

    fn write_edges(&self, to: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut insert = to.prepare("INSERT INTO Event VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let mut insert_step = to.prepare("INSERT INTO EventPath VALUES (?1, ?2, ?3, ?4)")?;
        for row in &self.events {
            insert.execute(params![row.id, row.artifact_id, row.execution_id, row.kind, row.time_millis])?;
            for step in &row.path {
                insert_step.execute(params![row.id, step.is_index, step.index, step.key])?;
            }
        }
        let mut insert = to.prepare("INSERT INTO ParentContext VALUES (?1, ?2)")?;
        self.parent_contexts.iter().try_for_each(|pair| insert.execute(params![pair.0, pair.1]).map(drop))?;
        for (table, rows) in [("Association", &self.associations), ("Attribution", &self.attributions)] {
            let mut insert = to.prepare(&format!("INSERT INTO {table} VALUES (?1, ?2, ?3)"))?;
            for row in rows {
                insert.execute(params![row.id, row.context_id, row.member_id])?;
            }
        }
        Ok(())
    }
}

fn write_properties(to: &Transaction<'_>, table: &str, id: i64, properties: &[Property]) -> rusqlite::Result<()> {
    let owner = table.trim_end_matches("Property").to_ascii_lowercase();
    for property in properties {
        let Some(column) = property.value.column() else { continue };
        let value: &dyn ToSql = match &property.value {
            Value::Int(value) => value,
            Value::Double(value) => value,
            Value::Text(value) => value,
            Value::Bytes(value) | Value::Proto(value) => value,
            Value::Bool(value) => value,
            Value::Nothing => continue,
        };
        let sql =
            format!("INSERT INTO {table} ({owner}_id, name, is_custom_property, {column}) VALUES (?1, ?2, ?3, ?4)");
        to.prepare_cached(&sql)?.execute(params![id, property.name, property.is_custom, value])?;
    }
    Ok(())
}
