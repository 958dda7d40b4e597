//! Whether the catalog is what the event logs say. SQLite has no checksums: a damaged byte may change a name, or hide a row,
//! without an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::connection::{Catalog, belongs_to_another, beside, failed, is_missing, tables};
use super::refresh::check_soundness;
use crate::error::{Error, Result, with_causes};
use crate::layout::Layout;

/// Times the catalog is compared again because a log grew meanwhile.
const COMPARISONS_MAX: usize = 3;

/// Rows of a table: how many, and the sum of their hashes, which does not depend on their order.
type Content = (u64, u128);

/// What is wrong with the file of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CatalogFault {
    /// There is none.
    Missing,
    /// It is a database of another application.
    Foreign,
    /// A newer Stepwell wrote it.
    Newer(String),
    /// It is no database, or not a sound one.
    Damaged(String),
    /// These tables hold other rows than the event logs make.
    Differs(Vec<String>),
    /// It could not be looked at.
    Unreadable(String),
}

impl Catalog {
    /// The tables of the catalog whose rows are not those that the event logs make; sorted.
    ///
    /// # Cost
    /// Reads all event logs, and builds the catalog once more in memory.
    ///
    /// # Errors
    /// As [`Catalog::refresh`].
    pub fn wrong_tables(&mut self, layout: &Layout) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for _ in 0..COMPARISONS_MAX {
            self.refresh(layout)?;
            let mut expected = Self::open_in_memory()?;
            expected.refresh(layout)?;
            let (expected, found) = (expected.contents()?, self.contents()?);
            let is_wrong = |table: &&String| expected.get(*table) != found.get(*table);
            wrong = expected.keys().chain(found.keys()).filter(is_wrong).cloned().collect();
            if wrong.is_empty() {
                break;
            }
        }
        wrong.sort();
        wrong.dedup();
        Ok(wrong)
    }

    fn contents(&self) -> Result<BTreeMap<String, Content>> {
        self.with(contents).map_err(failed("read", self.place.path()))
    }
}

/// What is wrong with the catalog of a store; nothing is written.
///
/// # Cost
/// As [`Catalog::wrong_tables`].
///
/// # Errors
/// Those of reading the event logs.
pub(crate) fn fault_of(layout: &Layout) -> Result<Option<CatalogFault>> {
    let path = layout.catalog();
    if is_missing(&path) {
        return Ok(Some(CatalogFault::Missing));
    }
    let looked = Catalog::open_read_only(layout).and_then(|mut catalog| {
        catalog.with(|connection| check_soundness(connection, &path))?;
        catalog.wrong_tables(layout)
    });
    match looked {
        Ok(wrong) if wrong.is_empty() => Ok(None),
        Ok(wrong) => Ok(Some(CatalogFault::Differs(wrong))),
        Err(Error::Damaged { path: at, .. }) if at == path && belongs_to_another(&path) => {
            Ok(Some(CatalogFault::Foreign))
        }
        Err(Error::Damaged { path: at, fault }) if at == path => Ok(Some(CatalogFault::Damaged(fault))),
        Err(error @ Error::NewerFormat { .. }) if is_of(&error, &path) => {
            Ok(Some(CatalogFault::Newer(with_causes(&error))))
        }
        Err(error @ Error::Catalog { .. }) => Ok(Some(CatalogFault::Unreadable(with_causes(&error)))),
        Err(error) => Err(error),
    }
}

fn is_of(error: &Error, catalog: &Path) -> bool {
    matches!(error, Error::NewerFormat { path, .. } if path == catalog)
}

/// The files of a catalog that are there.
pub(crate) fn files_of(layout: &Layout) -> Vec<PathBuf> {
    let path = layout.catalog();
    let files = ["", "-wal"].into_iter().map(|suffix| beside(&path, suffix));
    files.filter(|file| std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)).collect()
}

fn contents(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Content>> {
    let mut contents = BTreeMap::new();
    for table in tables(connection)? {
        // What was seen of folders, and the last id given out, depend on more than the logs.
        if !matches!(table.as_str(), "stepwell_scan" | "sqlite_sequence") {
            let content = content(connection, &table)?;
            contents.insert(table, content);
        }
    }
    Ok(contents)
}

fn content(connection: &Connection, table: &str) -> rusqlite::Result<Content> {
    let mut select = connection.prepare(&format!("SELECT * FROM \"{table}\""))?;
    let columns = select.column_count();
    let mut rows = select.query([])?;
    let mut content: Content = (0, 0);
    while let Some(row) = rows.next()? {
        let mut hasher = blake3::Hasher::new();
        for column in 0..columns {
            add(&mut hasher, row.get_ref(column)?);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        content = (content.0 + 1, content.1.wrapping_add(u128::from_le_bytes(half)));
    }
    Ok(content)
}

fn add(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let (kind, bytes) = match value {
        ValueRef::Null => (0, Vec::new()),
        ValueRef::Integer(number) => (1, number.to_le_bytes().to_vec()),
        ValueRef::Real(number) => (2, number.to_bits().to_le_bytes().to_vec()),
        ValueRef::Text(text) => (3, text.to_vec()),
        ValueRef::Blob(bytes) => (4, bytes.to_vec()),
    };
    hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
}
