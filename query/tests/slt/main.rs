//! Questions in SQL with their answers: `tests/sql/*.slt`, in the form of sqllogictest.
//!
//! Each file is asked four times, over a store that the engine writes: with all rows live, all committed, split, and compacted.
//! The answers have to be the same. `STEPWELL_SLT=q07` asks the files whose name holds `q07`; with `STEPWELL_SLT_WRITE=1` the
//! answers over live rows are written into the files, to be compared with what is known before they are kept.

mod cookbook;
mod digits;
mod made;
mod nanogpt;
mod spec;
mod stores;

use std::fs;
use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{
    DB, DBOutput, DefaultColumnType, Record, Runner, default_normalizer, default_validator, parse_file,
    strict_column_validator,
};
use stepwell_query::{Error, QueryOptions, QueryResult, Session};

use stores::{Placement, TestStore};

/// Limits the files to those whose name holds its value.
const FILTER: &str = "STEPWELL_SLT";
/// Writes answers into the files instead of comparing them.
const WRITE: &str = "STEPWELL_SLT_WRITE";
/// Folder for the stores that other engines read; see [`stores_are_kept_for_other_engines`].
const KEEP: &str = "STEPWELL_SLT_KEEP";

#[test]
fn every_question_is_answered_over_live_rows() {
    ask_all(Placement::Live);
}

#[test]
fn every_question_is_answered_over_committed_rows() {
    ask_all(Placement::Committed);
}

#[test]
fn every_question_is_answered_over_rows_of_which_half_are_committed() {
    ask_all(Placement::Split);
}

#[test]
fn every_question_is_answered_over_compacted_rows() {
    ask_all(Placement::Compacted);
}

/// Not a test of its own: `make recipes-test` asks other engines what the files of these stores say.
#[test]
#[ignore = "writes stores into the folder STEPWELL_SLT_KEEP, for the recipes of other engines"]
fn stores_are_kept_for_other_engines() {
    let folder = PathBuf::from(std::env::var_os(KEEP).expect("STEPWELL_SLT_KEEP names a folder"));
    for placement in [Placement::Committed, Placement::Compacted, Placement::Split] {
        let folder = folder.join(format!("{placement:?}").to_lowercase());
        fs::create_dir_all(&folder).expect("a folder");
        TestStore::keep(placement, &folder);
    }
}

/// Asks every file, and tells file and line of each answer that is another one.
fn ask_all(placement: Placement) {
    let store = TestStore::new(placement);
    store.check_placement();
    let files = files();
    let (mut asked, mut wrong) = (0, Vec::new());
    for file in &files {
        let session = Session::with_options(&store.store, QueryOptions::default().with_parallelism(2));
        let mut runner = Runner::new(move || {
            let session = session.clone();
            async move { Ok(Database { session }) }
        });
        runner.with_column_validator(strict_column_validator);
        if placement == Placement::Live && std::env::var_os(WRITE).is_some() {
            let update =
                runner.update_test_file(file, " ", default_validator, default_normalizer, strict_column_validator);
            futures::executor::block_on(update).expect("written");
            continue;
        }
        let records = parse_file::<DefaultColumnType>(file).unwrap_or_else(|error| panic!("{error}"));
        for record in records {
            asked += usize::from(matches!(record, Record::Query { .. } | Record::Statement { .. }));
            if let Err(error) = runner.run(record) {
                wrong.push(error.to_string());
            }
        }
    }
    // A segment written meanwhile would have made another placement of it.
    store.check_placement();
    println!("{placement:?}: {asked} statements of {} files asked", files.len());
    assert!(wrong.is_empty(), "{placement:?}: {} of {asked} answers are wrong\n{}", wrong.len(), wrong.join("\n\n"));
}

/// The folder of the questions.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sql")
}

/// The files to ask, by name.
fn files() -> Vec<PathBuf> {
    let filter = std::env::var(FILTER).unwrap_or_default();
    let entries = fs::read_dir(folder()).expect("the folder of the questions");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "slt"))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(&filter)))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no file of tests/sql holds {filter:?} in its name");
    files
}

/// A store as sqllogictest asks it.
struct Database {
    session: Session,
}

impl DB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let result = self.session.sql(sql)?;
        let types = result.schema().fields().iter().map(|field| column_type(field.data_type())).collect();
        Ok(DBOutput::Rows { types, rows: rows(&result) })
    }

    fn engine_name(&self) -> &str {
        "stepwell"
    }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => DefaultColumnType::Text,
        DataType::Dictionary(_, values) => column_type(values),
        data_type if data_type.is_integer() => DefaultColumnType::Integer,
        data_type if data_type.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Any,
    }
}

fn rows(result: &QueryResult) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let mut rows = Vec::new();
    for batch in result.batches() {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("text")).collect();
        for row in 0..batch.num_rows() {
            rows.push(columns.iter().map(|column| shown(&column.value(row).to_string())).collect());
        }
    }
    rows
}

/// A file of answers cannot show a text without characters.
fn shown(cell: &str) -> String {
    if cell.is_empty() { "(empty)".to_owned() } else { cell.to_owned() }
}
