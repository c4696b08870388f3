//! `H = U U^T` with `U` upper triangular, without an inverse.

use std::ops::Range;

use rayon::prelude::*;

use super::panel::{Panel, Rows, add_row, blocks};

/// Rows that one task updates.
const BATCH: usize = 32;

/// Pivots below this share of the largest diagonal element count as zero.
const LEAST_PIVOT: f64 = 1e-14;

/// `U` on both sides of its diagonal: element `(j, k)` and `(k, j)` are `U_jk`, so that its rows and its columns
/// are both contiguous.
pub(super) struct Factor {
    values: Vec<f64>,
    n: usize,
}

impl Factor {
    /// Factorises a symmetric matrix, of which the lower triangle is read; `None` if it is not positive definite.
    ///
    /// Cholesky's method from the last column to the first. `n^3 / 3` operations, those beyond `32 n^2` in
    /// parallel.
    pub(super) fn new(h: &[f32], n: usize) -> Option<Self> {
        let mut values: Vec<f64> = h.par_iter().map(|&h| f64::from(h)).collect();
        let largest = (0..n).fold(0.0, |max: f64, k| max.max(values[k * n + k]));
        for block in blocks(n).rev() {
            let done = block.end;
            for k in block.clone().rev() {
                let (head, below) = values.split_at_mut((k + 1) * n);
                let row = &mut head[k * n..];
                let later = done - k - 1;
                let coefs: Vec<f64> = (0..later).map(|j| -below[j * n + k]).collect();
                if later > 0 {
                    whole(row, n).add(&coefs, later, panel(below, n), 0..k + 1);
                }
                let pivot = row[k];
                if !pivot.is_finite() || pivot <= LEAST_PIVOT * largest {
                    return None;
                }
                let scale = 1.0 / pivot.sqrt();
                row[..=k].iter_mut().for_each(|value| *value *= scale);
            }
            let (above, rows) = values.split_at_mut(block.start * n);
            let rows = &rows[..block.len() * n];
            above
                .par_chunks_mut(BATCH * n)
                .enumerate()
                .for_each(|(i, batch)| {
                    let first = i * BATCH;
                    let end = first + batch.len() / n;
                    let coef = |i: usize, k: usize| -rows[k * n + i];
                    let coefs: Vec<f64> = (first..end)
                        .flat_map(|i| (0..block.len()).map(move |k| coef(i, k)))
                        .collect();
                    whole(batch, n).add(&coefs, block.len(), panel(rows, n), 0..end);
                });
        }
        let mut factor = Factor { values, n };
        factor.mirror();
        Some(factor)
    }

    /// Copies the lower triangle to the upper, tile by tile.
    fn mirror(&mut self) {
        let n = self.n;
        for rows in blocks(n) {
            for columns in blocks(rows.end) {
                for k in rows.clone() {
                    for j in columns.start..columns.end.min(k) {
                        self.values[j * n + k] = self.values[k * n + j];
                    }
                }
            }
        }
    }

    /// `U_kk`.
    #[inline]
    pub(super) fn diagonal(&self, k: usize) -> f64 {
        self.values[k * self.n + k]
    }

    /// Row `k` of `U` right of the diagonal, column `k` of `U` left of it.
    #[inline]
    pub(super) fn row(&self, k: usize) -> &[f64] {
        &self.values[k * self.n..][..self.n]
    }

