//! The guide's tables are those of SQL: every column, its type, and whether it can be null. Its functions are those that are
//! added to DataFusion's, and their examples run.

use std::collections::BTreeSet;

use datafusion::prelude::SessionContext;

use crate::support::{Fixture, Placement, ask};

const GUIDE: &str = include_str!("../../../docs/GUIDE.md");
const MARK: &str = "<!-- table: sql ";

/// Name and rows (`column|type|null`) of each table that the guide lists.
fn tables() -> Vec<(&'static str, Vec<String>)> {
    let sections = GUIDE.split(MARK).skip(1);
    let table = |section: &'static str| {
        let (name, rest) = section.split_once(" -->").expect("a name");
        let rows = rest.trim_start().lines().skip(2).take_while(|line| line.starts_with('|'));
        let cells = rows.map(|row| row.split('|').skip(1).take(3).map(str::trim).collect::<Vec<_>>().join("|"));
        (name, cells.collect())
    };
    sections.map(table).collect()
}

/// The guide's word for an Arrow type.
fn short(arrow: &str) -> &str {
    match arrow.split('(').next() {
        Some("Dictionary") => "Dict",
        Some(word) => word,
        None => arrow,
    }
}

#[test]
fn every_column_of_every_table_is_in_the_guide_as_it_is() {
    let mut fixture = Fixture::new();
    fixture.run("digits", "train", None, &[("lr", 0.1.into())]);
    let session = fixture.session(Placement::Live);
    let documented = tables();
    let names = ask(
        &session,
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1",
    );
    let mut told: Vec<&str> = documented.iter().map(|(name, _)| *name).collect();
    told.sort_unstable();
    assert_eq!(told, names);
    for (name, rows) in documented {
        let columns = ask(
            &session,
            &format!(
                "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = '{name}'"
            ),
        );
        let columns = columns.iter().map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            format!("{}|{}|{}", cells[0], short(cells[1]), cells[2].to_lowercase())
        });
        assert_eq!(rows, columns.collect::<Vec<_>>(), "{name}");
    }
}

/// Cells of the guide's table of functions, without the back quotes around them.
fn functions() -> Vec<[&'static str; 3]> {
    let (_, table) = GUIDE.split_once("<!-- table: functions -->\n").expect("a table of functions");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        [cells[1], cells[2], cells[3].trim_matches('`')]
    })
    .collect()
}

#[test]
fn every_function_is_in_the_guide_with_an_example_that_runs() {
    let mut fixture = Fixture::new();
    for (name, seed) in [("a", 1), ("b", 2)] {
        let run = fixture.run("digits", "train", Some(name), &[("seed", seed.into())]);
        let curve: Vec<f64> = (0..101).map(|step| if step == 90 { 50.0 } else { f64::from(step * 7 % 10) }).collect();
        for metric in ["loss", "val_loss", "val_accuracy", "reward"] {
            fixture.log(run, "metrics", metric, &curve);
        }
        fixture.log(run, "metrics", "odd", &[f64::NAN]);
    }
    let session = fixture.session(Placement::Split);
    let mut told = BTreeSet::new();
    for [function, _, example] in functions() {
        let answer = ask(&session, example);
        assert!(!answer.is_empty() && answer.iter().any(|line| !line.ends_with("null")), "{example}: {answer:?}");
        let codes = function.split('`').skip(1).step_by(2);
        for name in codes.map(|code| code.split('(').next().unwrap_or(code)) {
            assert!(told.insert(name.to_owned()), "{name} is told twice");
        }
    }
    let sql = "SELECT DISTINCT routine_name FROM information_schema.routines";
    let known: BTreeSet<String> = ask(&session, sql).into_iter().collect();
    let plain = SessionContext::new().state();
    let of_datafusion = plain.aggregate_functions().keys().chain(plain.scalar_functions().keys());
    let of_datafusion: BTreeSet<String> = of_datafusion
        .chain(plain.window_functions().keys())
        .chain(plain.table_functions().keys())
        .chain(plain.higher_order_functions().keys())
        .cloned()
        .collect();
    let added: BTreeSet<String> = known.difference(&of_datafusion).cloned().collect();
    assert_eq!(told, added);
}
