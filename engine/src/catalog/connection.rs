//! Opening the catalog: creating it, refusing what is not one, and the settings of every connection.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, FileControl, OpenFlags};

use super::ids::ID_BITS;
use super::reader::{IdleReader, LastCommitted};
use super::refresh::Scanned;
use crate::error::{Error, Result};
use crate::fork::{ProcessMark, without_forks};
use crate::ids::new_uuid;
use crate::layout::{Layout, TEMP_PREFIX};
use crate::storage::{Disk, sync_folder};

/// Version of the catalog's tables, in `PRAGMA user_version`.
pub(super) const CATALOG_VERSION: i64 = 5;
/// Beginning of what is wrong with a catalog that an older version of Stepwell made: nothing but its tables.
const OLDER_VERSION: &str = "it is of the older version";
/// `PRAGMA application_id`: "Swel".
pub(super) const APPLICATION_ID: i64 = 0x5377_656C;
/// How long a connection waits for another process's transaction.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Prepared statements kept per connection.
const STATEMENTS_MAX: usize = 96;
/// Length that a write-ahead log is cut back to after it was copied into the database.
const WAL_BYTES_KEPT: u32 = 16 << 20;

/// Length of a write-ahead log that is left alone at the end of a process.
pub(crate) const WAL_BYTES_LEFT: u64 = 256 << 10;
/// Size of the write-ahead log above which a commit empties it: a few dozen runs.
pub(crate) const WAL_BYTES_MAX: u64 = 1 << 20;

/// Pages in the write-ahead log at which it is copied into the database: 16 MB.
const WAL_PAGES: u32 = 4_096;
/// Memory for pages, used as far as it is needed. Ids are hashes, so that rows go to pages all over the file: with SQLite's usual
/// 2 MB, building a catalog of 10,000 runs spends its time writing pages and reading them again.
const CACHE_KIB: u32 = 64 << 10;

const MIGRATIONS: [&str; CATALOG_VERSION as usize] = [
    include_str!("migrations/0001_initial.sql"),
    include_str!("migrations/0002_gap_bounds.sql"),
    include_str!("migrations/0003_journal_folder.sql"),
    include_str!("migrations/0004_replaced.sql"),
    include_str!("migrations/0005_records.sql"),
];

/// The catalog of one store, for one thread at a time.
#[derive(Debug)]
pub struct Catalog {
    /// Shared with the snapshots of a catalog in memory; otherwise this is the only owner.
    pub(super) connection: Arc<Mutex<Connection>>,
    pub(super) place: Place,
    /// Bits of new ids; fewer in tests that want ids to meet.
    pub(super) id_bits: u32,
    /// Tells this connection from all others of the process.
    number: u64,
    /// What the last snapshot read.
    pub(super) committed: Arc<LastCommitted>,
    /// What the last refresh saw, when there was nothing to do.
    pub(super) scanned: Option<Scanned>,
    /// A connection that a snapshot had, for the next one.
    pub(super) idle: Arc<IdleReader>,
}

/// What a catalog held at a moment, as far as one connection can tell: two that are equal held the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CatalogVersion {
    connection: u64,
    /// Rows that were changed by this connection since it was opened.
    own_changes: u64,
    /// SQLite's `data_version`: changes with each commit of another connection.
    data_version: i64,
}

/// Where a catalog lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File { path: PathBuf },
    ReadOnlyFile { path: PathBuf },
    Memory,
}

impl Place {
    /// The path, for error messages.
    pub fn path(&self) -> &Path {
        match self {
            Self::File { path } | Self::ReadOnlyFile { path } => path,
            Self::Memory => Path::new(":memory:"),
        }
    }

    pub fn is_writable(&self) -> bool {
        !matches!(self, Self::ReadOnlyFile { .. })
    }
}

