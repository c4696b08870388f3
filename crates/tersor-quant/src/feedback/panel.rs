//! Rows plus combinations of other rows: the one inner loop of all dense work here.
//!
//! Factorisation, substitution, feedback and descent are written in blocks of [`BLOCK`] columns, so that nearly all
//! of their arithmetic is `out += coefs * panel` with a panel of [`BLOCK`] rows. Panels are taken in tiles of
//! columns that stay in the second-level cache while all rows of a batch pass by. Zero coefficients are skipped: in
//! the descent most are.
//!
//! The order of additions to an element depends on the coefficients of its row alone, so results do not depend
//! on batches or threads. All sums are `f64`; no machine fuses a multiplication with an addition.

use std::ops::Range;

/// Columns that are worked on before what follows from them is added to all others.
pub(super) const BLOCK: usize = 64;

/// Columns of a tile: with [`BLOCK`] rows of `f64` it takes 256 KiB.
const TILE: usize = 512;

/// Rows added at once: fewer loads and stores of what they are added to.
const LANES: usize = 4;

/// Consecutive rows of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a, T> {
    /// The rows, the first one first.
    pub(super) values: &'a [T],
    /// Elements from row to row.
    pub(super) stride: usize,
}

impl<'a, T> Panel<'a, T> {
    fn row(&self, k: usize, columns: &Range<usize>) -> &'a [T] {
        &self.values[k * self.stride..][columns.clone()]
    }
}

/// Consecutive rows to add to, seen from some column on.
pub(super) struct Rows<'a> {
    /// The rows.
    pub(super) values: &'a mut [f64],
    /// Elements from row to row.
    pub(super) stride: usize,
    /// The column that stands for column 0 of a panel.
    pub(super) offset: usize,
}

impl Rows<'_> {
    /// Adds `sum_k coefs[r][k] * panel[k]` to row `r`, in these columns of the panel. `coefs` has `n_coefs` per
    /// row.
    pub(super) fn add<T: Copy + Into<f64>>(
        &mut self,
        coefs: &[f64],
        n_coefs: usize,
        panel: Panel<'_, T>,
        columns: Range<usize>,
    ) {
        let mut kept = [(0.0, 0); BLOCK];
        for start in columns.clone().step_by(TILE) {
            let tile = start..columns.end.min(start + TILE);
            let rows = self.values.chunks_exact_mut(self.stride);
            for (row, coefs) in rows.zip(coefs.chunks_exact(n_coefs)) {
                let out = &mut row[self.offset..][tile.clone()];
                let mut n_kept = 0;
                for (k, &coef) in coefs.iter().enumerate() {
                    kept[n_kept] = (coef, k);
                    n_kept += usize::from(coef != 0.0);
                }
                let fours = kept[..n_kept].chunks_exact(LANES);
                for &(coef, k) in fours.remainder() {
                    add_row(out, coef, panel.row(k, &tile));
                }
                for four in fours {
                    let row = |i: usize| panel.row(four[i].1, &tile);
                    let coefs = [four[0].0, four[1].0, four[2].0, four[3].0];
                    add_rows(out, coefs, [row(0), row(1), row(2), row(3)]);
                }
            }
        }
    }
}

/// Adds one multiple of a row.
#[inline]
pub(super) fn add_row<T: Copy + Into<f64>>(out: &mut [f64], coef: f64, row: &[T]) {
    for (out, &value) in out.iter_mut().zip(row) {
        *out += coef * value.into();
    }
}

#[inline]
fn add_rows<T: Copy + Into<f64>>(out: &mut [f64], coefs: [f64; LANES], rows: [&[T]; LANES]) {
    let [a, b, c, d] = rows.map(|row| row.iter());
    for ((((out, &a), &b), &c), &d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let first = coefs[0] * a.into() + coefs[1] * b.into();
        let second = coefs[2] * c.into() + coefs[3] * d.into();
        *out += first + second;
    }
}

/// The blocks that `0..n` is cut into, ascending.
pub(super) fn blocks(n: usize) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator {
    (0..n.div_ceil(BLOCK)).map(move |i| i * BLOCK..n.min((i + 1) * BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combination_of_rows_is_added_where_asked() {
        let panel = [
            1f32, 2.0, 3.0, 10.0, 20.0, 30.0, 0.5, 0.5, 0.5, 4.0, 4.0, 4.0, 1.0, 0.0, 1.0,
        ];
        let mut out = [0.0; 10];
        let mut rows = Rows {
            values: &mut out,
            stride: 5,
            offset: 1,
        };
        let panel = Panel {
            values: &panel,
            stride: 3,
        };
        rows.add(
            &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, -1.0, 3.0],
            5,
            panel,
            1..3,
        );
        assert_eq!(out, [0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 0.0, 19.0, 33.0, 0.0]);
    }

    #[test]
    fn blocks_cover_a_range_from_either_end() {
        let ranges: Vec<_> = blocks(2 * BLOCK + 1).collect();
        assert_eq!(ranges, [0..BLOCK, BLOCK..2 * BLOCK, 2 * BLOCK..2 * BLOCK + 1]);
        assert_eq!(blocks(BLOCK).next_back(), Some(0..BLOCK));
        assert_eq!(blocks(0).len(), 0);
    }
}
