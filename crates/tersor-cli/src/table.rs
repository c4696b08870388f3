//! Tables as people read them.

use crate::output;

/// On which side the cells of a column are aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with a heading per column.
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: a cell per column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |index: usize, title: &str| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(title.len())
        };
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, (title, _))| width(i, title))
            .collect();
        let titles: Vec<String> = self
            .columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let cells = row
                .iter()
                .zip(&widths)
                .zip(&self.columns)
                .map(|((cell, width), (_, align))| {
                    let padding = " ".repeat(width - cell.chars().count());
                    match align {
                        Align::Left => format!("{cell}{padding}"),
                        Align::Right => format!("{padding}{cell}"),
                    }
                });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A table with a row per tensor: name, type and shape, and what a command adds.
pub(crate) struct TensorTable(Table);

impl TensorTable {
    /// A table without rows.
    pub(crate) fn new(more: &[(&'static str, Align)]) -> Self {
        let mut columns = vec![
            ("tensor", Align::Left),
            ("dtype", Align::Left),
            ("shape", Align::Left),
        ];
        columns.extend(more);
        Self(Table::new(&columns))
    }

    /// Adds a tensor with a cell for each of the added columns.
    pub(crate) fn row<const N: usize>(&mut self, name: &str, dtype: &str, shape: &[u64], more: [String; N]) {
        let own = [output::printable(name), dtype.to_owned(), output::shape(shape)];
        self.0.row(own.into_iter().chain(more));
    }
}

impl std::fmt::Display for TensorTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.row(["a".into(), "1,000".into()]);
        table.row(["longer".into(), "1".into()]);
        assert_eq!(table.to_string(), "name        n\na       1,000\nlonger      1\n");
    }

    #[test]
    fn tables_of_tensors_begin_with_the_same_columns() {
        let mut table = TensorTable::new(&[("n", Align::Right)]);
        table.row("a\u{1b}", "F32", &[2, 3], ["7".into()]);
        assert_eq!(
            table.to_string(),
            "tensor   dtype  shape  n\na\\u{1b}  F32    2x3    7\n"
        );
    }
}