impl Catalog {
    /// Opens the catalog of a store for reading and writing; creates it when it is missing. In a forked child of a process
    /// that had a catalog open, this is a catalog in memory. So it is on a file system that must not be mapped, empty, for
    /// [`Catalog::refresh`] to fill: the index that a write-ahead log needs is a mapped file, shared by processes of one
    /// machine only.
    ///
    /// # Errors
    /// [`Error::NewerFormat`]; [`Error::Damaged`] when the file is no SQLite database, is damaged, or belongs to another
    /// application; [`Error::Catalog`], [`Error::Io`].
    pub fn open(layout: &Layout) -> Result<Self> {
        if is_inherited() || layout.file_system().is_remote {
            return Self::open_in_memory();
        }
        let path = layout.catalog();
        if is_missing(&path) {
            create_file(&path)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(failed("open", &path))?;
        configure(&connection).map_err(failed("open", &path))?;
        check_version(&connection, &path)?;
        keep_wal(&connection).map_err(failed("open", &path))?;
        Ok(Self::from_connection(connection, Place::File { path }))
    }

    /// An empty catalog in memory.
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn open_in_memory() -> Result<Self> {
        let path = Place::Memory;
        let open = || {
            let connection = Connection::open_in_memory()?;
            configure(&connection)?;
            migrate(&connection)?;
            Ok(connection)
        };
        let connection = open().map_err(failed("open", path.path()))?;
        Ok(Self::from_connection(connection, Place::Memory))
    }

    /// Opens the catalog of a store without ever writing to the store. When the file is missing, cannot be read without
    /// writing beside it, or lies on a file system that must not be mapped, this is an empty catalog in memory;
    /// [`Catalog::refresh`] goes on in memory when the file is behind.
    ///
    /// # Errors
    /// As [`Catalog::open`].
    pub fn open_read_only(layout: &Layout) -> Result<Self> {
        let path = layout.catalog();
        if is_inherited() || layout.file_system().is_remote || is_missing(&path) {
            return Self::open_in_memory();
        }
        match open_read_only_file(&path) {
            Ok(connection) => {
                check_version(&connection, &path)?;
                Ok(Self::from_connection(connection, Place::ReadOnlyFile { path }))
            }
            Err(error) if needs_to_write(&error) => Self::open_in_memory(),
            Err(error) => Err(failed("open", &path)(error)),
        }
    }

    pub(super) fn from_connection(connection: Connection, place: Place) -> Self {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Mutex::new(connection));
        Self {
            connection,
            place,
            id_bits: ID_BITS,
            number,
            committed: Arc::default(),
            scanned: None,
            idle: Arc::default(),
        }
    }

    /// What the catalog holds now.
    ///
    /// # Errors
    /// [`Error::Catalog`], [`Error::Damaged`].
    pub(super) fn version(&self) -> Result<CatalogVersion> {
        let read = |connection: &Connection| {
            let data_version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            Ok(CatalogVersion { connection: self.number, own_changes: connection.total_changes(), data_version })
        };
        self.with(read).map_err(failed("read", self.place.path()))
    }

    /// Copies the write-ahead log into the database and empties it, when it has so many bytes and nobody else is using it; else it stays for the
    /// next one who closes the catalog. Nothing depends on it but the room on the disk.
    pub(crate) fn shorten_log(&self, bytes_left: u64) {
        let Place::File { path } = &self.place else { return };
        if is_inherited() || std::fs::metadata(beside(path, "-wal")).map_or(0, |wal| wal.len()) < bytes_left {
            return;
        }
        self.with(|connection| {
            // Not to wait for a reader: the end of a process is no time for it.
            let _ = connection.busy_timeout(Duration::ZERO);
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            let _ = connection.busy_timeout(BUSY_TIMEOUT);
        });
    }

    /// Opens the file again when it was deleted or replaced since.
    pub(super) fn reopen_if_replaced(&mut self, layout: &Layout) -> Result<()> {
        let open = match self.place {
            Place::File { .. } => Self::open,
            Place::ReadOnlyFile { .. } => Self::open_read_only,
            Place::Memory => return Ok(()),
        };
        if self.was_replaced() {
            *self = Self { id_bits: self.id_bits, ..open(layout)? };
        }
        Ok(())
    }

