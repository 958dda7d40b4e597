//! Aligned text for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Which side a column leans to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a header line, two spaces between columns and no frame.
pub struct TextTable {
    table: Table,
}

impl TextTable {
    /// A table with these columns.
    pub fn new(columns: &[(&str, Side)]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
        for (column, (_, side)) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if *side == Side::Right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table }
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table.add_row(cells.into_iter().map(Into::into).collect::<Vec<String>>());
    }

    /// The lines, each indented by `indent` spaces, without white space at their ends.
    pub fn lines(&self, indent: usize) -> String {
        let mut text = String::new();
        for line in self.table.lines() {
            let line = format!("{:indent$}{line}", "");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = TextTable::new(&[("name", Side::Left), ("rows", Side::Right)]);
        table.row(["a", "1"]);
        table.row(["longer", "1,000"]);
        assert_eq!(table.lines(2), "  NAME     ROWS\n  a           1\n  longer  1,000\n");
    }
}
