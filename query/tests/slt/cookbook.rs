//! The cookbook shows the statements that the questions ask, and no others.

use std::collections::BTreeMap;

use sqllogictest::{DefaultColumnType, Record, parse_file};

use crate::folder;

const COOKBOOK: &str = include_str!("../../../docs/COOKBOOK.md");

/// Number of the question and its statement, of each section `## Q1: ...`.
fn recipes() -> BTreeMap<String, String> {
    let sections = COOKBOOK.split("\n## Q").skip(1);
    let recipe = |section: &str| {
        let (number, rest) = section.split_once(':').expect("a number and a colon");
        let (_, rest) = rest.split_once("```sql\n").expect("a statement");
        let (sql, _) = rest.split_once("\n```").expect("the end of the statement");
        (format!("q{number:0>2}"), sql.to_owned())
    };
    sections.map(recipe).collect()
}

/// Number of the question and its first statement, of each file `qNN_name.slt`.
fn questions() -> BTreeMap<String, String> {
    let mut questions = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("the folder of the questions") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let Some((number, _)) = name.split_once('_').filter(|_| name.starts_with('q')) else { continue };
        let records = parse_file::<DefaultColumnType>(&path).unwrap_or_else(|error| panic!("{error}"));
        let statement = records.into_iter().find_map(|record| match record {
            Record::Query { sql, .. } => Some(sql),
            _ => None,
        });
        questions.insert(number.to_owned(), statement.expect("a question"));
    }
    questions
}

#[test]
fn the_cookbook_holds_the_statements_of_the_26_questions() {
    let (recipes, questions) = (recipes(), questions());
    let numbers: Vec<String> = (1..=26).map(|number| format!("q{number:02}")).collect();
    assert_eq!(questions.keys().cloned().collect::<Vec<_>>(), numbers, "files");
    assert_eq!(recipes.keys().cloned().collect::<Vec<_>>(), numbers, "sections of docs/COOKBOOK.md");
    for (number, sql) in &questions {
        assert_eq!(&recipes[number], sql, "docs/COOKBOOK.md and tests/sql/{number}_*.slt");
    }
}
