//! Reading an ML Metadata store without leaving a trace beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::model::{
    ArtifactRow, ContextRow, EventRow, ExecutionRow, LinkRow, MlmdStore, PathStep, Property, TypeKind, TypeRow, Value,
};
use crate::error::{Error, Result};

/// Versions of the schema that are read. Columns that an older one lacks are read as NULL.
pub const SCHEMA_VERSIONS: RangeInclusive<i64> = 8..=10;

/// First bytes of an SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Byte of the header that says whether the database has a write-ahead log (2) or not (1).
const READ_VERSION: usize = 19;

/// The tables of schema 10, with their columns.
const TABLES: [(&str, &[&str]); 15] = [
    ("Type", &["id", "name", "version", "type_kind", "description", "input_type", "output_type", "external_id"]),
    ("TypeProperty", &["type_id", "name", "data_type"]),
    ("ParentType", &["type_id", "parent_type_id"]),
    ("Artifact", &["id", "type_id", "uri", "state", "name", "external_id", CREATED, UPDATED]),
    ("Execution", &["id", "type_id", "last_known_state", "name", "external_id", CREATED, UPDATED]),
    ("Context", &["id", "type_id", "name", "external_id", CREATED, UPDATED]),
    ("ArtifactProperty", &["artifact_id", "name", "is_custom_property", I, D, S, B, P, T]),
    ("ExecutionProperty", &["execution_id", "name", "is_custom_property", I, D, S, B, P, T]),
    ("ContextProperty", &["context_id", "name", "is_custom_property", I, D, S, B, P, T]),
    ("Event", &["id", "artifact_id", "execution_id", "type", "milliseconds_since_epoch"]),
    ("EventPath", &["event_id", "is_index_step", "step_index", "step_key"]),
    ("ParentContext", &["context_id", "parent_context_id"]),
    ("Association", &["id", "context_id", "execution_id"]),
    ("Attribution", &["id", "context_id", "artifact_id"]),
    ("MLMDEnv", &["schema_version"]),
];
const CREATED: &str = "create_time_since_epoch";
const UPDATED: &str = "last_update_time_since_epoch";
const I: &str = "int_value";
const D: &str = "double_value";
const S: &str = "string_value";
const B: &str = "byte_value";
const P: &str = "proto_value";
const T: &str = "bool_value";

/// Columns that schema versions before 10 lack.
const OPTIONAL_COLUMNS: [&str; 4] = ["external_id", B, P, T];

impl MlmdStore {
    /// Reads the store in the file at `path`. Nothing is written, not even a helper file beside it: of a database with a
    /// write-ahead log that is not empty, a copy is read.
    ///
    /// # Errors
    /// [`Error::NoFile`], [`Error::NotMlmd`], [`Error::SchemaVersion`], [`Error::Damaged`], [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let (found, _copy) = open(path)?;
        let reader = Reader::try_new(&found, path)?;
        reader.store()
    }

    /// Tables and columns of the file at `path` that no ML Metadata store has, and that [`MlmdStore::read`] leaves out.
    ///
    /// # Errors
    /// As [`MlmdStore::read`].
    pub fn foreign_parts(path: &Path) -> Result<Vec<String>> {
        let (found, _copy) = open(path)?;
        let reader = Reader::try_new(&found, path)?;
        Ok(reader.foreign)
    }

    /// Reads the store that `connection` has open; `path` is named in errors.
    pub(crate) fn read_from(connection: &Connection, path: &Path) -> Result<Self> {
        Reader::try_new(connection, path)?.store()
    }
}

/// Opens the file for reading; the folder holds a copy while it lives.
fn open(path: &Path) -> Result<(Connection, Option<tempfile::TempDir>)> {
    let header = header_of(path)?;
    let has_log = header[READ_VERSION] == 2;
    let log = beside(path, "-wal");
    let with_log = has_log && std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0);
    let not_mlmd = |error: rusqlite::Error| Error::NotMlmd { path: path.to_owned(), fault: error.to_string() };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let (connection, copy) = if with_log {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder for", path))?;
        let copy = folder.path().join("mlmd");
        std::fs::copy(path, &copy).map_err(Error::io("copy", path))?;
        std::fs::copy(&log, beside(&copy, "-wal")).map_err(Error::io("copy", &log))?;
        // The copy is ours: SQLite may make its helper files beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        (Connection::open_with_flags(&copy, flags).map_err(not_mlmd)?, Some(folder))
    } else if has_log {
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        (Connection::open_with_flags(immutable(path), flags).map_err(not_mlmd)?, None)
    } else {
        (Connection::open_with_flags(path, flags).map_err(not_mlmd)?, None)
    };
    connection
        .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA query_only = ON; BEGIN")
        .map_err(not_mlmd)?;
    Ok((connection, copy))
}

