//! What the tests share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::types::Value;

/// Folder of the sample.
pub fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/cmf-sample")
}

/// A copy of the sample that a test may change.
pub fn sample_copy(to: &Path) -> PathBuf {
    let target = to.join("cmf");
    copy_folder(&sample(), &target);
    target
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("folder");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// All rows of all tables of a database, as text, sorted; by table.
pub fn dump(path: &Path) -> BTreeMap<String, Vec<String>> {
    let connection = Connection::open(path).expect("open");
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .expect("schema")
        .query_map([], |row| row.get(0))
        .expect("tables")
        .collect::<Result<_, _>>()
        .expect("tables");
    let sorted = |table: String| {
        let mut found = rows(&connection, &format!("SELECT * FROM {table}"));
        found.sort();
        (table, found)
    };
    tables.into_iter().map(sorted).collect()
}

/// Rows of a statement as text.
pub fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut select = connection.prepare(sql).expect(sql);
    let columns = select.column_count();
    let rows = select
        .query_map([], |row| (0..columns).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>());
    rows.expect(sql).map(|row| format!("{:?}", row.expect("row"))).collect()
}

/// The statements of a database's schema.
pub fn schema(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).expect("open");
    rows(&connection, "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
}

/// Names of what is in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("list")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
