//! Results: tables for people on stdout, raw records as JSON.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Result, environment};

/// Results of one benchmark.
pub struct Report {
    benchmark: &'static str,
    facts: Vec<(&'static str, String)>,
    records: Vec<Value>,
    /// What the raw records carry beside tables, by name.
    more: Map<String, Value>,
}

/// One table of results.
pub struct Table {
    /// What it shows, and in which unit.
    pub title: String,
    /// Names of the columns, with their units.
    pub columns: Vec<&'static str>,
    /// A name and one number per column; NaN where there is none.
    pub rows: Vec<(String, Vec<f64>)>,
}

impl Report {
    /// A report that begins with where it was made: prints that. `folder` is where the stores lie.
    pub fn begin(benchmark: &'static str, folder: &Path) -> Self {
        let facts = environment::facts(folder);
        println!("{benchmark}");
        for (name, value) in &facts {
            println!("  {name:<12} {value}");
        }
        Self { benchmark, facts, records: Vec::new(), more: Map::new() }
    }

    /// Prints a table and keeps its rows as records.
    pub fn add(&mut self, table: &Table) {
        let width = table.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = table.columns.iter().map(|column| column.len().max(9)).collect();
        println!("\n{}", table.title);
        print!("{:width$}", "");
        table.columns.iter().zip(&widths).for_each(|(column, width)| print!("  {column:>width$}"));
        println!();
        for (name, numbers) in &table.rows {
            print!("{name:<width$}");
            numbers.iter().zip(&widths).for_each(|(number, width)| print!("  {:>width$}", text(*number)));
            println!();
            let mut record = Map::new();
            record.insert("table".to_owned(), json!(table.title));
            record.insert("name".to_owned(), json!(name));
            for (column, number) in table.columns.iter().zip(numbers) {
                record.insert((*column).to_owned(), json!(number));
            }
            self.records.push(Value::Object(record));
        }
    }

    /// Keeps something for the raw records that is in no table.
    pub fn keep(&mut self, name: &str, value: Value) {
        self.more.insert(name.to_owned(), value);
    }

    /// Writes the raw records as JSON to `path`, if one is given.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let environment: Map<_, _> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut document = Map::new();
        document.insert("benchmark".to_owned(), json!(self.benchmark));
        document.insert("environment".to_owned(), Value::Object(environment));
        document.insert("records".to_owned(), json!(self.records));
        document.extend(self.more.clone());
        std::fs::write(path, lines(&document))?;
        Ok(())
    }
}

/// JSON with a line for each member, and for each element of a member that is a list.
fn lines(document: &Map<String, Value>) -> String {
    let members = document.iter().map(|(name, value)| match value {
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(|element| format!("    {element}")).collect();
            format!("  {}: [\n{}\n  ]", json!(name), elements.join(",\n"))
        }
        other => format!("  {}: {other}", json!(name)),
    });
    format!("{{\n{}\n}}\n", members.collect::<Vec<_>>().join(",\n"))
}

/// The number in the middle; NaN where there is none.
pub fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A number with about three digits that matter; large ones in groups of three.
fn text(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    if number.abs() < 100.0 && number.fract() != 0.0 {
        return format!("{number:.2}");
    }
    let digits = format!("{:.0}", number.abs());
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0.0 { format!("-{grouped}") } else { grouped }
}