    /// Reads with the connection.
    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        read(&self.connection.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connection, for changing the catalog. A catalog in memory that snapshots still read is copied first, so that they
    /// keep what they saw.
    pub(super) fn connection_mut(&mut self) -> Result<&mut Connection> {
        if Arc::get_mut(&mut self.connection).is_none() {
            self.copy_to_memory()?;
        }
        let path = self.place.path().to_owned();
        match Arc::get_mut(&mut self.connection) {
            Some(mutex) => Ok(mutex.get_mut().unwrap_or_else(PoisonError::into_inner)),
            None => Err(Error::Damaged { path, fault: "it is shared although it was just copied".to_owned() }),
        }
    }

    #[cfg(unix)]
    fn was_replaced(&self) -> bool {
        let mut moved = 0;
        self.with(|connection| connection.file_control(None::<&str>, FileControl::HasMoved(&mut moved))).is_ok()
            && moved != 0
    }

    /// Elsewhere an open file cannot be deleted or replaced.
    #[cfg(not(unix))]
    fn was_replaced(&self) -> bool {
        false
    }

    /// Makes this a catalog in memory with the rows it has now.
    pub(super) fn copy_to_memory(&mut self) -> Result<()> {
        let copy = Self::open_in_memory()?;
        self.with(|from| copy.with(|to| copy_tables(from, to))).map_err(failed("copy", self.place.path()))?;
        *self = Self { id_bits: self.id_bits, ..copy };
        Ok(())
    }
}

/// Whether this is a forked child of a process that had a catalog open. SQLite keeps what it knows of locks per process and
/// file; the child inherits that knowledge, and not the locks. So it leaves the file alone, and indexes in memory.
pub(super) fn is_inherited() -> bool {
    static OWNER: OnceLock<ProcessMark> = OnceLock::new();
    let own = ProcessMark::own();
    let initialised = || {
        // SQLite sets itself up with its first connection, under a lock that a child would inherit. An error comes again with
        // the connection that is asked for.
        drop(Connection::open_in_memory());
        own
    };
    without_forks(|| *OWNER.get_or_init(initialised) != own)
}

/// Opens a database file so that neither it nor its folder is written to.
pub(super) fn open_read_only_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |path: &Path, flags| -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags)?;
        keep_wal(&connection)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0; PRAGMA query_only = ON;")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    match open(path, flags) {
        // In a folder where its helper files cannot be made, SQLite reads a database only when told that nobody changes it,
        // which is so when there is no write-ahead log.
        Err(error) if needs_to_write(&error) && !has_wal(path) => {
            open(&immutable_uri(path), flags | OpenFlags::SQLITE_OPEN_URI)
        }
        other => other,
    }
}

/// Whether SQLite could not make the helper files that a database with a write-ahead log needs, even for reading.
fn needs_to_write(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

fn has_wal(path: &Path) -> bool {
    std::fs::metadata(beside(path, "-wal")).is_ok_and(|metadata| metadata.len() > 0)
}

/// The path with `suffix` appended to the file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn immutable_uri(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    uri.into()
}

/// Leaves the write-ahead log where it is when the last connection closes. SQLite would delete it by name, and after the user
/// deleted the catalog of a running process, that name belongs to the new catalog.
fn keep_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.file_control(None::<&str>, FileControl::PersistWal(&mut 1))
}

/// Creates the catalog under another name and links it into place, so that no process ever sees half of it.
fn create_file(path: &Path) -> Result<()> {
    let temp = create_temp(path)?;
    let _lock = lock_folder(path);
    let placed = if is_missing(path) { place_file(&temp, path) } else { Ok(()) };
    // After a rename the name is gone already.
    let _ = std::fs::remove_file(&temp);
    placed
}

/// Gives `temp` the name of the catalog. The caller holds the lock of the folder.
pub(super) fn place_file(temp: &Path, path: &Path) -> Result<()> {
    // The write-ahead log of a catalog that is gone must not be taken for one of the new file.
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove the rest of the old catalog", beside(path, suffix))(error));
            }
            _ => {}
        }
    }
    std::fs::rename(temp, path).map_err(Error::io("create the catalog", path))?;
    sync_folder(&Disk, folder_of(path))
}

/// Holds off other processes that create or replace the catalog. Where folders cannot be locked, the gap in which two of
/// them get in each other's way is a few microseconds, and the result is an index that can be rebuilt.
pub(super) fn lock_folder(path: &Path) -> Option<File> {
    let folder = File::open(folder_of(path)).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether there is no catalog. A file of no bytes is what a crash between creating and writing leaves.
pub(super) fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |metadata| metadata.len() == 0)
}