    /// Rows from `first` on.
    pub(super) fn panel(&self, first: usize) -> Panel<'_, f64> {
        panel(&self.values[first * self.n..], self.n)
    }

    /// Solves `x U U^T = b` for every row of `x`, which holds `b` before: first `y U^T = b`, from the last column
    /// to the first, then `x U = y`.
    pub(super) fn solve(&self, x: &mut Rows<'_>) {
        for block in blocks(self.n).rev() {
            self.substitute(x, &block, true);
        }
        for block in blocks(self.n) {
            self.substitute(x, &block, false);
        }
    }

    /// Divides a block of columns by the diagonal and takes what follows from it off the columns still to come.
    fn substitute(&self, x: &mut Rows<'_>, block: &Range<usize>, backwards: bool) {
        let width = block.len();
        let mut coefs = vec![0.0; x.values.len() / x.stride * width];
        let rows = x.values.chunks_exact_mut(x.stride);
        for (row, coefs) in rows.zip(coefs.chunks_exact_mut(width)) {
            let row = &mut row[x.offset..];
            for i in 0..width {
                let (k, rest) = if backwards {
                    let k = block.end - 1 - i;
                    (k, block.start..k)
                } else {
                    let k = block.start + i;
                    (k, k + 1..block.end)
                };
                let value = row[k] / self.diagonal(k);
                row[k] = value;
                add_row(&mut row[rest.clone()], -value, &self.row(k)[rest]);
                coefs[k - block.start] = -value;
            }
        }
        let others = if backwards {
            0..block.start
        } else {
            block.end..self.n
        };
        x.add(&coefs, width, self.panel(block.start), others);
    }
}

const fn panel(values: &[f64], stride: usize) -> Panel<'_, f64> {
    Panel { values, stride }
}

const fn whole(values: &mut [f64], stride: usize) -> Rows<'_> {
    Rows {
        values,
        stride,
        offset: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::panel::BLOCK;
    use super::*;

    /// `A A^T / n + I / 10` of a fixed pattern.
    fn matrix(n: usize) -> Vec<f32> {
        let a = |i: usize, j: usize| ((i * 31 + j * 17) as f64 * 0.61).sin() + if i == j { 1.0 } else { 0.0 };
        let mut h = vec![0f32; n * n];
        for i in 0..n {
            for j in 0..=i {
                let dot: f64 = (0..n).map(|k| a(i, k) * a(j, k)).sum::<f64>() / n as f64;
                let value = (dot + if i == j { 0.1 } else { 0.0 }) as f32;
                h[i * n + j] = value;
                h[j * n + i] = value;
            }
        }
        h
    }

    #[test]
    fn two_by_two_by_hand() {
        let factor = Factor::new(&[5.0, 6.0, 6.0, 9.0], 2).unwrap();
        assert_eq!(
            factor.values,
            [1.0, 2.0, 2.0, 3.0],
            "[[1, 2], [0, 3]] times its transpose"
        );
    }

    #[test]
    fn the_factor_times_its_transpose_is_the_matrix() {
        for n in [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 45] {
            let h = matrix(n);
            let factor = Factor::new(&h, n).unwrap();
            for i in 0..n {
                for j in 0..=i {
                    let product: f64 = (i..n).map(|k| factor.row(i)[k] * factor.row(j)[k]).sum();
                    assert!(
                        (product - f64::from(h[i * n + j])).abs() < 1e-10,
                        "{n}: ({i}, {j})"
                    );
                    assert_eq!(factor.row(i)[j], factor.row(j)[i]);
                }
            }
        }
    }

    #[test]
    fn solving_undoes_multiplying() {
        let n = BLOCK + 9;
        let h = matrix(n);
        let x: Vec<f64> = (0..2 * n).map(|i| (i as f64 * 0.37).cos()).collect();
        let times_h = |x: &[f64], j: usize| (0..n).map(|k| x[k] * f64::from(h[k * n + j])).sum::<f64>();
        let mut b: Vec<f64> = x
            .chunks(n)
            .flat_map(|x| (0..n).map(move |j| (x, j)))
            .map(|(x, j)| times_h(x, j))
            .collect();
        Factor::new(&h, n).unwrap().solve(&mut whole(&mut b, n));
        assert!(x.iter().zip(&b).all(|(x, b)| (x - b).abs() < 1e-10));
    }

    #[test]
    fn what_is_not_positive_definite_has_no_factor() {
        assert!(Factor::new(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Factor::new(&[1.0, 1.0, 1.0, 1.0], 2).is_none(), "singular");
        assert!(Factor::new(&[0.0], 1).is_none());
        assert!(Factor::new(&[], 0).is_some());
    }
}
