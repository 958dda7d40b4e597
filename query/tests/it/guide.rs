//! The guide's tables are those of SQL: every column, its type, and whether it can be null.

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