fn header_of(path: &Path) -> Result<[u8; 100]> {
    let not_mlmd = |fault: &str| Error::NotMlmd { path: path.to_owned(), fault: fault.to_owned() };
    let metadata = match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(Error::NoFile { path: path.to_owned() });
        }
        other => other.map_err(Error::io("read", path))?,
    };
    if !metadata.is_file() {
        return Err(not_mlmd("it is not a file"));
    }
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(not_mlmd("it is empty or too short")),
        other => other.map_err(Error::io("read", path))?,
    }
    if !header.starts_with(MAGIC) {
        return Err(not_mlmd("it is not an SQLite database"));
    }
    if let Some(bytes) = bytes_of_database(&header).filter(|bytes| metadata.len() < *bytes) {
        let fault = format!("it is cut off: {} of {bytes} bytes are there", metadata.len());
        return Err(Error::Damaged { path: path.to_owned(), fault });
    }
    Ok(header)
}

/// How large the file has to be, as its header says; `None` where the header does not know. SQLite reads what is cut off as zeros.
fn bytes_of_database(header: &[u8; 100]) -> Option<u64> {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    // The count of pages is valid when both counters of changes are the same.
    (number(24) == number(92) && header[READ_VERSION] != 2).then(|| page * u64::from(number(28)))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The address of a database that SQLite may take for unchanging, so that it makes no helper files.
fn immutable(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut address = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
            _ => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address + "?immutable=1"
}

struct Reader<'c> {
    connection: &'c Connection,
    path: &'c Path,
    /// Columns that are there, by table.
    columns: HashMap<&'static str, BTreeSet<String>>,
    foreign: Vec<String>,
}

impl<'c> Reader<'c> {
    /// Looks at the schema before anything is read.
    fn try_new(connection: &'c Connection, path: &'c Path) -> Result<Self> {
        let mut reader = Self { connection, path, columns: HashMap::new(), foreign: Vec::new() };
        reader.check_schema()?;
        reader.check_version()?;
        let sound: String = reader.one("PRAGMA quick_check(1)", "the database")?;
        if sound == "ok" { Ok(reader) } else { Err(reader.damaged(&sound)) }
    }

    fn damaged(&self, fault: &str) -> Error {
        Error::Damaged { path: self.path.to_owned(), fault: fault.to_owned() }
    }

    fn failed(&self, what: &str) -> impl FnOnce(rusqlite::Error) -> Error {
        let (path, what) = (self.path.to_owned(), what.to_owned());
        move |source| Error::Damaged { path, fault: format!("{what}: {source}") }
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str, what: &str) -> Result<T> {
        self.connection.query_row(sql, [], |row| row.get(0)).map_err(self.failed(what))
    }

    /// Only true tables are read: a view or a virtual table of such a name could go on forever.
    fn check_schema(&mut self) -> Result<()> {
        let not_mlmd = |fault: String| Error::NotMlmd { path: self.path.to_owned(), fault };
        let mut objects: BTreeMap<String, (String, String)> = BTreeMap::new();
        let mut select = self
            .connection
            .prepare("SELECT name, type, coalesce(sql, '') FROM sqlite_schema WHERE type IN ('table', 'view')")
            .map_err(self.failed("its schema"))?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
        for row in rows.map_err(self.failed("its schema"))? {
            let (name, what) = row.map_err(self.failed("its schema"))?;
            objects.insert(name, what);
        }
        let mut foreign = Vec::new();
        for (table, columns) in TABLES {
            let Some((kind, sql)) = objects.remove(table) else {
                return Err(not_mlmd(format!("it has no table {table}")));
            };
            if kind != "table" || sql.trim_start().to_ascii_uppercase().starts_with("CREATE VIRTUAL") {
                return Err(not_mlmd(format!("its {table} is not a table")));
            }
            let found = self.columns_of(table)?;
            let missing = |column: &&&str| !found.contains(**column) && !OPTIONAL_COLUMNS.contains(*column);
            if let Some(column) = columns.iter().find(missing) {
                return Err(not_mlmd(format!("its table {table} has no column {column}")));
            }
            let others = found.iter().filter(|column| !columns.contains(&column.as_str()));
            foreign.extend(others.map(|column| format!("column {column} of table {table}")));
            self.columns.insert(table, found);
        }
        foreign.extend(
            objects.into_keys().filter(|name| !name.starts_with("sqlite_")).map(|name| format!("table {name}")),
        );
        self.foreign = foreign;
        Ok(())
    }

