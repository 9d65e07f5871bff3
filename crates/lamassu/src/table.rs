//! Tables for people: columns as wide as their widest cell, one line per row.

use comfy_table::{ColumnConstraint, Table, Width, presets};

/// Characters of a cell; what is longer is cut, and shown as a whole where one thing is shown.
const CELL: usize = 64;

/// Characters between columns.
const GAP: u16 = 2;

/// A text in one line, however long. Nothing is a dash; what would steer a terminal is a space.
pub(crate) fn line(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    text.replace(char::is_control, " ")
}

/// A text in one short line.
pub(crate) fn cell(text: &str) -> String {
    let line = line(text);
    if line.chars().count() <= CELL {
        return line;
    }
    let start: String = line.chars().take(CELL - 1).collect();
    format!("{start}…")
}

/// A table that is printed in parts, because nobody knows how long it gets: later rows go into the
/// columns of the first, wider where they must be.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    widths: Vec<u16>,
}

impl Columns {
    /// The next rows as text, with a line end behind each.
    pub(crate) fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).add_rows(rows);
        if table.is_empty() {
            return String::new();
        }
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            let at_least = Width::Fixed(width.saturating_add(GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(at_least));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        let mut widths = table.column_max_content_widths();
        for (width, before) in widths.iter_mut().zip(&self.widths) {
            *width = (*width).max(*before);
        }
        self.widths = widths;
        // The cells of the last column end where their text ends.
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{CELL, Columns, cell};

    fn row(cells: [&str; 2]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn columns_are_aligned_also_in_the_next_part() {
        let mut columns = Columns::default();
        let first = columns.rows([row(["ID", "ERROR"]), row(["7", "é"]), row(["123", "-"])]);
        assert_eq!(first, "ID   ERROR\n7    é\n123  -\n");
        assert_eq!(columns.rows([row(["8", "漢"])]), "8    漢\n");
        let wider = columns.rows([row(["12345", "a"])]);
        assert_eq!(wider, "12345  a\n");
        assert_eq!(columns.rows([row(["9", "b"])]), "9      b\n");
        assert_eq!(columns.rows([]), "");
    }

    #[test]
    fn a_cell_is_one_short_line() {
        assert_eq!(cell("a\nb\u{1b}[0m"), "a b [0m");
        assert_eq!(cell(""), "-");
        assert_eq!(cell(&"x".repeat(100)).chars().count(), CELL);
    }
}
