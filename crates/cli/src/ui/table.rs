//! Tables: a thin line under the header, nothing else; no wider than the terminal.

use comfy_table::{
    Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table,
    TableStyle, Width,
};

/// Width of a table that doesn't go to a terminal.
const WIDTH_WITHOUT_TERMINAL: u16 = 120;

const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Which way a column's cells lean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lean {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// An empty table with these headers.
pub fn table(headers: &[(&str, Lean)]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(WIDTH_WITHOUT_TERMINAL);
    }
    table
        .set_header(headers.iter().map(|(name, _)| Cell::new(name).add_attribute(Attribute::Bold)));
    for (index, (_, lean)) in headers.iter().enumerate() {
        if let (Lean::Right, Some(column)) = (lean, table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Names on the left, values on the right, without a header.
pub fn pairs(rows: impl IntoIterator<Item = (String, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Dynamic);
    if !table.is_tty() {
        table.set_width(WIDTH_WITHOUT_TERMINAL);
    }
    for (name, value) in rows {
        table.add_row([Cell::new(name).add_attribute(Attribute::Dim), Cell::new(value)]);
    }
    if let Some(column) = table.column_mut(0) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(20)));
    }
    table
}

/// A table's lines, without spaces at their ends.
pub fn text(table: &Table) -> String {
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_header_a_line_and_rows() {
        let mut table = table(&[("name", Lean::Left), ("rows", Lean::Right)]);
        table.add_row(["a", "1"]).add_row(["bcd", "1,000"]);
        assert_eq!(text(&table), " name    rows\n──────────────\n a          1\n bcd    1,000");
    }
}