    fn columns_of(&self, table: &str) -> Result<BTreeSet<String>> {
        let read = || {
            self.connection
                .prepare("SELECT name FROM pragma_table_info(?1)")?
                .query_map([table], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()
        };
        read().map_err(self.failed(table))
    }

    fn check_version(&self) -> Result<()> {
        let versions = self.rows("MLMDEnv", |row| row.get::<_, i64>(0))?;
        match versions.as_slice() {
            [found] if SCHEMA_VERSIONS.contains(found) => Ok(()),
            [found] => Err(Error::SchemaVersion {
                path: self.path.to_owned(),
                found: *found,
                first: *SCHEMA_VERSIONS.start(),
                last: *SCHEMA_VERSIONS.end(),
            }),
            _ => Err(self.damaged("MLMDEnv does not hold one schema version")),
        }
    }

    /// All rows of a table, its columns in the order of [`TABLES`].
    fn rows<T>(&self, table: &'static str, mut read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let there = self.columns.get(table);
        let columns = TABLES.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, columns)| columns);
        let column = |name: &&str| match there {
            Some(there) if !there.contains(*name) => format!("NULL AS {name}"),
            _ => format!("\"{name}\""),
        };
        let list = columns.iter().map(column).collect::<Vec<_>>().join(", ");
        let mut all = || {
            self.connection
                .prepare(&format!("SELECT {list} FROM \"{table}\" ORDER BY rowid"))?
                .query_map([], |row| read(row))?
                .collect::<rusqlite::Result<Vec<T>>>()
        };
        all().map_err(self.failed(table))
    }

    fn store(&self) -> Result<MlmdStore> {
        let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let link = |row: &Row<'_>| Ok(LinkRow { id: row.get(0)?, context_id: row.get(1)?, member_id: row.get(2)? });
        let mut store = MlmdStore {
            types: self.types()?,
            parent_types: self.rows("ParentType", pair)?,
            artifacts: self.artifacts()?,
            executions: self.executions()?,
            contexts: self.contexts()?,
            events: self.events()?,
            parent_contexts: self.rows("ParentContext", pair)?,
            associations: self.rows("Association", link)?,
            attributions: self.rows("Attribution", link)?,
            sequences: BTreeMap::new(),
        };
        store.sequences = self.sequences(&store)?;
        self.check_references(&store)?;
        Ok(store)
    }

    fn types(&self) -> Result<Vec<TypeRow>> {
        let mut properties: HashMap<i64, Vec<(String, Option<i64>)>> = HashMap::new();
        for (id, name, data_type) in
            self.rows("TypeProperty", |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?)))?
        {
            properties.entry(id).or_default().push((name, data_type));
        }
        let rows = self.rows("Type", |row| {
            let id = row.get(0)?;
            let kind: i64 = row.get(3)?;
            let kind = TypeKind::from_number(kind).ok_or(rusqlite::Error::IntegralValueOutOfRange(3, kind))?;
            Ok(TypeRow {
                id,
                name: row.get(1)?,
                version: row.get(2)?,
                kind,
                description: row.get(4)?,
                input_type: row.get(5)?,
                output_type: row.get(6)?,
                external_id: row.get(7)?,
                properties: properties.remove(&id).unwrap_or_default(),
            })
        })?;
        self.none_left(properties, "TypeProperty", "type")?;
        Ok(rows)
    }

    fn artifacts(&self) -> Result<Vec<ArtifactRow>> {
        let mut properties = self.properties("ArtifactProperty")?;
        let rows = self.rows("Artifact", |row| {
            let id = row.get(0)?;
            Ok(ArtifactRow {
                id,
                type_id: row.get(1)?,
                uri: row.get(2)?,
                state: row.get(3)?,
                name: row.get(4)?,
                external_id: row.get(5)?,
                created_millis: row.get(6)?,
                updated_millis: row.get(7)?,
                properties: properties.remove(&id).unwrap_or_default(),
            })
        })?;
        self.none_left(properties, "ArtifactProperty", "artifact")?;
        Ok(rows)
    }

    fn executions(&self) -> Result<Vec<ExecutionRow>> {
        let mut properties = self.properties("ExecutionProperty")?;
        let rows = self.rows("Execution", |row| {
            let id = row.get(0)?;
            Ok(ExecutionRow {
                id,
                type_id: row.get(1)?,
                state: row.get(2)?,
                name: row.get(3)?,
                external_id: row.get(4)?,
                created_millis: row.get(5)?,
                updated_millis: row.get(6)?,
                properties: properties.remove(&id).unwrap_or_default(),
            })
        })?;
        self.none_left(properties, "ExecutionProperty", "execution")?;
        Ok(rows)
    }

    fn contexts(&self) -> Result<Vec<ContextRow>> {
        let mut properties = self.properties("ContextProperty")?;
        let rows = self.rows("Context", |row| {
            let id = row.get(0)?;
            Ok(ContextRow {
                id,
                type_id: row.get(1)?,
                name: row.get(2)?,
                external_id: row.get(3)?,
                created_millis: row.get(4)?,
                updated_millis: row.get(5)?,
                properties: properties.remove(&id).unwrap_or_default(),
            })
        })?;
        self.none_left(properties, "ContextProperty", "context")?;
        Ok(rows)
    }

    fn properties(&self, table: &'static str) -> Result<HashMap<i64, Vec<Property>>> {
        let mut properties: HashMap<i64, Vec<Property>> = HashMap::new();
        for (id, property) in self.rows(table, |row| {
            let property = Property { name: row.get(1)?, is_custom: row.get(2)?, value: value_of(row)? };
            Ok((row.get::<_, i64>(0)?, property))
        })? {
            properties.entry(id).or_default().push(property);
        }
        Ok(properties)
    }

    /// What belongs to nothing cannot be kept, so a store that has such rows is refused and not trimmed.
    fn none_left<T>(&self, left: HashMap<i64, T>, table: &str, owner: &str) -> Result<()> {
        match left.keys().min() {
            Some(id) => Err(self.damaged(&format!("{table} has rows of {owner} {id}, which is not there"))),
            None => Ok(()),
        }
    }

    fn events(&self) -> Result<Vec<EventRow>> {
        let mut paths: HashMap<i64, Vec<PathStep>> = HashMap::new();
        for (event, step) in self.rows("EventPath", |row| {
            Ok((row.get::<_, i64>(0)?, PathStep { is_index: row.get(1)?, index: row.get(2)?, key: row.get(3)? }))
        })? {
            paths.entry(event).or_default().push(step);
        }
        let rows = self.rows("Event", |row| {
            let id = row.get(0)?;
            Ok(EventRow {
                id,
                artifact_id: row.get(1)?,
                execution_id: row.get(2)?,
                kind: row.get(3)?,
                time_millis: row.get(4)?,
                path: paths.remove(&id).unwrap_or_default(),
            })
        })?;
        self.none_left(paths, "EventPath", "event")?;
        Ok(rows)
    }

    fn sequences(&self, store: &MlmdStore) -> Result<BTreeMap<String, i64>> {
        let there: i64 = self.one(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'sqlite_sequence'",
            "its schema",
        )?;
        if there == 0 {
            return Ok(BTreeMap::new());
        }
        let read = || {
            self.connection
                .prepare("SELECT name, seq FROM sqlite_sequence")?
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let given = read().map_err(self.failed("sqlite_sequence"))?;
        let above = |(table, given): &(String, i64)| store.highest_id(table).is_some_and(|highest| *given > highest);
        Ok(given.into_iter().filter(above).collect())
    }

    /// Refuses rows that name others that are not there.
    fn check_references(&self, store: &MlmdStore) -> Result<()> {
        let set = |ids: &mut dyn Iterator<Item = i64>| ids.collect::<BTreeSet<i64>>();
        let types = set(&mut store.types.iter().map(|row| row.id));
        let artifacts = set(&mut store.artifacts.iter().map(|row| row.id));
        let executions = set(&mut store.executions.iter().map(|row| row.id));
        let contexts = set(&mut store.contexts.iter().map(|row| row.id));
        let type_ids = store.artifacts.iter().map(|row| row.type_id);
        let type_ids = type_ids.chain(store.executions.iter().map(|row| row.type_id));
        let mut type_ids = type_ids.chain(store.contexts.iter().map(|row| row.type_id));
        if let Some(id) = type_ids.find(|id| !types.contains(id)) {
            return Err(self.damaged(&format!("there is no type {id}, which an entity has")));
        }
        let of_event =
            |row: &&EventRow| !artifacts.contains(&row.artifact_id) || !executions.contains(&row.execution_id);
        if let Some(event) = store.events.iter().find(of_event) {
            return Err(self.damaged(&format!("event {} names an artifact or execution that is not there", event.id)));
        }
        for (table, rows, members) in
            [("Association", &store.associations, &executions), ("Attribution", &store.attributions, &artifacts)]
        {
            let of_link = |row: &&LinkRow| !contexts.contains(&row.context_id) || !members.contains(&row.member_id);
            if let Some(link) = rows.iter().find(of_link) {
                return Err(self.damaged(&format!("{table} {} names something that is not there", link.id)));
            }
        }
        let mut pairs = store.parent_contexts.iter();
        match pairs.find(|(child, parent)| !contexts.contains(child) || !contexts.contains(parent)) {
            Some((child, parent)) => Err(self.damaged(&format!("context {child} or its parent {parent} is not there"))),
            None => Ok(()),
        }
    }
}