/// A new, empty, synced catalog in the folder of `path`.
pub(super) fn create_temp(path: &Path) -> Result<PathBuf> {
    let name = format!("{TEMP_PREFIX}catalog-{}.db", new_uuid());
    let temp = path.with_file_name(name);
    let create = || {
        let connection = Connection::open(&temp)?;
        configure(&connection)?;
        // The file is synced once at the end.
        connection.execute_batch("PRAGMA synchronous = OFF;")?;
        migrate(&connection)?;
        connection.close().map_err(|(_, error)| error)
    };
    create().map_err(failed("create", path)).and_then(|()| sync_file(&temp)).inspect_err(|_| remove_database(&temp))?;
    Ok(temp)
}

/// Removes a database that did not get its name, as far as it is there.
pub(super) fn remove_database(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(beside(path, suffix));
    }
}

pub(super) fn sync_file(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|source| Error::SyncFailed { path: path.to_owned(), source })
}

pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = OFF; PRAGMA mmap_size = 0;
         PRAGMA journal_size_limit = {WAL_BYTES_KEPT}; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{CACHE_KIB};
         PRAGMA wal_autocheckpoint = {WAL_PAGES};"
    ))
}

fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let migrations = MIGRATIONS.concat();
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {migrations}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {CATALOG_VERSION}; COMMIT;"
    ))
}

fn check_version(connection: &Connection, path: &Path) -> Result<()> {
    let pragma = |name: &str| {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).map_err(failed("open", path))
    };
    let application = pragma("application_id")?;
    if application != APPLICATION_ID {
        let fault = format!(
            "it is an SQLite database of another application (application_id {application:#x}); move it away, and run \
             `stepwell reindex` to build the catalog from the event logs"
        );
        return Err(Error::Damaged { path: path.to_owned(), fault });
    }
    let version = pragma("user_version")?;
    if version > CATALOG_VERSION {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(Error::NewerFormat { path: path.to_owned(), found, supported: CATALOG_VERSION as u32 });
    }
    if version < CATALOG_VERSION {
        // An index is not migrated but built anew: that is as fast, and one way less to be wrong.
        let fault = format!("{OLDER_VERSION} {version}; `stepwell reindex` rebuilds it");
        return Err(Error::Damaged { path: path.to_owned(), fault });
    }
    Ok(())
}

/// Whether nothing is wrong with a catalog but that an older version of Stepwell made it.
pub(crate) fn is_older(error: &Error) -> bool {
    matches!(error, Error::Damaged { fault, .. } if fault.starts_with(OLDER_VERSION))
}

/// Whether the file is a sound database that is not a catalog of Stepwell.
pub(crate) fn belongs_to_another(path: &Path) -> bool {
    open_read_only_file(path)
        .and_then(|connection| connection.query_row("PRAGMA application_id", [], |row| row.get::<_, i64>(0)))
        .is_ok_and(|application| application != APPLICATION_ID)
}

/// Copies the rows of all tables into a catalog that holds none but the fixed ones.
fn copy_tables(from: &Connection, to: &Connection) -> rusqlite::Result<()> {
    to.execute_batch("BEGIN")?;
    for table in tables(from)? {
        let mut rows = from.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = rows.column_count();
        let marks = vec!["?"; columns].join(", ");
        to.execute(&format!("DELETE FROM {table}"), [])?;
        let mut insert = to.prepare(&format!("INSERT INTO {table} VALUES ({marks})"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                insert.raw_bind_parameter(column + 1, row.get::<_, rusqlite::types::Value>(column)?)?;
            }
            insert.raw_execute()?;
        }
    }
    to.execute_batch("COMMIT")
}

/// Names of all tables; what SQLite keeps for AUTOINCREMENT last, because filling the others changes it.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name = 'sqlite_sequence', name")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Turns an SQLite error into the engine's: damage is told apart from a refused operation. Every statement is one that the
/// catalog's own tables answer, so one that they do not fit, or a value that cannot be, is damage too.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
    let path = path.to_owned();
    move |source| match source.sqlite_error_code() {
        None
        | Some(
            ErrorCode::NotADatabase
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::ConstraintViolation
            | ErrorCode::TypeMismatch
            | ErrorCode::Unknown,
        ) => Error::Damaged {
            path,
            fault: format!("{source}; it is an index and can be deleted, or rebuilt with `stepwell reindex`"),
        },
        _ => Error::Catalog { action, path, source },
    }
}
