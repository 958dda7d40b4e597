//! Tables for people.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::error::OutputError;

/// Shown where there is no value.
const NULL: &str = "null";

pub(super) fn write(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    out: &mut (dyn Write + Send),
) -> Result<(), OutputError> {
    let options = FormatOptions::default().with_null(NULL);
    let alignments: Vec<CellAlignment> = schema.fields().iter().map(|field| alignment(field.data_type())).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners());
    let header = schema.fields().iter().zip(&alignments);
    table.set_header(header.map(|(field, alignment)| Cell::new(one_line(field.name())).set_alignment(*alignment)));
    for batch in batches {
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns: Vec<ArrayFormatter<'_>> = columns.collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            let mut cells: Vec<Cell> = Vec::with_capacity(columns.len());
            for (column, alignment) in columns.iter().zip(&alignments) {
                let text = column.value(row).try_to_string()?;
                cells.push(Cell::new(shown(&text, batch, cells.len())).set_alignment(*alignment));
            }
            table.add_row(cells);
        }
    }
    writeln!(out, "{table}")?;
    Ok(())
}

/// A plan keeps its lines: they are what EXPLAIN is read for.
fn shown(text: &str, batch: &RecordBatch, column: usize) -> String {
    if batch.schema().field(column).name() == "plan" { text.trim_end().to_owned() } else { one_line(text) }
}

/// Control characters would tear the table, or speak to the terminal.
fn one_line(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

fn alignment(data_type: &DataType) -> CellAlignment {
    match data_type {
        DataType::Dictionary(_, values) => alignment(values),
        data_type if data_type.is_numeric() => CellAlignment::Right,
        _ => CellAlignment::Left,
    }
}