impl MlmdStore {
    /// Forgets what the tables' counters say where a higher id is there.
    pub(crate) fn settle_sequences(&mut self) {
        let mut sequences = std::mem::take(&mut self.sequences);
        sequences.retain(|table, given| self.highest_id(table).is_some_and(|highest| *given > highest));
        self.sequences = sequences;
    }

    /// The highest id in a table that counts its ids.
    pub(super) fn highest_id(&self, table: &str) -> Option<i64> {
        match table {
            "Type" => self.types.iter().map(|row| row.id).max(),
            "Artifact" => self.artifacts.iter().map(|row| row.id).max(),
            "Execution" => self.executions.iter().map(|row| row.id).max(),
            "Context" => self.contexts.iter().map(|row| row.id).max(),
            "Event" => self.events.iter().map(|row| row.id).max(),
            "Association" => self.associations.iter().map(|row| row.id).max(),
            "Attribution" => self.attributions.iter().map(|row| row.id).max(),
            _ => return None,
        }
        .or(Some(0))
    }
}

/// The value of a row of properties: that of the first column that is filled, and only one may be.
fn value_of(row: &Row<'_>) -> rusqlite::Result<Value> {
    let filled = |column: usize| row.get_ref(column).map(|value| value != ValueRef::Null);
    let mut value = Value::Nothing;
    for column in 3..9 {
        if !filled(column)? {
            continue;
        }
        if value != Value::Nothing {
            let name = format!("{} of property {:?}, beside another value", column, row.get::<_, String>(1)?);
            return Err(rusqlite::Error::InvalidColumnType(column, name, rusqlite::types::Type::Null));
        }
        value = match column {
            3 => Value::Int(row.get(column)?),
            4 => Value::Double(row.get(column)?),
            5 => Value::Text(row.get(column)?),
            6 => Value::Bytes(bytes_of(row, column)?),
            7 => Value::Proto(bytes_of(row, column)?),
            _ => Value::Bool(row.get(column)?),
        };
    }
    Ok(value)
}

fn bytes_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<u8>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => bytes.to_vec(),
        _ => row.get(column)?,
    })
}
