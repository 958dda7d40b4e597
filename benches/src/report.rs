//! Results: tables for people on stdout, raw records as JSON.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Result, environment};

/// Results of one benchmark.
pub struct Report {
    benchmark: &'static str,
    facts: Vec<(&'static str, String)>,
    records: Vec<Value>,
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
        Self { benchmark, facts, records: Vec::new() }
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

    /// Writes the raw records as JSON to `path`, if one is given.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: Option<&Path>) -> Result<()> {
        let Some(path) = path else { return Ok(()) };
        let environment: Map<_, _> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let document = json!({ "benchmark": self.benchmark, "environment": environment, "records": self.records });
        std::fs::write(path, format!("{document:#}\n"))?;
        Ok(())
    }
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
