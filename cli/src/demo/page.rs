//! How the demo prints: headings, facts, SQL with its answer.

use std::io::Write;
use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;

use crate::error::Result;
use crate::out::Out;
use crate::sql::{Database, floats};
use crate::table::{Side, TextTable};
use crate::text;

/// What the demo prints, section by section; each is shown at once.
pub struct Page<'a> {
    out: &'a mut Out,
    sections: u32,
}

impl<'a> Page<'a> {
    /// A page on `out`.
    pub fn new(out: &'a mut Out) -> Self {
        Self { out, sections: 0 }
    }

    /// The output itself.
    pub fn out(&self) -> &Out {
        self.out
    }

    /// A numbered heading.
    pub fn section(&mut self, title: &str) -> Result<()> {
        self.sections += 1;
        let heading = format!("{}. {title}", self.sections);
        self.text(&format!("\n{}\n", bold(&heading, self.out.has_colours())))
    }

    /// Text, as it is.
    pub fn text(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// A name and what there is to say about it.
    pub fn fact(&mut self, name: &str, value: &str) -> Result<()> {
        self.text(&format!("   {name:<14}{value}\n"))
    }

    /// A question, the statement that asks it, and the answer.
    pub fn question(&mut self, database: &Database, question: &str, statement: &str) -> Result<()> {
        let answer = database.query(statement)?;
        let (dim, plain) = if self.out.has_colours() { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let shown: String = statement.lines().map(|line| format!("   {dim}{line}{plain}\n")).collect();
        let table = answer_table(answer.batches())?;
        self.text(&format!("\n   {}\n{shown}\n{}", bold(question, self.out.has_colours()), table.lines(3)))
    }
}

fn bold(text: &str, has_colours: bool) -> String {
    if has_colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// The rows of an answer, with short numbers.
fn answer_table(batches: &[RecordBatch]) -> Result<TextTable> {
    let Some(first) = batches.first() else { return Ok(TextTable::new(&[("no rows", Side::Left)])) };
    let schema = first.schema();
    let side = |kind: &DataType| if kind.is_numeric() { Side::Right } else { Side::Left };
    let columns: Vec<(&str, Side)> =
        schema.fields().iter().map(|field| (field.name().as_str(), side(field.data_type()))).collect();
    let mut table = TextTable::new(&columns);
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell(column, row));
            table.row(cells.collect::<Result<Vec<String>>>()?);
        }
    }
    Ok(table)
}

fn cell(column: &dyn Array, row: usize) -> Result<String> {
    if column.is_null(row) {
        return Ok("-".to_owned());
    }
    if matches!(column.data_type(), DataType::Float64) {
        return Ok(text::number(floats(column)?.value(row)));
    }
    Ok(array_value_to_string(column, row)?)
}

/// A path as the shell takes it.
pub fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn answers_are_short() {
        let columns: [(&str, arrow::array::ArrayRef); 2] = [
            ("lr", Arc::new(StringArray::from(vec!["0.1", "1"]))),
            ("mean", Arc::new(Float64Array::from(vec![Some(0.123456789), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(answer_table(&[batch]).unwrap().lines(0), "LR       MEAN\n0.1  0.123457\n1           -\n");
    }

    #[test]
    fn paths_are_quoted_when_they_must_be() {
        assert_eq!(shell(Path::new(".stepwell-demo")), ".stepwell-demo");
        assert_eq!(shell(Path::new("my demo")), "'my demo'");
        assert_eq!(shell(Path::new("it's")), "'it'\\''s'");
    }
}
